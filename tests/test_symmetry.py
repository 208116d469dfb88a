"""Symmetry functions as users meet them: sets, derivatives, invariance, batches, ghosts, messages."""

import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols

from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.functions import (
    C2,
    C4,
    C5,
    DEFAULT_CUTOFF,
    G1,
    G2,
    G4,
    G5,
    WC2,
    WC4,
    WC5,
    WG2,
    WG4,
    WG5,
    label,
    named_parameters,
)
from bpnumba.kernels.table import FUNCTION, KINDS
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions


@pytest.fixture
def random():
    return np.random.default_rng(11)


def close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max(initial=0.0)))


def rotation(random):
    """A random proper rotation."""
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q * np.linalg.det(q)


# ---- derivatives ----


def test_derivatives_in_positions(atoms, functions, difference):
    """Against differences of `create`; a displaced atom takes its images along."""
    G, dG_dr, _ = functions.derivatives(atoms)
    np.testing.assert_array_equal(G, functions.create(atoms))
    scale = np.abs(dG_dr).max(initial=1e-3)
    for j in range(len(atoms)):
        for c in range(3):

            def moved(h, j=j, c=c):
                other = atoms.copy()
                other.positions[j, c] += h
                return functions.create(other)

            np.testing.assert_allclose(dG_dr[:, j, c], difference(moved), rtol=1e-8, atol=1e-8 * scale)


def test_derivatives_in_strain(atoms, functions, difference):
    dG_dstrain = functions.derivatives(atoms).dG_dstrain
    scale = np.abs(dG_dstrain).max(initial=1e-3)
    for a in range(3):
        for b in range(3):

            def strained(h, a=a, b=b):
                deformation = np.eye(3)
                deformation[a, b] += h
                other = atoms.copy()
                other.set_cell(atoms.cell.array @ deformation.T)
                other.positions = atoms.positions @ deformation.T
                return functions.create(other)

            np.testing.assert_allclose(dG_dstrain[:, a, b], difference(strained), rtol=1e-8, atol=1e-8 * scale)


def test_moving_everything_changes_nothing(atoms, functions):
    _, dG_dr, dG_dstrain = functions.derivatives(atoms)
    close(dG_dr.sum(axis=1), np.zeros_like(dG_dr[:, 0]), 1e-13 * max(1.0, np.abs(dG_dr).max()))
    # neither does an infinitesimal rotation: the strain part is symmetric
    close(dG_dstrain, dG_dstrain.transpose(0, 2, 1, 3), 1e-12)


def test_derivatives_agree_with_pullback_and_virial(atoms, functions, random):
    """Forces and virial of E = <w, G> by the main road."""
    pairs = Pairs.from_atoms(atoms, functions.cutoff)
    descriptors = functions.describe(pairs)
    weights = tuple(random.normal(size=G.shape) for G in descriptors.values)
    forces_ac, virial_mcc = pairs.pullback(descriptors.pullback(weights))
    _, dG_dr, dG_dstrain = functions.derivatives(atoms)
    padded = descriptors.layout.pad(weights)
    close(forces_ac, -np.einsum("is,ijcs->jc", padded, dG_dr), 1e-12)
    close(virial_mcc[0], np.einsum("is,iabs->ab", padded, dG_dstrain), 1e-12)


# ---- invariance ----


def test_rotation_translation_inversion(atoms, functions, random):
    expected = functions.create(atoms)
    for matrix in (rotation(random), -np.eye(3), -rotation(random)):
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ matrix.T)
        other.positions = atoms.positions @ matrix.T + random.uniform(-5, 5, 3)
        close(functions.create(other), expected)


def test_rotation_turns_derivatives(systems, functions, random):
    atoms, matrix = systems["triclinic"], rotation(random)
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ matrix.T)
    other.positions = atoms.positions @ matrix.T
    _, dG_dr, dG_dstrain = functions.derivatives(atoms)
    _, rotated, rotated_strain = functions.derivatives(other)
    close(rotated, np.einsum("ab,ijbs->ijas", matrix, dG_dr))
    close(rotated_strain, np.einsum("ab,cd,ibds->iacs", matrix, matrix, dG_dstrain))


def test_permutation(atoms, functions, random):
    order = random.permutation(len(atoms))
    close(functions.create(atoms[order]), functions.create(atoms)[order], 1e-12)
    dG_dr = functions.derivatives(atoms).dG_dr
    close(functions.derivatives(atoms[order]).dG_dr, dG_dr[order][:, order], 1e-12)


def test_supercell(systems, functions):
    """The environment of every copy is that of the original, also along one or two periodic directions only."""
    for name in ("triclinic", "left-handed", "slab", "wire", "cell a third of the cutoff"):
        atoms = systems[name]
        repeats = [2 if periodic else 1 for periodic in atoms.pbc]
        close(functions.create(atoms.repeat(repeats)), np.tile(functions.create(atoms), (np.prod(repeats), 1)))


def test_another_choice_of_cell_vectors(systems, functions):
    atoms = systems["triclinic"]
    other = atoms.copy()
    other.set_cell(np.array([[1, 1, 0], [0, 1, 0], [0, 2, 1]]) @ atoms.cell.array)
    close(functions.create(other), functions.create(atoms))


# ---- batches and ghosts ----


def test_a_batch_is_a_bigger_structure(systems, functions, random):
    frames = [*systems.values(), Atoms()]
    for one, expected in zip(functions.create(frames), map(functions.create, frames), strict=True):
        np.testing.assert_array_equal(one, expected)
    for one, frame in zip(functions.derivatives(frames), frames, strict=True):
        np.testing.assert_array_equal(one.dG_dr, functions.derivatives(frame).dG_dr)

    batch = functions.describe(Pairs.from_atoms(frames, functions.cutoff))
    np.testing.assert_array_equal(batch.layout.pad(batch.values), np.concatenate(functions.create(frames)))
    bars = tuple(random.normal(size=G.shape) for G in batch.values)
    padded, dE_dr, first = batch.layout.pad(bars), [], 0
    for frame in frames:
        single = functions.describe(Pairs.from_atoms(frame, functions.cutoff))
        rows = padded[first : first + len(frame)]
        first += len(frame)
        dE_dr.append(single.pullback(tuple(
            rows[centers, :n] for centers, n in zip(single.layout.atoms_e, functions.table.n_functions, strict=True)
        )))  # fmt: skip
    np.testing.assert_array_equal(batch.pullback(bars), np.concatenate(dE_dr))


@pytest.mark.parametrize("backend", [lambda d: d, lambda d: d.stored()], ids=["plain", "stored"])
def test_ghosts(atoms, functions, random, backend):
    """Another code hands over images as atoms of their own: the first are centers, the others only neighbors."""
    pairs = Pairs.from_atoms(atoms, functions.cutoff)
    image = pairs.shift_pc.any(axis=1)
    owner = pairs.j_p[image]  # one ghost per pair is a waste, but allowed
    j_p = pairs.j_p.copy()
    j_p[image] = len(atoms) + np.arange(image.sum())
    numbers = np.concatenate([atoms.numbers, atoms.numbers[owner]])
    ghosts = Pairs.from_arrays(pairs.i_p, j_p, pairs.r_pc, numbers, n_centers=len(atoms))
    one, other = backend(functions.describe(pairs)), backend(functions.describe(ghosts))
    for G, expected in zip(other.values, one.values, strict=True):
        np.testing.assert_array_equal(G, expected)
    bars, v_pc = tuple(random.normal(size=G.shape) for G in one.values), random.normal(size=pairs.r_pc.shape)
    np.testing.assert_array_equal(other.pullback(bars), one.pullback(bars))
    for G_dot, expected in zip(other.pushforward(v_pc), one.pushforward(v_pc), strict=True):
        np.testing.assert_array_equal(G_dot, expected)


def test_centers_may_be_fewer_than_atoms_with_neighbors_of_any_element(functions):
    """A single center among ghosts of all elements."""
    atoms = molecule("CH3CH2OH")
    pairs = Pairs.from_atoms(atoms, functions.cutoff)
    mine = pairs.i_p == 0
    one = Pairs.from_arrays(pairs.i_p[mine], pairs.j_p[mine], pairs.r_pc[mine], atoms.numbers, n_centers=1)
    values = functions.describe(one).values
    assert [len(G) for G in values] == [0, 1, 0]
    np.testing.assert_array_equal(values[1][0], functions.create(atoms)[0])


def test_elements_that_a_structure_lacks_change_nothing(systems):
    atoms = systems["cell a third of the cutoff"]
    params = {"r_cut": 3.7, "g2_params": [[0.0, 0.0], [0.5, 1.0]], "g4_params": [[0.1, 1.5, 1.0]]}
    alone, among = SymmetryFunctions(["C"], **params), SymmetryFunctions(["Si", "H", "C"], **params)
    G = among.create(atoms)[0]
    named = {row["first"] for row in among.functions_of("C")} | {row["second"] for row in among.functions_of("C")}
    assert named == {0, 1, 6, 14}
    only_carbon = [set(row[["first", "second"]].tolist()) <= {0, 6} for row in among.functions_of("C")]
    np.testing.assert_array_equal(G[only_carbon], alone.create(atoms)[0])
    np.testing.assert_array_equal(np.delete(G, np.flatnonzero(only_carbon)), 0.0)


# ---- sets ----


def test_the_set_of_the_constructor():
    functions = SymmetryFunctions(
        ["O", "H", "O"], 5.0, [[0.0, 0.0], [1.0, 2.0]], [[0.1, 4.0, -1.0]], [[0.2, 1.0, 1.0]], cutoff="tanh"
    )
    assert functions.species == ("H", "O")
    assert functions.cutoff == 5.0
    assert functions.table.n_functions.tolist() == [10, 10]
    expected = []
    for center in ("H", "O"):
        expected += [G1(center, "H", 5.0, "tanh"), G1(center, "O", 5.0, "tanh")]
        expected += [G2(center, "H", 1.0, 2.0, 5.0, "tanh"), G2(center, "O", 1.0, 2.0, 5.0, "tanh")]
        for kind, eta, zeta, lam in ((G4, 0.1, 4.0, -1.0), (G5, 0.2, 1.0, 1.0)):
            expected += [kind(center, *couple, eta, zeta, lam, 5.0, cutoff="tanh") for couple in ("HH", "HO", "OO")]
    assert functions.functions.tolist() == expected


def test_functions_keep_their_order_within_an_element(functions):
    """Elements by atomic number; within one, as given."""
    assert functions.species == ("H", "C", "O")
    assert np.all(np.diff(functions.functions["center"]) >= 0)
    assert functions.functions_of("H")["kind"].tolist() == [
        "G2", "G2", "G2", "G2", "G5", "G4", "G5", "G2", "G2", "C2", "C5", "WG2", "WG4", "WC2", "WC4"
    ]  # fmt: skip
    assert functions.functions_of("H")["cutoff"].tolist()[:4] == ["cosine", "tanh", "poly2", "exp"]
    assert functions.functions_of("H")["alpha"].tolist()[7:9] == [0.0, 0.5]
    again = SymmetryFunctions.from_functions(functions.functions)
    np.testing.assert_array_equal(again.functions, functions.functions)


def test_columns_of_create_follow_the_functions(systems, functions, random):
    """Shuffled functions give shuffled columns, whatever the kernels group and share."""
    atoms = systems["molecule"]
    order = random.permutation(len(functions.functions))
    shuffled = SymmetryFunctions.from_functions(functions.functions[order])
    G, other = functions.create(atoms), shuffled.create(atoms)
    for a, symbol in enumerate(atoms.symbols):
        before, after = functions.functions_of(symbol).tolist(), shuffled.functions_of(symbol).tolist()
        np.testing.assert_allclose(other[a, : len(after)], G[a, [before.index(row) for row in after]], rtol=1e-14)


def test_rows_shorter_than_the_widest_end_with_zeros(systems, functions):
    G = functions.create(systems["molecule"])
    counts = dict(zip(functions.species, functions.table.n_functions, strict=True))
    assert G.shape[1] == max(counts.values()) > min(counts.values())
    for symbol, row in zip(systems["molecule"].symbols, G, strict=True):
        np.testing.assert_array_equal(row[counts[symbol] :], 0.0)


def test_the_order_of_two_neighbor_elements_does_not_matter():
    for kind, parameters in ((G4, (0.1, 1, 1, 4.0)), (G5, (0.1, 1, 1, 4.0)), (C4, (1, 4, 0, 90)), (C5, (1, 4, 0, 90))):
        assert kind("H", "O", "C", *parameters) == kind("H", "C", "O", *parameters)


def test_a_row_has_the_columns_of_its_kind_and_zeros():
    rows = [G2("H", "O", 0.1, 0.2, 4, alpha=0.3), G5("H", "C", "O", 0.1, 2, -1, 4, 0.2, alpha=0.3),
            C2("H", "O", -1, 4), C4("H", "C", "O", 1, 4, 30, 60), WG2("H", 0.1, 0.2, 4, alpha=0.3),
            WG4("H", 0.1, 2, -1, 4, 0.2, alpha=0.3), WC2("H", 1, 4), WC5("H", 1, 4, 30, 60)]  # fmt: skip
    for row in np.array(rows, FUNCTION):
        names = named_parameters(row["kind"])
        assert row["rc"] == 4
        for name in FUNCTION.names[4:]:
            if name not in ("rc", "cutoff"):
                assert (row[name] != 0) == (name in names)
        elements = 0 if row["kind"].startswith("W") else 1 if row["kind"].endswith("2") else 2
        assert sum(row[["first", "second"]].tolist()[n] > 0 for n in (0, 1)) == elements


def test_every_kind_has_a_function_by_its_name():
    from bpnumba import functions

    assert len(set(KINDS)) == len(KINDS) == 12
    for kind in KINDS:
        assert callable(getattr(functions, kind))


def test_equal_functions_give_equal_columns():
    """Nothing is merged: the user asked for two columns."""
    rows = [G2("Si", "Si", 0.1, 1.0, 4.0), G4("Si", "Si", "Si", 0.1, 2, 1, 4.0)]
    G = SymmetryFunctions.from_functions(rows + rows).create(bulk("Si"))
    np.testing.assert_array_equal(G[:, :2], G[:, 2:])
    assert (G > 0).all()


def test_one_species_may_be_a_bare_string():
    assert SymmetryFunctions("Si", 4.0, [[0, 0]]).species == ("Si",)
    assert SymmetryFunctions.from_functions([G1("Si", "Si", 4.0)], "Si").species == ("Si",)


def test_rows_of_some_centers(systems, functions):
    """As DScribe's `create`."""
    frames = [systems["molecule"], systems["slab"]]
    G = functions.create(frames)
    np.testing.assert_array_equal(functions.create(frames[0], centers=[2, 0]), G[0][[2, 0]])
    some = functions.create(frames, centers=[[1], [3, 0]])
    for rows, whole, centers in zip(some, G, ([1], [3, 0]), strict=True):
        np.testing.assert_array_equal(rows, whole[centers])
    assert functions.create(frames[0], centers=[]).shape == (0, functions.get_number_of_features())
    with pytest.raises(IndexError):
        functions.create(frames[0], centers=[99])
    assert functions.get_number_of_features() == G[0].shape[1]


def test_g1_counts_neighbors(systems):
    """A known number: 4 neighbors of silicon at a sqrt(3)/4."""
    atoms, rc = bulk("Si", a=5.43), 3.0
    r = 5.43 * np.sqrt(3) / 4
    functions = SymmetryFunctions.from_functions([G1("Si", "Si", rc, "cosine")])
    np.testing.assert_allclose(functions.create(atoms), 4 * 0.5 * (np.cos(np.pi * r / rc) + 1), rtol=1e-13)


def test_a_tetrahedron_by_hand():
    """Six couples at cos = -1/3; with zeta = 1, lam = 1: 6 (2/3) phi^2 (G5), phi^2 phi(r_jk) (G4)."""
    atoms, r = bulk("Si", a=5.43), 5.43 * np.sqrt(3) / 4
    w, w_jk = (CUTOFFS["poly2"](d, 4.5)[0] for d in (r, 5.43 / np.sqrt(2)))
    near = [[G5("Si", "Si", "Si", 0, 1, 1, 4.5), G4("Si", "Si", "Si", 0, 1, 1, 4.5)]]
    pairs = Pairs.from_atoms(atoms, 3.0)  # nearest neighbors only
    G = SymmetryFunctions.from_functions(near[0]).describe(pairs).values[0]
    np.testing.assert_allclose(G, [[4 * w**2, 4 * w**2 * w_jk]] * 2, rtol=1e-13)


# ---- texts ----


def test_the_text_of_a_set_has_a_row_per_function(functions):
    lines = str(functions).splitlines()
    assert lines[0] == repr(functions) == "SymmetryFunctions(H: 15, C: 27, O: 12; cutoff 4.2 Angstrom)"
    heading = lines[2]
    assert re.split("  +", heading) == [
        "H", "kind", "neighbors", "eta (1/A^2)", "rs (A)", "lam", "zeta", "alpha", "rl (A)", "left (deg)",
        "right (deg)", "rc (A)", "cutoff"
    ]  # fmt: skip
    names = "eta", "rs", "lam", "zeta", "alpha", "rl", "left", "right"
    # a cell begins where its heading does
    starts = [heading.index(title) for title in re.split("  +", heading)[1:]] + [None]
    rows = [line for line in lines if line[:3].strip().isdigit()]
    assert len(rows) == len(functions.functions)
    for line, row in zip(rows, functions.functions, strict=True):
        kind, neighbors, *numbers, rc, cutoff = (
            line[begin:end].strip() for begin, end in zip(starts, starts[1:], strict=False)
        )
        assert kind == ("G1" if row["kind"] == "G2" and row["eta"] == 0 else row["kind"])
        symbols = [chemical_symbols[z] for z in (row["first"], row["second"]) if z]
        assert neighbors == (" ".join(symbols) or "all")
        for name, number in zip(names, numbers, strict=True):
            assert bool(number) == (name in named_parameters(row["kind"]))
            assert float(number or 0) == pytest.approx(row[name], rel=1e-5)
        assert float(rc) == row["rc"]
        assert cutoff == row["cutoff"]
    assert sum(" G1 " in line for line in rows) == 3


def test_the_text_has_no_empty_columns():
    lines = str(SymmetryFunctions(["Si"], 4.0, [[0.5, 0.0], [0.0, 0.0]])).splitlines()
    assert lines[2:] == [
        "Si  kind  neighbors  eta (1/A^2)  rc (A)  cutoff",
        "0   G2    Si         0.5          4       poly2",
        "1   G1    Si         0            4       poly2",
    ]


@pytest.mark.parametrize(("row", "text"), [
    (G1("Si", "O", 6.0), "G2 of Si with O: eta 0, rs 0, rc 6, poly2"),
    (G4("Si", "O", "C", 0.5, 2, -1, 6, 0.3, "cosine", 0.25),
     "G4 of Si with C O: eta 0.5, rs 0.3, lam -1, zeta 2, rc 6, cosine, alpha 0.25"),
    (C2("Si", "O", -1.5, 6.0, "exp"), "C2 of Si with O: rl -1.5, rc 6, exp"),
    (WC5("Si", 1.5, 6.0, 60, 300, "poly4a"), "WC5 of Si: rl 1.5, left 60, right 300, rc 6, poly4a"),
])  # fmt: skip
def test_label(row, text):
    assert label(row) == label(np.array(row, FUNCTION)[()]) == text


# ---- what is refused ----


@pytest.mark.parametrize(("make", "message"), [
    (lambda: G2("Xx", "H", 0.1, 0.0, 4.0), "G2: 'Xx' is not a chemical symbol"),
    (lambda: G2("H", "X", 0.1, 0.0, 4.0), "G2: 'X' is not a chemical symbol"),
    (lambda: G4("H", "H", "", 0.1, 1, 1, 4.0), "G4: '' is not a chemical symbol"),
    (lambda: G2("H", "H", -0.1, 0.0, 4.0), "G2 on H: eta = -0.1 is out of range"),
    (lambda: G2("H", "H", np.nan, 0.0, 4.0), "G2 on H: eta = nan is out of range"),
    (lambda: G2("H", "H", 0.1, np.inf, 4.0), r"G2 on H: rs = inf is out of range \(a number\)"),
    (lambda: G2("H", "H", 0.1, 0.0, 0.0), "G2 on H: rc = 0.0 is out of range"),
    (lambda: G1("H", "H", np.inf), "G2 on H: rc = inf is out of range"),
    (lambda: G4("H", "H", "H", 0.1, 0.5, 1, 4.0), "G4 on H: zeta = 0.5 is out of range"),
    (lambda: G5("H", "H", "H", 0.1, 1, 1.01, 4.0), "G5 on H: lam = 1.01 is out of range"),
    (lambda: G2("H", "H", 0.1, 0.0, 4.0, "soft"), "G2: no cutoff function 'soft'; there are cosine, tanh"),
    (lambda: G2("H", "H", 0.1, 0.0, 4.0, alpha=1.0), "G2 on H: alpha = 1.0 is out of range .0 <= alpha < 1."),
    (lambda: G5("H", "H", "H", 0, 1, 1, 4.0, alpha=-0.1), "G5 on H: alpha = -0.1 is out of range"),
    (lambda: WG4("H", 0, 1, 1, 4.0, alpha=np.nan), "WG4 on H: alpha = nan is out of range"),
    (lambda: G2("H", "H", 0, 0, 4.0, "tanh", 0.1), "G2 on H: the cutoff function tanh has no inner radius, alpha must"),
    (lambda: WG2("H", 0, 0, 4.0, "tanh_normalized", 0.1), "WG2 on H: the cutoff function tanh_normalized has no inner"),
    (lambda: WG5("H", 0, 1, 1, 4.0, cutoff="hard", alpha=0.1), "WG5 on H: the cutoff function hard has no inner"),
    (lambda: WG5("H", 0, 0.5, 1, 4.0), "WG5 on H: zeta = 0.5 is out of range"),
    (lambda: C2("H", "H", 4.0, 4.0), "C2 on H: rl = 4.0 is out of range .rl < rc."),
    (lambda: C2("H", "H", -1.0, -0.5), "C2 on H: rc = -0.5 is out of range"),
    (lambda: C2("H", "H", -np.inf, 4.0), "C2 on H: rl = -inf is out of range"),
    (lambda: WC2("H", 1.0, 4.0, "cosine"), "WC2: no shape of a compact function 'cosine'; there are poly1, poly2"),
    (lambda: C4("H", "H", "H", 1, 4, 0, 90, "tanh"), "C4: no shape of a compact function 'tanh'"),
    (lambda: C5("H", "H", "H", 1, 4, 90, 90), "C5 on H: left = 90.0 is out of range .left < right."),
    (lambda: WC5("H", 1, 4, 0, np.nan), "WC5 on H: left = 0.0 is out of range|right = nan"),
    (lambda: C4("H", "H", "H", 1, 4, -10, 90), "C4 on H: angles from -10.0 to 90.0 degrees: a window that goes beyond"),
    (lambda: WC4("H", 1, 4, 90, 190), "WC4 on H: angles from 90.0 to 190.0 degrees: .* must have its middle there"),
    (lambda: WC4("H", 1, 4, -200, 200), "WC4 on H: angles from -200.0 to 200.0 degrees"),
    (lambda: WC5("H", 1, 4, -10, 370), "WC5 on H: angles from -10.0 to 370.0 degrees"),
    (lambda: C2("Xx", "H", 1.0, 4.0), "C2: 'Xx' is not a chemical symbol"),
    (lambda: SymmetryFunctions.from_functions([C5("H", "O", "O", 1, 4, 0, 90)]), "C5 of center H names the element O"),
    (lambda: SymmetryFunctions.from_functions([("WC2", 1, 1, *WC2("H", 1, 4)[3:])]), "WC2 takes 0 elements"),
    (lambda: SymmetryFunctions(["Xx"], 4.0, [[0, 0]]), "'Xx' is not a chemical symbol"),
    (lambda: SymmetryFunctions(["H"], -4.0, [[0, 0]]), "rc = -4.0 is out of range"),
    (lambda: SymmetryFunctions(["H"], 4.0), "at least one symmetry function"),
    (lambda: SymmetryFunctions([], 4.0, [[0, 0]]), "at least one symmetry function"),
    (lambda: SymmetryFunctions(["H"], 4.0, [0.1, 0.0]), r"g2_params must be rows of 2 numbers, not of shape \(2,\)"),
    (lambda: SymmetryFunctions(["H"], 4.0, g4_params=[[0.1, 1.0]]), r"g4_params must be rows of 3 numbers"),
    (lambda: SymmetryFunctions(["H"], 4.0, g5_params=[[0.1, 1.0]]), r"g5_params must be rows of 3 numbers"),
    (lambda: SymmetryFunctions.from_functions([]), "at least one symmetry function"),
    (lambda: SymmetryFunctions.from_functions([G2("H", "O", 0.1, 0, 4)]), "G2 of center H names the element O"),
    (lambda: SymmetryFunctions.from_functions([G1("H", "H", 4)], ["H", "O"]), "no symmetry function has O at its cent"),
    (lambda: SymmetryFunctions.from_functions([G1("H", "H", 4)], ["O"]), "names the element H"),
    (lambda: SymmetryFunctions.from_functions([("G2x", *G1("H", "H", 4)[1:])]), "no symmetry function 'G2x'; there"),
    (lambda: SymmetryFunctions.from_functions([(*G1("H", "H", 4)[:9], "cosine_made_up", 0, 0, 0, 0)]),
     "'cosine_made_up'; there"),
    (lambda: SymmetryFunctions.from_functions([G1("H", "H", 4)[:-1]]), "a symmetry function is a row of 14 values"),
    (lambda: SymmetryFunctions.from_functions(G1("H", "H", 4)), "a symmetry function is a row of 14 values, not 'G2'"),
    (lambda: SymmetryFunctions("CO", 4.0, [[0, 0]]), "'CO' is not a chemical symbol"),
])  # fmt: skip
def test_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_element_without_functions(functions):
    atoms = molecule("CH3SH")
    with pytest.raises(ValueError, match=r"atom 1 is S, which has no symmetry functions; supported: H, C, O"):
        functions.create(atoms)
    ghost = Pairs.from_arrays([0], [1], [[0, 0, 1]], [1, 92], n_centers=1)
    with pytest.raises(ValueError, match="atom 1 is U"):
        functions.describe(ghost)


@pytest.mark.parametrize(("column", "value", "message"), [
    ("eta", -1.0, "eta"), ("rc", 0.0, "rc"), ("rc", np.nan, "rc"), ("zeta", 0.0, "zeta"), ("lam", 2.0, "lam"),
    ("cutoff", "soft", "cutoff"), ("kind", "G3", "G3"), ("center", 0, "None is not"), ("first", 999, "'999' is not"),
    ("second", 0, "G4 takes 2 elements"), ("alpha", 1.0, "alpha"), ("kind", "WG4", "WG4 takes 0 elements"),
    ("kind", "C4", "C4 has no parameter eta"),
])  # fmt: skip
def test_bad_structured_arrays(column, value, message):
    """Rows may come from a file: they are checked like those of the functions by name."""
    rows = np.array([G1("Si", "Si", 4.0), G4("Si", "Si", "Si", 0.1, 1, 1, 4.0)], FUNCTION)
    rows[column][1] = value
    with pytest.raises(ValueError, match=message):
        SymmetryFunctions.from_functions(rows)


@pytest.mark.parametrize("text", ["0.1", "", None])
def test_numbers_are_numbers(text):
    with pytest.raises(TypeError):
        G2("H", "H", text, 0.0, 4.0)
    with pytest.raises(TypeError):
        C2("H", "H", 1.0, text)


def test_the_default_cutoff_is_smooth():
    assert SymmetryFunctions(["H"], 4.0, [[0, 0]]).functions["cutoff"].tolist() == [DEFAULT_CUTOFF] == ["poly2"]


def test_arguments_are_not_changed(systems, functions):
    atoms = systems["triclinic"].copy()
    before = atoms.copy()
    functions.derivatives(atoms)
    assert atoms == before
    pairs = Pairs.from_atoms(atoms, functions.cutoff)
    kept = replace(pairs, r_pc=pairs.r_pc.copy())
    descriptors = functions.describe(pairs)
    descriptors.stored().pullback(descriptors.values)
    np.testing.assert_array_equal(pairs.r_pc, kept.r_pc)
