"""How good is a potential?  Its predictions against labels: root mean square and mean absolute errors.

Comes in: a potential and labelled frames.  Goes out: `Errors`, in all and per config_type, with the worst frame of each
kind, because a single frame often carries the error.  Isolated atoms (`Dataset.isolated_m`) are reference energies, not
something that a potential learns: they have a row of their own, and count in no other one.

>>> from ase.build import bulk
>>> from bpnumba.potential import Potential
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> silicon = bulk("Si")
>>> silicon.info["REF_energy"] = 0.1
>>> potential = Potential.untrained(functions, [silicon, bulk("Si", a=5.6)], hidden=(5,))
>>> potential = potential.with_weights(0.0 * potential.theta)
>>> evaluate(potential, silicon).total.energy_mae_mev_per_atom
50.0
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from bpnumba.extrapolation import farthest, named
from bpnumba.pairs import stress_voigt
from bpnumba.training.dataset import Keys, read
from bpnumba.units import GPA, MEV

__all__ = ["Errors", "Outside", "Row", "compare", "evaluate", "stress_of"]

UNIT = {"energy": MEV, "forces": 1.0, "stress": GPA}  # from eV per atom, eV/Angstrom, eV/Angstrom^3
PRINTED = {"energy": "meV/atom", "forces": "eV/A", "stress": "GPa"}
ISOLATED = "isolated atoms"  # name of their row


class Row(NamedTuple):
    """Errors of one group of frames, per component of forces and (Voigt) stress; None where there is no label."""

    n_frames: int
    n_energies: int
    n_forces: int  # force components
    n_stresses: int  # stress components
    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    forces_rmse_ev_per_angstrom: float | None
    forces_mae_ev_per_angstrom: float | None
    stress_rmse_gpa: float | None
    stress_mae_gpa: float | None

    @classmethod
    def of(cls, n_frames, differences):
        """From the differences of energy (meV/atom), forces (eV/Angstrom) and stress (GPa), arrays of any shape."""
        errors = []
        for d in differences:
            errors += [float(np.sqrt(np.mean(d * d))), float(np.mean(np.abs(d)))] if d.size else [None, None]
        return cls(n_frames, *(d.size for d in differences), *errors)


class Outside(NamedTuple):
    """Atoms outside of the range of the training data, and frames with such atoms, isolated atoms left out."""

    n_atoms: int
    of_atoms: int
    n_frames: int
    of_frames: int
    farthest: str | None  # names atom, function and value

    @classmethod
    def of(cls, events, dataset, functions):
        """From the events of a prediction of all frames."""
        first_m, bonded_m = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m, ~dataset.isolated_m
        events, words = events[bonded_m[events["structure"]]], None
        for event in farthest(events, 1):
            m = event["structure"]
            words = named(event, functions, first_m[m], dataset.source_m[m])
        n_atoms, n_frames = (len(np.unique(events[name])) for name in ("atom", "structure"))
        return cls(n_atoms, int(dataset.n_atoms_m[bonded_m].sum()), n_frames, int(bonded_m.sum()), words)

    def __str__(self):
        return (
            f"outside the range of the training data: {self.n_atoms} of {self.of_atoms} atoms in {self.n_frames} of "
            f"{self.of_frames} frames, farthest {self.farthest}"
        )


@dataclass(frozen=True)
class Errors:
    """Errors of a potential against labels; ``print(errors)`` shows the table.

    Attributes
    ----------
    total : Row
        All frames but isolated atoms.
    by_config_type : dict of str to Row
        The same frames by their config_type; isolated atoms, if there are any, are the last row, `ISOLATED`.
    worst : dict
        "energy", "forces", "stress" -> (name of the frame, its error): the largest energy error, and the largest
        root mean square over the components of one frame; units as in `Row`.
    extrapolation : Outside, optional
        None in errors of models that were made before this was looked at.
    """

    total: Row
    by_config_type: dict
    worst: dict
    extrapolation: Outside | None = None

    def to_json(self):
        """Plain dictionary: the fields of `Row` for all frames, "by_config_type", "worst" and "extrapolation"."""
        return {
            **self.total._asdict(),
            "by_config_type": {name: row._asdict() for name, row in self.by_config_type.items()},
            "worst": {kind: {"frame": frame, "error": error} for kind, (frame, error) in self.worst.items()},
            "extrapolation": None if self.extrapolation is None else self.extrapolation._asdict(),
        }

    @classmethod
    def from_json(cls, plain):
        """The inverse of `to_json`, for errors that a model file remembers."""
        total = Row(*(plain[name] for name in Row._fields))
        groups = {name: Row(*(row[field] for field in Row._fields)) for name, row in plain["by_config_type"].items()}
        worst = {kind: (of_kind["frame"], of_kind["error"]) for kind, of_kind in plain["worst"].items()}
        outside = plain.get("extrapolation")
        return cls(total, groups, worst, None if outside is None else Outside(**outside))

    def __str__(self):
        groups = {"all": self.total}
        if len(self.by_config_type) > 1 or ISOLATED in self.by_config_type:
            groups |= self.by_config_type
        width = max(map(len, groups))
        pairs = "".join(f"{f'{kind} ({PRINTED[kind]})':>22}" for kind in UNIT)
        lines = [f"{'':{width}}{'':>8}{pairs}", f"{'':{width}}{'frames':>8}" + f"{'RMSE':>13}{'MAE':>9}" * 3]
        for name, row in groups.items():
            cells = [("-" if value is None else f"{value:.{digits}f}" if value < 1e4 else f"{value:.2e}").rjust(wide)
                     for value, digits, wide in zip(row[4:], (2, 2, 4, 4, 3, 3), (13, 9) * 3, strict=True)]  # fmt: skip
            lines.append(f"{name:{width}}{row.n_frames:>8}" + "".join(cells))
        for kind, (frame, error) in self.worst.items():
            lines.append(f"worst {kind}: {error:.4g} {PRINTED[kind]} in {frame}")
        if self.extrapolation and self.extrapolation.n_atoms:
            lines.append(str(self.extrapolation))
        if ISOLATED in self.by_config_type:
            lines.append(f"{ISOLATED} are reference energies: not counted in all, nor among the worst")
        return "\n".join(lines)


def evaluate(potential, data, keys=Keys(), units="atomic"):
    """Errors of a potential on labelled frames; of a committee those of its mean.

    Parameters
    ----------
    potential : Potential, Committee or Composite
    data : Dataset, path, Atoms, or a list of paths or Atoms
    keys : Keys
        Names of the labels.
    units : str
        Of files of RuNNer and n2p2, "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).

    Returns
    -------
    Errors

    Raises
    ------
    ValueError
        There is no frame, no label at all, or a structure that the potential cannot describe.
    """
    dataset = read(data, keys, units=units)
    return judged(potential, potential.evaluate(dataset.atoms), dataset)


def judged(potential, prediction, dataset):
    """`Errors` of a `Prediction` that is there already, with what lies outside of the training data."""
    beyond = Outside.of(prediction.extrapolation, dataset, potential.symmetry_functions)
    return replace(compare(prediction, dataset), extrapolation=beyond)


def compare(prediction, dataset):
    """`Errors` of a `Prediction` of the frames of a dataset."""
    if not (dataset.has_energy_m.any() or dataset.has_forces_m.any() or dataset.has_stress_m.any()):
        raise ValueError("none of the frames has a label to compare with; give the names that labels have in your data")
    differences_m = [_differences(prediction, dataset, m, rows) for m, rows in enumerate(_rows(dataset))]
    bonded, isolated = np.flatnonzero(~dataset.isolated_m), np.flatnonzero(dataset.isolated_m)
    groups = {name: [m for m in bonded if dataset.config_type_m[m] == name]
              for name in dict.fromkeys(dataset.config_type_m[m] for m in bonded)}  # fmt: skip
    if len(isolated):
        groups[ISOLATED] = isolated
    worst = {}
    for k, kind in enumerate(UNIT):
        rms = {m: float(np.sqrt(np.mean(differences_m[m][k] ** 2))) for m in bonded if differences_m[m][k].size}
        if rms:
            m = max(rms, key=rms.get)
            worst[kind] = (dataset.source_m[m], rms[m])
    return Errors(
        _row(differences_m, bonded), {name: _row(differences_m, members) for name, members in groups.items()}, worst
    )


def stress_of(prediction, frames):
    """Stress (n, 6) of some structures of a batch, eV/Angstrom^3; others need not be periodic in three directions."""
    return stress_voigt(prediction.virial_mcc[frames], prediction.volume_m[frames])


def _rows(dataset):
    """Rows of the atoms of every frame."""
    ends = np.cumsum(dataset.n_atoms_m)
    return [slice(end - n, end) for end, n in zip(ends, dataset.n_atoms_m, strict=True)]


def _differences(prediction, dataset, m, rows):
    """Prediction minus label of one frame in printed units: energy, forces, stress; empty where there is no label."""
    energy, forces, stress = np.zeros(0), np.zeros(0), np.zeros(0)
    if dataset.has_energy_m[m]:
        energy = (prediction.energy_m[m : m + 1] - dataset.energy_m[m]) / dataset.n_atoms_m[m] * UNIT["energy"]
    if dataset.has_forces_m[m]:
        forces = (prediction.forces_ac[rows] - dataset.forces_ac[rows]) * UNIT["forces"]
    if dataset.has_stress_m[m]:
        stress = (stress_of(prediction, [m])[0] - dataset.stress_mv[m]) * UNIT["stress"]
    return energy, forces.ravel(), stress


def _row(differences_m, members):
    nothing = np.zeros(0)
    return Row.of(len(members), [np.concatenate([nothing, *(differences_m[m][k] for m in members)]) for k in range(3)])
