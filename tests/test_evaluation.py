"""Errors against labels, with numbers that can be checked by hand."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from bpnumba import Keys, Potential, SymmetryFunctions, evaluate
from bpnumba.evaluation import Errors
from bpnumba.io.input_data import write_structures
from bpnumba.training.dataset import read
from bpnumba.units import GPA


@pytest.fixture(scope="module")
def potential():
    frames = [bulk("Si", a=a, cubic=True) for a in (5.2, 5.4, 5.6)]
    return Potential.untrained(SymmetryFunctions(["Si"], 4.0, g2_params=[[0.1, 0.0], [0.5, 2.0]]), frames, hidden=(4,))


def frame(potential, config_type=None, energy=None, forces=None, stress=None, seed=0, pbc=True):
    """A structure with labels that differ from the prediction by what is given."""
    atoms = bulk("Si", cubic=True)
    atoms.rattle(0.1, seed=seed)
    atoms.pbc = pbc
    prediction = potential.evaluate(atoms)
    if config_type is not None:
        atoms.info["config_type"] = config_type
    if energy is not None:
        atoms.info["REF_energy"] = prediction.energy_m[0] - energy
    if forces is not None:
        atoms.arrays["REF_forces"] = prediction.forces_ac - forces
    if stress is not None:
        atoms.info["REF_stress"] = prediction.stress_mv[0] - stress
    return atoms


def test_numbers_by_hand(potential):
    forces = np.zeros((8, 3))
    forces[2, 1] = 0.24
    frames = [
        frame(potential, "cold", energy=0.008, forces=forces, stress=0.001, seed=1),
        frame(potential, "cold", energy=-0.016, seed=2),
        frame(potential, "hot", forces=-0.1, seed=3, pbc=False),
    ]
    errors = evaluate(potential, frames)
    total, cold, hot = errors.total, errors.by_config_type["cold"], errors.by_config_type["hot"]
    assert (total.n_frames, total.n_energies, total.n_forces, total.n_stresses) == (3, 2, 48, 6)
    assert total.energy_rmse_mev_per_atom == pytest.approx(np.sqrt((1**2 + 2**2) / 2))
    assert total.energy_mae_mev_per_atom == pytest.approx(1.5)
    assert total.forces_rmse_ev_per_angstrom == pytest.approx(np.sqrt((0.24**2 + 24 * 0.01) / 48))
    assert total.forces_mae_ev_per_angstrom == pytest.approx((0.24 + 2.4) / 48)
    assert total.stress_rmse_gpa == pytest.approx(0.001 * GPA)
    assert total.stress_mae_gpa == pytest.approx(0.001 * GPA)
    assert cold.forces_mae_ev_per_angstrom == pytest.approx(0.01)
    assert (hot.n_frames, hot.energy_rmse_mev_per_atom, hot.stress_mae_gpa) == (1, None, None)
    assert hot.forces_rmse_ev_per_angstrom == pytest.approx(0.1)
    assert errors.worst["energy"] == ("frame 1", pytest.approx(2.0))
    assert errors.worst["forces"] == ("frame 2", pytest.approx(0.1))
    assert errors.worst["stress"] == ("frame 0", pytest.approx(0.001 * GPA))


def test_json(potential):
    errors = evaluate(potential, [frame(potential, "a", energy=0.8), frame(potential, "b", energy=0.0, seed=1)])
    plain = json.loads(json.dumps(errors.to_json(), allow_nan=False))
    assert {"energy_rmse_mev_per_atom", "energy_mae_mev_per_atom", "forces_rmse_ev_per_angstrom", "stress_rmse_gpa",
            "forces_mae_ev_per_angstrom", "stress_mae_gpa", "by_config_type", "worst"} < set(plain)  # fmt: skip
    assert Errors.from_json(plain) == errors
    assert plain["energy_mae_mev_per_atom"] == pytest.approx(50.0)
    assert plain["forces_rmse_ev_per_angstrom"] is None
    assert plain["by_config_type"]["a"]["energy_mae_mev_per_atom"] == pytest.approx(100.0)
    assert plain["worst"] == {"energy": {"frame": "frame 0", "error": pytest.approx(100.0)}}


def test_table(potential):
    text = str(evaluate(potential, [
        frame(potential, "cold", energy=0.008, forces=0.1), frame(potential, "hot", energy=0, seed=1),
    ]))  # fmt: skip
    lines = text.splitlines()
    assert lines[0].split() == ["energy", "(meV/atom)", "forces", "(eV/A)", "stress", "(GPa)"]
    assert lines[2].split() == ["all", "2", "0.71", "0.50", "0.1000", "0.1000", "-", "-"]
    assert lines[3].split()[0] == "cold"
    assert lines[4].split() == ["hot", "1", "0.00", "0.00", "-", "-", "-", "-"]
    assert lines[5] == "worst energy: 1 meV/atom in frame 0"
    assert len({len(line) for line in lines[:5]}) == 1


def test_isolated_atoms_are_no_part_of_the_total(potential):
    """One reference energy that is 400 eV off says nothing of the frames that were learned."""
    frames = [frame(potential, energy=0.008), frame(potential, energy=-0.016, seed=1)]
    atoms = Atoms("Si", info={"REF_energy": 400.0, "config_type": "IsolatedAtom"})
    errors, without = evaluate(potential, [*frames, atoms]), evaluate(potential, frames)
    assert errors.total == without.total
    assert errors.worst == without.worst
    assert list(errors.by_config_type) == ["default", "isolated atoms"]
    assert errors.by_config_type["isolated atoms"].energy_mae_mev_per_atom > 1e5
    lines = str(errors).splitlines()
    assert lines[4].startswith("isolated atoms       1")
    assert lines[-1] == "isolated atoms are reference energies: not counted in all, nor among the worst"
    assert Errors.from_json(json.loads(json.dumps(errors.to_json()))) == errors
    alone = evaluate(potential, atoms)
    assert (alone.total.n_frames, alone.total.energy_rmse_mev_per_atom, alone.worst) == (0, None, {})
    assert "isolated atoms" in str(alone)


def test_one_config_type_is_shown_once(potential):
    assert "default" not in str(evaluate(potential, frame(potential, energy=0.1)))


def test_files_keys_and_datasets(potential, tmp_path):
    atoms = frame(potential, energy=0.8)
    atoms.info["dft"] = atoms.info.pop("REF_energy")
    write(tmp_path / "data.xyz", atoms, format="extxyz")
    errors = evaluate(potential, tmp_path / "data.xyz", Keys(energy="dft"))
    assert errors.total.energy_mae_mev_per_atom == pytest.approx(100.0, abs=1e-4)
    assert errors.worst["energy"][0] == f"{tmp_path / 'data.xyz'}, frame 0"
    dataset = read([tmp_path / "data.xyz"], Keys(energy="dft"))
    assert evaluate(potential, dataset) == errors


def test_nothing_to_compare_with(potential):
    with pytest.raises(ValueError, match="none of the frames has a label to compare with"):
        evaluate(potential, bulk("Si"))
    carbon = Atoms("C", info={"REF_energy": 0.0})
    with pytest.raises(ValueError, match="supported: Si"):
        evaluate(potential, carbon)


def test_units_of_files_and_columns_of_large_errors(potential, tmp_path):
    labeled = frame(potential, energy=0.008, forces=0.1)
    path = str(tmp_path / "input.data")
    write_structures(path, [labeled], "metal")
    assert evaluate(potential, path, units="metal").total.forces_rmse_ev_per_angstrom == pytest.approx(0.1, rel=1e-6)
    far = evaluate(potential, frame(potential, energy=694.5, forces=0.1))
    assert "8.68e+04 8.68e+04" in str(far)
