"""Fit silicon: from density-functional data to a model file.

The data come with the library (silicon, PBE).  A tenth of the frames is set aside and never seen by the fit; of the
rest, another tenth decides which weights are kept.  Written to the current folder: the model, its history (CSV),
learning curves, parity plots.

    python 03_fit_silicon.py [--max-iterations 400] [--output silicon.npz]
"""
import argparse
from importlib.resources import as_file, files

import bpnumba
from bpnumba.training.dataset import read, split


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-iterations", type=int, default=400)
    parser.add_argument("--output", default="silicon.npz")
    options = parser.parse_args()

    # 1. Data: any file that ASE reads will do; labels are checked and counted.
    with as_file(files("bpnumba") / "data" / "silicon_pbe.extxyz.gz") as path:
        data = read(path)
    rest, test = split(data, fraction=0.1, seed=0)

    # 2. Fit: symmetry functions are chosen, scaled, and the networks trained on energies, forces and stresses.
    result = bpnumba.fit(rest, output=options.output, seed=0, max_iterations=options.max_iterations)

    # 3. How good is it, on frames that had no part in this?
    print("\nErrors on the frames set aside")
    print(bpnumba.evaluate(result.potential, test))

    # 4. The file is all that is needed later.
    again = bpnumba.load(options.output)
    assert (again.evaluate(test.atoms).energy_m == result.potential.evaluate(test.atoms).energy_m).all()
    print(f"\n{again}")


if __name__ == "__main__":
    main()
