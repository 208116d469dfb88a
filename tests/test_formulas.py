"""Formulas: values against the textbook, slopes against differences, and what happens at the edges."""

import math

import numpy as np
import pytest
import reference
from numba import njit

from bpnumba.formulas import numbers
from bpnumba.formulas.angular import angular, cosine, power
from bpnumba.formulas.cutoff import CUTOFFS, choice, cutoff, pair_cutoff
from bpnumba.formulas.radial import gaussian, pair_factor

RC = 5.3
NAMES = list(CUTOFFS)
CODES = dict(zip(NAMES, range(len(NAMES)), strict=True))
SMOOTHNESS = {"cosine": 1, "tanh": 2, "exp": math.inf, "poly1": 1, "poly2": 2, "poly3": 3, "poly4": 4}


def at(r):
    """u and 1/r as the formulas take them."""
    return 0.5 * r * r, 1.0 / r


# ---- cutoff functions ----


def test_the_textbook_has_the_same_cutoff_functions():
    assert list(reference.CUTOFFS) == NAMES == list(SMOOTHNESS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", np.linspace(0.0, RC, 40, endpoint=False).tolist())
def test_cutoff(name, r, difference):
    value, slope = CUTOFFS[name](r, RC)
    assert value == pytest.approx(reference.CUTOFFS[name](r, RC), abs=1e-13)
    if r > 0:
        assert slope == pytest.approx(difference(lambda d: CUTOFFS[name](r + d, RC)[0], h=1e-3), abs=1e-10)
        assert slope < 0


@pytest.mark.parametrize("name", NAMES)
def test_cutoff_at_the_center(name):
    expected = math.tanh(1.0) ** 3 if name == "tanh" else 1.0
    assert CUTOFFS[name](0.0, RC)[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [RC, math.nextafter(RC, 9), RC + 1e-9, RC + 0.1, 2 * RC, 7 * RC, 400 * RC])
def test_exactly_zero_at_and_beyond_the_cutoff(name, r):
    assert pair_cutoff(CODES[name], *at(r), RC) == (0.0, 0.0)
    assert pair_factor(0.5 * r * r, 0.1, 1.0, RC, CODES[name]) == (0.0, 0.0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rc", [1.0, RC, 6.0, 12.0])
def test_tiny_just_inside_the_cutoff(name, rc):
    r = rc
    for _ in range(40):
        r = math.nextafter(r, 0.0)
        for value, slope in (CUTOFFS[name](r, rc), pair_cutoff(CODES[name], *at(r), rc)):
            assert abs(value) < 1e-13  # a NaN fails as well
            assert abs(slope) < 1e-12


@pytest.mark.parametrize("name", [name for name in NAMES if name != "exp"])
def test_as_many_continuous_derivatives_as_claimed(name):
    """If derivative n is the last that is continuous at rc, the slope goes like (rc - r)^n: 2^n less for half of it."""
    n = SMOOTHNESS[name]
    slopes = [CUTOFFS[name](RC - gap, RC)[1] for gap in (0.02, 0.01, 0.005)]
    ratios = [slopes[0] / slopes[1], slopes[1] / slopes[2]]
    assert 2 * ratios[1] - ratios[0] == pytest.approx(2**n, rel=1e-3)  # extrapolated to no gap


def test_exp_vanishes_faster_than_any_power():
    slopes = [CUTOFFS["exp"](RC - gap, RC)[1] for gap in (0.2, 0.1, 0.05)]
    assert slopes[0] / slopes[1] > 2**10
    assert slopes[1] / slopes[2] > 2**20


@pytest.mark.parametrize("name", NAMES)
def test_largest_second_difference_on_halved_grids(name):
    """Its ratio is 1/4 across rc, also where the second derivative jumps; a kink of fc itself would give 1/2, a jump 1
    (OpenKIM's check of dimers)."""

    def largest(n):
        values = [pair_cutoff(CODES[name], *at(r), RC)[0] for r in np.linspace(0.6 * RC, 1.2 * RC, n + 1).tolist()]
        return np.abs(np.diff(values, 2)).max()

    assert largest(800) / largest(400) == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [0.3, 2.0, 0.97 * RC])
def test_slope_of_a_pair_is_in_u(name, r):
    value, slope = CUTOFFS[name](r, RC)
    assert pair_cutoff(CODES[name], *at(r), RC) == pytest.approx((value, slope / r), rel=1e-13)
    assert cutoff(CODES[name], r, RC) == (value, slope)


def test_a_choice_of_formulas_follows_the_code():
    chosen = choice((lambda r, rc: "zero", lambda r, rc: "one", lambda r, rc: "two"))
    assert [chosen(code, 1.0, 2.0) for code in range(3)] == ["zero", "one", "two"]


# ---- pair factor ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("eta", "rs"), [(0.0, 0.0), (0.1, 0.0), (4.0, 1.3), (0.5, 6.0)])
@pytest.mark.parametrize("r", [0.5, 1.3, 3.1, 5.1])
def test_pair_factor(name, eta, rs, r, difference):
    u = 0.5 * r * r
    value, slope = pair_factor(u, eta, rs, RC, CODES[name])
    assert value == pytest.approx(reference.phi([r, 0.0, 0.0], eta, rs, RC, name), rel=1e-12, abs=2e-14)
    numeric = difference(lambda d: pair_factor(u + d, eta, rs, RC, CODES[name])[0], h=1e-3)
    assert slope == pytest.approx(numeric, rel=1e-9, abs=1e-10)


def test_gaussian(difference):
    u = 0.5 * 2.4**2
    value, slope = gaussian(u, 1 / 2.4, 0.7, 1.9)
    assert value == pytest.approx(math.exp(-0.7 * 0.5**2), rel=1e-14)
    numeric = difference(lambda d: gaussian(u + d, 1 / math.sqrt(2 * (u + d)), 0.7, 1.9)[0])
    assert slope == pytest.approx(numeric, rel=1e-10)


# ---- angle ----


def triangle(u_j, u_k, u_c):
    return cosine(u_j, u_k, u_c, 1 / math.sqrt(2 * u_j), 1 / math.sqrt(2 * u_k))


@pytest.mark.parametrize("degrees", [1.0, 30.0, 60.0, 90.0, 109.47, 150.0, 179.0])
def test_cosine(degrees, difference):
    r_j, r_k, angle = 1.1, 2.3, math.radians(degrees)
    r_c = math.dist((r_j, 0.0), (r_k * math.cos(angle), r_k * math.sin(angle)))
    u = 0.5 * r_j**2, 0.5 * r_k**2, 0.5 * r_c**2
    x, *slopes = triangle(*u)
    assert x == pytest.approx(math.cos(angle), abs=1e-14)
    for n, slope in enumerate(slopes):
        # triangles that do not close would be clipped: stay inside
        h = 0.1 * min(1e-3, 1 - abs(x))
        numeric = difference(lambda d, n=n: triangle(*(u[m] + d * (m == n) for m in range(3)))[0], h=h)
        assert slope == pytest.approx(numeric, rel=1e-8)


def test_cosine_is_clipped_where_atoms_are_in_line():
    random = np.random.default_rng(0)
    hit = 0
    for r_j, r_k in random.uniform(0.7, 5.0, (2000, 2)):
        for r_c, straight in ((r_j + r_k, -1.0), (r_j - r_k, 1.0)):
            u_j, u_k, u_c = (0.5 * r * r for r in (r_j, r_k, r_c))
            raw = (u_j + u_k - u_c) / r_j / r_k
            x = cosine(u_j, u_k, u_c, 1 / r_j, 1 / r_k)[0]
            assert -1.0 <= x <= 1.0
            assert x == pytest.approx(straight, abs=1e-14)
            hit += abs(raw) > 1.0
    assert hit > 100  # rounding does leave the interval


@pytest.mark.parametrize("n", range(20))
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0, 1.999])
def test_power(n, x):
    assert power(x, n) == pytest.approx(x**n, rel=1e-15 * max(n, 1))


@pytest.mark.parametrize("zeta", [1.0, 2.0, 3.0, 4.0, 16.0, 64.0, 1.5, 2.7, 3.999])
@pytest.mark.parametrize("lam", [1.0, -1.0, 0.5])
@pytest.mark.parametrize("x", [-0.9, -0.3, 0.0, 0.6, 0.95])
def test_angular(zeta, lam, x, difference):
    value, slope = angular(x, lam, zeta)
    assert value == pytest.approx((1 + lam * x) ** zeta, rel=1e-13)
    assert slope == pytest.approx(difference(lambda d: angular(x + d, lam, zeta)[0]), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("zeta", [1.0, 2.0, 4.0, 1.5, 2.7])
@pytest.mark.parametrize("lam", [1.0, -1.0])
def test_angular_base_is_clipped_at_zero(zeta, lam):
    for beyond in (0.0, 1e-16, 3e-16, 1e-12):
        value, slope = angular(-lam * (1.0 + beyond), lam, zeta)
        assert value == 0.0
        assert slope == (lam if zeta == 1.0 else 0.0)


# ---- kinds of numbers ----


@njit
def everything(r, eta, rs, rc, number, lam, zeta):
    """Every formula once, compiled."""
    u = 0.5 * r * r
    fc, fc_u = pair_cutoff(number, u, numbers.rsqrt(2.0 * u), rc)
    phi, phi_u = pair_factor(u, eta, rs, rc, number)
    x, x_j, x_k, x_c = cosine(u, 1.3 * u, 1.9 * u, numbers.rsqrt(2.0 * u), numbers.rsqrt(2.6 * u))
    a, a_x = angular(x, lam, zeta)
    return fc, fc_u, phi, phi_u, x, x_j, x_k, x_c, a, a_x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("r", "zeta"), [(0.7, 1.0), (2.9, 4.0), (RC - 1e-9, 1.5), (RC, 2.0), (9.0, 2.7)])
def test_compiled_formulas_equal_those_of_python(name, r, zeta):
    arguments = r, 0.3, 1.1, RC, CODES[name], -1.0, zeta
    np.testing.assert_allclose(everything(*arguments), everything.py_func(*arguments), rtol=1e-13, atol=1e-16)


def test_elements_of_arrays_are_numbers():
    """np.float64 is a float, but its comparisons give np.bool_, which is no bool."""
    row = np.array([0.5, 0.6, 0.7, 1.0, 0.9])
    assert cosine(*row) == cosine(*row.tolist())
    assert pair_factor(np.float64(4.5), 0.1, 0.0, 6.0, 0) == pair_factor(4.5, 0.1, 0.0, 6.0, 0)
    assert angular(row[0], 1.0, 1.5) == angular(0.5, 1.0, 1.5)


class Pretender:
    """A kind of number with methods; a comparison gives something else than a bool."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, method):
        return lambda *arguments: (method, self.name, *arguments)


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "cos", "rsqrt"])
def test_functions_of_numbers(name):
    function = getattr(numbers, name)
    exact = {"rsqrt": lambda x: 1 / math.sqrt(x)}.get(name) or getattr(math, name)
    assert function(0.7) == exact(0.7)
    assert function(2) == exact(2)
    assert function(Pretender("x")) == (name, "x")
    compiled = njit(lambda x: function(x))
    for x in (0.7, 1e-9, 2, 5.0):
        assert compiled(x) == pytest.approx(exact(x), rel=1e-15, abs=2e-16)


def test_where():
    assert numbers.where(True, 1.0, 2.0) == 1.0
    assert numbers.where(0, 1.0, 2.0) == 2.0
    assert numbers.where(np.float64(1) < 2, 1.0, 2.0) == 1.0
    assert numbers.where(Pretender("condition"), 1.0, 2.0) == ("where", "condition", 1.0, 2.0)
    compiled = njit(lambda x: numbers.where(x > 0.0, 1.0, 2.0))
    assert (compiled(1.0), compiled(-1.0)) == (1.0, 2.0)
