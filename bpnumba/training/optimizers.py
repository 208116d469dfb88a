"""Three ways down: the Kalman filter, L-BFGS in Gauss-Newton coordinates, and plain L-BFGS.

A phase is a function of a `bpnumba.training.run.Run`, which has the objective, the weights of now and the settings;
after each iteration it calls `Run.after`, which validates, keeps the best weights, and ends the phase by an exception.
`OPTIMIZERS` says which phases follow each other; each begins at the best weights so far.

R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16, 1190 (1995) (L-BFGS-B).
"""

import numpy as np
from scipy.optimize import minimize

from bpnumba.network import n_weights
from bpnumba.training.gauss_newton import Sphere
from bpnumba.training.kalman import ROWS_PER_UPDATE, Filter, forgetting
from bpnumba.training.objective import added
from bpnumba.training.targets import Rmse

PLAIN_FIRST = 80  # iterations: the curvature at random weights says nothing
ROUND = 30  # iterations in one set of coordinates
STRENGTHS = (1.0, 0.1, 10.0)  # of the regularization, in the first round, in units of the usual one
HOPELESS, ENOUGH = 0.05, 1000
"""A first trial that is worse by this part, of at least so many validation residuals, needs no further ones."""
MOST_OF_ELEMENT, MOST_WEIGHTS = 5000, 8000
"""For the Kalman filter, with a matrix over the weights of each element, and for Gauss-Newton coordinates, with one
over all weights: their cost grows with the square and the cube."""
NOT_FINITE = "the loss is not finite; lower the weights of extreme frames or remove them"


class PhaseOver(Exception):
    """A phase has done what it can; the message says why."""


def kalman(run):
    """Passes of the extended Kalman filter over the training frames, in random order."""
    objective, theta = run.objective, run.state.theta
    bounds = bounds_of(objective.potential)
    pieces, begun = objective.pieces(ROWS_PER_UPDATE), run.state.in_phase
    if begun >= run.settings.max_epochs:
        raise PhaseOver(f"{begun} passes of the Kalman filter")
    if begun:  # resumed: what was learned on the way is lost, but what the data say of these weights is near to it
        learned = Filter.resumed(theta, bounds, objective.curvature_of_elements(theta))
    else:
        learned = Filter.of(theta, bounds)
    for epoch in range(begun, run.settings.max_epochs):
        random, partials, interrupt = np.random.default_rng((run.seed, epoch)), [], None
        try:
            for k, piece in enumerate(random.permutation(len(pieces))):
                seed = int(random.integers(2**32))
                R, r, part = objective.linearize(learned.theta, pieces[piece], ROWS_PER_UPDATE, seed)
                if not np.isfinite(part.loss):
                    raise FloatingPointError(NOT_FINITE)
                if len(r):  # frames may lack labels that count
                    learned.update(R, r, forgetting(epoch * len(pieces) + k, len(pieces), len(theta), len(r)))
                partials.append(part)
                run.progress.within(k + 1, len(pieces))
                if run.is_late:
                    break
        except KeyboardInterrupt as wish:  # what was learned in this pass is kept
            interrupt = wish
        try:
            if partials:
                total = added(partials)
                loss = total.loss / objective.n_residuals * len(pieces) / len(partials)
                run.after(learned.theta, loss, Rmse.of(total.sums), judge=True)
        finally:
            if interrupt is not None:
                raise interrupt
    raise PhaseOver(f"{run.settings.max_epochs} passes of the Kalman filter")


def lbfgs(run):
    """L-BFGS-B in the weights themselves."""
    descend(run, run.objective, run.settings.max_iterations)
    raise PhaseOver("L-BFGS found no lower loss")


def gauss_newton(run):
    """Rounds of L-BFGS-B in coordinates in which the loss is nearly a sphere."""
    plain = PLAIN_FIRST if run.state.iteration == run.state.in_phase else 0
    if run.state.in_phase < plain:
        descend(run, run.objective, plain - run.state.in_phase)
    if run.state.in_phase <= plain and run.settings.l2 is None and run.check.chunks:
        choose_l2(run)
    while True:
        before, theta = run.state.in_phase, run.state.theta
        descend(run, run.objective, ROUND, Sphere.of(run.objective.curvature(theta), theta))
        if run.state.in_phase == before:
            raise PhaseOver("L-BFGS found no lower loss")


def choose_l2(run):
    """Try a few strengths of the regularization for one round each; the one of the best validation is kept."""
    start, usual, tried = run.state.theta, run.objective.l2, []
    H = run.objective.with_l2(0.0).curvature(start)
    for strength in STRENGTHS:
        objective = run.objective.with_l2(strength * usual)
        sphere = Sphere.of(H + objective.l2 * np.eye(len(H)), start)
        theta = descend(run, objective, ROUND, sphere, trial=True)
        score, _ = run.check.validate(theta)
        run.progress.write(f"l2 {objective.l2:.3g}: validation loss {score:.4g}")
        if not tried and run.check.n_residuals >= ENOUGH and score > (1.0 + HOPELESS) * run.state.best_score:
            raise PhaseOver("a round in Gauss-Newton coordinates does not lower the validation error")
        tried.append((score, objective, theta))
        if len(tried) == 2 and score < tried[0][0]:
            break  # weaker is better, so stronger is not
        if run.is_late:
            break
    _, objective, theta = min(tried, key=lambda entry: entry[0])
    run.choose(objective)
    loss, _, errors = objective.evaluate(theta)
    run.after(theta, loss, errors, judge=True)


def descend(run, objective, n_iterations, sphere=None, trial=False):
    """Iterations of L-BFGS-B from the weights of the run; returns the last weights.  A trial does not count."""
    seen = {}

    def of(x):
        theta = x.copy() if sphere is None else sphere.theta(x)
        loss, gradient, errors = objective.evaluate(theta)
        if not (np.isfinite(loss) and np.isfinite(gradient).all()):
            raise FloatingPointError(NOT_FINITE)
        seen.clear()
        seen[x.tobytes()] = theta, loss, errors
        return loss, gradient if sphere is None else sphere.gradient(gradient)

    def after(x):
        if x.tobytes() not in seen:
            of(x)
        if not trial:
            run.after(*seen[x.tobytes()])
        elif run.is_late:
            raise StopIteration

    options = {"maxiter": n_iterations, "maxfun": 20 * n_iterations, "maxcor": 20 if sphere is None else 30,
               "ftol": 1e-12, "gtol": 1e-8}  # fmt: skip
    start = run.state.theta if sphere is None else np.zeros_like(run.state.theta)
    x = minimize(of, start, method="L-BFGS-B", jac=True, callback=after, options=options).x
    return x if sphere is None else sphere.theta(x)


def bounds_of(potential):
    """Where the weights of each element begin and end."""
    return np.cumsum([0, *(n_weights(network.sizes) for network in potential.networks)]).tolist()


PHASES = {"kalman": kalman, "gn-lbfgs": gauss_newton, "lbfgs": lbfgs}

OPTIMIZERS = {
    "kalman+gn-lbfgs": ("kalman", "gn-lbfgs"),
    "kalman": ("kalman",),
    "gn-lbfgs": ("gn-lbfgs",),
    "lbfgs": ("lbfgs",),
}
"""Name -> phases, one after the other."""


def choose(potential):
    """The optimizer for so many weights: matrices over the weights of an element where they are not too large."""
    if max(np.diff(bounds_of(potential))) > MOST_OF_ELEMENT:
        return "lbfgs"
    return "kalman" if len(potential.theta) > MOST_WEIGHTS else "kalman+gn-lbfgs"
