"""Elastic constants from stresses against second differences of the energy, with potentials that come with ASE."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from bpnumba.elasticity import cubic_elastic_constants, relax
from bpnumba.units import GPA


@pytest.fixture(scope="module")
def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    return atoms


@pytest.fixture(scope="module")
def constants(copper):
    return cubic_elastic_constants(copper)


def curvature(copper, constants, direction, h=0.004):
    """Second derivative of the energy density in the strain along a direction, GPa."""
    ground = copper.copy()
    ground.set_cell(constants.lattice_constant * np.eye(3), scale_atoms=True)

    def energy(x):
        atoms = ground.copy()
        atoms.set_cell(ground.cell.array @ (np.eye(3) + x * np.array(direction, dtype=float)), scale_atoms=True)
        atoms.calc = EMT()
        return atoms.get_potential_energy()

    return GPA * (energy(h) - 2 * energy(0.0) + energy(-h)) / h**2 / ground.get_volume()


def test_against_energies(copper, constants):
    c11 = curvature(copper, constants, np.diag([1, 0, 0]))
    c44 = curvature(copper, constants, [[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0]])
    volumetric = curvature(copper, constants, np.eye(3))  # 3 C11 + 6 C12 = 9 B
    assert constants.c11 == pytest.approx(c11, rel=2e-3)
    assert constants.c12 == pytest.approx((volumetric - 3 * c11) / 6, rel=2e-3)
    assert constants.bulk_modulus == pytest.approx(volumetric / 9, rel=2e-3)
    assert constants.c44 == pytest.approx(c44, rel=2e-3)


def test_one_atom_per_lattice_point_has_no_inner_relaxation(copper, constants):
    assert constants.c44 == pytest.approx(constants.c44_clamped, rel=1e-6)
    ground = relax(copper, fmax=1e-4)
    assert ground.cell.array == pytest.approx(constants.lattice_constant * np.eye(3), abs=1e-4)
    assert np.abs(ground.get_stress()).max() < 1e-5


def test_inner_relaxation_softens_diamond():
    """Lennard-Jones diamond is no crystal of nature, but the inner displacement under shear is that of diamond."""
    from bpnumba import BPCalculator, Potential, SymmetryFunctions

    frames = [bulk("Si", a=a, cubic=True) for a in (5.0, 5.4, 5.8)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    functions = SymmetryFunctions(["Si"], 3.5, g2_params=[[0.5, 2.4]], g4_params=[[0.01, 1, 1]])
    potential = Potential.untrained(functions, frames, hidden=(), scaling="none")
    W, b = potential.networks[0].layers[0]
    W[:], b[:] = [[-1.0], [1.0]], 0.0  # near neighbors are good, acute angles are bad
    diamond = bulk("Si", cubic=True)
    diamond.calc = BPCalculator(potential)
    found = cubic_elastic_constants(diamond)
    assert 0.0 < found.c44 < 0.95 * found.c44_clamped
    assert found.bulk_modulus > 0.0


def test_atoms_are_left_as_they_are(copper, constants):
    assert np.array_equal(copper.cell.array, bulk("Cu", cubic=True).cell.array)


def test_molecule_is_relaxed_without_a_cell():
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.3]])
    atoms.calc = LennardJones(rc=5.0)
    assert relax(atoms, fmax=1e-4).get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=1e-3)


def test_errors(copper):
    primitive = bulk("Cu")
    primitive.calc = EMT()
    with pytest.raises(ValueError, match="needs a cube along x, y, z"):
        cubic_elastic_constants(primitive)
    with pytest.raises(ValueError, match="no calculator"):
        relax(molecule("H2O"))
    rattled = copper.copy()
    rattled.rattle(0.1)
    rattled.calc = EMT()
    with pytest.raises(RuntimeError, match="did not reach fmax = 1e-05 in 1 steps"):
        relax(rattled, fmax=1e-5, max_steps=1)
