"""Wide moments by sums over neighbors: the loops of `harmonics.py`.

The sums over a group stand in scratch, and behind them their tangents or adjoints.
"""

from bpnumba.formulas.numbers import where
from bpnumba.formulas.tape import Node
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels.groups import ADJOINTS, RATES, Group
from bpnumba.kernels.harmonics import contracted, linear, numbered, places
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.tracing import Lanes, Sum

REGISTERS = 24
"""Sums that a loop keeps in registers, of the 32 that AVX-512 has."""


def accumulate(t, group, mode):
    """Sum phi Y and phi^2 over the neighbors of a group, and then their tangents, or clear their adjoints."""
    degrees = group.recipe.degrees
    found, size = places(degrees)
    parts = 2 if mode == RATES else 1
    for n in range(0, max(((degree + 1) ** 2 for _, degree in degrees), default=0), t.width):
        wanted = [(factor, numbered(degree)[n : n + t.width]) for factor, degree in degrees if n < (degree + 1) ** 2]
        most = max(1, REGISTERS // (t.width * parts))
        for m in range(0, len(wanted), most):
            some = wanted[m : m + most]
            A = {(factor, lm): [Sum(t) for _ in range(parts)] for factor, names in some for lm in names}
            squares = {factor: [Sum(t) for _ in range(parts)] for factor, _ in some if n == 0}
            numbers = {factor: Sum(t) for factor in squares}
            for k in t.lanes(0, group.count):
                keys = {key for factor_lm in A for key in factor_lm if key != (0, 0)}
                known = {key: Node(group.known[key][k]) for key in sorted(keys, key=repr)}
                rate = tangents({node: group.also[key][k] for key, node in known.items()} if mode == RATES else {})
                for (factor, lm), totals in A.items():
                    add(totals, known[factor] * known.get(lm, Node(1.0)), rate)
                for factor, totals in squares.items():
                    add(totals, known[factor] * known[factor], rate)
                    numbers[factor] += where(known[factor].value == 0.0, 0.0, 1.0)
            for factor, names in some:
                first, square = found[factor]
                for part in range(parts):
                    vector = t.sums([A[factor, lm][part].lanes() for lm in names])
                    group.sums[at(t, first + n + part * size)] = vector
                    if n == 0:
                        group.sums[at(t, square + part * size)] = squares[factor][part].lanes()
                if n == 0:
                    group.sums[square + LANES] = numbers[factor].value()
    for n in range(0, size if mode == ADJOINTS else 0, t.width):
        group.sums[at(t, size + n)] = 0.0


def add(totals, node, rate):
    """Add a node to a running sum, and its tangent to a second one, if there is one."""
    for total, amount in zip(totals, (lambda: node.value, lambda: rate(node))):
        total += amount()


def at(t, place):
    """The index of a vector at a fixed place."""
    return Lanes(t, t.integer(place).code)


def nodes(t, group):
    """Nodes of A by (factor, first number) and pairs for phi^2 by factor, as `contracted` takes them, and
    {node: place of its tangent or adjoint}."""
    found, size = places(group.recipe.degrees)
    A, squares, also = {}, {}, {}
    for factor, (first, square) in found.items():
        for n in range(0, square - first, t.width):
            A[factor, n] = Node(group.sums[at(t, first + n)])
            also[A[factor, n]] = size + first + n
        node = Node(group.sums[at(t, square)])
        also[node] = size + square
        squares[factor] = node, where(group.sums[square + LANES] > 1.5, 0.5, 0.0)
    return A, squares, also


def couple(t, kind, p, q, same):
    """Nodes of the moments of a couple of groups, and [(node, group, place)] of what they are made of."""
    A, squares, also = nodes(t, p)
    parents = [(node, p, place) for node, place in also.items()]
    if same:
        return contracted(t, kind.moments, same, A, A, squares), parents
    B, _, also = nodes(t, q)
    parents += [(node, q, place) for node, place in also.items()]
    return contracted(t, kind.moments, same, A, B, squares), parents


def contract(t, kind, p, q, numbers, mode, same):
    """Moments of a couple of groups, or their tangents."""

    def body(t, start_p, start_q, numbers):
        moments, parents = couple(t, kind, Group(t, kind.first, start_p), Group(t, kind.second, start_q), same)
        if mode == RATES:
            rate = tangents({node: group.sums[at(t, place)] for node, group, place in parents})
            found = t.each_sum([rate(node) for node in moments])
        else:
            found = t.each_sum([node.value for node in moments])
        for n, x in enumerate(found):
            numbers[n] = x

    t.subroutine(("contract", mode, same, kind), body, p.start, q.start, numbers)


def pull_back(t, kind, p, q, numbers, mode, same):
    """Add to the adjoints of the sums, from those of the moments, which are the numbers."""

    def body(t, start_p, start_q, numbers):
        moments, parents = couple(t, kind, Group(t, kind.first, start_p), Group(t, kind.second, start_q), same)
        bars = adjoints([(node, numbers[n]) for n, node in enumerate(moments)], [node for node, _, _ in parents])
        for (_, group, place), bar in zip(parents, bars):
            if not isinstance(bar, float):  # some factors are for another couple
                group.sums[at(t, place)] = group.sums[at(t, place)] + bar

    t.subroutine(("contract", mode, same, kind), body, p.start, q.start, numbers)


def energy(group, near):
    """[(node, 1)] of the energy that a neighbor adds by way of the sums, if there are any."""
    found, size = places(group.recipe.degrees)
    if not found:
        return []
    A_bar = {factor: group.sums[size + first :] for factor, (first, _) in found.items()}
    squares_bar = {factor: group.sums[size + square] for factor, (_, square) in found.items()}
    return [(linear(near, group.recipe.degrees, A_bar, squares_bar), 1.0)]
