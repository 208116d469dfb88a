"""Wide moments by visiting the couples of neighbors: any angular factor.

    m = sum_{j<k} phi(r_j) phi(r_k) a(x),   x = e_j . e_k

For some neighbors j at a time, the angular factors with all k come first and are kept in scratch.  Then each pair
factor runs over the k within its window: sums stay in registers, and what lies outside of a window costs nothing.
"""

from typing import NamedTuple

import numpy as np

from bpnumba.formulas.angular import angle
from bpnumba.formulas.cutoff import cutoff
from bpnumba.formulas.numbers import where
from bpnumba.formulas.tape import Node, apply
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.kernels.groups import RATES, Group, amounts
from bpnumba.kernels.nodes import angle as angular_factor
from bpnumba.kernels.nodes import dot, total
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.pieces import pieces
from bpnumba.kernels.recipes import AT_ONCE, AXES
from bpnumba.kernels.several import Several
from bpnumba.kernels.tracing import ROUND, Sum, padded

# ---- the theory ------------------------------------------------------------------------------------------------------


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


def between(group):
    """Rows of scratch for what the neighbors of a group have with some neighbors j: lists of one row for each j."""
    rows = iter(group.between)
    return (list(some) for some in zip(*[rows] * AT_ONCE))


def neighbors(t, p, q, moments):
    """Some neighbors j of the first group, and a function: the lanes k of the second, nearer than an end, and which of
    them count."""
    same = p.start == q.start
    for j in t.range(0, p.within(farthest(moments)), AT_ONCE):
        J = Point(p, [j + n for n in range(AT_ONCE)])
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


# ---- subroutines -----------------------------------------------------------------------------------------------------


def sum_couples(t, kind, p, q, numbers, mode, same):
    """Moments, or their tangents, of couples of neighbors."""

    def body(t, start_p, start_q, numbers):
        p, q, moments = Group(t, kind.first, start_p), Group(t, kind.second, start_q), kind.moments
        lists, shapes = between(q), sorted({shape for _, shape in moments})
        values, rates = ({shape: next(lists) for shape in shapes} for _ in range(2))
        totals = [numbers[padded(len(moments), LANES) + LANES * n :] for n in range(len(moments))]
        for x in totals:
            x[t.lane()] = 0.0
        for J, lanes in neighbors(t, p, q, moments):
            for K, allowed in lanes(farthest(moments)):
                e_j, e_k = J.unit(), K.unit()
                amount = amounts(mode, J.rates(AXES, e_j) + K.rates(AXES, e_k))
                for shape, node in angles(dot(e_j, e_k), shapes, allowed).items():
                    K.keep(values[shape], node.value)
                    if mode == RATES:
                        K.keep(rates[shape], amount(node))
            for factor, members in by_factor(t, J, moments):
                sums = [Sum(t) for _ in members]
                for K, _ in lanes(factor.outer):
                    phi_j, phi_k = J.node(factor), K.node(factor)
                    R, a = phi_j * phi_k, {shape: Node(K.kept(values[shape])) for _, shape in members}
                    given = [(node, K.kept(rates[shape])) for shape, node in a.items()]
                    amount = amounts(mode, given + J.rates([factor], [phi_j]) + K.rates([factor], [phi_k]))
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
        angular = (Pieces if Pieces.serves(t, moments) else Factors)(t, q, moments, numbers)
        for J, lanes in neighbors(t, p, q, moments):
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
    """sum_t c_t f_t(x) over the angular factors of a pair factor; scratch keeps them and their slopes for every k."""

    def __init__(self, t, group, moments, numbers):
        lists, self.shapes, self.numbers = between(group), sorted({shape for _, shape in moments}), numbers
        self.bar = next(lists)
        self.value, self.slope = ({shape: next(lists) for shape in self.shapes} for _ in range(2))

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
        found = pieces(tuple(sorted({shape for _, shape in moments})))
        if not (t.can_turn and found):
            return False
        _, middles, tables = found
        return len(middles) < t.width and len({factor for factor, _ in moments}) * len(tables[0]) <= len(moments)

    def __init__(self, t, group, moments, numbers):
        shapes = sorted({shape for _, shape in moments})
        lists, self.t, room = between(group), t, padded(len(moments), LANES)
        self.away, self.place, self.turn, self.bar = (next(lists) for _ in range(4))
        self.ends, middles, tables = pieces(tuple(shapes))
        self.middles, self.tables = t.numbers(np.pad(middles, (0, t.width - len(middles)))), {}
        for factor in sorted({factor for factor, _ in moments}):
            self.tables[factor] = [numbers[room + LANES * power :] for power in range(len(tables[0]))]
            room += LANES * len(tables[0])
            for power, table in enumerate(self.tables[factor]):
                c = 0.0
                for n, (own, shape) in enumerate(moments):
                    if own == factor:
                        row = tables[shapes.index(shape)][power]
                        c = c + t.numbers(np.pad(row, (0, t.width - len(row)))) * numbers[n]
                table[t.lane()] = c

    def enter(self, K, x, allowed):
        theta, slope = angle(x.value)
        place = total([ROUND, *(where(theta > end, 1.0, 0.0) for end in self.ends)])
        place = where(allowed, place, ROUND + self.t.width - 1.0)  # the last piece is zero
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
