"""Values G of symmetry functions, and the two contractions with their derivatives.

`Descriptors` visit the pairs anew for each contraction; `StoredDescriptors` keep the Jacobian.  Both have the same
verbs: ``pullback`` (dE/dG -> dE/dr of every pair, which gives forces) and its transpose ``pushforward``.

>>> import numpy as np
>>> from ase.build import molecule
>>> from bpnumba.symmetry import SymmetryFunctions
>>> from bpnumba.pairs import Pairs
>>> functions = SymmetryFunctions(["H", "O"], r_cut=5.0, g2_params=[[1.0, 0.0]])
>>> descriptors = functions.describe(Pairs.from_atoms(molecule("H2O"), 5.0))
>>> [G.shape for G in descriptors.values]
[(2, 2), (1, 2)]
"""

from typing import NamedTuple

import numpy as np

from bpnumba.kernels import cpu, stored
from bpnumba.pairs import Pairs, checked


class Layout(NamedTuple):
    """Where the values of every center lie in a flat array: one block per element, one row per atom."""

    element_a: np.ndarray  # element index of every atom
    offset_a: np.ndarray  # (n_centers) begin of the row of a center
    atoms_e: tuple  # centers of every element
    table: NamedTuple
    size: int

    @classmethod
    def of(cls, element_a, n_centers, table):
        """Rows of centers, the first of these atoms; blocks follow each other in the order of the elements."""
        atoms_e = tuple(np.flatnonzero(element_a[:n_centers] == e) for e in range(len(table.n_functions)))
        offset_a, end = np.zeros(n_centers, np.int64), 0
        for atoms, width in zip(atoms_e, table.n_functions):
            offset_a[atoms] = end + width * np.arange(len(atoms))
            end += width * len(atoms)
        return cls(element_a, offset_a, atoms_e, table, end)

    @property
    def n_centers(self):
        return len(self.offset_a)

    def split(self, flat):
        """The blocks (n_atoms_e, n_functions_e) of a flat array, as views."""
        blocks, end = [], 0
        for atoms, width in zip(self.atoms_e, self.table.n_functions):
            begin, end = end, end + len(atoms) * width
            blocks.append(flat[begin:end].reshape(len(atoms), width))
        return tuple(blocks)

    def join(self, blocks):
        """The flat array of blocks; a ValueError if one is missing or has a wrong shape (kernels do not look)."""
        shapes = [(len(atoms), int(width)) for atoms, width in zip(self.atoms_e, self.table.n_functions)]
        if len(blocks) != len(shapes):
            raise ValueError(f"there must be {len(shapes)} blocks, one per element, not {len(blocks)}")
        return np.concatenate(
            [checked(block, shape, f"block {e}").ravel() for e, (block, shape) in enumerate(zip(blocks, shapes))]
        )

    def pad(self, blocks):
        """One row per center, (n_centers, widest), filled up with zeros."""
        rows = np.zeros((len(self.offset_a), int(self.table.n_functions.max())))
        for atoms, block in zip(self.atoms_e, blocks):
            rows[atoms, : block.shape[1]] = block
        return rows


class Descriptors(NamedTuple):
    """Values G per element, and contractions with dG/dr that visit the pairs anew each time."""

    pairs: Pairs
    layout: Layout
    values: tuple  # per element (n_atoms_e, n_functions_e)

    @classmethod
    def of(cls, pairs, layout):
        """Compute the values of all centers."""
        G = np.empty(layout.size)
        cpu.describe(pairs.first_a, pairs.j_p, pairs.r_pc, layout.element_a, layout.offset_a, layout.table, G)
        return cls(pairs, layout, layout.split(G))

    def pullback(self, dE_dG):
        """dE/dr_pc of every pair vector from dE/dG, a tuple like `values`."""
        dE_dr = np.empty_like(self.pairs.r_pc)
        cpu.pullback(*self._where(), self.layout.join(dE_dG), dE_dr)
        return dE_dr

    def pushforward(self, r_dot_pc):
        """Tangents of the values from tangents of the pair vectors."""
        G_dot = np.empty(self.layout.size)
        cpu.pushforward(*self._where(), checked(r_dot_pc, self.pairs.r_pc.shape, "r_dot_pc"), G_dot)
        return self.layout.split(G_dot)

    def forces(self, dE_dG):
        """Forces (n_atoms, 3) and virial (n_structures, 3, 3) from dE/dG."""
        return self.pairs.pullback(self.pullback(dE_dG))

    def tangents(self, x_dot_ac, strain_dot_mcc):
        """Tangents of the values from those of positions (besides what the strain does to them) and strain."""
        return self.pushforward(self.pairs.pushforward(x_dot_ac, strain_dot_mcc))

    def stored(self, dtype=np.float64):
        """The same with a stored Jacobian: faster contractions for 3 n_functions numbers per pair."""
        pairs, table, element_a = self.pairs, self.layout.table, self.layout.element_a
        sizes = 3 * table.n_related[element_a[pairs.i_p], element_a[pairs.j_p]]
        first_p = np.concatenate([[0], np.cumsum(sizes)])
        J = np.empty(first_p[-1], dtype)
        cpu.jacobian(*self._where(), first_p, J)
        return StoredDescriptors(pairs, self.layout, self.values, first_p, J)

    def _where(self):
        pairs, layout = self.pairs, self.layout
        return pairs.first_a, pairs.j_p, pairs.r_pc, layout.element_a, layout.offset_a, layout.table


class StoredDescriptors(NamedTuple):
    """`Descriptors` with the Jacobian in memory; the same verbs."""

    pairs: Pairs
    layout: Layout
    values: tuple
    first_p: np.ndarray  # begin of the block of pair p
    J: np.ndarray  # flat

    def pullback(self, dE_dG):
        dE_dr = np.empty_like(self.pairs.r_pc)
        stored.pullback(*self._where(), self.layout.join(dE_dG), dE_dr)
        return dE_dr

    def pushforward(self, r_dot_pc):
        G_dot = np.empty(self.layout.size)
        stored.pushforward(*self._where(), checked(r_dot_pc, self.pairs.r_pc.shape, "r_dot_pc"), G_dot)
        return self.layout.split(G_dot)

    forces, tangents = Descriptors.forces, Descriptors.tangents

    def block(self, p):
        """Columns of the functions related to pair p, and their derivatives dG/dr_p, (3, n_columns)."""
        table, (i, j) = self.layout.table, (self.pairs.i_p[p], self.pairs.j_p[p])
        c, e = self.layout.element_a[i], self.layout.element_a[j]
        columns = table.related[c, e, : table.n_related[c, e]]
        return columns, self.J[self.first_p[p] : self.first_p[p + 1]].reshape(3, -1)

    def _where(self):
        pairs, layout = self.pairs, self.layout
        return pairs.first_a, pairs.j_p, layout.element_a, layout.offset_a, layout.table, self.first_p, self.J
