"""The fast kernels of wide functions: over a full list of pairs, center by center.

===============  =====================================================================================
``describe``     r -> m                      moments of the centers
``pushforward``  x_dot, strain_dot -> m_dot  their tangents (training on forces)
``pullback``     dE_dm -> forces, virial
===============  =====================================================================================

Each works on a range of centers and adds to what is there.

A wide function has no factor of the pair jk: a center sees all of it and writes only its own row and its own pairs.
What the pairs need, unit vectors e and pair factors phi, is computed once per neighbor and kept in scratch.  Moments

    m = sum_{j<k} phi(r_j) phi(r_k) a(x),   x = e_j . e_k,

whose a is a polynomial of low degree in x follow from sums over neighbors, see `harmonics.py`.  For all others the
couples of neighbors are visited here, one of the first group and lanes of the second.  As in `triangles.py`, the theory
is written once, as nodes of a tape, and everything but the last section runs once per plan, while Numba compiles.

What is done with a group of neighbors or a couple of groups is a subroutine.  Elements that need the same share it, so
the time to compile does not grow with the number of elements.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bpnumba.formulas.angular import angle
from bpnumba.formulas.cutoff import cutoff
from bpnumba.formulas.numbers import rsqrt, where
from bpnumba.formulas.tape import Node, apply
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels import harmonics
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.gradients import BLOCK, gather, scatter
from bpnumba.kernels.lanes import Value
from bpnumba.kernels.packed import FAR, LANES
from bpnumba.kernels.pieces import ROUND, pieces
from bpnumba.kernels.several import Several
from bpnumba.kernels.tracing import Array, Counter, Row, Sum, padded, traced
from bpnumba.kernels.triangles import angle as angular_factor
from bpnumba.kernels.triangles import dot, edge, gaussians, reach, total

AXES = ("x", "y", "z")

VALUES, RATES, ADJOINTS = "values", "rates", "adjoints"
"""What a pass is about: moments, their tangents, or adjoints of the pair vectors."""

AT_ONCE = {VALUES: 4, RATES: 2, ADJOINTS: 2}
"""Neighbors j that are taken side by side (measured)."""

# ---- the theory ------------------------------------------------------------------------------------------------------


class Neighbor(NamedTuple):
    """Nodes of one neighbor above its pair vector r: unit vector, and pair factors by `Factor`."""

    r: list
    unit: list
    phi: dict


def neighbor(r, factors):
    """The `Neighbor` of a pair vector."""
    r = [Node(x) for x in r]
    square = dot(r, r)
    u = 0.5 * square
    inverse = rsqrt(square.value)
    inverse = Node(inverse, (u, -1.0 * inverse * inverse * inverse))
    windows = sorted({factor.window for factor in factors})
    known = edge(square.value, windows, square.value < reach(windows) * reach(windows))
    return Neighbor(r, [x * inverse for x in r], gaussians([(u, known)], factors))


def angles(x, shapes, allowed):
    """{shape: node} of angular factors of x = cos theta, zero where they are not allowed."""
    found, windows = {}, [shape for shape in shapes if shape[0] == "compact"]
    for shape in shapes:
        if shape not in windows:
            value, slope = angular_factor(x.value, shape)
            found[shape] = Node(where(allowed, value, 0.0), (x, where(allowed, slope, 0.0)))
    if windows:
        theta = apply(angle, x)
        for number, halfwidth, members in apart(windows):
            found |= bumps(theta, number, halfwidth, members, allowed)
    return found


def bumps(theta, number, halfwidth, members, allowed):
    """{shape: node} of the windows of `bpnumba.formulas.angular.angular_window` that have one form and do not overlap,
    pairs (middle, shape): one evaluation serves all."""
    (middle, _), *others = members
    scaled, begins = middle / halfwidth, []
    for (left, _), (right, _) in zip(members, others):
        begins.append(theta.value > 0.5 * (left + right))
        scaled = where(begins[-1], right / halfwidth, scaled)
    away = theta.value * (1.0 / halfwidth) - scaled
    value, slope = cutoff(number, abs(away), 1.0)
    inside = (abs(away) < 1.0) & allowed
    value = where(inside, value, 0.0)
    slope = where(inside, slope, 0.0) * where(away > 0.0, 1.0 / halfwidth, -1.0 / halfwidth)
    found = {}
    for n, (_, shape) in enumerate(members):
        both = value, slope
        if n > 0:
            both = (where(begins[n - 1], y, 0.0) for y in both)
        if n < len(begins):
            both = (where(begins[n], 0.0, y) for y in both)
        value_n, slope_n = both
        found[shape] = Node(value_n, (theta, slope_n))
    return found


def apart(windows):
    """(number, halfwidth, [(middle, shape), ...]) of angular windows: of one form, and at most touching one another."""
    found = []
    for shape in sorted(windows, key=lambda shape: shape[2]):
        _, number, middle, right = shape
        for other, halfwidth, members in found:
            same = number == other and abs(right - middle - halfwidth) < 1e-12
            if same and members[-1][0] + 2.0 * halfwidth < middle + 1e-12:
                members.append((middle, shape))
                break
        else:
            found.append((number, right - middle, [(middle, shape)]))
    return found


# ---- what a plan comes to --------------------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """What is needed of the neighbors of one element around a center of one element."""

    factors: tuple
    radial: tuple  # factors whose sums are moments
    degrees: tuple  # (factor, highest l) of the sums over spherical harmonics
    ends: tuple  # of the windows by which the neighbors are sorted
    shapes: tuple  # of the angles that they form with another neighbor

    @property
    def keys(self):
        """Names of what is kept of each neighbor."""
        return (*AXES, *self.factors, *harmonics.components(self.degrees))

    @property
    def rows(self):
        return 6 + 2 * len(self.keys) + self.between

    @property
    def between(self):
        """Rows for what the neighbors have with some of another group, see `Between`."""
        return max(at_once * (len(self.shapes) if mode == VALUES else 2 * len(self.shapes) + 1)
                   for mode, at_once in AT_ONCE.items())  # fmt: skip

    @property
    def header(self):
        """Numbers before the rows: the count of neighbors and of those nearer than each end, and what the caller adds
        to or takes from radial moments."""
        return padded(1 + len(self.ends) + len(self.radial), LANES)

    @property
    def fixed(self):
        return self.header + 2 * harmonics.room(self.degrees)


class Kind(NamedTuple):
    """A kind of couple of two groups: with the (factor, angle) of its moments."""

    first: Recipe
    second: Recipe
    moments: tuple


class Design(NamedTuple):
    """The recipes of all elements, and the couples of a center: (first, second, kind, columns of its moments)."""

    recipes: tuple
    visited: tuple
    summed: tuple


@lru_cache(maxsize=8)
def design(plan):
    """The `Design` of a plan."""
    elements, order = plan.elements, plan.lane_order
    couples = [(c, p, q) for c in elements for n, p in enumerate(order) for q in order[n:]]
    split = [{}, {}]
    for c, p, q in couples:
        for column, moment in plan.moments(c, p, q).items():
            easy = bool(harmonics.expansion(moment.angle))
            split[easy].setdefault((c, p, q), {})[moment.factor, moment.angle] = column
    needs = {(c, e): needed(plan, c, e, split) for c in elements for e in elements}
    recipes = {key: recipe(chosen) for key, chosen in shared(needs).items()}
    kinds = []
    for found in split:
        chosen = shared({key: frozenset(moments) for key, moments in found.items()})
        kinds.append([[] for _ in elements])
        for (c, p, q), moments in found.items():
            entries = tuple(sorted(chosen[c, p, q]))
            columns = [(n, moments[entry]) for n, entry in enumerate(entries) if entry in moments]
            kinds[-1][c].append((p, q, Kind(recipes[c, p], recipes[c, q], entries), columns))
    return Design(tuple(tuple(recipes[c, e] for e in elements) for c in elements), *kinds)


def needed(plan, center, other, split):
    """The content of a `Recipe`, as a set."""
    radial = {moment.factor for moment in plan.moments(center, other).values()}
    factors, degrees, shapes = set(radial), {}, set()
    for easy, found in enumerate(split):
        for (c, *couple), moments in found.items():
            for factor, shape in moments if c == center and other in couple else ():
                factors.add(factor)
                if easy:
                    degrees[factor] = max(degrees.get(factor, 0), len(harmonics.expansion(shape)) - 1)
                else:
                    shapes.add(shape)
    ends = {factor.outer for factor in factors} if shapes else ()
    named = ("factor", factors), ("radial", radial), ("degree", degrees.items()), ("end", ends), ("shape", shapes)
    return frozenset((name, item) for name, items in named for item in items)


def recipe(content):
    """The `Recipe` of such a set."""
    found = [tuple(sorted(item for name, item in content if name == wanted))
             for wanted in ("factor", "radial", "degree", "end", "shape")]  # fmt: skip
    return Recipe(*found)


def shared(sets, most=1.5):
    """For every key the set to use: the largest that contains its own, and has at most 1.5 times as many members."""
    different = sorted(set(sets.values()), key=lambda content: (-len(content), repr(sorted(content))))
    return {key: next(d for d in different if own <= d and len(d) <= most * len(own)) for key, own in sets.items()}


# ---- neighbors in scratch --------------------------------------------------------------------------------------------


class Group:
    """The neighbors of one element around a center, as they lie in scratch from `start` on."""

    def __init__(self, t, recipe, start):
        self.recipe, self.start, self.integers = recipe, start, start.integers()
        self.numbers = start[1 + len(recipe.ends) :]  # for radial moments
        self.sums = start[recipe.header :]
        table = iter([Row(start[recipe.fixed :], n, recipe.rows) for n in range(recipe.rows)])
        self.copy = [next(table) for _ in range(6)]  # pair vectors and the pass's own vectors of the sorted neighbors
        self.known = {key: next(table) for key in recipe.keys}
        self.also = {key: next(table) for key in recipe.keys}  # tangents or adjoints of the same
        self.between = list(table)

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
    vectors: tuple

    @property
    def r(self):
        return self[1:4]


def rooms(plan):
    """Rows of scratch per neighbor, for elements of center and neighbor, and numbers besides, for that of the center."""
    recipes = design(plan).recipes
    rows_ce = np.array([[recipe.rows for recipe in row] for row in recipes])
    spare = [sum(recipe.fixed + LANES * recipe.rows for recipe in row) for row in recipes]
    return rows_ce, workroom(plan) + np.array(spare)


def workroom(plan):
    """How many numbers of scratch a couple of groups takes: one and one vector for each moment."""
    _, *kinds = design(plan)
    most = max((len(kind.moments) for found in kinds for row in found for _, _, kind, _ in row), default=0)
    return padded(most, LANES) * (1 + LANES)


def centers(t, plan, packed, vectors, scratch, first, last):
    """For every center: its index and element, and its groups, [(`Listed`, `Group`)].

    `vectors` are arrays of the pairs from the first center on.
    """
    origin = packed.begin_qe[first][0]
    for i in t.range(first, last):
        for element in plan.elements:
            with t.when(packed.element_q[i] == element):
                groups, start = [], t.integer(workroom(plan))
                for other, recipe in zip(plan.elements, design(plan).recipes[element]):
                    begin, counts = packed.begin_qe[i][other], packed.count_qe[i]
                    r, own = [[x[start:] for x in arrays] for arrays, start in
                              (((packed.x, packed.y, packed.z), begin), (vectors, begin - origin))]
                    listed = Listed(counts[other:], *r, tuple(own))
                    groups.append((listed, Group(t, recipe, scratch[start:])))
                    start = start + (padded(counts[other] + 1, LANES) * recipe.rows + recipe.fixed)
                yield i, element, groups


def place(t, listed, group, move):
    """Go through the neighbors in the order of the windows that they are in, and call move(k, its place, whether it has
    one); those beyond all windows have none."""
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


def enter(t, listed, group):
    """Sort the neighbors, if need be, and fill them up to whole vectors; returns pair vectors and own vectors."""
    if not group.recipe.ends:
        group.integers[0] = listed.count[0]
        return listed.r, listed.vectors

    def move(k, here, belongs):
        for row, x in zip(group.copy, [*listed.r, *listed.vectors]):
            row[here] = x[k]

    count = place(t, listed, group, move)
    group.integers[0] = count
    for k in t.range(count, padded(count, LANES)):
        for n, row in enumerate(group.copy):
            row[k] = FAR if n == 0 else 0.0
    return group.copy[:3], group.copy[3:]


# ---- couples of neighbors --------------------------------------------------------------------------------------------


class Point(NamedTuple):
    """Some neighbors, or lanes of neighbors, of one group."""

    group: Group
    indices: list

    def of(self, rows):
        """What stands in a row, or in one row for each neighbor, side by side."""
        found = [rows[index] for index in self.indices]
        return found[0] if len(found) == 1 else Several(found)

    def node(self, key):
        return Node(self.of(self.group.known[key]))

    def unit(self):
        return [self.node(axis) for axis in AXES]

    def rates(self, keys, nodes):
        """[(node, tangent)] of what is known of them."""
        return [(node, self.of(self.group.also[key])) for key, node in zip(keys, nodes)]

    def kept(self, rows):
        """What stands in some rows, for lanes of neighbors, side by side."""
        return Several([row[self.indices[0]] for row in rows])

    def keep(self, rows, x):
        for row, part in zip(rows, x.parts):
            row[self.indices[0]] = part

    def add(self, key, x):
        row = self.group.also[key]
        for index, part in zip(self.indices, [x.together()] if len(self.indices) == 1 else x.parts):
            row[index] = row[index] + part


def between(group, moments, mode, count=None):
    """Rows of scratch for what the neighbors of a group have with some of another one: lists, one row for each of those.

    So many of them, or {shape: list} of angular factors and of their slopes or tangents, and what a pass needs besides.
    """
    some = AT_ONCE[mode]
    lists = [group.between[n : n + some] for n in range(0, len(group.between) - some + 1, some)]
    if count is not None:
        return lists[:count]
    shapes = sorted({shape for _, shape in moments})
    n = len(shapes)
    return dict(zip(shapes, lists)), dict(zip(shapes, lists[n:])), lists[2 * n : 2 * n + 1]


def neighbors(t, p, q, moments, at_once):
    """Some neighbors j of the first group, and a function: the lanes k of the second, nearer than an end, and which of
    them count."""
    same = p.start == q.start
    for j in t.range(0, p.within(farthest(moments)), at_once):
        J = Point(p, [j + n for n in range(at_once)])
        behind = [where(same == 1, index, -1) for index in J.indices]  # in one group, every couple once

        def lanes(end, j=j, behind=behind):
            for k in t.lanes((j & -t.width) * same, q.within(end)):
                yield Point(q, [k]), Several([k > index for index in behind])

        yield J, lanes


def farthest(moments):
    return max(factor.outer for factor, _ in moments)


def by_factor(t, J, moments):
    """The moments of each factor, pairs (number, shape), where J is within its window."""
    found = {}
    for n, (factor, shape) in enumerate(moments):
        found.setdefault(factor, []).append((n, shape))
    for factor, members in found.items():
        with t.when(J.indices[0] < J.group.within(factor.outer)):
            yield factor, members


# ---- subroutines: a group of neighbors, a couple of groups ------------------------------------------------------------

def meet(t, listed, group, mode):
    """Compute what is known of the neighbors of a group, and their own sums."""

    def body(t, count, x, y, z, *rest):
        listed, here = Listed(count, x, y, z, rest[:-1]), Group(t, recipe, rest[-1])
        r, vectors = enter(t, listed, here)
        radial = {factor: Sum(t) for factor in recipe.radial}
        most = max(AT_ONCE.values()) if recipe.ends else 1  # some neighbors at a time may include filling ones
        for k in t.lanes(0, padded(here.count, most)):
            near = neighbor([x[k] for x in r], recipe.factors)
            nodes = dict(zip(AXES, near.unit)) | near.phi | harmonics.of(recipe.degrees, near.unit)
            amount = amounts(lambda: zip(near.r, [x[k] for x in vectors]), mode)
            for key in recipe.keys:
                here.known[key][k] = nodes[key].value
                if mode != VALUES:
                    here.also[key][k] = amount(nodes[key])
            for factor in recipe.radial:
                radial[factor] += amount(nodes[factor])
        for n, factor in enumerate(recipe.radial):
            here.numbers[n] = radial[factor].value()
        harmonics.accumulate(t, here, mode)

    recipe = group.recipe
    t.subroutine(("meet", mode, recipe), body, listed.count, *listed.r, *listed.vectors, group.start)


def amounts(pairs, mode):
    """What a pass takes of a node: its value, its tangent from those of others, or, for a start, no adjoint."""
    if mode == RATES:
        return tangents(dict(pairs()))
    return (lambda node: node.value) if mode == VALUES else (lambda node: 0.0)


def sum_couples(t, kind, p, q, numbers, mode, same):
    """Moments, or their tangents, of couples of neighbors."""

    def body(t, start_p, start_q, numbers):
        p, q, moments = Group(t, kind.first, start_p), Group(t, kind.second, start_q), kind.moments
        (value, slope, _), shapes = between(q, moments, mode), sorted({shape for _, shape in moments})
        totals = [numbers[padded(len(moments), LANES) + LANES * n :] for n in range(len(moments))]
        for x in totals:
            x[t.lane()] = 0.0
        for J, lanes in neighbors(t, p, q, moments, AT_ONCE[mode]):
            for K, allowed in lanes(farthest(moments)):
                e_j, e_k = J.unit(), K.unit()
                amount = amounts(lambda J=J, K=K, e_j=e_j, e_k=e_k: J.rates(AXES, e_j) + K.rates(AXES, e_k), mode)
                for shape, node in angles(dot(e_j, e_k), shapes, allowed).items():
                    K.keep(value[shape], node.value)
                    if mode == RATES:
                        K.keep(slope[shape], amount(node))
            for factor, members in by_factor(t, J, moments):
                sums = [Sum(t) for _ in members]
                for K, _ in lanes(factor.outer):
                    phi_j, phi_k = J.node(factor), K.node(factor)
                    R, a = phi_j * phi_k, {shape: Node(K.kept(value[shape])) for _, shape in members}
                    given = []
                    if mode == RATES:
                        given = [(a[shape], K.kept(slope[shape])) for shape in a]
                        given += J.rates([factor], [phi_j]) + K.rates([factor], [phi_k])
                    amount = amounts(lambda given=given: given, mode)
                    for one, (_, shape) in zip(sums, members):
                        one += amount(a[shape] * R).together()
                for one, (n, _) in zip(sums, members):
                    totals[n][t.lane()] = totals[n][t.lane()] + one.lanes()
        for n, x in enumerate(t.each_sum([x[t.lane()] for x in totals])):
            numbers[n] = x

    t.subroutine(("couples", mode, kind), body, p.start, q.start, numbers)


def pull_couples(t, kind, p, q, numbers, mode, same):
    """Adjoints of unit vectors and pair factors, from those of the moments, which are the numbers."""

    def body(t, start_p, start_q, numbers):
        p, q, moments = Group(t, kind.first, start_p), Group(t, kind.second, start_q), kind.moments
        angular = (Pieces if Pieces.serves(t, moments) else Factors)(t, q, moments, numbers, mode)
        for J, lanes in neighbors(t, p, q, moments, AT_ONCE[mode]):
            sums = {key: [Sum(t) for _ in J.indices] for key in (*AXES, *sorted({factor for factor, _ in moments}))}
            for K, allowed in lanes(farthest(moments)):
                angular.enter(K, Node(dot(J.unit(), K.unit()).value), allowed)
            for factor, members in by_factor(t, J, moments):
                for K, _ in lanes(factor.outer):
                    phi_j, phi_k, x = J.node(factor), K.node(factor), angular.variable(K)
                    a = angular.total(K, factor, members, x)
                    a = Node(a.value, (x, *adjoints([(a, 1.0)], [x])))  # all angular factors in one
                    j_bar, k_bar, x_bar = adjoints([(a * (phi_j * phi_k), 1.0)], [phi_j, phi_k, x])
                    add(sums[factor], j_bar)
                    K.add(factor, k_bar)
                    K.keep(angular.bar, K.kept(angular.bar) + x_bar)
            for K, _ in lanes(farthest(moments)):
                e_j, e_k = J.unit(), K.unit()
                e_bar = adjoints([(dot(e_j, e_k), angular.leave(K))], e_j + e_k)
                for axis, j_bar, k_bar in zip(AXES, e_bar[:3], e_bar[3:]):
                    add(sums[axis], j_bar)
                    K.add(axis, k_bar)
            found = iter(t.each_sum([one.lanes() for some in sums.values() for one in some]))
            for key in sums:
                J.add(key, Several([next(found) for _ in J.indices]))

    t.subroutine(("couples", mode, kind), body, p.start, q.start, numbers)


class Factors:
    """sum_t c_t f_t(x) of a pair factor's angular factors, which scratch keeps with their slopes for every neighbor k."""

    def __init__(self, t, group, moments, numbers, mode):
        self.value, self.slope, (self.bar,) = between(group, moments, mode)
        self.shapes, self.numbers = sorted({shape for _, shape in moments}), numbers

    def enter(self, K, x, allowed):
        for shape, node in angles(x, self.shapes, allowed).items():
            K.keep(self.value[shape], node.value)
            K.keep(self.slope[shape], *adjoints([(node, 1.0)], [x]))
        K.keep(self.bar, 0.0 * x.value)

    def variable(self, K):
        return Node(None)

    def total(self, K, factor, members, x):
        nodes = [Node(K.kept(self.value[shape]), (x, K.kept(self.slope[shape]))) for _, shape in members]
        return total([node * self.numbers[n] for node, (n, _) in zip(nodes, members)])

    def leave(self, K):
        """The adjoint of x."""
        return K.kept(self.bar)


class Pieces:
    """The same as one piecewise polynomial of theta: coefficients are looked up for the piece that an angle is in."""

    @staticmethod
    def serves(t, moments):
        """Whether there are such pieces, the processor can look them up, and they are no more than the factors."""
        found = pieces(tuple(sorted({shape for _, shape in moments}))) if t.can_turn else None
        factors = {factor for factor, _ in moments}
        return found and len(found[1]) < t.width and len(factors) * len(found[2][0]) <= len(moments)

    def __init__(self, t, group, moments, numbers, mode):
        shapes = sorted({shape for _, shape in moments})
        (self.away, self.place, self.turn, self.bar), self.t = between(group, moments, mode, 4), t
        self.ends, middles, tables = pieces(tuple(shapes))
        self.middles = t.numbers([*middles, *[0.0] * (t.width - len(middles))])
        self.tables, room = {}, padded(len(moments), LANES)
        for factor in sorted({factor for factor, _ in moments}):
            self.tables[factor] = []
            for power in range(len(tables[0])):
                rows = [(n, tables[shapes.index(shape)][power]) for n, (own, shape) in enumerate(moments) if own == factor]
                rows = [(n, t.numbers([*row, *[0.0] * (t.width - len(row))])) for n, row in rows if row.any()]
                place = numbers[room:]
                place[t.lane()] = total([row * numbers[n] for n, row in rows])
                self.tables[factor].append(place)
                room += LANES

    def enter(self, K, x, allowed):
        theta, slope = angle(x.value)
        place = total([where(theta > end, 1.0, 0.0) for end in self.ends])
        place = where(allowed, place, self.t.width - 1.0) + ROUND  # the last piece is zero
        K.keep(self.place, place)
        K.keep(self.away, theta - place.trace.lookup(self.middles, place))
        K.keep(self.turn, slope)
        K.keep(self.bar, 0.0 * slope)

    def variable(self, K):
        return Node(K.kept(self.away))

    def total(self, K, factor, members, x):
        place, result = K.kept(self.place), None
        for table in reversed(self.tables[factor]):
            c = place.trace.lookup(table[self.t.lane()], place)
            result = Node(c) if result is None else result * x + Node(c)
        return result

    def leave(self, K):
        return K.kept(self.turn) * K.kept(self.bar)


def add(sums, x):
    for one, part in zip(sums, x.parts):
        one += part


def finish(t, listed, group, mode):
    """The gradient of the pair vectors of a group, from the adjoints of all that is known of it."""

    def body(t, count, x, y, z, *rest):
        listed, here = Listed(count, x, y, z, rest[:-1]), Group(t, recipe, rest[-1])
        r, vectors = (here.copy[:3], here.copy[3:]) if recipe.ends else (listed.r, listed.vectors)
        for k in t.lanes(0, here.count):
            near = neighbor([x[k] for x in r], recipe.factors)
            given = [(node, here.also[factor][k]) for factor, node in near.phi.items()]
            given += [(node, here.also[axis][k]) for axis, node in zip(AXES, near.unit)]
            given += [(near.phi[factor], here.numbers[n]) for n, factor in enumerate(recipe.radial)]
            given += harmonics.energy(here, near)
            for x, bar in zip(vectors, adjoints(given, near.r)):
                x[k] = bar
        if recipe.ends:
            unsort(t, listed, here)

    recipe = group.recipe
    t.subroutine(("finish", mode, recipe), body, listed.count, *listed.r, *listed.vectors, group.start)


def unsort(t, listed, group):
    """Bring the vectors of the sorted neighbors to where they belong; 0 for those beyond all windows."""

    def move(k, here, belongs):
        for row, x in zip(group.copy[3:], listed.vectors):
            x[k] = where(belongs, row[here], x[k])

    clear(t, listed)
    place(t, listed, group, move)


def clear(t, listed):
    for k in t.lanes(0, listed.count[0]):
        for x in listed.vectors:
            x[k] = 0.0


# ---- the three passes ------------------------------------------------------------------------------------------------


def describe_pass(t, plan, packed, moments, scratch, first, last):
    sum_moments(t, plan, packed, [], moments, scratch, first, last, VALUES)


def pushforward_pass(t, plan, packed, r_dot, moments, scratch, first, last):
    sum_moments(t, plan, packed, r_dot, moments, scratch, first, last, RATES)


def sum_moments(t, plan, packed, r_dot, table, scratch, first, last, mode):
    """Add the moments of every center, or their tangents."""
    _, visited, summed = design(plan)
    for i, element, groups in centers(t, plan, packed, r_dot, scratch, first, last):
        atom = table[i]
        for other, (listed, group) in enumerate(groups):
            if group.recipe.factors:
                meet(t, listed, group, mode)
            for column, moment in plan.moments(element, other).items():
                atom[column] = atom[column] + group.numbers[group.recipe.radial.index(moment.factor)]
        for add, found in ((sum_couples, visited), (harmonics.contract, summed)):
            for p, q, kind, columns in found[element]:
                add(t, kind, groups[p][1], groups[q][1], scratch, mode, p == q)
                for n, column in columns:
                    atom[column] = atom[column] + scratch[n]


def pullback_pass(t, plan, packed, dE_dm, dE_dr, scratch, first, last):
    """The gradient of every pair vector, from those of the moments of its center."""
    _, visited, summed = design(plan)
    for i, element, groups in centers(t, plan, packed, dE_dr, scratch, first, last):
        atom = dE_dm[i]
        for other, (listed, group) in enumerate(groups):
            if group.recipe.factors:
                meet(t, listed._replace(vectors=()), group, ADJOINTS)
            given = {moment.factor: atom[column] for column, moment in plan.moments(element, other).items()}
            for n, factor in enumerate(group.recipe.radial):
                group.numbers[n] = given.get(factor, 0.0)
        for pull, found in ((pull_couples, visited), (harmonics.pull_back, summed)):
            for p, q, kind, columns in found[element]:
                given = {n: atom[column] for n, column in columns}
                for n in range(len(kind.moments)):
                    scratch[n] = given.get(n, 0.0)
                pull(t, kind, groups[p][1], groups[q][1], scratch, ADJOINTS, p == q)
        for listed, group in groups:
            if group.recipe.factors:
                finish(t, listed, group, ADJOINTS)
            else:
                clear(t, listed)


# ---- for Numba -------------------------------------------------------------------------------------------------------

_describe, _pullback, _pushforward = traced(describe_pass), traced(pullback_pass), traced(pushforward_pass)


@compiled(error_model="numpy")
def describe(plan, packed, scratch, first, last, moments):
    """Add the moments of the centers first ... last - 1."""
    _describe(plan, (packed, moments, scratch, first, last))


@compiled(error_model="numpy")
def pushforward(plan, packed, scratch, r_dot, first, last, moments, structure_q, x_dot_qc, strain_dot_mcc):
    """Add their tangents; r_dot is room for the pair vectors of a block."""
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        gather(packed, r_dot, start, stop, structure_q, x_dot_qc, strain_dot_mcc)
        _pushforward(plan, (packed, r_dot, moments, scratch, start, stop))


@compiled(error_model="numpy")
def pullback(plan, packed, scratch, dE_dr, first, last, dE_dm, structure_q, forces_qc, virial_mcc):
    """Add forces and virial of their pairs; dE_dr is room for the pair vectors of a block."""
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _pullback(plan, (packed, dE_dm, dE_dr, scratch, start, stop))
        scatter(packed, dE_dr, start, stop, structure_q, forces_qc, virial_mcc)
