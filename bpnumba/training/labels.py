"""The labels of one frame: found, checked, brought to one shape and sign.

Comes in: an `ase.Atoms` as a file or a user gives it. Goes out: `Labels`, or an error that names frame and atom.

Labels are looked for under the ``REF_`` keys of `bpnumba.io.keys.Keys`, then under the plain names that ASE moves into
its calculator. Units are eV, eV/Angstrom, eV/Angstrom^3; stress has ASE's sign, positive under tension. A virial (eV)
has the sign that extended XYZ files have by custom of GAP, QUIP and MACE, the opposite of the sign inside this
library::

    virial = -volume * stress = -dE/d(strain)

Where a frame has both, ``energy`` is taken and not ``free_energy``, as ASE (``get_potential_energy``) and MACE do. With
smeared electrons they differ: ASE's energy of VASP is the one extrapolated to no smearing, while forces and stress are
derivatives of the free energy. If the difference matters, a warning says so and how to choose.
"""

import warnings
from collections import Counter
from typing import NamedTuple

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from bpnumba.io.keys import DEFAULT_KEYS, PLAIN, stored_in
from bpnumba.kernels.neighbors import neighbor_list
from bpnumba.pairs import SAME_PLACE, check_distances, check_structure
from bpnumba.units import MEV

SMEARING = 1e-3  # eV/atom; what a fit can notice
ASYMMETRY = 0.05  # of the largest component; codes print few digits of tensors that are not quite converged
DISAGREEMENT = 0.02  # between stress and virial of one frame, as they are rounded in a file


class Labels(NamedTuple):
    """Labels of a frame; None where absent.

    Attributes
    ----------
    energy : float, eV
    forces : (n_a, 3) eV/Angstrom
    stress : (6,) eV/Angstrom^3, Voigt order xx, yy, zz, yz, xz, xy
    names : dict, kind of label to the name under which it was found
    smearing : float, eV/atom; free_energy - energy where a frame has both and nobody chose, else 0
    """

    energy: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    names: dict
    smearing: float


def labels_of(frame, names, source):
    """Labels of a frame.

    Parameters
    ----------
    frame : ase.Atoms
        Nothing is calculated; results that its calculator holds for this very structure are labels.
    names : dict
        From `bpnumba.io.keys.Keys.names`.
    source : str
        Name of the frame, for messages.

    Raises
    ------
    ValueError
        No atoms, an atom without element, two atoms at one place, a position or cell that is not finite, a periodic
        cell without volume; a label that is not finite or of wrong shape; a stress on a frame that is not periodic in
        three directions; stress and virial that contradict each other.
    """
    _check_frame(frame, source)
    stored = stored_in(frame)
    found = {kind: next((name for name in names[kind] if name in stored), None) for kind in names}
    plain = {kind for kind in ("stress", "virial") if found[kind] in PLAIN[kind]}
    if len(plain) == 1 and found["stress"] and found["virial"]:
        found[plain.pop()] = None  # stress and virial are one label: a REF_ or user's key comes before a plain one
    found = {kind: name for kind, name in found.items() if name is not None}
    value = {kind: _checked(stored[name], kind, len(frame), f"{source}, {name}") for kind, name in found.items()}
    smearing = 0.0
    if found.get("energy") == "energy" and "free_energy" in names["energy"] and "free_energy" in stored:
        free = _checked(stored["free_energy"], "energy", len(frame), f"{source}, free_energy")
        smearing = (free - value["energy"]) / len(frame)
    return Labels(value.get("energy"), value.get("forces"), _stress(frame, value, found, source), found, smearing)


def warn_of_names(labels_m, sources):
    """Warn where labels may be of two methods (REF_ keys and plain ones), or energy and free energy differ."""
    used = Counter(found for labels in labels_m for found in labels.names.items())
    plain = {(kind, name) for kind, name in used if name in PLAIN[kind]}
    defaults = {(kind, name) for kind, name in used if name in DEFAULT_KEYS}
    if plain and defaults:
        counted = ", ".join(f"{used[key]} {key[1]}" for key in sorted(defaults) + sorted(plain))
        warnings.warn(
            f"labels under REF_ keys and under plain names occur together ({counted}): if they are not from the same "
            "method, name the keys to use",
            stacklevel=4,
        )
    smearing_m = np.abs([labels.smearing for labels in labels_m])
    if smearing_m.max(initial=0.0) > SMEARING:
        warnings.warn(
            f"{np.sum(smearing_m > SMEARING)} frames have an energy and a free_energy that differ, most by "
            f"{MEV * smearing_m.max():.3g} meV/atom in {sources[smearing_m.argmax()]}. The energy is used, but forces "
            "and stress are derivatives of the free energy. Choose with Keys(energy='free_energy') or "
            "Keys(energy='energy'), on the command line --energy-key free_energy or --energy-key energy",
            stacklevel=4,
        )


def _check_frame(frame, source):
    if len(frame) == 0:
        raise ValueError(f"{source}: has no atoms; remove it")
    for i in np.flatnonzero(frame.numbers < 1):
        raise ValueError(f"{source}, atom {i}: it has no element (X); name it or remove it")
    where = f"{source}: "
    check_structure(frame, where)
    near = neighbor_list(frame.positions, frame.cell.array, frame.pbc, 2 * SAME_PLACE)
    check_distances(frame, *near, where)


def _checked(value, kind, n_atoms, where):
    """A label as floats of its one shape."""
    shapes = {"energy": [(), (1,)], "forces": [(n_atoms, 3)]}.get(kind, [(6,), (9,), (3, 3)])
    try:
        value = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {value!r} is not a number or an array of numbers") from None
    if value.shape not in shapes:
        raise ValueError(f"{where}: has shape {value.shape}, must be {' or '.join(map(str, shapes))}")
    for i in np.argwhere(~np.isfinite(value)):
        atom = f", atom {i[0]}" if kind == "forces" else ""
        raise ValueError(f"{where}{atom}: {value[tuple(i)]} is not finite; remove the label or the frame")
    return value.item() if kind == "energy" else value if kind == "forces" else _voigt(value, where)


def _voigt(value, where):
    """(6,), (9,) or (3, 3) -> (6,) in the order xx, yy, zz, yz, xz, xy."""
    if value.shape == (6,):
        return value
    full = value.reshape(3, 3)
    if np.abs(full - full.T).max() > ASYMMETRY * np.abs(full).max():
        raise ValueError(f"{where}: is not symmetric; 9 numbers must be xx xy xz yx yy yz zx zy zz")
    return full_3x3_to_voigt_6_stress(full)


def _stress(frame, value, found, source):
    """Stress from stress or virial, None without both."""
    found = {kind: found[kind] for kind in ("stress", "virial") if kind in found}
    if not found:
        return None
    if not frame.pbc.all():
        raise ValueError(
            f"{source}: has {' and '.join(found.values())} but is not periodic in three directions (pbc {frame.pbc}), "
            "so that stress is not defined; remove the label, or leave stress out: Keys(stress=None), on the command "
            "line --stress-key none"
        )
    divisor = {"stress": 1.0, "virial": -frame.cell.volume}
    stresses = [value[kind] / divisor[kind] for kind in found]
    difference = np.abs(stresses[0] - stresses[-1]).max()
    if difference > DISAGREEMENT * np.abs(stresses[0]).max() + 1e-4:
        raise ValueError(
            f"{source}: {' and '.join(found.values())} contradict each other; a virial must be -volume times stress. "
            "Correct or remove one"
        )
    return stresses[0]
