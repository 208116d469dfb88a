"""Angular windows as piecewise polynomials of the angle: a sum of many of them costs no more than one.

The compact factors of one pair factor enter an energy as one function a(theta) = sum_t c_t f_t(theta).  If each f_t is
a polynomial between its ends, so is a: its coefficients are summed once per center, and looked up for each angle.

>>> ends, middles, tables = pieces((("compact", 4, 0.0, 1.5), ("compact", 4, 1.5, 3.0)))
>>> [round(end, 2) for end in ends], tables[0].shape
([1.5, 3.0], (6, 3))
"""

from math import pi

import numpy as np
from numpy.polynomial import Polynomial

from bpnumba.formulas.cutoff import CUTOFFS


def pieces(shapes):
    """Ends of the pieces in 0 ... pi, their middles, and per shape coefficients (degree + 1, n_pieces) of the powers of
    the angle from there; None if a shape is no piecewise polynomial."""
    edges = sorted({edge for kind, *rest in shapes for edge in edges_of(kind, *rest) if 0.0 < edge < pi})
    ends = [edge for edge, next_one in zip(edges, [*edges[1:], pi]) if next_one - edge > 1e-12]
    bounds = np.array([0.0, *ends, pi])
    middles = 0.5 * (bounds[1:] + bounds[:-1])
    try:
        tables = [[polynomial(shape, middle) for middle in middles] for shape in shapes]
    except (AttributeError, TypeError):  # of a formula that takes exp or tanh of the polynomial it is given
        return None
    most = max(len(one) for table in tables for one in table)
    return ends, middles, [np.array([np.pad(one, (0, most - len(one))) for one in table]).T for table in tables]


def edges_of(kind, *parameters):
    """Where a factor or its form ends."""
    if kind != "compact":
        return ()
    _, middle, right = parameters
    return 2.0 * middle - right, middle, right


def polynomial(shape, place):
    """Coefficients of a window about an angle which is in none of its ends."""
    kind, number, middle, right = shape if shape[0] == "compact" else (None,) * 4
    if kind is None:
        raise TypeError("only windows have pieces")
    halfwidth, side = right - middle, 1.0 if place > middle else -1.0
    start = side * (place - middle) / halfwidth
    if start > 1.0:
        return np.zeros(1)
    value, _ = tuple(CUTOFFS.values())[number](Polynomial([start, side / halfwidth]), 1.0)
    return value.coef
