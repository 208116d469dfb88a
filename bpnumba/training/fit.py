"""From data to a potential: L-BFGS-B on energies, forces and stresses.

`fit` reads labels, chooses symmetry functions, prepares the objective and starts the run: full batch, exact gradients,
deterministic for a seed.  Frames set aside for validation decide which weights are kept and when to stop.
"""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bpnumba import plots
from bpnumba.evaluation import evaluate
from bpnumba.io import archive, model_file
from bpnumba.potential import Potential
from bpnumba.reference_energies import reference_energies
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training import checkpoint, dataset
from bpnumba.training.objective import Objective, Scales, baseline
from bpnumba.training.progress import History, Progress, Steps
from bpnumba.training.run import Run, first_state
from bpnumba.training.settings import LABELS, Settings
from bpnumba.units import GPA, MEV


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
        Anything that `ase.io.read` reads, and files of RuNNer and n2p2; labels as in `bpnumba.training.dataset.read`.
        Frames whose ``info["set"]`` is "test" are never trained on.
    valid : same, optional
        Validation frames; by default the training frames with ``info["set"] == "test"``, and if there are none, a
        random part (`valid_fraction`).
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
    weights = label_weights(train, valid, settings)
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
        f"errors that count as noise: energy {MEV * scales.energy:.3g} meV/atom, forces {MEV * scales.forces:.3g} "
        f"meV/Angstrom, stress {GPA * scales.stress:.3g} GPa; factors in the loss {weights}",
        file=stream,
    )
    bonded = [part.subset(np.flatnonzero(~part.isolated_m)) for part in (train, valid)]
    prepared = []
    for part, name in zip(bonded, ("training", "validation")):
        with Steps(f"symmetry functions and Jacobian, {name}", stream) as steps:
            factors = settings.config_type_weights
            prepared.append(Objective.prepare(potential, part, scales, weights, factors, report=steps))
    objective, check = prepared
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
    """Read, report and split; labels whose weight is 0 are not looked for."""
    keys = settings.keys
    for label in LABELS:
        if getattr(settings, f"{label}_weight") == 0:
            keys = keys._replace(**dict.fromkeys(("stress", "virial") if label == "stress" else (label,)))
    train = dataset.read(train, keys, units=settings.units)
    marked = np.array([str(atoms.info.get("set")) == "test" for atoms in train.atoms])
    train, test = (train.subset(np.flatnonzero(marked == is_test)) for is_test in (False, True))
    if not len(train):
        raise ValueError(f"all {len(test)} frames are marked set=test: there is no frame to train on")
    if len(test):
        use = "used for validation" if valid is None else "left out of training"
        print(f"{len(test)} frames are marked set=test: {use}", file=stream)
    if valid is not None:
        valid = dataset.read(valid, keys, units=settings.units)
    elif len(test):
        valid = test
    else:
        train, valid = dataset.split(train, settings.valid_fraction, settings.seed)
    bonded = set(train.subset(np.flatnonzero(~train.isolated_m)).species)
    alone = [m for m, atoms in enumerate(train.atoms) if train.isolated_m[m] and not bonded.issuperset(atoms.symbols)]
    for m in alone:
        print(f"{train.source_m[m]}: left out, no other frame holds {train.atoms[m].symbols}", file=stream)
    train = train.subset(np.setdiff1d(np.arange(len(train)), alone))
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


def label_weights(train, valid, settings):
    """Factors of energies, forces and stresses in the loss; an error if they leave nothing to fit or to validate."""
    weights = []
    for label in LABELS:
        weight = getattr(settings, f"{label}_weight")
        present = bool(getattr(train, f"has_{label}_m").any())
        if weight:
            dataset.require(train, (label,))
        weights.append(float(present) if weight is None else float(weight))
    if not any(weights):
        raise ValueError("there is nothing to fit: no frame has energy, forces or stress, or all weights are 0")
    factors = settings.config_type_weights or {}
    unknown = sorted(set(factors) - {*train.config_type_m, *valid.config_type_m})
    if unknown:
        raise ValueError(
            f"weights are given for config_type {', '.join(unknown)}, which no frame has; "
            f"there are {', '.join(sorted(set(train.config_type_m)))}"
        )
    for name, part in (("training", train), ("validation", valid)):
        counted = ~part.isolated_m & np.array([factors.get(kind, 1.0) > 0 for kind in part.config_type_m], bool)
        if len(part) and not any(
            weight and (getattr(part, f"has_{label}_m") & counted).any() for weight, label in zip(weights, LABELS)
        ):
            raise ValueError(
                f"no {name} frame has a label that counts: besides isolated atoms, at least one must have one of the "
                "labels that are fitted, with a config_type whose weight is not 0"
            )
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


def names_beside(output):
    """Paths of what a fit writes, kind -> path; nothing without an output."""
    if output is None:
        return {}
    path = Path(output)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the model file must end in .npz")
    archive.check_target(path)
    return {
        "model": path,
        "history": path.with_suffix(".csv"),
        "curves": path.with_name(f"{path.stem}_learning.png"),
        "parity": path.with_name(f"{path.stem}_parity.png"),
        "checkpoint": path.with_suffix(".checkpoint.npz"),
    }


def told(settings):
    """Settings for the model file, without what the symmetry functions in it say, or say otherwise."""
    plain = settings.plain()
    of_choice = () if settings.symmetry_functions is None else ("cutoff", "n_functions", "cutoff_function")
    return {name: value for name, value in plain.items() if name not in ("symmetry_functions", *of_choice)}


# ---- after -----------------------------------------------------------------------------------------------------------


def finish(potential, train, valid, run, reason, files, settings, stream):
    """Errors of the best weights, model file, history, plots."""
    state = run.state
    print(f"ended: {reason}; kept the weights of iteration {state.best_iteration}", file=stream)
    training = {
        "iterations": state.iteration,
        "best_iteration": state.best_iteration,
        "reason": reason,
        "seconds": state.history.rows[-1].elapsed,
        "settings": told(settings),
    }
    potential = replace(potential, info={"training": training})
    if files:  # first what cost most
        model_file.save(potential, files["model"])
        state.history.save(files["history"])
    parts = {name: part for name, part in (("training", train), ("validation", valid)) if len(part)}
    errors = {name: evaluate(potential, part) for name, part in parts.items()}
    for name, part in errors.items():
        print(f"{name} errors\n{part}", file=stream)
    training["errors"] = {name: part.to_json() for name, part in errors.items()}
    potential = replace(potential, info={"training": training})
    if files:
        model_file.save(potential, files["model"])
        plots.learning_curves(state.history, files["curves"])
        name, part = ("validation", valid) if len(valid) else ("training", train)
        plots.parity(potential, part, files["parity"], title=f"{name} frames")
        print("wrote " + ", ".join(str(files[kind]) for kind in ("model", "history", "curves", "parity")), file=stream)
    return FitResult(potential, state.history, reason, files)
