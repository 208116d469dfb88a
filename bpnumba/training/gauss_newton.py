"""Coordinates in which a loss is nearly a sphere: Gauss-Newton as a preconditioner of L-BFGS.

The Hessian of a sum of squares is nearly H = R^T R / N + l2, R the derivatives of the residuals
(`bpnumba.training.rows`).  With its damped Cholesky factor, H + damping diag H = L L^T, and theta = theta_0 + L^-T z,
the Hessian in z is nearly the identity, and L-BFGS needs a tenth of the iterations.

J. Nocedal and S. J. Wright, Numerical Optimization, 2nd ed., sections 10.3 (Gauss-Newton) and 5.1 (preconditioning).
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import cholesky, solve_triangular

DAMPING = 0.01
"""Of the diagonal: with a tenth of it, fits follow noise, with ten times of it they are slow."""

FLAT = 1e-12
"""Part of the largest curvature that is rounding."""


class Sphere(NamedTuple):
    """Coordinates z with theta = origin + L^-T z."""

    origin: np.ndarray
    lower: np.ndarray  # L

    @classmethod
    def of(cls, H, theta):
        """For a loss whose curvature at these weights is H (`Objective.curvature`)."""
        diagonal = np.diag(H)
        floor = FLAT * diagonal.max()  # of weights on which nothing depends, such as those of dead neurons
        damped = H + np.diag(DAMPING * np.maximum(diagonal, floor) + (diagonal < floor) * floor)
        return cls(theta.copy(), cholesky(damped, lower=True, overwrite_a=True))

    def theta(self, z):
        """Weights of coordinates."""
        return self.origin + solve_triangular(self.lower, z, lower=True, trans=1)

    def gradient(self, gradient):
        """dL/dz from dL/dtheta."""
        return solve_triangular(self.lower, gradient, lower=True)
