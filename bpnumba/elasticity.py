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
"""

from typing import NamedTuple

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from bpnumba.units import GPA

__all__ = ["CubicConstants", "cubic_elastic_constants", "relax"]

STRAIN = 0.004
"""Terms of third order enter a central difference by its square: about 1e-5 of the constants."""

MAX_STEPS = 1000
"""Steps after which a relaxation has failed."""


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
        Not converged after ``max_steps`` steps.
    """
    relaxed = _copy(atoms)
    _minimize(FrechetCellFilter(relaxed) if relaxed.pbc.all() else relaxed, fmax, max_steps)
    return relaxed


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


def _minimize(optimizable, fmax, max_steps):
    optimizer = BFGS(optimizable, logfile=None)
    if not optimizer.run(fmax=fmax, steps=max_steps):
        raise RuntimeError(f"the relaxation did not reach fmax = {fmax:g} in {max_steps} steps")


def _copy(atoms):
    if atoms.calc is None:
        raise ValueError("the atoms have no calculator")
    copy = atoms.copy()
    copy.calc = atoms.calc
    return copy
