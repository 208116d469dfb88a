"""Frames in, checked labels out.

Comes in: anything that `ase.io.read` reads, or `ase.Atoms`, with energies, forces and stresses, each optional per frame.  Goes
out: one thin record of arrays, or an error that names the file, the frame and the atom.

Labels are looked for under the ``REF_`` keys of `Keys`, then under the plain names that ASE moves into its calculator.  Units
are eV, eV/Angstrom, eV/Angstrom^3; stress has ASE's sign, positive under tension.  A virial (eV) has the sign that extended XYZ
files have by custom of GAP, QUIP and MACE, the opposite of the sign inside this library::

    virial = -volume * stress = -dE/d(strain)

Frames and atoms are counted from 0, as in ASE.

>>> from ase.build import bulk
>>> silicon = bulk("Si")
>>> silicon.info["REF_energy"] = -10.8
>>> print(report(read(silicon)))
1 frames, 2 atoms: Si
labels: 1 energies, 0 force vectors, 0 stresses
"""

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from typing import NamedTuple

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from bpnumba.training import plausibility

__all__ = ["Dataset", "Keys", "digest", "read", "report", "require", "split"]

ISOLATED = "isolatedatom"  # config_type of a single atom, as MACE spells it; case and underscores are ignored


class Keys(NamedTuple):
    """Names of the labels in ``atoms.info`` and ``atoms.arrays``.

    A default key that a frame lacks falls back to the plain name; a key given by the user does not.  Stress and virial are one
    label: if one of them is given, the other is not looked for.  None leaves a label out.
    """

    energy: str | None = "REF_energy"
    forces: str | None = "REF_forces"
    stress: str | None = "REF_stress"
    virial: str | None = "REF_virial"


PLAIN = {"energy": ("energy", "free_energy"), "forces": ("forces", "force"), "stress": ("stress",), "virial": ("virial",)}


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
    def from_frames(cls, frames, sources=None, keys=Keys()):
        """Labels of a list of Atoms, checked; suspicious ones give warnings.

        Parameters
        ----------
        frames : sequence of ase.Atoms
        sources : sequence of str, optional
            Names of the frames in messages, "frame 0" and so on.
        keys : Keys

        Raises
        ------
        ValueError
            No frame; a frame without atoms or with positions that are not finite; a label that is not finite or of wrong shape; a
            stress on a frame that is not periodic in three directions; stress and virial that contradict each other.
        """
        frames = list(frames)
        if not frames:
            raise ValueError("no frame to read labels from")
        sources = [f"frame {m}" for m in range(len(frames))] if sources is None else sources
        names, used = _names(keys), Counter()
        rows = [_row(frame, names, used, source) for frame, source in zip(frames, sources, strict=True)]
        _warn_of_mixture(used)
        dataset = cls.join(*rows)
        plausibility.warn(dataset)
        return dataset

    @classmethod
    def join(cls, *datasets):
        """One dataset after the other."""
        columns = {f.name: [getattr(dataset, f.name) for dataset in datasets] for f in fields(cls)}
        return cls(**{
            name: sum(column, ()) if isinstance(column[0], tuple) else np.concatenate(column) for name, column in columns.items()
        })

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


def read(source, keys=Keys(), format=None):
    """Read frames and their labels.

    Parameters
    ----------
    source : path, Atoms, or a list of them
        Files in any format that ASE knows; all frames are read.  A `Dataset` is returned as it is.
    keys : Keys
    format : str, optional
        ASE's name of the file format, where the file name does not tell it.

    Returns
    -------
    dataset : Dataset

    Raises
    ------
    ValueError
        A file cannot be read as structures or holds none, or as in `Dataset.from_frames`.
    OSError
        A file is absent or may not be read.
    """
    if isinstance(source, Dataset):
        return source
    frames, sources = [], []
    for item in [source] if isinstance(source, str | os.PathLike | Atoms) else source:
        if isinstance(item, Atoms):
            sources.append(f"frame {len(frames)}")
            frames.append(item)
        else:
            read_here = _read_file(os.fspath(item), format)
            sources += [f"{os.fspath(item)}, frame {m}" for m in range(len(read_here))]
            frames += read_here
    return Dataset.from_frames(frames, sources, keys)


def require(dataset, labels=("energy", "forces", "stress")):
    """Raise ValueError if one of the labels is absent from every frame."""
    for label in labels:
        if not getattr(dataset, f"has_{label}_m").any():
            keys = [name for kind in (label, "virial") if kind == label or label == "stress" for name in _names(Keys())[kind]]
            raise ValueError(
                f"none of the {len(dataset)} frames (first: {', '.join(dataset.source_m[:1])}) has a label for {label}. By default it "
                f"is looked for under {', '.join(keys)}; give the name it has in your data, or fit without {label}"
            )


def report(dataset):
    """Lines that say how many frames, atoms and labels of each kind there are, in all and per config_type."""
    lines = [f"{len(dataset)} frames, {dataset.n_atoms:,} atoms: {' '.join(dataset.species)}", f"labels: {_count(dataset)}"]
    types = dict.fromkeys(dataset.config_type_m)
    for config_type in types if len(types) > 1 else ():
        part = dataset.subset([m for m, name in enumerate(dataset.config_type_m) if name == config_type])
        lines.append(f"  {config_type:<{max(map(len, types))}}  {len(part):>5} frames, {part.n_atoms:>7,} atoms: {_count(part)}")
    return "\n".join(lines)


def split(dataset, fraction, seed):
    """Take a random fraction of the frames away for validation.

    Frames are drawn from every stratum (config_type and composition) in proportion to its size; what rounding leaves goes to the
    largest remainders.  A stratum keeps at least one frame for training.

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
        Both in the order of the dataset; ``valid`` is empty where the fraction is 0 or every stratum has one frame only.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the fraction of validation frames must be at least 0 and below 1, not {fraction}")
    strata = defaultdict(list)
    for m, (atoms, config_type) in enumerate(zip(dataset.atoms, dataset.config_type_m, strict=True)):
        strata[config_type, atoms.get_chemical_formula()].append(m)
    rng = np.random.default_rng(seed)
    members = [rng.permutation(strata[key]) for key in sorted(strata)]
    size = np.array([len(member) for member in members])
    quota = fraction * size
    taken = np.minimum(np.floor(quota + 1e-9).astype(int), size - 1)
    left = round(fraction * len(dataset)) - taken.sum()
    open_strata = [k for k in rng.permutation(len(members)) if taken[k] < size[k] - 1]
    for k in sorted(open_strata, key=lambda k: taken[k] - quota[k])[: max(left, 0)]:
        taken[k] += 1
    valid = np.sort(np.concatenate([member[:n] for member, n in zip(members, taken, strict=True)]))
    return dataset.subset(np.setdiff1d(np.arange(len(dataset)), valid)), dataset.subset(valid)


def digest(dataset):
    """SHA-256 of structures, labels and config types, in hexadecimal: equal for equal data, whatever file it came from."""
    sha = hashlib.sha256("\n".join(dataset.config_type_m).encode())
    for atoms in dataset.atoms:
        for array in (atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc):
            sha.update(np.ascontiguousarray(array).tobytes())
    for name in ("energy_m", "has_energy_m", "forces_ac", "has_forces_m", "stress_mv", "has_stress_m"):
        sha.update(getattr(dataset, name).tobytes())
    return sha.hexdigest()


def _read_file(path, format):
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file")
    try:
        frames = ase.io.read(path, ":", format=format, do_not_split_by_at_sign=True)
    except PermissionError:
        raise
    except Exception as error:  # the readers of ASE answer a broken file with many types
        raise ValueError(
            f"{path}: cannot be read as atomic structures ({type(error).__name__}: {error}); is it complete, and does its name tell "
            "its format?"
        ) from error
    if not frames:
        raise ValueError(f"{path}: holds no frame")
    return frames


def _names(keys):
    """Kind of label -> names under which it is looked for, the best first."""
    names = {
        kind: () if key is None else (key, *PLAIN[kind]) if key == default else (key,)
        for kind, key, default in zip(Keys._fields, keys, Keys(), strict=True)
    }
    given = {kind for kind in ("stress", "virial") if getattr(keys, kind) != getattr(Keys(), kind)}
    return {kind: () if given and kind in {"stress", "virial"} - given else names[kind] for kind in names}


def _row(frame, names, used, source):
    """Dataset of one frame; the names of the labels found are counted in ``used``."""
    _check_structure(frame, source)
    stored = {**frame.info, **frame.arrays, **_calculated(frame)}
    found = {kind: next((name for name in names[kind] if stored.get(name) is not None), None) for kind in names}
    n_atoms, has_stress = len(frame), found["stress"] or found["virial"]
    label = {kind: _numbers(stored[name], kind, n_atoms, f"{source}, {name}") for kind, name in found.items() if name}
    used.update((kind, name) for kind, name in found.items() if name)
    atoms = frame.copy()  # a copy has no calculator
    atoms.set_constraint()
    return Dataset(
        atoms=(atoms,),
        energy_m=np.array([label.get("energy", 0.0)]),
        has_energy_m=np.array(["energy" in label]),
        forces_ac=label.get("forces", np.zeros((n_atoms, 3))),
        has_forces_m=np.array(["forces" in label]),
        stress_mv=_stress(frame, label, found, source) if has_stress else np.zeros((1, 6)),
        has_stress_m=np.array([bool(has_stress)]),
        config_type_m=(str(frame.info.get("config_type", "default")),),
        source_m=(source,),
    )


def _check_structure(frame, source):
    if len(frame) == 0:
        raise ValueError(f"{source}: has no atoms; remove it")
    for i in np.flatnonzero(~np.isfinite(frame.positions).all(axis=1)):
        raise ValueError(f"{source}, atom {i}: its position {frame.positions[i]} is not finite; remove the frame")
    if not np.isfinite(frame.cell.array).all():
        raise ValueError(f"{source}: its cell is not finite; remove the frame")
    for i in np.flatnonzero(frame.numbers < 1):
        raise ValueError(f"{source}, atom {i}: it has no element (X); name it or remove it")


def _calculated(frame):
    """Results that ASE's calculator holds for this very frame; nothing is calculated."""
    calculator = frame.calc
    return {} if calculator is None or calculator.check_state(frame) else dict(calculator.results)


def _numbers(value, kind, n_atoms, where):
    """A label as floats of its one shape, checked."""
    shapes = {"energy": [(), (1,)], "forces": [(n_atoms, 3)]}.get(kind, [(6,), (9,), (3, 3)])
    try:
        value = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {value!r} is not a number or an array of numbers") from None
    if value.shape not in shapes:
        raise ValueError(f"{where}: has shape {value.shape}, must be {' or '.join(map(str, shapes))}")
    if kind == "forces":
        for i in np.flatnonzero(~np.isfinite(value).all(axis=1)):
            raise ValueError(f"{where}, atom {i}: the force {value[i]} is not finite; remove the label or the frame")
    elif not np.isfinite(value).all():
        raise ValueError(f"{where}: {value} is not finite; remove the label or the frame")
    return float(value.item()) if kind == "energy" else value if kind == "forces" else _voigt(value, where)


def _voigt(value, where):
    """(6,), (9,) or (3, 3) -> (6,) in the order xx, yy, zz, yz, xz, xy."""
    if value.shape == (6,):
        return value
    full = value.reshape(3, 3)
    if np.abs(full - full.T).max() > 0.05 * np.abs(full).max():  # codes print a few digits of an almost symmetric tensor
        raise ValueError(f"{where}: is not symmetric; 9 numbers must be xx xy xz yx yy yz zx zy zz")
    return (0.5 * (full + full.T))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _stress(frame, label, found, source):
    """(1, 6) stress of a frame from its stress or virial; the one under a REF_ or user's key comes first."""
    if not frame.pbc.all():
        raise ValueError(
            f"{source}: has a stress or virial but is not periodic in three directions (pbc {frame.pbc}), where stress is not defined; "
            "remove the label, or leave stress out (Keys(stress=None))"
        )
    volume = frame.get_volume()
    if volume < 1e-6:
        raise ValueError(f"{source}: has a stress or virial but a cell of no volume")
    stress_of = {kind: label[kind] / (1.0 if kind == "stress" else -volume) for kind in ("stress", "virial") if kind in label}
    plain = {kind: found[kind] in PLAIN[kind] for kind in stress_of}
    if len(stress_of) == 2 and plain["stress"] == plain["virial"]:
        largest, difference = np.abs(stress_of["stress"]).max(), np.abs(stress_of["stress"] - stress_of["virial"]).max()
        if difference > 0.02 * largest + 1e-4:
            raise ValueError(f"{source}: stress and virial contradict each other; virial must be -volume times stress; remove one")
    return stress_of[min(stress_of, key=plain.get)][None]


def _warn_of_mixture(used):
    """Warn where some labels are from REF_ keys and others from plain ones: perhaps of another method."""
    plain = {(kind, name) for kind, name in used if name in PLAIN[kind]}
    defaults = {(kind, name) for kind, name in used if name in Keys()}
    if plain and defaults:
        counted = ", ".join(f"{used[key]} {key[1]}" for key in sorted(defaults) + sorted(plain))
        warnings.warn(
            f"labels under REF_ keys and under plain names occur together ({counted}): if they are not from the same method, give the "
            "keys to use",
            stacklevel=4,
        )


def _count(dataset):
    n_forces = int(dataset.n_atoms_m[dataset.has_forces_m].sum())
    return f"{dataset.has_energy_m.sum()} energies, {n_forces:,} force vectors, {dataset.has_stress_m.sum()} stresses"
