"""Frames in, checked labels out.

Comes in: anything that `ase.io.read` reads, or `ase.Atoms`, with energies, forces and stresses, each optional per
frame; `labels` says under which names. Goes out: one thin record of arrays, or an error that names the file, the frame
and the atom. Frames and atoms are counted from 0, as in ASE.

>>> from ase.build import bulk
>>> silicon = bulk("Si")
>>> silicon.info["REF_energy"] = -10.8
>>> print(report(read(silicon)))
1 frames, 2 atoms: Si
labels: 1 energies, 0 force vectors, 0 stresses
"""

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, fields
from itertools import chain

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from bpnumba.io.frames import read_frames
from bpnumba.io.keys import DEFAULT_KEYS, Keys
from bpnumba.training import plausibility
from bpnumba.training.labels import labels_of, warn_of_names

__all__ = ["Dataset", "Keys", "digest", "read", "report", "require", "split"]

ISOLATED = "isolatedatom"  # config_type of a single atom, as MACE spells it; case and underscores are ignored


@dataclass(frozen=True, eq=False)
class Dataset:
    """Structures and labels; zero where a label is absent, never NaN.

    Attributes
    ----------
    atoms : tuple of ase.Atoms, without calculators
    energy_m, has_energy_m : (n_m,) eV, bool
    forces_ac : (n_a, 3) eV/Angstrom, all frames one after the other
    has_forces_m : (n_m,) bool
    stress_mv, has_stress_m : (n_m, 6) eV/Angstrom^3, bool
        Voigt order xx, yy, zz, yz, xz, xy; positive under tension.
    config_type_m : tuple of str
        ``atoms.info["config_type"]``, "default" where absent.
    source_m : tuple of str
        Where a frame is from, for messages: "train.xyz, frame 12".
    """

    atoms: tuple
    energy_m: np.ndarray
    has_energy_m: np.ndarray
    forces_ac: np.ndarray
    has_forces_m: np.ndarray
    stress_mv: np.ndarray
    has_stress_m: np.ndarray
    config_type_m: tuple
    source_m: tuple

    @classmethod
    def from_frames(cls, frames, sources=None, keys=DEFAULT_KEYS):
        """Structures and labels of Atoms, checked as by `read`; `sources` are the names of the frames in messages."""
        frames = list(frames)
        if not frames:
            raise ValueError("there is no frame to read labels from")
        sources = [f"frame {m}" for m in range(len(frames))] if sources is None else list(sources)
        names = keys.names()
        labels_m = [labels_of(frame, names, source) for frame, source in zip(frames, sources, strict=True)]
        warn_of_names(labels_m, sources)
        dataset = cls(
            atoms=tuple(_bare(frame) for frame in frames),
            energy_m=np.array([labels.energy or 0.0 for labels in labels_m]),
            has_energy_m=np.array([labels.energy is not None for labels in labels_m]),
            forces_ac=np.concatenate(
                [
                    np.zeros((len(frame), 3)) if labels.forces is None else labels.forces
                    for frame, labels in zip(frames, labels_m, strict=True)
                ]
            ),
            has_forces_m=np.array([labels.forces is not None for labels in labels_m]),
            stress_mv=np.array([np.zeros(6) if labels.stress is None else labels.stress for labels in labels_m]),
            has_stress_m=np.array([labels.stress is not None for labels in labels_m]),
            config_type_m=tuple(str(frame.info.get("config_type", "default")) for frame in frames),
            source_m=tuple(sources),
        )
        plausibility.warn(dataset)
        return dataset

    @classmethod
    def join(cls, *datasets):
        """One dataset after the other."""
        columns = {f.name: [getattr(dataset, f.name) for dataset in datasets] for f in fields(cls)}
        return cls(**{name: _concatenate(column) for name, column in columns.items()})

    def subset(self, indices):
        """The frames of the given indices, in their order."""
        indices = np.asarray(indices, dtype=int)
        first_m = np.concatenate([[0], np.cumsum(self.n_atoms_m)])
        rows = [np.arange(first_m[m], first_m[m + 1]) for m in indices]
        return Dataset(
            atoms=tuple(self.atoms[m] for m in indices),
            energy_m=self.energy_m[indices],
            has_energy_m=self.has_energy_m[indices],
            forces_ac=self.forces_ac[np.concatenate([np.zeros(0, dtype=int), *rows])],
            has_forces_m=self.has_forces_m[indices],
            stress_mv=self.stress_mv[indices],
            has_stress_m=self.has_stress_m[indices],
            config_type_m=tuple(self.config_type_m[m] for m in indices),
            source_m=tuple(self.source_m[m] for m in indices),
        )

    def __len__(self):
        return len(self.atoms)

    @property
    def n_atoms_m(self):
        """(n_m,) number of atoms of every frame."""
        return np.array([len(atoms) for atoms in self.atoms], dtype=int)

    @property
    def n_atoms(self):
        """Number of atoms of all frames."""
        return len(self.forces_ac)

    @property
    def numbers(self):
        """(n_a,) atomic numbers, all frames one after the other."""
        return np.concatenate([np.zeros(0, dtype=int), *(atoms.numbers for atoms in self.atoms)])

    @property
    def species(self):
        """Tuple of chemical symbols, sorted by atomic number."""
        return tuple(chemical_symbols[z] for z in np.unique(self.numbers))

    @property
    def isolated_m(self):
        """(n_m,) which frames are one atom in open space, or one atom that its config_type calls isolated."""
        return np.array(
            [
                len(atoms) == 1 and (not atoms.pbc.any() or config_type.lower().replace("_", "") == ISOLATED)
                for atoms, config_type in zip(self.atoms, self.config_type_m, strict=True)
            ],
            dtype=bool,
        )


def read(source, keys=DEFAULT_KEYS, format=None, units="atomic"):
    """Read frames and their labels.

    Parameters
    ----------
    source : path, Atoms, or a list of them
        Files of RuNNer or n2p2, or in any format that ASE knows; all frames are read. A `Dataset` is returned as it is.
    keys : Keys
    format : str, optional
        ASE's name of the file format, or "runner", where the file name does not tell it.
    units : str
        Units of files of RuNNer or n2p2, "atomic" (bohr, Hartree) or "metal" (Angstrom, eV); others tell theirs.

    Returns
    -------
    dataset : Dataset

    Raises
    ------
    ValueError
        A file cannot be read as structures or holds none, or a frame is refused by `labels.labels_of`.
    OSError
        A file is absent or may not be read.
    """
    if isinstance(source, Dataset):
        return source
    return Dataset.from_frames(*named_frames(source, format, units), keys)


def named_frames(source, format=None, units="atomic"):
    """Frames of files and Atoms, as of `read`, and what messages call them."""
    frames, sources = [], []
    for item in [source] if isinstance(source, str | os.PathLike | Atoms) else source:
        if isinstance(item, Atoms):
            sources.append(f"frame {len(frames)}")
            frames.append(item)
        else:
            read_here = read_frames(os.fspath(item), format, units)
            sources += [f"{os.fspath(item)}, frame {m}" for m in range(len(read_here))]
            frames += read_here
    return frames, sources


def require(dataset, labels=("energy", "forces", "stress")):
    """Raise ValueError if one of the labels is absent from every frame."""
    for label in labels:
        if not getattr(dataset, f"has_{label}_m").any():
            kinds = ("stress", "virial") if label == "stress" else (label,)
            names = ", ".join(name for kind in kinds for name in DEFAULT_KEYS.names()[kind])
            first = "".join(f", the first is {source}" for source in dataset.source_m[:1])
            raise ValueError(
                f"none of the {len(dataset)} frames has {label} ({label} is looked for under {names}, or under the key "
                f"that you name{first}). Name the right key, Keys({label}=...) or --{label}-key, or "
                f"fit without {label}: {label}_weight=0 or --{label}-weight 0"
            )


def report(dataset):
    """Lines that say how many frames, atoms and labels of each kind there are, in all and per config_type."""
    lines = [
        f"{len(dataset)} frames, {dataset.n_atoms:,} atoms: {' '.join(dataset.species)}",
        f"labels: {_count(dataset)}",
    ]
    types = dict.fromkeys(dataset.config_type_m)
    width = max(map(len, types), default=0)
    for config_type in types if len(types) > 1 else ():
        part = dataset.subset([m for m, name in enumerate(dataset.config_type_m) if name == config_type])
        lines.append(f"  {config_type:<{width}}  {len(part):>5} frames, {part.n_atoms:>7,} atoms: {_count(part)}")
    return "\n".join(lines)


def split(dataset, fraction, seed):
    """Take a random fraction of the frames away for validation.

    Frames are drawn from every stratum (config_type and composition) in proportion to its size. Frames that are alone
    in their stratum form one with their likes of the same config_type, and if still alone, with all others. Training
    keeps a frame of every stratum and of every element, and all isolated atoms, which do not count among the frames.

    Parameters
    ----------
    dataset : Dataset
    fraction : float
        Part of the frames for validation, 0 <= fraction < 1.
    seed : int
        The same seed gives the same split.

    Returns
    -------
    train, valid : Dataset
        Both in the order of the dataset; ``valid`` has round(fraction * n) of n frames, fewer only where training would
        lose its last frame of a stratum or element.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the fraction of validation frames must be at least 0 and below 1, not {fraction}")
    rng = np.random.default_rng(seed)
    members = rng.permutation(np.flatnonzero(~dataset.isolated_m))
    kept, drawn = _one_of_every_element(dataset, members), []
    for stratum in _strata(dataset, members):
        free = [m for m in stratum if m not in kept][: len(stratum) - 1]
        drawn += [((rank + 0.5) / len(stratum), m) for rank, m in enumerate(free)]  # as Sainte-Lague shares seats
    drawn = sorted(drawn, key=lambda entry: entry[0])[: round(fraction * len(members))]
    valid = np.sort(np.array([m for _, m in drawn], dtype=int))
    return dataset.subset(np.setdiff1d(np.arange(len(dataset)), valid)), dataset.subset(valid)


def digest(dataset):
    """SHA-256 of structures, labels and config types, in hexadecimal; the file they came from does not matter."""
    sha = hashlib.sha256("\n".join(dataset.config_type_m).encode())
    for atoms in dataset.atoms:
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            sha.update(np.ascontiguousarray(array).tobytes())
    for name in ("energy_m", "has_energy_m", "forces_ac", "has_forces_m", "stress_mv", "has_stress_m"):
        sha.update(getattr(dataset, name).tobytes())
    return sha.hexdigest()


def _strata(dataset, members):
    """Frames of one config_type and composition, single ones pooled; in the order of the members."""
    strata, left = [], members
    for key in (
        lambda m: (dataset.config_type_m[m], dataset.atoms[m].get_chemical_formula()),
        lambda m: dataset.config_type_m[m],
        lambda m: None,
    ):
        groups = defaultdict(list)
        for m in left:
            groups[key(m)].append(m)
        strata += [group for group in groups.values() if len(group) > 1]
        left = [group[0] for group in groups.values() if len(group) == 1]
    return strata  # one that is alone to the end is no stratum: it stays in training


def _one_of_every_element(dataset, members):
    """Few frames that hold all elements: those of many elements first."""
    kept, seen = set(), set()
    elements = {m: set(dataset.atoms[m].numbers.tolist()) for m in members}
    for m in sorted(members, key=lambda m: -len(elements[m])):
        if elements[m] - seen:
            kept.add(m)
            seen |= elements[m]
    return kept


def _bare(frame):
    """A copy without calculator and constraints."""
    atoms = frame.copy()
    atoms.set_constraint()
    return atoms


def _concatenate(column):
    return tuple(chain(*column)) if isinstance(column[0], tuple) else np.concatenate(column)


def _count(dataset):
    n_forces = int(dataset.n_atoms_m[dataset.has_forces_m].sum())
    return f"{dataset.has_energy_m.sum()} energies, {n_forces:,} force vectors, {dataset.has_stress_m.sum()} stresses"
