"""The angle between two neighbors, and the angular factor of a symmetry function.

    a(theta) = 2^(1-zeta) (1 + lam cos theta)^zeta          Behler 2011, eqs. 9, 10
    a(theta) = f(|theta - middle| / halfwidth)              compact, Bircher 2021

Slopes are in x = cos theta.

>>> cosine(0.5, 0.5, 1.0, 1.0, 1.0)[0]
0.0
>>> angular(0.5, 1.0, 2.0)
(2.25, 3.0)
"""

from .cutoff import window
from .numbers import acos, formula, rsqrt, where


@formula
def cosine(u_j, u_k, u_c, inverse_j, inverse_k):
    """cos theta_jik by the law of cosines, and its slopes in u_j, u_k and u_c (c: the pair jk).

    Rounding may take it beyond 1 by some 1e-16.
    """
    h = inverse_j * inverse_k
    x = (u_j + u_k - u_c) * h
    return x, h - x * inverse_j * inverse_j, h - x * inverse_k * inverse_k, -h


@formula
def power(x, n):
    """x^n for n = 0, 1, 2 ... by repeated squaring"""
    result = 1.0
    while n > 0:
        if n % 2 == 1:
            result = x * result
        x = x * x
        n = n // 2
    return result


@formula
def angular(x, lam, zeta):
    """(1 + lam x)^zeta and its slope in the cosine x, for zeta >= 1 (whole powers by multiplication)."""
    bracket, whole = 1.0 + lam * x, int(zeta)
    if whole == zeta:
        return power(bracket, whole), zeta * lam * power(bracket, whole - 1)
    below = where(bracket > 0.0, bracket, 0.0) ** (zeta - 1.0)  # the bracket can come out as -1e-16
    return below * bracket, zeta * lam * below


@formula
def even_powers(x, zeta):
    """[(1 + x)^zeta + (1 - x)^zeta] / 2 and its slope, for zeta = 2 or 4: what lam = 1 and -1 have in common."""
    square = x * x
    if zeta == 2.0:
        return 1.0 + square, 2.0 * x
    return (square + 6.0) * square + 1.0, x * (4.0 * square + 12.0)


@formula
def odd_powers(x, zeta):
    """[(1 + x)^zeta - (1 - x)^zeta] / (2 zeta) and its slope, for zeta = 2 or 4."""
    square = x * x
    if zeta == 2.0:
        return x, 1.0
    return x * (1.0 + square), 3.0 * square + 1.0


@formula
def angle(x):
    """theta and dtheta/dx from x = cos theta; the slope at 0 and 180 degrees, where there is none, is given as 0."""
    x = where(x < 1.0, x, 1.0)
    x = where(x > -1.0, x, -1.0)
    square = (1.0 - x) * (1.0 + x)
    bent = square > 0.0
    return acos(x), where(bent, -rsqrt(where(bent, square, 1.0)), 0.0)


@formula
def angular_window(theta, theta_x, number, middle, right):
    """The compact angular factor and its slope in x, from `angle`; its support are angles up to right from the middle.

    At 0 and 180 degrees the factor is continuous: that of a window which ends there is 0, that of a window with its
    middle there is 1.
    """
    value, slope = window(number, theta, middle, right, True)
    return value, slope * theta_x


@formula
def compact_angular(x, number, middle, right):
    """`angular_window` from the cosine."""
    theta, theta_x = angle(x)
    return angular_window(theta, theta_x, number, middle, right)
