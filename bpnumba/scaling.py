"""Scaling: symmetry functions G in, inputs x of the network out, for one element.

The values of different symmetry functions differ by orders of magnitude; a network learns faster from inputs of
comparable size. The map is linear, one shift and one factor per symmetry function, found once from the training data
and from then on part of the model. It also remembers the range of every symmetry function, so that later an environment
outside of what the model has seen can be noticed.

>>> scaling = Scaling.from_values(np.array([[1.0, 10.0], [3.0, 30.0]]))
>>> scaling.apply(np.array([[3.0, 20.0]]))
array([[1., 0.]])
"""

import warnings
from typing import NamedTuple

import numpy as np

CONSTANT_RANGE = 1e-8
"""A symmetry function that varies by less than this carries little but rounding errors, and dividing by its width would
only amplify them."""


def standard(G_as):
    """Mean and standard deviation: x has mean 0 and variance 1, which suits most trainings best."""
    return G_as.mean(axis=0), G_as.std(axis=0)


def minmax(G_as):
    """Middle and half width of the range: x lies in [-1, 1]."""
    minimum, maximum = G_as.min(axis=0), G_as.max(axis=0)
    return 0.5 * (minimum + maximum), 0.5 * (maximum - minimum)


def center(G_as):
    """Mean only: x has mean 0 and the width of G."""
    return G_as.mean(axis=0), np.ones(G_as.shape[1])


def none(G_as):
    """x = G."""
    return np.zeros(G_as.shape[1]), np.ones(G_as.shape[1])


MODES = {"standard": standard, "minmax": minmax, "center": center, "none": none}
"""A mode is an ordinary function: values G_as in, shift_s and width_s out."""


class Scaling(NamedTuple):
    """Linear map of the symmetry functions of one element, x_as = (G_as - shift_s) factor_s.

    Attributes
    ----------
    shift_s, factor_s : (n_s,)
    minimum_s, maximum_s : (n_s,) range of G in the data that determined the scaling
    """

    shift_s: np.ndarray
    factor_s: np.ndarray
    minimum_s: np.ndarray
    maximum_s: np.ndarray

    @classmethod
    def from_values(cls, G_as, mode="standard", names=None):
        """Scaling that suits given values of the symmetry functions.

        A symmetry function that is constant in the data keeps the factor 1; one warning lists all of them.

        Parameters
        ----------
        G_as : (n_atoms, n_s)
            Symmetry functions of the training data, at least one atom.
        mode : str
            One of MODES.
        names : sequence of str, optional
            What to call the symmetry functions in messages; by default their number, from 0.

        Raises
        ------
        ValueError
            For an unknown mode, without atoms, and if a value is not finite.
        """
        if mode not in MODES:
            raise ValueError(f"unknown scaling mode {mode!r}; known: {', '.join(MODES)}")
        if len(G_as) == 0:
            raise ValueError("scaling needs the symmetry functions of at least one atom; there is none")
        names = [f"{s}" for s in range(G_as.shape[1])] if names is None else names
        finite = np.isfinite(G_as).all(axis=0)
        if not finite.all():
            raise ValueError(f"symmetry functions with values that are not finite: {_listed(names, ~finite)}")

        shift_s, width_s = MODES[mode](G_as)
        minimum_s, maximum_s = G_as.min(axis=0), G_as.max(axis=0)
        constant = maximum_s - minimum_s < CONSTANT_RANGE
        if constant.any():
            warnings.warn(
                f"{constant.sum()} of {len(constant)} symmetry functions are constant in the data and tell the network "
                f"nothing (their factor is 1): {_listed(names, constant)}",
                stacklevel=2,
            )
        return cls(shift_s, 1.0 / np.where(constant, 1.0, width_s), minimum_s, maximum_s)

    def apply(self, G_as):
        """x_as = (G_as - shift_s) factor_s, shape (n_atoms, n_s)."""
        return (G_as - self.shift_s) * self.factor_s

    def pullback(self, dE_dx_as):
        """dE/dG_as = dE/dx_as factor_s, shape (n_atoms, n_s)."""
        return dE_dx_as * self.factor_s

    def pushforward(self, G_dot_as):
        """x_dot_as = G_dot_as factor_s, shape (n_atoms, n_s)."""
        return G_dot_as * self.factor_s


def _listed(names, chosen):
    return ", ".join(name for name, wanted in zip(names, chosen, strict=True) if wanted)
