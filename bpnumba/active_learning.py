"""The step of active learning: which frames of a pool are worth computing next?

Comes in: a model, and structures without labels, for example from molecular dynamics with that model.  Goes out: a
`Choice` of few of them.  Every frame gets a score, and frames are taken one by one where the product of score and
novelty is largest,

    score = spread (1 + min(beyond, 1)),      novelty = sqrt(1 - exp(-distance^2 / sigma^2)).

spread
    how much a committee disagrees, sqrt(s_x^2 + s_y^2 + s_z^2) of the force on one atom, the largest of the frame:
    Y. Zhang et al., Comput. Phys. Commun. 253, 107206 (2020).  In eV/Angstrom, times alpha of `bpnumba.calibration` if
    the model remembers one.  1 for a single potential.
beyond
    how far a symmetry function is outside of its range in training, in parts of that range.  Members may agree there
    by chance, so that a spread outside counts up to twice.
novelty
    what is left of the standard deviation of a Gaussian process after it has learned the nearest frame.  For near
    frames it grows with the distance, as in the greedy rule of D. Wu, C.-T. Lin and J. Huang, Inf. Sci. 474, 90 (2019),
    so that of frames in a row one is taken.  All far frames are new, and the score decides: frames of a run that falls
    apart are not taken for their distance alone.  sigma is half the median distance of the pool from its mean.
distance
    between descriptors D of whole frames, to the nearest frame that is known or was taken before.  D holds mean and
    standard deviation of the symmetry functions over the atoms of each element, times its share of the atoms: the
    average kernel of S. De et al., Phys. Chem. Chem. Phys. 18, 13754 (2016), which does not change when atoms are
    renamed or a cell is repeated.  Symmetry functions are in parts of their range in training.

Frames nearer than `ALIKE` are one frame to this module.  Memory holds a row of numbers per frame of the pool.

>>> from ase.build import bulk
>>> from bpnumba.potential import Potential
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> potential = Potential.untrained(functions, [bulk("Si", a=5.4), bulk("Si", a=5.5)], hidden=(5,))
>>> choice = select_frames(potential, [bulk("Si", a=a) for a in (5.41, 5.41, 5.7, 5.6)], n=2)
>>> [one.index for one in choice.chosen]
[2, 3]
"""

import os
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np
from ase import Atoms
from scipy.spatial.distance import cdist

from bpnumba.calibration import Calibration
from bpnumba.io.frame_stream import stream
from bpnumba.io.keys import DEFAULT_KEYS
from bpnumba.pool import batches, candidates, descriptors, evaluated, usable

__all__ = ["Choice", "select_frames"]

ALIKE = 0.03
"""Two frames are one if symmetry functions of their atoms differ by less than this part of their range in training.
Thermal motion covers a tenth of the range and more within some 20 fs, so this is 2 or 3 fs of molecular dynamics."""

MOST_SHOWN = 10  # frames that cannot be used: a run that has exploded has thousands


@dataclass(frozen=True, eq=False)
class Choice:
    """Frames worth computing, the best first; ``print(choice)`` shows a table.

    Attributes
    ----------
    chosen : tuple of Candidate
    frames : tuple of ase.Atoms
        The same, without labels and calculators; their info has new entries ``bpnumba_...``.
    refused : tuple of (str, str)
        Frames that nobody should compute, and why.
    n_pool : int
        Number of frames in the pool.
    n_alike : int
        Frames that are left, but too similar to those that are known or chosen.
    """

    chosen: tuple
    frames: tuple
    refused: tuple
    n_pool: int
    n_alike: int

    def __str__(self):
        files = [one.source or "-" for one in self.chosen]
        width = max(map(len, ["file", *files]))
        lines = [f"{len(self.chosen)} of {self.n_pool} frames are worth computing"]
        if self.chosen:
            lines.append(f"{'rank':>4} {'file':<{width}} {'frame':>7} {'spread (eV/A)':>14} {'worst atom':>10} "
                         f"{'outside':>7} {'distance':>8}  reason")  # fmt: skip
        for rank, (name, one) in enumerate(zip(files, self.chosen), 1):
            spread, atom = "-" if one.spread is None else f"{one.spread:.4f}", "-" if one.atom < 0 else one.atom
            distance = f"{one.distance:.4f}" if np.isfinite(one.distance) else "-"
            lines.append(f"{rank:>4} {name:<{width}} {one.index:>7} {spread:>14} {atom:>10} {one.n_outside:>7} "
                         f"{distance:>8}  {one.reason}")  # fmt: skip
        if self.chosen:
            lines.append("outside: values beyond their range in training; distance: to the nearest frame known or "
                         "chosen, in parts of that range")  # fmt: skip
        if self.n_alike:
            lines.append(f"{self.n_alike} frames are like one that is known or chosen, and were left out")
        if self.refused:
            lines.append(f"{len(self.refused)} frames cannot be used:")
            lines += [f"   {name}: {reason}" for name, reason in self.refused[:MOST_SHOWN]]
            if len(self.refused) > MOST_SHOWN:
                lines.append(f"   and {len(self.refused) - MOST_SHOWN} more")
        return "\n".join(lines)


def select_frames(model, pool, n=20, distinct_from=(), keys=DEFAULT_KEYS, units="atomic", report=None):
    """Choose frames worth computing next.

    Parameters
    ----------
    model : Potential, Committee or Composite
        Only a committee has a spread; without one, what lies outside of the training data and distance decide.
    pool : path, Atoms, or a list of them
        Read twice from files, one frame at a time; labels are not looked at.
    n : int
        So many frames are chosen, fewer if the pool has no more that differ.
    distinct_from : path, Atoms, or a list of them
        Frames that are known, such as the training data: what resembles them is not chosen.
    keys : Keys
        Names of labels, besides the usual ones, which the chosen frames lose.
    units : str
        Of files of RuNNer and n2p2, "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).
    report : function, optional
        Called with the number of frames that were read since it was called last.

    Returns
    -------
    Choice
        The same for the same input.

    Raises
    ------
    ValueError
        `n` is not positive, the pool is empty, or a file cannot be read.
    OSError
        A file is absent or may not be read.
    """
    if n < 1:
        raise ValueError(f"the number of frames to choose must be at least 1, not {n}")
    pool = [pool] if isinstance(pool, str | os.PathLike | Atoms) else list(pool)
    known = [descriptors(model, batch) for batch in batches(usable(stream(distinct_from, units), model.species, []))]
    refused, n_pool = [], 0

    def counted():
        nonlocal n_pool
        for one in stream(pool, units):
            n_pool += 1
            yield one

    factor, found, rows = _calibrated(model), [], []
    for batch in batches(usable(counted(), model.species, refused), report):
        for part, prediction in evaluated(model, batch, refused):
            found += candidates(part, prediction, factor)
            rows.append(descriptors(model, part))
    if not n_pool:
        raise ValueError("there is no frame to choose from: the pool is empty")
    chosen, n_alike = _greedy(found, rows, known, n) if found else ([], 0)
    return Choice(tuple(chosen), _fetched(stream(pool, units), chosen, keys), tuple(refused), n_pool, n_alike)


def _calibrated(model):
    """The factor of spreads of forces that a model remembers; 1 if it does not."""
    info = getattr(model, "info", {})
    training = info.get("training")
    for place in (info, training if isinstance(training, dict) else {}):
        try:
            return Calibration.from_json(place["calibration"]).forces_factor
        except (KeyError, TypeError, AttributeError):  # absent, or damaged: the order of the frames does not need it
            continue
    return 1.0


# ---- the choice ------------------------------------------------------------------------------------------------------


def _greedy(found, rows, known, n):
    """The chosen candidates, and how many of the others are like one that is known or chosen."""
    D = np.concatenate(rows)
    score = np.array([one.score for one in found])
    nearest = np.full(len(D), np.inf)
    for row in chain(*known):
        nearest = np.minimum(nearest, _distance(D, row))
    alike = ALIKE / np.sqrt([one.n_atoms for one in found])
    usual_spread = np.median([one.spread or 0.0 for one in found])
    sigma, chosen = max(0.5 * np.median(_distance(D, D.mean(axis=0))), alike.min()), []
    while len(chosen) < n and (nearest > alike).any():
        novelty = np.sqrt(-np.expm1(-((nearest / sigma) ** 2)))
        m = int(np.argmax(np.where(nearest > alike, score * novelty, -1.0)))
        one = found[m]._replace(distance=float(nearest[m]))
        chosen.append(one._replace(reason=_reason(one, usual_spread, sigma)))
        nearest = np.minimum(nearest, _distance(D, D[m]))
    return chosen, int((nearest <= alike).sum()) - len(chosen)


def _distance(D, row):
    return cdist(D, row[None])[:, 0]


def _reason(one, usual_spread, sigma):
    """What stands out most of a frame."""
    ratios = {"outside of the training data": 1.0 + min(one.beyond, 1.0)}
    if one.spread is not None and usual_spread > 0.0:
        ratio = one.spread / usual_spread
        ratios[f"{ratio:.1f} times the usual spread"] = ratio
    best = max(ratios, key=ratios.get)
    if ratios[best] > 1.0:
        return best
    return "unlike the others" if one.distance > sigma else "the best that is left"


def _fetched(frames, chosen, keys):
    """The chosen frames out of a stream, in their order, without labels, with what was found of them."""
    ranks, found = {(one.source, one.index): rank for rank, one in enumerate(chosen)}, {}
    with closing(frames):
        while len(found) < len(ranks):
            frame = next(frames)
            rank = ranks.get((frame.source, frame.index))
            if rank is not None and rank not in found:
                found[rank] = _unlabelled(frame, chosen[rank], keys)
    return tuple(found[rank] for rank in range(len(found)))


def _unlabelled(frame, one, keys):
    """A copy to be computed anew."""
    atoms = frame.atoms.copy()  # without calculator
    for name in chain(*keys.names().values(), *DEFAULT_KEYS.names().values()):
        atoms.info.pop(name, None)
        if name not in ("numbers", "positions"):
            atoms.arrays.pop(name, None)
    entries = {"score": one.score, "forces_spread": one.spread, "worst_atom": one.atom, "n_outside": one.n_outside,
               "source": frame.name}  # fmt: skip
    atoms.info |= {f"bpnumba_{name}": value for name, value in entries.items() if value is not None}
    return atoms
