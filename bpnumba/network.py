"""The neural network of one element: scaled symmetry functions in, atomic energy out.

In come the scaled symmetry functions x_as of all atoms of one element, one row per atom; out goes one energy per atom.
Nothing is differentiated automatically: every backward stands directly below its forward and is short enough to check
on paper. The network knows neither atoms nor positions; scaling comes before it (:mod:`bpnumba.scaling`), and the sum
over atoms after it (:mod:`bpnumba.potential`).

A layer maps its input a (n_atoms, n_in) to f(z) with z = a W + b. All weights lie in one flat vector theta: W row by
row, then b, layer after layer. The layers are views into it, so that an optimizer can move theta as it is.

>>> network = Network.random((2, 3, 1), np.random.default_rng(0))
>>> energy_a, dE_dx_as = network.energy_and_slope(np.zeros((5, 2)))
>>> energy_a.shape, dE_dx_as.shape, network.theta.shape
((5,), (5, 2), (13,))
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bpnumba.activations import ACTIVATIONS

# ---- weights: one flat vector ----------------------------------------------------------------------------------------


def n_weights(sizes):
    """Number of weights and biases of a network with these layer sizes.

    >>> n_weights((40, 15, 15, 1))
    871
    """
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(sizes))


def random_weights(sizes, rng):
    """Weights to start a training from.

    W ~ N(0, 1/n_in): inputs of variance one give z of variance one, neither dead nor saturated. Hidden biases
    ~ N(0, 0.1^2) make the neurons differ also at x = 0; the output bias is zero.

    Parameters
    ----------
    sizes : tuple of int
        (number of inputs, hidden layers..., 1).
    rng : numpy.random.Generator

    Returns
    -------
    theta : (n_weights(sizes),) float64

    References
    ----------
    LeCun, Bottou, Orr and Mueller, Efficient BackProp (1998), section 4.6.
    """
    theta = np.zeros(n_weights(sizes))
    for W, b in views(theta, sizes):
        W[:] = rng.normal(0.0, len(W) ** -0.5, W.shape)
        b[:] = rng.normal(0.0, 0.1, b.shape)
    b[:] = 0.0
    return theta


def views(theta, sizes):
    """Cut a flat vector into layers without copying it.

    Parameters
    ----------
    theta : (n_weights(sizes),) float64
        Weights, or anything with one number per weight, such as a gradient.
    sizes : tuple of int

    Returns
    -------
    list of (W, b)
        W (n_in, n_out) and b (n_out,), views into theta.
    """
    layers, end = [], 0
    for n_in, n_out in pairwise(sizes):
        start, middle, end = end, end + n_in * n_out, end + (n_in + 1) * n_out
        layers.append((theta[start:middle].reshape(n_in, n_out), theta[middle:end]))
    return layers


def blocks(n_atoms, sizes):
    """Rows to work on at a time, as a list of slices.

    Blocks keep the intermediate arrays in the cache; memory that is touched for the first time costs more than the
    arithmetic. With at most half a million multiplications per layer, BLAS also leaves a product to one thread
    (OpenBLAS splits from 2^19 on), so that the sums, to the last bit, do not depend on the number of threads.
    Only layers of more than 31,000 weights go beyond that: less than 16 rows at a time would be slow.
    """
    largest = max(n_in * n_out for n_in, n_out in pairwise(sizes))
    n_rows = max(16, min(512, 500_000 // largest))
    return [slice(start, start + n_rows) for start in range(0, n_atoms, n_rows)]


# ---- the network -----------------------------------------------------------------------------------------------------


class States(NamedTuple):
    """What a forward pass leaves behind for all later passes.

    Attributes
    ----------
    energy_a : (n_atoms,) atomic energies, eV
    a : list with one array (n_atoms, n_in) per layer, the input of the layer; a[0] is x
    s1 : list with one array (n_atoms, n_out) per layer, f'(z)
    s2 : list with one function per layer, which returns f''(z)
    """

    energy_a: np.ndarray
    a: list
    s1: list
    s2: list


@dataclass(frozen=True, eq=False)
class Network:
    """Feed-forward neural network of one element.

    With one hidden layer this is the atomic network of Behler and Parrinello::

        e_a = b2 + sum_j W2_j f(b1_j + sum_s W1_sj x_as)

    One pass each, over whatever rows it is given: :meth:`forward`, and, from the states that it leaves, :meth:`slope`,
    :meth:`pushforward`, :meth:`gradient` and :meth:`dual_gradient`. For any number of atoms, block by block:
    :meth:`energy`, :meth:`energy_and_slope` and :meth:`weight_gradient`.

    Parameters
    ----------
    sizes : tuple of int
        (number of inputs, hidden layers..., 1).
    activations : tuple of str
        One name out of ACTIVATIONS per layer; the last one belongs to the output and is usually "identity".
    theta : (n_weights(sizes),) float64
        All weights and biases. They are not copied: changing theta changes the network.

    Raises
    ------
    ValueError
        If sizes, activations and theta do not fit together.

    References
    ----------
    Behler and Parrinello, Phys. Rev. Lett. 98, 146401 (2007), eq. 1.
    """

    sizes: tuple
    activations: tuple
    theta: np.ndarray

    def __post_init__(self):
        if len(self.sizes) < 2 or min(self.sizes) < 1 or self.sizes[-1] != 1:
            raise ValueError(f"sizes must be (inputs, hidden..., 1) with positive numbers, not {self.sizes}")
        if len(self.activations) != len(self.sizes) - 1:
            raise ValueError(f"{len(self.sizes) - 1} layers need as many activations, not {len(self.activations)}")
        for name in self.activations:
            if name not in ACTIVATIONS:
                raise ValueError(f"unknown activation {name!r}; known: {', '.join(ACTIVATIONS)}")
        if self.theta.shape != (n_weights(self.sizes),) or self.theta.dtype != np.float64:
            raise ValueError(
                f"theta must be {n_weights(self.sizes)} float64 numbers in one row for layers {self.sizes}, "
                f"not {self.theta.dtype} of shape {self.theta.shape}"
            )

    @classmethod
    def random(cls, sizes, rng, activations=None):
        """Network with :func:`random_weights`; by default tanh in the hidden layers and a linear output."""
        activations = activations or ("tanh",) * (len(sizes) - 2) + ("identity",)
        return cls(tuple(sizes), tuple(activations), random_weights(sizes, rng))

    def with_weights(self, theta):
        """The same architecture around another vector of weights (not copied)."""
        return Network(self.sizes, self.activations, theta)

    @property
    def layers(self):
        """List of (W, b), views into theta; W is (n_in, n_out)."""
        return views(self.theta, self.sizes)

    def forward(self, x_as):
        """Atomic energies, with everything that the other passes need.

        ::

            z = a W + b,    a <- f(z),    e_a = the last a

        Parameters
        ----------
        x_as : (n_atoms, n_inputs)
            Scaled symmetry functions; no atoms at all is fine.

        Returns
        -------
        States
        """
        a, a_in, s1, s2 = x_as, [], [], []
        for (W, b), name in zip(self.layers, self.activations, strict=True):
            a_in.append(a)
            z = a @ W
            z += b
            a, df, ddf = ACTIVATIONS[name](z)
            s1.append(df)
            s2.append(ddf)
        return States(a[:, 0], a_in, s1, s2)

    def slope(self, states):
        """dE/dx_as, shape (n_atoms, n_inputs): the transpose of the forward pass.

        With p = dE/da, starting from one at the output and going backward::

            p <- (p f'(z)) W^T
        """
        p = 1.0
        for (W, _), s1 in zip(self.layers[::-1], states.s1[::-1], strict=True):
            p = (p * s1) @ W.T
        return p

    def pushforward(self, states, x_dot_as):
        """Change of the atomic energies, e_dot_a = sum_s de_a/dx_as x_dot_as, shape (n_atoms,).

        The derivative of the forward pass along x_dot, layer by layer::

            z_dot = a_dot W,    a_dot <- f'(z) z_dot
        """
        a_dot, _ = self._tangents(states, x_dot_as)
        return a_dot[-1][:, 0]

    def _tangents(self, states, x_dot_as):
        """a_dot: tangents of the layers' inputs and, last, of the output; z_dot: one per layer."""
        a_dot, z_dot = [x_dot_as], []
        for (W, _), s1 in zip(self.layers, states.s1, strict=True):
            z_dot.append(a_dot[-1] @ W)
            a_dot.append(s1 * z_dot[-1])
        return a_dot, z_dot

    def gradient(self, states, e_bar_a):
        """Gradient with respect to theta of sum_a e_bar_a e_a: ordinary backpropagation, for energies alone.

        With p the adjoint of a layer's output and then of its z::

            p <- p f'(z),    W_bar = a^T p,    b_bar = sum_a p_a,    p <- p W^T

        Parameters
        ----------
        states : States
        e_bar_a : (n_atoms,)

        Returns
        -------
        theta_bar : (n_weights,)

        References
        ----------
        Rumelhart, Hinton and Williams, Nature 323, 533 (1986), eqs. 4-7.
        """
        theta_bar = np.empty_like(self.theta)
        layers, layers_bar = self.layers, views(theta_bar, self.sizes)
        p = e_bar_a[:, None]
        for k in reversed(range(len(layers))):
            W, (W_bar, b_bar) = layers[k][0], layers_bar[k]
            p = p * states.s1[k]
            W_bar[:] = states.a[k].T @ p
            b_bar[:] = p.sum(axis=0)
            if k > 0:  # the adjoint of x is not asked for
                p = p @ W.T
        return theta_bar

    def dual_gradient(self, states, e_bar_a, x_dot_as=None):
        """Gradient with respect to theta of a function of energies *and* slopes: for forces, in one dual pass.

        ::

            L = sum_a e_bar_a e_a + sum_as x_dot_as de_a/dx_as

        Forces and stresses are linear in dE/dx, so their part of a loss enters as the second sum, with x_dot the slope
        of the loss, carried here by the pushforwards. That sum is nothing but the derivative of the energies along
        x_dot: one tangent pass gives it (:meth:`pushforward`), and its backpropagation the gradient. A layer is now
        the pair ::

            a_out = f(z),    a_dot_out = f'(z) z_dot,    with z = a W + b,  z_dot = a_dot W

        and with p the adjoint of a and q that of a_dot, its transpose reads ::

            p, q <- p f'(z) + q f''(z) z_dot,  q f'(z)        (now adjoints of z and z_dot)
            W_bar = a^T p + a_dot^T q,    b_bar = sum_a p_a
            p, q <- p W^T,  q W^T

        Parameters
        ----------
        states : States
        e_bar_a : (n_atoms,)
            Weight of every energy; may be zero.
        x_dot_as : (n_atoms, n_inputs), optional
            Weight of every slope; without it this is :meth:`gradient`.

        Returns
        -------
        theta_bar : (n_weights,)

        References
        ----------
        Pearlmutter, Neural Comput. 6, 147 (1994), section 3.1: the same pair of passes, there for Hessian times vector.
        """
        if x_dot_as is None:
            return self.gradient(states, e_bar_a)
        a_dot, z_dot = self._tangents(states, x_dot_as)
        theta_bar = np.empty_like(self.theta)
        layers, layers_bar = self.layers, views(theta_bar, self.sizes)
        p, q = e_bar_a[:, None], 1.0
        for k in reversed(range(len(layers))):
            W, (W_bar, b_bar) = layers[k][0], layers_bar[k]
            s1, s2 = states.s1[k], states.s2[k]()
            p, q = p * s1 + q * s2 * z_dot[k], q * s1
            W_bar[:] = states.a[k].T @ p + a_dot[k].T @ q
            b_bar[:] = p.sum(axis=0)
            if k > 0:
                p, q = p @ W.T, q @ W.T
        return theta_bar

    # ---- the same for any number of atoms, block by block ----

    def energy(self, x_as):
        """Atomic energies (n_atoms,) in eV."""
        energy_a = np.empty(len(x_as))
        for rows in blocks(len(x_as), self.sizes):
            energy_a[rows] = self.forward(x_as[rows]).energy_a
        return energy_a

    def energy_and_slope(self, x_as):
        """Atomic energies (n_atoms,) in eV and dE/dx_as (n_atoms, n_inputs)."""
        energy_a, dE_dx_as = np.empty(len(x_as)), np.empty(x_as.shape)
        for rows in blocks(len(x_as), self.sizes):
            states = self.forward(x_as[rows])
            energy_a[rows] = states.energy_a
            dE_dx_as[rows] = self.slope(states)
        return energy_a, dE_dx_as

    def weight_gradient(self, x_as, e_bar_a, x_dot_as=None):
        """:meth:`dual_gradient` summed over blocks (n_weights,); the forward pass is repeated rather than stored."""
        theta_bar = np.zeros_like(self.theta)
        for rows in blocks(len(x_as), self.sizes):
            states = self.forward(x_as[rows])
            theta_bar += self.dual_gradient(states, e_bar_a[rows], None if x_dot_as is None else x_dot_as[rows])
        return theta_bar
