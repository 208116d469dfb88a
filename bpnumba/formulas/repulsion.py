"""The repulsion of two nuclei at short range, screened by their electrons: the universal potential of ZBL.

    E(r) = k Z_i Z_j / r  phi(r/a),   a = 0.46850 / (Z_i^0.23 + Z_j^0.23) Angstrom
    phi(x) = 0.18175 exp(-3.19980 x) + 0.50986 exp(-0.94229 x) + 0.28022 exp(-0.40290 x) + 0.02817 exp(-0.20162 x)

times a window of `cutoff.py`, because inside a chemical bond it has no meaning.  J. F. Ziegler, J. P. Biersack and
U. Littmark, The Stopping and Range of Ions in Solids (Pergamon, 1985), chapter 2.

>>> round(screening(0.0)[0], 12)
1.0
>>> value, slope = zbl(0.5 * 1.2**2, 14.4 * 14 * 14, 0.1276, 4, 1.0, 2.2)
>>> round(value, 4), round(slope, 4)
(24.1368, -78.2934)
"""

from .cutoff import pair_window
from .numbers import exp, formula, rsqrt

LENGTH = 0.46850
"""Angstrom: 0.8854 bohr, the length of Thomas and Fermi."""

POWER = 0.23
"""Of the atomic numbers in the length of the screening."""


@formula
def screening(x):
    """phi and dphi/dx; one without electrons in between, at x = 0."""
    a, b = 0.18175 * exp(-3.19980 * x), 0.50986 * exp(-0.94229 * x)
    c, d = 0.28022 * exp(-0.40290 * x), 0.02817 * exp(-0.20162 * x)
    return a + b + c + d, -3.19980 * a - 0.94229 * b - 0.40290 * c - 0.20162 * d


@formula
def zbl(u, strength, length, number, inner, outer):
    """Energy of a pair with u = r^2/2, and its slope in u.

    `strength` is k Z_i Z_j in eV Angstrom, `length` the screening length a; the last three are those of
    `bpnumba.formulas.cutoff.window`: whole below inner, exactly zero from outer on.
    """
    inverse = rsqrt(2.0 * u)
    phi, phi_x = screening(2.0 * u * inverse / length)
    bare = strength * inverse
    value, value_u = bare * phi, bare * inverse * (phi_x / length - phi * inverse)
    fc, fc_u = pair_window(u, inverse, number, inner, outer, False)
    return value * fc, value * fc_u + value_u * fc
