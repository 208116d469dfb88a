"""The whole road in two minutes: fit silicon, look at its errors, relax a crystal, compare with density functionals.

Comes in: the data set that is shipped with bpnumba (silicon, PBE; see ``data/README.md``).  Goes out: a model file, a
parity plot, learning curves, and a table on the screen.  ``bpnumba demo`` runs it.
"""

import json
import time
from importlib.resources import as_file, files
from pathlib import Path

from ase.build import bulk

from bpnumba import plots
from bpnumba.calculator import BPCalculator
from bpnumba.elasticity import cubic_elastic_constants
from bpnumba.evaluation import evaluate
from bpnumba.training.dataset import read, split
from bpnumba.training.fit import fit

__all__ = ["reference", "run", "silicon"]

MAX_ITERATIONS = 1500  # ten seconds; validation usually ends the fit earlier
TEST_FRACTION = 0.1
ROWS = (("lattice constant (Angstrom)", "lattice_constant_angstrom", 3), ("bulk modulus (GPa)", "bulk_modulus_gpa", 1),
        ("C11 (GPa)", "c11_gpa", 1), ("C12 (GPa)", "c12_gpa", 1), ("C44 (GPa)", "c44_gpa", 1),
        ("C44, clamped ions (GPa)", "c44_clamped_gpa", 1))  # fmt: skip


def silicon():
    """The embedded data set: silicon in many structures, PBE; a `Dataset`."""
    with as_file(files("bpnumba") / "data" / "silicon_pbe.extxyz.gz") as path:
        return read(path)


def reference():
    """Lattice and elastic constants of silicon, from the same electronic structure calculations as the data set."""
    return json.loads((files("bpnumba") / "data" / "silicon_pbe_reference.json").read_text())


def run(folder=".", max_iterations=MAX_ITERATIONS):
    """Fit, evaluate, relax and compare; writes into a folder.

    `fit` writes the model, its history and learning curves; the parity plot is made anew with the test frames.

    Returns
    -------
    constants : CubicConstants
        Of diamond silicon with the new potential.
    """
    start, folder = time.perf_counter(), Path(folder)
    rest, test = split(silicon(), TEST_FRACTION, seed=0)
    result = fit(rest, output=folder / "silicon.npz", max_iterations=max_iterations)

    print(f"\nErrors on {len(test)} frames that the fit has not seen\n{evaluate(result.potential, test)}")
    plots.parity(result.potential, {"fit": rest, "test": test}, folder / "silicon_parity.png", "Silicon, PBE")

    diamond = bulk("Si", cubic=True)
    diamond.calc = BPCalculator(result.potential)
    constants, wanted = cubic_elastic_constants(diamond), reference()
    print(f"\n{'Diamond silicon, relaxed':28}{'bpnumba':>10}{'PBE':>10}")
    for (name, key, digits), value in zip(ROWS, constants, strict=True):
        print(f"{name:28}{value:10.{digits}f}{wanted[key]:10.{digits}f}")
    print(f"PBE: {wanted['source']}")
    print(f"\n{time.perf_counter() - start:.0f} s; see silicon_parity.png, silicon_learning.png in {folder.resolve()}")
    return constants
