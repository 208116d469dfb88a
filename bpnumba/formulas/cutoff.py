"""Cutoff functions fc(r): one at short range, zero with zero slope at the cutoff radius rc.

Each returns fc and dfc/dr for 0 <= r < rc.  A new cutoff function is one formula and one entry of `CUTOFFS`.

====================  ======================================  ============================  =======================
name                  fc(x), x = r/rc                         continuous derivatives at rc  source
====================  ======================================  ============================  =======================
``cosine``            [cos(pi x) + 1] / 2                     1                             Behler 2011, eq. 4
``tanh``              tanh^3(1 - x)                           2                             Behler 2011, eq. 5
``tanh_normalized``   tanh^3(1 - x) / tanh^3(1)               2                             Singraber 2019, type 3
``exp``               exp[1 - 1/(1 - x^2)]                    all                           Singraber 2019, type 4
``poly1``             (2x - 3) x^2 + 1                        1                             Singraber 2019, type 5
``poly2``             ((15 - 6x) x - 10) x^3 + 1              2                             Singraber 2019, type 6
``poly3``             (x (x (20x - 70) + 84) - 35) x^4 + 1    3                             Singraber 2019, type 7
``poly4``             (x (x ((315 - 70x) x - 540) + 420)      4                             Singraber 2019, type 8
                      - 126) x^5 + 1
``poly1a``...``4a``   poly1...4 at (2 - x) x                  3, 5, 7, 9                    Bircher 2021
``hard``              1                                       none: the energy jumps        Singraber 2019, type 0
====================  ======================================  ============================  =======================

`window` puts such a function to use.  As the cutoff of a pair it is 1 up to an inner radius and falls to 0 from there
to rc.  Mirrored, it is the bump with compact support of Bircher's symmetry functions: 1 in the middle, 0 at and beyond
both ends.  Value and slope are exactly zero outside.

J. Behler, J. Chem. Phys. 134, 074106 (2011); A. Singraber et al., J. Chem. Theory Comput. 15, 1827 (2019);
M. P. Bircher, A. Singraber and C. Dellago, Mach. Learn.: Sci. Technol. 2, 035026 (2021).

>>> value, slope = cosine(3.0, 6.0)
>>> round(value, 12), round(slope, 6)
(0.5, -0.261799)
"""

import math

from .numbers import cos, exp, formula, sin, tanh, where

AT_ZERO = math.tanh(1.0) ** 3  # of the function ``tanh``


@formula
def cosine(r, rc):
    angle = math.pi * r / rc
    return 0.5 * (cos(angle) + 1.0), (-0.5 * math.pi / rc) * sin(angle)


@formula
def tanh_cubed(r, rc):
    t = tanh(1.0 - r / rc)
    square = t * t
    return square * t, (square - 1.0) * square * (3.0 / rc)


@formula
def tanh_normalized(r, rc):
    value, slope = tanh_cubed(r, rc)
    return value / AT_ZERO, slope / AT_ZERO


@formula
def exponential(r, rc):
    x = r / rc
    gap = 1.0 - x * x
    # fc underflows to 0 where gap < 1/745; rounding may even make it negative just inside rc
    gap = where(gap > 0.001, gap, 0.001)
    value = exp(1.0 - 1.0 / gap)
    return value, (-2.0 / rc) * x * value / (gap * gap)


@formula
def poly1(r, rc):
    x = r / rc
    return (2.0 * x - 3.0) * x * x + 1.0, (6.0 / rc) * x * (x - 1.0)


@formula
def poly2(r, rc):
    x = r / rc
    square = x * x
    return ((15.0 - 6.0 * x) * x - 10.0) * square * x + 1.0, (30.0 / rc) * square * ((2.0 - x) * x - 1.0)


@formula
def poly3(r, rc):
    x = r / rc
    cube = x * x * x
    return (((20.0 * x - 70.0) * x + 84.0) * x - 35.0) * cube * x + 1.0, (140.0 / rc) * cube * (
        ((x - 3.0) * x + 3.0) * x - 1.0
    )


@formula
def poly4(r, rc):
    x = r / rc
    fourth = x * x * x * x
    return ((((315.0 - 70.0 * x) * x - 540.0) * x + 420.0) * x - 126.0) * fourth * x + 1.0, (630.0 / rc) * fourth * (
        (((4.0 - x) * x - 6.0) * x + 4.0) * x - 1.0
    )


@formula
def hard(r, rc):
    return 1.0 + 0.0 * r, 0.0 * r


def asymmetric(core):
    """The formula core((2 - x) x), which falls faster near the middle and slower near the end."""

    @formula
    def steeper(r, rc):
        x = r / rc
        value, slope = core((2.0 - x) * r, rc)
        return value, 2.0 * (1.0 - x) * slope

    return steeper


CUTOFFS = {
    "cosine": cosine,
    "tanh": tanh_cubed,
    "exp": exponential,
    "poly1": poly1,
    "poly2": poly2,
    "poly3": poly3,
    "poly4": poly4,
    "tanh_normalized": tanh_normalized,
    "hard": hard,
    "poly1a": asymmetric(poly1),
    "poly2a": asymmetric(poly2),
    "poly3a": asymmetric(poly3),
    "poly4a": asymmetric(poly4),
}


def choice(formulas, code=0):
    """The formula (code, r, rc) -> formulas[code](r, rc): a chain of comparisons, which any compiler takes."""
    first, rest = formulas[0], formulas[1:]
    if not rest:
        return formula(lambda number, r, rc: first(r, rc))
    other = choice(rest, code + 1)

    @formula
    def chosen(number, r, rc):
        if number == code:
            return first(r, rc)
        return other(number, r, rc)

    return chosen


cutoff = choice(tuple(CUTOFFS.values()))


@formula
def window(number, x, inner, outer, mirrored):
    """A cutoff function (`number` in CUTOFFS) of x >= 0 as a window, and its slope in x.

    The function runs from `inner`, where it is 1, to `outer`, where it is 0.  Below `inner` it stays 1, or, mirrored,
    falls to 0 in the same way.
    """
    width, away = outer - inner, x - inner
    side = where(away > 0.0, 1.0, where(mirrored, -1.0, 0.0))
    away = side * away
    inside = away < width
    value, slope = cutoff(number, away, width)
    return where(inside, value, 0.0), where(inside, side * slope, 0.0)


@formula
def pair_window(u, inverse, number, inner, outer, mirrored):
    """`window` of a pair's distance with its slope in u = r^2/2, from inverse = 1/r; exactly zero from outer on."""
    x = where(2.0 * u < outer * outer, 2.0 * u * inverse, outer)  # rounding may take r to just below outer
    value, slope = window(number, x, inner, outer, mirrored)
    return value, slope * inverse
