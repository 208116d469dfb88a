"""A fit that was killed continues from here.

Comes in: the `State` of a fit. Goes out: a checked file (`bpnumba.io.archive`) that replaces its predecessor only when
complete; the predecessor stays beside it as ``<name>.previous``.

scipy does not give away the curvature pairs that L-BFGS has collected. A resumed fit starts from the weights of the
checkpoint with an empty memory and collects them anew: it goes on from the same weights, not along the same path.
"""

import hashlib
import json
import os
import warnings
from dataclasses import dataclass, field

import numpy as np

from bpnumba import __version__
from bpnumba.io import archive
from bpnumba.io.archive import behind_link
from bpnumba.training.progress import History

__all__ = ["Fingerprint", "State", "load", "save"]

KIND = "bpnumba checkpoint"


@dataclass(frozen=True, eq=False)
class State:
    """A fit between two iterations.

    Attributes
    ----------
    iteration : int
    theta : (n_w,) current weights
    best_theta : (n_w,) weights of the lowest validation score
    best_iteration : int
    best_score : float
    phase : str
        Of `bpnumba.training.optimizers.PHASES`, or "done".
    in_phase : int
        Iterations of it.
    l2 : float
        Strength of the regularization.
    history : History
    """

    iteration: int
    theta: np.ndarray
    best_theta: np.ndarray
    best_iteration: int
    best_score: float
    phase: str
    in_phase: int
    l2: float
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Fingerprint:
    """What a fit was made of: a checkpoint continues only the same fit.

    Attributes
    ----------
    settings : dict
        Everything that changes the result, as JSON can hold it.
    data : dict of str to str
        Name of each data set ("training", "validation") to its `bpnumba.training.dataset.digest`.
    version : str
        Of bpnumba: another one may choose other functions, or weights of another meaning.
    """

    settings: dict
    data: dict
    version: str = __version__

    @property
    def sha256(self):
        """SHA-256 of settings, data and version, in hexadecimal."""
        return hashlib.sha256(json.dumps(self._plain(), sort_keys=True).encode()).hexdigest()

    def _plain(self):
        """Settings, data and version as they come back from a file."""
        return json.loads(json.dumps(vars(self), default=lambda value: value.tolist()))

    def differences(self, other):
        """Words for each setting and data set that another fingerprint has differently."""
        mine, others, words = self._plain(), other._plain(), []
        for name in sorted(set(mine["settings"]) | set(others["settings"])):
            one, two = mine["settings"].get(name), others["settings"].get(name)
            if one != two:
                words.append(f"setting {name} ({one} there, {two} here)")
        for name in sorted(set(mine["data"]) | set(others["data"])):
            if mine["data"].get(name) != others["data"].get(name):
                words.append(f"{name} data")
        if mine["version"] != others["version"]:
            words.append(f"version of bpnumba ({mine['version']} there, {others['version']} here)")
        return words


def save(path, state, fingerprint):
    """Write a checkpoint; the one before becomes ``<path>.previous``.

    Raises
    ------
    OSError
        The disk is full or read-only; the checkpoints that were there are intact.
    """
    path = behind_link(path)
    header = {
        "iteration": state.iteration,
        "best_iteration": state.best_iteration,
        "best_score": state.best_score,
        "phase": state.phase,
        "in_phase": state.in_phase,
        "l2": state.l2,
        "fingerprint": {**fingerprint._plain(), "sha256": fingerprint.sha256},
    }
    arrays = {"theta": state.theta, "best_theta": state.best_theta, "history": state.history.as_array()}
    complete = path.with_name(f"{path.name}.next")
    archive.write(complete, KIND, header, arrays)
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(complete, path)


@dataclass(frozen=True)
class Saver:
    """Writes the states of one fit."""

    path: object
    fingerprint: Fingerprint

    def __call__(self, state):
        save(self.path, state, self.fingerprint)


def forget(paths):
    """Remove checkpoints of an earlier fit."""
    for path in map(behind_link, paths):
        for file in (path, path.with_name(f"{path.name}.next"), _previous(path)):
            file.unlink(missing_ok=True)


def load_all(paths, fingerprints):
    """Number of a member -> its `State`, of those that have a checkpoint; the first must have one."""
    return {
        n: load(path, fingerprint)
        for n, (path, fingerprint) in enumerate(zip(paths, fingerprints, strict=True))
        if n == 0 or behind_link(path).exists() or _previous(behind_link(path)).exists()
    }


def load(path, fingerprint, n_weights=None):
    """State of the newest intact checkpoint.

    Parameters
    ----------
    path : str or Path
    fingerprint : Fingerprint
        Of the fit that is to go on.
    n_weights : int, optional
        Number of weights that the fit has.

    Raises
    ------
    ValueError
        The checkpoint is of another fit (the message says what differs) or has another number of weights, or none is
        intact.
    FileNotFoundError
        There is no checkpoint.
    """
    path = behind_link(path)
    faults = []
    for candidate in (path, path.with_name(f"{path.name}.next"), _previous(path)):
        if not candidate.exists():
            continue
        try:
            state, stored = _decode(candidate, *archive.read(candidate, KIND))
        except ValueError as fault:
            faults.append(str(fault))
            continue
        _check_same_fit(candidate, stored, fingerprint)
        if n_weights not in (None, len(state.theta)):
            raise ValueError(f"{candidate}: has {len(state.theta)} weights, but the fit has {n_weights}; start anew")
        if candidate != path:
            fault = "; ".join(faults) or f"{path} is missing"
            warnings.warn(f"{fault}; the fit continues from the checkpoint before, {candidate}", stacklevel=2)
        return state
    if faults:
        raise ValueError(f"no checkpoint is intact: {'; '.join(faults)}. Start the fit anew")
    raise FileNotFoundError(f"{path}: no checkpoint to resume from")


def _decode(path, header, arrays):
    """State and fingerprint of a file whose checksum is right, but whose content may be anything."""
    try:
        stored = Fingerprint(**{name: header["fingerprint"].get(name) for name in ("settings", "data", "version")})
        theta, best_theta, history = (arrays[name] for name in ("theta", "best_theta", "history"))
        state = State(
            iteration=header["iteration"],
            theta=theta,
            best_theta=best_theta,
            best_iteration=header["best_iteration"],
            best_score=float(header["best_score"]),
            phase=header["phase"],
            in_phase=header["in_phase"],
            l2=float(header["l2"]),
            history=History.from_array(history),
        )
        numbers = (state.iteration, state.best_iteration, state.in_phase)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: its content is not that of a {KIND} ({type(error).__name__}: {error})") from error
    if not all(isinstance(part, dict) for part in (stored.settings, stored.data)):
        raise ValueError(f"{path}: its fingerprint is not that of a {KIND}")
    if not all(type(number) is int and number >= 0 for number in numbers) or np.isnan(state.best_score):
        raise ValueError(f"{path}: iterations {numbers} and score {state.best_score} are not those of a fit")
    if not isinstance(state.phase, str) or not 0.0 <= state.l2 < float("inf"):
        raise ValueError(f"{path}: phase {state.phase!r} and regularization {state.l2} are not those of a fit")
    for name, weights in (("theta", theta), ("best_theta", best_theta)):
        if weights.dtype != np.float64 or weights.ndim != 1 or weights.shape != theta.shape:
            raise ValueError(f"{path}: array '{name}' is {weights.dtype} of shape {weights.shape}, must be weights")
        if not np.isfinite(weights).all():
            raise ValueError(f"{path}: array '{name}' has values that are not finite")
    return state, stored


def _check_same_fit(path, stored, fingerprint):
    if stored.sha256 != fingerprint.sha256:
        raise ValueError(
            f"{path}: belongs to another fit, different are: {', '.join(stored.differences(fingerprint))}. Resume with "
            "what it was started with, or start anew"
        )


def _previous(path):
    return path.with_name(f"{path.name}.previous")
