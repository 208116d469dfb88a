"""Relaxation and elastic constants of crystals, with any calculator of ASE.

Comes in: `ase.Atoms` with a calculator.  Goes out: the relaxed structure, and elastic constants in GPa from stresses of
small strains.

>>> from ase.build import bulk
>>> from ase.calculators.emt import EMT
>>> copper = bulk("Cu", cubic=True)
>>> copper.calc = EMT()
>>> print(cubic_elastic_constants(copper))
lattice constant   3.590 Angstrom
bulk modulus       134.5 GPa
C11                172.6 GPa
C12                115.4 GPa
C44                 89.9 GPa
C44, clamped ions   89.9 GPa
>>> stiffness = elastic_constants(copper)
>>> print(f"{stiffness.bulk_modulus:.1f} GPa, {stiffness.shear_modulus:.1f} GPa, {stiffness.symmetry}")
134.5 GPa, 56.9 GPa, cubic
"""

from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from bpnumba.units import GPA

__all__ = ["CubicConstants", "Stiffness", "cubic_elastic_constants", "elastic_constants", "relax"]

STRAIN = 0.004
"""Terms of third order enter a central difference by its square: about 1e-5 of the constants."""

MAX_STEPS = 1000
"""Steps after which a relaxation has failed."""

COLLAPSE = 2.0
"""A relaxation that changes the volume by more than this factor has left what a crystal is."""

EQUAL = 0.01
"""Part of the largest elastic constant by which others may differ that symmetry makes equal."""


class CubicConstants(NamedTuple):
    """Lattice constant (Angstrom), bulk modulus and elastic constants (GPa) of a cubic crystal."""

    lattice_constant: float
    bulk_modulus: float
    c11: float
    c12: float
    c44: float
    c44_clamped: float

    def __str__(self):
        rows = zip(NAMES, self, strict=True)
        return "\n".join(f"{name:18}{value:6.{digits}f} {unit}" for (name, digits, unit), value in rows)


NAMES = (("lattice constant", 3, "Angstrom"), ("bulk modulus", 1, "GPa"), ("C11", 1, "GPa"), ("C12", 1, "GPa"),
         ("C44", 1, "GPa"), ("C44, clamped ions", 1, "GPa"))  # fmt: skip


class Stiffness(NamedTuple):
    """Elastic constants c_vv (6, 6) in GPa, Voigt order xx, yy, zz, yz, xz, xy, and the crystal that they belong to.

    ``asymmetry`` (GPa) is the largest difference of c_vv and its transpose before their mean was taken: the numerical
    error of the constants.
    """

    c_vv: np.ndarray
    asymmetry: float
    atoms: Atoms

    @property
    def bulk_modulus(self):
        """Of a polycrystal, GPa: mean of the bounds of Voigt (equal strain) and Reuss (equal stress)."""
        s = np.linalg.inv(self.c_vv)
        return float(0.5 * (self.c_vv[:3, :3].sum() / 9 + 1 / s[:3, :3].sum()))

    @property
    def shear_modulus(self):
        """Of a polycrystal, GPa, as `bulk_modulus`; R. Hill, Proc. Phys. Soc. A 65, 349 (1952)."""
        c, s = self.c_vv, np.linalg.inv(self.c_vv)
        voigt = (1.5 * np.trace(c[:3, :3]) - 0.5 * c[:3, :3].sum() + 3 * np.trace(c[3:, 3:])) / 15
        reuss = 15 / (6 * np.trace(s[:3, :3]) - 2 * s[:3, :3].sum() + 3 * np.trace(s[3:, 3:]))
        return float(0.5 * (voigt + reuss))

    @property
    def is_stable(self):
        """Whether every small strain costs energy: all eigenvalues are positive (M. Born)."""
        return bool(np.linalg.eigvalsh(self.c_vv).min() > 0)

    @property
    def symmetry(self):
        """ "cubic" or "hexagonal" (axis along z) if c_vv has this form within 1 %, else "general"."""
        c, equal = self.c_vv, EQUAL * np.abs(self.c_vv).max()
        if np.abs(c - _cubic(c)).max() < equal:
            return "cubic"
        return "hexagonal" if np.abs(c - _hexagonal(c)).max() < equal else "general"

    def independent(self):
        """Independent constants by name, GPa: 3 of a cubic crystal, 5 of a hexagonal one, else 21."""
        names = {"cubic": "11 12 44", "hexagonal": "11 12 13 33 44"}.get(self.symmetry, "")
        form = {"cubic": _cubic, "hexagonal": _hexagonal}.get(self.symmetry, np.array)(self.c_vv)
        names = names.split() or [f"{i + 1}{j + 1}" for i in range(6) for j in range(i, 6)]
        return {f"C{name}": float(form[int(name[0]) - 1, int(name[1]) - 1]) for name in names}


def relax(atoms, fmax=1e-3, max_steps=500):
    """Minimize the energy in the positions and, where all three directions are periodic, in the cell.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator; left as it is.
    fmax : float
        Largest force in eV/Angstrom; for the cell, largest derivative of the energy in the logarithmic strain in eV.
    max_steps : int

    Returns
    -------
    ase.Atoms
        A relaxed copy with the same calculator.

    Raises
    ------
    RuntimeError
        Not converged after ``max_steps`` steps, or the volume has more than doubled or halved on the way.
    """
    relaxed = _copy(atoms)
    _minimize(FrechetCellFilter(relaxed) if relaxed.pbc.all() else relaxed, fmax, max_steps)
    return relaxed


def elastic_constants(atoms, strain=STRAIN, fmax=1e-4, report=None):
    """Elastic constants of any crystal in its axes, from stresses.

    Positions and cell are first relaxed to zero stress.  Then each of the six strains is applied with both signs, the
    ions are relaxed, and c_vv is the central difference of the stress, made symmetric.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic in three directions; left as it is.  The primitive cell is enough.
    strain : float
    fmax : float
        eV/Angstrom, for the relaxation of ions.
    report : callable, optional
        Called as ``report(done, of)`` after every strain.

    Returns
    -------
    Stiffness

    Raises
    ------
    ValueError
        Not periodic in three directions.
    RuntimeError
        A relaxation did not converge.
    """
    if not atoms.pbc.all():
        raise ValueError(f"elastic constants need three periodic directions, not pbc {atoms.pbc.tolist()}")
    ground, columns = relax(atoms, fmax, MAX_STEPS), []
    for v, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        direction = np.zeros((3, 3))
        direction[i, j] += 0.5
        direction[j, i] += 0.5
        columns.append(_slope(ground, direction, strain, fmax))
        if report is not None:
            report(v + 1, 6)
    c_vv = np.array(columns)
    return Stiffness(0.5 * (c_vv + c_vv.T), float(np.abs(c_vv - c_vv.T).max()), ground)


def cubic_elastic_constants(atoms, strain=STRAIN, fmax=1e-4):
    """Elastic constants of a cubic crystal at its own lattice constant, from stresses.

    The cell is first relaxed isotropically to zero pressure (the ions with it).  Then, with strain e of positions and
    cell, stress s (Voigt), and central differences ::

        e_xx = +-strain:          C11 = d s_xx / d e_xx,    C12 = d (s_yy + s_zz)/2 / d e_xx
        e_yz = e_zy = +-strain/2:   C44 = d s_yz / d (2 e_yz),   ions relaxed in the strained cell, or clamped
        bulk modulus              B = (C11 + 2 C12) / 3

    Ions are relaxed in all but the clamped constant.  Because the reference state is free of stress, no correction
    distinguishes stress-strain from energy coefficients.

    Parameters
    ----------
    atoms : ase.Atoms
        Conventional cubic cell with edges along x, y, z; the lattice constant given is its edge.  Left as it is.
    strain : float
    fmax : float
        eV/Angstrom, for the relaxation of ions and lattice constant.

    Returns
    -------
    CubicConstants

    Raises
    ------
    ValueError
        The cell is not a cube along x, y, z or not periodic in three directions.
    RuntimeError
        A relaxation did not converge.
    """
    edge = atoms.cell[0, 0]
    if not atoms.pbc.all() or edge <= 0 or np.abs(atoms.cell.array - edge * np.eye(3)).max() > 1e-6 * edge:
        raise ValueError(
            "needs a cube along x, y, z that is periodic in three directions, not cell "
            f"{atoms.cell.array.tolist()} with pbc {atoms.pbc.tolist()}"
        )
    ground = _copy(atoms)
    _minimize(FrechetCellFilter(ground, hydrostatic_strain=True), fmax, MAX_STEPS)
    tension = _slope(ground, np.diag([1.0, 0.0, 0.0]), strain, fmax)
    shear = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 0.5, 0.0]])
    c11, c12 = tension[0], 0.5 * (tension[1] + tension[2])
    c44, clamped = _slope(ground, shear, strain, fmax)[3], _slope(ground, shear, strain, None)[3]
    return CubicConstants(*map(float, (ground.cell[0, 0], (c11 + 2 * c12) / 3, c11, c12, c44, clamped)))


def _slope(atoms, direction, strain, fmax):
    """d stress (Voigt, GPa) / d strain along a direction (3, 3) of strains; ions clamped where fmax is None."""
    stress = []
    for sign in (1.0, -1.0):
        strained = _copy(atoms)
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain * direction), scale_atoms=True)
        if fmax is not None:
            _minimize(strained, fmax, MAX_STEPS)
        stress.append(strained.get_stress())
    return GPA * (stress[0] - stress[1]) / (2 * strain)


def _cubic(c):
    """Nearest matrix of cubic form."""
    near, off = np.zeros((6, 6)), ~np.eye(3, dtype=bool)
    near[:3, :3] = np.where(off, c[:3, :3][off].mean(), np.trace(c[:3, :3]) / 3)
    near[3:, 3:] = np.eye(3) * np.trace(c[3:, 3:]) / 3
    return near


def _hexagonal(c):
    """Nearest matrix of hexagonal form, with C66 = (C11 - C12)/2."""
    near = np.zeros((6, 6))
    near[0, 0] = near[1, 1] = 0.5 * (c[0, 0] + c[1, 1])
    near[0, 1] = near[1, 0] = c[0, 1]
    near[:2, 2] = near[2, :2] = 0.5 * (c[0, 2] + c[1, 2])
    near[2, 2], near[5, 5] = c[2, 2], 0.5 * (near[0, 0] - near[0, 1])
    near[3, 3] = near[4, 4] = 0.5 * (c[3, 3] + c[4, 4])
    return near


def _minimize(optimizable, fmax, max_steps):
    optimizer, atoms = BFGS(optimizable, logfile=None), getattr(optimizable, "atoms", optimizable)
    start = atoms.get_volume() if atoms.pbc.all() else None

    def watch():
        if start is not None and not 1 / COLLAPSE < atoms.get_volume() / start < COLLAPSE:
            raise RuntimeError(
                f"the relaxation leaves the crystal: {start / len(atoms):.3g} Angstrom^3/atom have become "
                f"{atoms.get_volume() / len(atoms):.3g}"
            )

    optimizer.attach(watch)
    if not optimizer.run(fmax=fmax, steps=max_steps):
        raise RuntimeError(f"the relaxation did not reach fmax = {fmax:g} in {max_steps} steps")


def _copy(atoms):
    if atoms.calc is None:
        raise ValueError("the atoms have no calculator")
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy
