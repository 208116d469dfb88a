"""The pair factor phi(r), shared by radial and angular symmetry functions.

    phi(r) = exp(-eta (r - rs)^2) fc(r)            fc a cutoff function, 1 below an inner radius alpha rc
    phi(r) = f(|r - middle| / halfwidth)           compact: f the same kind of function, support from rl to rc

    G1_i = sum_j fc(r_ij)                          (G2 with eta = 0)
    G2_i = sum_j phi(r_ij)
    G4_i = sum_{j<k} a(theta_jik) phi(r_ij) phi(r_ik) phi(r_jk)
    G5_i = sum_{j<k} a(theta_jik) phi(r_ij) phi(r_ik)

The angular factor a stands in `angular.py`.  Compact functions are called C2, C4 and C5.  Both kinds of pair factor
are a Gaussian times a window, with eta = 0 for the compact one; one pair factor per pair serves every function that
uses it.

J. Behler, J. Chem. Phys. 134, 074106 (2011), eqs. 6-10; M. P. Bircher, A. Singraber and C. Dellago, Mach. Learn.: Sci.
Technol. 2, 035026 (2021).

>>> phi, slope = pair_factor(0.5 * 3.0**2, 0.1, 0.0, 0, 0.0, 6.0, False)
>>> round(phi, 6), round(slope, 6)
(0.203285, -0.076137)
"""

from .cutoff import pair_window
from .numbers import exp, formula, rsqrt


@formula
def gaussian(u, inverse, eta, rs):
    """exp(-eta (r - rs)^2) and its slope in u, for u = r^2/2 and inverse = 1/r."""
    away = 2.0 * u * inverse - rs
    value = exp(-eta * away * away)
    return value, -2.0 * eta * away * inverse * value


@formula
def cut_gaussian(u, inverse, eta, rs, fc, fc_u):
    """phi and dphi/du, from the window and its slope, which many factors of one pair share."""
    w, w_u = gaussian(u, inverse, eta, rs)
    return w * fc, w * fc_u + w_u * fc


@formula
def pair_factor(u, eta, rs, number, inner, rc, mirrored):
    """phi and dphi/du of a pair with u = r^2/2; the last four are those of `bpnumba.formulas.cutoff.window`."""
    inverse = rsqrt(2.0 * u)
    fc, fc_u = pair_window(u, inverse, number, inner, rc, mirrored)
    return cut_gaussian(u, inverse, eta, rs, fc, fc_u)
