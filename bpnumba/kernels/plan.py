"""What a fast kernel has to compute, as plain data: a table of symmetry functions becomes plans of moments.

A *moment* is a sum of products of pair factors and at most one angular factor.  Symmetry functions are combinations of
moments, G = m A: at zeta = 1, lambda = +1 and -1 share the two moments sum R and sum R cos, and a weighted function
combines the moments of all elements.  There are two plans: that of narrow functions, whose moments are sums over
triangles of atoms, and that of wide ones, which are sums over couples of neighbors.

For Numba a plan is a *type*: a kernel called with another plan is compiled again, and kept on disk under the plan's
name, like that of any other type.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba import types
from numba.extending import NativeValue, models, register_model, typeof_impl, unbox

from bpnumba.formulas.angular import angular, compact_angular, even_powers, odd_powers
from bpnumba.kernels.machine import Machine
from bpnumba.kernels.table import column_of, is_narrow, is_radial, is_weighted


class Factor(NamedTuple):
    """A pair factor exp(-eta (r - rs)^2) times a window, see `bpnumba.formulas.cutoff.window`."""

    eta: float
    rs: float
    number: int
    inner: float
    outer: float
    mirrored: bool

    @property
    def window(self):
        return self[2:]


ANGLES = {"angular": angular, "compact": compact_angular, "even": even_powers, "odd": odd_powers}
"""Angular factors of a moment, functions of the cosine."""


class Moment(NamedTuple):
    """A sum over neighbors (one element in `partners`) or over couples of neighbors (two)."""

    partners: tuple  # element indices, sorted
    factor: Factor
    angle: tuple  # () for 1, ("cosine",), or the name of a formula with its parameters, see `ANGLES`


@dataclass(frozen=True)
class Plan:
    """Columns of moments per element: ``columns[element]`` is a tuple of `Moment`."""

    columns: tuple
    lane_order: tuple  # elements, the most abundant last: it fills the lanes of the inner loops
    machine: Machine
    digest: str = field(init=False)

    def __post_init__(self):
        content = repr((self.columns, self.lane_order, self.machine.kind, llvm.llvm_version_info))
        object.__setattr__(self, "digest", hashlib.sha256(content.encode()).hexdigest())

    @property
    def elements(self):
        return range(len(self.columns))

    @property
    def width(self):
        """moments of the element that has most"""
        return max(len(column) for column in self.columns)

    def moments(self, center, *neighbors):
        """{column: moment} of a pair (one neighbor) or of a corner of a triangle (two)"""
        partners = tuple(sorted(neighbors))
        return {n: moment for n, moment in enumerate(self.columns[center]) if moment.partners == partners}

    def ends(self, i, j):
        """the moments of both ends of a pair of these elements"""
        return self.moments(i, j), self.moments(j, i)

    def corners(self, i, j, k):
        """the moments of the three corners of a triangle of these elements"""
        return self.moments(i, j, k), self.moments(j, i, k), self.moments(k, i, j)

    def exchanged(self, center, neighbor):
        """columns of a neighbor to which the center's pairs and triangles contribute"""
        return [n for n, moment in enumerate(self.columns[neighbor]) if center in moment.partners]

    def couples(self, center):
        """the kinds of triangle (first, second) that some moment needs; lanes run over the second"""
        order = self.lane_order
        return [(p, q) for n, p in enumerate(order) for q in order[n:] if any(self.corners(center, p, q))]

    def windows(self, center, neighbor):
        """the windows of an edge that some triangle at this center takes from its pairs"""
        found = {
            moment.factor.window
            for p, q in self.couples(center)
            if neighbor in (p, q)
            for corner in self.corners(center, p, q)
            for moment in corner.values()
        }
        return sorted(found)


def make_plans(functions, numbers, abundance, machine):
    """Plans and matrices of a set of symmetry functions.

    Parameters
    ----------
    functions : structured array of FUNCTION
    numbers : sequence of int
        Atomic numbers of the elements; their order is the element index.
    abundance : sequence of float
        Something that grows with the number of atoms of each element.
    machine : Machine

    Returns
    -------
    list of (Plan or None, matrices)
        Of narrow and of wide functions; G of an element are its moments times its matrix (n_moments, n_functions), and
        both parts add up.  Radial functions belong to the narrow ones, unless there are only wide ones.
    """
    blocks = [[column_of(row) for row in functions[functions["center"] == z]] for z in numbers]
    kinds = {column.kind for block in blocks for column in block if not is_radial(column.kind)}
    radial_is_narrow = not kinds or any(is_narrow(kind) for kind in kinds)
    plans = []
    for narrow in (True, False):
        columns, matrices = [], []
        for block in blocks:
            chosen = {
                s: column
                for s, column in enumerate(block)
                if (radial_is_narrow if is_radial(column.kind) else is_narrow(column.kind)) == narrow
            }
            moments, entries = {}, []
            for s, column in chosen.items():
                for partners, weight in combinations(column, numbers):
                    for angle, factor in parts(column, chosen.values()):
                        moment = Moment(partners, Factor(*column.factor), angle)
                        entries.append((moments.setdefault(moment, len(moments)), s, weight * factor))
            matrix = np.zeros((len(moments), len(block)))
            for m, s, value in entries:
                matrix[m, s] += value
            columns.append(tuple(moments))
            matrices.append(matrix)
        order = tuple(int(e) for e in np.argsort(abundance, kind="stable"))
        plan = Plan(tuple(columns), order, machine) if any(columns) else None
        plans.append((plan, tuple(matrices)))
    return plans


def combinations(column, numbers):
    """Element indices of the neighbors that a function sums over, with their weights."""
    index, weighted = {z: e for e, z in enumerate(numbers)}, is_weighted(column.kind)
    if is_radial(column.kind):
        found = index if weighted else [column.neighbors[0]]
        return [((index[z],), column.weight(z)) for z in found]
    found = [(y, z) for y in index for z in index if index[y] <= index[z]] if weighted else [column.neighbors]
    return [(tuple(sorted((index[y], index[z]))), column.weight(y * z)) for y, z in found]


def parts(column, others):
    """Angular factors of the moments that a function is made of, and how much it takes of each."""
    compact, lam, zeta, number, middle, right = column.angle
    if is_radial(column.kind):
        return [((), 1.0)]
    if compact:
        return [(("compact", number, middle, right), column.norm)]
    mirror = column.angle[:1] + (-lam,) + column.angle[2:]
    shared = any(o.factor == column.factor and o.kind == column.kind and o.neighbors == column.neighbors
                 and o.angle == mirror for o in others if not is_radial(o.kind))  # fmt: skip
    if zeta == 1.0 and shared:
        return [((), column.norm), (("cosine",), lam * column.norm)]
    if zeta in (2.0, 4.0) and shared and abs(lam) == 1.0 and is_narrow(column.kind):
        return [(("even", zeta), column.norm), (("odd", zeta), lam * zeta * column.norm)]
    return [(("angular", lam, zeta), column.norm)]


def multiples(etas, limit=64):
    """{base: [(eta, n)]} with eta = n base: one exponential and a few multiplications serve them all."""
    groups = {}
    for eta in sorted(set(etas)):
        ratio = {base: eta / base for base in groups if base > 0.0}
        base = next((b for b, n in ratio.items() if n <= limit and abs(n - round(n)) < 1e-12 * n), eta)
        groups.setdefault(base, []).append((eta, round(ratio.get(base, 1.0))))
    return groups


# ---- a plan is a type ------------------------------------------------------------------------------------------------


class PlanType(types.Type):
    """The type of one plan, named after its content."""

    def __init__(self, plan):
        self.plan = plan
        super().__init__(name=f"Plan({plan.digest})")


register_model(PlanType)(models.OpaqueModel)


@typeof_impl.register(Plan)
def _(plan, context):
    return PlanType(plan)  # Numba keeps one of each name


@unbox(PlanType)
def _(type_, plan, c):
    return NativeValue(c.context.get_dummy_value())
