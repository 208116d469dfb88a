"""What lies outside of the training data is counted, named, told once, and kept out of nobody's way."""

import json
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

import bpnumba
from bpnumba import BPCalculator, ExtrapolationError, ExtrapolationWarning, Potential, Prediction, SymmetryFunctions
from bpnumba.evaluation import Errors
from bpnumba.extrapolation import EVENT, farthest, message, outside
from bpnumba.functions import label
from bpnumba.io.runner import load_runner
from bpnumba.pairs import Pairs
from bpnumba.units import of_files

REFERENCE = Path(__file__).parent.parent / ".." / "shared" / "reference" / "runner"


def carbide(amplitude=0.1, seed=0):
    atoms = bulk("SiC", "zincblende", a=4.36, cubic=True)
    atoms.rattle(amplitude, seed=seed)
    return atoms


TRAINING = [carbide(seed=m) for m in range(4)]


@pytest.fixture(scope="module")
def potential():
    """It knows `TRAINING`."""
    functions = SymmetryFunctions(["Si", "C"], 4.2, g2_params=[[0.1, 0.0], [0.8, 1.9]], g4_params=[[0.02, 2, -1]])
    return Potential.untrained(functions, TRAINING, hidden=(4,), seed=2)


def by_hand(potential, frames):
    """The events, with loops over atoms and functions."""
    found, row = [], 0
    for m, atoms in enumerate(frames):
        values = potential.symmetry_functions.create(atoms)
        for symbol, G in zip(atoms.symbols, values, strict=True):
            scaling = potential.scalings[potential.species.index(symbol)]
            for s, (low, high) in enumerate(zip(scaling.minimum_s, scaling.maximum_s, strict=True)):
                if not low - 1e-8 < G[s] < high + 1e-8:
                    found.append((m, row, symbol, s, G[s], low, high))
            row += 1
    return np.array(found, EVENT)


def same(one, two):
    assert one.dtype == two.dtype == EVENT
    for name in EVENT.names:
        if name == "value":
            np.testing.assert_allclose(one[name], two[name], rtol=1e-12)
        else:
            assert one[name].tolist() == two[name].tolist()


# ---- finding ---------------------------------------------------------------------------------------------------------


def test_training_data_are_inside(potential):
    prediction = potential.evaluate(TRAINING)
    assert len(prediction.extrapolation) == 0
    assert prediction.extrapolation_a.tolist() == [0] * 32
    for atoms in TRAINING:  # turned and moved: other roundings
        turned = atoms[::-1]
        turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
        turned.positions += 0.1
        assert len(potential.evaluate(turned).extrapolation) == 0


def test_against_loops(potential):
    frames = [carbide(0.1, seed=7), Atoms("C"), carbide(0.4, seed=8), TRAINING[0], carbide(0.02)]
    prediction, expected = potential.evaluate(frames), by_hand(potential, frames)
    assert len(expected) > 20
    same(prediction.extrapolation, expected)
    counts = np.zeros(len(prediction.energy_a), int)
    np.add.at(counts, expected["atom"], 1)
    assert prediction.extrapolation_a.tolist() == counts.tolist()


def test_batches_are_joined(potential):
    frames = [carbide(0.3, seed=9), TRAINING[1], Atoms("Si"), TRAINING[2], carbide(0.3, seed=10)]
    parts = [potential.evaluate(part) for part in (frames[:1], frames[1:3], frames[3:4], frames[4:])]
    joined, whole = Prediction.join(parts), potential.evaluate(frames)
    same(joined.extrapolation, whole.extrapolation)
    assert set(joined.extrapolation["structure"]) == {0, 2, 4}
    assert joined.extrapolation_a.tolist() == whole.extrapolation_a.tolist()
    same(parts[0].extrapolation, by_hand(potential, frames[:1]))  # what is joined stays as it was


@pytest.mark.parametrize("width", [0.0, 0.5])
@pytest.mark.parametrize("size", [1e-3, 1.0, 50.0])
def test_at_the_boundary(potential, width, size):
    """Rounding is not extrapolation; a billionth of the value is."""
    descriptors = potential.symmetry_functions.describe(Pairs.from_atoms(TRAINING[0], potential.cutoff))
    silicon, carbon = (np.full_like(G, size) for G in descriptors.values)
    scalings = [scaling._replace(minimum_s=np.full(len(scaling.minimum_s), size),
                                 maximum_s=np.full(len(scaling.minimum_s), (1 + width) * size))
                for scaling in potential.scalings]  # fmt: skip

    def found(value):
        silicon[2, 1] = value
        return outside(descriptors._replace(values=(silicon, carbon)), scalings, potential.species)

    high = (1 + width) * size
    for value in (size, high, size - 1e-13, high + 1e-13, np.nextafter(size, 0.0), np.nextafter(high, 100.0)):
        assert len(found(value)) == 0
    first = potential.species[0]
    atom = np.flatnonzero(TRAINING[0].symbols == first)[2]
    for value in (size * (1 - 1e-9), high * (1 + 1e-9), -1.0, 100.0):
        assert found(value).tolist() == [(0, atom, first, 1, value, size, high)]


def test_farthest(potential):
    events = np.array([(0, 4, "Si", 0, 1.5, 0.0, 1.0), (0, 4, "Si", 1, -0.2, 0.0, 0.1), (0, 2, "C", 0, 1.1, 0.0, 1.0),
                       (0, 7, "C", 1, 0.3, 0.2, 0.2), (0, 8, "C", 1, 0.2, 0.4, 0.4)], EVENT)  # fmt: skip
    assert farthest(events, 9)[["atom", "function"]].tolist() == [(8, 1), (7, 1), (4, 1), (2, 0)]
    assert farthest(events, 1)["atom"].tolist() == [8]
    assert len(farthest(events[:0])) == 0


# ---- counts of n2p2 --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"n2p2's numbers are not here: no folder {REFERENCE}")
@pytest.mark.parametrize(("case", "total"), [
    ("mlearn_Li", 2), ("mlearn_Si", 4), ("predict_H2O_RPBE-D3", 0), ("predict_Cu2S_PBE", 0), ("synth_cutoff_2", 0),
    ("synth_compact_p2a", 0), ("synth_type12_13_wACSF", 0), ("synth_type9", 0),
])  # fmt: skip
def test_as_many_as_n2p2(case, total):
    numbers, units = np.load(REFERENCE / case / "reference.npz"), "metal" if "Cu2S" in case else "atomic"
    frames, expected = [], []
    for key in sorted(name.removesuffix("positions") for name in numbers if name.endswith("_positions")):
        lattice, length = numbers.get(f"{key}lattice"), of_files(units)[0]
        frames.append(Atoms(numbers[f"{key}numbers"], length * numbers[f"{key}positions"],
                            cell=None if lattice is None else length * lattice, pbc=lattice is not None))  # fmt: skip
        expected.append(int(numbers[f"{key}num_extrapolation_warnings"][0]))
    events = load_runner(REFERENCE / case / "potential", units).evaluate(frames).extrapolation
    assert np.bincount(events["structure"], minlength=len(frames)).tolist() == expected
    assert len(events) == total


# ---- the calculator --------------------------------------------------------------------------------------------------


def test_message_names_everything(potential):
    atoms = carbide(0.35, seed=8)
    atoms.calc = BPCalculator(potential)
    with pytest.warns(ExtrapolationWarning) as caught:
        atoms.get_potential_energy()
    text, events = str(caught[0].message), potential.evaluate(atoms).extrapolation
    assert text == message(events, potential.symmetry_functions)
    n_atoms = len(set(events["atom"]))
    assert f"training data: {len(events)} values of symmetry functions on {n_atoms} atoms, farthest atom" in text
    for event in farthest(events):
        symbol = atoms.symbols[event["atom"]]
        row = potential.symmetry_functions.functions_of(symbol)[event["function"]]
        side = "above" if event["value"] > event["maximum"] else "below"
        assert f"atom {event['atom']} ({symbol}): {label(row)} is {event['value']:.6g}, " in text
        assert f" {side} the range {event['minimum']:.6g} to {event['maximum']:.6g}" in text
    assert "add such structures to the training data" in text
    assert 'on_extrapolation="ignore"' in text


def test_counts_and_one_warning(potential):
    atoms = TRAINING[0].copy()
    atoms.calc = BPCalculator(potential)
    atoms.get_forces()
    assert atoms.calc.results["extrapolation"].tolist() == [0] * 8
    assert atoms.calc.results["extrapolation"].dtype.kind == "i"
    atoms.positions[3] += 0.4
    with pytest.warns(ExtrapolationWarning) as caught:
        atoms.get_forces()
    assert len(caught) == 1
    for _ in range(3):  # further warnings would be errors
        atoms.positions[3] += 0.1
        atoms.get_forces()
        expected = np.bincount(by_hand(potential, [atoms])["atom"], minlength=8)
        assert atoms.calc.results["extrapolation"].tolist() == expected.tolist()
        assert expected.any()
    again = pickle.loads(pickle.dumps(atoms))
    again.positions[3] += 0.1
    again.get_forces()
    other = atoms.copy()
    other.calc = BPCalculator(potential)
    with pytest.warns(ExtrapolationWarning):
        other.get_forces()


def test_a_warning_that_is_made_an_error_leaves_no_results(potential):
    atoms = carbide(0.4)
    atoms.calc = BPCalculator(potential)
    with pytest.raises(ExtrapolationWarning):
        atoms.get_forces()
    assert atoms.calc.results == {}


def test_ignore_and_raise(potential):
    inside, beyond = TRAINING[0].copy(), carbide(0.4)
    beyond.calc = BPCalculator(potential, on_extrapolation="ignore")
    assert np.isfinite(beyond.get_potential_energy())
    assert beyond.calc.results["extrapolation"].any()
    calculator = BPCalculator(potential, on_extrapolation="raise")
    inside.calc = beyond.calc = calculator
    energy = inside.get_potential_energy()
    for _ in range(2):
        with pytest.raises(ExtrapolationError, match="^outside the range of the training data: .* farthest atom"):
            beyond.get_potential_energy()
        assert calculator.results == {}
    assert issubclass(ExtrapolationError, ValueError)
    assert inside.get_potential_energy() == energy


def test_choices(potential):
    for choice in ("warn", "ignore", "raise"):
        assert BPCalculator(potential, on_extrapolation=choice).parameters.on_extrapolation == choice
    assert BPCalculator(potential).parameters.on_extrapolation == "warn"
    with pytest.raises(ValueError, match="must be one of warn, ignore, raise, not 'error'"):
        BPCalculator(potential, on_extrapolation="error")
    with pytest.raises(ValueError, match="on_extrapolation cannot be set"):
        BPCalculator(potential).set(on_extrapolation="ignore")


@pytest.mark.parametrize("atoms", [carbide(0.4), Atoms("Si", cell=[9, 9, 9], pbc=True)], ids=["crystal", "atom"])
def test_files(potential, atoms, tmp_path):
    atoms = atoms.copy()
    atoms.calc = BPCalculator(potential, on_extrapolation="ignore")
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.results["extrapolation"].any()
    for name in ("one.traj", "one.extxyz", "one.json"):
        write(tmp_path / name, atoms)
        again = read(tmp_path / name)
        assert again.get_potential_energy() == pytest.approx(energy, abs=1e-7)
        np.testing.assert_allclose(again.get_forces(), forces, atol=1e-7)
    assert atoms.get_properties(["energy", "forces"])["energy"] == energy
    atoms.arrays["extrapolation"] = atoms.calc.results["extrapolation"]  # ASE stores no result that it does not know
    write(tmp_path / "kept.extxyz", atoms)
    again = read(tmp_path / "kept.extxyz")
    assert again.arrays["extrapolation"].tolist() == atoms.calc.results["extrapolation"].tolist()
    assert again.get_potential_energy() == pytest.approx(energy, abs=1e-7)


# ---- evaluation ------------------------------------------------------------------------------------------------------


def labelled(potential, atoms):
    atoms = atoms.copy()
    atoms.info["REF_energy"] = potential.evaluate(atoms).energy_m[0]
    return atoms


def test_evaluate_tells_without_warning(potential):
    alone = Atoms("C", info={"REF_energy": 0.0, "config_type": "IsolatedAtom"})
    frames = [alone, *(labelled(potential, atoms) for atoms in (TRAINING[0], carbide(0.3, seed=8), TRAINING[1]))]
    frames.append(labelled(potential, carbide(0.4, seed=9)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        errors = bpnumba.evaluate(potential, frames)
    events = potential.evaluate(frames[1:]).extrapolation
    (event,) = farthest(events, 1)
    n_atoms = len(set(events["atom"]))
    (line,) = (line for line in str(errors).splitlines() if line.startswith("outside"))
    assert line.startswith(f"outside the range of the training data: {n_atoms} of 32 atoms in 2 of 4 frames, farthest ")
    row = potential.symmetry_functions.functions_of(event["element"])[event["function"]]
    assert f"atom {event['atom'] % 8} ({event['element']}) of frame {event['structure'] + 1}: {label(row)} is" in line
    assert Errors.from_json(json.loads(json.dumps(errors.to_json()))) == errors


def test_nothing_outside_is_not_mentioned(potential):
    errors = bpnumba.evaluate(potential, [labelled(potential, atoms) for atoms in TRAINING])
    assert errors.extrapolation == (0, 32, 0, 4, None)
    assert "outside" not in str(errors)
    assert Errors.from_json(json.loads(json.dumps(errors.to_json()))) == errors


def test_errors_of_older_models(potential):
    errors = bpnumba.evaluate(potential, labelled(potential, carbide(0.4)))
    plain = errors.to_json()
    del plain["extrapolation"]
    old = Errors.from_json(plain)
    assert old == replace(errors, extrapolation=None)
    assert "outside" not in str(old)
    assert Errors.from_json(old.to_json()) == old
