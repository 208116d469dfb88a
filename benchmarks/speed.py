"""Speed on one core, as ratios to a yardstick in C that is timed in the same run.

    python benchmarks/speed.py

* energy, forces and virial of the 1080-atom water box on a fixed pair list, with plain kernels and no stored Jacobian,
  against the speed of n2p2 (which takes 0.84 of the yardstick's time for the same functions and atoms);
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

from bpnumba.functions import G2, G4
from bpnumba.network import Network
from bpnumba.pairs import Pairs
from bpnumba.potential import Potential
from bpnumba.scaling import Scaling
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training.dataset import read
from bpnumba.training.fit import untrained
from bpnumba.training.objective import Objective, Scales
from bpnumba.training.settings import Settings

SHARED = Path(__file__).parents[2] / "shared"
N2P2_PER_YARDSTICK = 0.84  # measured side by side, see the README beside the yardstick


def water_functions():
    """The 27 functions on H and 30 on O of the water potential of Morawietz et al. (PNAS 113, 8368 (2016)); bohr."""
    both = [("H", "H", 1.9), ("H", "O", 0.9), ("O", "H", 0.9), ("O", "O", 4.0)]
    rows = [
        G2(center, neighbor, eta, 0.0, 12.0, "tanh")
        for center, neighbor, _ in both
        for eta in (0.001, 0.01, 0.03, 0.06)
    ]
    rows += [
        G2(center, neighbor, eta, rs, 12.0, "tanh") for center, neighbor, rs in both for eta in (0.15, 0.3, 0.6, 1.5)
    ]
    groups = [
        ("H", "OH", 0.07, 1),
        ("H", "OH", 0.03, 1),
        ("H", "OH", 0.01, 4),
        ("H", "OO", 0.03, 1),
        ("H", "OO", 0.001, 4),
        ("O", "HH", 0.07, 1),
        ("O", "HH", 0.03, 1),
        ("O", "HH", 0.01, 4),
        ("O", "OH", 0.03, 1),
        ("O", "OH", 0.001, 4),
        ("O", "OO", 0.03, 1),
        ("O", "OO", 0.001, 4),
    ]
    rows += [
        G4(center, *couple, eta, zeta, lam, 12.0, cutoff="tanh")
        for center, couple, eta, zeta in groups
        for lam in (1, -1)
    ]
    return SymmetryFunctions.from_functions(rows + [G4("H", "O", "H", 0.2, 1, 1, 12.0, cutoff="tanh")])


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


def water(measure, rounds):
    """Water box: parts of a step in microseconds per atom, and the ratio to n2p2."""
    reference = np.load(SHARED / "reference" / "runner" / "predict_H2O_RPBE-D3" / "reference.npz")
    atoms = ase.Atoms(
        reference["s0000_numbers"], reference["s0000_positions"], cell=reference["s0000_lattice"], pbc=True
    )
    functions, rng = water_functions(), np.random.default_rng(0)
    pairs = Pairs.from_atoms(atoms, functions.cutoff)
    descriptors = functions.describe(pairs)
    for symbol, G in zip(functions.species, descriptors.values):
        wanted = reference[f"s0000_G_unscaled_{symbol}"]
        assert np.abs(np.sort(G, axis=1) - np.sort(wanted, axis=1)).max() < 1e-11, "not the functions of n2p2"
    scalings = tuple(Scaling.from_values(G) for G in descriptors.values)
    networks = tuple(Network.random((G.shape[1], 25, 25, 1), rng) for G in descriptors.values)
    potential = Potential(functions, scalings, networks, dict.fromkeys(functions.species, 0.0))
    _, dE_dG = potential.energies_and_slopes(descriptors)
    dE_dr = descriptors.pullback(dE_dG)
    parts = {
        "G": lambda: functions.describe(pairs),
        "network": lambda: potential.energies_and_slopes(descriptors),
        "dE/dr": lambda: descriptors.pullback(dE_dG),
        "forces and virial": lambda: pairs.pullback(dE_dr),
        "whole step": lambda: potential.predict(pairs),
    }
    times, sticks = {name: [] for name in parts}, []
    for _ in range(rounds):
        sticks.append(measure())
        for name, part in parts.items():
            times[name].append(1e6 * best(part, 3) / len(atoms))
    n2p2 = N2P2_PER_YARDSTICK * min(sticks)
    print(f"water, {len(atoms)} atoms, {len(pairs.i_p) / len(atoms):.0f} neighbors, one core, us per atom")
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
        water(measure, options.rounds)
        silicon(measure, options.rounds)
