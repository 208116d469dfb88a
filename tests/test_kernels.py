"""Kernels: values against the textbook; both contractions, plain and stored, against differences and each other."""

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
import reference
from ase import Atoms

from bpnumba.functions import C2, C4, C5, COMPACT, G1, G2, G4, G5, WC2, WC4, WC5, WG2, WG4, WG5
from bpnumba.kernels import cpu
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

BACKENDS = {"plain": lambda descriptors: descriptors, "stored": lambda descriptors: descriptors.stored(np.float64)}


@pytest.fixture(params=BACKENDS.values(), ids=BACKENDS.keys())
def backend(request):
    return request.param


@pytest.fixture
def pairs(atoms, functions):
    return Pairs.from_atoms(atoms, functions.cutoff)


@pytest.fixture
def random():
    return np.random.default_rng(7)


def textbook(functions, atoms):
    """G of every atom by the oracle, one row per atom, as long as the functions of its element."""
    near = reference.environments(
        atoms.numbers.tolist(), atoms.positions.tolist(), atoms.cell.tolist(), atoms.pbc.tolist(), functions.cutoff
    )
    return [[value(row, environment) for row in functions.functions_of(symbol)]
            for symbol, environment in zip(atoms.symbols, near, strict=True)]  # fmt: skip


def value(row, environment):
    """One symmetry function, a row of the set, by the oracle."""
    kind = str(row["kind"])
    of = getattr(reference, kind.removeprefix("W"))
    if "C" in kind:
        parameters = ("rl", "rc", "cutoff") if kind.endswith("2") else ("rl", "rc", "left", "right", "cutoff")
    else:
        behler = ("eta", "rs", "rc") if kind.endswith("2") else ("eta", "zeta", "lam", "rc", "rs")
        parameters = (*behler, "cutoff", "alpha")
    parameters = row[list(parameters)].tolist()
    if kind.startswith("W"):
        over = reference.weighted_radial if kind.endswith("2") else reference.weighted_angular
        return over(of, environment, *parameters)
    elements = row["first"] if kind.endswith("2") else (row["first"], row["second"])
    return of(environment, elements, *parameters)


def by_atom(descriptors, blocks):
    """Blocks per element as rows per atom."""
    rows = [None] * descriptors.layout.n_centers
    for centers, block in zip(descriptors.layout.atoms_e, blocks, strict=True):
        for a, row in zip(centers, block, strict=True):
            rows[a] = row
    return rows


def like(blocks, random):
    return tuple(random.normal(size=block.shape) for block in blocks)


def inner(blocks, others):
    return sum(float(np.sum(a * b)) for a, b in zip(blocks, others, strict=True))


def absolute(blocks, others):
    """The inner product without cancellation: the scale that rounding errors belong to."""
    return inner([np.abs(a) for a in blocks], [np.abs(b) for b in others])


# ---- values ----


def test_values_are_those_of_the_textbook(atoms, functions, pairs):
    descriptors = functions.describe(pairs)
    found = by_atom(descriptors, descriptors.values)
    for row, expected in zip(found, textbook(functions, atoms), strict=True):
        np.testing.assert_allclose(row, expected, rtol=1e-12, atol=1e-13)


def test_the_systems_leave_no_function_untested(systems, functions):
    """Each function is clearly non-zero somewhere: no test below compares zeros with zeros."""
    largest = [np.zeros(n) for n in functions.table.n_functions]
    for atoms in systems.values():
        values = functions.describe(Pairs.from_atoms(atoms, functions.cutoff)).values
        largest = [np.maximum(a, np.abs(G).max(0, initial=0)) for a, G in zip(largest, values, strict=True)]
    assert min(a.min() for a in largest) > 1e-4


def test_isolated_atom_and_no_neighbors(systems, functions, backend):
    far = functions.describe(Pairs.from_atoms(systems["isolated atom"], functions.cutoff))
    np.testing.assert_array_equal(by_atom(far, far.values)[-1], 0.0)
    alone = backend(functions.describe(Pairs.from_atoms(Atoms("HO", [[0, 0, 0], [9, 0, 0]]), functions.cutoff)))
    for G in alone.values:
        np.testing.assert_array_equal(G, 0.0)
    assert alone.pullback(alone.values).shape == (0, 3)
    for G_dot in alone.pushforward(np.zeros((0, 3))):
        np.testing.assert_array_equal(G_dot, 0.0)


def test_no_atoms(functions, backend):
    nothing = backend(functions.describe(Pairs.from_atoms(Atoms(), functions.cutoff)))
    assert [len(G) for G in nothing.values] == [0, 0, 0]
    assert nothing.pullback(nothing.values).shape == (0, 3)
    assert [len(G) for G in nothing.pushforward(np.zeros((0, 3)))] == [0, 0, 0]


def test_pairs_beyond_the_cutoff_do_not_count(atoms, functions, pairs, backend, random):
    """A longer list gives the same values, and its longer pairs get a gradient of exactly zero."""
    longer = Pairs.from_atoms(atoms, functions.cutoff + 1.3)
    distance = np.linalg.norm(longer.r_pc, axis=1)
    one, other = backend(functions.describe(pairs)), backend(functions.describe(longer))
    for G, expected in zip(other.values, one.values, strict=True):
        np.testing.assert_allclose(G, expected, rtol=1e-13, atol=1e-15)
    dE_dr_pc = other.pullback(like(one.values, random))
    assert len(pairs.r_pc) == (distance < functions.cutoff).sum()
    np.testing.assert_array_equal(dE_dr_pc[distance >= functions.cutoff], 0.0)


def test_weighted_functions_are_sums_over_elements(systems):
    """Each is the sum of the functions of single elements, times one atomic number or two."""
    numbers = {"H": 1, "C": 6, "O": 8}
    radial = {WG2: (G2, (0.4, 0.8, 3.7)), WC2: (C2, (-1.5, 3.7))}
    angular = {WG4: (G4, (0.05, 2.5, -1.0, 3.7)), WG5: (G5, (0.05, 4, 1.0, 3.7)), WC4: (C4, (-1.5, 3.7, 40, 130)),
               WC5: (C5, (0.5, 3.7, 60, 300))}  # fmt: skip
    rows, weights = [], []
    for weighted, (single, parameters) in radial.items():
        weights += [(len(rows), numbers[z]) for z in numbers]
        rows += [weighted("C", *parameters)] + [single("C", z, *parameters) for z in numbers]
    for weighted, (single, parameters) in angular.items():
        couples = list(combinations_with_replacement(numbers, 2))
        weights += [(len(rows), numbers[y] * numbers[z]) for y, z in couples]
        rows += [weighted("C", *parameters)] + [single("C", *couple, *parameters) for couple in couples]
    set_of_carbon = SymmetryFunctions.from_functions([*rows, G1("H", "H", 3.0), G1("O", "O", 3.0)])
    for name in ("triclinic", "molecule", "isolated atom"):
        values = set_of_carbon.describe(Pairs.from_atoms(systems[name], 3.7)).values[1]
        sums = dict.fromkeys([place for place, _ in weights], 0.0)
        singles = np.delete(values, list(sums), axis=1)
        for (place, weight), column in zip(weights, singles.T, strict=True):
            sums[place] += weight * column
        np.testing.assert_allclose(values[:, list(sums)], np.transpose(list(sums.values())), rtol=1e-13, atol=1e-14)


def test_outside_of_a_compact_support_there_is_nothing():
    """Values and forces are exactly zero for neighbors nearer than rl, and for angles outside of the window."""
    functions = SymmetryFunctions.from_functions([
        C2("Si", "Si", 2.0, 4.0), C5("Si", "Si", "Si", 2.0, 4.0, 0, 180), C4("Si", "Si", "Si", 2.0, 4.0, 0, 180, "exp"),
        C5("Si", "Si", "Si", 1.0, 4.0, 80, 100, "poly1"), C4("Si", "Si", "Si", 1.0, 4.0, 80, 100, "poly4a"),
    ])  # fmt: skip
    r = 1.9 * np.array([[1.0, 0.0, 0.0], [np.cos(np.radians(101)), np.sin(np.radians(101)), 0.0]])
    pairs = Pairs.from_arrays([0, 0], [1, 2], r, [14, 14, 14], n_centers=1)
    for backend in BACKENDS.values():
        descriptors = backend(functions.describe(pairs))
        np.testing.assert_array_equal(descriptors.values[0], 0.0)
        np.testing.assert_array_equal(descriptors.pullback((np.ones((1, 5)),)), 0.0)
        np.testing.assert_array_equal(descriptors.pushforward(np.ones((2, 3)))[0], 0.0)


@pytest.mark.parametrize("shape", COMPACT)
@pytest.mark.parametrize(("left", "right"), [(60, 180), (120, 240), (0, 120), (-60, 60), (0, 180)])
@pytest.mark.parametrize("bend", [0.0, 1e-9, 1e-8, 1e-6, 1e-3])
def test_straight_angles_have_continuous_values_and_forces(shape, left, right, bend):
    """At 0 and 180 degrees the slope of an angle in its cosine is infinite; the function's own vanishes there."""
    functions = SymmetryFunctions.from_functions([C5("Si", "Si", "Si", -4.0, 4.0, left, right, shape)])

    def at(bend):
        """Two neighbors in line with the center, on the side where the window is, and turned a little."""
        x = -2.1 if right >= 180 else 2.1
        pairs = Pairs.from_arrays([0, 0], [1, 2], [[1.3, 0, 0], [x, 2.1 * bend, 0]], [14] * 3, n_centers=1)
        descriptors = functions.describe(pairs)
        return descriptors.values[0][0, 0], descriptors.pullback((np.ones((1, 1)),))

    (value, dE_dr), (expected, at_rest) = at(bend), at(0.0)
    assert np.isfinite(value)
    assert value == pytest.approx(expected, abs=20 * bend + 1e-14)
    np.testing.assert_allclose(dE_dr, at_rest, rtol=0, atol=100 * bend + 1e-14)


# ---- both directions ----


def test_pushforward_is_the_derivative_of_describe(functions, pairs, backend, random, difference):
    """Pair vectors are independent variables here: r_ij need not be -r_ji."""
    v_pc = random.uniform(-1, 1, pairs.r_pc.shape)
    descriptors = backend(functions.describe(pairs))
    for e, G_dot in enumerate(descriptors.pushforward(v_pc)):
        numeric = difference(lambda h, e=e: functions.describe(replace(pairs, r_pc=pairs.r_pc + h * v_pc)).values[e])
        scale = np.abs(numeric).max(initial=1e-3)
        np.testing.assert_allclose(G_dot, numeric, rtol=1e-8, atol=1e-8 * scale)


def test_pullback_is_the_derivative_of_describe(functions, pairs, backend, random, difference):
    """Pair by pair, for a dozen of them, so that no error hides behind a sum."""
    descriptors = backend(functions.describe(pairs))
    bars = like(descriptors.values, random)
    dE_dr_pc = descriptors.pullback(bars)
    scale = np.abs(dE_dr_pc).max(initial=0.0)

    def energy(h, v_pc):
        return inner(bars, functions.describe(replace(pairs, r_pc=pairs.r_pc + h * v_pc)).values)

    for p in random.permutation(len(pairs.r_pc))[:12]:
        v_pc = np.zeros_like(pairs.r_pc)
        v_pc[p] = random.uniform(-1, 1, 3)
        numeric = difference(lambda h, v_pc=v_pc: energy(h, v_pc))
        assert dE_dr_pc[p] @ v_pc[p] == pytest.approx(numeric, rel=1e-8, abs=1e-8 * scale)


def test_pullback_is_the_transpose_of_pushforward(functions, pairs, backend, random):
    descriptors = backend(functions.describe(pairs))
    for _ in range(3):
        v_pc, bars = random.normal(size=pairs.r_pc.shape), like(descriptors.values, random)
        dots, dE_dr_pc = descriptors.pushforward(v_pc), descriptors.pullback(bars)
        scale = absolute(bars, dots)
        assert inner(bars, dots) == pytest.approx(float(np.sum(v_pc * dE_dr_pc)), rel=0, abs=1e-12 * scale)


def test_both_are_linear(functions, pairs, backend, random):
    """Nothing of the call before stays in a buffer."""
    descriptors = backend(functions.describe(pairs))
    bars = like(descriptors.values, random)
    once, twice = descriptors.pullback(bars), descriptors.pullback([2 * bar for bar in bars])
    np.testing.assert_array_equal(2 * once, twice)
    np.testing.assert_array_equal(descriptors.pullback([0 * bar for bar in bars]), np.zeros_like(pairs.r_pc))
    v_pc = random.normal(size=pairs.r_pc.shape)
    for one, other in zip(descriptors.pushforward(v_pc), descriptors.pushforward(2 * v_pc), strict=True):
        np.testing.assert_array_equal(2 * one, other)


@pytest.mark.parametrize(("dtype", "close"), [(np.float64, 1e-12), (np.float32, 1e-6)])
def test_stored_equals_plain(functions, pairs, random, dtype, close):
    plain = functions.describe(pairs)
    stored = plain.stored(dtype)
    assert stored.J.dtype == dtype
    assert stored.J.nbytes <= 3 * pairs.r_pc.shape[0] * functions.table.n_functions.max() * np.dtype(dtype).itemsize
    v_pc, bars = random.normal(size=pairs.r_pc.shape), like(plain.values, random)
    expected = plain.pullback(bars)
    scale = np.abs(expected).max(initial=1e-9)  # the sum over functions may cancel for single pairs
    np.testing.assert_allclose(stored.pullback(bars), expected, rtol=close, atol=close * scale)
    for G_dot, other in zip(stored.pushforward(v_pc), plain.pushforward(v_pc), strict=True):
        np.testing.assert_allclose(G_dot, other, rtol=close, atol=close * np.abs(other).max(initial=1e-9))


def test_blocks_of_the_stored_jacobian(functions, pairs):
    """Only functions that know the element of the neighbor have a column."""
    stored = functions.describe(pairs).stored()
    for p in range(0, len(pairs.r_pc), 7):
        columns, block = stored.block(p)
        i, j = pairs.i_p[p], pairs.j_p[p]
        rows = functions.functions[functions.functions["center"] == pairs.number_a[i]]
        names = (rows["first"] == pairs.number_a[j]) | (rows["second"] == pairs.number_a[j])
        names |= np.char.startswith(rows["kind"], "W")  # weighted functions know all elements
        np.testing.assert_array_equal(columns, np.flatnonzero(names))
        assert block.shape == (3, len(columns))


# ---- arrays ----


def test_every_element_of_the_results_is_written(functions, pairs):
    """Results arrive in memory that was never set."""
    descriptors = functions.describe(pairs)
    where = descriptors._where()
    G, dE_dr = np.full(descriptors.layout.size, np.nan), np.full(pairs.r_pc.shape, np.nan)
    cpu.describe(*where, G)
    assert np.isfinite(G).all()
    cpu.pullback(*where, G, dE_dr)
    assert np.isfinite(dE_dr).all()
    G_dot = np.full_like(G, np.nan)
    cpu.pushforward(*where, pairs.r_pc, G_dot)
    assert np.isfinite(G_dot).all()
    stored = descriptors.stored()
    J = np.full_like(stored.J, np.nan)
    cpu.jacobian(*where, stored.first_p, J)
    np.testing.assert_array_equal(J, stored.J)


def test_order_of_neighbors_does_not_matter(functions, pairs, backend, random):
    order = np.lexsort((random.uniform(size=len(pairs.i_p)), pairs.i_p))
    other = replace(pairs, j_p=pairs.j_p[order], shift_pc=pairs.shift_pc[order], r_pc=pairs.r_pc[order])
    one, two = backend(functions.describe(pairs)), backend(functions.describe(other))
    for G, expected in zip(two.values, one.values, strict=True):
        np.testing.assert_allclose(G, expected, rtol=1e-12, atol=1e-14)
    bars = like(one.values, random)
    expected = one.pullback(bars)[order]
    np.testing.assert_allclose(two.pullback(bars), expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max(initial=1))


def test_repeated_calls_give_the_same_bits(functions, pairs, backend):
    one, two = (backend(functions.describe(pairs)) for _ in range(2))
    for G, again in zip(one.values, two.values, strict=True):
        np.testing.assert_array_equal(G, again)
    np.testing.assert_array_equal(one.pullback(one.values), two.pullback(one.values))


@pytest.mark.parametrize("change", [lambda r: r[:-1], lambda r: r[:, :2], np.ravel], ids=["rows", "columns", "flat"])
def test_wrong_shapes_are_refused(systems, functions, backend, change):
    """Kernels do not look; memory beyond an array must never be read."""
    pairs = Pairs.from_atoms(systems["triclinic"], functions.cutoff)
    descriptors = backend(functions.describe(pairs))
    with pytest.raises(ValueError, match="shape"):
        descriptors.pushforward(change(pairs.r_pc))
    with pytest.raises(ValueError, match="shape"):
        descriptors.pullback([change(np.asarray(G)) if n == 1 else G for n, G in enumerate(descriptors.values)])
    with pytest.raises(ValueError, match="3"):
        descriptors.pullback(descriptors.values[:2])


def test_layout_of_arrays_does_not_matter(systems, functions, backend, random):
    """Float32, Fortran order, lists, every second row."""
    pairs = Pairs.from_atoms(systems["triclinic"], functions.cutoff)
    descriptors = backend(functions.describe(pairs))
    v_pc = random.integers(-3, 4, pairs.r_pc.shape).astype(float)
    expected = descriptors.pushforward(v_pc)
    for other in (np.asfortranarray(v_pc), v_pc.astype(np.float32), v_pc.tolist(), np.repeat(v_pc, 2, axis=0)[::2]):
        for G_dot, G in zip(descriptors.pushforward(other), expected, strict=True):
            np.testing.assert_array_equal(G_dot, G)
