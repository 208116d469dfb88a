"""The tape: one forward description of a triplet, walked in both directions."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from test_kernels import value as textbook

from bpnumba.formulas import tape
from bpnumba.formulas.angular import angular, compact_angular
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.radial import pair_factor
from bpnumba.formulas.tape import Node, apply, triplet
from bpnumba.functions import C4, C5, G4, G5
from bpnumba.kernels.table import FUNCTION
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

R_J, R_K = np.array([1.1, 0.3, -0.4]), np.array([-0.7, 1.2, 0.9])
U = [0.5 * float(r @ r) for r in (R_J, R_K, R_K - R_J)]


class Case(NamedTuple):
    """One term as the tape takes it, and the symmetry function of Si with H and O that has no other."""

    term: tuple
    row: tuple

    def of(self, u):
        return triplet(*u, *self.term)


def behler(lam, zeta, narrow, eta, rs, cutoff, alpha):
    factor = eta, rs, list(CUTOFFS).index(cutoff), 4.0 * alpha, 4.0, False
    row = (G4 if narrow else G5)("Si", "H", "O", eta, zeta, lam, 4.0, rs, cutoff, alpha)
    return Case(((2.0 ** (1.0 - zeta), angular, lam, zeta), narrow, factor), row)


def compact(left, right, narrow, rl, rc, shape):
    """Halfwidths as a reader would write them, from both ends."""
    symmetric = list(CUTOFFS).index(shape.removesuffix("a"))
    angle = 1.0, compact_angular, symmetric, math.radians(left + right) / 2, math.radians(right)
    factor = 0.0, 0.0, list(CUTOFFS).index(shape), (rl + rc) / 2, rc, True
    return Case((angle, narrow, factor), (C4 if narrow else C5)("Si", "H", "O", rl, rc, left, right, shape))


CASES = [
    behler(*angle, *factor)
    for angle in [(1.0, 1.0, True), (-1.0, 4.0, True), (1.0, 2.5, False), (0.5, 16.0, False)]
    for factor in [(0.0, 0.0, "cosine", 0.0), (0.3, 0.0, "tanh", 0.0), (0.2, 1.5, "exp", 0.0),
                   (1.0, 0.7, "poly2", 0.0), (0.2, 0.0, "poly3", 0.3)]
] + [
    compact(*angle, *factor)
    for angle in [(60, 180, True), (30, 150, True), (90, 270, False), (-150, 150, False), (0, 180, False)]
    for factor in [(-4.0, 4.0, "poly1"), (1.0, 3.5, "poly2"), (0.5, 4.0, "poly3a"), (-2.5, 7.5, "poly4a"),
                   (0.3, 4.0, "exp")]
]  # fmt: skip


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def test_value_is_that_of_the_textbook(case):
    near = [(1, R_J.tolist()), (8, R_K.tolist())]
    expected = textbook(np.array(case.row, FUNCTION), near)
    assert expected > 1e-9
    assert case.of(map(Node, U)).value == pytest.approx(expected, rel=1e-12)


def test_both_directions_against_differences(case, difference):
    u = [Node(value) for value in U]
    term = case.of(u)
    bars = tape.pullback([(term, 1.0)], u)
    for n, bar in enumerate(bars):
        tangent = tape.pushforward({node: float(node is u[n]) for node in u})(term)

        def moved(d, n=n):
            return case.of(Node(U[m] + d * (m == n)) for m in range(3)).value

        numeric = difference(moved)
        assert bar == pytest.approx(numeric, rel=1e-8, abs=1e-11)
        assert tangent == pytest.approx(numeric, rel=1e-8, abs=1e-11)
    assert bars[2] != 0.0


def test_pullback_is_the_transpose_of_pushforward():
    """Several results of the same variables at once."""
    random = np.random.default_rng(1)
    u = [Node(value) for value in U]
    terms = [case.of(u) for case in CASES]
    dots, bars = random.normal(size=3).tolist(), random.normal(size=len(CASES)).tolist()
    tangent = tape.pushforward(dict(zip(u, dots, strict=True)))
    there = [bar * tangent(term) for bar, term in zip(bars, terms, strict=True)]
    back = tape.pullback(list(zip(terms, bars, strict=True)), u)
    assert math.fsum(there) == pytest.approx(math.fsum(np.multiply(back, dots)), abs=1e-14 * np.abs(there).sum())


def test_the_plain_kernel_has_the_same_pullback(case):
    """A center with two neighbors, and E = G; du_j = r_j . dr_j and du_c = (r_k - r_j) . (dr_k - dr_j)."""
    functions = three_elements(case.row)
    pairs = Pairs.from_arrays([0, 0], [1, 2], [R_J, R_K], [14, 1, 8], n_centers=1)
    dE_dr_pc = functions.describe(pairs).pullback((np.zeros((0, 1)), np.zeros((0, 1)), np.ones((1, 1))))
    u = [Node(value) for value in U]
    g_j, g_k, g_c = tape.pullback([(case.of(u), 1.0)], u)
    expected = [g_j * R_J - g_c * (R_K - R_J), g_k * R_K + g_c * (R_K - R_J)]
    np.testing.assert_allclose(dE_dr_pc, expected, rtol=1e-12, atol=1e-15)


def three_elements(row):
    """A set with this function of Si; H and O need a function, too."""
    return SymmetryFunctions.from_functions([row, G4("H", "H", "H", 0, 1, 1, 4.0), G4("O", "H", "H", 0, 1, 1, 4.0)])


def test_a_node_that_is_used_twice_and_arithmetic(difference):
    def chain(x):
        y = apply(pair_factor, x, 0.1, 0.0, 0, 0.0, 6.0, False)
        return y * y * x - 3.0 * y + 2.0 + (x - y) * 0.5

    x = Node(2.3)
    numeric = difference(lambda d: chain(Node(2.3 + d)).value)
    assert tape.pullback([(chain(x), 1.0)], [x])[0] == pytest.approx(numeric, rel=1e-10)
    assert tape.pushforward({x: 1.0})(chain(x)) == pytest.approx(numeric, rel=1e-10)


def test_a_variable_without_a_tangent_does_not_move():
    x, y = Node(1.0), Node(2.0)
    tangent = tape.pushforward({x: 3.0})
    assert tangent(x * y + y) == 6.0
    assert tangent(y) == 0.0


def test_what_nothing_depends_on_has_no_adjoint():
    x, y = Node(1.0), Node(2.0)
    assert tape.pullback([(3.0 * x, 2.0)], [x, y]) == [6.0, 0.0]
