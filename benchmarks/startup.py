"""Seconds from the start of a process to its first forces, with nothing compiled before and with machine code on disk.

    python benchmarks/startup.py

Water (2 elements) and anisole (3) of n2p2, and made-up potentials of 4 and 8 elements.  Each run is a process of its
own with an empty or a filled folder of machine code; wall time, best of three, beside the time of the yardstick:
machines differ and are shared.
"""

import os
import subprocess
import sys
import tempfile
import time

from speed import SHARED, yardstick

PROGRAM = """
import sys
import numpy as np
from ase import Atoms
from bpnumba import BPCalculator, Potential, SymmetryFunctions
from bpnumba.io.runner import load_runner
if sys.argv[1] in ("4", "8"):
    species = ["H", "C", "N", "O", "F", "S", "Cl", "Br"][: int(sys.argv[1])]
    g4 = [[eta, zeta, lam] for eta in (0.02, 0.1) for zeta in (1, 4) for lam in (1, -1)]
    functions = SymmetryFunctions(species, 5.0, [[0.02, 0.0], [0.1, 0.0], [0.5, 0.0], [0.5, 2.0]], g4)
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3)
    atoms = Atoms(random.permutation(species * (64 // len(species))), 2.1 * grid + random.uniform(-0.2, 0.2, (64, 3)),
                  cell=3 * [8.4], pbc=True)
    from bpnumba.network import Network
    from bpnumba.scaling import Scaling
    widths = functions.table.n_functions
    scalings = tuple(Scaling(np.zeros(n), np.ones(n), np.zeros(n), np.ones(n)) for n in widths)
    networks = tuple(Network.random((int(n), 15, 15, 1), random) for n in widths)
    potential = Potential(functions, scalings, networks, dict.fromkeys(species, 0.0))
else:
    from pathlib import Path
    from bpnumba.units import of_files
    folder, (length, _) = Path(sys.argv[1]), of_files("atomic")
    reference = np.load(folder / "reference.npz")
    atoms = Atoms(reference["s0000_numbers"], reference["s0000_positions"] * length,
                  cell=reference["s0000_lattice"] * length, pbc=True)
    potential = load_runner(folder / "potential")
atoms.calc = BPCalculator(potential, on_extrapolation="ignore")
assert np.isfinite(atoms.get_forces()).all()
"""


def seconds(case, cache):
    """Wall time of a process that computes forces once."""
    start = time.perf_counter()
    environment = os.environ | {"NUMBA_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", PROGRAM, case], env=environment, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    runner = SHARED / "reference" / "runner"
    cases = {"water, 2 elements": str(runner / "predict_H2O_RPBE-D3"), "anisole, 3 elements":
             str(runner / "predict_Anisole_SCAN"), "4 elements": "4", "8 elements": "8"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        measure = yardstick(folder)
        for name, case in cases.items():
            cold, warm, sticks = [], [], []
            for n in range(3):
                cache = os.path.join(folder, f"{name}-{n}")
                sticks.append(measure())
                cold.append(seconds(case, cache))
                warm.append(min(seconds(case, cache) for _ in range(2)))
            print(f"{name:22} cold {min(cold):6.2f} s, warm {min(warm):5.2f} s (yardstick {min(sticks):.0f} us)")
