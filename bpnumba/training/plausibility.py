"""Labels that can be read but hardly believed: warnings, never errors.

Comes in: a `Dataset` whose labels have the right shape. Goes out: one warning for each kind of suspicion, with the
frames by name. Nothing is changed; the user knows better, but should know.
"""

import warnings
from collections import defaultdict

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from bpnumba.units import GPA

LARGE_FORCE = 100.0  # eV/Angstrom; a hard collision in first-principles dynamics reaches about 50
LARGE_STRESS = 3.0  # eV/Angstrom^3 = 480 GPa, beyond the pressure in the center of the Earth
SAME_POSITION = 1e-3  # fractional coordinate
SMALLEST_DIFFERENCE = 1e-3  # eV/atom; less drowns in the convergence of first-principles codes
LARGEST_STRAIN = 0.08  # over which the mean of two stresses is still a fair mean
FACTOR = 3.0  # between energy and work; anharmonicity and Pulay stress stay below it


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
    """Energy differences in units of the work of the stress, between frames that differ by a homogeneous strain.

    Frames of the same atoms at the same fractional positions are one body under strain. With r_n = r_m F, ::

        E_n - E_m = integral of V stress : d(strain),   work = (V_m stress_m + V_n stress_n)/2 : 2 (F - 1)(F + 1)^-1

    and ratio = (E_n - E_m) / work is near 1, whatever the forces are. A stress of the wrong sign gives a negative
    ratio, stresses in GPa 1/160, in kbar 1/1602. Every frame is compared with the least stressed one of its family,
    where the energies differ by more than 1 meV/atom.

    Returns
    -------
    ratios : (n,) array, in no special order; empty where no frames can be compared
    """
    groups = defaultdict(list)
    for m in np.flatnonzero(dataset.has_energy_m & dataset.has_stress_m):
        groups[dataset.atoms[m].numbers.tobytes()].append(m)
    families = [family for members in groups.values() for family in _families(dataset.atoms, members)]
    ratios = []
    for family in families:
        m = min(family, key=lambda n: np.abs(dataset.stress_mv[n]).max())
        for n in family:
            difference = dataset.energy_m[n] - dataset.energy_m[m]
            work = _work(dataset, m, n)
            if work != 0 and abs(difference) > SMALLEST_DIFFERENCE * len(dataset.atoms[m]):
                ratios.append(difference / work)
    return np.array(ratios)


def _families(atoms_m, members):
    """Frames of equal fractional positions, O(n log n): sorted by a projection, equal ones become neighbors."""
    angle = [2 * np.pi * atoms_m[m].cell.scaled_positions(atoms_m[m].positions).ravel() for m in members]
    place = np.hstack([np.cos(angle), np.sin(angle)])  # 0 and 1 are one place
    order = np.argsort(place @ np.random.default_rng(0).normal(size=place.shape[1]))
    different = np.abs(np.diff(place[order], axis=0)).max(axis=1) > 2 * np.pi * SAME_POSITION
    return np.split(np.array(members)[order], np.flatnonzero(different) + 1)


def _work(dataset, m, n):
    """Work of the mean stress from frame m to frame n, eV; 0 where the strain is too large for a mean."""
    gradient = np.linalg.solve(dataset.atoms[m].cell.array, dataset.atoms[n].cell.array)
    if np.abs(gradient - np.eye(3)).max() > LARGEST_STRAIN:
        return 0.0
    strain = 2 * (gradient - np.eye(3)) @ np.linalg.inv(gradient + np.eye(3))
    stress = 0.5 * sum(dataset.atoms[k].get_volume() * voigt_6_to_full_3x3_stress(dataset.stress_mv[k]) for k in (m, n))
    return float(np.sum(stress * strain))


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
            f"{len(large)} forces in {len(set(frame_a[large]))} frames exceed {LARGE_FORCE:g} eV/Angstrom, the largest "
            f"is {force_a[worst]:.4g} on atom {atom} of {dataset.source_m[frame_a[worst]]}: a unit other than "
            "eV/Angstrom, or atoms on top of each other? Such frames dominate a fit"
        )


def _strange_stresses(dataset):
    largest_m = np.abs(dataset.stress_mv[dataset.has_stress_m]).max(axis=1)
    if len(largest_m) and np.median(largest_m) > LARGE_STRESS:
        yield (
            f"half of the stresses exceed {np.median(largest_m):.3g} eV/Angstrom^3 = {np.median(largest_m) * GPA:.3g} "
            "GPa: are they in GPa or kbar? Convert them to eV/Angstrom^3 (1 GPa = 1/160.2, 1 kbar = 1/1602)"
        )
    ratios = stress_ratios(dataset)
    ratio = np.median(ratios) if len(ratios) > 1 else 1.0
    if not 1 / FACTOR < ratio < FACTOR:
        cause = (
            "the sign is wrong: stress is positive under tension (VASP prints the opposite), virial is -volume * stress"
            if ratio < 0
            else "the unit is wrong: it must be eV/Angstrom^3 (1 GPa = 1/160.2, 1 kbar = 1/1602)"
        )
        yield (
            f"the stresses contradict the energies: in {len(ratios)} pairs of strained frames the energy difference is "
            f"{ratio:.3g} times the work of the stress and should be 1. Perhaps {cause}"
        )
