"""Symmetry functions against numbers of n2p2 (libnnp), the C++ code of Behler's group.

The numbers lie in ../shared/reference/runner beside the repository; its README says how they were made. Everything is
in bohr there, and stays so: a symmetry function does not know its unit of length.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from bpnumba.io.runner import read_functions
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

FOLDER = Path(__file__).parent.parent / ".." / "shared" / "reference" / "runner"
WATER = "predict_H2O_RPBE-D3"
CASES = [WATER, "synth_cutoff_1", "synth_cutoff_2", "synth_cutoff_4", "synth_cutoff_6", "synth_type9"]

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"n2p2's numbers are not here: no folder {FOLDER}")


def structures(case, numbers):
    """(key, Atoms in bohr) of each."""
    keys = sorted({key[:6] for key in numbers if key.endswith("_positions")})
    for key in keys:
        cell = numbers.get(f"{key}lattice")
        yield key, Atoms(numbers[f"{key}numbers"], numbers[f"{key}positions"], cell=cell, pbc=cell is not None)


@pytest.fixture(params=CASES)
def case(request):
    """The set of functions with columns in n2p2's order, and all numbers."""
    numbers = dict(np.load(FOLDER / request.param / "reference.npz"))
    there = read_functions(FOLDER / request.param / "potential" / "input.nn", units="metal")  # numbers as they stand
    order = {e: np.argsort(np.argsort(numbers[f"sf_line_{e}"])) for e in "HO"}
    functions = SymmetryFunctions.from_functions(np.concatenate([there.functions_of(e)[order[e]] for e in "HO"]))
    assert len(functions.functions) == len(there.functions)
    return functions, list(structures(request.param, numbers)), numbers


def first_centers(pairs, n):
    """The list without the pairs of other centers than the first n: the rest has no neighbors and costs nothing."""
    end = pairs.first_a[n]
    few = {name: getattr(pairs, name)[:end] for name in ("i_p", "j_p", "shift_pc", "r_pc")}
    return replace(pairs, **few, first_a=np.minimum(pairs.first_a, end))


def test_values(case):
    functions, frames, numbers = case
    for key, atoms in frames:
        n = min(len(atoms), 150)
        values = functions.describe(first_centers(Pairs.from_atoms(atoms, functions.cutoff), n)).values
        for symbol, G in zip(functions.species, values, strict=True):
            mine = numbers[f"{key}index_{symbol}"] < n
            expected = numbers[f"{key}G_unscaled_{symbol}"][mine]
            assert len(expected) >= 8
            np.testing.assert_allclose(G[:len(expected)], expected, rtol=1e-12, atol=1e-14)


def test_derivatives_of_the_first_atom(case):
    """n2p2 gives derivatives of scaled functions; the factor of the scale follows from values, scaled and not."""
    functions, frames, numbers = case
    for key, atoms in frames:
        if f"{key}dGdr_first_H" not in numbers:
            continue
        dG_dr = functions.derivatives(atoms).dG_dr
        for symbol in functions.species:
            G, scaled = numbers[f"{key}G_unscaled_{symbol}"], numbers[f"{key}G_scaled_{symbol}"]
            factor = np.ptp(scaled, axis=0) / np.ptp(G, axis=0)
            first = int(numbers[f"{key}index_{symbol}"][0])
            found = dG_dr[first][..., :G.shape[1]] * factor
            expected = numbers[f"{key}dGdr_first_{symbol}"].transpose(1, 2, 0)
            assert np.abs(expected).max() > 1e-2
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12 * np.abs(expected).max())
