"""Which structures of the data are a crystal, a liquid, a molecule?

Comes in: structures with energies and forces.  Goes out: at most one structure of each kind, with its name.  A crystal
is periodic in three directions, without a gap, and its forces are small, or it has few atoms; a liquid is periodic,
too, and has neither.  Of all frames of a kind the ones of the most frequent formula count, and of these the one of the
lowest energy per atom.

>>> import numpy as np
>>> from ase.build import bulk, molecule
>>> frames = [bulk("Si"), bulk("Si", a=5.6), molecule("SiH4")]
>>> found = choose(frames, ["a", "b", "c"], [-10.9, -10.8, -9.0], [np.zeros((len(atoms), 3)) for atoms in frames])
>>> {kind: name for kind, (name, atoms) in found.items()}
{'crystal': 'a', 'molecule': 'c'}
"""

from collections import Counter

import numpy as np

from bpnumba.properties.lattice import heights

__all__ = ["choose", "choose_from", "kind_of"]

CALM = 0.3
"""eV/Angstrom, root mean square of the force components of what is near a minimum; at 300 K a liquid has over 0.5."""

FEW = 16
"""Atoms of a cell that is too small for disorder."""

GAP = 5.0
"""Angstrom without atoms: a surface or a molecule in a box."""


def choose(frames, names, energies, forces):
    """The crystal, liquid and molecule among structures.

    Parameters
    ----------
    frames : sequence of ase.Atoms
    names : sequence of str
    energies : sequence of float
        Total energies in eV.
    forces : sequence of (n, 3) arrays
        eV/Angstrom.

    Returns
    -------
    dict
        "crystal", "liquid", "molecule" -> (name, Atoms); kinds that are not there are left out, and the liquid where
        there is a crystal.
    """
    kinds = [kind_of(atoms, force) for atoms, force in zip(frames, forces, strict=True)]
    formulas, found = [_formula(atoms) for atoms in frames], {}
    for kind in ("crystal", "liquid", "molecule"):
        counted = Counter(formula for formula, of_kind in zip(formulas, kinds, strict=True) if of_kind == kind)
        if counted and not (kind == "liquid" and "crystal" in found):
            formula = counted.most_common(1)[0][0]
            m = min((m for m in range(len(frames)) if (kinds[m], formulas[m]) == (kind, formula)),
                    key=lambda m: energies[m] / len(frames[m]))  # fmt: skip
            found[kind] = (names[m], frames[m])
    return found


def choose_from(dataset, potential):
    """The same from a `Dataset`, by its labels, or by predictions where a frame has no energy or no forces."""
    energy_m, forces_ac = dataset.energy_m, dataset.forces_ac
    if not (dataset.has_energy_m.all() and dataset.has_forces_m.all()):
        prediction = potential.evaluate(dataset.atoms)
        energy_m, forces_ac = prediction.energy_m, prediction.forces_ac
    ends = np.cumsum(dataset.n_atoms_m)
    members = [m for m in range(len(dataset)) if not dataset.isolated_m[m]]
    return choose(
        [dataset.atoms[m] for m in members],
        [dataset.source_m[m] for m in members],
        [energy_m[m] for m in members],
        [forces_ac[ends[m] - dataset.n_atoms_m[m] : ends[m]] for m in members],
    )


def kind_of(atoms, forces):
    """ "crystal", "liquid", "molecule", or None for surfaces, wires and single atoms."""
    if not atoms.pbc.any():
        return "molecule" if len(atoms) > 1 else None
    if not atoms.pbc.all() or _gap(atoms) > GAP:
        return None
    return "crystal" if len(atoms) <= FEW or np.sqrt(np.mean(np.square(forces))) < CALM else "liquid"


def _gap(atoms):
    """Angstrom, thickest layer between faces of the cell without atoms, beyond what a cell with one layer has."""
    gaps = []
    for scaled, height in zip(np.sort(atoms.get_scaled_positions().T, axis=1), heights(atoms.cell), strict=True):
        gaps.append(height * np.diff([*scaled, scaled[0] + 1.0]).max())
    return max(gaps)


def _formula(atoms):
    """Without the number of formula units: Si, H2O."""
    return str(atoms.symbols.formula.reduce()[0].convert("hill"))
