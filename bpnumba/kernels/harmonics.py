"""Wide moments whose angular factor is a polynomial of low degree: sums over neighbors, no couples.

With x = e_j . e_k and real spherical harmonics Y, normalized so that P_l(x) = sum_m Y_lm(e_j) Y_lm(e_k),

    a(x) = sum_l kappa_l P_l(x),      A_p,lm = sum_j phi(r_j) Y_lm(e_j)           (neighbors j of element p)
    m = sum_lm kappa_l A_p,lm A_q,lm                                              (p and q differ)
    m = [sum_lm kappa_l A_p,lm^2 - a(1) sum_j phi(r_j)^2] / 2                     (p = q: couples j < k)

The sums A serve all zeta, both signs of lambda and all partners.  This file has the theory, `sums.py` the loops.

>>> expansion(("angular", 1.0, 2.0))  # (1 + x)^2 = 4/3 P_0 + 2 P_1 + 2/3 P_2
(1.3333333333333333, 2.0, 0.6666666666666666)
"""

from math import factorial, sqrt

from numpy.polynomial import legendre, polynomial

from bpnumba.formulas.tape import Node
from bpnumba.kernels.nodes import total
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.tracing import padded

HIGHEST = 8
"""Degree up to which sums are used.  They win while (degree + 1)^2 < 1.6 times the number of neighbors (measured), and
that is 30 to 200 in practice."""


# ---- which moments, and which sums -----------------------------------------------------------------------------------


def expansion(shape):
    """kappa_l of an angular factor; () if it has none or too many."""
    kind, *parameters = shape or (None,)
    if kind is None:
        return (1.0,)
    if kind == "cosine":
        return (0.0, 1.0)
    if kind != "angular" or parameters[1] != int(parameters[1]) or parameters[1] > HIGHEST:
        return ()
    lam, zeta = parameters
    return tuple(float(kappa) for kappa in legendre.poly2leg(polynomial.polypow([1.0, lam], int(zeta))))


def numbered(degree):
    """All (l, m) up to a degree; m < 0 stands for the sine, and (l, m) has the number l^2 + l + m."""
    return [(l, m) for l in range(degree + 1) for m in range(-l, l + 1)]  # noqa: E741


def components(degrees):
    """The (l, m) above (0, 0) of the harmonics that are kept of a neighbor; degrees are pairs (factor, highest l)."""
    return numbered(max((degree for _, degree in degrees), default=0))[1:]


def places(degrees):
    """Where the sums over a group lie: {factor: (first of A, place of phi^2)}, and how many numbers there are in all.

    sum phi^2 is a vector not yet summed over the lanes; another one begins with the number of neighbors.
    """
    found, end = {}, 0
    for factor, degree in degrees:
        square = end + padded((degree + 1) ** 2, LANES)
        found[factor], end = (end, square), square + 2 * LANES
    return found, end


# ---- the theory ------------------------------------------------------------------------------------------------------


def spherical(e, degree, one):
    """{(l, m): Y_lm} of a unit vector, up to a degree.

    Y_lm = n_lm d^mP_l/dz^m times the real or imaginary part of (x + iy)^m: polynomials, with neither poles nor angles.
    """
    x, y, z = e

    def norm(l, m):  # noqa: E741
        return sqrt((2.0 if m else 1.0) * factorial(l - m) / factorial(l + m))

    found, real, imaginary, start = {}, one, None, 1.0
    for m in range(degree + 1):
        if m == 1:
            real, imaginary = x, y
        elif m > 1:
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        start = start * max(2 * m - 1, 1)  # d^mP_m/dz^m = (2m - 1)!!
        column = {m: start * norm(m, m) * one if m == 0 else start * norm(m, m)}
        for l in range(m, degree):  # noqa: E741
            # (l - m + 1) P_l+1 = (2l + 1) z P_l - (l + m) P_l-1, derived m times
            up = (2 * l + 1) / (l - m + 1) * norm(l + 1, m) / norm(l, m)
            column[l + 1] = (up * z) * column[l]
            if l > m:
                column[l + 1] = column[l + 1] - (l + m) / (l - m + 1) * norm(l + 1, m) / norm(l - 1, m) * column[l - 1]
        for l, value in column.items():  # noqa: E741
            found[l, m] = real * value
            if m:
                found[l, -m] = imaginary * value
    return found


def contracted(t, moments, same, A, B, squares):
    """Nodes of the moments (factor, shape) of a couple of groups: vectors whose sums over the lanes they are.

    A and B are nodes of the sums over both groups by (factor, first number), a vector at a time; squares are pairs of
    sum phi^2 and 1/2, or 0 where there are no two neighbors: rounding must not make a couple of one.
    """
    products, found = {}, []
    for factor, shape in moments:
        kappa = expansion(shape)
        weights = [kappa[component[0]] for component in numbered(len(kappa) - 1)]
        terms = []
        for n in range(0, len(weights), t.width):
            part = weights[n : n + t.width] + [0.0] * (n + t.width - len(weights))
            if any(part):
                if (factor, n) not in products:
                    products[factor, n] = A[factor, n] * B[factor, n]
                terms.append(products[factor, n] * t.numbers(part))
        m = total(terms)
        if same:
            square, half = squares[factor]
            m = (m - sum(kappa) * square) * half
        found.append(m)
    return found


def linear(near, degrees, A_bar, squares_bar):
    """sum A_bar phi Y + squares_bar phi^2 of one neighbor: what it adds to an energy that is linear in the sums."""
    Y = spherical(near.unit, max(degree for _, degree in degrees), Node(1.0))
    terms = []
    for factor, degree in degrees:
        phi = near.phi[factor]
        inner = total([Y[component] * A_bar[factor][n] for n, component in enumerate(numbered(degree))])
        terms.append(phi * (inner + phi * squares_bar[factor]))
    return total(terms)


def kept(degrees, e):
    """{(l, m): node} of the harmonics that are kept of a neighbor with unit vector e."""
    found = components(degrees)
    return spherical(e, found[-1][0], Node(1.0)) if found else {}
