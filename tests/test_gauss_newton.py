"""Coordinates in which a loss is nearly a sphere: back and forth, gradients, and a quadratic loss in one step."""

import numpy as np
import pytest
from scipy.optimize import minimize
from test_rows import FACTORS, frames, potential_of

from bpnumba.training.dataset import Dataset
from bpnumba.training.gauss_newton import DAMPING, Sphere
from bpnumba.training.objective import Objective


class Quadratic:
    """(|R theta - b|^2 / N + l2 |theta|^2), whose Gauss-Newton curvature is exact."""

    def __init__(self, n=40, n_weights=12, l2=0.01, condition=1e4):
        random = np.random.default_rng(1)
        scale = np.geomspace(1.0, condition, n_weights)
        self.R, self.b, self.l2 = random.normal(size=(n, n_weights)) * scale, random.normal(size=n), l2

    def curvature(self, theta):
        return self.R.T @ self.R / len(self.R) + self.l2 * np.eye(len(theta))

    def loss_and_gradient(self, theta):
        r, n = self.R @ theta - self.b, len(self.R)
        return r @ r / n + self.l2 * theta @ theta, 2 * (self.R.T @ r / n + self.l2 * theta)

    def solution(self):
        H = self.curvature(np.zeros(self.R.shape[1]))
        return np.linalg.solve(H, self.R.T @ self.b / len(self.R))


@pytest.fixture(scope="module")
def objective():
    return Objective.prepare(potential_of(hidden=(3,)), Dataset.from_frames(frames()), FACTORS)


def test_back_and_forth(objective):
    theta = objective.potential.theta
    sphere, H = Sphere.of(objective.curvature(theta), theta), objective.curvature(theta)
    np.testing.assert_array_equal(sphere.theta(np.zeros_like(theta)), theta)
    damped = H + DAMPING * np.diag(np.diag(H))
    np.testing.assert_allclose(sphere.lower @ sphere.lower.T, damped, atol=1e-9 * np.abs(damped).max())
    z = np.random.default_rng(0).normal(size=len(theta))
    np.testing.assert_allclose(sphere.lower.T @ (sphere.theta(z) - theta), z, atol=1e-9)


def test_gradient_against_differences(objective):
    theta, random, h = objective.potential.theta, np.random.default_rng(2), 1e-4
    sphere = Sphere.of(objective.curvature(theta), theta)
    z = 0.1 * random.normal(size=len(sphere.origin))
    gradient = sphere.gradient(objective.loss_and_gradient(sphere.theta(z))[1])
    for direction in random.normal(size=(4, len(z))):
        by = [objective.loss_and_gradient(sphere.theta(z + step * h * direction))[0] for step in (-2, -1, 1, 2)]
        slope = (by[0] - 8 * by[1] + 8 * by[2] - by[3]) / (12 * h)
        assert gradient @ direction == pytest.approx(slope, rel=1e-6, abs=1e-7 * np.abs(gradient).max())


def test_origin_is_a_copy(objective):
    theta = objective.potential.theta
    sphere = Sphere.of(objective.curvature(theta), theta)
    theta += 1.0
    np.testing.assert_array_equal(sphere.origin, objective.potential.theta)


def test_linear_least_squares_needs_one_step():
    """A Newton step in z is minus half the gradient; damping leaves less than its share of the way."""
    problem, theta = Quadratic(), np.ones(12)
    sphere = Sphere.of(problem.curvature(theta), theta)
    lowest, highest = (problem.loss_and_gradient(at)[0] for at in (problem.solution(), theta))
    step = sphere.theta(-0.5 * sphere.gradient(problem.loss_and_gradient(theta)[1]))
    assert problem.loss_and_gradient(step)[0] - lowest < (2 * DAMPING) ** 2 * (highest - lowest)


def test_l_bfgs_needs_few_steps_where_it_needed_many():
    problem, start = Quadratic(), np.ones(12)
    sphere, lowest = Sphere.of(problem.curvature(start), start), problem.loss_and_gradient(problem.solution())[0]

    def in_z(z):
        loss, gradient = problem.loss_and_gradient(sphere.theta(z))
        return loss, sphere.gradient(gradient)

    options = {"maxiter": 6}
    with_sphere = minimize(in_z, np.zeros(12), method="L-BFGS-B", jac=True, options=options)
    without = minimize(problem.loss_and_gradient, start, method="L-BFGS-B", jac=True, options=options)
    assert with_sphere.fun - lowest < 1e-4 * lowest < without.fun - lowest
