"""What `doctor` sees in the structures: what there is, which atoms are near each other, which frames are twice there.

Comes in: a `Dataset` of sound frames.  Goes out: sections and findings, and `Surroundings`, which the labels are
compared with.
"""

from collections import Counter
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols, covalent_radii

from bpnumba.doctor.report import Finding, Section
from bpnumba.kernels.neighbors import neighbor_list
from bpnumba.training.plausibility import duplicates
from bpnumba.units import MEV

REACH = 6.0
"""Angstrom; the usual cutoff, and the default one. An atom with nobody within it is invisible to the others."""

TOO_NEAR = 0.6
"""Of the sum of covalent radii. The shortest bonds of chemistry (N2, C2H2, CO) have 0.77 of it and more; 0.6 is reached
by hard collisions and by compression to hundreds of GPa only, where pseudopotentials overlap, too."""

KNOTS = np.geomspace(0.7, REACH, 13)
"""Angstrom; distances between which pairs are counted. Equal ratios: repulsion is steep where atoms are near."""

POWERS = np.array([1.0, 0.5, 2.0])
"""Of the number of neighbors: a pair potential, the square root of embedding (Finnis, Sinclair), and pairs of bonds."""

NEIGHBORS = 50  # that a cutoff should hold: three shells of a close-packed crystal, 6 Angstrom in silicon
LARGEST_SIZE = 4  # compositions and config types that are listed


class Surroundings(NamedTuple):
    """What stands around every atom within `REACH`; atoms of all frames one after the other, elements by number.

    Attributes
    ----------
    number_e : (n_e,) atomic numbers
    nearest_ae : (n_a, n_e) distance to the nearest atom of an element, Angstrom; inf where there is none
    partner_ae : (n_a, n_e) that atom, counted in its frame
    count_a : (n_a,) number of neighbors
    asymmetry_a : (n_a,) |sum_j w(r_ij) r_ij/|r_ij|| / sum_j w(r_ij), w falling: 0 where symmetry lets no force be
    sums_mk : (n_m, n_k) sums over the atoms of an element of their neighbors at a knot, to the `POWERS`
    """

    number_e: np.ndarray
    nearest_ae: np.ndarray
    partner_ae: np.ndarray
    count_a: np.ndarray
    asymmetry_a: np.ndarray
    sums_mk: np.ndarray

    @classmethod
    def of(cls, dataset, report):
        """Of all frames; `report(done, of)` is called after each."""
        number_e, parts = np.unique(dataset.numbers), []
        for m, atoms in enumerate(dataset.atoms):
            parts.append(_surroundings(atoms, np.searchsorted(number_e, atoms.numbers), len(number_e)))
            report(m + 1, len(dataset))
        *per_atom, sums = zip(*parts, strict=True)
        return cls(number_e, *map(np.concatenate, per_atom), np.array(sums))


def _surroundings(atoms, element_a, n_e):
    i_p, j_p, _, r_pc = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, REACH)
    d_p, n_a = np.linalg.norm(r_pc, axis=1), len(atoms)
    order = np.argsort(-d_p, kind="stable")  # the last one written is the nearest
    place = (i_p * n_e + element_a[j_p])[order]
    nearest, partner = np.full(n_a * n_e, np.inf), np.zeros(n_a * n_e, dtype=int)
    nearest[place], partner[place] = d_p[order], j_p[order]

    weight_p = (1 - (d_p / REACH) ** 2) ** 2
    push_p = weight_p / d_p**6  # nearest atoms first, as in a repulsion
    push_ac = [np.bincount(i_p, push_p * r_pc[:, c] / d_p, n_a) for c in range(3)]
    asymmetry_a = np.linalg.norm(push_ac, axis=0) / np.maximum(np.bincount(i_p, push_p, n_a), 1e-12)

    along_p = np.log(np.maximum(d_p, KNOTS[0]) / KNOTS[0]) / np.log(KNOTS[1] / KNOTS[0])
    knot_p = along_p.astype(int)
    part_p, n_k = along_p - knot_p, n_e * (len(KNOTS) + 1)
    entry_p = i_p * n_k + element_a[j_p] * (len(KNOTS) + 1) + knot_p
    coordination_ak = np.bincount(entry_p, (1 - part_p) * weight_p, n_a * n_k)
    coordination_ak += np.bincount(entry_p + 1, part_p * weight_p, n_a * n_k)
    powers_ak = coordination_ak.reshape(n_a, n_k)[:, None] ** POWERS[:, None]
    sums_ek = np.zeros((n_e, powers_ak[0].size))
    np.add.at(sums_ek, element_a, powers_ak.reshape(n_a, -1))
    shape = (n_a, n_e)
    return nearest.reshape(shape), partner.reshape(shape), np.bincount(i_p, minlength=n_a), asymmetry_a, sums_ek.ravel()


def contents(dataset, surroundings):
    """What there is: frames, atoms, compositions, kinds, cells, a cutoff."""
    n_atoms_m = dataset.n_atoms_m
    solid = [atoms for atoms in dataset.atoms if atoms.pbc.all()]
    elements = Counter(dataset.numbers.tolist())
    in_frames = {z: sum(z in atoms.numbers for atoms in dataset.atoms) for z in elements}
    lines = [
        f"{len(dataset)} frames, {dataset.n_atoms:,} atoms; {n_atoms_m.min()} to {n_atoms_m.max()} atoms per frame, "
        f"median {np.median(n_atoms_m):g}",
        "elements: "
        + ", ".join(f"{chemical_symbols[z]} {n:,} atoms in {in_frames[z]} frames" for z, n in sorted(elements.items())),
        f"compositions: {_most_frequent(atoms.get_chemical_formula() for atoms in dataset.atoms)}",
        f"config_type: {_most_frequent(dataset.config_type_m)}",
        f"periodic: {_most_frequent(f'in {atoms.pbc.sum()} directions' for atoms in dataset.atoms)}",
    ]
    if solid:
        volume_m = np.array([atoms.get_volume() / len(atoms) for atoms in solid])
        density_m = [atoms.get_masses().sum() / atoms.get_volume() * 1.66053907 for atoms in solid]
        lines.append(
            f"volume: {volume_m.min():.4g} to {volume_m.max():.4g} Angstrom^3/atom, median {np.median(volume_m):.4g} "
            f"(density {min(density_m):.3g} to {max(density_m):.3g} g/cm^3)"
        )
    count_a = surroundings.count_a[np.repeat(~dataset.isolated_m, n_atoms_m)]
    if count_a.any():
        mean = count_a.mean()
        cutoff = np.clip(np.round(2 * REACH * (NEIGHBORS / mean) ** (1 / 3)) / 2, 5.0, REACH)
        lines.append(
            f"neighbors within {REACH:g} Angstrom: {count_a.min()} to {count_a.max()}, mean {mean:.3g}; a --cutoff of "
            f"{cutoff:g} Angstrom holds about {min(mean, mean * (cutoff / REACH) ** 3):.2g}"
        )
    return Section("Structures", tuple(lines))


def _most_frequent(words):
    counted = Counter(words).most_common()
    rest = f", and {len(counted) - LARGEST_SIZE} others" if len(counted) > LARGEST_SIZE else ""
    return ", ".join(f"{word} ({n})" for word, n in counted[:LARGEST_SIZE]) + rest


def distances(dataset, surroundings):
    """The nearest atoms of every two elements; atoms that are too near, or alone."""
    frame_a = np.repeat(np.arange(len(dataset)), dataset.n_atoms_m)
    first_m = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m
    lines, findings, element_a = [], [], np.searchsorted(surroundings.number_e, dataset.numbers)
    for e, f in combinations_with_replacement(range(len(surroundings.number_e)), 2):
        members = np.flatnonzero(element_a == e)
        nearest = surroundings.nearest_ae[members, f]
        pair = "-".join(chemical_symbols[surroundings.number_e[k]] for k in (e, f))
        if not np.isfinite(nearest).any():
            continue
        worst = members[nearest.argmin()]
        radii = covalent_radii[surroundings.number_e[[e, f]]].sum()
        atom, other = worst - first_m[frame_a[worst]], surroundings.partner_ae[worst, f]
        where = f"atoms {atom} and {other} of {dataset.source_m[frame_a[worst]]}"
        percentile = np.percentile(nearest[np.isfinite(nearest)], 1)
        lines.append(
            f"{pair:<6} {nearest.min():6.3f}  1st percentile {percentile:6.3f}  bond about {radii:5.2f}  {where}"
        )
        near = [k for k in np.argsort(nearest) if nearest[k] < TOO_NEAR * radii]
        frames = list(dict.fromkeys(frame_a[members[near]].tolist()))
        if len(frames):
            findings.append(Finding(
                "warning",
                f"{pair} {nearest.min():.3f} Angstrom apart, {nearest.min() / radii:.2f} of a usual bond: {where}; "
                f"below {TOO_NEAR:g} of a bond in {len(frames)} frames",
                tuple(dataset.source_m[m] for m in frames),
                "remove them, unless such collisions are what the potential is for: their huge energies and forces "
                "cost accuracy everywhere else",
            ))  # fmt: skip
    lonely = frame_a[(surroundings.count_a == 0) & (dataset.n_atoms_m[frame_a] > 1)]
    if len(lonely):
        frames = list(dict.fromkeys(lonely.tolist()))
        findings.append(Finding(
            "note",
            f"{len(lonely)} atoms have nobody within {REACH:g} Angstrom",
            tuple(dataset.source_m[m] for m in frames),
            "the potential gives such an atom a constant energy and no force; isolated atoms belong in frames of their "
            "own",
        ))  # fmt: skip
    boxed = [m for m in np.flatnonzero((dataset.n_atoms_m == 1) & ~dataset.isolated_m)
             if surroundings.count_a[first_m[m]] == 0]  # fmt: skip
    if boxed:
        findings.append(Finding(
            "warning",
            f"{len(boxed)} frames are one atom without a neighbor, but periodic",
            tuple(dataset.source_m[m] for m in boxed),
            "if they are isolated atoms, give them config_type=IsolatedAtom or pbc=False: their energies become E0",
        ))  # fmt: skip
    header = f"nearest neighbors by elements, Angstrom (within {REACH:g})"
    return Section("Distances", (header, *lines) if lines else ("no atom has a neighbor",)), findings


def repeated(dataset):
    """Frames of one geometry, with the same labels or others."""
    first_m, same, different = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m, [], []
    for m, n in duplicates(dataset):
        N, gaps = len(dataset.atoms[m]), []
        if dataset.has_energy_m[[m, n]].all() and abs(dataset.energy_m[m] - dataset.energy_m[n]) > 1e-3 * N:
            gaps.append(f"energies by {MEV * abs(dataset.energy_m[m] - dataset.energy_m[n]) / N:.3g} meV/atom")
        if dataset.has_forces_m[[m, n]].all():
            F_m, F_n = (dataset.forces_ac[first_m[k] : first_m[k] + N] for k in (m, n))
            gap = np.abs(F_m - F_n).max()
            if gap > 0.01:
                gaps.append(f"forces by {gap:.3g} eV/Angstrom")
        if dataset.has_stress_m[[m, n]].all():
            gap = np.abs(dataset.stress_mv[m] - dataset.stress_mv[n]).max()
            if gap > 1e-3:
                gaps.append(f"stresses by {gap:.3g} eV/Angstrom^3")
        (different if gaps else same).append((m, n, ", ".join(gaps)))
    if different:
        m, n, gaps = different[0]
        yield Finding(
            "error",
            f"{len(different)} frames repeat a geometry with other labels: {dataset.source_m[m]} and "
            f"{dataset.source_m[n]} differ in {gaps}",
            tuple(dataset.source_m[m] for m, _, _ in different),
            "one of the two is wrong, or of another method; keep one",
        )
    if same:
        m, n, _ = same[0]
        yield Finding(
            "warning",
            f"{len(same)} frames repeat another one, such as {dataset.source_m[m]} and {dataset.source_m[n]}",
            tuple(dataset.source_m[m] for m, _, _ in same),
            "remove them: they count twice, and may stand in training and validation at once",
        )
