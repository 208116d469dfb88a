"""Derivatives of every residual in every weight, against differences of the residuals themselves."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from bpnumba.potential import Potential
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training import objective as module
from bpnumba.training.dataset import Dataset
from bpnumba.training.objective import Objective, residuals_of
from bpnumba.training.rows import cut, gram, rows_of
from bpnumba.training.storage import Memory
from bpnumba.training.targets import Factors, Scales

CUTOFF = 4.0
FACTORS = Factors(Scales(0.01, 0.1, 0.005), (0.5, 1.0, 3.0), {"molecule": 3.0})
NETWORKS = {
    "one hidden layer": {"hidden": (4,)},
    "three hidden layers": {"hidden": (4, 3, 2), "activation": "softplus"},
    "elements with networks of their own": {"hidden": {"Si": (4, 3), "C": (5,)}, "activation": "logistic"},
    "no hidden layer": {"hidden": ()},
    "Gaussians": {"hidden": (3, 3), "activation": "gaussian"},
}


def frames():
    """Two crystals, an atom among its images, a slab, a molecule and an atom that nobody feels; some labels absent."""
    rng, result = np.random.default_rng(5), []
    for m in range(5):
        if m == 2:
            atoms = Atoms("C", cell=1.6 * np.eye(3) + rng.uniform(-0.05, 0.05, (3, 3)), pbc=True)
        elif m == 4:
            atoms = Atoms("SiC2Si", [*(1.5 * rng.normal(size=(3, 3))), [30.0, 0.0, 0.0]])
        else:
            atoms = bulk("SiC", "zincblende", a=4.4, cubic=m == 0)
            atoms.rattle(0.1, seed=m)
        if m == 3:
            atoms.pbc = (True, True, False)
        if m != 1:
            atoms.info["REF_energy"] = rng.normal()
        if m != 2:
            atoms.arrays["REF_forces"] = rng.normal(size=(len(atoms), 3))
        if m < 2:
            atoms.info["REF_stress"] = 0.05 * rng.normal(size=6)
        atoms.info["config_type"] = "molecule" if m == 4 else "crystal"
        result.append(atoms)
    return result


def potential_of(**options):
    functions = SymmetryFunctions(["Si", "C"], CUTOFF, g2_params=[[0.5, 0.0], [1.0, 1.5]], g4_params=[[0.05, 2.0, 1.0]])
    return Potential.untrained(functions, frames(), reference_energies={"Si": 0.3, "C": -0.2}, **options)


@pytest.fixture(scope="module")
def data():
    return Dataset.from_frames(frames())


def prepared(potential, data, factors=FACTORS, dtype=np.float64):
    """The only chunk of an objective and its descriptors."""
    problem = Objective.prepare(potential, data, factors, keep=Memory(dtype))
    (chunk,) = problem.chunks
    return chunk, chunk.stored.descriptors


def differences(potential, chunk, descriptors, h=2e-3):
    """Derivatives of all residuals in all weights by central differences of fourth order, and the residuals' sizes."""

    def at(theta):
        units, _ = residuals_of(potential.with_weights(theta), chunk, descriptors)
        return np.concatenate([r.ravel() for r in units])

    theta, columns = potential.theta, []
    for unit in np.eye(len(theta)):
        by = [at(theta + step * h * unit) for step in (-2, -1, 1, 2)]
        columns.append((by[0] - 8 * by[1] + 8 * by[2] - by[3]) / (12 * h))
    return np.array(columns).T


@pytest.mark.parametrize("energy_unit", [1.0, 27.2])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_against_differences(data, network, energy_unit):
    potential = replace(potential_of(**network), energy_unit=energy_unit)
    chunk, descriptors = prepared(potential, data)
    rows = rows_of(potential, chunk, descriptors, dtype=np.float64)
    n, n_m, n_w = data.n_atoms, len(data), len(potential.theta)
    assert [R.shape for R in rows] == [(n_m, n_w), (3 * n, n_w), (6 * n_m, n_w)]
    found, expected = np.concatenate(rows), differences(potential, chunk, descriptors)
    for R in np.split(np.arange(len(found)), [n_m, n_m + 3 * n]):  # each kind has a size of its own
        assert np.abs(expected[R]).max() > 0.1
        np.testing.assert_allclose(found[R], expected[R], rtol=0, atol=1e-8 * np.abs(expected[R]).max())


def test_labels_that_are_absent_have_rows_of_zeros(data):
    potential = potential_of(hidden=(4,))
    chunk, descriptors = prepared(potential, data)
    energy, forces, stress = rows_of(potential, chunk, descriptors)
    assert not energy[~data.has_energy_m].any()
    assert energy[data.has_energy_m].any(axis=1).all()
    assert not forces[np.repeat(~data.has_forces_m[chunk.targets.structure_a], 3)].any()
    assert not stress[np.repeat(~data.has_stress_m, 6)].any()
    assert stress[np.repeat(data.has_stress_m, 6)].any(axis=1).all()
    only_energies = replace(data, has_forces_m=np.zeros(len(data), bool), has_stress_m=np.zeros(len(data), bool))
    chunk, descriptors = prepared(potential, only_energies)
    again, *others = rows_of(potential, chunk, descriptors)
    np.testing.assert_array_equal(again, energy)
    assert not any(rows.any() for rows in others)


def test_forces_of_some_atoms_are_rows_of_all(data):
    potential = potential_of(hidden=(4, 3))
    chunk, descriptors = prepared(potential, data)
    energy, forces, stress = rows_of(potential, chunk, descriptors, dtype=np.float64)
    for atoms in (np.array([0, 3, 9, 13]), np.array([], int), np.arange(data.n_atoms)):
        few = rows_of(potential, chunk, descriptors, atoms, np.float64)
        np.testing.assert_array_equal(few[0], energy)
        np.testing.assert_array_equal(few[2], stress)
        expected = forces.reshape(-1, 3, len(potential.theta))[atoms].reshape(3 * len(atoms), len(potential.theta))
        np.testing.assert_allclose(few[1], expected, rtol=0, atol=1e-13 * np.abs(forces).max())


@pytest.mark.parametrize("bounds", [(0, 1), (1, 3), (2, 5), (4, 5), (0, 5)])
def test_cut_frames_are_those_frames_alone(data, bounds):
    potential = potential_of(hidden={"Si": (4, 3), "C": (5,)})
    chunk, descriptors = prepared(potential, data)
    small, own = cut(chunk, descriptors, *bounds)
    alone, expected = prepared(potential, data.subset(np.arange(*bounds)))
    for one, two in zip(small.targets, alone.targets, strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(small.x_e, alone.x_e, strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(own.J, expected.J)
    np.testing.assert_array_equal(own.first_p, expected.first_p)
    for one, two in zip(rows_of(potential, small, own), rows_of(potential, alone, expected), strict=True):
        np.testing.assert_array_equal(one, two)
    for one, two in zip(residuals_of(potential, small, own)[0], residuals_of(potential, alone, expected)[0]):
        np.testing.assert_array_equal(one, two)


def test_curvature_is_the_product_of_the_rows(data, monkeypatch):
    """Of several chunks, each in several products."""
    potential, l2 = potential_of(hidden=(4, 3)), 0.7
    R = np.concatenate(rows_of(potential, *prepared(potential, data), dtype=np.float64))
    n = Objective.prepare(potential, data, FACTORS).n_residuals
    expected = R.T @ R / n + l2 * np.eye(R.shape[1])
    assert n == np.count_nonzero(R.any(axis=1)) + 3  # the atom that nobody feels has no force
    monkeypatch.setattr(module, "ATOMS_IN_CHUNK", 9)
    monkeypatch.setattr(module, "ATOMS_IN_PRODUCT", 3)
    problem = Objective.prepare(potential, data, FACTORS, keep=Memory(np.float64)).with_l2(l2)
    assert len(problem.chunks) > 1
    H = problem.curvature(potential.theta)
    np.testing.assert_array_equal(H, H.T)
    np.testing.assert_allclose(H, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_gram_is_the_upper_triangle():
    rows = [np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32) for n in (3, 5)]
    R = np.concatenate(rows)
    np.testing.assert_allclose(gram(rows), np.triu(R.T @ R), rtol=0, atol=1e-5)


def test_single_precision(data):
    potential = potential_of(hidden=(4, 3))
    chunk, descriptors = prepared(potential, data)
    rough, rough_descriptors = prepared(potential, data, dtype=np.float32)
    assert rough_descriptors.J.dtype == np.float32
    for few, many in zip(rows_of(potential, rough, rough_descriptors),
                         rows_of(potential, chunk, descriptors, dtype=np.float64), strict=True):  # fmt: skip
        assert few.dtype == np.float32
        np.testing.assert_allclose(few, many, rtol=0, atol=1e-5 * np.abs(many).max())
