"""Cutoff functions fc(r): one at short range, zero with zero slope at the cutoff radius rc.

Each returns fc and dfc/dr for 0 <= r < rc; `pair_cutoff` makes value and slope exactly zero at and beyond rc.  A new
cutoff function is one formula and one entry of `CUTOFFS`.

=============  ======================================  ==============================  ===========================
name           fc(x), x = r/rc                         continuous derivatives at rc    source
=============  ======================================  ==============================  ===========================
``cosine``     [cos(pi x) + 1] / 2                     1                               Behler 2011, eq. 4
``tanh``       tanh^3(1 - x)                           2                               Behler 2011, eq. 5
``exp``        exp[1 - 1/(1 - x^2)]                    all                             Singraber 2019, type 4
``poly1``      (2x - 3) x^2 + 1                        1                               Singraber 2019, type 5
``poly2``      ((15 - 6x) x - 10) x^3 + 1              2                               Singraber 2019, type 6
``poly3``      (x (x (20x - 70) + 84) - 35) x^4 + 1    3                               Singraber 2019, type 7
``poly4``      (x (x ((315 - 70x) x - 540) + 420)      4                               Singraber 2019, type 8
               - 126) x^5 + 1
=============  ======================================  ==============================  ===========================

J. Behler, J. Chem. Phys. 134, 074106 (2011); A. Singraber et al., J. Chem. Theory Comput. 15, 1827 (2019).

>>> value, slope = cosine(3.0, 6.0)
>>> round(value, 12), round(slope, 6)
(0.5, -0.261799)
"""

import math

from .numbers import cos, exp, formula, sin, tanh, where


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


CUTOFFS = {
    "cosine": cosine,
    "tanh": tanh_cubed,
    "exp": exponential,
    "poly1": poly1,
    "poly2": poly2,
    "poly3": poly3,
    "poly4": poly4,
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
def pair_cutoff(number, u, inverse, rc):
    """fc and dfc/du of a pair with u = r^2/2 and inverse = 1/r, exactly zero at and beyond rc."""
    inside = 2.0 * u < rc * rc
    value, slope = cutoff(number, 2.0 * u * inverse, rc)
    return where(inside, value, 0.0), where(inside, slope * inverse, 0.0)
