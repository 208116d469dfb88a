"""The run of an optimizer: L-BFGS-B around an objective, with validation, early stopping, checkpoints and interrupts.

Sources: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16, 1190 (1995) (L-BFGS-B).
"""

import time
from dataclasses import replace

import numpy as np
from scipy.optimize import minimize

from bpnumba.training import checkpoint
from bpnumba.training.progress import Row

VALIDATE_EVERY = 10  # iterations; the errors of the validation frames cost a twentieth of an iteration then
MEMORY = 20  # curvature pairs of L-BFGS-B


def first_state(potential):
    """State before the first iteration."""
    theta = potential.theta
    return checkpoint.State(0, theta, theta.copy(), 0, float("inf"))


class Run:
    """L-BFGS-B around an objective: validation, early stopping, checkpoints, interrupts.

    `state` is what a checkpoint holds; after `go` it has the best weights.
    """

    def __init__(self, objective, check, settings, fingerprint, path, state):
        self.objective, self.check, self.settings = objective, check, settings
        self.fingerprint, self.path, self.state = fingerprint, path, state
        self.start = time.perf_counter() - (state.history.rows[-1].elapsed if state.history.rows else 0.0)
        self.last = None  # (weights, loss, errors) of the last evaluation

    def go(self, progress):
        """Minimize; returns why it ended."""
        self.progress = progress
        left = self.settings.max_iterations - self.state.iteration
        if left <= 0:
            return f"{self.settings.max_iterations} iterations were done before"
        if self.state.iteration == 0:
            self.after(self.state.theta, iteration=0)
        try:
            options = {"maxiter": left, "maxfun": 20 * left, "maxcor": MEMORY, "ftol": 1e-12, "gtol": 1e-8}
            result = minimize(
                self.loss_and_gradient,
                self.state.theta,
                method="L-BFGS-B",
                jac=True,
                callback=self.after,
                options=options,
            )
            limit = f"{self.settings.max_iterations} iterations"
            reason = self.stopped or (limit if result.nit >= left else result.message)
        except KeyboardInterrupt:
            reason = "interrupted"
        if self.path is not None:
            checkpoint.save(self.path, self.state, self.fingerprint)
        return reason

    stopped = ""

    def loss_and_gradient(self, theta):
        """What scipy minimizes; remembers the errors, so that showing them costs nothing."""
        loss, gradient, errors = self.objective.evaluate(theta)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise FloatingPointError("the loss is not finite; lower the weights of extreme frames or remove them")
        self.last = theta.copy(), loss, errors
        return loss, gradient

    def after(self, theta, iteration=None):
        """After an iteration: history, best weights, checkpoint, stop."""
        state = self.state
        iteration = state.iteration + 1 if iteration is None else iteration
        if self.last is None or not np.array_equal(self.last[0], theta):
            self.loss_and_gradient(theta)
        _, loss, errors = self.last
        state = replace(state, iteration=iteration, theta=theta.copy())
        valid = (np.nan,) * 3
        if not self.check.chunks:
            state = replace(state, best_theta=state.theta, best_iteration=iteration, best_score=loss)
        elif iteration % VALIDATE_EVERY == 0 or iteration == self.settings.max_iterations:
            score, valid = self.check.validate(theta)
            if score < state.best_score:
                state = replace(state, best_theta=state.theta, best_iteration=iteration, best_score=score)
        row = Row(iteration, loss, tuple(errors), tuple(valid), time.perf_counter() - self.start)
        state.history.append(row)
        self.state = state
        self.progress.update(row)
        if self.path is not None and iteration and iteration % self.settings.checkpoint_every == 0:
            checkpoint.save(self.path, state, self.fingerprint)
        if iteration - state.best_iteration >= self.settings.patience:
            self.stopped = f"no better validation error for {self.settings.patience} iterations"
            raise StopIteration
