"""What `doctor` sees in energies and stresses: energies against linear fits, other units, the size of the stresses.

Comes in: a `Dataset` of sound frames and the `Surroundings` of its atoms.  Goes out: sections and findings.
"""

from collections import defaultdict

import numpy as np
from ase.data import atomic_numbers

from bpnumba.doctor.report import Finding, Section
from bpnumba.reference_energies import AMBIGUOUS, ISOLATED, reference_energies
from bpnumba.training.plausibility import LARGE_STRESS
from bpnumba.units import GPA, HARTREE, MEV

FAR = 10.0
"""Robust standard deviations. Sound sets of melts, crystals and molecules reach 5, small cells of many phases 9."""

SMALLEST_RESIDUAL = 0.015  # eV/atom; nearer is nothing that a rough fit can judge
FRAMES_PER_COLUMN = 5  # of the rough fit
MOST_COLUMNS = 400  # with many elements, random mixtures of columns
FLOOR = 0.03  # columns that hardly vary stay small
FEWEST = 20  # frames of a rough fit
LISTED_TYPES = 12
ROUNDS = 15
KT = 0.02585  # eV, at 300 K
SMALL, SMALL_FORCE = 0.3, 0.1
"""Atoms that feel forces beyond 0.1 eV/Angstrom are warm; stresses below 0.3 of an ideal gas are then hardly real."""

TIGHT = 0.03  # spread of energies per atom, relative, below which another unit shows
OTHER = {"Hartree": 1 / HARTREE, "Rydberg": 2 / HARTREE, "kcal/mol": 23.0605, "kJ/mol": 96.4853, "meV": 1e3,
         "eV with the wrong sign": -1.0}  # fmt: skip
"""What a number in another unit is, in terms of the same in eV."""


def energies(dataset, surroundings):
    """Energies against the composition alone, and against composition and distances."""
    chosen = np.flatnonzero(dataset.has_energy_m & ~dataset.isolated_m)
    if not len(chosen):
        return Section("Energies", ("none",)), []
    N, E, names = dataset.n_atoms_m[chosen], dataset.energy_m[chosen], np.array(dataset.source_m)[chosen]
    numbers_m = [dataset.atoms[m].numbers for m in chosen]
    species = tuple(dataset.subset(chosen).species)
    E0, _ = reference_energies(numbers_m, E, species)
    alone, origin = reference_energies(
        [atoms.numbers for atoms in dataset.atoms], np.where(dataset.has_energy_m, dataset.energy_m, np.nan),
        dataset.species, isolated_m=dataset.isolated_m,
    )  # fmt: skip
    count_me = np.array([[np.sum(numbers == atomic_numbers[s]) for s in species] for numbers in numbers_m])
    rest = (E - count_me @ np.array([E0[s] for s in species])) / N
    lines = [
        f"per atom {(E / N).min():.6g} to {(E / N).max():.6g} eV; least squares on the composition: "
        + ", ".join(f"{s} {E0[s]:.5g} eV" for s in species)
        + f", rms of the rest {MEV * np.sqrt(np.mean(rest**2)):.4g} meV/atom"
    ]
    findings = [*_sizes(numbers_m, N, E, names)]
    given = [s for s in origin if origin[s] == ISOLATED]
    if given:
        lines.append("isolated atoms: " + ", ".join(f"{s} {alone[s]:.6g} eV" for s in given))
    if AMBIGUOUS in origin.values():
        lines.append("the compositions do not tell the elements apart: only sums of these energies mean something")
        findings.append(Finding(
            "note", "the energies per element are not determined by the data, because compositions are too few", (),
            "for use at other compositions, or for cohesive energies, add isolated atoms or give "
            "--reference-energies; at these compositions nothing is lost",
        ))  # fmt: skip
    types = np.array(dataset.config_type_m)[chosen]
    lines += [
        f"  {kind}: {np.sum(types == kind)} frames, rest {MEV * rest[types == kind].mean():.1f} meV/atom on average, "
        f"from {MEV * rest[types == kind].min():.1f} to {MEV * rest[types == kind].max():.1f}"
        for kind in list(dict.fromkeys(types))[:LISTED_TYPES]
        if len(set(types)) > 1
    ]
    zero = (E == 0) & (N > 1)
    if zero.any():
        findings.append(Finding(
            "error" if zero.mean() < 0.5 else "warning", f"the energy of {zero.sum()} frames is exactly zero",
            tuple(names[zero]), "a label that is missing is not zero: leave it out, or repeat the calculation",
        ))  # fmt: skip
    if len(chosen) >= FEWEST:
        rest, spread = _rough_fit(count_me / N[:, None], surroundings.sums_mk[chosen] / N[:, None], E / N)
        lines.append(f"a rough fit to composition and distances leaves {MEV * spread:.4g} meV/atom (robust)")
        far = np.abs(rest) > max(FAR * spread, SMALLEST_RESIDUAL)
        if far.any():
            order = [k for k in np.argsort(-np.abs(rest)) if far[k]]
            findings.append(Finding(
                "warning",
                f"the energies of {far.sum()} frames are far from what composition and distances suggest, the first by "
                f"{MEV * rest[order[0]]:+.4g} meV/atom ({rest[order[0]] * N[order[0]]:+.3g} eV), where "
                f"{MEV * spread:.3g} is usual",
                tuple(names[order]),
                "another state, setting or unit, or a structure unlike all others: look at the calculation, and remove "
                "what did not converge",
            ))  # fmt: skip
    return Section("Energies", tuple(lines)), findings


def _rough_fit(fraction_me, sums_mk, energy_m):
    """What a linear fit leaves of every energy, eV/atom, and its robust spread.

    The columns are the composition and the principal components of sums over neighbors, one for every few frames: an
    embedded-atom potential, in effect. Frames that are far off do not bend it. What is left is divided by its expected
    size: smaller for a frame that is fitted with a column of its own, larger for one outside of what is fitted
    (leverage).
    """
    spread_k = sums_mk.std(axis=0)
    used = spread_k > 1e-9
    scaled = (sums_mk - sums_mk.mean(axis=0))[:, used] / (spread_k[used] + FLOOR * spread_k.max())
    if scaled.shape[1] > MOST_COLUMNS:
        scaled = scaled @ np.random.default_rng(0).normal(size=(scaled.shape[1], MOST_COLUMNS))
    U, s, _ = np.linalg.svd(scaled, full_matrices=False)
    U = U[:, s > 1e-6 * s.max(initial=1e-300)][:, : max(len(energy_m) // FRAMES_PER_COLUMN - fraction_me.shape[1], 0)]
    X = np.hstack([fraction_me, U * np.sqrt(len(U))])
    trust = np.ones(len(X))
    for _ in range(ROUNDS):  # least absolute deviations, by weights
        weight, *_ = np.linalg.lstsq(X * trust[:, None], energy_m * trust, rcond=None)
        gap = np.abs(energy_m - X @ weight)
        trust = 1 / np.sqrt(np.maximum(gap, 0.1 * np.median(gap) + 1e-9))
    kept = gap <= max(FAR * 1.4826 * np.median(gap), SMALLEST_RESIDUAL)
    weight, *_ = np.linalg.lstsq(X[kept], energy_m[kept], rcond=None)
    leverage = np.einsum("mk,kl,ml->m", X, np.linalg.pinv(X[kept].T @ X[kept]), X)
    rest = (energy_m - X @ weight) / np.sqrt(np.where(kept, 1 - np.minimum(leverage, 0.99), 1 + leverage))
    return rest, 1.4826 * np.median(np.abs(rest))


def _sizes(numbers_m, N, E, names):
    """Energies that do not grow with the number of atoms, or differ by the factor between two units."""
    groups = defaultdict(list)
    for k, numbers in enumerate(numbers_m):
        z, n = np.unique(numbers, return_counts=True)
        groups[tuple(z), tuple(n // np.gcd.reduce(n))].append(k)
    constant, other = [], defaultdict(list)
    for group in map(np.array, groups.values()):
        n, e = N[group], E[group]
        if n.max() > 1.5 * n.min() and len(group) > 3:
            slope = np.polyfit(n, e, 1)[0]
            if abs(slope) * np.median(n) < 0.1 * np.abs(np.median(e)):
                constant += group.tolist()
                continue
        per_atom = e / n
        middle = np.median(per_atom)
        spread = 1.4826 * np.median(np.abs(per_atom / middle - 1)) if middle else 1.0
        if len(group) < 5 or spread > TIGHT:
            continue
        for k, ratio in zip(group, per_atom / middle):
            for unit, factor in (*OTHER.items(), ("eV per atom", 1 / N[k])):
                if abs(ratio / factor - 1) < 0.01 + 3 * spread and abs(factor - 1) > 0.2:
                    other[unit].append(k)
                    break
    if constant:
        yield Finding(
            "error", f"in {len(constant)} frames the energy does not grow with the number of atoms",
            tuple(names[constant]),
            "energies must be those of all atoms of a frame: multiply values per atom by the number of atoms",
        )  # fmt: skip
    for unit, frames in other.items():
        yield Finding(
            "error", f"the energies of {len(frames)} frames look like {unit}, compared with frames of their elements",
            tuple(names[frames]), "bring all energies to eV per frame",
        )  # fmt: skip


def stresses(dataset):
    """The size of the stresses: enormous, or smaller than those of a gas."""
    chosen = np.flatnonzero(dataset.has_stress_m)
    if not len(chosen):
        return Section("Stresses", ("none: stress is not trained",)), []
    stress_mv, findings = dataset.stress_mv[chosen], []
    largest = np.abs(stress_mv).max(axis=1)
    pressure = -stress_mv[:, :3].mean(axis=1)
    volume = np.array([dataset.atoms[m].get_volume() for m in chosen])
    gas = dataset.n_atoms_m[chosen] * KT / volume
    force = np.sqrt(np.mean(dataset.forces_ac[np.repeat(dataset.has_stress_m, dataset.n_atoms_m)] ** 2))
    lines = (
        f"pressure {GPA * pressure.min():.3g} to {GPA * pressure.max():.3g} GPa, largest shear "
        f"{GPA * np.abs(stress_mv[:, 3:]).max():.3g} GPa; an ideal gas of these atoms at 300 K: "
        f"{GPA * np.median(gas):.2g} GPa",
    )
    if np.median(largest) > LARGE_STRESS:
        findings.append(Finding(
            "error", f"half of the stresses exceed {GPA * np.median(largest):.3g} GPa", (),
            "they are hardly in eV/Angstrom^3; divide GPa by 160.2, kbar by 1602",
        ))  # fmt: skip
    elif (largest > LARGE_STRESS).any():
        order = [k for k in np.argsort(-largest) if largest[k] > LARGE_STRESS]
        findings.append(Finding(
            "warning", f"stresses beyond {GPA * LARGE_STRESS:.0f} GPa in {len(order)} frames, the largest "
            f"{GPA * largest[order[0]]:.4g} GPa", tuple(dataset.source_m[chosen[k]] for k in order),
            "another unit than the rest (GPa, kbar)? Correct them, or leave them out",
        ))  # fmt: skip
    zero = largest == 0
    if zero.any() and not zero.all():
        findings.append(Finding(
            "warning", f"the stress of {zero.sum()} frames is exactly zero",
            tuple(dataset.source_m[m] for m in chosen[zero]), "a label that is missing is not zero: leave it out",
        ))  # fmt: skip
    elif np.percentile(largest / gas, 90) < SMALL and force > SMALL_FORCE:
        findings.append(Finding(
            "warning", "the stresses are smaller than the pressure of an ideal gas at 300 K would be, by a factor of "
            f"{1 / max(np.median(largest / gas), 1e-12):.2g}", (),
            "zero or relaxed everywhere, or in a unit larger than eV/Angstrom^3 (Hartree/bohr^3: multiply by 183.6); "
            "check one frame against a calculation",
        ))  # fmt: skip
    return Section("Stresses", lines), findings
