"""Does molecular dynamics with a fitted potential stay where it belongs?

    python benchmarks/dynamics.py MODEL STRUCTURES --temperature 600 [--time 20] [--conserved 5] [--frame 0]

Runs the given time (ps) at a temperature (K) with a Langevin thermostat from one frame of the structures, and then at
constant energy.  Prints whether atoms were lost (a neighbor farther than 1.5 times the longest nearest distance at the
start), mean temperature, how much was outside of the range of the training data, shortest distances, drift and
fluctuation of the energy.
"""

import argparse
import time

import numpy as np
from ase.io import read
from ase.neighborlist import neighbor_list

from bpnumba import BPCalculator
from bpnumba.properties.dynamics import energy_conservation, suitable_timestep, thermalize


def nearest(atoms):
    """Distance of every atom to its nearest neighbor, Angstrom."""
    i, distance = neighbor_list("id", atoms, 6.0)
    found = np.full(len(atoms), np.inf)
    np.minimum.at(found, i, distance)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("structures")
    parser.add_argument("--temperature", type=float, required=True, metavar="K")
    parser.add_argument("--time", type=float, default=20.0, metavar="PS")
    parser.add_argument("--conserved", type=float, default=5.0, metavar="PS")
    parser.add_argument("--frame", type=int, default=0)
    options = parser.parse_args()
    atoms = read(options.structures, options.frame)
    atoms.calc = BPCalculator(options.model, on_extrapolation="ignore")
    before, start = nearest(atoms), time.perf_counter()
    run = thermalize(atoms, options.temperature, options.time)
    seconds, after = time.perf_counter() - start, nearest(run.atoms)
    lost = np.count_nonzero(after > 1.5 * before.max())
    step = suitable_timestep(atoms)
    cost = 1e6 * seconds * step / (1000 * options.time) / len(atoms)
    print(f"{options.model}: {atoms.get_chemical_formula()}, {options.time:g} ps at {options.temperature:g} K, steps "
          f"of {step:g} fs, {cost:.1f} us per atom and step")  # fmt: skip
    print(f"   atoms lost {lost}; mean temperature {run.temperature:.0f} K; outside of the training range: "
          f"{100 * run.outside:.3f} % of atoms and steps")  # fmt: skip
    print(f"   nearest distances {after.min():.3f} to {after.max():.3f} Angstrom, at the start {before.min():.3f} to "
          f"{before.max():.3f}")  # fmt: skip
    run.atoms.calc = atoms.calc
    kept = energy_conservation(run.atoms, options.conserved)
    print(f"   {options.conserved:g} ps at constant energy: drift {kept.drift:.4f} meV/atom/ps, fluctuation "
          f"{kept.fluctuation:.4f} meV/atom, {kept.temperature:.0f} K")  # fmt: skip


if __name__ == "__main__":
    main()
