"""Energies of single atoms: every source, their order, and what the data cannot tell."""

import numpy as np
import pytest

from bpnumba.reference_energies import AMBIGUOUS, FITTED, GIVEN, ISOLATED, reference_energies
from bpnumba.units import BOHR, GPA, HARTREE, MEV

E0 = {"H": -13.6, "O": -432.0}
WATER, HYDROGEN, OXYGEN, PEROXIDE = [1, 1, 8], [1, 1], [8, 8], [1, 1, 8, 8]


def energies(frames):
    """Total energies of atoms without any interaction."""
    return [sum({1: E0["H"], 8: E0["O"]}[number] for number in numbers) for numbers in frames]


def test_least_squares_finds_the_energies_of_atoms_without_interaction():
    frames = [WATER, HYDROGEN, OXYGEN, PEROXIDE]
    energy, origin = reference_energies(frames, energies(frames), ("H", "O"))
    assert energy == pytest.approx(E0, abs=1e-10)
    assert origin == {"H": FITTED, "O": FITTED}


def test_least_squares_minimizes():
    frames = [WATER, HYDROGEN, OXYGEN, PEROXIDE]
    energy_m = np.add(energies(frames), [0.3, -0.2, 0.1, 0.4])
    energy, _ = reference_energies(frames, energy_m, ("H", "O"))
    count_me = np.array([[2, 1], [2, 0], [0, 2], [2, 2]])
    residual_m = energy_m - count_me @ [energy["H"], energy["O"]]
    np.testing.assert_allclose(count_me.T @ residual_m, 0.0, atol=1e-10)  # normal equations


def test_isolated_atoms_come_before_the_fit_and_the_lowest_counts():
    frames, energy_m = [[8], [8], WATER, WATER], [-430.0, -431.0, -460.0, -462.0]
    energy, origin = reference_energies(frames, energy_m, ("H", "O"), isolated_m=[True, True, False, False])
    assert energy == pytest.approx({"H": -15.0, "O": -431.0})
    assert origin == {"H": FITTED, "O": ISOLATED}


def test_single_atom_in_a_frame_is_not_isolated_unless_the_caller_says_so():
    energy, origin = reference_energies([[8], [8]], [-430.0, -432.0], ("O",))
    assert energy == pytest.approx({"O": -431.0})
    assert origin == {"O": FITTED}


def test_given_energies_come_first():
    energy, origin = reference_energies([[8]], [-430.0], ("O", "H"), given=E0 | {"C": -1000.0}, isolated_m=[True])
    assert energy == E0
    assert list(energy) == ["O", "H"]
    assert origin == {"O": GIVEN, "H": GIVEN}


def test_one_composition_fits_as_well_but_says_that_it_is_not_unique():
    energy, origin = reference_energies([WATER, WATER * 4], [-10.0, -40.0], ("H", "O"))
    assert 2 * energy["H"] + energy["O"] == pytest.approx(-10.0, abs=1e-12)
    assert energy == pytest.approx({"H": -4.0, "O": -2.0})  # least norm: parallel to the counts
    assert origin == {"H": AMBIGUOUS, "O": AMBIGUOUS}


def test_only_the_elements_that_are_not_separated_are_ambiguous():
    carbon = [6, 6]
    _, origin = reference_energies([WATER, carbon, WATER + carbon], [-10.0, -20.0, -30.0], ("H", "C", "O"))
    assert origin == {"H": AMBIGUOUS, "C": FITTED, "O": AMBIGUOUS}


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_frames_without_energy_are_left_out(nothing):
    frames = [WATER, HYDROGEN, [8], WATER]
    energy_m = [*energies(frames[:2]), nothing, nothing]
    energy, origin = reference_energies(frames, energy_m, ("H", "O"), isolated_m=[False, False, True, False])
    assert energy == pytest.approx(E0, abs=1e-10)
    assert origin == {"H": FITTED, "O": FITTED}


def test_without_any_energy_they_are_zero():
    energy, origin = reference_energies([WATER], [None], ("H", "O"))
    assert energy == {"H": 0.0, "O": 0.0}
    assert origin == {"H": AMBIGUOUS, "O": AMBIGUOUS}


def test_given_energies_must_cover_every_species():
    with pytest.raises(ValueError, match=r"but not for O$"):
        reference_energies([WATER], [-10.0], ("H", "O"), given={"H": -13.6})


def test_given_energies_must_be_finite():
    with pytest.raises(ValueError, match="given for O is not finite"):
        reference_energies([WATER], [-10.0], ("H", "O"), given={"H": -13.6, "O": np.nan})


def test_isolated_atom_must_be_one_atom():
    with pytest.raises(ValueError, match="frame 1 should be an isolated atom but has 3 atoms"):
        reference_energies([WATER, WATER], [-10.0, -10.0], ("H", "O"), isolated_m=[False, True])


def test_unknown_element_is_refused():
    with pytest.raises(ValueError, match="frame 1 holds elements other than H, O"):
        reference_energies([WATER, [6]], [-10.0, -1.0], ("H", "O"))


def test_units_are_those_of_codata():
    assert pytest.approx(160.2176634, rel=1e-7) == GPA
    assert pytest.approx(27.211386, rel=1e-7) == HARTREE
    assert pytest.approx(0.52917721, rel=1e-7) == BOHR
    assert MEV == 1000.0
