"""Numbers that remember how they were made, so that a formula walks in both directions.

A `Node` holds a value (a float, or any other kind of number) and its parents with the partial derivatives.
`pushforward` carries tangents from variables to results, `pullback` carries adjoints from results to variables: each is
the other's transpose.  The plain kernels write their derivatives out by hand; the tape composes the same hand-written
slopes by the chain rule, which checks them and lets a kernel for another kind of number be traced from one forward
description.

>>> u = Node(0.5 * 3.0**2)
>>> phi = apply(pair_factor, u, 0.1, 0.0, 0, 0.0, 6.0, False)
>>> [round(bar, 6) for bar in pullback([(phi, 1.0)], [u])]
[-0.076137]
"""

from .angular import cosine
from .numbers import rsqrt
from .radial import pair_factor


class Node:
    """A value and how it depends on its parents: pairs (node, partial derivative)."""

    __slots__ = ("value", "parents")

    def __init__(self, value, *parents):
        self.value, self.parents = value, parents

    def __add__(a, b):
        if isinstance(b, Node):
            return Node(a.value + b.value, (a, 1.0), (b, 1.0))
        return Node(a.value + b, (a, 1.0))

    def __mul__(a, b):
        if isinstance(b, Node):
            return Node(a.value * b.value, (a, b.value), (b, a.value))
        return Node(a.value * b, (a, b))

    def __sub__(a, b):
        return a + -1.0 * b

    __radd__, __rmul__ = __add__, __mul__


def apply(formula, x, *parameters):
    """The node of formula(x), where the formula returns value and slope."""
    value, slope = formula(x.value, *parameters)
    return Node(value, (x, slope))


def triplet(u_j, u_k, u_c, angular, narrow, factor):
    """One term of an angular symmetry function, from the three nodes u = r^2/2 of its pairs.

    Parameters
    ----------
    u_j, u_k, u_c : Node
        u of the pairs ij, ik and jk.
    angular : tuple
        (norm, formula, parameters...) of the angular factor: (2^(1-zeta), `angular`, lam, zeta), or for a compact
        function (1, `compact_angular`, number, middle, right).
    narrow : bool
        Whether the factor of the pair jk is included (G4) or not (G5).
    factor : tuple
        Parameters of `pair_factor`.
    """
    norm, formula, *parameters = angular
    x, *slopes = cosine(u_j.value, u_k.value, u_c.value, rsqrt(2.0 * u_j.value), rsqrt(2.0 * u_k.value))
    term = norm * apply(formula, Node(x, *zip((u_j, u_k, u_c), slopes)), *parameters)
    for u in (u_j, u_k, u_c) if narrow else (u_j, u_k):
        term = term * apply(pair_factor, u, *factor)
    return term


def pushforward(tangents):
    """The function node -> tangent, from the tangents of the variables (a dictionary; 0 for those not in it)."""
    dot = dict(tangents)

    def tangent(node):
        if node not in dot:
            terms = [times(partial, tangent(parent)) for parent, partial in node.parents]
            dot[node] = total(terms) if terms else 0.0
        return dot[node]

    return tangent


def pullback(adjoints, variables):
    """Adjoints of the variables, from those of the results: pairs (node, adjoint)."""
    bar = {}

    def add(node, term):
        bar[node] = bar[node] + term if node in bar else term

    for node, adjoint in adjoints:
        add(node, adjoint)
    for node in reversed(ancestors([node for node, _ in adjoints])):
        for parent, partial in node.parents:
            add(parent, times(partial, bar[node]))
    return [bar.get(node, 0.0) for node in variables]


def ancestors(results):
    """Every node that the results depend on, parents before children."""
    order, seen = [], set()

    def visit(node):
        if node not in seen:
            seen.add(node)
            for parent, _ in node.parents:
                visit(parent)
            order.append(node)

    for node in results:
        visit(node)
    return order


def times(partial, x):
    return x if isinstance(partial, float) and partial == 1.0 else partial * x


def total(terms):
    first, *rest = terms
    return sum(rest, first)
