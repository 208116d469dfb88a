"""Pairs: what they hold, forces and virial as the transpose of moving atoms, and what is refused."""

import dataclasses
import itertools

import numpy as np
import pytest
import reference
from ase import Atoms
from ase.build import bulk, molecule

from bpnumba.pairs import SAME_PLACE, Pairs, stress_voigt

CUTOFF = 3.0


def triclinic(pbc=True, handed=1, n=5, seed=0):
    """A few atoms, inside and outside of a cell that is smaller than the cutoff."""
    random = np.random.default_rng(seed)
    cell = np.array([[2.2, 0.1, 0.3], [0.4, 2.5, -0.2], [0.5, -0.6, 2.0 * handed]])
    fraction = (np.arange(n)[:, None] * [0.61, 0.23, 0.37] + random.uniform(0, 0.05, (n, 3))) % 1
    return Atoms(n * "C", (fraction + random.integers(-1, 2, (n, 3))) @ cell, cell=cell, pbc=pbc)


STRUCTURES = {
    "triclinic": triclinic(),
    "left-handed": triclinic(handed=-1),
    "slab": triclinic(pbc=[True, False, True]),
    "wire": triclinic(pbc=[False, False, True]),
    "molecule": molecule("CH3CH2OH"),
    "one atom among its images": bulk("Si")[:1],
    "no neighbors": Atoms("He"),
    "no atoms": Atoms(cell=np.eye(3), pbc=True),
    "batch": [triclinic(), molecule("H2O"), Atoms(), triclinic(handed=-1, seed=1), Atoms("He"), bulk("Cu")],
}


@pytest.fixture(params=STRUCTURES.values(), ids=STRUCTURES.keys())
def atoms(request):
    return request.param


def frames_of(atoms):
    return [atoms] if isinstance(atoms, Atoms) else atoms


def tangents(pairs, seed=0):
    """Random g_p, x_dot, strain_dot; the strain is not symmetric."""
    random = np.random.default_rng(seed)
    return (random.normal(size=pairs.r_pc.shape), random.normal(size=(pairs.n_atoms, 3)),
            random.normal(size=(pairs.n_structures, 3, 3)))  # fmt: skip


def moved(atoms, x_dot_ac, strain_dot_mcc, h):
    """Frames after a step h: the strain takes x to x + eps x and each cell vector likewise, then atoms move."""
    frames, start = [], 0
    for frame, strain_dot in zip(frames_of(atoms), strain_dot_mcc, strict=True):
        deformation = np.eye(3) + h * strain_dot
        new = frame.copy()
        new.set_cell(frame.cell.array @ deformation.T)
        new.positions = frame.positions @ deformation.T + h * x_dot_ac[start : start + len(frame)]
        frames.append(new)
        start += len(frame)
    return frames


# ---- what the record holds ----


def test_pairs_are_those_of_the_reference(atoms):
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    i_p, j_p, shift_pc, r_pc, start = [], [], [], [], 0
    for frame in frames_of(atoms):
        for i, j, shift, r in reference.neighbors(frame.positions.tolist(), frame.cell.tolist(), frame.pbc, CUTOFF):
            i_p.append(i + start)
            j_p.append(j + start)
            shift_pc.append(shift)
            r_pc.append(r)
        start += len(frame)
    np.testing.assert_array_equal(pairs.i_p, i_p)
    np.testing.assert_array_equal(pairs.j_p, j_p)
    np.testing.assert_array_equal(pairs.shift_pc, np.reshape(shift_pc, (-1, 3)))
    np.testing.assert_allclose(pairs.r_pc, np.reshape(r_pc, (-1, 3)), rtol=0, atol=1e-12)


def test_index_arrays(atoms):
    pairs, frames = Pairs.from_atoms(atoms, CUTOFF), frames_of(atoms)
    assert pairs.n_centers == pairs.n_atoms == sum(map(len, frames))
    assert pairs.n_structures == len(frames)
    assert pairs.first_a[0] == 0
    assert pairs.first_a[-1] == len(pairs.i_p)
    np.testing.assert_array_equal(np.repeat(np.arange(pairs.n_centers), np.diff(pairs.first_a)), pairs.i_p)
    np.testing.assert_array_equal(pairs.number_a, [number for frame in frames for number in frame.numbers])
    np.testing.assert_array_equal(pairs.structure_a, [m for m, frame in enumerate(frames) for _ in frame])
    np.testing.assert_allclose(pairs.volume_m, [frame.cell.volume if frame.pbc.all() else 0.0 for frame in frames])
    np.testing.assert_array_equal(pairs.structure_a[pairs.i_p], pairs.structure_a[pairs.j_p])


def test_types(atoms):
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    expected = dict.fromkeys(["i_p", "j_p", "shift_pc"], np.int32)
    expected |= dict.fromkeys(["first_a", "number_a", "structure_a"], np.int64)
    expected |= dict.fromkeys(["r_pc", "volume_m"], np.float64)
    for name in [field.name for field in dataclasses.fields(pairs) if field.name != "first_frame"]:
        array = getattr(pairs, name)
        assert array.dtype == expected[name]
        assert array.flags.c_contiguous


def test_kinds_of_positions():
    expected = Pairs.from_atoms(Atoms("H3", [[0, 0, 0], [1, 0, 0], [0, 2, 0]], cell=[4, 4, 4], pbc=True), CUTOFF)
    wide = np.zeros((3, 6))
    wide[:, ::2] = [[0, 0, 0], [1, 0, 0], [0, 2, 0]]
    for positions in (wide[:, ::2].astype(int), wide[:, ::2].astype(np.float32), wide[:, ::2]):
        atoms = Atoms("H3", cell=[4, 4, 4], pbc=True)
        atoms.arrays["positions"] = positions
        np.testing.assert_array_equal(Pairs.from_atoms(atoms, CUTOFF).r_pc, expected.r_pc)


# ---- pullback and pushforward ----


def test_pushforward_is_the_derivative_of_the_pair_vectors(atoms):
    """Pair vectors are linear in positions and strain: a plain difference, of lists that are wide enough, is exact."""
    pairs, h = Pairs.from_atoms(atoms, CUTOFF), 1e-4
    _, x_dot_ac, strain_dot_mcc = tangents(pairs)
    plus, minus = (Pairs.from_atoms(moved(atoms, x_dot_ac, strain_dot_mcc, step), CUTOFF + 0.5) for step in (h, -h))

    def by_pair(some):
        return {(i, j, *shift): r for i, j, shift, r in
                zip(some.i_p, some.j_p, some.shift_pc.tolist(), some.r_pc, strict=True)}  # fmt: skip

    plus, minus = by_pair(plus), by_pair(minus)
    keys = [(i, j, *shift) for i, j, shift in zip(pairs.i_p, pairs.j_p, pairs.shift_pc.tolist(), strict=True)]
    difference = np.reshape([(plus[key] - minus[key]) / (2 * h) for key in keys], (-1, 3))
    np.testing.assert_allclose(pairs.pushforward(x_dot_ac, strain_dot_mcc), difference, rtol=0, atol=1e-10)


def test_adjoint_identity(atoms):
    """<r_dot, g> = <x_dot, dE/dx> + <strain_dot, W>."""
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    g_pc, x_dot_ac, strain_dot_mcc = tangents(pairs, seed=1)
    forces_ac, virial_mcc = pairs.pullback(g_pc)
    r_dot_pc = pairs.pushforward(x_dot_ac, strain_dot_mcc)
    right = -np.sum(x_dot_ac * forces_ac) + np.sum(strain_dot_mcc * virial_mcc)
    scale = 1.0 + np.linalg.norm(r_dot_pc) * np.linalg.norm(g_pc)
    assert abs(np.sum(r_dot_pc * g_pc) - right) < 1e-12 * scale


def test_pullback_is_the_definition(atoms):
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    g_pc, _, _ = tangents(pairs, seed=2)
    forces_ac, virial_mcc = np.zeros((pairs.n_atoms, 3)), np.zeros((pairs.n_structures, 3, 3))
    for i, j, r, g in zip(pairs.i_p, pairs.j_p, pairs.r_pc, g_pc, strict=True):
        forces_ac[i] += g
        forces_ac[j] -= g
        virial_mcc[pairs.structure_a[i]] += np.outer(g, r)
    found = pairs.pullback(g_pc)
    np.testing.assert_allclose(found[0], forces_ac, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[1], virial_mcc, rtol=0, atol=1e-11)


def energy_and_gradient(pairs):
    """E = sum_p (1 - r_p^2 / cutoff^2)^6: five derivatives are continuous at the cutoff."""
    u = 1 - np.sum(pairs.r_pc**2, axis=1) / CUTOFF**2
    return np.sum(u**6), -12 / CUTOFF**2 * u[:, None] ** 5 * pairs.r_pc


def test_forces_and_virial_are_derivatives_of_an_energy(atoms):
    """Fourth-order differences of an energy along a random motion, with pairs that enter and leave."""
    pairs, h = Pairs.from_atoms(atoms, CUTOFF), 1e-3
    _, x_dot_ac, strain_dot_mcc = tangents(pairs, seed=3)
    forces_ac, virial_mcc = pairs.pullback(energy_and_gradient(pairs)[1])
    analytic = -np.sum(forces_ac * x_dot_ac) + np.sum(virial_mcc * strain_dot_mcc)
    steps = {2: -1, 1: 8, -1: -8, -2: 1}
    energies = {k: energy_and_gradient(Pairs.from_atoms(moved(atoms, x_dot_ac, strain_dot_mcc, k * h), CUTOFF))[0]
                for k in steps}  # fmt: skip
    numeric = sum(weight * energies[k] for k, weight in steps.items()) / (12 * h)
    assert analytic == pytest.approx(numeric, rel=1e-8, abs=1e-9)


def test_no_net_force_and_symmetric_virial(atoms):
    """What must hold for an energy of distances."""
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    forces_ac, virial_mcc = pairs.pullback(energy_and_gradient(pairs)[1])
    scale = 1 + np.abs(virial_mcc).max(initial=0)
    np.testing.assert_allclose(forces_ac.sum(axis=0), 0, atol=1e-12 * scale)
    np.testing.assert_allclose(virial_mcc, virial_mcc.transpose(0, 2, 1), atol=1e-12 * scale)


def test_sign_of_the_stress():
    """A stretched spring (E grows with distance) pulls the crystal together: tension, positive stress."""
    pairs = Pairs.from_atoms(bulk("Cu"), CUTOFF)
    _, virial_mcc = pairs.pullback(pairs.r_pc)
    stress_mv = stress_voigt(virial_mcc, pairs.volume_m)
    assert (stress_mv[0, :3] > 0).all()
    np.testing.assert_allclose(stress_mv[0, 3:], 0, atol=1e-12)


def test_batch_is_a_bigger_structure():
    frames = STRUCTURES["batch"]
    batch = Pairs.from_atoms(frames, CUTOFF)
    g_pc, x_dot_ac, strain_dot_mcc = tangents(batch, seed=4)
    forces_ac, virial_mcc = batch.pullback(g_pc)
    r_dot_pc = batch.pushforward(x_dot_ac, strain_dot_mcc)
    for m, frame in enumerate(frames):
        one = Pairs.from_atoms(frame, CUTOFF)
        of_atoms = batch.structure_a == m
        of_pairs = of_atoms[batch.i_p]
        forces, virial = one.pullback(g_pc[of_pairs])
        r_dot = one.pushforward(x_dot_ac[of_atoms], strain_dot_mcc[[m]])
        np.testing.assert_array_equal(forces_ac[of_atoms], forces)
        np.testing.assert_array_equal(virial_mcc[m], virial[0])
        np.testing.assert_array_equal(r_dot_pc[of_pairs], r_dot)


# ---- other codes' lists ----


def test_ghosts():
    """Images as atoms of their own: forces, folded back, and the virial are those of the periodic structure."""
    atoms = triclinic()
    pairs = Pairs.from_atoms(atoms, CUTOFF)
    images = sorted({(j, *shift) for j, shift in zip(pairs.j_p.tolist(), pairs.shift_pc.tolist(), strict=True)
                     if any(shift)})  # fmt: skip
    owner_a = np.array([*range(len(atoms)), *(j for j, *_ in images)])
    place = {image: len(atoms) + n for n, image in enumerate(images)}
    j_p = [place.get((j, *shift), j) for j, shift in zip(pairs.j_p.tolist(), pairs.shift_pc.tolist(), strict=True)]
    ghosts = Pairs.from_arrays(pairs.i_p, j_p, pairs.r_pc, atoms.numbers[owner_a], len(atoms), volume_m=pairs.volume_m)
    assert (ghosts.n_centers, ghosts.n_atoms, ghosts.n_structures) == (len(atoms), len(owner_a), 1)
    np.testing.assert_array_equal(ghosts.first_a, pairs.first_a)

    g_pc, x_dot_ac, strain_dot_mcc = tangents(pairs, seed=5)
    forces_ac, virial_mcc = ghosts.pullback(g_pc)
    folded = np.zeros((len(atoms), 3))
    np.add.at(folded, owner_a, forces_ac)
    np.testing.assert_allclose(folded, pairs.pullback(g_pc)[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(virial_mcc, pairs.pullback(g_pc)[1], rtol=0, atol=1e-12)
    r_dot_pc = ghosts.pushforward(x_dot_ac[owner_a], strain_dot_mcc)
    np.testing.assert_array_equal(r_dot_pc, pairs.pushforward(x_dot_ac, strain_dot_mcc))


def test_arrays_of_a_batch():
    batch = Pairs.from_atoms(STRUCTURES["batch"], CUTOFF)
    again = Pairs.from_arrays(batch.i_p, batch.j_p, batch.r_pc, batch.number_a, None, batch.structure_a, batch.volume_m)
    for field in dataclasses.fields(Pairs):
        if field.name not in ("shift_pc", "first_frame"):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(batch, field.name))
    nothing = Pairs.from_arrays([], [], np.empty((0, 3)), [])
    assert (nothing.n_atoms, nothing.n_structures) == (0, 1)


@pytest.mark.parametrize(("change", "message"), [
    ({"i_p": [1, 0]}, "pairs must be sorted by center, but i_p decreases"),
    ({"i_p": [0, 2]}, r"i_p must lie in 0 ... 1, but has values 0 ... 2"),
    ({"j_p": [-1, 0]}, r"j_p must lie in 0 ... 2, but has values -1 ... 0"),
    ({"j_p": [1]}, r"j_p must have the shape \(2,\), not \(1,\)"),
    ({"r_pc": [[0, 0, 1]]}, r"r_pc must have the shape \(2, 3\), not \(1, 3\)"),
    ({"r_pc": [[0, 0, 1], [0, np.nan, 0]]}, r"pair 1, atoms 1 and 2: vector .* is not finite"),
    ({"r_pc": [[0, 0, 1], [0, 0, 0]]}, r"pair 1: atoms 1 and 2 are at one place"),
    ({"n_centers": 4}, "there cannot be 4 centers among 3 atoms"),
    ({"structure_a": [0, 0]}, r"structure_a must have the shape \(3,\), not \(2,\)"),
    ({"structure_a": [0, 0, 1], "volume_m": [1.0]}, r"structure_a must lie in 0 ... 0, but has values 0 ... 1"),
])  # fmt: skip
def test_refused_arrays(change, message):
    good = {"i_p": [0, 1], "j_p": [1, 2], "r_pc": np.eye(3)[:2], "number_a": [1, 1, 1], "n_centers": 2}
    Pairs.from_arrays(**good)
    with pytest.raises(ValueError, match=message):
        Pairs.from_arrays(**good | change)


# ---- what is refused ----


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite(bad):
    atoms = molecule("H2O")
    atoms.positions[1, 2] = bad
    with pytest.raises(ValueError, match=r"^the position of atom 1 \(H\) is not finite"):
        Pairs.from_atoms(atoms, CUTOFF)
    with pytest.raises(ValueError, match=r"^frame 2: the position of atom 1 \(H\) is not finite"):
        Pairs.from_atoms([Atoms(), molecule("H2O"), atoms], CUTOFF)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("pbc", [True, False])
def test_cell_that_is_not_finite(bad, pbc):
    atoms = bulk("Cu")
    atoms.pbc = pbc
    atoms.cell.array[1, 0] = bad
    with pytest.raises(ValueError, match=r"^the cell is not finite"):
        Pairs.from_atoms(atoms, CUTOFF)
    with pytest.raises(ValueError, match=r"^frame 0: the cell is not finite"):
        Pairs.from_atoms([atoms], CUTOFF)


@pytest.mark.parametrize(("cell", "pbc"), [
    (np.zeros((3, 3)), True),
    (np.diag([3.0, 3.0, 0.0]), True),
    (np.diag([3.0, 3.0, 1e-5]), [False, False, True]),
    ([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [3.0, 3.0, 0.0]], True),
    ([[3.0, 0.0, 0.0], [6.0, 1e-5, 0.0], [0.0, 0.0, 3.0]], [True, True, False]),
])  # fmt: skip
def test_cell_without_volume(cell, pbc):
    with pytest.raises(ValueError, match=r"^frame 1: the cell has no volume in the periodic directions"):
        Pairs.from_atoms([Atoms("H"), Atoms("H", cell=cell, pbc=pbc)], CUTOFF)


@pytest.mark.parametrize("other", [[0.0, 0.0, 0.0], [0.0, 0.9 * SAME_PLACE, 0.0]])
def test_two_atoms_at_one_place(other):
    atoms = Atoms("OCO", [[0, 0, 0], [1.2, 0, 0], other])
    with pytest.raises(ValueError, match=r"^atom 0 \(O\) and atom 2 \(O\) are at one place: their distance is \S+ Ang"):
        Pairs.from_atoms(atoms, CUTOFF)
    atoms.positions[2, 1] = 1.1 * SAME_PLACE
    Pairs.from_atoms(atoms, CUTOFF)


def test_an_atom_at_the_place_of_an_image():
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 5.0]], cell=[4, 4, 5], pbc=True)
    message = r"^frame 0: atom 0 \(H\) and atom 1 \(F\) shifted by cell vectors \[0, 0, -1\] are at one place"
    with pytest.raises(ValueError, match=message):
        Pairs.from_atoms([atoms], CUTOFF)
    atoms.pbc = False
    Pairs.from_atoms(atoms, CUTOFF)


def test_an_atom_at_the_place_of_its_own_image():
    """A sheared cell whose short lattice vector, the difference of two long ones, is far below atomic distances."""
    atoms = Atoms("He", cell=[[3, 0, 0], [3, 9e-4, 0], [0, 0, 3]], pbc=True)
    with pytest.raises(ValueError, match=r"^the cell repeats every atom within 0.0009 Angstrom, nearer than any two"):
        Pairs.from_atoms(atoms, 0.5)


@pytest.mark.parametrize(("edge", "pbc"), [(0.2, True), (0.39, [True, False, False]), (0.39, [True, True, False])])
def test_an_image_nearer_than_any_nuclei(edge, pbc):
    """Quickly: the pairs within the cutoff are many millions."""
    atoms = Atoms("He", cell=[[edge, 0, 0], [0.1, edge + 0.1, 0], [0, 0.1, edge + 0.1]], pbc=pbc)
    with pytest.raises(ValueError, match=rf"^frame 3: the cell repeats every atom within {edge} Angstrom.*pbc \[True"):
        Pairs.from_atoms([atoms], 10.0, first_frame=3)
    atoms.pbc = False
    Pairs.from_atoms(atoms, CUTOFF)


def test_a_low_cell_without_near_images():
    """Two cell vectors nearly in line, but their differences are long."""
    plain = Atoms("He", cell=[[3, 0, 0], [0, 2, 0], [0, 0, 3]], pbc=True)
    sheared = Atoms("He", cell=[[3, 2, 0], [27, 20, 0], [0, 0, 3]], pbc=True)  # rows (1, 1) and (9, 10): height 0.18
    assert len(Pairs.from_atoms(sheared, CUTOFF).j_p) == len(Pairs.from_atoms(plain, CUTOFF).j_p) > 0


@pytest.mark.parametrize("far", [1e300, 1e12, -2e7])
@pytest.mark.parametrize("pbc", [True, False, [True, False, True]])
def test_positions_absurdly_far_out(far, pbc):
    atoms = bulk("Cu", cubic=True)
    atoms.pbc = pbc
    atoms.positions[2, 1] = far
    with pytest.raises(ValueError, match=r"^the position of atom 2 \(Cu\) is farther out than 1e\+07 Angstrom"):
        Pairs.from_atoms(atoms, CUTOFF)
    cell = Atoms("Cu", cell=[4, abs(far), 4], pbc=pbc)
    if cell.pbc[1]:
        with pytest.raises(ValueError, match=r"^the cell is longer than 1e\+07 Angstrom"):
            Pairs.from_atoms(cell, CUTOFF)
    else:
        Pairs.from_atoms(cell, CUTOFF)


def test_positions_far_out_but_sensible():
    """A hundred thousand cells away, distances still hold to the rounding of the coordinates."""
    atoms = bulk("Cu", cubic=True)
    moved = atoms.copy()
    moved.positions[2] += 250_000 * atoms.cell.array[1]
    expected, found = (np.sort(np.linalg.norm(Pairs.from_atoms(one, CUTOFF).r_pc, axis=1)) for one in (atoms, moved))
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_atoms_are_named_within_their_frame():
    frames = [molecule("H2O"), Atoms(), molecule("CO2")]
    assert Pairs.from_atoms(frames, CUTOFF, first_frame=7).named(4) == "frame 9: atom 1"
    assert Pairs.from_atoms(frames[0], CUTOFF).named(2) == "atom 2"
    assert Pairs.from_arrays([], [], np.zeros((0, 3)), [1, 1]).named(1) == "atom 1"


@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf])
def test_bad_cutoff(cutoff):
    with pytest.raises(ValueError, match=rf"^the cutoff must be a positive number, not {cutoff}"):
        Pairs.from_atoms(Atoms("H"), cutoff)


def test_empty_list():
    with pytest.raises(ValueError, match="no structure is given"):
        Pairs.from_atoms([], CUTOFF)


def test_wrong_shapes():
    pairs = Pairs.from_atoms(molecule("H2O"), CUTOFF)
    with pytest.raises(ValueError, match=r"dE_dr_pc must have the shape \(6, 3\), not \(3, 3\)"):
        pairs.pullback(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"x_dot_ac must have the shape \(3, 3\), not \(6, 3\)"):
        pairs.pushforward(np.zeros((6, 3)), np.zeros((1, 3, 3)))
    with pytest.raises(ValueError, match=r"strain_dot_mcc must have the shape \(1, 3, 3\), not \(3, 3\)"):
        pairs.pushforward(np.zeros((3, 3)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"virial_mcc must have the shape \(2, 3, 3\), not \(1, 3, 3\)"):
        stress_voigt(np.zeros((1, 3, 3)), [1.0, 1.0])


def test_stress():
    virial = np.arange(9.0).reshape(1, 3, 3)
    np.testing.assert_allclose(stress_voigt(virial, [2.0]), [[0, 2, 4, 3, 2, 1]])
    with pytest.raises(ValueError, match=r"^structure 1: stress is defined only for three periodic directions"):
        stress_voigt(np.zeros((2, 3, 3)), [2.0, 0.0])


@pytest.mark.parametrize("pbc", [pbc for pbc in itertools.product([False, True], repeat=3) if not all(pbc)])
def test_no_volume_without_three_periods(pbc):
    assert Pairs.from_atoms(triclinic(pbc=pbc), CUTOFF).volume_m.tolist() == [0.0]
