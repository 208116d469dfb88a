"""The tape: one forward description of a triplet, walked in both directions."""

import math

import numpy as np
import pytest
import reference

from bpnumba.formulas import tape
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.radial import pair_factor
from bpnumba.formulas.tape import Node, apply, triplet
from bpnumba.functions import G4, G5
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

R_J, R_K = np.array([1.1, 0.3, -0.4]), np.array([-0.7, 1.2, 0.9])
U = [0.5 * float(r @ r) for r in (R_J, R_K, R_K - R_J)]
CASES = [
    ((lam, zeta, narrow), (eta, rs, 4.0, code))
    for lam, zeta, narrow in [(1.0, 1.0, True), (-1.0, 4.0, True), (1.0, 2.5, False), (0.5, 16.0, False)]
    for eta, rs, code in [(0.0, 0.0, 0), (0.3, 0.0, 1), (0.2, 1.5, 2), (1.0, 0.7, 4)]
]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def test_value_is_that_of_the_textbook(case):
    (lam, zeta, narrow), (eta, rs, rc, code) = case
    near = [(1, R_J.tolist()), (8, R_K.tolist())]
    of = reference.G4 if narrow else reference.G5
    expected = of(near, (8, 1), eta, zeta, lam, rc, rs, list(CUTOFFS)[code])
    assert triplet(*map(Node, U), *case).value == pytest.approx(expected, rel=1e-13)


def test_both_directions_against_differences(case, difference):
    u = [Node(value) for value in U]
    term = triplet(*u, *case)
    bars = tape.pullback([(term, 1.0)], u)
    for n, bar in enumerate(bars):
        tangent = tape.pushforward({node: float(node is u[n]) for node in u})(term)

        def moved(d, n=n):
            return triplet(*(Node(U[m] + d * (m == n)) for m in range(3)), *case).value

        numeric = difference(moved)
        assert bar == pytest.approx(numeric, rel=1e-8, abs=1e-11)
        assert tangent == pytest.approx(numeric, rel=1e-8, abs=1e-11)
    assert not case[0][2] or bars[2] != 0.0


def test_pullback_is_the_transpose_of_pushforward():
    """Several results of the same variables at once."""
    random = np.random.default_rng(1)
    u = [Node(value) for value in U]
    terms = [triplet(*u, *case) for case in CASES]
    dots, bars = random.normal(size=3).tolist(), random.normal(size=len(CASES)).tolist()
    tangent = tape.pushforward(dict(zip(u, dots, strict=True)))
    there = [bar * tangent(term) for bar, term in zip(bars, terms, strict=True)]
    back = tape.pullback(list(zip(terms, bars, strict=True)), u)
    assert math.fsum(there) == pytest.approx(math.fsum(np.multiply(back, dots)), abs=1e-14 * np.abs(there).sum())


def test_the_plain_kernel_has_the_same_pullback(case):
    """A center with two neighbors, and E = G; du_j = r_j . dr_j and du_c = (r_k - r_j) . (dr_k - dr_j)."""
    (lam, zeta, narrow), (eta, rs, rc, code) = case
    row = (G4 if narrow else G5)("Si", "H", "O", eta, zeta, lam, rc, rs, list(CUTOFFS)[code])
    functions = three_elements(row)
    pairs = Pairs.from_arrays([0, 0], [1, 2], [R_J, R_K], [14, 1, 8], n_centers=1)
    dE_dr_pc = functions.describe(pairs).pullback((np.zeros((0, 1)), np.zeros((0, 1)), np.ones((1, 1))))
    u = [Node(value) for value in U]
    g_j, g_k, g_c = tape.pullback([(triplet(*u, *case), 1.0)], u)
    expected = [g_j * R_J - g_c * (R_K - R_J), g_k * R_K + g_c * (R_K - R_J)]
    np.testing.assert_allclose(dE_dr_pc, expected, rtol=1e-12, atol=1e-15)


def three_elements(row):
    """A set with this function of Si; H and O need a function, too."""
    return SymmetryFunctions.from_functions([row, G4("H", "H", "H", 0, 1, 1, 4.0), G4("O", "H", "H", 0, 1, 1, 4.0)])


def test_a_node_that_is_used_twice_and_arithmetic(difference):
    def chain(x):
        y = apply(pair_factor, x, 0.1, 0.0, 6.0, 0)
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
