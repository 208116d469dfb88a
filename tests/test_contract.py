"""The contract of all kernels: one body of tests, and plain, stored and fast kernels as a fixture.

Three contractions: values G, dE/dG -> forces and virial, and tangents of positions and strain -> tangents of G.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from test_kernels import absolute, by_atom, inner, textbook

from bpnumba.functions import C2, C5, G1, G2, G4, G5
from bpnumba.kernels import threads
from bpnumba.kernels.machine import Machine, this_machine
from bpnumba.packed_descriptors import PackedDescriptors, parts_of
from bpnumba.packed_pairs import PackedPairs
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

PERMUTES = this_machine("").avx512
MACHINES = {"fast 8": Machine(8, PERMUTES, "test"), "fast 4": Machine(4, False, "test"),
            "fast 2": Machine(2, False, "test")}  # fmt: skip
KINDS = ("plain", "stored", *MACHINES)


def fast(functions, atoms, machine, parts={}):  # noqa: B006 plans are kept for the whole session
    key = (id(functions), machine)
    if key not in parts:
        parts[key] = functions, parts_of(functions.functions, functions.numbers, machine)
    _, chosen = parts[key]
    half, full = (part is not None for part in chosen)
    pairs = PackedPairs.from_atoms(atoms, functions.cutoff, functions.numbers, half, full)
    return PackedDescriptors.of(pairs, chosen, functions.table.n_functions)


@pytest.fixture(scope="session", params=KINDS)
def described(request):
    """(functions, atoms) -> descriptors by one kind of kernels."""

    def of(functions, atoms):
        if request.param in MACHINES:
            return fast(functions, atoms, MACHINES[request.param])
        plain = functions.describe(Pairs.from_atoms(atoms, functions.cutoff))
        return plain.stored() if request.param == "stored" else plain

    return of


@pytest.fixture
def random():
    return np.random.default_rng(11)


def like(descriptors, random):
    return tuple(random.normal(size=G.shape) for G in descriptors.values)


def moved(atoms, h, x_dot, strain_dot):
    """Atoms displaced by h x_dot and strained by h strain_dot."""
    other = atoms.copy()
    other.positions = atoms.positions + h * (x_dot + atoms.positions @ strain_dot.T)
    other.cell[:] = atoms.cell.array @ (np.eye(3) + h * strain_dot).T
    return other


def in_order(descriptors, blocks):
    """One array, atoms in their order, whatever the order within the blocks."""
    rows = by_atom(descriptors, blocks)
    return np.concatenate([np.asarray(row) for row in rows] + [[]])


def as_blocks(descriptors, rows):
    """Blocks per element from one row per atom."""
    blocks = [np.empty_like(G) for G in descriptors.values]
    for block, atoms in zip(blocks, descriptors.layout.atoms_e, strict=True):
        for n, a in enumerate(atoms):
            block[n] = rows[a]
    return tuple(blocks)


def test_values_are_those_of_the_textbook(atoms, functions, described):
    descriptors = described(functions, atoms)
    for row, expected in zip(by_atom(descriptors, descriptors.values), textbook(functions, atoms), strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-11, atol=1e-12)


def test_tangents_are_derivatives_of_the_values(atoms, functions, described, random, difference):
    x_dot, strain_dot = random.uniform(-1, 1, atoms.positions.shape), random.uniform(-1, 1, (3, 3))
    descriptors = described(functions, atoms)
    found = in_order(descriptors, descriptors.tangents(x_dot, strain_dot[None]))

    def values(h):
        other = described(functions, moved(atoms, h, x_dot, strain_dot))
        return in_order(other, other.values)

    numeric = difference(values)
    np.testing.assert_allclose(found, numeric, rtol=2e-8, atol=2e-8 * np.abs(numeric).max(initial=1e-3))


def test_forces_and_virial_are_the_transpose(atoms, functions, described, random):
    descriptors = described(functions, atoms)
    for _ in range(3):
        bars, x_dot = like(descriptors, random), random.normal(size=atoms.positions.shape)
        strain_dot = random.normal(size=(1, 3, 3))
        dots = descriptors.tangents(x_dot, strain_dot)
        forces, virial = descriptors.forces(bars)
        other = np.sum(strain_dot * virial) - np.sum(x_dot * forces)
        assert inner(bars, dots) == pytest.approx(float(other), rel=0, abs=1e-12 * absolute(bars, dots) + 1e-300)


def test_all_kinds_agree(atoms, functions, described, random):
    """Forces to the last digits, for each of a few functions alone too: nothing hides behind a sum."""
    plain, other = functions.describe(Pairs.from_atoms(atoms, functions.cutoff)), described(functions, atoms)
    for chosen in (None, 0, 3, 7):
        bars = like(plain, random)
        if chosen is not None:
            for bar in bars:
                bar[:, np.arange(bar.shape[1]) != chosen] = 0.0
        theirs = as_blocks(other, by_atom(plain, bars))
        (forces, virial), (found, found_virial) = plain.forces(bars), other.forces(theirs)
        scale = np.abs(forces).max(initial=1e-2)
        np.testing.assert_allclose(found, forces, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(found_virial, virial, rtol=0, atol=1e-11 * max(scale, np.abs(virial).max()))


def test_a_batch_is_a_bigger_structure(systems, functions, described, random):
    frames = [systems[name] for name in ("triclinic", "no neighbors", "slab", "molecule", "isolated atom")]
    together = described(functions, frames)
    rows, bars = by_atom(together, together.values), like(together, random)
    forces, virial = together.forces(bars)
    bars_a = by_atom(together, bars)
    first = 0
    for m, atoms in enumerate(frames):
        alone, last = described(functions, atoms), first + len(atoms)
        for row, expected in zip(rows[first:last], by_atom(alone, alone.values), strict=True):
            np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-13)
        own = as_blocks(alone, bars_a[first:last])
        expected, expected_virial = alone.forces(own)
        np.testing.assert_allclose(forces[first:last], expected, rtol=0, atol=1e-11 * np.abs(expected).max(initial=1))
        np.testing.assert_allclose(virial[m], expected_virial[0], rtol=0, atol=1e-10)
        first = last


def test_no_neighbors_and_no_atoms(systems, functions, described):
    far = described(functions, systems["isolated atom"])
    np.testing.assert_array_equal(by_atom(far, far.values)[-1], 0.0)
    alone = described(functions, Atoms("HO", [[0, 0, 0], [9, 0, 0]]))
    forces, virial = alone.forces([np.ones_like(G) for G in alone.values])
    for block in (*alone.values, *alone.tangents(np.ones((2, 3)), np.ones((1, 3, 3))), forces, virial):
        np.testing.assert_array_equal(block, 0.0)
    nothing = described(functions, Atoms())
    assert [len(G) for G in nothing.values] == [0, 0, 0]
    assert nothing.forces(nothing.values)[0].shape == (0, 3)


def test_linear_and_repeatable(systems, functions, described, random):
    """Nothing of the call before stays in a buffer."""
    descriptors = described(functions, systems["triclinic"])
    bars = like(descriptors, random)
    once, twice = descriptors.forces(bars), descriptors.forces([2 * bar for bar in bars])
    for one, two in zip(once, twice, strict=True):
        np.testing.assert_array_equal(2 * one, two)
    for one in descriptors.forces([0 * bar for bar in bars]):
        np.testing.assert_array_equal(one, 0.0)
    again = described(functions, systems["triclinic"])
    for G, other in zip(descriptors.values, again.values, strict=True):
        np.testing.assert_array_equal(G, other)


def test_blocks_of_a_wrong_shape(systems, functions, described):
    descriptors = described(functions, systems["triclinic"])
    with pytest.raises(ValueError, match="there must be 3 blocks, one per element, not 2"):
        descriptors.forces(descriptors.values[:2])
    with pytest.raises(ValueError, match=r"block 1 must have the shape \(1, \d+\), not \(2, 3\)"):
        descriptors.forces((descriptors.values[0], np.zeros((2, 3)), descriptors.values[2]))
    with pytest.raises(ValueError, match=r"x_dot_ac must have the shape \(3, 3\), not \(4, 3\)"):
        descriptors.tangents(np.zeros((4, 3)), np.zeros((1, 3, 3)))


# ---- what only the fast kernels have ---------------------------------------------------------------------------------

SIMPLE = SymmetryFunctions.from_functions([
    G2("H", "O", 0.5, 0.3, 4.0), G4("O", "H", "H", 0.05, 2, 1, 4.0), G4("O", "O", "H", 0.05, 1, -1, 4.0),
    G5("H", "H", "O", 0.1, 2, 1, 4.0), G5("O", "O", "O", 0.1, 1.5, 1, 4.0),
])  # fmt: skip


def liquid(n, seed=0):
    """Atoms anywhere, no two of them nearer than 0.8 Angstrom, as dense as water."""
    random = np.random.default_rng(seed)
    side = (n * 10.0) ** (1 / 3)
    grid = np.stack(np.meshgrid(*[np.arange(np.ceil(n ** (1 / 3)))] * 3), -1).reshape(-1, 3)[:n]
    spacing = side / np.ceil(n ** (1 / 3))
    positions = (grid + random.uniform(0, 1 - 0.8 / spacing, (n, 3))) * spacing
    return Atoms(random.choice(["H", "H", "O"], n), positions, cell=[side] * 3, pbc=True)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch, random):
    atoms = liquid(1100)
    results = []
    for n in (1, 2, 5):
        monkeypatch.setenv(threads.VARIABLE, str(n))
        descriptors = fast(SIMPLE, atoms, this_machine("") if this_machine("").lanes else MACHINES["fast 2"])
        assert len(descriptors.pairs.half_chunks) > 3
        bars = [np.cos(np.arange(G.size)).reshape(G.shape) for G in descriptors.values]
        tangents = descriptors.tangents(np.sin(atoms.positions), np.ones((1, 3, 3)))
        results.append((*descriptors.values, *descriptors.forces(bars), *tangents))
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


def test_chunks_add_up_to_the_plain_values():
    atoms = liquid(1100)
    plain = SIMPLE.describe(Pairs.from_atoms(atoms, SIMPLE.cutoff))
    descriptors = fast(SIMPLE, atoms, MACHINES["fast 8"])
    for one, two in zip(by_atom(plain, plain.values), by_atom(descriptors, descriptors.values), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-12)
    bars = [np.ones_like(G) for G in plain.values]
    (forces, virial), (found, found_virial) = plain.forces(bars), descriptors.forces(bars)
    np.testing.assert_allclose(found, forces, rtol=0, atol=1e-11)
    np.testing.assert_allclose(found_virial, virial, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("ours", "usual", "expected"), [
    ("3", "5", 3), ("", "5", 5), ("", "2,4", 2), ("", "", None), ("", "none", None), ("", "0", None),
])  # fmt: skip
def test_number_of_threads(ours, usual, expected, monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, ours)
    monkeypatch.setenv("OMP_NUM_THREADS", usual)
    assert threads.count() == expected or (expected is None and threads.count() >= 1)


def test_where_no_pool_takes_work_any_more(monkeypatch):
    """While Python ends, threads that still run and `atexit` go on alone."""
    monkeypatch.setenv(threads.VARIABLE, "3")

    class Ended:
        def submit(self, function, item):
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    monkeypatch.setattr(threads, "pool", lambda n: Ended())
    assert list(threads.in_order(abs, [-1, -2, 3])) == [1, 2, 3]


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_high_powers_and_near_atoms(machine):
    """Lanes that do not count hold cosines far beyond 1: their powers must not become infinite."""
    functions = SymmetryFunctions.from_functions([
        kind("H", "H", "H", 0.1, zeta, lam, 6.0)
        for kind in (G4, G5) for zeta in (16, 32, 64.5, 300, 500.5) for lam in (1, -1)
    ])  # fmt: skip
    atoms = liquid(40)
    atoms.numbers[:] = 1
    atoms.positions[:3] = atoms.positions[3:6] + 0.01
    plain = functions.describe(Pairs.from_atoms(atoms, functions.cutoff))
    other = fast(functions, atoms, machine)
    found, expected = np.array(by_atom(other, other.values)), np.array(by_atom(plain, plain.values))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12 * np.abs(expected).max())
    for one, two in zip(other.forces(as_blocks(other, np.ones_like(found))), plain.forces((np.ones_like(found),))):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-9 * np.abs(two).max())


def test_two_threads_of_the_caller_do_not_disturb_each_other():
    frames = [liquid(600, seed) for seed in range(6)]

    def forces(atoms):
        descriptors = fast(SIMPLE, atoms, MACHINES["fast 4"])
        return descriptors.forces(descriptors.values)[0]

    alone = [forces(atoms) for atoms in frames]
    with ThreadPoolExecutor(3) as pool:
        for _ in range(3):
            for one, two in zip(alone, pool.map(forces, frames), strict=True):
                np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("chosen", [
    [G1("H", "H", 3.0, "hard")], [G4("H", "H", "H", 0.0, 1, 1, 3.0, cutoff="hard")],
    [G5("H", "H", "H", 0.1, 1, 1, 3.0)], [C2("H", "H", 1.0, 3.0)], [C5("H", "H", "H", 0.5, 3.0, 60, 180)],
])  # fmt: skip
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_sets_of_one_kind(chosen, machine):
    """No radial function, no narrow one, no wide one: nothing may be missing."""
    functions = SymmetryFunctions.from_functions(chosen)
    atoms = Atoms("H5", [[0, 0, 0], [0.9, 0, 0], [0, 1.1, 0], [0.3, 0.2, 1.3], [-1.2, 0.4, -0.5]])
    plain = functions.describe(Pairs.from_atoms(atoms, functions.cutoff))
    other = fast(functions, atoms, machine)
    np.testing.assert_allclose(by_atom(other, other.values), plain.values[0], rtol=1e-12, atol=1e-13)
    bars = as_blocks(other, plain.values[0])
    for one, two in zip(other.forces(bars), plain.forces(plain.values), strict=True):
        np.testing.assert_allclose(one, two, rtol=0, atol=1e-12)
