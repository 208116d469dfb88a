"""Committees: mean and spread of what their members say one by one."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from bpnumba import Committee, Potential, Prediction, SymmetryFunctions
from bpnumba.descriptors import Descriptors
from bpnumba.pairs import Pairs
from bpnumba.scaling import Scaling

CUTOFF = 4.5


def rattled(seed=0, a=4.36, n=None):
    atoms = bulk("SiC", "zincblende", a=a, cubic=True)
    atoms.rattle(0.15, seed=seed)
    return atoms if n is None else atoms[:n]


@pytest.fixture(scope="module")
def members():
    """Different weights and different architectures."""
    functions = SymmetryFunctions(["Si", "C"], CUTOFF, g2_params=[[0.1, 0.0], [0.8, 1.9]], g4_params=[[0.02, 2, -1]])
    frames, energies = [rattled(seed) for seed in range(3)], {"Si": -5.5, "C": -9.25}
    shapes = ((5,), "tanh"), ((4, 4), "softplus"), ({"Si": (3,), "C": ()}, "tanh"), ((7,), "tanh")
    return tuple(Potential.untrained(functions, frames, hidden, activation, seed=n, reference_energies=energies)
                 for n, (hidden, activation) in enumerate(shapes))  # fmt: skip


@pytest.fixture(scope="module")
def committee(members):
    return Committee(members, {"note": "four"})


def textbook(values):
    """Mean and sample standard deviation along the first axis, in two passes."""
    n, mean = len(values), sum(values) / len(values)
    return mean, (sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5


FRAMES = [rattled(1), rattled(2, n=3), Atoms("C"), rattled(3, a=4.1)]
FRAMES[1].pbc = False


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_mean_and_spread_of_the_members(committee, members, kernels, request):
    if kernels == "fast":
        request.getfixturevalue("fast_kernels")
    alone, together = [member.evaluate(FRAMES) for member in members], committee.evaluate(FRAMES)
    for name, std in (("energy_m", "energy_std_m"), ("forces_ac", "forces_std_ac"), ("virial_mcc", "virial_std_mcc")):
        mean, deviation = textbook([getattr(prediction, name) for prediction in alone])
        np.testing.assert_allclose(getattr(together, name), mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(getattr(together.spread, std), deviation, rtol=0, atol=1e-12)
    np.testing.assert_allclose(together.energy_a, textbook([one.energy_a for one in alone])[0], rtol=0, atol=1e-12)
    assert together.volume_m.tolist() == alone[0].volume_m.tolist()
    assert together.extrapolation.tolist() == alone[0].extrapolation.tolist()
    assert len(together.extrapolation)
    assert together.spread.forces_std_ac.max() > 0.01  # eV/Angstrom: networks with random weights disagree
    assert alone[0].spread is None


def test_spread_of_the_stress(committee, members):
    """From the virial's, as if from the stresses of the members."""
    frames = [FRAMES[0], FRAMES[3]]
    prediction = committee.evaluate(frames)
    _, expected = textbook([member.evaluate(frames).stress_mv for member in members])
    np.testing.assert_allclose(prediction.spread.stress_std_mv(prediction.volume_m), expected, rtol=0, atol=1e-13)
    with pytest.raises(ValueError, match="structure 1: stress is defined only for three periodic directions"):
        committee.evaluate(FRAMES[:2]).spread.stress_std_mv(np.array([80.0, 0.0]))


def test_members_alike_do_not_disagree(members):
    prediction = Committee((members[0],) * 3).evaluate(FRAMES)
    np.testing.assert_allclose(prediction.energy_m, members[0].evaluate(FRAMES).energy_m, rtol=1e-14)
    for deviation in prediction.spread:
        assert np.abs(deviation).max() < 1e-13


def test_forces_and_virial_are_slopes_of_the_mean_energy(committee, difference):
    atoms = rattled(4)
    prediction, direction = committee.evaluate(atoms), np.random.default_rng(0).normal(size=(8, 3))
    strain = np.random.default_rng(1).normal(0.0, 0.2, (3, 3))

    def moved(x):
        other = atoms.copy()
        other.positions += x * direction
        return committee.evaluate(other).energy_m[0]

    def strained(x):
        other = atoms.copy()
        other.set_cell(atoms.cell.array @ (np.eye(3) + x * strain).T, scale_atoms=True)
        return committee.evaluate(other).energy_m[0]

    slope = difference(moved)
    assert -(prediction.forces_ac * direction).sum() == pytest.approx(slope, rel=1e-8, abs=1e-8)
    slope = difference(strained)
    assert (prediction.virial_mcc[0] * strain).sum() == pytest.approx(slope, rel=1e-8, abs=1e-7)


def test_atoms_are_described_once(committee, monkeypatch):
    calls, describe = [], SymmetryFunctions.describe
    monkeypatch.setattr(SymmetryFunctions, "describe", lambda *given: calls.append(1) or describe(*given))
    contractions, forces = [], Descriptors.forces
    monkeypatch.setattr(Descriptors, "forces", lambda *given: contractions.append(1) or forces(*given))
    committee.evaluate(FRAMES)
    assert (len(calls), len(contractions)) == (1, 4)


def test_energies_alone(committee):
    pairs = Pairs.from_atoms(FRAMES, CUTOFF)
    np.testing.assert_allclose(committee.energies(pairs), committee.evaluate(FRAMES).energy_m, rtol=1e-14)
    np.testing.assert_allclose(committee.predict(pairs).energy_m, committee.evaluate(FRAMES).energy_m, rtol=1e-14)


def test_batches_are_joined_with_their_spread(committee, monkeypatch):
    whole = committee.evaluate(FRAMES)
    parts = [committee.evaluate(FRAMES[:1]), committee.evaluate(FRAMES[1:])]
    joined = Prediction.join(parts)
    for one, other in zip(joined.spread, whole.spread, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)
    assert joined.extrapolation["structure"].tolist() == whole.extrapolation["structure"].tolist()
    assert Prediction.join([parts[0], replace(parts[1], spread=None)]).spread is None
    monkeypatch.setattr("bpnumba.prediction.batches", lambda sizes: [(m, m + 1) for m in range(len(sizes))])
    again = committee.evaluate(FRAMES)
    np.testing.assert_allclose(again.spread.forces_std_ac, whole.spread.forces_std_ac, rtol=0, atol=1e-14)


def test_face(committee, members):
    assert committee.symmetry_functions is members[0].symmetry_functions
    assert committee.scalings is members[0].scalings
    assert committee.reference_energies == {"Si": -5.5, "C": -9.25}
    assert committee.species == ("C", "Si")
    assert committee.cutoff == CUTOFF
    assert committee.info == {"note": "four"}
    lines = str(committee).splitlines()
    assert lines[0] == "committee of 4 potentials with the same symmetry functions"
    assert lines[1].startswith("0: Behler-Parrinello potential for C, Si, cutoff 4.5 Angstrom")
    assert len(lines) == 1 + 4 * 3
    assert Committee(list(members)).members == members  # any sequence becomes a tuple
    again = pickle.loads(pickle.dumps(committee))
    assert again.evaluate(FRAMES[0]).energy_m == committee.evaluate(FRAMES[0]).energy_m
    with pytest.raises(ValueError, match=r"^folder: files of RuNNer and n2p2 hold one network per element, but this is "
                                         r"a committee of 4: .* committee.members\[0\].save_runner"):  # fmt: skip
        committee.save_runner("folder")


def test_what_is_no_committee(members):
    first, second = members[:2]
    with pytest.raises(ValueError, match="a committee needs at least two members, not 1"):
        Committee((first,))
    with pytest.raises(TypeError, match="member 1 of a committee must be a Potential, not Committee"):
        Committee((first, Committee(members)))
    other = SymmetryFunctions(["Si", "C"], CUTOFF, g2_params=[[0.1, 0.0], [0.8, 1.8]], g4_params=[[0.02, 2, -1]])
    wider = tuple(Scaling(*scaling[:3], scaling.maximum_s + 1.0) for scaling in first.scalings)
    for changes, what in [
        ({"symmetry_functions": other}, "symmetry functions"),
        ({"scalings": wider}, "scalings"),
        ({"reference_energies": {"Si": -5.5, "C": -9.0}}, "reference energies"),
        ({"energy_unit": 27.2}, "energy unit"),
    ]:
        with pytest.raises(ValueError, match=f"members 0 and 2 of a committee differ in their {what}"):
            Committee((first, second, replace(second, **changes)))


def test_errors_name_the_structure(committee):
    bad = rattled(5)
    bad.symbols[3] = "Ge"
    with pytest.raises(ValueError, match="frame 1: atom 3 is Ge, which has no symmetry functions; supported: C, Si"):
        committee.evaluate([rattled(6), bad])
    with pytest.raises(ValueError, match="the list of atoms is empty"):
        committee.evaluate([])
    nan = replace(committee.members[1], reference_energies={"Si": np.nan, "C": 0.0})
    with pytest.raises(ValueError, match="differ in their reference energies"):  # not a number equals nothing
        Committee((nan, nan))
