"""From data to a potential: L-BFGS-B on energies, forces and stresses.

`fit` reads labels, chooses symmetry functions, prepares the objective and lets `scipy.optimize.minimize` do the rest:
full batch, exact gradients, deterministic for a seed.  Frames set aside for validation decide which weights are kept
and when to stop.

Sources: R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16, 1190 (1995) (L-BFGS-B).
"""

import json
import sys
import time
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from bpnumba import plots
from bpnumba.evaluation import evaluate
from bpnumba.io import model_file
from bpnumba.potential import Potential
from bpnumba.reference_energies import reference_energies
from bpnumba.symmetry import DEFAULT_CUTOFF, SymmetryFunctions
from bpnumba.training import checkpoint, dataset
from bpnumba.training.objective import L2, Objective, Scales
from bpnumba.training.progress import History, Progress, Row

VALIDATE_EVERY = 10  # iterations; the errors of the validation frames cost a twentieth of an iteration then
MEMORY = 20  # curvature pairs of L-BFGS-B
LABELS = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Settings:
    """What a fit can be told; every value has a default that suits most data.

    Parameters
    ----------
    symmetry_functions : SymmetryFunctions, optional
        By default `SymmetryFunctions.select` chooses them for the training frames.
    cutoff : float
        Cutoff radius of the chosen functions in Angstrom.
    n_functions : int, optional
        Largest number of chosen functions per element.
    cutoff_function : str
        Name of the cutoff function of the chosen functions.
    hidden : tuple of int, or dict of symbol -> tuple
        Neurons of the hidden layers.
    activation : str
        Activation function of the hidden layers.
    scaling : str
        How symmetry functions are scaled: "standard", "minmax", "center" or "none".
    reference_energies : dict, optional
        Chemical symbol -> E0 in eV.  By default from isolated atoms in the data, else by least squares.
    keys : Keys
        Names of the labels in the data.
    energy_weight, forces_weight, stress_weight : float, optional
        Factors of the three parts of the loss.  By default 1 where there are labels; 0 leaves a part out; a positive
        number requests it, and it is an error if no frame has such a label.
    config_type_weights : dict, optional
        config_type -> factor of its frames in the loss.
    energy_scale, forces_scale, stress_scale : float, optional
        Errors that count as noise, in eV/atom, eV/Angstrom and eV/Angstrom^3; by default `Scales.from_data`.
    l2 : float
        Factor of the squared weights in the loss.
    seed : int
        Of the random weights and of the choice of validation frames.
    max_iterations : int
    valid_fraction : float
        Part of the training frames set aside for validation if none are given.
    patience : int
        Iterations without a better validation error after which the fit stops.
    checkpoint_every : int
        Iterations between two checkpoints.
    """

    symmetry_functions: SymmetryFunctions | None = None
    cutoff: float = 6.0
    n_functions: int | None = None
    cutoff_function: str = DEFAULT_CUTOFF
    hidden: tuple | dict = (15, 15)
    activation: str = "tanh"
    scaling: str = "standard"
    reference_energies: dict | None = None
    keys: dataset.Keys = dataset.Keys()
    energy_weight: float | None = None
    forces_weight: float | None = None
    stress_weight: float | None = None
    config_type_weights: dict | None = None
    energy_scale: float | None = None
    forces_scale: float | None = None
    stress_scale: float | None = None
    l2: float = L2
    seed: int = 0
    max_iterations: int = 1500
    valid_fraction: float = 0.1
    patience: int = 300
    checkpoint_every: int = 100

    def __post_init__(self):
        for name, lowest in (
            ("max_iterations", 0),
            ("patience", 1),
            ("checkpoint_every", 1),
            ("l2", 0),
            ("seed", 0),
            *((f"{label}_weight", 0) for label in LABELS),
        ):
            value = getattr(self, name)
            if value is not None and not value >= lowest:
                raise ValueError(f"{name} must be at least {lowest}, not {value}")

    @classmethod
    def of(cls, settings):
        """Settings from keywords, with an error that names an unknown one."""
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise TypeError(f"fit has no setting {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**settings)

    def plain(self):
        """All settings that change the result, as JSON can hold them; not those that only say when to stop or save."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("max_iterations", "checkpoint_every", "patience"):
            del values[name]
        if self.symmetry_functions is not None:
            values["symmetry_functions"] = self.symmetry_functions.functions.tolist()
        return json.loads(json.dumps(values))


@dataclass(frozen=True, eq=False)
class FitResult:
    """The potential with the smallest validation error, and how it came about."""

    potential: Potential
    history: History
    reason: str  #: why the fit ended
    files: dict = field(default_factory=dict)  #: what was written: kind -> path


def fit(train, valid=None, output=None, *, resume=False, stream=None, **settings):
    """Fit a Behler-Parrinello potential to energies, forces and stresses.

    Parameters
    ----------
    train : path, list of paths, list of ase.Atoms, or Dataset
        Anything that `ase.io.read` reads; labels as in `bpnumba.training.dataset.read`.
    valid : same, optional
        Validation frames; by default a random part of the training frames (`valid_fraction`).
    output : path, optional
        Model file, ``.npz``.  Beside it, under the same name: history (``.csv``), learning curves and parity plots
        (``.png``) and the checkpoint.  Without it nothing is written.
    resume : bool
        Continue from the checkpoint of `output`.  The weights, the best weights and the history go on; the curvature
        pairs of L-BFGS do not (scipy does not give them away), so a resumed fit takes a slightly different path.
    stream : text stream, optional
        Where progress goes; standard output by default.
    **settings
        Fields of `Settings`: ``cutoff``, ``hidden``, ``seed``, ``max_iterations``, ``forces_weight`` ...

    Returns
    -------
    FitResult
        With the potential of the smallest validation error; SIGINT (Ctrl-C) ends the fit with the best so far.

    Raises
    ------
    ValueError
        For broken labels or structures, or if a requested label is absent from every frame: file, frame and atom are
        named.
    TypeError
        For an unknown setting.

    Examples
    --------
    >>> result = bpnumba.fit("train.xyz", output="si.npz", cutoff=5.5, seed=1)      # doctest: +SKIP
    """
    settings, stream, start = Settings.of(settings), sys.stdout if stream is None else stream, time.perf_counter()
    files = names_beside(output)
    train, valid = prepare_data(train, valid, settings, stream)
    weights = label_weights(train, settings)
    state = None
    digests = {name: dataset.digest(part) for name, part in (("training", train), ("validation", valid))}
    fingerprint = checkpoint.Fingerprint(settings.plain(), digests)
    if resume:
        if output is None:
            raise ValueError("resume needs the output whose checkpoint it is to continue from")
        state = checkpoint.load(files["checkpoint"], fingerprint)

    potential = untrained(train, settings, stream)
    scales = Scales.from_data(train, settings)
    print(
        f"errors that count as noise: energy {1e3 * scales.energy:.3g} meV/atom, forces {1e3 * scales.forces:.3g} "
        f"meV/Angstrom, stress {scales.stress * 160.21766:.3g} GPa; weights {weights}",
        file=stream,
    )
    bonded = [part.subset(np.flatnonzero(~part.isolated_m)) for part in (train, valid)]
    objective, check = (
        Objective.prepare(potential, part, scales, weights, settings.config_type_weights) for part in bonded
    )
    print(
        f"{len(potential.theta):,} weights, {objective.n_residuals:,} residuals, Jacobian "
        f"{objective.memory / 1e6:.0f} MB, set-up {time.perf_counter() - start:.1f} s",
        file=stream,
    )

    run = Run(objective, check, settings, fingerprint, files.get("checkpoint"), state or first_state(potential))
    with Progress(settings.max_iterations, stream, every=50, first=run.state.iteration) as progress:
        reason = run.go(progress)
    potential = potential.with_weights(run.state.best_theta)
    return finish(potential, train, valid, run, reason, files, settings, stream)


# ---- before: data, model ---------------------------------------------------------------------------------------------


def prepare_data(train, valid, settings, stream):
    """Read, report and split."""
    train = dataset.read(train, settings.keys)
    if valid is None:
        train, valid = dataset.split(train, settings.valid_fraction, settings.seed)
    else:
        valid = dataset.read(valid, settings.keys)
    for name, part in (("training", train), ("validation", valid)):
        if len(part):
            print(f"{name}: {dataset.report(part)}", file=stream)
    if not len(valid):
        print("validation: no frames; the last weights are kept", file=stream)
    elif set(valid.species) - set(train.species):
        raise ValueError(
            f"validation frames hold {', '.join(sorted(set(valid.species) - set(train.species)))}, "
            f"which no training frame has"
        )
    return train, valid


def label_weights(train, settings):
    """Factors of energies, forces and stresses in the loss."""
    weights = []
    for label in LABELS:
        weight = getattr(settings, f"{label}_weight")
        present = bool(getattr(train, f"has_{label}_m").any())
        if weight:
            dataset.require(train, (label,))
        weights.append(float(present) if weight is None else float(weight))
    if not any(weights):
        raise ValueError("there is nothing to fit: no frame has energy, forces or stress, or all weights are 0")
    return tuple(weights)


def untrained(train, settings, stream):
    """Model with random weights: functions, scaling, reference energies."""
    frames = [atoms for atoms, isolated in zip(train.atoms, train.isolated_m) if not isolated]
    if not frames:
        raise ValueError("the training data hold nothing but isolated atoms")
    functions = settings.symmetry_functions
    if functions is None:
        functions = SymmetryFunctions.select(frames, settings.cutoff, settings.n_functions, settings.cutoff_function)
        print("\n".join(line for line in functions.report.splitlines() if "dropped" not in line), file=stream)
    E_m = np.where(train.has_energy_m, train.energy_m, np.nan)
    energies, origin = reference_energies(
        [atoms.numbers for atoms in train.atoms], E_m, functions.species, settings.reference_energies, train.isolated_m
    )
    for symbol in functions.species:
        print(f"reference energy {symbol}: {energies[symbol]:.6f} eV ({origin[symbol]})", file=stream)
    potential = Potential.untrained(
        functions, frames, settings.hidden, settings.activation, settings.scaling, energies, settings.seed
    )
    bound = E_m[~train.isolated_m] - baseline(frames, energies)
    binding, _ = reference_energies([atoms.numbers for atoms in frames], bound, functions.species)
    for network, symbol in zip(potential.networks, functions.species):
        network.layers[-1][1][:] = binding[symbol]  # the mean binding energy is not for random weights to find
    return potential


def baseline(frames, energies):
    """Sum of the reference energies of every frame."""
    return np.array([sum(energies[symbol] for symbol in atoms.symbols) for atoms in frames])


def names_beside(output):
    """Paths of what a fit writes, kind -> path; nothing without an output."""
    if output is None:
        return {}
    path = Path(output)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the model file must end in .npz")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write the model to")
    return {
        "model": path,
        "history": path.with_suffix(".csv"),
        "curves": path.with_name(f"{path.stem}_learning.png"),
        "parity": path.with_name(f"{path.stem}_parity.png"),
        "checkpoint": path.with_suffix(".checkpoint.npz"),
    }


# ---- the run ---------------------------------------------------------------------------------------------------------


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


# ---- after -----------------------------------------------------------------------------------------------------------


def finish(potential, train, valid, run, reason, files, settings, stream):
    """Errors of the best weights, model file, history, plots."""
    state = run.state
    print(f"ended: {reason}; kept the weights of iteration {state.best_iteration}", file=stream)
    parts = {name: part for name, part in (("training", train), ("validation", valid)) if len(part)}
    errors = {name: evaluate(potential, part) for name, part in parts.items()}
    for name, part in errors.items():
        print(f"{name} errors\n{part}", file=stream)
    info = {
        "training": {
            "iterations": state.iteration,
            "best_iteration": state.best_iteration,
            "reason": reason,
            "seconds": state.history.rows[-1].elapsed if state.history.rows else 0.0,
            "settings": settings.plain() | {"symmetry_functions": None},
            "errors": {name: part.to_json() for name, part in errors.items()},
        }
    }
    potential = replace(potential, info=info)
    if files:
        model_file.save(potential, files["model"])
        state.history.save(files["history"])
        plots.learning_curves(state.history, files["curves"])
        name, part = ("validation", valid) if len(valid) else ("training", train)
        plots.parity(potential, part, files["parity"], title=f"{name} frames")
        print("wrote " + ", ".join(str(files[kind]) for kind in ("model", "history", "curves", "parity")), file=stream)
    return FitResult(potential, state.history, reason, files)
