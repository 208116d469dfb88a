"""The lattice of a crystal: its primitive cell in a standard orientation, and supercells.

Comes in: `ase.Atoms`, periodic in three directions.  Goes out: the smallest cell with the same crystal, which no
library is needed to find: translations that map atoms onto atoms.  The Bravais lattice is recognized by ASE.

>>> from ase.build import bulk
>>> found = primitive(bulk("Si", cubic=True) * (2, 1, 1))
>>> len(found), found.cell.get_bravais_lattice().name
(2, 'FCC')
>>> repeats(found, 10.0)
(4, 4, 4)
"""

import numpy as np
from ase.lattice import identify_lattice

__all__ = ["bravais", "heights", "primitive", "repeats"]

TOLERANCE = 0.05
"""Angstrom: farther from each other, two atoms are not images of one another."""

SYMMETRY = 1e-3
"""Relative difference of lengths and angles that a Bravais lattice may have, where ASE measures them."""


def primitive(atoms, tolerance=TOLERANCE):
    """Smallest cell of a crystal, along the axes that ASE (Setyawan and Curtarolo) gives its Bravais lattice.

    Cubic and tetragonal axes lie along x, y, z; the hexagonal axis along z.

    Parameters
    ----------
    atoms : ase.Atoms
        Periodic in three directions; left as it is.
    tolerance : float
        Angstrom, of positions.

    Returns
    -------
    ase.Atoms
        With the same calculator.  Where the cell cannot be made smaller it is only turned.

    Raises
    ------
    RuntimeError
        ASE does not recognize the lattice.
    """
    cell = _shortest(np.array([*_translations(atoms, tolerance), *atoms.cell.array]))
    if np.linalg.det(cell) < 0.0:
        cell = -cell
    kept, scaled = [], atoms.positions @ np.linalg.inv(cell)
    for k in range(len(atoms)):
        apart = scaled[kept] - scaled[k]
        same = np.linalg.norm((apart - np.round(apart)) @ cell, axis=1) < 2.0 * tolerance
        if not (same & (atoms.numbers[kept] == atoms.numbers[k])).any():
            kept.append(k)
    if abs(len(atoms) * np.linalg.det(cell) / atoms.get_volume() - len(kept)) > 0.1:
        kept, cell = list(range(len(atoms))), atoms.cell.array
    small = atoms[kept]
    small.calc = atoms.calc
    small.set_constraint()
    small.set_cell(cell)
    standard = bravais(small).tocell().array
    small.set_cell(_basis_like(standard, cell))
    small.set_cell(standard, scale_atoms=True)  # a rotation, but for what a Bravais lattice may differ by
    small.wrap(eps=1e-6)
    return small


def bravais(atoms):
    """The Bravais lattice, as ASE recognizes it."""
    return identify_lattice(atoms.cell, eps=SYMMETRY)[0]


def heights(cell):
    """(3,) distances in Angstrom between opposite faces of a cell."""
    return 1.0 / np.linalg.norm(np.linalg.inv(np.asarray(cell)), axis=0)


def repeats(atoms, width, step=1):
    """How often to repeat a cell in each direction until opposite faces are `width` Angstrom apart.

    Parameters
    ----------
    atoms : ase.Atoms
    width : float
    step : int
        2 gives odd numbers only.

    Returns
    -------
    tuple of three int
    """
    return tuple(1 + step * max(0, int(np.ceil((width / h - 1.0) / step - 1e-6))) for h in heights(atoms.cell))


def _translations(atoms, tolerance):
    """(n, 3) translations other than those of the cell that map every atom onto one of its element."""
    numbers, counts = np.unique(atoms.numbers, return_counts=True)
    rare = np.flatnonzero(atoms.numbers == numbers[np.argmin(counts)])
    cell, scaled, found = atoms.cell.array, atoms.get_scaled_positions(), []
    for k in rare[1:]:
        shift, total, matches = scaled[k] - scaled[rare[0]], np.zeros(3), True
        for number in numbers:
            of_element = scaled[atoms.numbers == number]
            apart = of_element[None, :, :] - of_element[:, None, :] - shift
            apart -= np.round(apart)
            distance = np.linalg.norm(apart @ cell, axis=2)
            nearest = distance.argmin(axis=1)
            rows = np.arange(len(nearest))
            matches &= distance[rows, nearest].max() < tolerance and len(set(nearest)) == len(nearest)
            total += apart[rows, nearest].sum(axis=0)
        if matches:
            found.append((shift + total / len(atoms)) @ cell)  # the mean over all atoms, not that of one
    return np.array(found).reshape(-1, 3)


def _basis_like(standard, cell):
    """(3, 3) basis of the lattice of `cell` with the lengths and angles of another basis of it."""
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors, gram = steps @ cell, standard @ standard.T
    square, slack = np.sum(vectors**2, axis=1), 0.01 * np.trace(gram) / 3
    first, second, third = (vectors[np.abs(square - gram[k, k]) < slack] for k in range(3))
    error = np.max([
        np.abs(np.einsum("ic,jc->ij", first, second) - gram[0, 1])[:, :, None] + np.zeros(len(third)),
        np.abs(np.einsum("ic,kc->ik", first, third) - gram[0, 2])[:, None, :] + np.zeros((len(second), 1)),
        np.abs(np.einsum("jc,kc->jk", second, third) - gram[1, 2])[None, :, :] + np.zeros((len(first), 1, 1)),
    ], axis=0)  # fmt: skip
    if not error.size or error.min() > slack:
        raise RuntimeError("the lattice is not the one that ASE recognizes")
    i, j, k = np.unravel_index(error.argmin(), error.shape)
    return np.array([first[i], second[j], third[k]])


def _shortest(vectors):
    """(3, 3) shortest basis of the lattice that vectors make; in three dimensions successive minima are a basis."""
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = (vectors[:, None, :] + (steps @ vectors[-3:])[None, :, :]).reshape(-1, 3)
    length = np.linalg.norm(candidates, axis=1)
    candidates = candidates[length > 1e-3]
    length = np.linalg.norm(candidates, axis=1)
    basis = []
    for k in np.argsort(np.round(length, 6), kind="stable"):
        volume = np.linalg.svd([*basis, candidates[k]], compute_uv=False).prod()
        if volume > 1e-3 * np.prod([np.linalg.norm(vector) for vector in [*basis, candidates[k]]]):
            basis.append(candidates[k])
        if len(basis) == 3:
            break
    return np.array(basis)
