"""From the frames of a pool to one row of numbers for each: what a model says of them, and what they look like.

Comes in: a model, and frames one after the other.  Goes out: batches of `Candidate`, with descriptors of whole frames
whose distances tell how alike two frames are.  Frames that nobody should compute are set aside, with the reason.
"""

from itertools import chain
from typing import NamedTuple

import numpy as np
from ase.data import covalent_radii

from bpnumba.extrapolation import distances
from bpnumba.pairs import Pairs

__all__ = ["Candidate", "batches", "candidates", "descriptors", "evaluated", "usable"]

ATOMS_AT_ONCE = 4096  # of a batch, as models take them
CLOSEST = 0.6
"""Part of the sum of two covalent radii below which atoms are in one another: bonds under pressure keep 0.8 of it, and
codes for electrons with effective cores say little below."""

LEAST_SPREAD = 1e-3
"""eV/Angstrom, about what computed forces are converged to: a smaller spread counts as this, so that among crystals
without any force by symmetry the other parts of the score decide."""


class Candidate(NamedTuple):
    """What is known of a frame of the pool."""

    source: str  # file, or empty
    index: int  # in it, from 0
    n_atoms: int
    spread: float | None  # of the force on the worst atom, eV/Angstrom; None without a committee
    atom: int  # the worst: of the largest spread, without a committee the farthest outside; -1 if there is none
    n_outside: int  # values of symmetry functions outside of their range in training
    beyond: float  # the farthest of them, in parts of the range
    distance: float = np.inf  # to the nearest frame that is known or was taken before
    reason: str = ""

    @property
    def score(self):
        """In eV/Angstrom, without unit for a single potential."""
        return (1.0 if self.spread is None else max(self.spread, LEAST_SPREAD)) * (1.0 + min(self.beyond, 1.0))


def usable(frames, species, refused):
    """The frames that can be computed; names of the others, and why, are added to `refused`."""
    for one in frames:
        fault = _fault(one.atoms, species)
        if fault:
            refused.append((one.name, fault))
        else:
            yield one


def batches(frames, report=None):
    """Lists of frames with about `ATOMS_AT_ONCE` atoms; `report` is called with the number of frames that are done."""
    batch, n_atoms = [], 0
    for one in chain(frames, [None]):
        if batch and (one is None or n_atoms + len(one.atoms) > ATOMS_AT_ONCE):
            yield batch
            if report is not None:
                report(len(batch))
            batch, n_atoms = [], 0
        if one is not None:
            batch.append(one)
            n_atoms += len(one.atoms)


def evaluated(model, batch, refused):
    """(frames, prediction) of a batch; if it fails, of its frames one by one, but for those at fault."""
    try:
        return [(batch, model.evaluate([one.atoms for one in batch]))]
    except ValueError as error:
        if len(batch) == 1:
            refused.append((batch[0].name, str(error)))
            return []
    return [part for one in batch for part in evaluated(model, [one], refused)]


def candidates(batch, prediction, factor):
    """What a prediction says of its frames; spreads are multiplied by a factor."""
    events, ends = prediction.extrapolation, np.cumsum([len(one.atoms) for one in batch])
    width_v = events["maximum"] - events["minimum"]
    beyond_v = distances(events) / np.where(width_v > 0.0, width_v, 1.0)
    spread_a = None
    if prediction.spread is not None:
        spread_a = factor * np.linalg.norm(prediction.spread.forces_std_ac, axis=1)
    found = []
    for m, one in enumerate(batch):
        first, here = ends[m] - len(one.atoms), np.flatnonzero(events["structure"] == m)
        beyond = float(beyond_v[here].max(initial=0.0))
        if spread_a is not None:
            spread, atom = float(spread_a[first : ends[m]].max()), int(spread_a[first : ends[m]].argmax())
        else:
            spread, atom = None, int(events["atom"][here[beyond_v[here].argmax()]] - first) if len(here) else -1
        found.append(Candidate(one.source, one.index, len(one.atoms), spread, atom, len(here), beyond))
    return found


def descriptors(model, batch):
    """(n_frames, n) descriptors of whole frames, the average kernel with a second moment.

    Per element: its share of the atoms, and mean and standard deviation of its symmetry functions times that share.
    Functions are in parts of their range in training, so that a distance of 1 is as far as training reaches.
    """
    functions, sizes = model.symmetry_functions, np.array([len(one.atoms) for one in batch])
    described = functions.describe(functions.pair_list().pairs([one.atoms for one in batch]))
    structure_a, columns = np.repeat(np.arange(len(batch)), sizes), []
    for atoms, G, scaling in zip(described.layout.atoms_e, described.values, model.scalings, strict=True):
        width = scaling.maximum_s - scaling.minimum_s
        x = (G - 0.5 * (scaling.minimum_s + scaling.maximum_s)) / np.where(width > 0.0, width, 1.0)
        structure = structure_a[atoms]
        count = np.bincount(structure, minlength=len(batch))[:, None]
        mean = _sums(x, structure, len(batch)) / np.maximum(count, 1)
        square = _sums((x - mean[structure]) ** 2, structure, len(batch)) / np.maximum(count, 1)
        share = count / sizes[:, None]
        columns += [share, *(share * moment / np.sqrt(x.shape[1]) for moment in (mean, np.sqrt(square)))]
    return np.hstack(columns)


def _sums(x_as, structure_a, n):
    """(n, n_s) sums over the atoms of each structure."""
    sums = np.zeros((n, x_as.shape[1]))
    np.add.at(sums, structure_a, x_as)
    return sums


def _fault(atoms, species):
    """Why nobody should compute a frame; empty if all is well."""
    if not len(atoms):
        return "has no atoms"
    strange = sorted(set(atoms.symbols) - set(species))
    if strange:
        return f"holds {', '.join(strange)}, which the model does not know"
    try:
        pairs = Pairs.from_atoms(atoms, 2.0 * CLOSEST * covalent_radii[atoms.numbers].max())
    except ValueError as error:
        return str(error)
    limit_p = CLOSEST * (covalent_radii[atoms.numbers[pairs.i_p]] + covalent_radii[atoms.numbers[pairs.j_p]])
    distance_p = np.linalg.norm(pairs.r_pc, axis=1)
    if not (distance_p < limit_p).any():
        return ""
    p = int(np.argmin(distance_p / limit_p))
    i, j = pairs.i_p[p], pairs.j_p[p]
    return (
        f"atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are {distance_p[p]:.3f} Angstrom apart, less "
        f"than {CLOSEST:g} of the sum of their covalent radii ({limit_p[p]:.3f} Angstrom)"
    )
