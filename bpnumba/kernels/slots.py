"""A plan for kernels that serve any number of elements: what they unroll, and what they look up while they run.

The *slots* are what is unrolled: the distinct pair factors of radial moments, and the distinct products of pair factor
and angular factor of narrow ones, of all elements together.  Which column of moments a slot is, for a corner of given
elements, stands in `Tables`.  There, one bit per window, Gaussian, factor, angular factor and slot tells whether a kind
of pair or triangle needs it.
"""

import hashlib
from dataclasses import dataclass, field
from typing import NamedTuple

import llvmlite.binding as llvm
import numpy as np
from numba.extending import typeof_impl

from bpnumba.kernels.machine import Machine
from bpnumba.kernels.plan import PlanType, multiples

BITS = 62
"""Of a word of flags."""


@dataclass(frozen=True)
class Slots:
    """Pair factors of radial moments, and (factor, angle) of moments of triangles."""

    pairs: tuple
    triangles: tuple
    machine: Machine
    digest: str = field(init=False)

    def __post_init__(self):
        content = repr(("slots", self.pairs, self.triangles, self.machine.kind, llvm.llvm_version_info))
        object.__setattr__(self, "digest", hashlib.sha256(content.encode()).hexdigest())

    @property
    def kept(self):
        """windows of the triangles: an edge keeps them in scratch"""
        return sorted({factor.window for factor, _ in self.triangles})

    @property
    def most(self):
        """slots of a pair or of a corner, whatever is more"""
        return max(len(self.pairs), len(self.triangles))

    @property
    def n_rows(self):
        """rows of scratch of a group of neighbors: u, 1/r, `along`, the windows, the slots"""
        return 3 + 2 * len(self.kept) + self.most

    @property
    def pair_tree(self):
        return {**{window: {} for window in self.kept}, **tree(self.pairs)}

    @property
    def triangle_tree(self):
        return tree({factor for factor, _ in self.triangles})

    def pair_keys(self, center, neighbor, windows):
        """Keys of all that is needed where the two ends of a pair have these slots, and these windows are kept."""
        branches, found = self.pair_tree, {("window", window): None for window in windows}
        for n, slots in enumerate((center, neighbor)):
            for slot in slots:
                found |= {**factor_keys(branches, self.pairs[slot]), (n, slot): None}
        return found

    def triangle_keys(self, *corners):
        """Keys of all that is needed where the three corners of a triangle have these slots."""
        branches, found = self.triangle_tree, {}
        for n, slots in enumerate(corners):
            for slot in slots:
                factor, shape = self.triangles[slot]
                found |= {**factor_keys(branches, factor), (n, shape): None, (n, slot): None}
        return found

    @property
    def all_pair_keys(self):
        every = range(len(self.pairs))
        return list(self.pair_keys(every, every, self.kept))

    @property
    def all_triangle_keys(self):
        every = range(len(self.triangles))
        return list(self.triangle_keys(every, every, every))


@typeof_impl.register(Slots)
def _(slots, context):
    return PlanType(slots)


def tree(factors):
    """{window: {(rs, base): [(factor, n)]}} with eta = n base."""
    found = {}
    for window in sorted({factor.window for factor in factors}):
        groups = found.setdefault(window, {})
        inside = [factor for factor in factors if factor.window == window]
        for rs in sorted({factor.rs for factor in inside}):
            chosen = {factor.eta: factor for factor in inside if factor.rs == rs}
            for base, members in multiples(chosen).items():
                groups[rs, base] = [(chosen[eta], n) for eta, n in members]
    return found


def factor_keys(branches, factor):
    """Those of its window, of its Gaussian and of the factor itself."""
    groups = branches[factor.window].items()
    group = next(key for key, members in groups if any(factor == member for member, _ in members))
    return {("window", factor.window): None, (factor.window, *group): None, factor: None}


class Lists(NamedTuple):
    """Slots of every kind of corner and their columns: entries begin[kind] ... begin[kind + 1] - 1."""

    begin: np.ndarray
    slot: np.ndarray
    column: np.ndarray


class Tables(NamedTuple):
    """What is looked up at run time.

    The kind of a pair is the number center * E + neighbor, that of a triangle or a corner of one is
    (center * E + one) * E + other, for E elements.
    """

    n_elements: int
    order: np.ndarray  # (E) elements, the most abundant last
    pairs: Lists
    triangles: Lists
    pair_flags: np.ndarray  # (kinds, words) int64
    triangle_flags: np.ndarray
    reach2: np.ndarray  # (kinds) square of where the longest window of a triangle ends; 0 if there is none


class TablePlan(NamedTuple):
    """A `Plan` as slots and tables."""

    slots: Slots
    tables: Tables
    width: int  # moments of the element that has most


def table_plan(plan):
    """The `TablePlan` of a `Plan`."""
    moments = {moment for column in plan.columns for moment in column}
    slots = Slots(
        tuple(sorted({m.factor for m in moments if len(m.partners) == 1})),
        tuple(sorted({(m.factor, m.angle) for m in moments if len(m.partners) == 2}, key=repr)),
        plan.machine,
    )
    place = {what: n for known in (slots.pairs, slots.triangles) for n, what in enumerate(known)}
    found = {}  # {(center, *partners): {slot: column}}
    for center, column in enumerate(plan.columns):
        for n, (partners, factor, shape) in enumerate(column):
            slot = place[factor if len(partners) == 1 else (factor, shape)]
            for ordered in {partners, partners[::-1]}:
                found.setdefault((center, *ordered), {})[slot] = n

    def lists(kinds):
        columns = [sorted(found.get(kind, {}).items()) for kind in kinds]
        entries = np.array([entry for one in columns for entry in one], np.int64).reshape(-1, 2)
        return Lists(np.cumsum([0, *map(len, columns)], dtype=np.int64), *entries.T.copy())

    elements = plan.elements
    couples = [(c, e) for c in elements for e in elements]
    triples = [(*couple, e) for couple in couples for e in elements]
    needed, kept, reach2 = [], {couple: set() for couple in couples}, []
    for c, p, q in triples:
        keys = slots.triangle_keys(*(found.get(corner, ()) for corner in ((c, p, q), (p, c, q), (q, c, p))))
        windows = {key[1] for key in keys if key[0] == "window"}
        kept[c, p] |= windows
        kept[c, q] |= windows
        needed.append(keys)
        reach2.append(max((window[2] for window in windows), default=0.0) ** 2)
    triangle_flags = flags(slots.all_triangle_keys, needed)
    needed = [slots.pair_keys(found.get((c, e), ()), found.get((e, c), ()), kept[c, e]) for c, e in couples]
    order, pair_flags = np.array(plan.lane_order, np.int64), flags(slots.all_pair_keys, needed)
    arrays = lists(couples), lists(triples), pair_flags, triangle_flags, np.array(reach2)
    return TablePlan(slots, Tables(len(elements), order, *arrays), plan.width)


def flags(keys, needed):
    """One bit per key: whether it is among the needed ones, one row for each of those."""
    rows = np.zeros((len(needed), len(keys) // BITS + 1), np.int64)
    for row, some in zip(rows, needed):
        for n, key in enumerate(keys):
            row[n // BITS] |= (key in some) << n % BITS
    return rows
