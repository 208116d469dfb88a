"""What the kernels of wide functions have to do for the elements of a plan, so that equal needs share machine code.

The neighbors of one element around a center are a *group*, described by a `Recipe`; a `Kind` describes a couple of
groups and its moments.  What is done with them is a subroutine, compiled once per recipe or kind, however many elements
there are.  Where one element needs a little less than another, both get the same.
"""

from functools import lru_cache
from typing import NamedTuple

from bpnumba.kernels import harmonics
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.tracing import padded

AXES = ("x", "y", "z")

AT_ONCE = 4
"""Neighbors j that are taken side by side when couples jk are visited (measured)."""


class Recipe(NamedTuple):
    """What is needed of the neighbors of one element around a center of one element."""

    factors: tuple
    radial: tuple  # factors whose sums are moments
    degrees: tuple  # (factor, highest l) of the sums over spherical harmonics
    ends: tuple  # of the windows, if couples are visited: only then it pays to sort neighbors by them
    shapes: tuple  # angular factors of the couples to visit

    @property
    def keys(self):
        """Names of what is kept of each neighbor: unit vector, pair factors and spherical harmonics (l, m)."""
        return (*AXES, *self.factors, *harmonics.components(self.degrees))

    @property
    def between(self):
        """Rows for what each neighbor has with some neighbors j."""
        return AT_ONCE * (2 * len(self.shapes) + 1) if self.shapes else 0

    @property
    def rows(self):
        """Rows of scratch, one number per neighbor each."""
        return 6 + 2 * len(self.keys) + self.between

    @property
    def header(self):
        """Numbers before the rows: counts of neighbors, and what the caller takes from or adds to radial moments."""
        return padded(1 + len(self.ends) + len(self.radial), LANES)

    @property
    def fixed(self):
        return self.header + 2 * harmonics.places(self.degrees)[1]


class Kind(NamedTuple):
    """A kind of couple of groups: with the (factor, angular factor) of its moments."""

    first: Recipe
    second: Recipe
    moments: tuple


class Design(NamedTuple):
    """Of a plan, recipes[center][element], and for each center its couples (first, second, kind, columns)."""

    recipes: tuple
    visited: tuple  # couples of which every couple of neighbors is visited
    summed: tuple  # couples of which sums over neighbors suffice

    @property
    def workroom(self):
        """Numbers of scratch that a couple takes: one, and one vector, for each moment."""
        couples = [couple for found in (self.visited, self.summed) for one in found for couple in one]
        return padded(max((len(kind.moments) for _, _, kind, _ in couples), default=0), LANES) * (1 + LANES)


@lru_cache(maxsize=8)
def design(plan):
    """The `Design` of a plan; lanes run over the more abundant element of a couple.

    Columns are pairs (number of a moment of the kind, column of the center's moments).
    """
    elements, order = plan.elements, plan.lane_order
    visited, summed = {}, {}
    for center in elements:
        for n, p in enumerate(order):
            for q in order[n:]:
                for column, moment in plan.moments(center, p, q).items():
                    found = summed if harmonics.expansion(moment.angle) else visited
                    found.setdefault((center, p, q), {})[moment.factor, moment.angle] = column
    moments = [shared({key: frozenset(columns) for key, columns in found.items()}) for found in (visited, summed)]
    contents = shared({(c, e): content(plan, c, e, moments) for c in elements for e in elements})
    recipes = {key: recipe(found) for key, found in contents.items()}

    def couples(found, moments):
        result = [[] for _ in elements]
        for (center, p, q), columns in found.items():
            kind = Kind(recipes[center, p], recipes[center, q], tuple(sorted(moments[center, p, q])))
            result[center].append((p, q, kind, [(n, columns[m]) for n, m in enumerate(kind.moments) if m in columns]))
        return tuple(result)

    rows = tuple(tuple(recipes[c, e] for e in elements) for c in elements)
    return Design(rows, *(couples(*both) for both in zip((visited, summed), moments)))


def content(plan, center, other, moments):
    """The members of a `Recipe` as a set, from the moments of the couples to visit and of those to sum."""
    radial = {moment.factor for moment in plan.moments(center, other).values()}
    factors, degrees, shapes = set(radial), {}, set()
    for found, summed in zip(moments, (False, True)):
        for (c, *couple), members in found.items():
            for factor, shape in members if c == center and other in couple else ():
                factors.add(factor)
                if summed:
                    degrees[factor] = max(degrees.get(factor, 0), len(harmonics.expansion(shape)) - 1)
                else:
                    shapes.add(shape)
    ends = {factor.outer for factor in factors} if shapes else set()
    named = {"factors": factors, "radial": radial, "degrees": degrees.items(), "ends": ends, "shapes": shapes}
    return frozenset((name, item) for name, items in named.items() for item in items)


def recipe(content):
    """The `Recipe` of such a set."""
    return Recipe(*(tuple(sorted(item for name, item in content if name == field)) for field in Recipe._fields))


def shared(sets, most=1.5):
    """For every key the set to use: the largest that contains its own and has at most 1.5 times as many members."""
    different = sorted(set(sets.values()), key=lambda one: (-len(one), repr(sorted(one))))
    return {key: next(d for d in different if own <= d and len(d) <= most * len(own)) for key, own in sets.items()}
