"""Accuracy on open density-functional data: the published split of Zuo et al. (2020), one default recipe for all.

    python benchmarks/mlearn.py [--elements Si Mo Li] [--seeds 1 2 3] [--folder models]

For every element and seed this runs, on one core, what a user would type:

    bpnumba fit Si_train.xyz.gz --output Si_1.npz --seed 1
    bpnumba evaluate Si_1.npz Si_test.xyz.gz --json Si_1.json

and prints a table beside the published Behler-Parrinello potential.  The data lie in ``../shared``.
Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

DATA = Path(__file__).parents[2] / "shared" / "data" / "mlearn"
PUBLISHED = {"Si": (6.93, 0.170), "Mo": (5.43, 0.203), "Li": (0.98, 0.023)}  # meV/atom, eV/Angstrom, on the test split
ONE_CORE = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")}


def bpnumba(*arguments):
    """Run the command; returns its wall and CPU time in seconds."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bpnumba", *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | ONE_CORE,
    )
    after = os.times()
    return time.perf_counter() - start, sum(after[2:4]) - sum(before[2:4])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", nargs="+", default=list(PUBLISHED), choices=list(PUBLISHED))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--folder", type=Path, default=Path("mlearn_models"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    print("| set | seed | energy (meV/atom) | forces (eV/Angstrom) | stress (GPa) | wall time (s) | CPU time (s) |")
    print("|---|---|---|---|---|---|---|")
    for element in options.elements:
        print(f"| {element} | published | {PUBLISHED[element][0]:.2f} | {PUBLISHED[element][1]:.3f} | - | - | - |")
        for seed in options.seeds:
            model = options.folder / f"{element}_{seed}.npz"
            wall, cpu = bpnumba("fit", DATA / f"{element}_train.xyz.gz", "--output", model, "--seed", seed)
            bpnumba("evaluate", model, DATA / f"{element}_test.xyz.gz", "--json", model.with_suffix(".json"))
            errors = json.loads(model.with_suffix(".json").read_text())
            energy, forces = errors["energy_rmse_mev_per_atom"], errors["forces_rmse_ev_per_angstrom"]
            stress = errors["stress_rmse_gpa"]
            print(
                f"| {element} | {seed} | {energy:.2f} | {forces:.4f} | {stress:.3f} | {wall:.0f} | {cpu:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
