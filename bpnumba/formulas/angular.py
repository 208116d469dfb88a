"""The angle between two neighbors, and the angular factor (1 + lam cos)^zeta.

>>> cosine(0.5, 0.5, 1.0, 1.0, 1.0)[0]
0.0
>>> angular(0.5, 1.0, 2.0)
(2.25, 3.0)
"""

from .numbers import formula, where


@formula
def cosine(u_j, u_k, u_c, inverse_j, inverse_k):
    """cos theta_jik by the law of cosines, clipped to [-1, 1], and its slopes in u_j, u_k and u_c (c: the pair jk)."""
    h = inverse_j * inverse_k
    x = (u_j + u_k - u_c) * h
    x = where(x < 1.0, x, 1.0)
    x = where(x > -1.0, x, -1.0)
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
    bracket = 1.0 + lam * x
    bracket = where(bracket > 0.0, bracket, 0.0)  # can come out as -1e-16
    whole = int(zeta)
    below = power(bracket, whole - 1) if whole == zeta else bracket ** (zeta - 1.0)
    return below * bracket, zeta * lam * below
