"""Speed on one core, as ratios to a yardstick in C that is timed in the same run.

    python benchmarks/speed.py

* energy, forces and virial on a fixed pair list, with plain kernels and no stored Jacobian, of four potentials of n2p2:
  water (narrow functions), copper sulfide (narrow and wide), silicon (narrow) and anisole (350 compact functions per
  element), against the speed of n2p2 itself, whose time in yardsticks is known for the same potentials and atoms;
* one loss and gradient over the silicon training set (13,233 atoms) with stored Jacobian blocks, and its set-up.

The data lie in ``../shared`` beside the repository; gcc compiles the yardstick.  CPU time of this thread, best of
several repeats, so that other programs on the machine disturb little.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"  # one core; before NumPy is imported

import argparse
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np

from bpnumba.io.runner import load_runner
from bpnumba.pairs import Pairs
from bpnumba.training.dataset import read
from bpnumba.training.fit import untrained
from bpnumba.training.objective import Objective, Scales
from bpnumba.training.settings import Settings
from bpnumba.units import of_files

SHARED = Path(__file__).parents[2] / "shared"
N2P2_PER_YARDSTICK = {"predict_H2O_RPBE-D3": 0.84, "predict_Cu2S_PBE": 1.08, "mlearn_Si1000": 0.285,
                      "predict_Anisole_SCAN": 17.4}  # fmt: skip
"""Measured side by side, see the README beside the yardstick."""


def best(function, repeats):
    """Shortest CPU time of a call in seconds."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        function()
        times.append(time.thread_time() - start)
    return min(times)


def yardstick(folder):
    """Compile the yardstick; returns a function that gives its microseconds per atom."""
    program = Path(folder) / "yardstick"
    subprocess.run(["gcc", "-O3", "-march=native", "-o", program, SHARED / "tools" / "yardstick.c", "-lm"], check=True)
    return lambda: json.loads(subprocess.run([program, "1"], check=True, capture_output=True).stdout)[
        "yardstick_us_per_atom"
    ]


def potential_of_n2p2(case, measure, rounds):
    """Parts of a step in microseconds per atom, and the ratio to n2p2."""
    units, folder = ("metal" if "Cu2S" in case else "atomic"), SHARED / "reference" / "runner" / case
    length, energy = of_files(units)
    reference = np.load(folder / "reference.npz")
    positions, cell = reference["s0000_positions"] * length, reference["s0000_lattice"] * length
    atoms = ase.Atoms(reference["s0000_numbers"], positions, cell=cell, pbc=True)
    potential = load_runner(folder / "potential", units)
    functions, pairs = potential.symmetry_functions, Pairs.from_atoms(atoms, potential.cutoff)
    forces = potential.predict(pairs).forces_ac * length / energy
    deviation = np.abs(forces - reference["s0000_forces"]).max()
    assert deviation < 1e-10, f"not the forces of n2p2: {deviation}"
    descriptors = functions.describe(pairs)
    x_e = potential.inputs(descriptors)
    _, dE_dG = potential.energies_and_slopes(descriptors.layout, x_e)
    dE_dr = descriptors.pullback(dE_dG)
    parts = {
        "G": lambda: functions.describe(pairs),
        "network": lambda: potential.energies_and_slopes(descriptors.layout, potential.inputs(descriptors)),
        "dE/dr": lambda: descriptors.pullback(dE_dG),
        "forces and virial": lambda: pairs.pullback(dE_dr),
        "whole step": lambda: potential.predict(pairs),
    }
    times, sticks = {name: [] for name in parts}, []
    for _ in range(rounds):
        sticks.append(measure())
        for name, part in parts.items():
            times[name].append(1e6 * best(part, 3) / len(atoms))
    n2p2 = N2P2_PER_YARDSTICK[case] * min(sticks)
    widths = ", ".join(f"{symbol} {n}" for symbol, n in zip(potential.species, functions.table.n_functions))
    print(f"{case}: {len(atoms)} atoms, {len(pairs.i_p) / len(atoms):.0f} neighbors, functions {widths}; one core, us "
          f"per atom; largest deviation of a force from n2p2 {deviation:.0e} (units of its files)")  # fmt: skip
    for name, values in times.items():
        print(f"   {name:20}{min(values):8.1f}")
    print(f"   {'n2p2 (yardstick)':20}{n2p2:8.1f}   -> {n2p2 / min(times['whole step']):.2f} times the speed of n2p2")


def silicon(measure, rounds):
    """Silicon training set: set-up, and one loss with its gradient."""
    data, settings = read(SHARED / "data" / "mlearn" / "Si_train.xyz.gz"), Settings(seed=1)
    potential = untrained(data, settings, io.StringIO())

    def prepare():
        return Objective.prepare(potential, data, Scales.from_data(data, settings))

    objective = prepare()
    theta, stick = potential.theta, min(measure() for _ in range(rounds))
    once = best(lambda: objective.loss_and_gradient(theta), 3 * rounds)
    print(
        f"silicon training set, {data.n_atoms:,} atoms, {potential.networks[0].sizes[0]} functions, "
        f"{len(theta)} weights, Jacobian {objective.memory / 1e6:.0f} MB, one core"
    )
    print(f"   choice of functions  {best(lambda: untrained(data, settings, io.StringIO()), 1):8.2f} s")
    print(f"   list, G and Jacobian {best(prepare, 2):8.2f} s")
    print(
        f"   loss and gradient    {once:8.4f} s   ({1e6 * once / data.n_atoms:.2f} us per atom, "
        f"{1e6 * once / data.n_atoms / stick:.4f} of the yardstick)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often yardstick and measurements take turns")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = yardstick(folder)
        for case in N2P2_PER_YARDSTICK:
            potential_of_n2p2(case, measure, options.rounds)
        silicon(measure, options.rounds)
