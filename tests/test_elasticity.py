"""Elastic constants from stresses against second differences of the energy, with potentials that come with ASE."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress

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


class Keating(Calculator):
    """Diamond as springs: bonds and angles; P. N. Keating, Phys. Rev. 145, 637 (1966).

    E = 3 alpha/(8 d^2) sum_bonds (r^2 - d^2)^2 + 3 beta/(8 d^2) sum_angles (r_ij . r_ik + d^2/3)^2
    """

    implemented_properties = ["energy", "forces", "stress"]
    alpha, beta, d = 3.0, 0.9, 5.43 * 3**0.5 / 4

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        i, j, r = neighbor_list("ijD", atoms, 1.3 * self.d)
        A, B = 3 * self.alpha / (8 * self.d**2), 3 * self.beta / (8 * self.d**2)
        stretch = (r * r).sum(axis=1) - self.d**2
        energy, g = 0.5 * A * (stretch**2).sum(), 2 * A * stretch[:, None] * r  # every bond is there twice
        for p, q in itertools.product(range(len(i)), repeat=2):
            if i[p] == i[q] and p < q:
                bend = r[p] @ r[q] + self.d**2 / 3
                energy += B * bend**2
                g[p] += 2 * B * bend * r[q]
                g[q] += 2 * B * bend * r[p]
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, g)
        np.add.at(forces, j, -g)
        stress = full_3x3_to_voigt_6_stress(g.T @ r / atoms.get_volume())
        self.results = {"energy": energy, "forces": forces, "stress": stress}


def test_diamond_of_springs():
    """Keating's constants are known; the inner displacement lowers C44 and makes his identity hold."""
    diamond = bulk("Si", a=5.40, cubic=True)
    diamond.calc = Keating()
    found, (alpha, beta) = cubic_elastic_constants(diamond), (Keating.alpha * GPA, Keating.beta * GPA)
    assert found.lattice_constant == pytest.approx(5.43, abs=1e-4)
    assert found.c11 == pytest.approx((alpha + 3 * beta) / 5.43, rel=1e-3)
    assert found.c12 == pytest.approx((alpha - beta) / 5.43, rel=1e-3)
    assert found.c44 == pytest.approx(4 * alpha * beta / (alpha + beta) / 5.43, rel=1e-3)
    assert found.c44_clamped == pytest.approx((alpha + beta) / 5.43, rel=1e-3)


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
