"""G2, G4 and G5 against DScribe, an independent C++ code.

DScribe's `ACSF` and this library agree in the definitions of Behler 2011: G2 with exp(-eta (r - Rs)^2), G4 with the
pair jk and G5 without it, each couple of neighbors once, the factor 2^(1-zeta), and the cosine cutoff function. Its G4
and G5 know no shift Rs, and its rows are ordered otherwise: per neighbor element G1 and then all G2; per couple of
elements, in the order HH, HC, CC, HO, CO, OO, all G4 and then all G5. G1 always comes along: here it is G2 with eta 0.

One difference: DScribe does not clip 1 + lam cos at 0. Where atoms are in line, as an atom and two opposite images are,
its power of a rounding error with fractional zeta is not a number; periodic structures are compared for whole zeta.
"""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers

from bpnumba.symmetry import SymmetryFunctions

descriptors = pytest.importorskip("dscribe.descriptors")

RC = 4.3
G2_PARAMS = [[0.05, 0.0], [1.0, 2.1], [4.0, 3.3]]
G4_PARAMS = [[0.01, 1.0, 1.0], [0.05, 2.0, -1.0], [0.2, 4.0, 1.0], [0.02, 1.5, -1.0], [0.1, 16.0, 1.0]]
G5_PARAMS = [[0.01, 1.0, -1.0], [0.3, 3.0, 1.0], [0.02, 2.7, 1.0]]


def rattled(atoms, seed=0):
    random = np.random.default_rng(seed)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + random.normal(0, 0.03, (3, 3))), scale_atoms=True)
    atoms.positions += random.normal(0, 0.1, (len(atoms), 3))
    return atoms


STRUCTURES = {
    "silicon": rattled(bulk("Si")),  # a cell smaller than the cutoff
    "silicon, 8 atoms": rattled(bulk("Si", cubic=True)),
    "silicon carbide": rattled(bulk("SiC", "zincblende", a=4.36)),
    "rock salt": rattled(bulk("NaCl", "rocksalt", a=5.64)),
    "slab": Atoms("SiOSiO", rattled(bulk("SiO", "rocksalt", a=4.4) * (1, 1, 2)).positions, cell=np.eye(3) * [4, 4, 20],
                  pbc=[True, True, False]),
    "ethanol": molecule("CH3CH2OH"),
    "water": molecule("H2O"),
    "nitrogen": molecule("N2"),
}  # fmt: skip


def in_our_order(rows, species, n_g2, n_g4, n_g5):
    """DScribe's columns in the order of ours: functions first, elements second."""
    couples = list(combinations_with_replacement(range(len(species)), 2))
    theirs = sorted(couples, key=lambda couple: couple[::-1])
    radial = rows[:, :len(species) * n_g2].reshape(len(rows), len(species), n_g2)
    angular = rows[:, len(species) * n_g2:].reshape(len(rows), len(couples), n_g4 + n_g5)
    angular = angular[:, [theirs.index(couple) for couple in couples]]
    blocks = radial, angular[:, :, :n_g4], angular[:, :, n_g4:]
    return np.concatenate([block.transpose(0, 2, 1).reshape(len(rows), -1) for block in blocks], axis=1)


@pytest.mark.parametrize("name", STRUCTURES)
def test_dscribe(name):
    atoms = STRUCTURES[name]
    species = sorted(set(atoms.symbols), key=atomic_numbers.get)
    periodic = bool(atoms.pbc.any())
    g4, g5 = ([row for row in params if row[1] == int(row[1]) or not periodic] for params in (G4_PARAMS, G5_PARAMS))
    theirs = descriptors.ACSF(RC, g2_params=G2_PARAMS, g4_params=g4, g5_params=g5, species=species, periodic=periodic)
    ours = SymmetryFunctions(species, RC, [[0.0, 0.0], *G2_PARAMS], g4, g5, cutoff="cosine")
    expected = in_our_order(theirs.create(atoms), species, 1 + len(G2_PARAMS), len(g4), len(g5))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours.create(atoms), expected, rtol=1e-10, atol=1e-12)
