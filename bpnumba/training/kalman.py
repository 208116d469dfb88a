"""The extended Kalman filter: the Gauss-Newton method that learns from a few frames at a time.

After the frames of an update, with residuals r (in units of noise, so their variance is 1) and their derivatives R in
the weights, the weights and their covariance P are ::

    K = P R^T (rho + R P R^T)^-1,    theta <- theta - K r,    P <- (P - K R P) / lambda

One pass over the data is hundreds of Gauss-Newton steps, each with all that was learned before.  The forgetting factor
lambda < 1 lets go of what was learned at older weights; it rises to 1, so that in the end all frames count alike.

P has one block per element (decoupled filter): an element's share of the theory is a network of its own.  An update
uses all residuals of its frames at once (multi-stream), a random part of the forces where they are many.

References
----------
T. B. Blank and S. D. Brown, J. Chemometrics 8, 391 (1994); G. V. Puskorius and L. A. Feldkamp, IEEE Trans. Neural
Netw. 5, 279 (1994) (decoupled, multi-stream); A. Singraber et al., J. Chem. Theory Comput. 15, 3075 (2019).
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.linalg.blas import dsymm, dsyrk

VARIANCE = 0.01
"""Of a weight, before anything is learned: a tenth of what random weights of a layer with ten inputs have."""

LARGEST_VARIANCE = 1.0
"""Mean over an element beyond which nothing more is forgotten of it: directions of which the data say nothing would
grow for ever, and the first that they say would throw the weights far away."""

ROWS_PER_UPDATE = 256
"""Residuals of an update.  Time per residual hardly falls beyond that, and fewer make more use of each."""

MEMORY_AT_FIRST = 3.0
"""Residuals per weight that the filter remembers at the beginning."""


@dataclass
class Filter:
    """Weights and what is known of them.

    Attributes
    ----------
    theta : (n_w,)
    bounds : list of int
        Begin and end of the weights of the elements.
    covariances : list of (n, n) arrays in column order, of which the lower triangle counts
    """

    theta: np.ndarray
    bounds: list
    covariances: list

    @classmethod
    def of(cls, theta, bounds):
        """Nothing learned yet."""
        blocks = [np.asfortranarray(VARIANCE * np.eye(size)) for size in np.diff(bounds)]
        return cls(theta.copy(), list(bounds), blocks)

    @classmethod
    def resumed(cls, theta, bounds, curvatures):
        """At weights found before; R^T R of all data, a block per element, in place of what was learned on the way."""
        blocks = [np.asfortranarray(np.linalg.inv(H + np.eye(len(H)) / VARIANCE)) for H in curvatures]
        return cls(theta.copy(), list(bounds), blocks)

    def update(self, R, r, forgetting):
        """Learn from residuals r (n) and their derivatives R (n, n_w)."""
        parts = [np.asfortranarray(R[:, first:last].T, float) for first, last in zip(self.bounds[:-1], self.bounds[1:])]
        P_R = [dsymm(1.0, P, part, lower=1) for P, part in zip(self.covariances, parts)]
        S = sum(part.T @ p for part, p in zip(parts, P_R))
        S[np.diag_indices_from(S)] += max(1.0, np.square(r).mean())  # far from the labels, residuals are not noise
        lower = cholesky(S, lower=True, overwrite_a=True)
        whitened = solve_triangular(lower, r, lower=True)
        for k, (first, last) in enumerate(zip(self.bounds[:-1], self.bounds[1:])):
            if not parts[k].any():
                continue  # nothing is learned of this element, and nothing forgotten
            W, P = solve_triangular(lower, P_R[k].T, lower=True), self.covariances[k]
            self.theta[first:last] -= W.T @ whitened
            keep = forgetting if np.trace(P) < LARGEST_VARIANCE * len(P) else 1.0
            self.covariances[k] = dsyrk(-1 / keep, W, beta=1 / keep, c=P, trans=1, lower=1, overwrite_c=1)


def forgetting(update, n_updates, n_weights, n_rows):
    """lambda of an update: 1 - 1/w, where the memory w grows by the same factor, at least 4, with each pass over
    the data.

    Parameters
    ----------
    update : int
        Number of the update, from 0.
    n_updates : int
        In a pass.
    n_weights : int
    n_rows : float
        Residuals in an update.
    """
    at_first = min(max(2.0, MEMORY_AT_FIRST * n_weights / n_rows), max(2.0, n_updates / 4))
    growth = max(n_updates / at_first, 4.0)  # of few updates, too, or the memory would not grow
    return 1.0 - max(growth ** (-update / n_updates) / at_first, 1e-9)
