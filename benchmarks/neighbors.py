"""Time of a neighbor list, microseconds per atom: silicon in the diamond structure, cutoff 6 Angstrom, one core."""
import time

import ase.neighborlist
import numpy as np
from ase.build import bulk

from bpnumba.kernels.neighbors import neighbor_list

CUTOFF = 6.0


def ours(atoms):
    return neighbor_list(atoms.positions, atoms.cell, atoms.pbc, CUTOFF)


def ase_list(atoms):
    return ase.neighborlist.neighbor_list("ijSD", atoms, CUTOFF)


def matscipy_list(atoms):
    from matscipy.neighbours import neighbour_list
    return neighbour_list("ijSD", atoms, CUTOFF)


def best_time(f, atoms, repeats):
    """Shortest of some runs in seconds, after a run that compiles."""
    f(atoms)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f(atoms)
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    print(f"{'atoms':>8} {'order':>9}  {'ours':>8} {'matscipy':>8} {'ase':>8}   us/atom")
    random = np.random.default_rng(0)
    for edge in (1, 5, 14, 20):
        crystal = bulk("Si", cubic=True) * (edge, edge, edge)
        crystal.rattle(0.05, seed=1)
        for order, atoms in (("sorted", crystal), ("shuffled", crystal[random.permutation(len(crystal))])):
            row = f"{len(atoms):8d} {order:>9} "
            for f, repeats in ((ours, 5), (matscipy_list, 3), (ase_list, 1)):
                try:
                    row += f" {best_time(f, atoms, repeats) / len(atoms) * 1e6:8.2f}"
                except ImportError:
                    row += f" {'-':>8}"
            print(row, flush=True)
