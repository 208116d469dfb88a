"""Relax a crystal and its cell with ASE.

A silicon crystal with a wrong, sheared cell and displaced atoms finds back to diamond.  Give the model file that
03_fit_silicon.py wrote; without one, a quick fit is made first.

    python 04_relax_a_crystal_and_its_cell.py [silicon.npz] [--max-iterations 200]
"""
import argparse
import json
from importlib.resources import as_file, files

import numpy as np
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

import bpnumba
from bpnumba.units import GPA

DATA = files("bpnumba") / "data"


def quick_fit(max_iterations):
    """A potential for a first look."""
    with as_file(DATA / "silicon_pbe.extxyz.gz") as path:
        return bpnumba.fit(path, max_iterations=max_iterations).potential


def show(name, atoms):
    """Lengths and angles of the primitive cell, largest force, stress."""
    lengths, angles = np.split(atoms.cell.cellpar(), 2)
    print(name)
    print(f"   energy         {atoms.get_potential_energy():.5f} eV")
    print(f"   cell           {lengths.round(4)} Angstrom, {angles.round(2)} degrees")
    print(f"   largest force  {np.linalg.norm(atoms.get_forces(), axis=1).max():.4f} eV/Angstrom")
    print(f"   stress         {(GPA * atoms.get_stress()).round(3)} GPa")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", help="model file; without it a quick fit is made")
    parser.add_argument("--max-iterations", type=int, default=200, help="of the quick fit")
    options = parser.parse_args()
    potential = bpnumba.load(options.model) if options.model else quick_fit(options.max_iterations)

    # A crystal that is wrong in every respect: 3 % too large, sheared, atoms displaced.
    crystal = bulk("Si", a=1.03 * 5.47)
    shear = np.array([[0.0, 0.03, 0.0], [0.0, 0.0, 0.02], [0.01, 0.0, 0.0]])
    crystal.set_cell(crystal.cell @ (np.eye(3) + shear), scale_atoms=True)
    crystal.rattle(0.1, seed=1)
    crystal.calc = bpnumba.BPCalculator(potential)
    show("before", crystal)

    # Positions and cell together: the filter turns the stress into forces on the cell.
    optimizer = BFGS(FrechetCellFilter(crystal), logfile=None)
    converged = optimizer.run(fmax=1e-3, steps=300)
    show("after", crystal)
    print(f"{'converged' if converged else 'not converged'} in {optimizer.nsteps} steps")

    reference = json.loads((DATA / "silicon_pbe_reference.json").read_text())
    print(f"lattice constant {(4.0 * crystal.get_volume()) ** (1 / 3):.3f} Angstrom, "
          f"PBE {reference['lattice_constant_angstrom']:.3f} Angstrom")


if __name__ == "__main__":
    main()
