"""The ZBL repulsion against numbers by hand, the textbook in plain Python, and differences."""

import itertools
import json

import numpy as np
import pytest
import reference
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from bpnumba import ZBL
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.repulsion import screening, zbl
from bpnumba.pairs import Pairs
from bpnumba.repulsion import WINDOWS
from bpnumba.units import COULOMB

ELEMENTS = "H", "C", "O"
WIDE = 3.0
"""Covalent radii reach nobody in most of the systems; the outer radii are that many times as large here."""


def wide(window="poly2"):
    return ZBL.for_species(ELEMENTS, outer=WIDE, inner=0.4, window=window)


def radii(outer, inner):
    """(inner, outer) in Angstrom of two atomic numbers, written anew."""
    numbers = [atomic_numbers[symbol] for symbol in ELEMENTS]
    sums = {(y, z): outer * (covalent_radii[y] + covalent_radii[z])
            for y, z in itertools.combinations_with_replacement(sorted(numbers), 2)}  # fmt: skip
    return {pair: (inner * far, far) for pair, far in sums.items()}


# ---- the formula -----------------------------------------------------------------------------------------------------


def test_screening_by_hand():
    """At x = 1: 0.18175 / 24.5277 + 0.50986 / 2.56585 + 0.28022 / 1.49616 + 0.02817 / 1.22338, with a calculator."""
    assert screening(0.0)[0] == pytest.approx(1.0, abs=1e-12)  # the four parts are normalized
    assert screening(1.0)[0] == pytest.approx(0.0074100 + 0.1987098 + 0.1872930 + 0.0230264, abs=2e-6)
    assert screening(0.0)[1] == pytest.approx(-(0.5815637 + 0.4804360 + 0.1129006 + 0.0056796), abs=2e-6)


def test_two_silicon_nuclei_by_hand():
    """14^0.23 = e^(0.23 * 2.639057) = 1.834888, a = 0.46850 / 3.669775 = 0.127665; at r = a the energy is
    14.39965 * 196 / 0.127665 * phi(1) = 22107.3 * 0.416439 eV."""
    repulsion = ZBL.for_species("Si")
    energy = repulsion.evaluate(Atoms("Si2", [[0, 0, 0], [0, 0, 0.127665]])).energy_m[0]
    assert energy == pytest.approx(22107.3 * 0.416439, rel=1e-5)


def test_nothing_is_screened_at_no_distance():
    """Coulomb's law of two protons at a ten thousandth of the screening length, up to the first order in r/a."""
    length = 0.46850 / 2
    r = 1e-4 * length
    value, _ = zbl(0.5 * r * r, COULOMB, length, 4, 0.5, 1.0)
    assert value == pytest.approx(14.3996454784 / r * (1.0 - 1e-4 * 1.18058), rel=2e-8)


@pytest.mark.parametrize("r", [0.2, 0.7, 1.0, 1.3, 2.2, 2.39])
@pytest.mark.parametrize("window", WINDOWS)
def test_slope(r, window, difference):
    def energy(distance):
        return zbl(0.5 * distance * distance, 14.4 * 36, 0.1552, list(CUTOFFS).index(window), 1.0, 2.4)

    value, slope = energy(r)
    numerical = difference(lambda x: energy(r + x)[0]) / r  # du = r dr
    assert slope == pytest.approx(numerical, rel=1e-7, abs=1e-8)


def test_exactly_zero_from_the_outer_radius_on():
    for r in (2.4, np.nextafter(2.4, 9), 3.0, 100.0):
        assert zbl(0.5 * r * r, 14.4 * 36, 0.1552, 4, 1.0, 2.4) == (0.0, 0.0)
    near = np.nextafter(2.4, 0)
    assert zbl(0.5 * near * near, 14.4 * 36, 0.1552, 4, 1.0, 2.4)[0] < 1e-15


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("end", ["inner_ee", "outer_ee"])
def test_second_derivative_is_continuous_at_both_radii(window, end):
    """Slopes of the force on both sides of the radius differ by an amount that vanishes with their distance from it;
    with fewer derivatives it would stay."""
    repulsion = ZBL.for_species("C", window=window)
    radius = getattr(repulsion, end)[0, 0]

    def jump(h):
        r = radius + h * np.array([-1.01, -0.99, 0.99, 1.01])
        force = repulsion.evaluate([Atoms("C2", [[0, 0, 0], [0, 0, x]]) for x in r]).forces_ac[1::2, 2]
        return abs((force[1] - force[0]) - (force[3] - force[2])) / (0.02 * h)

    assert jump(1e-3) < 0.6 * jump(2e-3) + 1e-6  # rounding, where three and more derivatives are continuous


# ---- structures that hurt --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", ["poly2", "poly4a"])
def test_energies_as_in_the_textbook(atoms, window):
    """With the elements of the systems, half of every pair to either atom."""
    prediction = wide(window).evaluate(atoms)
    expected = reference.repulsion(atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.tolist(),
                                   atoms.pbc.tolist(), radii(WIDE, 0.4), window)  # fmt: skip
    np.testing.assert_allclose(prediction.energy_a, expected, rtol=1e-11, atol=1e-13)
    assert prediction.energy_m[0] == pytest.approx(sum(expected), rel=1e-11)
    assert len(prediction.extrapolation) == 0
    assert prediction.spread is None


def test_most_systems_feel_it(systems):
    energies = {name: wide().evaluate(atoms).energy_m[0] for name, atoms in systems.items()}
    assert sum(energy > 0.1 for energy in energies.values()) > len(energies) / 2
    assert energies["no neighbors"] == 0.0


def test_forces_and_virial_are_slopes_of_the_energy(atoms, difference):
    repulsion, random = wide("poly3"), np.random.default_rng(0)
    prediction = repulsion.evaluate(atoms)
    direction, strain = random.normal(size=(len(atoms), 3)), random.normal(size=(3, 3))

    def moved(x):
        other = atoms.copy()
        other.positions += x * direction
        return repulsion.evaluate(other).energy_m[0]

    def strained(x):
        other = atoms.copy()
        deformation = (np.eye(3) + x * strain).T
        other.cell[:], other.positions[:] = atoms.cell.array @ deformation, atoms.positions @ deformation
        return repulsion.evaluate(other).energy_m[0]

    scale = max(1.0, np.abs(prediction.forces_ac).max(initial=0.0))
    assert -(prediction.forces_ac * direction).sum() == pytest.approx(difference(moved), rel=1e-8, abs=1e-7 * scale)
    assert (prediction.virial_mcc[0] * strain).sum() == pytest.approx(difference(strained), rel=1e-8, abs=1e-7 * scale)
    np.testing.assert_allclose(prediction.forces_ac.sum(axis=0), 0.0, atol=1e-11 * scale)


def test_stress_by_hand():
    """A chain of carbon atoms along x: W_xx = r E'(r) of one bond per cell."""
    atoms, repulsion = Atoms("C", cell=[1.0, 8.0, 9.0], pbc=True), ZBL.for_species("C")
    prediction = repulsion.evaluate(atoms)
    (inner, outer), h = (0.76, 1.52), 1e-4

    def bond(r):
        return reference.zbl(6, 6, r) * reference.polynomial_cutoff(r - inner, outer - inner, 2)

    slope = (bond(1 + h) - bond(1 - h)) / (2 * h)
    assert prediction.energy_m[0] == pytest.approx(bond(1.0), rel=1e-11)
    assert prediction.stress_mv[0, 0] == pytest.approx(slope / 72.0, rel=1e-5)
    assert slope < -50.0  # eV/Angstrom: it pushes
    assert not prediction.stress_mv[0, 1:].any()


def test_a_batch_is_what_its_structures_are(systems):
    frames = list(systems.values())
    together, repulsion = wide().evaluate(frames), wide()
    alone = [repulsion.evaluate(frame) for frame in frames]
    assert together.energy_m.tolist() == [float(one.energy_m[0]) for one in alone]
    np.testing.assert_array_equal(together.forces_ac, np.concatenate([one.forces_ac for one in alone]))
    np.testing.assert_array_equal(together.virial_mcc, np.concatenate([one.virial_mcc for one in alone]))


def test_pairs_of_a_larger_cutoff_and_ghosts(systems):
    """What is farther than the outer radius adds nothing; a ghost gets a force, its energy belongs to another."""
    atoms, repulsion = systems["isolated atom"], wide()
    far = repulsion.predict(Pairs.from_atoms(atoms, repulsion.cutoff + 2.0))
    near = repulsion.evaluate(atoms)
    np.testing.assert_allclose(far.forces_ac, near.forces_ac, rtol=0, atol=1e-12 * np.abs(near.forces_ac).max())
    ghost = repulsion.predict(Pairs.from_arrays([0], [1], [[0.0, 0.0, 1.1]], [6, 8], n_centers=1))
    both = repulsion.evaluate(Atoms("CO", [[0, 0, 0], [0, 0, 1.1]]))
    assert ghost.energy_a.tolist() == [both.energy_a[0]]
    np.testing.assert_allclose(ghost.forces_ac, both.forces_ac / 2, rtol=1e-14)


def test_plain_python_and_machine_code_agree():
    """The kernel compiles the formula that floats go through, too."""
    repulsion = ZBL.for_species(["C", "O"])
    row = repulsion.table_ee[0, 1]
    value, slope = zbl(0.5 * 0.81**2, *(float(row[name]) for name in ("strength", "length")), 4,
                       *(float(row[name]) for name in ("inner", "outer")))  # fmt: skip
    prediction = repulsion.evaluate(Atoms("CO", [[0, 0, 0], [0, 0, 0.81]]))
    assert prediction.energy_m[0] == pytest.approx(value, rel=1e-14)
    assert prediction.forces_ac[1, 2] == pytest.approx(-slope * 0.81, rel=1e-14)


# ---- the table of radii ----------------------------------------------------------------------------------------------


def test_default_radii():
    repulsion = ZBL.for_species(["O", "H", "O"])
    assert repulsion.species == ("H", "O")
    np.testing.assert_allclose(repulsion.outer_ee, [[0.62, 0.97], [0.97, 1.32]])
    np.testing.assert_allclose(repulsion.inner_ee, 0.5 * repulsion.outer_ee)
    assert repulsion.cutoff == repulsion.outer_ee[1, 1]
    assert str(repulsion).splitlines()[2] == "   H O: 0.485 to 0.970"


@pytest.mark.parametrize(("name", "length", "most"), [
    ("SiSi", 2.35, 0.0), ("OH", 0.96, 1e-3), ("CC", 1.42, 0.1), ("CO", 1.43, 0.0), ("CH", 1.09, 0.0),
    ("NaCl", 2.36, 0.1),
])  # fmt: skip
def test_bonds_at_their_usual_length_feel_little(name, length, most):
    """At most the given energy in eV; at half of the length there are tens of eV or more."""
    atoms = Atoms(name, [[0, 0, 0], [0, 0, length]])
    repulsion = ZBL.for_species(set(atoms.symbols))
    assert 0.0 <= repulsion.evaluate(atoms).energy_m[0] <= most
    atoms.positions[1] /= 2
    assert repulsion.evaluate(atoms).energy_m[0] > 10.0


def test_round_trip_of_plain_values():
    repulsion = ZBL.for_species(ELEMENTS, outer=1 / 3, inner=1 / 7, window="poly4")
    again = ZBL.of(json.loads(json.dumps(repulsion.plain())))
    assert (again.species, again.window) == (repulsion.species, repulsion.window)
    assert again.inner_ee.tobytes() == repulsion.inner_ee.tobytes()
    assert again.outer_ee.tobytes() == repulsion.outer_ee.tobytes()


GOOD = {"species": ["H", "O"], "inner": [[0.3, 0.5], [0.5, 0.7]], "outer": [[0.6, 1.0], [1.0, 1.4]], "window": "poly2"}
BAD_PLAIN = [
    ([], "must have exactly the entries inner, outer, species, window"),
    ({"species": ["H"]}, "must have exactly the entries"),
    (GOOD | {"more": 1}, "must have exactly the entries"),
    (GOOD | {"species": "HO"}, "must have a list of chemical symbols"),
    (GOOD | {"species": ["H", 8]}, "must have a list of chemical symbols"),
    (GOOD | {"species": ["H", {}]}, "must have a list of chemical symbols"),
    (GOOD | {"species": ["H", "Xx"]}, "'Xx' is not a chemical symbol"),
    (GOOD | {"species": ["O", "H"]}, "must be sorted by atomic number"),
    (GOOD | {"species": ["H", "H"]}, "must be sorted by atomic number"),
    (GOOD | {"species": [], "inner": [], "outer": []}, "must be sorted by atomic number"),
    (GOOD | {"species": ["H", "C", "O"]}, r"inner_ee must have the shape \(3, 3\), not \(2, 2\)"),
    (GOOD | {"window": "poly1"}, "the window of a repulsion must be one of poly2, "),
    (GOOD | {"window": "hard"}, "the window of a repulsion must be one of"),
    (GOOD | {"window": 4}, "must have a list of chemical symbols and the name of a window"),
    (GOOD | {"window": ["poly2"]}, "must have a list of chemical symbols and the name of a window"),
    (GOOD | {"inner": 0.5}, "the inner radii of a ZBL repulsion must be rows of numbers, not 0.5"),
    (GOOD | {"inner": [0.3, 0.5]}, "must be rows of numbers"),
    (GOOD | {"inner": [[0.3, 0.5], [0.5]]}, "must be rows of numbers"),
    (GOOD | {"inner": [["0.3", 0.5], [0.5, 0.7]]}, "must be rows of numbers"),
    (GOOD | {"inner": [[True, 0.5], [0.5, 0.7]]}, "must be rows of numbers"),
    (GOOD | {"outer": [[None, 1.0], [1.0, 1.4]]}, "the outer radii of a ZBL repulsion must be rows of numbers"),
    (GOOD | {"outer": [[float("nan"), 1.0], [1.0, 1.4]]}, "those of H and H are 0.3 and nan"),
    (GOOD | {"outer": [[10**400, 1.0], [1.0, 1.4]]}, "must be rows of numbers"),
    (GOOD | {"outer": [[0.6, 1.0], [1.1, 1.4]]}, "must be symmetric, but those of H and O differ"),
    (GOOD | {"outer": [[0.6, 1.0], [1.0, 1e9]]}, "outer <= 6 Angstrom; those of O and O are 0.7 and 1e.09"),
    (GOOD | {"outer": [[0.2, 1.0], [1.0, 1.4]]}, "0 <= inner < outer"),
    (GOOD | {"inner": [[-0.1, 0.5], [0.5, 0.7]]}, "those of H and H are -0.1 and 0.6"),
]


@pytest.mark.parametrize(("plain", "message"), BAD_PLAIN, ids=[message[:30] for _, message in BAD_PLAIN])
def test_plain_values_that_are_no_repulsion(plain, message):
    with pytest.raises(ValueError, match=message):
        ZBL.of(plain)


def test_good_plain_values():
    assert ZBL.of(GOOD).plain() == GOOD


@pytest.mark.parametrize(("options", "message"), [
    ({"outer": 0.0}, "0 <= inner < outer"), ({"outer": float("nan")}, "0 <= inner < outer"),
    ({"inner": 1.0}, "0 <= inner < outer"), ({"inner": -0.5}, "0 <= inner < outer"),
    ({"window": "cosine"}, "the window of a repulsion"), ({"species": "Xx"}, "'Xx' is not a chemical symbol"),
])  # fmt: skip
def test_options_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        ZBL.for_species(**({"species": "Si"} | options))


def test_bad_structures_are_named():
    repulsion = ZBL.for_species(["H", "O"])
    with pytest.raises(ValueError, match="^frame 1: atom 2 is C, which the ZBL repulsion does not know; it knows H, O"):
        repulsion.evaluate([Atoms("H"), Atoms("OHC", np.diag([1.0, 2.0, 3.0]))])
    with pytest.raises(ValueError, match="are at one place"):
        repulsion.evaluate(Atoms("H2"))
    with pytest.raises(ValueError, match="the list of atoms is empty"):
        repulsion.evaluate([])
    assert repulsion.evaluate(Atoms()).energy_m.tolist() == [0.0]
