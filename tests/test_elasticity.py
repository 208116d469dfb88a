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
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress

from bpnumba.elasticity import Stiffness, cubic_elastic_constants, elastic_constants, relax
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


# ---- any crystal ----


def test_general_constants_of_a_cubic_crystal(copper, constants):
    """From the primitive cell the same as from the cube; the formulas of Voigt, Reuss and Hill for cubic crystals."""
    primitive = bulk("Cu", a=3.6)
    primitive.calc = EMT()
    found = elastic_constants(primitive)
    assert found.symmetry == "cubic"
    assert found.is_stable
    assert found.asymmetry < 0.1
    c11, c12, c44 = (found.independent()[name] for name in ("C11", "C12", "C44"))
    assert (c11, c12, c44) == pytest.approx((constants.c11, constants.c12, constants.c44), rel=1e-3)
    voigt, reuss = (c11 - c12 + 3 * c44) / 5, 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert found.shear_modulus == pytest.approx((voigt + reuss) / 2, rel=1e-3)
    assert found.bulk_modulus == pytest.approx((c11 + 2 * c12) / 3, rel=1e-3)
    assert found.atoms.get_volume() == pytest.approx(constants.lattice_constant**3 / 4, rel=1e-4)


def test_orientation_changes_the_tensor_and_not_the_moduli():
    straight, turned = bulk("Cu", a=3.6), bulk("Cu", a=3.6)
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    straight.calc, turned.calc = EMT(), EMT()
    one, two = elastic_constants(straight), elastic_constants(turned)
    assert two.symmetry == "general"
    assert len(two.independent()) == 21
    assert np.abs(one.c_vv - two.c_vv).max() > 5.0
    assert two.bulk_modulus == pytest.approx(one.bulk_modulus, rel=1e-4)
    assert two.shear_modulus == pytest.approx(one.shear_modulus, rel=1e-3)


@pytest.fixture(scope="module")
def hexagonal():
    atoms = bulk("Ni", "hcp", a=2.45, c=4.0)
    atoms.calc = EMT()
    return elastic_constants(atoms, fmax=1e-5)


def test_symmetry_of_a_hexagonal_crystal(hexagonal):
    c = hexagonal.c_vv
    assert hexagonal.symmetry == "hexagonal"
    assert list(hexagonal.independent()) == ["C11", "C12", "C13", "C33", "C44"]
    assert c[0, 0] == pytest.approx(c[1, 1], rel=2e-3)
    assert c[0, 2] == pytest.approx(c[1, 2], rel=2e-3)
    assert c[3, 3] == pytest.approx(c[4, 4], rel=2e-3)
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, rel=5e-3)
    zero = np.ones((6, 6), dtype=bool)
    zero[:3, :3] = zero[range(6), range(6)] = False
    assert np.abs(c[zero]).max() < 0.5


@pytest.mark.parametrize(("v", "direction"), [
    ((2, 2), np.diag([0.0, 0, 1])), ((5, 5), np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])),
])  # fmt: skip
def test_hexagonal_constants_against_energies(hexagonal, v, direction):
    """With the ions relaxed: C66 has an inner displacement."""

    def energy(x):
        atoms = hexagonal.atoms.copy()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + x * direction), scale_atoms=True)
        atoms.calc = EMT()
        assert BFGS(atoms, logfile=None).run(fmax=1e-4, steps=100)
        return atoms.get_potential_energy()

    h = 0.004
    found = GPA * (energy(h) - 2 * energy(0.0) + energy(-h)) / h**2 / hexagonal.atoms.get_volume()
    assert hexagonal.c_vv[v] == pytest.approx(found, rel=5e-3)


def test_isotropic_and_unstable_tensors():
    isotropic = 80.0 * np.ones((3, 3)) + 2 * 40.0 * np.eye(3)
    c = np.zeros((6, 6))
    c[:3, :3], c[3:, 3:] = isotropic, 40.0 * np.eye(3)
    found = Stiffness(c, 0.0, None)
    assert found.shear_modulus == pytest.approx(40.0)
    assert found.bulk_modulus == pytest.approx(80.0 + 2 * 40.0 / 3)
    c[4, 4] = -1.0
    assert not Stiffness(c, 0.0, None).is_stable


def test_a_crystal_that_collapses_is_noticed():
    class Squeezing(Calculator):
        implemented_properties = ["energy", "forces", "stress"]

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            V = atoms.get_volume()
            self.results = {"energy": V, "forces": np.zeros((len(atoms), 3)), "stress": np.array([1.0, 1, 1, 0, 0, 0])}

    atoms = bulk("Cu")
    atoms.calc = Squeezing()
    with pytest.raises(RuntimeError, match="the relaxation leaves the crystal: 11.8 Angstrom.3/atom have become"):
        relax(atoms)


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
    with pytest.raises(ValueError, match="need three periodic directions"):
        elastic_constants(molecule("H2O"))
    with pytest.raises(ValueError, match="no calculator"):
        relax(molecule("H2O"))
    rattled = copper.copy()
    rattled.rattle(0.1)
    rattled.calc = EMT()
    with pytest.raises(RuntimeError, match="did not reach fmax = 1e-05 in 1 steps"):
        relax(rattled, fmax=1e-5, max_steps=1)
