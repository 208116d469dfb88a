"""Accuracy and time of fits on open data: published splits, one default recipe for all.

    python benchmarks/training.py [--sets Si Mo Li acac water tio2] [--seeds 1 2 3] [--committee 4] [--options ...]

For every set and seed this runs, on one core, what a user would type, ``bpnumba fit`` and ``bpnumba evaluate``, and
prints errors on the test frames, times and the largest resident memory; then the median and the worst of the seeds.
``--published`` instead ends fits of Si and Mo after one pass of the Kalman filter and tells the time from the raw file
to the written model beside the published errors.  ``--curves PICTURE`` draws the histories of fits with several
optimizers against time.  The data lie in ``../shared``.

Si, Mo, Li: Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020); tio2: N. Artrith and A. Urban, Comput. Mater. Sci. 114, 135
(2016), the split of their potential; water: examples of DeePMD-kit; acac: D. Kovacs et al., J. Chem. Theory Comput. 17,
7696 (2021).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

DATA = Path(__file__).parents[2] / "shared" / "data"
SETS = {
    "Si": ("mlearn/Si_train", ["mlearn/Si_test"]),
    "Mo": ("mlearn/Mo_train", ["mlearn/Mo_test"]),
    "Li": ("mlearn/Li_train", ["mlearn/Li_test"]),
    "acac": ("acac/train_300K", ["acac/test_MD_300K", "acac/test_MD_600K"]),
    "water": ("water_dp/water_train", ["water_dp/water_valid"]),
    "tio2": ("tio2/train", ["tio2/test"]),  # cut out of tio2/tio2
}
PUBLISHED = {"Si": (6.93, 0.170), "Mo": (5.43, 0.203)}  # meV/atom, eV/Angstrom, on the test split
ONE_CORE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BPNUMBA_THREADS"), "1")
HEAD = "| set | seed | E (meV/atom) | F (eV/Angstrom) | S (GPa) | optimizer (s) | all (s) | CPU (s) | memory (GB) |"


class Cost(NamedTuple):
    """Of a command."""

    wall: float  # s
    cpu: float  # s
    memory: float  # GB, largest resident


def bpnumba(*arguments):
    """Run the command on one core; returns its `Cost`."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "bpnumba", *map(str, arguments)], stdout=subprocess.DEVNULL, env=os.environ | ONE_CORE
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bpnumba {' '.join(map(str, arguments))} ended with {os.waitstatus_to_exitcode(status)}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def place(name, folder):
    """File of a data set; that of tio2 is cut into parts first."""
    if not name.startswith("tio2"):
        return DATA / f"{name}.xyz.gz"
    path = folder / f"{name.replace('/', '_')}.xyz"
    if not path.exists():
        import ase.io

        frames = ase.io.read(DATA / "tio2" / "tio2.xyz.gz", ":")
        chosen = [atoms for atoms in frames if atoms.info["split"] == name.split("/")[1]]
        ase.io.write(path, chosen, format="extxyz")
    return path


def fit(name, seed, folder, options, label):
    """Fit and evaluate; the cost, the time of the optimizer, and the errors on each test set."""
    train, tests = SETS[name]
    model = folder / f"{name}_{seed}{label}.npz"
    cost = bpnumba("fit", place(train, folder), "--output", model, "--seed", seed, *options)
    errors = []
    for test in tests:
        bpnumba("evaluate", model, place(test, folder), "--json", model.with_suffix(".json"))
        errors.append(json.loads(model.with_suffix(".json").read_text()))
    import bpnumba as library

    return cost, library.load(model).info["training"]["seconds"], errors


def table(options):
    """Errors and times of all sets and seeds."""
    chosen = [*options.options, *(["--committee", options.committee] if options.committee > 1 else [])]
    label = f"_{options.committee}" if options.committee > 1 else ""
    print(HEAD + "\n" + "|---" * (HEAD.count("|") - 1) + "|", flush=True)
    for name in options.sets:
        rows = {test: [] for test in SETS[name][1]}
        for seed in options.seeds:
            cost, seconds, errors = fit(name, seed, options.folder, chosen, label)
            for test, error in zip(rows, errors, strict=True):
                row = [error[f"{kind}_rmse_{unit}"] for kind, unit in UNITS]
                rows[test].append(row)
                cells = " | ".join("-" if x is None else f"{x:.{digits}f}" for x, digits in zip(row, (2, 4, 2)))
                print(f"| {test.split('/')[1]} | {seed} | {cells} | {seconds:.0f} | {cost.wall:.0f} | {cost.cpu:.0f} | "
                      f"{cost.memory:.2f} |", flush=True)  # fmt: skip
        for test, of_seeds in rows.items():
            for word, pick in (("median", median), ("worst", max)):
                values = [pick(column) if None not in column else None for column in zip(*of_seeds)]
                cells = " | ".join("-" if x is None else f"{x:.{digits}f}" for x, digits in zip(values, (2, 4, 2)))
                print(f"| {test.split('/')[1]} | {word} | {cells} | | | | |", flush=True)


UNITS = (("energy", "mev_per_atom"), ("forces", "ev_per_angstrom"), ("stress", "gpa"))


def to_published(options):
    """From the raw file to a model below the published errors."""
    for name, (energy, forces) in PUBLISHED.items():
        for seed in options.seeds:
            for epochs in (1, 2):
                chosen = ("--optimizer", "kalman", "--max-epochs", epochs)
                fit(name, seed, options.folder, chosen, f"_{epochs}")  # compiles
                cost, seconds, (errors,) = fit(name, seed, options.folder, chosen, f"_{epochs}")
                found = errors["energy_rmse_mev_per_atom"], errors["forces_rmse_ev_per_angstrom"]
                print(
                    f"{name}, seed {seed}, {epochs} passes: {cost.wall:.1f} s from file to model, {seconds:.1f} s of "
                    f"it the optimizer: {found[0]:.2f} meV/atom, {found[1]:.4f} eV/Angstrom; "
                    f"published {energy} and {forces}",
                    flush=True,
                )
                if found[0] < energy and found[1] < forces:
                    break


def curves(options):
    """Validation errors of forces against time, of several optimizers, drawn in one picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from bpnumba.training.progress import History

    figure, panels = plt.subplots(1, len(options.sets), figsize=(4.6 * len(options.sets), 3.6), squeeze=False)
    for axes, name in zip(panels[0], options.sets, strict=True):
        for optimizer in ("kalman+gn-lbfgs", "gn-lbfgs", "lbfgs"):
            model = options.folder / f"{name}_{options.seeds[0]}_{optimizer}.npz"
            if not model.with_suffix(".csv").exists():
                bpnumba("fit", place(SETS[name][0], options.folder), "--output", model, "--seed", options.seeds[0],
                        "--optimizer", optimizer, "--max-seconds", options.seconds, *options.options)  # fmt: skip
            rows = [row for row in History.read(model.with_suffix(".csv")).rows if row.valid[1] > 0]
            seconds, forces = [row.elapsed for row in rows[1:]], [1e3 * row.valid[1] for row in rows[1:]]
            axes.plot(seconds, forces, ".-", label=optimizer)
        axes.set(title=name, xlabel="time of the optimizer, one core (s)", yscale="log",
                 ylabel="RMSE of validation forces (meV/Angstrom)")  # fmt: skip
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(options.curves, dpi=150)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--committee", type=int, default=1)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for bpnumba fit; last of all")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--curves", metavar="PICTURE")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each fit for --curves")
    parser.add_argument("--folder", type=Path, default=Path("training_models"))
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    if options.published:
        to_published(options)
    elif options.curves:
        curves(options)
    else:
        table(options)


if __name__ == "__main__":
    main()
