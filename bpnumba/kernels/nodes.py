"""The theory of pairs and triangles for the fast kernels: moments as nodes of a tape above u = r^2/2 of the edges.

Everything is written once, forward, over any kind of number; values, forces and tangents are what the sweeps of
`bpnumba.formulas.tape` make of it.

>>> from bpnumba.kernels.plan import Factor, Moment
>>> window = (0, 0.0, 6.0, False)
>>> moment = Moment((0,), Factor(0.1, 0.0, *window), ())
>>> u, (end, _) = pair(edge(9.0, [window], True), ({0: moment}, {}))
>>> round(end[0].value, 6)
0.203285
"""

from typing import NamedTuple

from bpnumba.formulas.angular import power
from bpnumba.formulas.cutoff import cutoff, pair_window
from bpnumba.formulas.numbers import exp, rsqrt, where
from bpnumba.formulas.tape import Node
from bpnumba.kernels.plan import ANGLES, multiples

STEEP = 32.0
"""Lanes that do not count hold whatever cosine comes out, up to 1e8; higher powers of it would be infinite."""


class Edge(NamedTuple):
    """What the functions need to know of one edge: u = r^2/2, 1/r and, per window, value and slope in u."""

    u: float
    inverse: float
    cuts: dict


def edge(square, windows, inside):
    """The `Edge` of a squared length; where it is not `inside` the longest window, it is as long and all are zero."""
    longest = reach(windows)
    square = where(inside, square, longest * longest)
    u, inverse = 0.5 * square, rsqrt(square)
    within = {window: inside if window[2] == longest else square < window[2] ** 2 for window in windows}
    return Edge(u, inverse, {window: cut(window, square, u, inverse, within[window]) for window in windows})


def cut(window, square, u, inverse, within):
    """Value and slope in u of a window; `within` says where it has not ended."""
    number, inner, outer, mirrored = window
    if inner > 0.0 or mirrored:
        return pair_window(u, inverse, number, inner, outer, mirrored)
    value, slope = cutoff(number, square * inverse, outer)  # from 0 on, the usual case: fewer instructions
    return where(within, value, 0.0), where(within, slope * inverse, 0.0)


def reach(windows):
    """Where the longest window ends."""
    return max(outer for _, _, outer, _ in windows)


def gaussians(edges, factors):
    """{factor: node} of the product of a pair factor's values at all edges, pairs (u node, `Edge`)."""
    found, cuts = {}, {}
    for window in sorted({factor.window for factor in factors}):
        product, *others = (Node(e.cuts[window][0], (u, e.cuts[window][1])) for u, e in edges)
        for other in others:
            product = product * other
        cuts[window] = product
    for rs in sorted({factor.rs for factor in factors}):
        chosen = [factor for factor in factors if factor.rs == rs]
        q, double = squares(edges, rs)
        for base, members in multiples([factor.eta for factor in chosen]).items():
            w = exp(-double * base * q.value) if base else None
            for eta, n in members:
                same = [factor for factor in chosen if factor.eta == eta]
                found |= {factor: gaussian(cuts[factor.window], q, w, n, -double * eta) for factor in same}
    return found


def gaussian(cut, q, w, n, rate):
    """Node of cut times w^n = exp(rate q); of the cut alone, if the rate is 0."""
    if rate == 0.0:
        return cut
    weight = power(w, n)
    value = weight * cut.value
    return Node(value, (q, rate * value), (cut, weight))


def squares(edges, rs):
    """Node q and a number c with c q = sum (r - rs)^2 over the edges."""
    if rs == 0.0:
        return total([u for u, _ in edges]), 2.0
    away = [Node(2.0 * e.u * e.inverse, (u, e.inverse)) - rs for u, e in edges]
    return total([x * x for x in away]), 1.0


def total(terms):
    first, *rest = terms
    return sum(rest, first)


def angle(x, shape):
    """An angular factor of the cosine x and its slope in x."""
    kind, *parameters = shape
    if kind == "angular" and parameters[1] > STEEP:
        x = where(x < 1.0, where(x > -1.0, x, -1.0), 1.0)
    return (x, 1.0) if kind == "cosine" else ANGLES[kind](x, *parameters)


def cosines(edges):
    """Nodes of the cosines at the corners i, j, k of a triangle with the edges ij, ik, jk, pairs (u node, `Edge`).

    By the law of cosines, x_i = n / (r_ij r_ik) with n = u_ij + u_ik - u_jk.  The tape knows it as a function of n and
    of the logarithms l of both 1/r, because dx/dl = x and each l serves two corners.
    """
    log_a, log_b, log_c = (Node(None, (u, -1.0 * (e.inverse * e.inverse))) for u, e in edges)
    (a, at_a), (b, at_b), (c, at_c) = edges

    def cosine(p, q, opposite, inverse, *logs):
        n = p + q - opposite
        x = n.value * inverse
        return Node(x, (n, inverse), *((log, x) for log in logs))

    return (
        cosine(a, b, c, at_a.inverse * at_b.inverse, log_a, log_b),
        cosine(a, c, b, at_a.inverse * at_c.inverse, log_a, log_c),
        cosine(b, c, a, at_b.inverse * at_c.inverse, log_b, log_c),
    )


def pair(a, ends):
    """phi(r) of a pair with edge a -> u, {column: node} of the moments of both ends."""
    u = Node(a.u)
    values = gaussians([(u, a)], sorted({moment.factor for moments in ends for moment in moments.values()}))
    return u, [{column: values[moment.factor] for column, moment in moments.items()} for moments in ends]


def triangle(a, b, c, corners):
    """A triangle with the edges a = ij, b = ik, c = jk -> the three u, the parts of the moments of the corners i, j, k.

    Those parts are {factor: node} of phi(a) phi(b) phi(c), which the corners share, and of each corner the node of its
    cosine and {column: (factor, value and slope in the cosine of the angular factor)}, None for an angular factor of 1.
    """
    U = [Node(e.u) for e in (a, b, c)]
    edges = list(zip(U, (a, b, c)))
    R = gaussians(edges, sorted({moment.factor for corner in corners for moment in corner.values()}))
    parts = []
    for x, corner in zip(cosines(edges), corners):
        shapes = {moment.angle: angle(x.value, moment.angle) if moment.angle else None for moment in corner.values()}
        parts.append((x, {column: (moment.factor, shapes[moment.angle]) for column, moment in corner.items()}))
    return U, R, parts


def moments_of(R, corner):
    """{column: node} of the moments of one corner."""
    x, columns = corner
    return {column: R[factor] if shape is None else Node(shape[0], (x, shape[1])) * R[factor]
            for column, (factor, shape) in columns.items()}  # fmt: skip


def contracted(R, corners, given):
    """Node of the sum of all moments of the corners times given numbers {column: number}, corner by corner.

    Angular factors are added up before they meet R: a corner has one slope in its cosine, not one for each moment.
    """
    energy = {}
    for (x, columns), dE_dm in zip(corners, given):
        for factor in {factor: None for factor, _ in columns.values()}:
            chosen = {column: shape for column, (f, shape) in columns.items() if f == factor}
            bent = [(dE_dm[column], shape) for column, shape in chosen.items() if shape is not None]
            weight = [dE_dm[column] for column, shape in chosen.items() if shape is None]
            if bent:
                weight = [total([*weight, *(g * value for g, (value, _) in bent)])]
                parents = [(x, total([g * slope for g, (_, slope) in bent]))]
            else:
                weight, parents = [total(weight)], []
            energy.setdefault(factor, []).append(Node(weight[0], *parents))
    return total([total(weights) * R[factor] for factor, weights in energy.items()])


def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
