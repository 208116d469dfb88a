"""Harmonic vibrations: phonons of a crystal along a path of wave vectors, normal modes of a molecule.

Comes in: a relaxed structure with any calculator.  Goes out: frequencies in THz, imaginary ones as negative numbers.
Force constants are central differences of forces in a supercell, made by ASE (`ase.phonons`), with the acoustic sum
rule.  Their sum over lattice vectors takes, of all images of an atom in the supercell, the nearest ones; ASE takes
those of a fixed block of cells, which breaks the symmetry of the crystal.

>>> from ase.build import bulk
>>> from ase.calculators.emt import EMT
>>> copper = bulk("Cu", a=3.59)
>>> copper.calc = EMT()
>>> bands = phonon_bands(copper, width=6.0)
>>> print(f"{bands.frequency_qb.max():.1f} THz, {bands.n_atoms} atoms")
8.2 THz, 27 atoms
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import units
from ase.phonons import Phonons
from ase.vibrations import Vibrations

from bpnumba.properties.lattice import bravais, primitive, repeats

__all__ = ["Bands", "ForceConstants", "force_constants", "molecular_frequencies", "phonon_bands"]

THZ = np.sqrt(units._e * 1e20 / units._amu) / (2 * np.pi) * 1e-12
"""Frequency in THz of 1 eV/Angstrom^2 on 1 u (15.63)."""

PER_CM = units._c * 100 * 1e-12
"""1/cm in THz."""

DELTA = 0.01
"""Angstrom; displacements of the central differences."""


class ForceConstants(NamedTuple):
    """Blocks d^2E / dx_i dx_j in eV/Angstrom^2, one for every atom i of the cell and nearest image of an atom j."""

    i_p: np.ndarray  #: (n,) atom of the cell
    j_p: np.ndarray  #: (n,) atom of the cell ...
    shift_pc: np.ndarray  #: (n, 3) ... and in which cell its image is
    block_pcc: np.ndarray  #: (n, 3, 3); shared by images that are equally near
    mass_a: np.ndarray  #: u
    n_atoms: int  #: of the supercell

    def frequencies(self, q):
        """(3 n,) frequencies in THz at a wave vector in units of the reciprocal cell, ascending."""
        n = len(self.mass_a)
        dynamical = np.zeros((n, 3, n, 3), dtype=complex)
        phase = np.exp(2j * np.pi * self.shift_pc @ np.asarray(q, dtype=float))
        weight = phase / np.sqrt(self.mass_a[self.i_p] * self.mass_a[self.j_p])
        np.add.at(dynamical.transpose(0, 2, 1, 3), (self.i_p, self.j_p), weight[:, None, None] * self.block_pcc)
        square = np.linalg.eigvalsh(_hermitian(dynamical.reshape(3 * n, 3 * n)))
        return THZ * np.sign(square) * np.sqrt(np.abs(square))


class Bands(NamedTuple):
    """Phonon frequencies along the path of ASE for the Bravais lattice."""

    x_q: np.ndarray  #: (n_q,) length along the path, 1/Angstrom
    frequency_qb: np.ndarray  #: (n_q, 3 n) THz, ascending; imaginary ones negative
    ticks: tuple  #: (x, name) of special points; two names at one x where the path jumps
    q_qc: np.ndarray  #: (n_q, 3) wave vectors in units of the reciprocal cell
    n_atoms: int  #: of the supercell

    def at(self, name):
        """(3 n,) frequencies in THz at a special point."""
        x = next(x for x, names in self.ticks if name in names.split("|"))
        side = -1 if [names for at, names in self.ticks if at == x][0].split("|")[0] != name else 0
        return self.frequency_qb[np.flatnonzero(np.abs(self.x_q - x) < 1e-9)[side]]

    def imaginary(self, tolerance=0.05):
        """Wave vector and frequency (THz, negative) of the most imaginary mode below -tolerance, or None."""
        q, b = np.unravel_index(self.frequency_qb.argmin(), self.frequency_qb.shape)
        return (self.q_qc[q], float(self.frequency_qb[q, b])) if self.frequency_qb[q, b] < -tolerance else None


def force_constants(atoms, width=14.0, delta=DELTA):
    """Force constants by central differences in a supercell of at least a width in Angstrom in each direction.

    Parameters
    ----------
    atoms : ase.Atoms
        Relaxed primitive cell; left as it is.
    width : float
        Angstrom.  A potential with a cutoff rc has force constants up to 2 rc.
    delta : float
        Angstrom.

    Returns
    -------
    ForceConstants
    """
    supercell = repeats(atoms, width, step=2)  # odd: then ASE makes all constants symmetric
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "phonons")
        phonons = Phonons(atoms.copy(), atoms.calc, supercell=supercell, name=name, delta=delta)
        phonons.run()
        phonons.read(method="standard", symmetrize=3, acoustic=True)
    n, cells = len(atoms), np.indices(supercell).reshape(3, -1).T
    blocks = phonons.get_force_constant().reshape(-1, n, 3, n, 3)
    around = np.stack(np.meshgrid(*[[-2, -1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * supercell
    images = cells[:, None, :] + around[None, :, :]  # of every cell of the supercell
    found = [], [], [], []
    for i in range(n):
        for j in range(n):
            apart = images @ atoms.cell.array + atoms.positions[j] - atoms.positions[i]
            distance = np.linalg.norm(apart, axis=2)
            nearest = distance < distance.min(axis=1, keepdims=True) + 1e-3
            R, k = np.nonzero(nearest)
            for column, part in zip(found, (
                np.full(len(R), i), np.full(len(R), j), images[R, k],
                blocks[R, i, :, j, :] / nearest.sum(axis=1)[R, None, None],
            ), strict=True):  # fmt: skip
                column.append(part)
    return ForceConstants(*map(np.concatenate, found), atoms.get_masses(), n * len(cells))


def phonon_bands(atoms, width=14.0, delta=DELTA, n_points=200):
    """Phonon dispersion along the path that ASE proposes for the Bravais lattice (Setyawan and Curtarolo, 2010).

    Parameters
    ----------
    atoms : ase.Atoms
        Relaxed, periodic in three directions; left as it is.  Its primitive cell is used.
    width, delta : float
        As in `force_constants`.
    n_points : int

    Returns
    -------
    Bands
    """
    cell = primitive(atoms)
    constants, path = force_constants(cell, width, delta), bravais(cell).bandpath(npoints=n_points)
    x_q, x_special, names = path.get_linear_kpoint_axis()
    ticks = {}
    for x, name in zip(x_special, names, strict=True):
        ticks[float(x)] = f"{ticks[float(x)]}|{name}" if float(x) in ticks else name
    frequency_qb = np.array([constants.frequencies(q) for q in path.kpts])
    return Bands(x_q, frequency_qb, tuple(ticks.items()), path.kpts, constants.n_atoms)


def molecular_frequencies(atoms, delta=DELTA):
    """(3 n,) frequencies of the normal modes of a molecule in THz, ascending; imaginary ones negative.

    Five or six of them, translations and rotations, are near zero.

    Parameters
    ----------
    atoms : ase.Atoms
        Relaxed; left as it is.
    delta : float
        Angstrom.
    """
    molecule = atoms.copy()
    molecule.calc = atoms.calc
    with tempfile.TemporaryDirectory() as folder:
        vibrations = Vibrations(molecule, name=str(Path(folder) / "vibrations"), delta=delta)
        vibrations.run()
        hessian = vibrations.get_vibrations().get_hessian_2d()
    mass_x = np.repeat(atoms.get_masses(), 3)
    square = np.linalg.eigvalsh(_hermitian(hessian / np.sqrt(np.outer(mass_x, mass_x))))
    return THZ * np.sign(square) * np.sqrt(np.abs(square))


def _hermitian(matrix):
    return 0.5 * (matrix + matrix.conj().T)
