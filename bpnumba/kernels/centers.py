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

follow from sums over neighbors where a is a polynomial of low degree in x (`harmonics.py`, `sums.py`), and otherwise
from visiting the couples of neighbors (`couples.py`).  As in `triangles.py`, the theory is written once, as nodes of a
tape, and everything but the last section runs once per plan, while Numba compiles.
"""

from typing import NamedTuple

import numpy as np

from bpnumba.formulas.numbers import rsqrt
from bpnumba.formulas.tape import Node
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.kernels import harmonics, sums
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.couples import pull_couples, sum_couples
from bpnumba.kernels.gradients import BLOCK, gather, scatter
from bpnumba.kernels.groups import ADJOINTS, RATES, VALUES, Group, Listed, amounts, clear, enter, leave, vectors_of
from bpnumba.kernels.nodes import dot, edge, gaussians, reach
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.recipes import AT_ONCE, AXES, design
from bpnumba.kernels.tracing import Sum, padded, traced

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


# ---- loops over centers and neighbors --------------------------------------------------------------------------------


def rooms(plan):
    """Rows of scratch per neighbor, for elements of center and neighbor, and numbers besides, for the center's."""
    found = design(plan)
    rows_ce = np.array([[recipe.rows for recipe in row] for row in found.recipes])
    fixed_ce = np.array([[recipe.fixed for recipe in row] for row in found.recipes])
    return rows_ce, found.workroom + (fixed_ce + LANES * rows_ce).sum(axis=1)  # sorting may fill one more vector


def centers(t, plan, packed, vectors, scratch, first, last):
    """For every center: its index and element, and its groups, [(`Listed`, `Group`)].

    `vectors` are arrays of the pairs from the first center on.
    """
    found, origin = design(plan), packed.begin_qe[first][0]
    for i in t.range(first, last):
        for element in plan.elements:
            with t.when(packed.element_q[i] == element):
                groups, start = [], t.integer(found.workroom)
                for other, recipe in zip(plan.elements, found.recipes[element]):
                    begin, counts = packed.begin_qe[i][other], packed.count_qe[i]
                    r = [x[begin:] for x in (packed.x, packed.y, packed.z)]
                    listed = Listed(counts[other:], *r, tuple(x[begin - origin :] for x in vectors))
                    groups.append((listed, Group(t, recipe, scratch[start:])))
                    start = start + (padded(counts[other] + 1, LANES) * recipe.rows + recipe.fixed)
                yield i, element, groups


def meet(t, listed, group, mode):
    """Compute what is known of the neighbors of a group, and the sums over them."""

    def body(t, recipe, listed, group):
        r, vectors = enter(t, listed, group)
        radial = {factor: Sum(t) for factor in recipe.radial}
        # where some neighbors are taken at a time, filling ones may be among them
        for k in t.lanes(0, padded(group.count, AT_ONCE) if recipe.ends else group.count):
            near = neighbor([x[k] for x in r], recipe.factors)
            nodes = dict(zip(AXES, near.unit)) | near.phi | harmonics.kept(recipe.degrees, near.unit)
            amount = amounts(mode, zip(near.r, [x[k] for x in vectors]))
            for key in recipe.keys:
                group.known[key][k] = nodes[key].value
                if mode != VALUES:
                    group.also[key][k] = amount(nodes[key])
            for factor, total in radial.items():
                total += amount(nodes[factor])
        for n, total in enumerate(radial.values()):
            group.numbers[n] = total.value()
        sums.accumulate(t, group, mode)

    of_group("meet", t, listed, group, mode, body)


def finish(t, listed, group, mode):
    """The gradient of the pair vectors of a group, from the adjoints of all that is known of it."""

    def body(t, recipe, listed, group):
        r, vectors = vectors_of(listed, group)
        for k in t.lanes(0, group.count):
            near = neighbor([x[k] for x in r], recipe.factors)
            given = [(node, group.also[key][k]) for key, node in zip(AXES, near.unit)]
            given += [(node, group.also[key][k]) for key, node in near.phi.items()]
            given += [(near.phi[factor], group.numbers[n]) for n, factor in enumerate(recipe.radial)]
            for x, bar in zip(vectors, adjoints(given + sums.energy(group, near), near.r)):
                x[k] = bar
        leave(t, listed, group)

    of_group("finish", t, listed, group, mode, body)


def of_group(name, t, listed, group, mode, body):
    """A subroutine body(trace, recipe, listed, group)."""

    def unpacked(t, count, x, y, z, *rest):
        body(t, recipe, Listed(count, x, y, z, rest[:-1]), Group(t, recipe, rest[-1]))

    recipe = group.recipe
    t.subroutine((name, mode, recipe), unpacked, listed.count, *listed.r, *listed.vectors, group.start)


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
        for add, found in ((sum_couples, visited), (sums.contract, summed)):
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
        for pull, found in ((pull_couples, visited), (sums.pull_back, summed)):
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
