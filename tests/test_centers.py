"""Fast kernels of wide functions against the plain kernels, and the sums over harmonics that some of them use."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from numpy.polynomial import legendre

from bpnumba.functions import C5, G2, G5
from bpnumba.kernels import centers, couples, harmonics
from bpnumba.kernels.machine import Machine, this_machine
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.plan import make_plans
from bpnumba.packed_descriptors import PackedDescriptors, Part
from bpnumba.packed_pairs import PackedPairs
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

HERE = this_machine("")
MACHINES = [HERE, Machine(4, False, "AVX2"), Machine(2, False, "any processor")] if HERE.lanes else []


@pytest.fixture(scope="module")
def wide(functions):
    """Radial and wide functions of the set that hurts."""
    rows = functions.functions
    return SymmetryFunctions.from_functions(rows[[kind[-1] != "4" for kind in rows["kind"]]], functions.species)


def part_of(functions, machine):
    _, (plan, matrices) = make_plans(functions.functions, functions.numbers, functions.numbers, machine)
    return Part(centers, plan, matrices, *centers.rooms(plan), (plan.width + LANES - 1) // LANES * LANES)


def both(functions, atoms, machine):
    """Plain and fast descriptors, and a function that brings blocks of the plain ones into the order of the others."""
    plain = functions.describe(Pairs.from_atoms(atoms, functions.cutoff))
    pairs = PackedPairs.from_atoms(atoms, functions.cutoff, functions.numbers, half=False, full=True)
    fast = PackedDescriptors.of(pairs, (None, part_of(functions, machine)), functions.table.n_functions)

    def sort(blocks):
        orders = [np.searchsorted(b, a) for a, b in zip(fast.layout.atoms_e, plain.layout.atoms_e, strict=True)]
        return [block[order] for block, order in zip(blocks, orders, strict=True)]

    return plain, fast, sort


def assert_close(found, expected):
    scale = max(np.abs(block).max(initial=0.0) for block in expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14 * scale)


def assert_all_verbs_agree(functions, atoms, machine):
    plain, fast, sort = both(functions, atoms, machine)
    random = np.random.default_rng(2)
    dE_dG = [random.normal(size=block.shape) for block in plain.values]
    assert_close(fast.values, sort(plain.values))
    forces, virial = fast.forces(sort(dE_dG))
    plain_forces, plain_virial = plain.forces(dE_dG)
    assert_close([forces, virial], [plain_forces, plain_virial])
    x_dot, strain_dot = random.normal(size=forces.shape), random.normal(size=virial.shape)
    tangents = fast.tangents(x_dot, strain_dot)
    assert_close(tangents, sort(plain.tangents(x_dot, strain_dot)))
    products = np.concatenate([(a * b).ravel() for a, b in zip(tangents, sort(dE_dG), strict=True)])
    assert abs(products.sum() + (forces * x_dot).sum() - (virial * strain_dot).sum()) <= 1e-13 * np.abs(products).sum()


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.lanes} lanes")
def test_set_that_hurts(wide, atoms, machine):
    assert_all_verbs_agree(wide, atoms, machine)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.lanes} lanes")
@pytest.mark.parametrize("name", ["triclinic", "slab", "straight"])
def test_many_angular_windows(name, systems, machine):
    """Where they are more than the coefficients of their pieces, and windows of 90 degrees that touch one another."""
    windows = [(-90, 90), (90, 270), (0, 180), (0, 120), (60, 180), (30, 90)]
    rows = [C5(center, first, "O", rl, rc, *ends, "poly2") for center in ("C", "O") for first in ("C", "O")
            for rl, rc in ((-4.2, 4.2), (1.5, 3.7), (-3.0, 3.0)) for ends in windows]  # fmt: skip
    functions = SymmetryFunctions.from_functions([*rows, G2("H", "O", 0.1, 0.0, 4.2)])
    kinds = {
        kind.moments for found in centers.design(part_of(functions, machine).plan).visited for *_, kind, _ in found
    }
    assert {
        couples.Pieces.serves(SimpleNamespace(width=machine.lanes, can_turn=machine.avx512), moments)
        for moments in kinds
    } == {machine.avx512}
    assert_all_verbs_agree(functions, systems[name], machine)


@pytest.mark.skipif(not HERE.lanes, reason=HERE.reason)
def test_what_scratch_holds_does_not_matter(wide, systems):
    """Filling entries contribute nothing, not even where scratch holds no numbers."""
    atoms, part = systems["triclinic"], part_of(wide, HERE)
    pairs = PackedPairs.from_atoms(atoms, wide.cutoff, wide.numbers, half=False, full=True)
    random, n, found = np.random.default_rng(3), len(atoms), []
    dE_dm = random.normal(size=(n + 1, part.width))
    for content in (0.0, np.nan):
        scratch, vectors = part.rooms(pairs.full, pairs.full_chunks[0])
        for room in (scratch, *vectors):
            room[:] = content
        moments, forces, virial = np.zeros((n + 1, part.width)), np.zeros((n + 1, 3)), np.zeros((1, 3, 3))
        centers.describe(part.plan, pairs.full, scratch, 0, n, moments)
        centers.pullback(part.plan, pairs.full, scratch, vectors, 0, n, dE_dm, pairs.structure_q, forces, virial)
        found.append([moments[:n], forces[:n], virial])
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(not HERE.lanes, reason=HERE.reason)
def test_a_neighbor_alone_makes_no_couple():
    """Sums over harmonics would leave rounding errors, and a column that is 0 everywhere would look as if it varied."""
    functions = SymmetryFunctions.from_functions(
        [G2("H", "O", 0.1, 0.0, 3.0), *(G5("O", "H", "H", 0.1, 6, lam, 3.0) for lam in (1, -1))]
    )
    atoms = Atoms("OH2", [[0.0, 0.0, 0.0], [0.6, 0.5, 0.6], [-2.2, -2.1, 0.3]])
    plain, fast, _ = both(functions, atoms, HERE)
    assert not plain.values[1].any()
    assert not fast.values[1].any()


def test_harmonics_add_up_to_legendre_polynomials():
    e, f = np.random.default_rng(4).normal(size=(2, 3))
    e, f = (v / np.linalg.norm(v) for v in (e, f))
    Y_e, Y_f = (harmonics.spherical(list(v), harmonics.HIGHEST, 1.0) for v in (e, f))
    for degree in range(harmonics.HIGHEST + 1):
        total = sum(Y_e[degree, m] * Y_f[degree, m] for m in range(-degree, degree + 1))
        assert total == pytest.approx(legendre.legval(e @ f, np.eye(degree + 1)[degree]), abs=1e-14)


@pytest.mark.parametrize("zeta", range(1, harmonics.HIGHEST + 1))
@pytest.mark.parametrize("lam", [1.0, -1.0, 0.5])
def test_expansion_of_the_angular_factor(lam, zeta):
    x = math.cos(0.7)
    assert legendre.legval(x, harmonics.expansion(("angular", lam, float(zeta)))) == pytest.approx(
        (1 + lam * x) ** zeta
    )


def test_other_angular_factors_are_left_to_couples():
    shapes = ("angular", 1.0, 2.5), ("angular", 1.0, harmonics.HIGHEST + 1.0), ("compact", 4, 0.0, math.pi)
    assert not any(harmonics.expansion(shape) for shape in shapes)


def test_elements_that_need_the_same_share_their_machine_code():
    functions = SymmetryFunctions(["H", "C", "N", "O"], 6.0, [[0.1, 0.0]], None, [[0.1, 2.5, 1.0], [0.1, 2.0, 1.0]])
    plan = make_plans(functions.functions, functions.numbers, functions.numbers, Machine(8, True, ""))[1][0]
    recipes, visited, summed = centers.design(plan)
    assert len({recipe for row in recipes for recipe in row}) == 1
    for found in (visited, summed):
        assert [len(couples) for couples in found] == [10] * 4
        assert len({kind for couples in found for _, _, kind, _ in couples}) == 1
