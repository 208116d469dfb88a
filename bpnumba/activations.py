"""Activation functions of the network: an ordinary function of z returns value, slope, and how to get the curvature.

The second derivative is a function without arguments, because only the training on forces asks for it.

A new activation is one function and one entry of `ACTIVATIONS`.

>>> value, slope, curvature = ACTIVATIONS["tanh"](np.array([0.0]))
>>> float(value[0]), float(slope[0]), float(curvature()[0])
(0.0, 1.0, -0.0)
"""

import numpy as np


def tanh(z):
    """f = tanh z, f' = 1 - f^2, f'' = -2 f f'."""
    f = np.tanh(z)
    df = 1.0 - f * f
    return f, df, lambda: -2.0 * f * df


def logistic(z):
    """f = 1/(1 + exp(-z)), f' = f (1 - f), f'' = f' (1 - 2 f); written with tanh, which cannot overflow."""
    f = 0.5 + 0.5 * np.tanh(0.5 * z)
    df = f * (1.0 - f)
    return f, df, lambda: df * (1.0 - 2.0 * f)


def softplus(z):
    """f = ln(1 + exp z); its slope is the logistic function."""
    df, ddf, _ = logistic(z)
    # NumPy has vector instructions for exp and log, but not for logaddexp and log1p
    return np.maximum(z, 0.0) + np.log(1.0 + np.exp(-np.abs(z))), df, lambda: ddf


def gaussian(z):
    """f = exp(-z^2/2), f' = -z f, f'' = (z^2 - 1) f; beyond |z| = 40 the exponential is exactly 0 in float64."""
    z = np.clip(z, -40.0, 40.0)
    f = np.exp(-0.5 * z * z)
    return f, -z * f, lambda: (z * z - 1.0) * f


def identity(z):
    """f = z, f' = 1, f'' = 0."""
    return z, np.ones_like(z), lambda: np.zeros_like(z)


def relu(z):
    """f = max(z, 0), f' = 1 or 0, f'' = 0: potentials with it have forces that jump."""
    df = np.where(z > 0.0, 1.0, 0.0)
    return z * df, df, lambda: np.zeros_like(z)


def cosine(z):
    """f = cos z, f' = -sin z, f'' = -f."""
    f = np.cos(z)
    return f, -np.sin(z), lambda: -f


def reverse_logistic(z):
    """f = 1 - 1/(1 + exp(-z)), the logistic function of -z."""
    f, df, ddf = logistic(-z)
    return f, -df, ddf  # curvature of the logistic function at -z


def exponential(z):
    """f = exp(-z) = -f' = f''; below z = -300 it stays, so that products of several layers do not overflow."""
    f = np.exp(-np.maximum(z, -300.0))
    return f, -f, lambda: f


def harmonic(z):
    """f = z^2, f' = 2 z, f'' = 2; beyond |z| = 1e75 it stays, so that products of several layers do not overflow."""
    z = np.clip(z, -1e75, 1e75)
    return z * z, 2.0 * z, lambda: np.full_like(z, 2.0)


ACTIVATIONS = {
    "tanh": tanh,
    "logistic": logistic,
    "softplus": softplus,
    "gaussian": gaussian,
    "identity": identity,
    "relu": relu,
    "cosine": cosine,
    "reverse_logistic": reverse_logistic,
    "exponential": exponential,
    "harmonic": harmonic,
}
