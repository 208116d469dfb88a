"""The kernels of `triangles` for any number of elements: one body, which looks up while it runs what a triangle needs.

Machine code of `triangles` is made for each triple of elements, so it takes the longer to compile the more elements
there are.  Here the body is written once, for all `Slots`; loops over the elements of the center and of its groups of
neighbors run.  What a triple of elements does not need is skipped, window by window, factor by factor and slot by slot.

Names, arguments and results are those of `triangles`, with a `TablePlan` in the place of the plan.  Potentials with the
same slots share machine code.
"""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from bpnumba.formulas.numbers import exp, rsqrt, where
from bpnumba.formulas.tape import Node, ancestors
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.gradients import BLOCK, gather, scatter
from bpnumba.kernels.lanes import Value
from bpnumba.kernels.nodes import Edge, angle, cosines, cut, dot, gaussian, reach, squares
from bpnumba.kernels.slots import BITS, Slots, Tables
from bpnumba.kernels.tracing import Array, Counter, Entries, Lanes, Row, Sum, Turned, padded, traced
from bpnumba.kernels.triangles import Corner, collect, corner, pull

# ---- the theory in pieces that may be left out -----------------------------------------------------------------------


class Needs:
    """Whether something is needed, by its key: a number of the kernel, from a row of flags."""

    def __init__(self, keys, flags):
        self.places = {key: divmod(n, BITS) for n, key in enumerate(keys)}
        self.words = [flags[n] for n in range(len(keys) // BITS + 1)]

    def __getitem__(self, key):
        word, bit = self.places[key]
        return (self.words[word] & (1 << bit)) > 0


class Lazily:
    """A dictionary whose entries come to be where they are used."""

    def __init__(self, function):
        self.function = function

    def __getitem__(self, key):
        return self.function(key)


class Forward:
    """Values or tangents: those of kept nodes are known to all pieces."""

    def __init__(self, amount):
        self.amount = amount

    @contextmanager
    def keep(self, nodes):
        for node in nodes:
            self.amount(node)
        yield nodes


class Backward:
    """Adjoints, added up over pieces: these have variables in the place of kept nodes."""

    def __init__(self, t, variables):
        self.trace, self.sums = t, {node: Sum(t) for node in variables}

    @contextmanager
    def keep(self, nodes):
        leaves = [Node(node.value) for node in nodes]
        self.sums.update({leaf: Sum(self.trace) for leaf in leaves})
        yield leaves
        self.give([(node, self.sums.pop(leaf).lanes()) for node, leaf in zip(nodes, leaves)])

    def give(self, results):
        """Carry the adjoints of results, pairs (node, adjoint), to the variables."""
        reached = [node for node in ancestors([node for node, _ in results]) if node in self.sums]
        for node, bar in zip(reached, adjoints(results, reached)):
            self.sums[node] += bar


def edge_of(square, inside, longest):
    """The `Edge` of a squared length; where it is not `inside`, it is `longest`."""
    square = where(inside, square, longest * longest)
    u, inverse = 0.5 * square, rsqrt(square)
    return Edge(u, inverse, Lazily(lambda window: cut(window, square, u, inverse, square < window[2] ** 2)))


def pair_terms(t, slots, needs, u, edge, sweep):
    """Every slot of a pair that is needed, and its node phi(r)."""
    for factor, R, _ in factors(t, slots.pair_tree, needs, [(u, edge)], [], sweep):
        yield slots.pairs.index(factor), R


def triangle_terms(t, slots, needs, edges, sweep):
    """Every pair factor of a triangle that is needed -> node of phi(a) phi(b) phi(c), nodes of the cosines, its slots.

    The latter are to be iterated: (corner, slot, value and slope in the cosine of its angular factor, or None for 1).
    """
    X, found = cosines(edges), {}
    for shape in sorted({shape for _, shape in slots.triangles if shape}, key=repr):
        for n, x in enumerate(X):
            found[n, shape] = t.room(2)
            with t.when(needs[n, shape]):
                found[n, shape][0], found[n, shape][1] = angle(x.value, shape)
    for factor, R, kept in factors(t, slots.triangle_tree, needs, edges, X, sweep):
        members = [(slot, shape) for slot, (one, shape) in enumerate(slots.triangles) if one == factor]
        yield R, kept, members_of(t, members, needs, found)


def members_of(t, members, needs, found):
    for n in range(3):
        for slot, shape in members:
            with t.when(needs[n, slot]):
                yield n, slot, (found[n, shape][0], found[n, shape][1]) if shape else None


def factors(t, branches, needs, edges, others, sweep):
    """Every pair factor that is needed, the node of its product over the edges, and the other nodes, kept for it."""
    q = {rs: squares(edges, rs) for groups in branches.values() for rs, _ in groups}
    with sweep.keep([*others, *(node for node, _ in q.values())]) as kept:
        q = {rs: (node, double) for node, (rs, (_, double)) in zip(kept[len(others) :], q.items())}
        for window, groups in branches.items():
            with t.when(needs["window", window]):
                cut, *more = (Node(value, (u, slope)) for u, e in edges for value, slope in [e.cuts[window]])
                for other in more:
                    cut = cut * other
                with sweep.keep([cut]) as (cut,):
                    for (rs, base), members in groups.items():
                        with t.when(needs[window, rs, base]):
                            node, double = q[rs]
                            w = exp(-double * base * node.value) if base else None
                            for factor, n in members:
                                with t.when(needs[factor]):
                                    R = gaussian(cut, node, w, n, -double * factor.eta)
                                    yield factor, R, kept[: len(others)]


# ---- loops over centers, pairs and triangles -------------------------------------------------------------------------


class Center(NamedTuple):
    """The present center, and what the groups of its neighbors are made from."""

    slots: Slots
    tables: Tables
    packed: NamedTuple
    vectors: list  # of the pairs from the first center on
    scratch: Array
    i: Value
    element: Value
    origin: Value

    def kinds(self, *groups):
        """Numbers of the two ends of a pair (one group) or the three corners of a triangle (two)."""
        n, i, others = self.tables.n_elements, self.element, [group.element for group in groups]
        if len(others) == 1:
            return i * n + others[0], others[0] * n + i
        p, q = others
        return (i * n + p) * n + q, (p * n + i) * n + q, (q * n + i) * n + p


class Group(NamedTuple):
    """The neighbors of one element around the present center; all but `element` and `count` are arrays over them."""

    element: Value
    count: Value
    neighbor: Array
    r: list  # pair vectors
    edge: Edge  # scratch: kept from the pairs for the triangles
    along: Array  # scratch: gradients along the pair vectors
    moments: dict  # scratch: moments of the neighbors (or their adjoints), by slot
    row: Lazily  # the same, for a slot that is a number of the kernel
    vectors: list  # the pass's own pair vectors: r_dot or dE_dr


def n_rows(plan, center, neighbor):
    """How many rows of scratch the neighbors of one element take: here those of any element."""
    return plan.slots.n_rows


def rooms(plan):
    """Rows of scratch per neighbor, for elements of center and neighbor, and numbers besides: none."""
    n = plan.tables.n_elements
    return np.full((n, n), plan.slots.n_rows), np.zeros(n, np.int64)


def centers(t, slots, tables, packed, vectors, scratch, first, last):
    """Every `Center`."""
    origin = packed.begin_qe[first][0]
    for i in t.range(first, last):
        yield Center(slots, tables, packed, vectors, scratch, i, packed.element_q[i], origin)


def groups(t, center, first=0, start=0):
    """Groups of neighbors from a place in the order of elements on -> place, where the scratch starts, `Group`."""
    slots, packed, size, reached = center.slots, center.packed, center.slots.n_rows, Counter(t)
    reached += start
    for n in t.range(first, center.tables.n_elements):
        element, start = center.tables.order[n], reached.value()
        begin, count = packed.begin_qe[center.i][element], packed.count_qe[center.i][element]
        scratch, before = center.scratch[start:], size - slots.most
        u, inverse, along, *rows = (Row(scratch, row, size) for row in range(size))
        group = Group(
            element,
            count,
            packed.neighbor[begin:],
            [x[begin:] for x in (packed.x, packed.y, packed.z)],
            Edge(u, inverse, {window: tuple(rows[2 * m : 2 * m + 2]) for m, window in enumerate(slots.kept)}),
            along,
            dict(enumerate(rows[2 * len(slots.kept) :])),
            Lazily(lambda slot, scratch=scratch, before=before: Row(scratch, slot + before, size)),
            [x[begin - center.origin :] for x in center.vectors],
        )
        yield n, start, group
        reached += padded(count, t.width) * size


def entries(t, lists, kind):
    """Slots and columns of a kind of corner."""
    for n in t.range(lists.begin[kind], lists.begin[kind + 1]):
        yield lists.slot[n], lists.column[n]


def pairs(t, center, group, given, into):
    """Neighbors of one group, and what their kind of pair needs; the windows of triangles are kept in scratch."""
    slots, (kind, _) = center.slots, center.kinds(group)
    needs, longest = Needs(slots.all_pair_keys, center.tables.pair_flags[kind]), reach(slots.pair_tree)
    for k in t.lanes(0, group.count):
        r = [x[k] for x in group.r]
        square = dot(r, r)
        known = edge_of(square, square < longest * longest, longest)
        group.edge.u[k], group.edge.inverse[k] = known.u, known.inverse

        def cut(window, k=k, known=known):
            value, slope = known.cuts[window]
            if window in group.edge.cuts:
                values, slopes = group.edge.cuts[window]
                values[k], slopes[k] = value, slope
            return value, slope

        yield Corner(r, known._replace(cuts=Lazily(cut)), Entries(given(group), k), Entries(into(group), k)), needs


def couples(t, center):
    """Two groups, the second not before the first, that form triangles with moments."""
    for n, start, first in groups(t, center):
        for _, _, second in groups(t, center, n, start):
            kind, _, _ = center.kinds(first, second)
            used = (center.tables.reach2[kind] > 0.0).where(1, 0)
            with t.when(first.count * second.count * used > 0):
                yield first, second


class Spread(Turned):
    """The lanes of one vector turned by `turn` places, or, where that is 0, its entry j in all lanes."""

    def __init__(self, trace, j, turn):
        super().__init__(trace, j & -trace.width, turn)
        everywhere = trace.fill((j & (trace.width - 1)).code)
        self.there = trace.builder.select((turn > 0).code, self.there, everywhere)


def triangles(t, center, first, second, given, into):
    """Couples of neighbors, one of the first group and lanes of the second -> both corners, their edge and r_k - r_j,
    and what they need.

    In one group every couple comes once: the vectors behind that of j directly (turn 0), and couples within one vector
    by turning its lanes, where the processor can.
    """
    slots, tables, (kind, _, _) = center.slots, center.tables, center.kinds(first, second)
    needs, reach2 = Needs(slots.all_triangle_keys, tables.triangle_flags[kind]), tables.reach2[kind]
    same, longest, half = first.element == second.element, reach(slots.triangle_tree), t.width // 2
    for turn in t.range(0, same.where(half + 1, 1) if t.can_turn else 1):
        turned = turn > 0
        for j in t.range(0, first.count, turned.where(t.width, 1)):
            block, behind = j & -t.width, turned.where(0, t.width if t.can_turn else 0)
            start = same.where(block + behind, 0)
            stop = turned.where(block + t.width, second.count)
            with t.when(start < stop):
                sums = {key: Sum(t) for key in into(first)}
                J = corner(first, Spread(t, j, turn) if t.can_turn else j, given, sums)
                for k in t.lanes(start, stop):
                    d = [r_k[k] - r_j for r_k, r_j in zip(second.r, J.r)]
                    square = dot(d, d)
                    once = t.lane() < (turn < half).where(t.width, half) if t.can_turn else k > same.where(j, -1)
                    inside = (square < reach2) & once
                    with t.when(inside.any()):
                        yield J, lazy_corner(second, k, given, into), edge_of(square, inside, longest), d, needs
                with t.when(turn < 1):
                    totals = t.each_sum([one.lanes() for one in sums.values()])
                    for amount, array in zip(totals, into(first).values()):
                        array[j] = array[j] + amount
                if t.can_turn:
                    with t.when(turned):
                        at, back = Lanes(t, block.code), t.turns(0 - turn)
                        for one, array in zip(sums.values(), into(first).values()):
                            array[at] = array[at] + t.permute(one.lanes().code, back)


def lazy_corner(group, k, given, into):
    """Everything known at lanes, loaded where it is used."""
    u, inverse, rows = group.edge
    known = Edge(u[k], inverse[k], Lazily(lambda window: tuple(row[k] for row in rows[window])))
    return Corner([x[k] for x in group.r], known, Entries(given(group), k), Entries(into(group), k))


# ---- the three passes ------------------------------------------------------------------------------------------------


def describe_pass(t, slots, tables, packed, moments, scratch, first, last):
    def values(U, *edges):
        return lambda moment: moment.value

    sum_moments(t, slots, tables, packed, [], moments, scratch, first, last, values)


def pushforward_pass(t, slots, tables, packed, r_dot, moments, scratch, first, last):
    def rates(U, *edges):
        return tangents({u: dot(r, r_dot) for u, (r, r_dot) in zip(U, edges)})

    sum_moments(t, slots, tables, packed, r_dot, moments, scratch, first, last, rates)


def sum_moments(t, slots, tables, packed, r_dot, table, scratch, first, last, amounts):
    """Give every corner of every pair and triangle the amount of its moments that `amounts` makes of them."""

    def given(group):
        return dict(enumerate(group.vectors))

    def into(group):
        return group.moments

    def clear(group, lists, kind):
        for slot, _ in entries(t, lists, kind):
            for k in t.lanes(0, group.count):
                group.row[slot][k] = 0.0

    def flush(group, lists, kind):
        for k in t.range(0, group.count):
            atom = table[group.neighbor[k]]
            for slot, column in entries(t, lists, kind):
                atom[column] = atom[column] + group.row[slot][k]

    def flush_center(i, sums, lists, kind):
        atom, room = table[i], t.room(len(sums))
        for slot, one in sums.items():
            room[slot] = one.lanes()
        for slot, column in entries(t, lists, kind):
            atom[column] = atom[column] + room[slot].sum()

    for center in centers(t, slots, tables, packed, r_dot, scratch, first, last):
        for _, _, g in groups(t, center):
            kind, of_k = center.kinds(g)
            sums = {slot: Sum(t) for slot in range(len(slots.pairs))}
            for K, needs in pairs(t, center, g, given, into):
                u = Node(K.edge.u)
                amount = amounts([u], (K.r, [K.given[n] for n in range(len(r_dot))]))
                for slot, R in pair_terms(t, slots, needs, u, K.edge, Forward(amount)):
                    term = amount(R)
                    with t.when(needs[0, slot]):
                        sums[slot] += term
                    with t.when(needs[1, slot]):
                        K.into[slot] = term
            flush(g, tables.pairs, of_k)
            flush_center(center.i, sums, tables.pairs, kind)

        for P, Q in couples(t, center) if slots.triangles else ():
            kind, of_j, of_k = center.kinds(P, Q)
            clear(P, tables.triangles, of_j)
            clear(Q, tables.triangles, of_k)
            I = Corner(None, None, None, {slot: Sum(t) for slot in range(len(slots.triangles))})  # noqa: E741
            for J, K, c, d, needs in triangles(t, center, P, Q, given, into):
                U = [Node(e.u) for e in (J.edge, K.edge, c)]
                j_dot, k_dot = ([one.given[n] for n in range(len(r_dot))] for one in (J, K))
                d_dot = [b - a for a, b in zip(j_dot, k_dot)]
                amount = amounts(U, (J.r, j_dot), (K.r, k_dot), (d, d_dot))
                edges = list(zip(U, (J.edge, K.edge, c)))
                for R, X, members in triangle_terms(t, slots, needs, edges, Forward(amount)):
                    amount(R)
                    for n, slot, shape in members:
                        moment = Node(shape[0], (X[n], shape[1])) * R if shape else R
                        (I, J, K)[n].into[slot] += amount(moment)
            flush(P, tables.triangles, of_j)
            with t.when((P.element == Q.element).where(0, 1) > 0):
                flush(Q, tables.triangles, of_k)
            flush_center(center.i, I.into, tables.triangles, kind)


def pullback_pass(t, slots, tables, packed, dE_dm, dE_dr, scratch, first, last):
    """The gradient of every pair vector, from those of all moments: see `triangles.pullback_pass`."""

    def given(group):
        return group.moments

    def into(group):
        return {"along": group.along, **dict(enumerate(group.vectors))}

    def load(group, lists, kind):
        for k in t.range(0, padded(group.count, t.width)):
            atom = dE_dm[group.neighbor[k]]
            for slot, column in entries(t, lists, kind):
                group.row[slot][k] = atom[column]

    def load_center(i, lists, kind):
        atom = dE_dm[i]
        for slot, column in entries(t, lists, kind):
            own[slot] = atom[column]

    own = t.room(slots.most)
    for center in centers(t, slots, tables, packed, dE_dr, scratch, first, last):
        for _, _, g in groups(t, center):
            kind, of_k = center.kinds(g)
            load_center(center.i, tables.pairs, kind)
            load(g, tables.pairs, of_k)
            for k in t.lanes(0, g.count):
                for x in into(g).values():
                    x[k] = 0.0
            for K, needs in pairs(t, center, g, given, into):
                u = Node(K.edge.u)
                sweep = Backward(t, [u])
                for slot, R in pair_terms(t, slots, needs, u, K.edge, sweep):
                    weight = Sum(t)
                    for n, dE in enumerate((own, K.given)):
                        with t.when(needs[n, slot]):
                            weight += dE[slot]
                    sweep.give([(R, weight.lanes())])
                K.into["along"] += sweep.sums[u].lanes()

        for P, Q in couples(t, center) if slots.triangles else ():
            kind, of_j, of_k = center.kinds(P, Q)
            load_center(center.i, tables.triangles, kind)
            load(P, tables.triangles, of_j)
            load(Q, tables.triangles, of_k)
            for J, K, c, _, needs in triangles(t, center, P, Q, given, into):
                U = [Node(e.u) for e in (J.edge, K.edge, c)]
                sweep = Backward(t, U)
                for R, X, members in triangle_terms(t, slots, needs, list(zip(U, (J.edge, K.edge, c))), sweep):
                    weight, slopes = Sum(t), [Sum(t) for _ in X]
                    for n, slot, shape in members:
                        dE = (own, J.given, K.given)[n][slot]
                        weight += dE * shape[0] if shape else dE
                        if shape:
                            slopes[n] += dE * shape[1]
                    energy = Node(weight.lanes(), *((x, slope.lanes()) for x, slope in zip(X, slopes))) * R
                    sweep.give([(energy, 1.0)])
                a_bar, b_bar, c_bar = (sweep.sums[u].lanes() for u in U)
                pull(J, K, a_bar, b_bar, c_bar)

        for _, _, g in groups(t, center):
            collect(t, g)


# ---- for Numba -------------------------------------------------------------------------------------------------------

_describe, _pullback, _pushforward = traced(describe_pass), traced(pullback_pass), traced(pushforward_pass)


@compiled(error_model="numpy")
def add_moments(slots, tables, packed, scratch, first, last, moments):
    _describe(slots, (tables, packed, moments, scratch, first, last))


@compiled(error_model="numpy")
def add_tangents(slots, tables, packed, scratch, r_dot, first, last, moments, structure_q, x_dot_qc, strain_dot_mcc):
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        gather(packed, r_dot, start, stop, structure_q, x_dot_qc, strain_dot_mcc)
        _pushforward(slots, (tables, packed, r_dot, moments, scratch, start, stop))


@compiled(error_model="numpy")
def add_forces(slots, tables, packed, scratch, dE_dr, first, last, dE_dm, structure_q, forces_qc, virial_mcc):
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _pullback(slots, (tables, packed, dE_dm, dE_dr, scratch, start, stop))
        scatter(packed, dE_dr, start, stop, structure_q, forces_qc, virial_mcc)


# In the call of a kernel, Numba finds the type of a tuple fast where it holds arrays only: slots go beside the tables.


def describe(plan, packed, scratch, first, last, moments):
    """Add the moments to which pairs and triangles of the centers first ... last - 1 contribute."""
    add_moments(*plan[:2], packed, scratch, first, last, moments)


def pushforward(plan, packed, scratch, r_dot, first, last, moments, structure_q, x_dot_qc, strain_dot_mcc):
    """Add their tangents; r_dot is room for the pair vectors of a block."""
    given = structure_q, x_dot_qc, strain_dot_mcc
    add_tangents(*plan[:2], packed, scratch, r_dot, first, last, moments, *given)


def pullback(plan, packed, scratch, dE_dr, first, last, dE_dm, structure_q, forces_qc, virial_mcc):
    """Add forces and virial of these pairs and triangles; dE_dr is room for the pair vectors of a block."""
    add_forces(*plan[:2], packed, scratch, dE_dr, first, last, dE_dm, structure_q, forces_qc, virial_mcc)
