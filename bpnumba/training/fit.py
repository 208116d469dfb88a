"""From data to a potential: the Kalman filter and L-BFGS on energies, forces and stresses.

`fit` reads labels, chooses symmetry functions, prepares the objective and runs the optimizer: exact gradients,
deterministic for a seed.  Frames set aside for validation decide which weights are kept and when to stop.
"""

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bpnumba import plots
from bpnumba.calibration import Calibration
from bpnumba.committee import Committee
from bpnumba.composite import Composite
from bpnumba.evaluation import judged
from bpnumba.io import archive, model_file
from bpnumba.repulsion import ZBL
from bpnumba.training import checkpoint, dataset, ranks
from bpnumba.training.memory import plan
from bpnumba.training.optimizers import choose
from bpnumba.training.preparation import label_weights, prepare_data, reseeded, untrained, without_terms
from bpnumba.training.progress import History, Progress, Steps
from bpnumba.training.run import INTERRUPTED, Run
from bpnumba.training.settings import Settings
from bpnumba.training.targets import Factors, Scales


@dataclass(frozen=True, eq=False)
class FitResult:
    """The model with the smallest validation error, and how it came about."""

    potential: object  #: Potential, Committee or Composite
    history: History  #: of a committee, that of its first member
    reason: str  #: why the fit ended
    files: dict = field(default_factory=dict)  #: what was written: kind -> path


@ranks.shared
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
        Continue from the checkpoint of `output`.  The weights, the best weights and the history go on; what the Kalman
        filter and L-BFGS have learned of curvature does not, so a resumed fit takes a slightly different path.
    stream : text stream, optional
        Where progress goes; standard output by default.
    **settings
        Fields of `Settings`: ``cutoff``, ``hidden``, ``seed``, ``max_iterations``, ``forces_weight`` ...

    Returns
    -------
    FitResult
        With the potential of the smallest validation error, or the committee of such potentials; SIGINT (Ctrl-C) ends
        the fit with the best so far.  Under MPI all ranks call `fit` and share the work (`bpnumba.training.ranks`);
        rank 0 reads and writes, and on the others the result is None.

    Raises
    ------
    ValueError
        For broken labels or structures, or if a requested label is absent from every frame: file, frame and atom are
        named.
    TypeError
        For an unknown setting.
    MemoryError
        The Jacobian does not fit where it was asked to be.

    Examples
    --------
    >>> result = bpnumba.fit("train.xyz", output="si.npz", cutoff=5.5, seed=1)      # doctest: +SKIP
    """
    settings, stream, start = Settings.of(settings), sys.stdout if stream is None else stream, time.perf_counter()
    files = names_beside(output, settings.committee)
    if resume and output is None:
        raise ValueError("resume needs the output whose checkpoint it is to continue from")
    train, valid = prepare_data(train, valid, settings, stream)
    weights = label_weights(train, valid, settings)
    digests = {name: dataset.digest(part) for name, part in (("training", train), ("validation", valid))}
    prints = [checkpoint.Fingerprint({**settings.plain(), "member": n}, digests) for n in range(settings.committee)]
    states = checkpoint.load_all(files["checkpoints"], prints) if resume else {}

    terms = (ZBL.for_species(train.species),) if settings.repulsion == "zbl" else ()
    learned = [without_terms(part, terms) for part in (train, valid)]
    potential = untrained(learned[0], settings, stream)
    optimizer = choose(potential) if settings.optimizer == "auto" else settings.optimizer
    bonded, check = (part.subset(np.flatnonzero(~part.isolated_m)) for part in learned)
    bonded = bonded.subset(np.random.default_rng(settings.seed).permutation(len(bonded)))  # neighbors in time apart
    where = plan(potential, (bonded, check), settings, optimizer, *ranks.counts())
    factors = Factors(Scales.from_data(bonded, settings), weights, settings.config_type_weights or {})
    print(f"{where.report}\n{factors}", file=stream)
    objectives = []
    for part, name in ((bonded, "training"), (check, "validation")):
        with Steps(f"symmetry functions and Jacobian, {name}", stream) as steps:
            objectives.append(ranks.prepare(potential, part, factors, where.keep, steps))
    objective, check = objectives
    if settings.l2 is not None:
        objective = objective.with_l2(settings.l2)
    print(
        f"optimizer {optimizer}: {len(potential.theta):,} weights, {objective.n_residuals:,} residuals; set-up "
        f"{time.perf_counter() - start:.1f} s",
        file=stream,
    )
    if files and not resume:
        checkpoint.forget(files["checkpoints"])
    runs = []
    for n in range(settings.committee):
        label = f"member {n + 1} of {settings.committee}" if settings.committee > 1 else ""
        seed = settings.seed + n
        state = states.get(n) or Run.first_state(reseeded(potential, seed), objective, optimizer)
        saved = checkpoint.Saver(files["checkpoints"][n], prints[n]) if files else lambda state: None
        run = Run(objective, check, settings, seed, saved, state)
        with Progress(None, stream, first=state.iteration, label=label) as progress:
            if label:
                progress.write(label)
            try:
                reason = run.go(progress, optimizer)
            except KeyboardInterrupt:  # before its first iteration
                if not runs:
                    raise
                reason = INTERRUPTED
                break
            progress.write(f"ended: {reason}; kept the weights of iteration {run.state.best_iteration}")
        runs.append(run)
        if reason == INTERRUPTED:
            break
    return finish(potential, terms, (train, valid), runs, reason, optimizer, files, settings, stream)


def names_beside(output, n_members=1):
    """Paths of what a fit writes, kind -> path; nothing without an output."""
    if output is None:
        return {}
    path = Path(output)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: the model file must end in .npz")
    archive.check_target(path)
    numbers = ["", *(f"-{n + 1}" for n in range(1, n_members))]  # one potential may become the first of a committee
    return {
        "model": path,
        "history": path.with_suffix(".csv"),
        "curves": path.with_name(f"{path.stem}_learning.png"),
        "parity": path.with_name(f"{path.stem}_parity.png"),
        "checkpoint": path.with_suffix(".checkpoint.npz"),
        "checkpoints": [path.with_name(f"{path.stem}{number}.checkpoint.npz") for number in numbers],
        "histories": [path.with_name(f"{path.stem}{number}.csv") for number in numbers],
    }


def told(run, reason, optimizer, settings):
    """What a model file says about the fit of one potential; of settings, not what the symmetry functions say."""
    plain, state = settings.plain(), run.state
    of_choice = () if settings.symmetry_functions is None else ("cutoff", "n_functions", "cutoff_function")
    return {
        "iterations": state.iteration,
        "best_iteration": state.best_iteration,
        "reason": reason,
        "seconds": state.history.rows[-1].elapsed,
        "optimizer": optimizer,
        "l2": state.l2,
        "settings": {k: value for k, value in plain.items() if k not in ("symmetry_functions", "l2", *of_choice)},
    }


def finish(potential, terms, parts, runs, reason, optimizer, files, settings, stream):
    """Errors of the best weights, model file, history, plots."""
    training = told(runs[0], reason, optimizer, settings)
    if len(runs) > 1:
        seconds = [run.state.history.rows[-1].elapsed for run in runs]
        training |= {"seconds": sum(seconds), "best_iterations": [run.state.best_iteration for run in runs]}
    model = composed(potential, terms, runs, training)
    if files:  # first what cost most
        model_file.save(model, files["model"])
        for run, path in zip(runs, files["histories"]):
            run.state.history.save(path)
    parts = {name: part for name, part in zip(("training", "validation"), parts) if len(part)}
    predictions = {name: model.evaluate(part.atoms) for name, part in parts.items()}
    training["errors"] = {}
    for name, part in parts.items():
        errors = judged(model, predictions[name], part)
        print(f"{name} errors\n{errors}", file=stream)
        training["errors"][name] = errors.to_json()
    last = list(parts)[-1]
    if len(runs) > 1:
        calibration = Calibration.of(predictions[last], parts[last], len(runs))
        print(f"spread of the committee, {last} frames\n{calibration}", file=stream)
        training["calibration"] = calibration.to_json()
    model = composed(potential, terms, runs, training)
    if files:
        model_file.save(model, files["model"])
        plots.learning_curves([run.state.history for run in runs], files["curves"])
        plots.parity(model, parts[last], files["parity"], title=f"{last} frames")
        print("wrote " + ", ".join(str(files[kind]) for kind in ("model", "history", "curves", "parity")), file=stream)
    return FitResult(model, runs[0].state.history, reason, files)


def composed(potential, terms, runs, training):
    """The model of the best weights: a potential or a committee, with terms where there are any."""
    members = [potential.with_weights(run.state.best_theta) for run in runs]
    info = {"training": training}
    model = replace(members[0], info=info) if len(members) == 1 else Committee(members, info)
    return Composite(model, terms) if terms else model
