"""Labels that can be read but hardly believed: warnings, never errors.

Comes in: a `Dataset` whose labels have the right shape.  Goes out: one warning for each kind of suspicion, with the frames by
name.  Nothing is changed; the user knows better, but should know.
"""

import warnings
from collections import defaultdict

import numpy as np

from bpnumba.units import GPA

LARGE_FORCE = 100.0  # eV/Angstrom; a hard collision in first-principles dynamics reaches about 50
LARGE_STRESS = 3.0  # eV/Angstrom^3 = 480 GPa, beyond the pressure in the center of the Earth
SAME_POSITION = 1e-3  # fractional coordinate
SMALLEST_WORK = 1e-3  # eV/atom; smaller energy differences drown in the convergence of first-principles codes
LARGEST_CHANGE = 0.15  # relative change of volume over which the mean of two stresses is still a fair mean
FACTOR = 3.0  # between two frames the stress changes, but hardly by this


def warn(dataset):
    """Warn of duplicate frames, enormous forces, and stresses whose sign or unit does not fit the energies."""
    for message in (*_duplicates(dataset), *_large_forces(dataset), *_strange_stresses(dataset)):
        warnings.warn(message, stacklevel=4)


def duplicates(dataset):
    """Pairs (m, n), n < m: frame m has the atoms, positions and cell of the earlier frame n (to 1e-6 Angstrom)."""
    first, pairs = {}, []
    for m, atoms in enumerate(dataset.atoms):
        geometry = np.round(np.vstack([atoms.cell.array, atoms.positions]), 6) + 0.0  # -0 becomes 0
        n = first.setdefault((atoms.numbers.tobytes(), atoms.pbc.tobytes(), geometry.tobytes()), m)
        if n != m:
            pairs.append((m, n))
    return pairs


def stress_ratios(dataset):
    r"""Energy differences in units of the work of the stress, between frames that differ by their volume only.

    Two frames of the same atoms at the same fractional positions, in cells of the same shape, are states of one body under
    isotropic strain, and ::

        E_n - E_m = integral of p dV,  p = trace(stress)/3,   so   ratio = (E_n - E_m) / [(p_m + p_n)/2 (V_n - V_m)]

    is near 1.  A stress of the wrong sign gives a negative ratio, stresses in GPa 1/160, in kbar 1/1602.  Only neighbors in
    volume are compared, and only where both stresses have one sign and the energy differs by more than 1 meV/atom.

    Returns
    -------
    ratios : (n,) array, in no special order; empty where no frames can be compared
    """
    groups = defaultdict(list)
    for m in np.flatnonzero(dataset.has_energy_m & dataset.has_stress_m):
        groups[dataset.atoms[m].numbers.tobytes()].append(m)
    ratios = []
    for members in groups.values():
        for m, n in _neighbors_in_volume(dataset.atoms, members):
            n_atoms, volume = len(dataset.atoms[m]), dataset.atoms[m].get_volume()
            change = dataset.atoms[n].get_volume() - volume
            difference = dataset.energy_m[n] - dataset.energy_m[m]
            p_m, p_n = dataset.stress_mv[[m, n], :3].mean(axis=1)
            if p_m * p_n > 0 and 0 < change < LARGEST_CHANGE * volume and abs(difference) > SMALLEST_WORK * n_atoms:
                ratios.append(difference / (0.5 * (p_m + p_n) * change))
    return np.array(ratios)


def _neighbors_in_volume(atoms_m, members):
    """Pairs of frames, neighbors in volume, of equal shape of the cell and equal fractional positions; O(n log n).

    Cell shape and positions form one vector per frame (cos and sin: 0 and 1 are one place).  Sorted by a fixed projection,
    equal vectors become neighbors.
    """
    if len(members) < 2:
        return
    vectors = np.array([_scale_free(atoms_m[m]) for m in members])
    order = np.argsort(vectors @ np.random.default_rng(0).normal(size=vectors.shape[1]))
    different = np.abs(np.diff(vectors[order], axis=0)).max(axis=1) > 2 * np.pi * SAME_POSITION
    for family in np.split(np.array(members)[order], np.flatnonzero(different) + 1):
        family = sorted(family, key=lambda m: atoms_m[m].get_volume())
        yield from zip(family[:-1], family[1:], strict=True)


def _scale_free(atoms):
    cell = atoms.cell.array / np.cbrt(atoms.get_volume())
    angle = 2 * np.pi * atoms.cell.scaled_positions(atoms.positions)
    return np.concatenate([cell.ravel(), np.cos(angle).ravel(), np.sin(angle).ravel()])


def _duplicates(dataset):
    pairs = duplicates(dataset)
    if pairs:
        named = "; ".join(f"{dataset.source_m[m]} repeats {dataset.source_m[n]}" for m, n in pairs[:5])
        yield f"{len(pairs)} duplicate frames count twice: {named}{'; ...' * (len(pairs) > 5)}"


def _large_forces(dataset):
    if not len(dataset):
        return
    force_a = np.linalg.norm(dataset.forces_ac, axis=1)
    frame_a = np.repeat(np.arange(len(dataset)), dataset.n_atoms_m)
    large = np.flatnonzero(force_a > LARGE_FORCE)
    if len(large):
        worst = large[np.argmax(force_a[large])]
        atom = worst - np.searchsorted(frame_a, frame_a[worst])
        yield (
            f"{len(large)} forces in {len(set(frame_a[large]))} frames exceed {LARGE_FORCE:g} eV/Angstrom, the largest is "
            f"{force_a[worst]:.4g} on atom {atom} of {dataset.source_m[frame_a[worst]]}: a unit other than eV/Angstrom, or "
            "atoms on top of each other? Such frames dominate a fit"
        )


def _strange_stresses(dataset):
    largest_m = np.abs(dataset.stress_mv[dataset.has_stress_m]).max(axis=1)
    if len(largest_m) and np.median(largest_m) > LARGE_STRESS:
        yield (
            f"stresses of {np.median(largest_m):.3g} eV/Angstrom^3 ({np.median(largest_m) * GPA:.3g} GPa) in half of the frames: "
            "is their unit GPa or kbar? Convert to eV/Angstrom^3 (1 GPa = 1/160.2 eV/Angstrom^3)"
        )
    ratios = stress_ratios(dataset)
    ratio = np.median(ratios) if len(ratios) > 1 else 1.0
    if ratio < 0:
        yield (
            f"in {len(ratios)} pairs of frames that differ by their volume the stresses have the wrong sign (energy difference "
            f"over work of the stress: {ratio:.3g}, should be 1): stress is positive under tension, VASP prints the opposite; "
            "virial is -volume times stress"
        )
    elif not 1 / FACTOR < ratio < FACTOR:
        yield (
            f"in {len(ratios)} pairs of frames that differ by their volume the energies do not fit the stresses (energy "
            f"difference over work of the stress: {ratio:.3g}, should be 1): the unit must be eV/Angstrom^3 "
            "(1 GPa = 1/160.2, 1 kbar = 1/1602)"
        )
