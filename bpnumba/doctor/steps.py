"""Pairs of frames that are close to each other, which `bpnumba.doctor.work` compares energies and work of.

Comes in: a `Dataset`.  Goes out: a list of `Step`, found in O(n log n): no frame is compared with all others.
"""

from collections import defaultdict
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from bpnumba.kernels.neighbors import complete_cell
from bpnumba.training.plausibility import LARGEST_STRAIN

FARTHEST_STEP = 0.5  # Angstrom, of one atom between two frames; farther, the third order takes over
NEAREST_FRAMES = 4  # frames that every frame is compared with, besides the next one
DIRECTIONS = 12  # random projections in which near frames are looked for
UNSTRAINED = 1e-5  # strain below which two cells are one
STILL = 1e-4  # Angstrom; atoms that move less need no forces


class Step(NamedTuple):
    """From frame m to frame n; energies in eV, Voigt components as in a stress, shear strains twice."""

    m: int
    n: int
    difference: float  # E_n - E_m
    forces_work: float
    forces_bend: float
    longest: float  # Angstrom
    strain_v: np.ndarray
    stress_v: np.ndarray  # mean of V stress
    bend_v: np.ndarray  # half of the difference of V stress

    @property
    def strained(self):
        """Whether the cells differ."""
        return np.abs(self.strain_v).max() > UNSTRAINED

    @property
    def stress_work(self):
        """eV"""
        return float(self.stress_v @ self.strain_v)


def steps(dataset):
    """Pairs of frames of the same atoms, close to each other, O(n log n)."""
    groups = defaultdict(list)
    for m in np.flatnonzero(dataset.has_energy_m & ~dataset.isolated_m):
        groups[dataset.atoms[m].numbers.tobytes(), dataset.atoms[m].pbc.tobytes()].append(m)
    first_m = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m
    found = []
    for group in groups.values():
        cells = [complete_cell(dataset.atoms[m].cell.array, dataset.atoms[m].pbc) for m in group]
        fractions = [dataset.atoms[m].positions @ np.linalg.inv(cell) for m, cell in zip(group, cells)]
        for k, n in _candidates(cells, fractions, dataset.atoms[group[0]].pbc):
            step = _step(dataset, first_m, (group[k], group[n]), cells[k], cells[n], fractions[n] - fractions[k])
            if step is not None:
                found.append(step)
    return found


def _candidates(cells, fractions, pbc):
    """Pairs k < n of places in a group: each frame with the next, and with the nearest ones in random projections."""
    n, N = len(cells), len(fractions[0])
    pairs = {(k, k + 1) for k in range(n - 1)}
    random = np.random.default_rng(0).normal(size=(DIRECTIONS, 9 + 6 * N)) / np.sqrt(N)
    length = np.linalg.norm(cells[0], axis=1) / (2 * np.pi)
    projected = np.zeros((n, DIRECTIONS))
    for k in range(n):
        around = 2 * np.pi * fractions[k]
        circle = np.where(pbc, np.cos(around), around), np.where(pbc, np.sin(around), 0.0)  # 0 and 1 are one place
        projected[k] = random @ np.concatenate([cells[k].ravel() * np.sqrt(N), *((length * x).ravel() for x in circle)])
    _, near = cKDTree(projected).query(projected, k=min(NEAREST_FRAMES + 1, n))
    pairs |= {tuple(sorted((k, other))) for k in range(n) for other in np.atleast_1d(near[k]).tolist()}
    return sorted(pair for pair in pairs if pair[0] != pair[1])


def _step(dataset, first_m, frames, cell_m, cell_n, du):
    """The `Step` between two frames, None if they are too far apart or lack a label that it needs."""
    m, n = frames
    du = du - np.where(dataset.atoms[m].pbc, np.rint(du), 0.0)
    u_ac = (du - du.mean(axis=0)) @ (0.5 * (cell_m + cell_n))  # a common translation does no work
    longest = np.linalg.norm(u_ac, axis=1).max()
    gradient = np.linalg.solve(cell_m, cell_n)
    if longest > FARTHEST_STEP or np.abs(gradient - np.eye(3)).max() > LARGEST_STRAIN:
        return None
    strain = 2 * (gradient - np.eye(3)) @ np.linalg.inv(gradient + np.eye(3))
    strain_v = np.array([strain[a, b] + strain[b, a] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])
    strain_v[:3] /= 2
    has_stress = dataset.has_stress_m[[m, n]].all()
    moved, strained = longest > STILL, np.abs(strain_v).max() > UNSTRAINED
    if (strained and not has_stress) or (moved and not dataset.has_forces_m[[m, n]].all()) or not (moved or strained):
        return None
    F_m, F_n = (dataset.forces_ac[first_m[k] : first_m[k] + len(u_ac)] for k in (m, n))
    S_m, S_n = (dataset.stress_mv[k] * (dataset.atoms[k].get_volume() if has_stress else 0.0) for k in (m, n))
    return Step(
        m, n, dataset.energy_m[n] - dataset.energy_m[m], -0.5 * np.sum((F_m + F_n) * u_ac),
        0.5 * abs(np.sum((F_n - F_m) * u_ac)), longest, strain_v, 0.5 * (S_m + S_n), 0.5 * (S_n - S_m),
    )  # fmt: skip
