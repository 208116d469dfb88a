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
        self.stopped = ""  # why `after` ended the fit

    def go(self, progress):
        """Minimize; returns why it ended."""
        self.progress = progress
        left = self.settings.max_iterations - self.state.iteration
        if left <= 0 and self.state.iteration:
            return f"{self.settings.max_iterations} iterations were done before"
        try:
            if self.state.iteration == 0:
                self.after(self.state.theta, iteration=0)
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
            if not self.state.history.rows:
                raise
            reason = "interrupted"
        self.judge()
        if self.path is not None:
            checkpoint.save(self.path, self.state, self.fingerprint)
        return reason

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
        state.history.append(Row(iteration, loss, tuple(errors), elapsed=time.perf_counter() - self.start))
        self.state = replace(state, iteration=iteration, theta=theta.copy())
        if iteration % VALIDATE_EVERY == 0:
            self.judge()
        self.progress.update(state.history.rows[-1])
        if self.path is not None and iteration and iteration % self.settings.checkpoint_every == 0:
            checkpoint.save(self.path, self.state, self.fingerprint)
        if iteration % VALIDATE_EVERY == 0 and iteration - self.state.best_iteration >= self.settings.patience:
            self.stopped = f"no better validation error for {iteration - self.state.best_iteration} iterations"
            raise StopIteration

    def judge(self):
        """Validate the weights of the last iteration, unless that is done; keep them if they are the best so far.

        Without validation frames the last weights are the best.
        """
        state, score = self.state, -float("inf")
        if self.check.chunks:
            if not np.isnan(state.history.rows[-1].valid).all():
                return
            score, errors = self.check.validate(state.theta)
            state.history.rows[-1] = state.history.rows[-1]._replace(valid=tuple(errors))
        if score < state.best_score or not self.check.chunks:
            self.state = replace(state, best_theta=state.theta, best_iteration=state.iteration, best_score=score)
