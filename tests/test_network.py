"""The network of one element against the formula of its inventors, and every derivative against finite differences."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from bpnumba.network import ACTIVATIONS, Network, blocks, n_weights, random_weights, views

N_ATOMS = 6
HIDDEN = [(), (4,), (5, 3), (3, 4, 2)]


def difference(f, h=1e-3):
    """Derivative of f at 0 by central differences of fourth order."""
    return (8.0 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12.0 * h)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(params=sorted(ACTIVATIONS))
def activation(request):
    return request.param


@pytest.fixture(params=HIDDEN, ids=str)
def network(request, activation, rng):
    """Every activation in every depth, two inputs, also at the output (where users will want identity).

    The weights are small enough for numbers of order 1 where activations grow fast, and no argument of relu lies near
    its kink.
    """
    sizes = (2, *request.param, 1)
    network = Network.random(sizes, rng, (activation,) * (len(sizes) - 1))
    if activation in ("exponential", "harmonic"):
        network.theta[:] *= 0.3
    while activation == "relu" and nearest_kink(network, np.random.default_rng(7).normal(size=(N_ATOMS, 2))) < 0.03:
        network = Network.random(sizes, rng, network.activations)
    return network


def nearest_kink(network, x_as):
    """Smallest |z| of all arguments of activations."""
    a, nearest = x_as, np.inf
    for W, b in network.layers:
        z = a @ W + b
        a, nearest = np.maximum(z, 0.0), min(nearest, np.abs(z).min())
    return nearest


@pytest.fixture
def x_as():
    return np.random.default_rng(7).normal(size=(N_ATOMS, 2))


# ---- activations -----------------------------------------------------------------------------------------------------

TEXTBOOK = {
    "tanh": math.tanh,
    "logistic": lambda z: 1.0 / (1.0 + math.exp(-z)),
    "softplus": lambda z: math.log(1.0 + math.exp(z)),
    "gaussian": lambda z: math.exp(-z * z / 2.0),
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "cosine": math.cos,
    "reverse_logistic": lambda z: 1.0 - 1.0 / (1.0 + math.exp(-z)),
    "exponential": lambda z: math.exp(-z),
    "harmonic": lambda z: z**2,
}


def test_activation_is_the_textbook_function(activation):
    z = np.linspace(-5.0, 5.0, 11)
    expected = [TEXTBOOK[activation](number) for number in z]
    np.testing.assert_allclose(ACTIVATIONS[activation](z)[0], expected, rtol=1e-14, atol=1e-15)


def test_every_activation_has_a_textbook_value():
    assert set(TEXTBOOK) == set(ACTIVATIONS)


def test_derivatives_of_activation(activation):
    f = ACTIVATIONS[activation]
    z = np.linspace(-3.0, 3.0, 24)  # without 0, the kink of relu
    _, df, ddf = f(z)
    np.testing.assert_allclose(df, difference(lambda h: f(z + h)[0]), atol=1e-10)
    np.testing.assert_allclose(ddf(), difference(lambda h: f(z + h)[1]), atol=1e-10)


def test_relu_at_its_kink():
    """The slope there is that of the left side; whatever it is, it must be a number."""
    f, df, ddf = ACTIVATIONS["relu"](np.array([-1e-300, 0.0, 1e-300]))
    assert f.tolist() == [0.0, 0.0, 1e-300]
    assert df.tolist() == [0.0, 0.0, 1.0]
    assert not ddf().any()


def test_exponential_stops_before_it_overflows():
    f, df, ddf = ACTIVATIONS["exponential"](np.array([-1e300, -1e4, -300.0, -299.0, 800.0, 1e300]))
    assert f[0] == f[1] == f[2] == math.exp(300.0)
    assert f[3] == pytest.approx(math.exp(299.0), rel=1e-14)
    assert not f[4:].any()
    np.testing.assert_array_equal(-df, f)
    np.testing.assert_array_equal(ddf(), f)


def test_logistic_and_its_reverse_add_up_to_one():
    z = np.linspace(-50.0, 50.0, 101)
    one, other = ACTIVATIONS["logistic"](z), ACTIVATIONS["reverse_logistic"](z)
    np.testing.assert_allclose(one[0] + other[0], 1.0, rtol=1e-15)
    np.testing.assert_allclose(one[1], -other[1], atol=1e-15)
    np.testing.assert_allclose(one[2](), -other[2](), atol=1e-15)


def test_activation_far_out_is_finite_and_leaves_its_argument_alone(activation):
    z = np.array([-1e300, -800.0, -40.0, 0.0, 40.0, 800.0, 1e300])
    before = z.copy()
    f, df, ddf = ACTIVATIONS[activation](z)
    assert np.isfinite([f, df, ddf()]).all()
    np.testing.assert_array_equal(z, before)


# ---- energy and slope ------------------------------------------------------------------------------------------------


def test_energy_of_one_hidden_layer_is_the_formula_of_behler_and_parrinello(rng):
    network = Network.random((3, 4, 1), rng)
    (w1, b1), (w2, b2) = network.layers
    G = rng.normal(size=(N_ATOMS, 3))
    energy_a = network.energy(G)
    for i in range(N_ATOMS):
        energy = b2[0]
        for j in range(4):
            z = b1[j]
            for mu in range(3):
                z += w1[mu, j] * G[i, mu]
            energy += w2[j, 0] * math.tanh(z)
        assert energy_a[i] == pytest.approx(energy, abs=1e-14)


def test_energy_of_an_atom_does_not_depend_on_the_others(network, x_as):
    np.testing.assert_allclose(network.energy(x_as)[2:3], network.energy(x_as[2:3]), atol=1e-14)


def test_slope(network, x_as):
    dE_dx_as = network.slope(network.forward(x_as))
    assert dE_dx_as.shape == x_as.shape
    for s in range(x_as.shape[1]):
        step = np.eye(x_as.shape[1])[s]
        expected = difference(lambda h, d=step: network.energy(x_as + h * d))
        np.testing.assert_allclose(dE_dx_as[:, s], expected, atol=1e-10)


def test_pushforward(network, x_as, rng):
    x_dot_as = rng.normal(size=x_as.shape)
    e_dot_a = network.pushforward(network.forward(x_as), x_dot_as)
    np.testing.assert_allclose(e_dot_a, difference(lambda h: network.energy(x_as + h * x_dot_as)), atol=1e-9)


def test_slope_is_the_transpose_of_pushforward(network, x_as, rng):
    states = network.forward(x_as)
    x_dot_as, e_bar_a = rng.normal(size=x_as.shape), rng.normal(size=N_ATOMS)
    there = network.pushforward(states, x_dot_as) @ e_bar_a
    back = np.sum(x_dot_as * e_bar_a[:, None] * network.slope(states))
    assert there == pytest.approx(back, abs=1e-12)


# ---- gradients with respect to the weights ---------------------------------------------------------------------------


@pytest.mark.parametrize("energies", [0.0, 1.0])
@pytest.mark.parametrize("slopes", [0.0, 1.0])
def test_dual_gradient(network, x_as, rng, energies, slopes):
    e_bar_a, x_dot_as = energies * rng.normal(size=N_ATOMS), slopes * rng.normal(size=x_as.shape)

    def loss(theta):
        energy_a, dE_dx_as = network.with_weights(theta).energy_and_slope(x_as)
        return e_bar_a @ energy_a + np.sum(x_dot_as * dE_dx_as)

    theta_bar = network.dual_gradient(network.forward(x_as), e_bar_a, x_dot_as)
    directions = np.eye(len(network.theta))
    expected = [difference(lambda h, d=direction: loss(network.theta + h * d)) for direction in directions]
    np.testing.assert_allclose(theta_bar, expected, atol=1e-9)


def test_gradient_for_energies_alone_is_the_dual_gradient_without_slopes(network, x_as, rng):
    states, e_bar_a = network.forward(x_as), rng.normal(size=N_ATOMS)
    expected = network.dual_gradient(states, e_bar_a, np.zeros_like(x_as))
    np.testing.assert_allclose(network.gradient(states, e_bar_a), expected, atol=1e-14)
    np.testing.assert_allclose(network.dual_gradient(states, e_bar_a), expected, atol=1e-14)


def test_passes_leave_their_arguments_alone(network, x_as, rng):
    x_dot_as, e_bar_a = rng.normal(size=x_as.shape), rng.normal(size=N_ATOMS)
    states = network.forward(x_as)

    def passes():
        yield network.slope(states)
        yield network.pushforward(states, x_dot_as)
        yield network.gradient(states, e_bar_a)
        yield network.dual_gradient(states, e_bar_a, x_dot_as)

    for one, other in zip(list(passes()), list(passes()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_atoms(network):
    nothing = np.zeros((0, 2))
    states = network.forward(nothing)
    assert states.energy_a.shape == (0,)
    assert network.slope(states).shape == (0, 2)
    assert network.pushforward(states, nothing).shape == (0,)
    np.testing.assert_array_equal(network.gradient(states, np.zeros(0)), np.zeros_like(network.theta))
    np.testing.assert_array_equal(network.dual_gradient(states, np.zeros(0), nothing), np.zeros_like(network.theta))


# ---- blocks of atoms -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_atoms", [0, 1, 511, 512, 513, 1300])
def test_block_by_block_is_the_same_as_all_at_once(n_atoms, rng):
    network = Network.random((5, 7, 1), rng)
    x_as, x_dot_as, e_bar_a = rng.normal(size=(n_atoms, 5)), rng.normal(size=(n_atoms, 5)), rng.normal(size=n_atoms)
    states = network.forward(x_as)
    energy_a, dE_dx_as = network.energy_and_slope(x_as)
    np.testing.assert_allclose(network.energy(x_as), states.energy_a, atol=1e-14)
    np.testing.assert_allclose(energy_a, states.energy_a, atol=1e-14)
    np.testing.assert_allclose(dE_dx_as, network.slope(states), atol=1e-14)
    for x_dot in (x_dot_as, None):
        expected = network.dual_gradient(states, e_bar_a, x_dot)
        np.testing.assert_allclose(network.weight_gradient(x_as, e_bar_a, x_dot), expected, atol=1e-11)


@pytest.mark.parametrize("sizes", [(1, 1), (40, 15, 15, 1), (70, 40, 40, 1), (3000, 3000, 1)])
def test_blocks_cover_every_atom_once(sizes):
    rows = np.concatenate([np.arange(1300)[block] for block in blocks(1300, sizes)])
    np.testing.assert_array_equal(rows, np.arange(1300))


def test_the_number_of_threads_of_blas_does_not_change_a_bit():
    code = """
import sys, numpy as np
from bpnumba.network import Network
for sizes in [(40, 20, 20, 1), (100, 50, 50, 1), (200, 100, 100, 1), (30, 1)]:
    rng = np.random.default_rng(0)
    network, x, e = Network.random(sizes, rng), rng.normal(size=(1500, sizes[0])), rng.normal(size=1500)
    for array in (network.energy(x), *network.energy_and_slope(x), network.weight_gradient(x, e, x)):
        sys.stdout.buffer.write(array.tobytes())
"""
    one, two = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True,
            env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        ).stdout
        for threads in "12"
    )  # fmt: skip
    assert len(one) > 1e6
    assert one == two


# ---- weights ---------------------------------------------------------------------------------------------------------


def test_layers_are_views_that_cover_theta_once(rng):
    network = Network.random((4, 3, 2, 1), rng)
    assert len(network.theta) == n_weights((4, 3, 2, 1)) == 4 * 3 + 3 + 3 * 2 + 2 + 2 + 1
    assert [(W.shape, b.shape) for W, b in network.layers] == [((4, 3), (3,)), ((3, 2), (2,)), ((2, 1), (1,))]
    for W, b in network.layers:
        assert np.shares_memory(W, network.theta)
        assert np.shares_memory(b, network.theta)
        W += 1.0
        b += 1.0
    np.testing.assert_array_equal(network.theta, random_weights((4, 3, 2, 1), np.random.default_rng(7)) + 1.0)


def test_with_weights_does_not_copy(rng, x_as):
    network = Network.random((2, 3, 1), rng)
    everything = np.zeros(100)  # the weights of one element, somewhere in the vector that the optimizer moves
    part = network.with_weights(everything[10 : 10 + n_weights(network.sizes)])
    np.testing.assert_array_equal(part.energy(x_as), 0.0)
    everything[10:] = np.resize(network.theta, 90)
    np.testing.assert_array_equal(part.energy(x_as), network.energy(x_as))


def test_random_weights_give_z_of_variance_one(rng):
    sizes = (40, 500, 1)
    (W1, b1), (W2, b2) = views(random_weights(sizes, rng), sizes)
    assert np.std(rng.normal(size=(500, 40)) @ W1) == pytest.approx(1.0, abs=0.05)
    assert np.std(W2) == pytest.approx(500**-0.5, rel=0.15)
    assert np.std(b1) == pytest.approx(0.1, rel=0.15)
    assert b2 == 0.0


def test_random_weights_are_the_same_for_the_same_seed():
    one, other = (random_weights((3, 4, 1), np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("sizes", "activations", "n", "message"),
    [
        ((2, 3, 2), ("tanh", "identity"), 17, "sizes must be"),
        ((1,), (), 0, "sizes must be"),
        ((2, 0, 1), ("tanh", "identity"), 1, "sizes must be"),
        ((2, 3, 1), ("tanh",), 13, "2 layers need as many activations, not 1"),
        ((2, 3, 1), ("tnah", "identity"), 13, "unknown activation 'tnah'; known: tanh, logistic"),
        ((2, 3, 1), ("tanh", "identity"), 12, "theta must be 13 float64 numbers"),
    ],
)
def test_what_does_not_fit_together_is_refused(sizes, activations, n, message):
    with pytest.raises(ValueError, match=message):
        Network(sizes, activations, np.zeros(n))


def test_weights_of_other_precision_are_refused():
    with pytest.raises(ValueError, match="not float32"):
        Network((2, 1), ("identity",), np.zeros(3, dtype=np.float32))
