"""Potentials of RuNNer and n2p2 against numbers of n2p2 (libnnp), and there and back without loss.

The numbers lie in ../shared/reference/runner beside the repository; its README says how they were made.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from bpnumba import BPCalculator, Potential, load, load_runner
from bpnumba.formulas.cutoff import CUTOFFS, window
from bpnumba.functions import C2, C4, C5, G2, G4, G5, WC2, WC4, WC5, WG2, WG4
from bpnumba.io.runner import read_functions
from bpnumba.io.runner_lines import CUTOFF_TYPES, SHAPES, function_row
from bpnumba.network import n_weights
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.units import UNITS

pytestmark = pytest.mark.usefixtures("fast_kernels")

FOLDER = Path(__file__).parent.parent / ".." / "shared" / "reference" / "runner"
CASES = [path.parent.name for path in sorted(FOLDER.glob("*/meta.json")) if "4G" not in path.parent.name] or ["none"]
needs_numbers = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"n2p2's numbers are not here: no folder {FOLDER}")
MOST_ATOMS = 64  # of structures for derivatives of single functions
STEPS = (3e-5, 1e-5, 1e-6, 1e-7)  # of strains


def units_of(case):
    return "metal" if json.loads((FOLDER / case / "meta.json").read_text())["units"].startswith("Ang") else "atomic"


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Potential, all numbers, and the units of the files."""
    units = units_of(request.param)
    potential = load_runner(FOLDER / request.param / "potential", units)
    return potential, dict(np.load(FOLDER / request.param / "reference.npz")), UNITS[units]


def structures(numbers, length):
    """(key, Atoms) of each structure."""
    for key in sorted({key[:6] for key in numbers if key.endswith("_positions")}):
        cell = numbers.get(f"{key}lattice")
        cell = None if cell is None else cell * length
        yield key, Atoms(numbers[f"{key}numbers"], numbers[f"{key}positions"] * length, cell=cell, pbc=cell is not None)


def smallest(numbers, length):
    return min((atoms for _, atoms in structures(numbers, length)), key=len)


# ---- numbers of n2p2 -------------------------------------------------------------------------------------------------


@needs_numbers
def test_energies_and_forces(case):
    potential, numbers, (length, energy) = case
    for key, atoms in structures(numbers, length):
        found = potential.evaluate(atoms)
        E = numbers[f"{key}energy"][0]
        assert abs(found.energy_m[0] / energy - E) < max(1e-10, 1e-12 * abs(E))
        E0_a = np.array([potential.reference_energies[symbol] for symbol in atoms.symbols])
        energy_a = (found.energy_a - E0_a) / energy
        np.testing.assert_allclose(energy_a, numbers[f"{key}atomic_energies"], rtol=1e-12, atol=1e-10)
        pairs = Pairs.from_atoms(atoms, potential.cutoff)
        assert np.array_equal(np.bincount(pairs.i_p, minlength=len(atoms)), numbers[f"{key}num_neighbors"])
        forces, expected = found.forces_ac * length / energy, numbers[f"{key}forces"]
        if (pairs.i_p == pairs.j_p).any():
            # n2p2's forces are wrong where an atom sees its own images: they do not even sum to zero
            a, c = np.unravel_index(np.argmax(np.abs(forces)), forces.shape)
            forces = forces[a, c]
            expected = -slope(potential, atoms, lambda h, a=a, c=c: moved(h, a, c)) * length / energy
        np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-10)


@needs_numbers
def test_symmetry_functions(case):
    """Values, scaled values, and the slopes of energy and functions; columns in n2p2's order, line by line."""
    potential, numbers, (length, energy) = case
    for key, atoms in structures(numbers, length):
        descriptors = potential.symmetry_functions.describe(Pairs.from_atoms(atoms, potential.cutoff))
        x_e = potential.inputs(descriptors)
        _, dE_dG_e = potential.energies_and_slopes(descriptors.layout, x_e)
        for e, symbol in enumerate(potential.species):
            order = order_in_file(numbers, symbol)
            expected = numbers[f"{key}G_scaled_{symbol}"]
            assert np.array_equal(descriptors.layout.atoms_e[e], numbers[f"{key}index_{symbol}"])
            np.testing.assert_allclose(x_e[e][:, order], expected, rtol=1e-10, atol=1e-10)
            G = numbers[f"{key}G_unscaled_{symbol}"]
            np.testing.assert_allclose(descriptors.values[e][:, order], G, rtol=1e-10, atol=1e-10)
            dE_dx = dE_dG_e[e] / potential.scalings[e].factor_s / energy
            np.testing.assert_allclose(dE_dx[:, order], numbers[f"{key}dEdGscaled_{symbol}"], rtol=1e-10, atol=1e-10)


@needs_numbers
def test_derivatives_of_the_first_atom(case):
    potential, numbers, (length, _) = case
    for key, atoms in structures(numbers, length):
        given = [symbol for symbol in potential.species if f"{key}dGdr_first_{symbol}" in numbers]
        if not given or len(atoms) > MOST_ATOMS:
            continue
        dG_dr = potential.symmetry_functions.derivatives(atoms).dG_dr
        for symbol in given:
            order = order_in_file(numbers, symbol)
            factor = potential.scalings[potential.species.index(symbol)].factor_s
            first, expected = numbers[f"{key}index_{symbol}"][0], numbers[f"{key}dGdr_first_{symbol}"]
            found = (dG_dr[first][..., :len(factor)] * factor * length)[..., order].transpose(2, 0, 1)
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11)


def order_in_file(numbers, symbol):
    """Places of the functions of an element in n2p2's order; here they stand in the order of their lines."""
    return np.argsort(np.argsort(numbers[f"sf_line_{symbol}"]))


# ---- stress ----------------------------------------------------------------------------------------------------------


def moved(h, a, c):
    """A change of atoms: one coordinate of one atom."""

    def change(atoms):
        atoms.positions[a, c] += h

    return change


def strained(h, strain):
    def change(atoms):
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + h * strain), scale_atoms=True)

    return change


def slope(potential, atoms, change, h=2e-4):
    """The derivative of the energy along a change, by central differences of fourth order; without reference energies,
    which are large and do not change."""
    E0_a, energies = np.array([potential.reference_energies[symbol] for symbol in atoms.symbols]), []
    for step in (1, -1, 2, -2):
        copy = atoms.copy()
        change(step * h)(copy)
        energies.append((potential.evaluate(copy).energy_a - E0_a).sum())
    return (8 * (energies[0] - energies[1]) - (energies[2] - energies[3])) / (12 * h)


@needs_numbers
def test_stress(case):
    """Of every periodic structure, along one strain that has all components.

    Where a step takes a pair or a neuron across a kink, or a pair across a hard cutoff, it must be smaller: one
    distance is 1e-6 Angstrom from a cutoff radius.
    """
    potential, numbers, (length, _) = case
    strain = np.array([[0.5, 0.2, -0.1], [0.2, -0.4, 0.3], [-0.1, 0.3, 0.7]])
    for _, atoms in structures(numbers, length):
        if atoms.pbc.all():
            stress = potential.evaluate(atoms).stress_mv[0]
            found = atoms.get_volume() * (stress[:3] @ np.diag(strain) + 2 * stress[3:] @ strain[[1, 0, 0], [2, 2, 1]])
            errors = (abs(found - slope(potential, atoms, lambda h: strained(h, strain), h)) for h in STEPS)
            assert any(error < 2e-8 * max(10.0, abs(found)) for error in errors)


# ---- there and back --------------------------------------------------------------------------------------------------


@needs_numbers
@pytest.mark.parametrize("units", UNITS)
def test_round_trip(case, units, tmp_path):
    potential, numbers, (length, _) = case
    potential.save_runner(tmp_path, units)
    again = load_runner(tmp_path, units)
    check_same(again, potential, smallest(numbers, length))


def check_same(again, potential, atoms):
    """The same weights to the last bit, and the same energies to rounding errors."""
    assert again.theta.tobytes() == potential.theta.tobytes()
    assert again.species == potential.species
    for one, two in zip(again.networks, potential.networks, strict=True):
        assert (one.sizes, one.activations) == (two.sizes, two.activations)
    for one, two in zip(again.scalings, potential.scalings, strict=True):
        assert one.shift_s.tobytes() == two.shift_s.tobytes()
        assert one.minimum_s.tobytes() == two.minimum_s.tobytes()
        np.testing.assert_allclose(one.factor_s, two.factor_s, rtol=1e-15)
    for name in potential.symmetry_functions.functions.dtype.names:
        one, two = again.symmetry_functions.functions[name], potential.symmetry_functions.functions[name]
        if two.dtype.kind == "f":
            np.testing.assert_allclose(one, two, rtol=1e-15)
        else:
            assert np.array_equal(one, two)
    one, two = again.evaluate(atoms), potential.evaluate(atoms)
    assert abs(one.energy_m[0] - two.energy_m[0]) <= 1e-13 * np.abs(two.energy_a).sum()
    np.testing.assert_allclose(one.forces_ac, two.forces_ac, rtol=0, atol=1e-11 * max(1.0, np.abs(two.forces_ac).max()))


WATERS = Atoms("OHHOHH", [[0, 0, 0], [0.9, 0.3, 0], [-0.4, 0.8, 0.2], [2.7, 0.1, 0.4], [3.1, 0.9, 0], [2.9, -0.6, 1.0]])


def native(cutoff="poly2", alpha=0.2, **options):
    """A potential of bpnumba with every kind that n2p2 knows, in no useful order."""
    g = {"cutoff": cutoff, "alpha": alpha}
    functions = SymmetryFunctions.from_functions([
        C5("O", "H", "O", 0.3, 5.1, 20.0, 95.0, "poly3a"), G4("O", "O", "H", 0.02, 3.0, -1.0, 4.7, rs=0.1, **g),
        WG4("H", 0.03, 2.0, 1.0, 4.9, rs=0.2, **g), G2("O", "H", 0.7, 1 / 7, 5.0, **g), C2("H", "O", -4.0, 4.0, "exp"),
        WC4("H", 0.2, 4.1, 0.0, 180.0, "poly1"), G2("O", "O", 0.1, 0.0, 5.0, **g), WC2("O", 0.4, 5.2, "poly1a"),
        G5("H", "H", "O", 0.04, 1.5, 0.5, 5.0, **g), WG2("O", 1.1, 0.3, 4.4, **g), G2("H", "H", 0.05, 0.0, 5.0, **g),
        C4("O", "H", "H", 0.1, 5.3, -60.0, 60.0), WC5("H", 0.5, 4.6, 30.0, 120.0), C2("H", "H", 0.3, 4.0, "poly2"),
    ])  # fmt: skip
    frames = [WATERS.copy() for _ in range(4)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    energies = {"H": -13.6, "O": -1 / 3}
    options = {"hidden": {"H": (4, 3), "O": (5, 2)}, "activation": "softplus"} | options
    return Potential.untrained(functions, frames, seed=3, reference_energies=energies, **options)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("hidden", [(4, 3), (), {"H": (4, 3), "O": (2, 3)}, {"H": (4,), "O": (7,)}], ids=str)
def test_round_trip_of_ours(hidden, units, tmp_path):
    potential = native(hidden=hidden)
    potential.save_runner(tmp_path / "new" / "folder", units)
    check_same(load_runner(tmp_path / "new" / "folder", units), potential, WATERS)
    again = read_functions(tmp_path / "new" / "folder" / "input.nn", units)
    assert np.array_equal(again.functions["kind"], potential.symmetry_functions.functions["kind"])


def test_networks_of_different_depth(tmp_path):
    potential = native(hidden={"H": (), "O": (5, 2, 3)})
    with pytest.warns(UserWarning, match="n2p2 stops"):
        potential.save_runner(tmp_path)
    check_same(load_runner(tmp_path), potential, WATERS)


def test_the_last_hidden_layer_is_filled_up(tmp_path):
    """n2p2 gives all elements the last number of the global line: it must be true for all of them."""
    native(hidden={"H": (4, 3), "O": (6, 5)}).save_runner(tmp_path)
    text = (tmp_path / "input.nn").read_text()
    assert "global_nodes_short 4 5\n" in text
    assert "element_nodes_short O 6 5\n" in text
    for z, sizes in ((1, (7, 4, 5, 1)), (8, (7, 6, 5, 1))):
        lines = (tmp_path / f"weights.{z:03d}.data").read_text().splitlines()
        assert sum(not line.startswith("#") for line in lines) == n_weights(sizes)


def test_weights_that_are_zero_stay(tmp_path):
    potential = native(hidden=(4, 3))
    potential = potential.with_weights(0.0 * potential.theta)
    potential.save_runner(tmp_path)
    assert load_runner(tmp_path).theta.tobytes() == potential.theta.tobytes()


def test_outputs_that_differ_cannot_be_written(tmp_path):
    potential = native()
    of_H, of_O = potential.networks
    other = replace(of_H, activations=(*of_H.activations[:-1], "tanh"))
    with pytest.raises(ValueError, match="of the output"):
        replace(potential, networks=(other, of_O)).save_runner(tmp_path)


def test_round_trip_of_cutoff_functions(tmp_path, monkeypatch):
    monkeypatch.setenv("BPNUMBA_KERNELS", "plain")  # many sets of functions
    for cutoff in CUTOFF_TYPES:
        potential = native(cutoff, alpha=0.0 if cutoff in ("hard", "tanh", "tanh_normalized") else 0.3)
        potential.save_runner(tmp_path)
        check_same(load_runner(tmp_path), potential, WATERS)


def test_what_is_no_folder_of_a_potential(tmp_path):
    native().save_runner(tmp_path)
    with pytest.raises(NotADirectoryError, match="give the folder"):
        load_runner(tmp_path / "input.nn")
    for read in (load, BPCalculator):
        with pytest.raises(IsADirectoryError, match="load_runner reads"):
            read(tmp_path)


def test_the_output_of_an_element_is_that_of_all(tmp_path):
    """n2p2 takes the last letter of the global line for every element."""
    potential = native()
    potential.save_runner(tmp_path)
    path = tmp_path / "input.nn"
    text = path.read_text().replace("element_activation_short O p p l", "element_activation_short O p p t")
    assert "O p p t" in text
    path.write_text(text)
    assert load_runner(tmp_path).networks[1].activations == potential.networks[1].activations


# ---- numbers of n2p2's own tests -------------------------------------------------------------------------------------


def unit_tests():
    path = FOLDER / "n2p2_unit_tests.json"
    return json.loads(path.read_text()) if path.exists() else None


@needs_numbers
def test_functions_of_unit_tests():
    count = 0
    for fixture in unit_tests()["symmetry_functions"]["fixtures"].values():
        atoms = Atoms(fixture["symbols"], fixture["positions"])
        for test in fixture["tests"]:
            row = function_row(test["line"].split(), "tanh", 0.0)
            others = [G2(symbol, symbol, 0.0, 0.0, 1.0) for symbol in fixture["elements"]]
            G = SymmetryFunctions.from_functions([row, *others]).create(atoms)
            assert abs(G[0, 0] - test["value"]) < 2.2e-13 * max(1.0, abs(test["value"]))
            count += 1
    assert count == 50


@needs_numbers
def test_cutoff_functions_of_unit_tests():
    given = unit_tests()["cutoff_functions"]
    for name, f, df in zip(CUTOFF_TYPES, given["f"], given["df"], strict=True):
        inner = 0.0 if name in ("hard", "tanh", "tanh_normalized") else given["alpha"] * given["rc"]
        code = list(CUTOFFS).index(name)
        np.testing.assert_allclose(window(code, given["test_radius"], inner, given["rc"], False), (f, df), rtol=1e-12)
        near = {"tanh": 3.6752000144553820e-01, "tanh_normalized": 8.3197479809356334e-01}.get(name, 1.0)
        value, _ = window(code, given["inner_test_radius"], inner, given["rc"], False)
        np.testing.assert_allclose(value, near, rtol=1e-14)


@needs_numbers
def test_cores_of_unit_tests():
    """The screening functions of n2p2 are 1 - core((r - inner)/(outer - inner)), with cores of compact functions."""
    given = unit_tests()["screening_functions"]
    names = {"c": "cosine"} | {word: name for name, word in SHAPES.items()}
    for test in given["values"]:
        code = list(CUTOFFS).index(names[test["type"]])
        core, slope = window(code, given["test_radius"], given["inner"], given["outer"], False)
        np.testing.assert_allclose((1.0 - core, -slope), (test["f"], test["df"]), rtol=1e-13)
        assert window(code, given["below"], given["inner"], given["outer"], False) == (1.0, 0.0)
        assert window(code, given["above"], given["inner"], given["outer"], False) == (0.0, 0.0)
