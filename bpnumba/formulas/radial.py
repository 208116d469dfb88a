"""The pair factor phi(r) = exp(-eta (r - rs)^2) fc(r), shared by radial and angular symmetry functions.

    G1_i = sum_j fc(r_ij)                          (G2 with eta = 0)
    G2_i = sum_j phi(r_ij)
    G4_i = 2^(1-zeta) sum_{j<k} (1 + lam cos theta_jik)^zeta phi(r_ij) phi(r_ik) phi(r_jk)
    G5_i = 2^(1-zeta) sum_{j<k} (1 + lam cos theta_jik)^zeta phi(r_ij) phi(r_ik)

J. Behler, J. Chem. Phys. 134, 074106 (2011), eqs. 6-10.  One pair factor per pair serves every function that uses it.

>>> phi, slope = pair_factor(0.5 * 3.0**2, 0.1, 0.0, 6.0, 0)
>>> round(phi, 6), round(slope, 6)
(0.203285, -0.076137)
"""

from .cutoff import pair_cutoff
from .numbers import exp, formula, rsqrt


@formula
def gaussian(u, inverse, eta, rs):
    """exp(-eta (r - rs)^2) and its slope in u, for u = r^2/2 and inverse = 1/r."""
    away = 2.0 * u * inverse - rs
    value = exp(-eta * away * away)
    return value, -2.0 * eta * away * inverse * value


@formula
def cut_gaussian(u, inverse, eta, rs, fc, fc_u):
    """phi and dphi/du, from the cutoff function and its slope, which many factors of one pair share."""
    w, w_u = gaussian(u, inverse, eta, rs)
    return w * fc, w * fc_u + w_u * fc


@formula
def pair_factor(u, eta, rs, rc, number):
    """phi and dphi/du of a pair with u = r^2/2; `number` is the position of the cutoff function in CUTOFFS."""
    inverse = rsqrt(2.0 * u)
    fc, fc_u = pair_cutoff(number, u, inverse, rc)
    return cut_gaussian(u, inverse, eta, rs, fc, fc_u)
