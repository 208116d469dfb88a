"""The run of a fit: phases of optimization, with validation, best weights, checkpoints, limits and interrupts."""

import time
from dataclasses import replace

import numpy as np
from numpy.linalg import LinAlgError

from bpnumba.training.checkpoint import State
from bpnumba.training.optimizers import NOT_FINITE, OPTIMIZERS, PHASES, PhaseOver
from bpnumba.training.progress import Row

VALIDATE_EVERY = 10  # iterations; the errors of the validation frames cost a twentieth of an iteration then
BETTER = {"kalman": 0.03, "gn-lbfgs": 0.02, "lbfgs": 0.0}  # relative; a smaller gain is no reason to go on
PATIENCE = {"kalman": 1, "gn-lbfgs": 30}  # passes, iterations without a better score; of "lbfgs" the settings say it
LINES = {"kalman": 1, "gn-lbfgs": 30, "lbfgs": 50}  # a line of progress after so many


INTERRUPTED = "interrupted"
LONGEST_UNSAVED = 30.0  # seconds


class FitOver(Exception):
    """A limit of the whole fit is reached; the message says which."""


class Run:
    """Phases of an optimizer around an objective.

    `state` is what a checkpoint holds; after `go` it has the best weights.

    Parameters
    ----------
    objective, check : Objective
        Of the training frames and of the validation frames.
    settings : Settings
    seed : int
        Of the order of frames.
    saved : callable
        Writes a `checkpoint.State`, or does nothing.
    state : checkpoint.State
    """

    def __init__(self, objective, check, settings, seed, saved, state):
        self.check, self.settings, self.seed, self.saved, self.state = check, settings, seed, saved, state
        self.objective = objective.with_l2(state.l2)
        self.saved_at = time.perf_counter()
        self.mark = state.in_phase, state.best_score  # when the score last became clearly better, and to what
        self.start = time.perf_counter() - (state.history.rows[-1].elapsed if state.history.rows else 0.0)

    @classmethod
    def first_state(cls, potential, objective, optimizer):
        """State before the first iteration."""
        theta = potential.theta
        return State(0, theta, theta.copy(), 0, float("inf"), OPTIMIZERS[optimizer][0], 0, objective.l2)

    def go(self, progress, optimizer):
        """Run all phases that are left; returns why the fit ended."""
        self.progress, names = progress, OPTIMIZERS[optimizer]
        names = names[names.index(self.state.phase) :] if self.state.phase in names else ()
        reason = "the fit had come to its end before"
        try:
            if not self.state.history.rows:
                self.begin()
            for name in names:
                if name != self.state.phase:
                    self.state = replace(self.state, phase=name, in_phase=0, theta=self.state.best_theta.copy())
                    if not self.check.chunks:  # losses of two phases are not alike: only one has the regularization
                        self.state = replace(self.state, best_score=float("inf"))
                    self.mark = 0, self.state.best_score
                progress.every = LINES[name]
                try:
                    self._check_limits()
                    PHASES[name](self)
                except PhaseOver as over:
                    reason = str(over)
                    self.judge()
                    if name != names[-1]:
                        progress.write(f"{name} ended: {reason}; best so far: iteration {self.state.best_iteration}")
            self.state = replace(self.state, phase="done")
        except FitOver as over:
            reason = str(over)
        except (FloatingPointError, LinAlgError) as fault:
            if not self.state.best_iteration:
                raise
            reason = f"{self.state.phase} went astray: {fault}"  # the best weights are good
        except KeyboardInterrupt:
            if not self.state.history.rows:
                raise
            reason = INTERRUPTED
        self.judge()
        self.saved(self.state)
        return reason

    def begin(self):
        """Errors before the first iteration."""
        loss, _, errors = self.objective.evaluate(self.state.theta)
        self.state.history.append(Row(0, loss, tuple(errors), elapsed=self.elapsed))
        self.judge()
        self.progress.update(self.state.history.rows[-1])

    def after(self, theta, loss, errors, judge=False):
        """After an iteration: history, best weights, checkpoint; may raise `PhaseOver` or `FitOver`."""
        state, settings = self.state, self.settings
        if not (np.isfinite(loss) and np.isfinite(theta).all()):
            raise FloatingPointError(NOT_FINITE)
        iteration = state.iteration + 1
        state.history.append(Row(iteration, loss, tuple(errors), elapsed=self.elapsed))
        self.state = replace(state, iteration=iteration, in_phase=state.in_phase + 1, theta=theta.copy())
        judge = judge or iteration % VALIDATE_EVERY == 0  # so that lines of progress have it
        if judge:
            self.judge()
        self.progress.update(self.state.history.rows[-1])
        late = time.perf_counter() - self.saved_at > LONGEST_UNSAVED
        if self.state.phase == "kalman" or late or iteration % settings.checkpoint_every == 0:
            self.saved(self.state)
            self.saved_at = time.perf_counter()
        self._check_limits()
        waited = self.state.in_phase - self.mark[0]
        if judge and waited >= PATIENCE.get(self.state.phase, settings.patience):
            unit = "passes" if self.state.phase == "kalman" else "iterations"
            raise PhaseOver(f"no better {'validation error' if self.check.chunks else 'loss'} for {waited} {unit}")

    def judge(self):
        """Score the weights of the last iteration, unless that is done; keep them if they are the best so far.

        The score is the robust loss over the validation frames; without these, the loss in training.
        """
        state = self.state
        score, row = state.history.rows[-1].loss, state.history.rows[-1]
        if self.check.chunks:
            if not np.isnan(row.valid).all():
                return
            score, errors = self.check.validate(state.theta)
            state.history.rows[-1] = row._replace(valid=tuple(errors))
        elif not state.in_phase:  # the last loss is of another phase
            return
        if score < state.best_score:
            best = {"best_theta": state.theta.copy(), "best_iteration": state.iteration, "best_score": score}
            self.state = replace(state, **best)
        if score < (1.0 - BETTER.get(state.phase, 0.0)) * self.mark[1]:
            self.mark = state.in_phase, score

    def choose(self, objective):
        """Go on with another strength of the regularization."""
        self.objective = objective
        self.state = replace(self.state, l2=objective.l2)

    @property
    def elapsed(self):
        """Seconds since the fit began, of all its runs."""
        return time.perf_counter() - self.start

    @property
    def is_late(self):
        """Whether the time for the fit is over."""
        return self.settings.max_seconds is not None and self.elapsed >= self.settings.max_seconds

    def _check_limits(self):
        if self.state.iteration >= self.settings.max_iterations:
            raise FitOver(f"{self.settings.max_iterations} iterations")
        if self.is_late:
            raise FitOver(f"{self.settings.max_seconds:g} s")
