"""What a model says of structures, and how any model is asked about many of them.

Comes in: a model with ``predict(pairs)``, and structures.  Goes out: one `Prediction` of all of them, checked.
Potentials, committees and terms share this room.

>>> import numpy as np
>>> from bpnumba.extrapolation import EVENT
>>> one = Prediction(np.array([-1.0]), np.array([-1.0]), np.zeros((1, 3)), np.zeros((1, 3, 3)), np.array([8.0]),
...                  np.zeros(0, EVENT))
>>> Prediction.join([one, one]).energy_m.tolist(), one.plus(one).energy_m.tolist()
([-1.0, -1.0], [-2.0])
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from ase import Atoms

from bpnumba.pairs import stress_voigt

__all__ = ["Prediction", "Spread", "batches", "evaluate_frames"]

ATOMS_AT_ONCE = 4096
"""A list of structures is evaluated in batches of about so many atoms: memory does not grow with the list."""


class Spread(NamedTuple):
    """Sample standard deviations over the members of a committee (n - 1 in the denominator): how much they disagree."""

    energy_std_m: np.ndarray  #: (n_m), of total energies, eV
    forces_std_ac: np.ndarray  #: (n_a, 3), of every component, eV/Angstrom
    virial_std_mcc: np.ndarray  #: (n_m, 3, 3), eV

    @classmethod
    def of(cls, energy_nm, forces_nac, virial_nmcc):
        """From the results of all members, along the first axis."""
        return cls(*(np.std(of_members, axis=0, ddof=1) for of_members in (energy_nm, forces_nac, virial_nmcc)))

    def stress_std_mv(self, volume_m):
        """(n_m, 6) of the stress in eV/Angstrom^3, Voigt order; ValueError where a volume is 0.

        The virial of each member is symmetric, so the deviation of a component is that of its mirror image.
        """
        return stress_voigt(self.virial_std_mcc, volume_m)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of a batch of structures; eV and Angstrom."""

    energy_m: np.ndarray  #: (n_m) total energies
    energy_a: np.ndarray  #: (n_a) atomic energies, of all structures one after the other
    forces_ac: np.ndarray  #: (n_a, 3)
    virial_mcc: np.ndarray  #: (n_m, 3, 3), dE/d strain
    volume_m: np.ndarray  #: (n_m), 0 where not periodic in three directions
    extrapolation: np.ndarray  #: rows of `bpnumba.extrapolation.EVENT`: what lies outside of the training data
    spread: Spread | None = None  #: how much the members of a committee disagree; None of a single potential

    @property
    def extrapolation_a(self):
        """(n_a) how many symmetry functions of each atom are outside of their range in the training data."""
        return np.bincount(self.extrapolation["atom"], minlength=len(self.energy_a))

    @property
    def stress_mv(self):
        """(n_m, 6) stress in eV/Angstrom^3, ASE's sign and order; ValueError if one is not fully periodic."""
        return stress_voigt(self.virial_mcc, self.volume_m)

    def plus(self, term):
        """This prediction with the energies, forces and virial of a term added, which is the same for all members:
        extrapolation and spread stay as they are."""
        sums = {name: getattr(self, name) + getattr(term, name) for name in ADDITIVE}
        return replace(self, **sums)

    @classmethod
    def join(cls, predictions):
        """One batch after the other; they have a spread if all of them have one."""
        names = [name for name in cls.__dataclass_fields__ if name != "spread"]
        joined = cls(*(np.concatenate([getattr(one, name) for one in predictions]) for name in names))
        n_events = [len(one.extrapolation) for one in predictions]
        for name, counted in (("structure", "energy_m"), ("atom", "energy_a")):
            sizes = [len(getattr(one, counted)) for one in predictions]
            joined.extrapolation[name] += np.repeat(np.cumsum(sizes) - sizes, n_events)
        spreads = [one.spread for one in predictions]
        if any(spread is None for spread in spreads):
            return joined
        return replace(joined, spread=Spread(*(np.concatenate(parts) for parts in zip(*spreads, strict=True))))


ADDITIVE = ("energy_m", "energy_a", "forces_ac", "virial_mcc")
"""What adds up over the parts of a model."""


def evaluate_frames(model, atoms, pair_list):
    """`Prediction` of one structure or of a list by any model with ``predict(pairs)``, batch by batch.

    Parameters
    ----------
    model : object with ``predict(pairs) -> Prediction``
    atoms : ase.Atoms or list of ase.Atoms
    pair_list : object with ``pairs(atoms, first_frame)``
        Of the cutoff and the kind that the model wants.

    Raises
    ------
    ValueError
        There is no structure, pairs cannot be made (see `Pairs.from_atoms`), or a result is not finite, which names
        the structure.
    """
    frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
    parts = []
    for first, last in batches([len(frame) for frame in frames]):
        batch = frames[first:last] if frames[0] is not atoms else atoms
        parts.append(model.predict(pair_list.pairs(batch, first)))
    if not parts:
        raise ValueError("no structure is given: the list of atoms is empty")
    prediction = Prediction.join(parts) if len(parts) > 1 else parts[0]
    bad_a = ~np.isfinite(prediction.forces_ac).all(axis=1)
    structure_a = np.repeat(np.arange(len(frames)), [len(frame) for frame in frames])
    bad = [*np.flatnonzero(~np.isfinite(prediction.energy_m)), *structure_a[bad_a]]
    if bad:
        raise ValueError(
            f"energy or forces are not finite (structure {min(bad)}): "
            "the structure lies far outside of what the potential was trained for"
        )
    return prediction


def batches(sizes, most=ATOMS_AT_ONCE):
    """Begin and end of batches of structures with about `most` atoms each."""
    found, first, count = [], 0, 0
    for m, size in enumerate(sizes):
        if count and count + size > most:
            found.append((first, m))
            first, count = m, 0
        count += size
    return found + [(first, len(sizes))] if len(sizes) > first else found
