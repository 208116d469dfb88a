"""Time of neighbor lists on one core, as ratios to a yardstick in C that is timed in the same run.

    python benchmarks/neighbors.py

* packed lists for the fast kernels (`bpnumba.packed_pairs`), half and full, made anew and brought up to date by
  `VerletList`, of liquid water (a case of n2p2, cutoff 12 Bohr) and of copies of it, beside vesin (unsorted, with
  shifts and vectors, arrays used again);
* the plain list (`bpnumba.kernels.neighbors`) of silicon in the diamond structure, cutoff 6 Angstrom, beside matscipy
  and ASE.

The water lies in ``../shared`` beside the repository; gcc compiles the yardstick.  CPU time of this thread, best of
several repeats; vesin, matscipy and ASE where they are installed.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # one core; before NumPy is imported

import argparse
import tempfile

import ase.neighborlist
import numpy as np
from ase import Atoms
from ase.build import bulk
from speed import SHARED, best, yardstick

from bpnumba.kernels.neighbors import neighbor_list
from bpnumba.packed_pairs import VerletList
from bpnumba.units import of_files

CUTOFF = 6.0
SKIN = 0.5
REFERENCE = 223.0
"""Microseconds that the yardstick takes on the machine to which all is converted."""


def water():
    """Liquid water and the cutoff of its potential."""
    length, _ = of_files("atomic")
    reference = np.load(SHARED / "reference" / "runner" / "predict_H2O_RPBE-D3" / "reference.npz")
    positions, cell = reference["s0000_positions"] * length, reference["s0000_lattice"] * length
    return Atoms(reference["s0000_numbers"], positions, cell=cell, pbc=True), 12.0 * length


def fresh(atoms, cutoff, half):
    """Search anew into arrays that are there."""
    pairs_of = VerletList(cutoff, (1, 8), half, not half)
    other = atoms.copy()
    other.positions[0, 0] += 1e-6
    turns = [atoms, other]

    def search():
        turns.reverse()
        pairs_of.pairs(turns[0])

    return search


def refreshed(atoms, cutoff, half):
    """The exact list out of a wider one, after a small move."""
    pairs_of = VerletList(cutoff, (1, 8), half, not half, skin=SKIN)
    pairs_of.pairs(atoms)
    moved = atoms.copy()
    moved.rattle(0.05, seed=1)
    return lambda: pairs_of.pairs(moved)


def vesin_list(atoms, cutoff, half):
    from vesin import NeighborList

    calculator = NeighborList(cutoff=cutoff, full_list=not half, sorted=False, n_threads=1)
    return lambda: calculator.compute(atoms.positions, atoms.cell.array, True, "ijSD", copy=False)


def packed(atoms, cutoff, measure, rounds):
    """Lists of one structure: half and full."""
    makers = {"ours, fresh": fresh, "ours, refreshed": refreshed, "vesin": vesin_list}
    print(f"\n{len(atoms)} atoms of water, cutoff {cutoff:.2f} Angstrom, skin {SKIN}; one core, us per atom")
    for half in (True, False):
        functions = {}
        for label, maker in makers.items():
            try:
                functions[label] = maker(atoms, cutoff, half)
                functions[label]()
            except ImportError:
                pass
        times, sticks = {label: [] for label in functions}, []
        for _ in range(rounds):
            sticks.append(measure())
            for label, function in functions.items():
                times[label].append(1e6 * best(function, 5) / len(atoms))
        for label, values in times.items():
            ratio = min(values) / min(sticks)
            print(
                f"   {'half' if half else 'full'}  {label:16}{min(values):7.2f}   {ratio:8.5f} yardsticks, "
                f"{ratio * REFERENCE:6.2f} us where one is {REFERENCE:.0f} us (here {min(sticks):.0f})",
                flush=True,
            )


def ours(atoms):
    return neighbor_list(atoms.positions, atoms.cell, atoms.pbc, CUTOFF)


def matscipy_list(atoms):
    from matscipy.neighbours import neighbour_list

    return neighbour_list("ijSD", atoms, CUTOFF)


def ase_list(atoms):
    return ase.neighborlist.neighbor_list("ijSD", atoms, CUTOFF)


def plain():
    """The plain list of silicon, of one cell and of many, atoms in order and in none."""
    print("\nplain full list of silicon, us per atom")
    print(f"{'atoms':>8} {'order':>9}  {'ours':>8} {'matscipy':>8} {'ase':>8}")
    random = np.random.default_rng(0)
    for edge in (1, 5, 14, 20):
        crystal = bulk("Si", cubic=True) * (edge, edge, edge)
        crystal.rattle(0.05, seed=1)
        for order, atoms in (("sorted", crystal), ("shuffled", crystal[random.permutation(len(crystal))])):
            row = f"{len(atoms):8d} {order:>9} "
            for function, repeats in ((ours, 5), (matscipy_list, 3), (ase_list, 1)):
                try:
                    function(atoms)
                    row += f" {best(lambda f=function, a=atoms: f(a), repeats) / len(atoms) * 1e6:8.2f}"
                except ImportError:
                    row += f" {'-':>8}"
            print(row, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often yardstick and measurements take turns")
    parser.add_argument("--only-packed", action="store_true", help="leave the plain list out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = yardstick(folder)
        atoms, cutoff = water()
        for repeats in ((1, 1, 1), (5, 5, 4)):
            packed(atoms * repeats, cutoff, measure, options.rounds)
    if not options.only_packed:
        plain()
