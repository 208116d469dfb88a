"""A fit that was killed continues from here.

Comes in: the `State` of a fit. Goes out: a checked file (`bpnumba.io.archive`) that replaces its predecessor only when
complete; the predecessor stays beside it as ``<name>.previous``.

scipy does not give away the curvature pairs that L-BFGS has collected. A resumed fit starts from the weights of the
checkpoint with an empty memory and collects them anew: it goes on from the same weights, not along the same path. What
else the optimizer wants to keep (a preconditioner, say) goes into ``State.optimizer``.
"""

import hashlib
import json
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bpnumba.io import archive
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
    history : History
    random_state : dict
        ``numpy.random.Generator.bit_generator.state``.
    optimizer : dict of str to ndarray
        What else the optimizer wants to have back.
    """

    iteration: int
    theta: np.ndarray
    best_theta: np.ndarray
    best_iteration: int
    best_score: float
    history: History = field(default_factory=History)
    random_state: dict = field(default_factory=dict)
    optimizer: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Fingerprint:
    """What a fit was made of: a checkpoint continues only the same fit.

    Attributes
    ----------
    settings : dict
        Everything that changes the result, as JSON can hold it.
    data : dict of str to str
        Name of each data set ("training", "validation") to its `bpnumba.training.dataset.digest`.
    """

    settings: dict
    data: dict

    @property
    def sha256(self):
        """SHA-256 of settings and data, in hexadecimal."""
        return hashlib.sha256(json.dumps(self._plain(), sort_keys=True).encode()).hexdigest()

    def _plain(self):
        """Settings and data as they come back from a file."""
        plain = json.dumps({"settings": self.settings, "data": self.data}, default=lambda value: value.tolist())
        return json.loads(plain)

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
        return words


def save(path, state, fingerprint):
    """Write a checkpoint; the one before becomes ``<path>.previous``.

    Raises
    ------
    OSError
        The disk is full or read-only; the checkpoints that were there are intact.
    """
    path = Path(path)
    header = {
        "iteration": state.iteration,
        "best_iteration": state.best_iteration,
        "best_score": state.best_score,
        "random_state": state.random_state,
        "fingerprint": {**fingerprint._plain(), "sha256": fingerprint.sha256},
    }
    arrays = {"theta": state.theta, "best_theta": state.best_theta, "history": state.history.as_array()}
    arrays |= {f"optimizer_{name}": array for name, array in state.optimizer.items()}
    complete = path.with_name(f"{path.name}.next")
    archive.write(complete, KIND, header, arrays)
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(complete, path)


def load(path, fingerprint):
    """State of the newest intact checkpoint.

    Raises
    ------
    ValueError
        The checkpoint is of another fit (the message says what differs), or none is intact.
    FileNotFoundError
        There is no checkpoint.
    """
    path = Path(path)
    faults = []
    for candidate in (path, _previous(path)):
        if not candidate.exists():
            continue
        try:
            header, arrays = archive.read(candidate, KIND)
        except ValueError as fault:
            faults.append(str(fault))
            continue
        if candidate != path:
            fault = "; ".join(faults) or f"{path} is missing"
            warnings.warn(f"{fault}; the fit continues from the checkpoint before, {candidate}", stacklevel=2)
        return _state(candidate, header, arrays, fingerprint)
    if faults:
        raise ValueError(f"no checkpoint is intact: {'; '.join(faults)}. Start the fit anew")
    raise FileNotFoundError(f"{path}: no checkpoint to resume from")


def _state(path, header, arrays, fingerprint):
    stored = header["fingerprint"]
    if stored["sha256"] != fingerprint.sha256:
        words = ", ".join(Fingerprint(stored["settings"], stored["data"]).differences(fingerprint))
        raise ValueError(
            f"{path}: belongs to another fit, different are: {words}. Resume with what it was started with, or start "
            "anew"
        )
    return State(
        iteration=header["iteration"],
        theta=arrays["theta"],
        best_theta=arrays["best_theta"],
        best_iteration=header["best_iteration"],
        best_score=header["best_score"],
        history=History.from_array(arrays["history"]),
        random_state=header["random_state"],
        optimizer={name.removeprefix("optimizer_"): a for name, a in arrays.items() if name.startswith("optimizer_")},
    )


def _previous(path):
    return path.with_name(f"{path.name}.previous")
