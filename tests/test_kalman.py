"""The Kalman filter against least squares, which it is for a linear model, and its forgetting."""

import numpy as np
import pytest

from bpnumba.training.kalman import LARGEST_VARIANCE, VARIANCE, Filter, forgetting

N_WEIGHTS = 7


@pytest.fixture
def random():
    return np.random.default_rng(3)


def linear(random, n, noise=0.3):
    """Residuals r(theta) = R theta - b with small noise: their mean square stays below 1."""
    R = random.normal(size=(n, N_WEIGHTS))
    return R, R @ random.normal(size=N_WEIGHTS) * 0.05 + noise * random.normal(size=n)


def passed(learned, R, b, order, size, lam=1.0):
    """The filter after all data, some rows at a time; every mean square must be below 1, or it counts less."""
    for rows in np.split(order, range(size, len(order), size)):
        r = R[rows] @ learned.theta - b[rows]
        assert np.square(r).mean() < 1.0
        learned.update(R[rows], r, lam)
    return learned


def full(P):
    """A symmetric matrix of which the lower triangle counts."""
    return np.tril(P) + np.tril(P, -1).T


@pytest.mark.parametrize("size", [1, 4, 50])
def test_a_linear_model_is_least_squares(random, size):
    """argmin |R theta - b|^2 + |theta - theta0|^2 / VARIANCE, and its covariance, from the normal equations."""
    R, b = linear(random, 50)
    theta0 = 0.05 * random.normal(size=N_WEIGHTS)
    H = R.T @ R + np.eye(N_WEIGHTS) / VARIANCE
    expected = np.linalg.solve(H, R.T @ b + theta0 / VARIANCE)
    for order in (np.arange(50), random.permutation(50)):
        learned = passed(Filter.of(theta0, [0, N_WEIGHTS]), R, b, order, size)
        np.testing.assert_allclose(learned.theta, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(full(learned.covariances[0]), np.linalg.inv(H), rtol=0, atol=1e-13)


def test_forgotten_data_count_less(random):
    """With one lambda, what came k updates before the last counts lambda^k: weighted least squares."""
    R, b = linear(random, 30)
    lam, theta0 = 0.9, np.zeros(N_WEIGHTS)
    learned = passed(Filter.of(theta0, [0, N_WEIGHTS]), R, b, np.arange(30), 1, lam)
    weight = lam ** np.arange(30)[::-1]
    H = R.T @ (weight[:, None] * R) + lam**29 * np.eye(N_WEIGHTS) / VARIANCE
    np.testing.assert_allclose(learned.theta, np.linalg.solve(H, R.T @ (weight * b)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(lam * full(learned.covariances[0]), np.linalg.inv(H), rtol=0, atol=1e-12)


def test_large_residuals_are_no_noise(random):
    """Then their mean square takes the place of their variance of 1."""
    R, theta0, r = random.normal(size=(5, N_WEIGHTS)), np.zeros(N_WEIGHTS), 10.0 * random.normal(size=5)
    learned = Filter.of(theta0, [0, N_WEIGHTS])
    learned.update(R, r, 1.0)
    H = R.T @ R / np.mean(r**2) + np.eye(N_WEIGHTS) / VARIANCE
    np.testing.assert_allclose(learned.theta, -np.linalg.solve(H, R.T @ r / np.mean(r**2)), rtol=0, atol=1e-12)


def test_elements_share_the_residuals_but_no_covariance(random):
    """Two blocks: the gain of each is its own P R^T over what all of them leave open."""
    R, r, bounds = random.normal(size=(4, N_WEIGHTS)), 0.1 * random.normal(size=4), [0, 3, N_WEIGHTS]
    learned = Filter.of(np.zeros(N_WEIGHTS), bounds)
    P = VARIANCE * np.eye(N_WEIGHTS)
    for _ in range(3):
        K = P @ R.T @ np.linalg.inv(np.eye(4) + R @ P @ R.T)
        before = learned.theta.copy()
        learned.update(R, r, 0.98)
        np.testing.assert_allclose(learned.theta, before - K @ r, rtol=0, atol=1e-13)
        P = (P - K @ R @ P) / 0.98
        P[:3, 3:] = P[3:, :3] = 0.0
        for first, last, block in zip(bounds[:-1], bounds[1:], learned.covariances, strict=True):
            np.testing.assert_allclose(full(block), P[first:last, first:last], rtol=0, atol=1e-14)


def test_covariances_stay_positive(random):
    """Thousands of updates of rows in float32, most of them in few directions, at a scale of real residuals."""
    learned, directions = Filter.of(np.zeros(N_WEIGHTS), [0, 4, N_WEIGHTS]), random.normal(size=(3, N_WEIGHTS))
    for k in range(4000):
        R = (100.0 * random.normal(size=(3, 3)) @ directions).astype(np.float32)
        learned.update(R, 0.01 * (R @ learned.theta) + random.normal(size=3), forgetting(k, 500, N_WEIGHTS, 3))
    for P in learned.covariances:
        assert np.linalg.eigvalsh(full(P)).min() > 0.0
        assert P.flags.f_contiguous
    assert np.isfinite(learned.theta).all()


def test_resumed_knows_what_the_data_say(random):
    R, b = linear(random, 50)
    whole = passed(Filter.of(np.zeros(N_WEIGHTS), [0, N_WEIGHTS]), R, b, np.arange(50), 5)
    resumed = Filter.resumed(whole.theta, [0, N_WEIGHTS], [R.T @ R])
    np.testing.assert_allclose(full(resumed.covariances[0]), full(whole.covariances[0]), rtol=0, atol=1e-13)
    theta = whole.theta.copy()
    for learned in (whole, resumed):
        learned.update(R[:4], R[:4] @ theta - b[:4], 0.9)
    np.testing.assert_allclose(resumed.theta, whole.theta, rtol=0, atol=1e-13)
    assert (resumed.theta != theta).all()


def test_weights_that_come_in_are_left_alone(random):
    theta = np.zeros(N_WEIGHTS)
    for learned in (Filter.of(theta, [0, N_WEIGHTS]), Filter.resumed(theta, [0, N_WEIGHTS], [np.eye(N_WEIGHTS)])):
        learned.update(random.normal(size=(2, N_WEIGHTS)), np.ones(2), 1.0)
        assert learned.theta.any()
    assert not theta.any()


@pytest.mark.parametrize("n_rows", [1.0, 300.0, 1e7])
@pytest.mark.parametrize("n_weights", [5, 900, 10**5])
@pytest.mark.parametrize("n_updates", [1, 2, 3, 5, 7, 8, 40, 10**5])
def test_forgetting_rises_to_one(n_updates, n_weights, n_rows):
    """Neither all is forgotten at once, nor anything for ever; after a few passes hardly anything."""
    updates = np.unique(np.linspace(0, 12 * n_updates, 60).astype(int))
    values = np.array([forgetting(int(k), n_updates, n_weights, n_rows) for k in updates])
    assert (values >= 0.5).all()
    assert (values < 1.0).all()
    assert (np.diff(values) >= 0).all()
    memory = 1.0 / (1.0 - forgetting(6 * n_updates, n_updates, n_weights, n_rows))
    assert memory > 100 * n_updates  # of the seventh pass: all passes before


def test_forgetting_remembers_some_residuals_per_weight_at_first():
    assert 1 / (1 - forgetting(0, 1000, 1000, 100)) == pytest.approx(30.0)
    assert 1 / (1 - forgetting(1000, 1000, 1000, 100)) == pytest.approx(1000.0)  # a pass
    assert 1 / (1 - forgetting(0, 100, 10**6, 100)) == pytest.approx(25.0)  # at most a quarter of a pass


def test_an_element_that_is_absent_neither_learns_nor_forgets(random):
    """Its covariance would grow without end, and its first frame would throw its weights far away."""
    learned = Filter.of(np.zeros(8), [0, 5, 8])
    for _ in range(2000):
        R = np.hstack([random.normal(size=(4, 5)), np.zeros((4, 3))])
        learned.update(R, random.normal(size=4), 0.95)
    np.testing.assert_array_equal(learned.covariances[1], VARIANCE * np.eye(3))
    assert not learned.theta[5:].any()


def test_directions_without_data_do_not_grow_without_end(random):
    learned = Filter.of(np.zeros(N_WEIGHTS), [0, N_WEIGHTS])
    one = np.eye(N_WEIGHTS)[:1]
    for _ in range(3000):
        learned.update(one, random.normal(size=1), 0.95)
    assert np.trace(learned.covariances[0]) < 1.1 * LARGEST_VARIANCE * N_WEIGHTS
