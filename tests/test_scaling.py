"""Scaling of symmetry functions: what every mode promises, the chain rule, and bad input."""

import warnings

import numpy as np
import pytest

from bpnumba.scaling import MODES, Scaling


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def G_as(rng):
    """Columns of very different size, as symmetry functions are."""
    return rng.uniform(0.0, 1.0, size=(50, 4)) * [1e-4, 1.0, 30.0, 1e3] + [0.0, 5.0, -1.0, 1e3]


@pytest.fixture(params=sorted(MODES))
def scaling(request, G_as):
    return Scaling.from_values(G_as, request.param)


def test_standard_gives_mean_zero_and_variance_one(G_as):
    x_as = Scaling.from_values(G_as).apply(G_as)
    np.testing.assert_allclose(x_as.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(x_as.std(axis=0), 1.0, atol=1e-12)


def test_minmax_fills_minus_one_to_one(G_as):
    x_as = Scaling.from_values(G_as, "minmax").apply(G_as)
    np.testing.assert_allclose(x_as.min(axis=0), -1.0, atol=1e-12)
    np.testing.assert_allclose(x_as.max(axis=0), 1.0, atol=1e-12)


def test_center_moves_only(G_as):
    np.testing.assert_allclose(Scaling.from_values(G_as, "center").apply(G_as), G_as - G_as.mean(axis=0), atol=1e-12)


def test_none_changes_nothing(G_as):
    np.testing.assert_array_equal(Scaling.from_values(G_as, "none").apply(G_as), G_as)


def test_range_is_remembered(scaling, G_as):
    np.testing.assert_array_equal(scaling.minimum_s, G_as.min(axis=0))
    np.testing.assert_array_equal(scaling.maximum_s, G_as.max(axis=0))


def test_pushforward_is_the_derivative_of_apply(scaling, G_as, rng):
    G_dot_as = rng.normal(size=G_as.shape) * scaling.factor_s**-1
    difference = 0.5 * (scaling.apply(G_as + G_dot_as) - scaling.apply(G_as - G_dot_as))  # exact: the map is linear
    np.testing.assert_allclose(scaling.pushforward(G_dot_as), difference, atol=1e-9)


def test_pullback_is_the_transpose_of_pushforward(scaling, G_as, rng):
    G_dot_as, dE_dx_as = rng.normal(size=G_as.shape), rng.normal(size=G_as.shape)
    there = np.sum(scaling.pushforward(G_dot_as) * dE_dx_as)
    assert there == pytest.approx(np.sum(G_dot_as * scaling.pullback(dE_dx_as)), rel=1e-12)


def test_no_atoms_can_be_scaled(scaling):
    assert scaling.apply(np.zeros((0, 4))).shape == (0, 4)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_constant_functions_have_factor_one_and_one_warning_that_names_them(G_as, mode):
    G_as[:, 1] = 0.0
    G_as[:, 3] = 0.1 + 1e-16 * np.arange(50)  # constant but for rounding
    with pytest.warns(UserWarning, match="2 of 4 symmetry functions are constant.*: G2 H, G4 HH$") as caught:
        scaling = Scaling.from_values(G_as, mode, names=["a", "G2 H", "b", "G4 HH"])
    assert len(caught) == 1
    np.testing.assert_array_equal(scaling.factor_s[[1, 3]], 1.0)
    x_as = scaling.apply(G_as)
    assert np.isfinite(x_as).all()
    assert np.ptp(x_as[:, [1, 3]], axis=0).max() < 1e-12


def test_single_atom_is_constant_in_everything():
    with pytest.warns(UserWarning, match="2 of 2 symmetry functions are constant.*: 0, 1$"):
        scaling = Scaling.from_values(np.array([[3.0, 4.0]]))
    np.testing.assert_array_equal(scaling.apply(np.array([[3.0, 5.0]])), [[0.0, 1.0]])


def test_ordinary_data_give_no_warning(G_as):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Scaling.from_values(G_as)


def test_no_atoms_determine_no_scaling():
    with pytest.raises(ValueError, match="at least one atom"):
        Scaling.from_values(np.zeros((0, 3)))


def test_unknown_mode_is_refused(G_as):
    with pytest.raises(ValueError, match="unknown scaling mode 'sigma'; known: standard, minmax, center, none"):
        Scaling.from_values(G_as, "sigma")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_by_name(G_as, bad):
    G_as[7, 2] = bad
    with pytest.raises(ValueError, match=r"not finite: b$"):
        Scaling.from_values(G_as, names=["G2 H", "a", "b", "c"])
