"""What `doctor` finds out where no frames are close to each other: do forces and energies belong to one potential?

Comes in: a `Dataset` of sound frames.  Goes out: lines and findings.  A pair potential is fitted to the forces alone,
by linear least squares; its energies are then compared with the labels, which it has not seen::

    phi(r) = sum_k w_k phi_k(r),   F_i = sum_j phi'(r_ij) r_ij / |r_ij|,   E = sum_e n_e E0_e + 1/2 sum_ij phi(r_ij)

Pair potentials are poor, but they describe nine tenths of the forces in a liquid, a molecule or a metal, and correlate
with energies by 0.9. Both sides of the comparison are linear in the labels: forces of the wrong sign turn the
correlation around, forces in Hartree/bohr make energies vary 51 times as much as the potential says.
"""

from collections import defaultdict

import numpy as np

from bpnumba.doctor.report import Finding
from bpnumba.kernels.neighbors import neighbor_list

REACH = 6.0  # Angstrom
MIDDLES = np.geomspace(0.8, 5.5, 12)  # Angstrom, of Gaussians in ln r
WIDTH = 0.8 * np.log(MIDDLES[1] / MIDDLES[0])
RIDGE = 1e-6  # of the mean diagonal
FEWEST = 20  # frames
MOST = 200  # frames of one part of the set, and no more are looked at
MOST_ELEMENTS = 8
EXPLAINED, CORRELATED = 0.7, 0.8  # part of the squared forces; correlation of energies. Less decides nothing
FACTOR = 5.0  # at worst 2 in sound sets of melts, crystals, molecules; Hartree/bohr gives 51


def fitted_forces(dataset):
    """Compare energies with those of a pair potential that is fitted to the forces."""
    chosen = np.flatnonzero(dataset.has_energy_m & dataset.has_forces_m & ~dataset.isolated_m & (dataset.n_atoms_m > 1))
    parts = defaultdict(list)
    for m in chosen:
        parts[dataset.config_type_m[m], dataset.source_m[m].rpartition(",")[0]].append(m)
    large = {key: part for key, part in parts.items() if len(part) >= FEWEST}
    if not large and len(chosen) >= FEWEST:
        large = {("", ""): chosen}
    lines, findings = [], []
    for (kind, _), part in large.items() if len(dataset.species) <= MOST_ELEMENTS else ():
        part = np.array(part)[np.unique(np.linspace(0, len(part) - 1, MOST).astype(int))]
        explained, correlation, ratio = _compared(dataset, part)
        if explained < EXPLAINED or abs(correlation) < CORRELATED:
            continue
        name = f"config_type {kind}: " * (len(large) > 1)
        lines.append(
            f"{name}a pair potential fitted to the forces of {len(part)} frames explains {100 * explained:.0f} % of "
            f"them; energies vary {ratio:.2g} times as much as its own, correlation {correlation:.2f}"
        )
        if correlation < 0 or not 1 / FACTOR < ratio < FACTOR:
            sign = "their sign is wrong (these are gradients)" if correlation < 0 else ""
            unit = "" if 1 / FACTOR < ratio < FACTOR else "they are in another unit: Hartree/bohr gives about 51, and "\
                "energies in Hartree 1/27"
            findings.append(Finding(
                "error",
                f"{name}forces contradict energies: energies vary {ratio:.3g} times as much as those of a pair "
                f"potential that is fitted to the forces, with correlation {correlation:.2f}",
                tuple(dataset.source_m[m] for m in part),
                "; ".join(filter(None, (sign, unit))) + "; bring labels to eV, eV/Angstrom",
            ))  # fmt: skip
    return lines, findings


def _compared(dataset, part):
    """Explained part of the squared forces, correlation of energies, and the ratio of their standard deviations."""
    number_e = np.unique(np.concatenate([dataset.atoms[m].numbers for m in part]))
    first_m = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m
    A, b, square, energies = 0.0, 0.0, 0.0, []
    for m in part:
        atoms = dataset.atoms[m]
        columns, slopes = _basis(atoms, np.searchsorted(number_e, atoms.numbers), len(number_e))
        forces = dataset.forces_ac[first_m[m] : first_m[m] + len(atoms)].ravel()
        A, b, square = A + slopes.T @ slopes, b + slopes.T @ forces, square + forces @ forces
        energies.append(columns)
    if square == 0 or np.trace(A) == 0:
        return 0.0, 0.0, 1.0
    weight = np.linalg.solve(A + RIDGE * np.trace(A) / len(A) * np.eye(len(A)), b)
    explained = (2 * weight @ b - weight @ A @ weight) / square

    N = dataset.n_atoms_m[part]
    fraction = np.array([[np.mean(dataset.atoms[m].numbers == z) for z in number_e] for m in part])
    both = np.stack([dataset.energy_m[part] / N, np.array(energies) @ weight / N], axis=1)
    label, fitted = (both - fraction @ np.linalg.lstsq(fraction, both, rcond=None)[0]).T
    sizes = np.linalg.norm(label), np.linalg.norm(fitted)
    if min(sizes) == 0:
        return explained, 0.0, 1.0
    return explained, label @ fitted / (sizes[0] * sizes[1]), sizes[0] / sizes[1]


def _basis(atoms, element_a, n_e):
    """Sums of phi_k over pairs of every two elements, (n_k,), and their gradients with a minus, (3 n_a, n_k)."""
    i_p, j_p, _, r_pc = neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, REACH)
    d_p = np.linalg.norm(r_pc, axis=1)
    kind_p = np.minimum(element_a[i_p], element_a[j_p]) * n_e + np.maximum(element_a[i_p], element_a[j_p])
    kinds = [e * n_e + f for e in range(n_e) for f in range(e, n_e)]
    values = np.zeros((len(kinds), len(MIDDLES)))
    slopes = np.zeros((len(atoms), 3, len(kinds), len(MIDDLES)))
    for k, kind in enumerate(kinds):
        here = np.flatnonzero(kind_p == kind)  # sorted by center, as the list is
        if not len(here):
            continue
        i, d, unit = i_p[here], d_p[here, None], r_pc[here] / d_p[here, None]
        x, inside = np.log(d / MIDDLES) / WIDTH, 1 - (d / REACH) ** 2
        phi = np.exp(-0.5 * x * x)
        values[k] = 0.5 * (phi * inside**2).sum(axis=0)
        dphi = phi * (-4 * d / REACH**2 * inside - inside**2 * x / (WIDTH * d))
        first = np.flatnonzero(np.diff(i, prepend=-1))
        slopes[i[first], :, k] = np.add.reduceat(unit[:, :, None] * dphi[:, None, :], first, axis=0)
    return values.ravel(), slopes.reshape(3 * len(atoms), -1)
