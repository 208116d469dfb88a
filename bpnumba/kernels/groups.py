"""The neighbors of one element around a center: where the list of pairs has them, and what scratch keeps of them.

Where couples of neighbors are visited, the neighbors are copied into scratch, sorted by the windows that they are in:
then the neighbors within a window are the first ones, and those beyond all windows are left out.
"""

from typing import NamedTuple

from bpnumba.formulas.numbers import where
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels.nodes import dot
from bpnumba.kernels.packed import FAR, LANES
from bpnumba.kernels.tracing import Array, Counter, Row, padded

VALUES, RATES, ADJOINTS = "values", "rates", "adjoints"
"""What a pass is about: moments, their tangents, or adjoints of the pair vectors."""


def amounts(mode, rates):
    """What a pass takes of a node: its value; its tangent, from `rates`, pairs (node, tangent); or, to begin with, no
    adjoint."""
    if mode == RATES:
        return tangents(dict(rates))
    return (lambda node: node.value) if mode == VALUES else (lambda node: 0.0)


class Group:
    """The neighbors of one element around a center in scratch, from `start` on."""

    def __init__(self, t, recipe, start):
        self.recipe, self.start, self.integers = recipe, start, start.integers()
        self.numbers = start[1 + len(recipe.ends) :]  # sums of radial factors, or the adjoints of these
        self.sums = start[recipe.header :]
        rows = iter([Row(start[recipe.fixed :], n, recipe.rows) for n in range(recipe.rows)])
        self.copy = [next(rows) for _ in range(6)]  # pair vectors and the pass's own vectors of sorted neighbors
        self.known = {key: next(rows) for key in recipe.keys}
        self.also = {key: next(rows) for key in recipe.keys}  # of the same, the tangents or adjoints
        self.between = list(rows)

    @property
    def count(self):
        return self.integers[0]

    def within(self, end):
        """How many neighbors are nearer than this end of a window."""
        return self.integers[1 + self.recipe.ends.index(end)]


class Listed(NamedTuple):
    """The same neighbors in the list of pairs."""

    count: Array
    x: Array
    y: Array
    z: Array
    vectors: tuple  # the pass's own: r_dot or dE_dr

    @property
    def r(self):
        return self[1:4]


def enter(t, listed, group):
    """Sort the neighbors, if need be, and fill them up to whole vectors; returns pair vectors and own vectors."""
    if not group.recipe.ends:
        group.integers[0] = listed.count[0]
        return listed.r, listed.vectors

    def copy(k, here, belongs):
        for row, x in zip(group.copy, [*listed.r, *listed.vectors]):
            row[here] = x[k]  # those that do not belong here are overwritten by the next

    count = place(t, listed, group, copy)
    group.integers[0] = count
    for k in t.range(count, padded(count, LANES)):
        for n, row in enumerate(group.copy):
            row[k] = FAR if n == 0 else 0.0
    return vectors_of(listed, group)


def vectors_of(listed, group):
    """Pair vectors and the pass's own vectors of the neighbors that are in use."""
    return (group.copy[:3], group.copy[3:]) if group.recipe.ends else (listed.r, listed.vectors)


def leave(t, listed, group):
    """Bring the pass's own vectors to where they belong; they are 0 for neighbors beyond all windows."""
    if not group.recipe.ends:
        return

    def bring_back(k, here, belongs):
        for row, x in zip(group.copy[3:], listed.vectors):
            x[k] = where(belongs, row[here], x[k])

    clear(t, listed)
    place(t, listed, group, bring_back)


def clear(t, listed):
    for k in t.lanes(0, listed.count[0]):
        for x in listed.vectors:
            x[k] = 0.0


def place(t, listed, group, move):
    """Call move(k, its place among the sorted, whether it belongs there) for all neighbors, once per window.

    Returns how many belong somewhere.
    """
    places, low = Counter(t), 0.0
    for n, end in enumerate(group.recipe.ends):
        for k in t.range(0, listed.count[0]):
            r = [x[k] for x in listed.r]
            square = dot(r, r)
            belongs = where(square < end * end, where(square < low * low, 0, 1), 0)
            move(k, places.value(), belongs == 1)
            places += belongs
        group.integers[1 + n], low = places.value(), end
    return places.value()
