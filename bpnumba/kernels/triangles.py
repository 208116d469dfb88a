"""The fast kernels of radial and narrow functions: over a half list of pairs, each triangle of atoms visited once.

===============  =====================================================================================
``describe``     r -> m                      moments of all atoms
``pushforward``  x_dot, strain_dot -> m_dot  their tangents (training on forces)
``pullback``     dE_dm -> forces, virial
===============  =====================================================================================

Each works on a range of centers and adds to what is there.

A narrow function has the same radial part at all three corners of a triangle, so one visit serves three atoms.  The
theory is in `nodes.py`; the passes only say what goes in and where the results go.  Everything but the last section is
run once per plan, while Numba compiles.
"""

from typing import NamedTuple

import numpy as np

from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.gradients import BLOCK, gather, scatter
from bpnumba.kernels.lanes import Value
from bpnumba.kernels.nodes import Edge, contracted, dot, edge, moments_of, pair, reach, triangle
from bpnumba.kernels.tracing import Array, Entries, Row, Sum, Turned, padded, traced

# ---- loops over centers, pairs and triangles -------------------------------------------------------------------------


class Group(NamedTuple):
    """The neighbors of one element around the present center; all but `element` and `count` are arrays over them."""

    element: int
    count: Value
    neighbor: Array
    r: list  # pair vectors
    edge: Edge  # scratch: kept from the pairs for the triangles
    along: Array  # scratch: gradients along the pair vectors
    moments: dict  # scratch: moments of the neighbors, by column (or their adjoints)
    vectors: list  # the pass's own pair vectors: r_dot or dE_dr


class Corner(NamedTuple):
    """One neighbor or lanes of neighbors: what is known of it, and where contributions to it go."""

    r: list
    edge: Edge
    given: dict
    into: Entries


def n_rows(plan, center, neighbor):
    """How many rows of scratch the neighbors of one element take."""
    return 3 + 2 * len(plan.windows(center, neighbor)) + len(plan.exchanged(center, neighbor))


def rooms(plan):
    """Rows of scratch per neighbor, for elements of center and neighbor, and numbers besides, for that of a center."""
    rows_ce = np.array([[n_rows(plan, c, e) for e in plan.elements] for c in plan.elements])
    return rows_ce, np.zeros(len(rows_ce), np.int64)


def centers(t, plan, packed, vectors, scratch, first, last):
    """For every center: its index and element, and the groups of its neighbors.

    `vectors` are arrays of the pairs from the first center on.
    """
    origin = packed.begin_qe[first][0]
    for i in t.range(first, last):
        for element in plan.elements:
            with t.when(packed.element_q[i] == element):
                groups, start = [], t.integer(0)
                for other in plan.elements:
                    begin, count = packed.begin_qe[i][other], packed.count_qe[i][other]
                    windows, columns = plan.windows(element, other), plan.exchanged(element, other)
                    size = n_rows(plan, element, other)
                    rows = [Row(scratch[start:], n, size) for n in range(size)]
                    u, inverse, along, *rows = rows
                    cuts = {window: tuple(rows[2 * n : 2 * n + 2]) for n, window in enumerate(windows)}
                    groups.append(
                        Group(
                            other,
                            count,
                            packed.neighbor[begin:],
                            [x[begin:] for x in (packed.x, packed.y, packed.z)],
                            Edge(u, inverse, cuts),
                            along,
                            dict(zip(columns, rows[2 * len(windows) :])),
                            [x[begin - origin :] for x in vectors],
                        )
                    )
                    start = start + padded(count, t.width) * size
                yield i, element, groups


def corner(group, index, given, into):
    """Everything known at an index, loaded here: for a single j that is once, outside the loop over lanes."""
    u, inverse, cuts = group.edge
    known = Edge(u[index], inverse[index], {w: (value[index], slope[index]) for w, (value, slope) in cuts.items()})
    return Corner([x[index] for x in group.r], known, {key: x[index] for key, x in given(group).items()}, into)


def pairs(t, plan, element, group, given, into):
    """Neighbors of one group, with the edges of all windows; those of the triangles are kept in scratch."""
    windows = {m.factor.window for moments in plan.ends(element, group.element) for m in moments.values()}
    windows = sorted(windows.union(plan.windows(element, group.element)))
    if not windows:
        return
    for k in t.lanes(0, group.count):
        r = [x[k] for x in group.r]
        square = dot(r, r)
        known = edge(square, windows, square < reach(windows) ** 2)
        group.edge.u[k], group.edge.inverse[k] = known.u, known.inverse
        for window, (value, slope) in group.edge.cuts.items():
            value[k], slope[k] = known.cuts[window]
        yield Corner(r, known, {key: x[k] for key, x in given(group).items()}, Entries(into(group), k))


def triangles(t, plan, element, first, second, given, into):
    """Couples of neighbors, one of the first group and lanes of the second -> both corners, their edge and r_k - r_j.

    In one group every couple comes once: the vectors behind that of j directly, and couples within one vector by
    turning its lanes, where the processor can.
    """
    same = first is second
    turning = same and t.can_turn
    corners = plan.corners(element, first.element, second.element)
    windows = sorted({moment.factor.window for moments in corners for moment in moments.values()})

    def meet(J, k, allowed=None):
        d = [r_k[k] - r_j for r_k, r_j in zip(second.r, J.r)]
        square = dot(d, d)
        inside = square < reach(windows) ** 2
        inside = inside if allowed is None else inside & allowed
        with t.when(inside.any()):
            yield J, corner(second, k, given, Entries(into(second), k)), edge(square, windows, inside), d

    stop = (first.count - 1) & -t.width if turning else first.count  # behind the last vector there is none
    for j in t.range(0, stop):
        sums = {key: Sum(t) for key in into(first)}
        J = corner(first, j, given, sums)
        start = (j & -t.width) + t.width if turning else j & -t.width if same else 0
        for k in t.lanes(start, second.count):
            yield from meet(J, k, k > j if same and not turning else None)
        for key, array in into(first).items():
            array[j] = array[j] + sums[key].value()
    if turning:
        for k in t.lanes(0, second.count):
            for turn in t.range(1, t.width // 2 + 1):
                j, half = Turned(t, k, turn), t.width // 2
                J = corner(first, j, given, Entries(into(first), j))
                yield from meet(J, k, t.lane() < (turn < half).where(t.width, half))


# ---- the three passes ------------------------------------------------------------------------------------------------


def describe_pass(t, plan, packed, moments, scratch, first, last):
    def values(U, *edges):
        return lambda moment: moment.value

    sum_moments(t, plan, packed, [], moments, scratch, first, last, values)


def pushforward_pass(t, plan, packed, r_dot, moments, scratch, first, last):
    def rates(U, *edges):
        return tangents({u: dot(r, r_dot) for u, (r, r_dot) in zip(U, edges)})

    sum_moments(t, plan, packed, r_dot, moments, scratch, first, last, rates)


def sum_moments(t, plan, packed, r_dot, table, scratch, first, last, amounts):
    """Give every corner of every pair and triangle the amount of its moments that `amounts` makes of them."""

    def given(group):
        return dict(enumerate(group.vectors))

    def into(group):
        return group.moments

    for i, element, groups in centers(t, plan, packed, r_dot, scratch, first, last):
        I = Corner(None, None, None, {column: Sum(t) for column in range(len(plan.columns[element]))})  # noqa: E741

        for g in groups:
            for k in t.lanes(0, g.count):
                for row in g.moments.values():
                    row[k] = 0.0
            for K in pairs(t, plan, element, g, given, into):
                u, moments = pair(K.edge, plan.ends(element, g.element))
                contribute((I, K), moments, amounts([u], (K.r, K.given)))

        for p, q in plan.couples(element):
            for J, K, c, d in triangles(t, plan, element, groups[p], groups[q], given, into):
                U, R, corners = triangle(J.edge, K.edge, c, plan.corners(element, p, q))
                d_dot = [K.given[x] - J.given[x] for x in K.given]
                amount = amounts(U, (J.r, J.given), (K.r, K.given), (d, d_dot))
                contribute((I, J, K), [moments_of(R, corner) for corner in corners], amount)

        for g in groups:
            for k in t.range(0, g.count):
                atom = table[g.neighbor[k]]
                for column, row in g.moments.items():
                    atom[column] = atom[column] + row[k]
        atom = table[i]
        for column, amount in I.into.items():
            atom[column] = atom[column] + amount.value()


def contribute(corners, moments, amount):
    for corner, nodes in zip(corners, moments):
        for column, node in nodes.items():
            corner.into[column] += amount(node)


def pullback_pass(t, plan, packed, dE_dm, dE_dr, scratch, first, last):
    """The gradient of every pair vector, from those of all moments.

    A triangle gives dE/dr_j = a r_j - c (r_k - r_j), with a and c the slopes in u_ij and u_jk, and likewise for k.
    What goes along r_j is added up as a number, `along`, and multiplied by r_j at the end.
    """

    def given(group):
        return group.moments

    def into(group):
        return {"along": group.along, **dict(enumerate(group.vectors))}

    for i, element, groups in centers(t, plan, packed, dE_dr, scratch, first, last):
        atom = dE_dm[i]
        I = Corner(None, None, {column: atom[column] for column in range(len(plan.columns[element]))}, None)  # noqa: E741

        for g in groups:
            for k in t.range(0, padded(g.count, t.width)):
                atom = dE_dm[g.neighbor[k]]
                for column, row in g.moments.items():
                    row[k] = atom[column]
            for k in t.lanes(0, g.count):
                g.along[k] = 0.0
                for x in g.vectors:
                    x[k] = 0.0
            for K in pairs(t, plan, element, g, given, into):
                u, ends = pair(K.edge, plan.ends(element, g.element))
                known = [(node, one.given[column]) for one, end in zip((I, K), ends) for column, node in end.items()]
                (slope,) = adjoints(known, [u])
                K.into["along"] += slope

        for p, q in plan.couples(element):
            for J, K, c, _ in triangles(t, plan, element, groups[p], groups[q], given, into):
                U, R, corners = triangle(J.edge, K.edge, c, plan.corners(element, p, q))
                energy = contracted(R, corners, [one.given for one in (I, J, K)])
                pull(J, K, *adjoints([(energy, 1.0)], U))

        for g in groups:
            collect(t, g)


def pull(J, K, a_bar, b_bar, c_bar):
    """Add the gradient of a triangle with these slopes in u_ij, u_ik and u_jk."""
    J.into["along"] += a_bar + c_bar
    K.into["along"] += b_bar + c_bar
    for n in range(3):
        J.into[n] -= c_bar * K.r[n]
        K.into[n] -= c_bar * J.r[n]


def collect(t, group):
    """Add what goes along the pair vectors of a group."""
    for k in t.lanes(0, group.count):
        along = group.along[k]
        for x, r in zip(group.vectors, group.r):
            x[k] = x[k] + along * r[k]


# ---- for Numba -------------------------------------------------------------------------------------------------------

_describe, _pullback, _pushforward = traced(describe_pass), traced(pullback_pass), traced(pushforward_pass)


@compiled(error_model="numpy")
def describe(plan, packed, scratch, first, last, moments):
    """Add the moments to which pairs and triangles of the centers first ... last - 1 contribute."""
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
    """Add forces and virial of these pairs and triangles; dE_dr is room for the pair vectors of a block."""
    for start in range(first, last, BLOCK):
        stop = min(start + BLOCK, last)
        _pullback(plan, (packed, dE_dm, dE_dr, scratch, start, stop))
        scatter(packed, dE_dr, start, stop, structure_q, forces_qc, virial_mcc)
