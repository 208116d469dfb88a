"""Values G of symmetry functions and their contractions by the fast kernels, the twin of `bpnumba.descriptors`.

The kernels compute moments m (`bpnumba.kernels.plan`); symmetry functions are combinations of them, G = m A, one matrix
per element.  So dE/dm = dE/dG A^T, and tangents transform like values.

>>> from ase.build import molecule
>>> from bpnumba.packed_pairs import PackedPairs
>>> from bpnumba.kernels.machine import this_machine
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["H", "O"], r_cut=5.0, g2_params=[[1.0, 0.0]])
>>> pairs = PackedPairs.from_atoms(molecule("H2O"), 5.0, functions.numbers, half=True, full=False)
>>> parts = parts_of(functions.functions, functions.numbers, this_machine("2"))
>>> [G.shape for G in PackedDescriptors.of(pairs, parts, functions.table.n_functions).values]
[(2, 2), (1, 2)]
"""

from typing import NamedTuple

import numpy as np

from bpnumba.kernels import centers, table_triangles, triangles
from bpnumba.kernels.gradients import rooms_of
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.plan import Plan, make_plans
from bpnumba.kernels.slots import table_plan
from bpnumba.kernels.threads import in_order
from bpnumba.packed_pairs import PackedPairs
from bpnumba.pairs import checked

np.empty(31 << 20, np.uint8)
"""Freed at once. glibc takes it as a sign to keep the memory of freed arrays up to this size: to touch fresh pages for
each array of a step costs more than the arithmetic of the networks."""


MOST_ELEMENTS = 3
"""For more elements, triangles look up at run time which functions they belong to: that takes half as long again, but
one second to compile, whatever the number of elements, where all triples of three elements take up to ten."""


class Part(NamedTuple):
    """Narrow or wide functions: which kernels, for which plan, and how moments combine to functions."""

    kernels: object  # `bpnumba.kernels.triangles` or `centers`
    plan: Plan
    matrices: tuple  # per element (n_moments, n_functions)
    rows_ce: np.ndarray  # rows of scratch per neighbor, for elements of center and neighbor
    fixed_c: np.ndarray  # numbers of scratch besides, for that of the center
    width: int  # of a row of moments

    def rooms(self, packed, chunk):
        """Scratch, and three arrays for the pair vectors of a block."""
        most, longest = rooms_of(packed, self.rows_ce, self.fixed_c, *chunk[:2])  # whole vectors
        room = aligned(most + 3 * longest)
        return room, tuple(room[most + n * longest :] for n in range(3))


def parts_of(functions, numbers, machine):
    """The `Part` of narrow and of wide functions; None where there are no such functions.

    Lanes run over the element of lower atomic number: hydrogen and oxygen outnumber what they are bound to.
    """
    plans = make_plans(functions, numbers, [-z for z in numbers], machine)
    found = []
    for kernels, (plan, matrices) in zip((triangles, centers), plans):
        if plan is None:
            found.append(None)
            continue
        if kernels is triangles and len(numbers) > MOST_ELEMENTS:
            kernels, plan = table_triangles, table_plan(plan)
        found.append(Part(kernels, plan, matrices, *kernels.rooms(plan), (plan.width + LANES - 1) // LANES * LANES))
    return tuple(found)


class PackedLayout(NamedTuple):
    """Which row of the blocks per element belongs to which atom."""

    rows_e: tuple  # entries of the centers of every element
    atoms_e: tuple  # and the caller's atoms
    n_centers: int
    n_functions: np.ndarray


class PackedDescriptors(NamedTuple):
    """Values G per element, and contractions with dG/dr by the fast kernels."""

    pairs: PackedPairs
    layout: PackedLayout
    values: tuple  # per element (n_atoms_e, n_functions_e)
    parts: tuple  # `Part` or None, of the half list and of the full list

    @classmethod
    def of(cls, pairs, parts, n_functions):
        """Compute the values of all centers."""
        packed = pairs.half or pairs.full
        element_q = packed.element_q[: pairs.n_centers]
        rows_e = (np.flatnonzero(element_q == e) for e in range(len(n_functions)))
        rows_e = tuple(rows[np.argsort(pairs.order[rows])] for rows in rows_e)  # blocks in the order of the atoms
        layout = PackedLayout(rows_e, tuple(pairs.order[rows] for rows in rows_e), pairs.n_centers, n_functions)
        self = cls(pairs, layout, (), parts)
        return self._replace(values=self._values())

    def forces(self, dE_dG):
        """Forces (n_atoms, 3) and virial (n_structures, 3, 3) from dE/dG, a tuple like `values`."""
        pairs, shapes = self.pairs, [G.shape for G in self.values]
        if len(dE_dG) != len(shapes):
            raise ValueError(f"there must be {len(shapes)} blocks, one per element, not {len(dE_dG)}")
        dE_dG = [checked(block, shape, f"block {e}") for e, (block, shape) in enumerate(zip(dE_dG, shapes))]
        forces_qc, virial_mcc = np.zeros((pairs.n_atoms, 3)), np.zeros((pairs.n_structures, 3, 3))
        for part, packed, chunks in self._in_use():
            dE_dm = self._rows(part.width)
            dE_dm[:] = 0.0
            for rows, block, matrix in zip(self.layout.rows_e, dE_dG, part.matrices):
                dE_dm[rows, : len(matrix)] = block @ matrix.T

            def of_chunk(chunk, part=part, packed=packed, dE_dm=dE_dm):
                forces, virial = self._rows(3, chunk.arcs(pairs.n_atoms)), np.zeros((pairs.n_structures, 3, 3))
                rooms = part.rooms(packed, chunk)
                part.kernels.pullback(part.plan, packed, *rooms, *chunk[:2], dE_dm, pairs.structure_q, forces, virial)
                return forces, virial

            for chunk, (forces, virial) in zip(chunks, in_order(of_chunk, chunks)):
                virial_mcc += virial
                for rows in chunk.arcs(pairs.n_atoms):
                    forces_qc[rows] += forces[rows]
        forces_ac = np.empty_like(forces_qc)
        forces_ac[pairs.order] = forces_qc
        return forces_ac, virial_mcc

    def tangents(self, x_dot_ac, strain_dot_mcc):
        """Tangents of the values from those of positions (besides what the strain does to them) and strain."""
        pairs = self.pairs
        x_dot_qc = checked(x_dot_ac, (pairs.n_atoms, 3), "x_dot_ac")[pairs.order]
        strain_dot_mcc = checked(strain_dot_mcc, (pairs.n_structures, 3, 3), "strain_dot_mcc")

        def kernel(part, packed, chunk, own):
            given = pairs.structure_q, x_dot_qc, strain_dot_mcc
            part.kernels.pushforward(part.plan, packed, *part.rooms(packed, chunk), *chunk[:2], own, *given)

        return self._sums(kernel)

    def _values(self):
        def kernel(part, packed, chunk, own):
            scratch, _ = part.rooms(packed, chunk)
            part.kernels.describe(part.plan, packed, scratch, *chunk[:2], own)

        return self._sums(kernel)

    def _in_use(self):
        """Every part with its list and the chunks of it."""
        pairs = self.pairs
        lists = (pairs.half, pairs.half_chunks), (pairs.full, pairs.full_chunks)
        return [(part, *one) for part, one in zip(self.parts, lists) if part is not None]

    def _sums(self, kernel):
        """Values or tangents per element: moments that a kernel adds up, chunk by chunk, times the matrices."""
        n_atoms = self.pairs.n_atoms
        blocks = [np.zeros((len(rows), n)) for rows, n in zip(self.layout.rows_e, self.layout.n_functions)]
        for part, packed, chunks in self._in_use():

            def of_chunk(chunk, part=part, packed=packed):
                """Moments to which these centers contribute: theirs, and in a half list those of neighbors."""
                own = self._rows(part.width, chunk.arcs(n_atoms))
                kernel(part, packed, chunk, own)
                return own

            moments = None
            for chunk, own in zip(chunks, in_order(of_chunk, chunks)):
                if len(chunks) == 1:
                    moments = own
                    continue
                if moments is None:
                    moments = self._rows(part.width, [slice(None)])
                for rows in chunk.arcs(n_atoms):
                    moments[rows] += own[rows]
            for block, rows, matrix in zip(blocks, self.layout.rows_e, part.matrices):
                block += moments[rows, : len(matrix)] @ matrix
        return tuple(blocks)

    def _rows(self, width, zeros=()):
        """One row per entry, and one for filling entries; some are set to 0, others have any content."""
        rows = aligned((self.pairs.n_atoms + 1) * width).reshape(-1, width)
        for some in zeros:
            rows[some] = 0.0
        return rows


def aligned(room):
    """`room` numbers that begin at a cache line."""
    raw = np.empty(room + LANES)
    skipped = -raw.__array_interface__["data"][0] // raw.itemsize % LANES
    return raw[skipped : skipped + room]
