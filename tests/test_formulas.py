"""Formulas: values against the textbook, slopes against differences, and what happens at the edges."""

import math

import numpy as np
import pytest
import reference
from numba import njit

from bpnumba.formulas import numbers
from bpnumba.formulas.angular import (
    angle,
    angular,
    angular_window,
    compact_angular,
    cosine,
    even_powers,
    odd_powers,
    power,
)
from bpnumba.formulas.cutoff import CUTOFFS, choice, cutoff, pair_window, window
from bpnumba.formulas.radial import gaussian, pair_factor

RC = 5.3
NAMES = list(CUTOFFS)
CODES = dict(zip(NAMES, range(len(NAMES)), strict=True))
SMOOTHNESS = {"cosine": 1, "tanh": 2, "exp": math.inf, "poly1": 1, "poly2": 2, "poly3": 3, "poly4": 4,
              "tanh_normalized": 2, "hard": None, "poly1a": 3, "poly2a": 5, "poly3a": 7, "poly4a": 9}  # fmt: skip
"""Number of continuous derivatives at the cutoff radius."""
SMOOTH = [name for name in NAMES if name != "hard"]
LEVEL = [name for name in SMOOTH if "tanh" not in name]
"""Those with zero slope at the center: they can begin at an inner radius, and have a mirror image."""


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
        assert slope == 0 if name == "hard" else slope < 0


@pytest.mark.parametrize("name", NAMES)
def test_cutoff_at_the_center(name):
    expected = math.tanh(1.0) ** 3 if name == "tanh" else 1.0
    assert CUTOFFS[name](0.0, RC)[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [RC, math.nextafter(RC, 9), RC + 1e-9, RC + 0.1, 2 * RC, 7 * RC, 400 * RC])
def test_exactly_zero_at_and_beyond_the_cutoff(name, r):
    for inner, mirrored in ((0.0, False), (0.4 * RC, False), (0.0, True), (0.4 * RC, True)):
        assert pair_window(*at(r), CODES[name], inner, RC, mirrored) == (0.0, 0.0)
        assert pair_factor(0.5 * r * r, 0.1, 1.0, CODES[name], inner, RC, mirrored) == (0.0, 0.0)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("rc", [1.0, RC, 6.0, 12.0])
def test_tiny_just_inside_the_cutoff(name, rc):
    r = rc
    for _ in range(40):
        r = math.nextafter(r, 0.0)
        for value, slope in (CUTOFFS[name](r, rc), pair_window(*at(r), CODES[name], 0.0, rc, False)):
            assert abs(value) < 1e-13  # a NaN fails as well
            assert abs(slope) < 1e-12


@pytest.mark.parametrize("name", [name for name in SMOOTH if name != "exp" and not name.endswith("a")])
def test_as_many_continuous_derivatives_as_claimed(name):
    """If derivative n is the last that is continuous at rc, the slope goes like (rc - r)^n: 2^n less for half of it."""
    n = SMOOTHNESS[name]
    slopes = [CUTOFFS[name](RC - gap, RC)[1] for gap in (0.02, 0.01, 0.005)]
    ratios = [slopes[0] / slopes[1], slopes[1] / slopes[2]]
    assert 2 * ratios[1] - ratios[0] == pytest.approx(2**n, rel=1e-3)  # extrapolated to no gap


@pytest.mark.parametrize("name", ["poly1a", "poly2a", "poly3a", "poly4a"])
def test_asymmetric_polynomials_end_more_smoothly(name):
    """1 - (2 - x) x = (1 - x)^2: where a polynomial goes like gap^(n+1), this one goes like gap^(2n+2)."""
    n = SMOOTHNESS[name.removesuffix("a")]
    assert SMOOTHNESS[name] == 2 * n + 1
    gaps = 0.4 * RC, 0.2 * RC
    values = [CUTOFFS[name](RC - gap, RC)[0] / gap ** (2 * n + 2) for gap in gaps]
    assert values[0] == pytest.approx(values[1], rel=0.2 * n)


def test_exp_vanishes_faster_than_any_power():
    slopes = [CUTOFFS["exp"](RC - gap, RC)[1] for gap in (0.2, 0.1, 0.05)]
    assert slopes[0] / slopes[1] > 2**10
    assert slopes[1] / slopes[2] > 2**20


@pytest.mark.parametrize("name", NAMES)
def test_largest_second_difference_on_halved_grids(name):
    """Its ratio is 1/4 across rc, also where the second derivative jumps; a kink of fc itself would give 1/2, a jump 1
    (OpenKIM's check of dimers)."""

    def largest(n):
        grid = np.linspace(0.6 * RC, 1.2 * RC, n + 1).tolist()
        return np.abs(np.diff([pair_window(*at(r), CODES[name], 0.0, RC, False)[0] for r in grid], 2)).max()

    assert largest(800) / largest(400) == pytest.approx(1.0 if name == "hard" else 0.25, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("r", [0.3, 2.0, 0.97 * RC])
def test_slope_of_a_pair_is_in_u(name, r):
    value, slope = CUTOFFS[name](r, RC)
    assert pair_window(*at(r), CODES[name], 0.0, RC, False) == pytest.approx((value, slope / r), rel=1e-13)
    assert cutoff(CODES[name], r, RC) == (value, slope)


def test_a_choice_of_formulas_follows_the_code():
    chosen = choice((lambda r, rc: "zero", lambda r, rc: "one", lambda r, rc: "two"))
    assert [chosen(code, 1.0, 2.0) for code in range(3)] == ["zero", "one", "two"]


# ---- windows ----


@pytest.mark.parametrize("name", LEVEL)
@pytest.mark.parametrize("alpha", [0.3, 0.9])
def test_a_cutoff_that_begins_at_an_inner_radius(name, alpha, difference):
    inner = alpha * RC
    for r in (1e-6, 0.1, 0.5 * inner, inner):
        assert window(CODES[name], r, inner, RC, False) == (1.0, 0.0)
    value, slope = window(CODES[name], inner + 1e-9, inner, RC, False)
    assert value == pytest.approx(1.0, abs=1e-12)
    assert slope == pytest.approx(0.0, abs=1e-6)
    for part in (0.02, 0.3, 0.7, 0.98):
        r = inner + part * (RC - inner)
        value, slope = window(CODES[name], r, inner, RC, False)
        assert value == pytest.approx(reference.delayed(r, RC, name, alpha), abs=1e-13)
        numeric = difference(lambda d, r=r: window(CODES[name], r + d, inner, RC, False)[0], h=2e-4 * (RC - inner))
        assert slope == pytest.approx(numeric, rel=1e-8, abs=3e-9)


@pytest.mark.parametrize("name", LEVEL)
@pytest.mark.parametrize(("rl", "rc"), [(1.5, 3.7), (-RC, RC), (-2.5, 7.5)])
def test_a_window_with_its_mirror_image(name, rl, rc, difference):
    """A bump: 1 in the middle, 0 at and beyond both ends; of a window about or behind the origin a part is seen."""
    middle, width = 0.5 * (rl + rc), 0.5 * (rc - rl)
    code = CODES[name]
    assert window(code, middle, middle, rc, True) == (1.0, 0.0)
    for part in (0.1, 0.45, 0.9):
        (value, slope), (left, slope_left) = (
            window(code, middle + side * part * width, middle, rc, True) for side in (1, -1)
        )
        assert left == pytest.approx(value, rel=1e-12)
        assert slope_left == pytest.approx(-slope, rel=1e-12)
    for x in (rl, math.nextafter(rl, -9), rl - 0.3, rc, math.nextafter(rc, 9), rc + 0.3):
        assert window(code, x, middle, rc, True) == (0.0, 0.0)
    for r in np.linspace(0.3, rc, 25, endpoint=False).tolist():
        value, slope = window(code, r, middle, rc, True)
        assert value == pytest.approx(reference.bump(r, rl, rc, name), abs=1e-13)
        near_an_end = min(abs(r - rl), abs(r - middle)) < 1e-3
        if not near_an_end:
            numeric = difference(lambda d, r=r: window(code, r + d, middle, rc, True)[0])
            assert slope == pytest.approx(numeric, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize("name", LEVEL)
def test_nothing_is_seen_below_a_window(name):
    for r in (0.01, 1.0, math.nextafter(1.5, 0), 1.5):
        assert pair_window(*at(r), CODES[name], 2.6, 3.7, True) == (0.0, 0.0)


# ---- pair factor ----


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("eta", "rs"), [(0.0, 0.0), (0.1, 0.0), (4.0, 1.3), (0.5, 6.0)])
@pytest.mark.parametrize("r", [0.5, 1.3, 3.1, 5.1])
def test_pair_factor(name, eta, rs, r, difference):
    for alpha in (0.0, 0.4) if name in LEVEL else (0.0,):
        factor = eta, rs, CODES[name], alpha * RC, RC, False
        value, slope = pair_factor(0.5 * r * r, *factor)
        expected = reference.phi([r, 0.0, 0.0], eta, rs, RC, name, alpha)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-13)
        numeric = difference(lambda d, factor=factor: pair_factor(0.5 * r * r + d, *factor)[0], h=1e-3)
        assert slope == pytest.approx(numeric, rel=1e-8, abs=3e-10)


@pytest.mark.parametrize("name", LEVEL)
@pytest.mark.parametrize(("rl", "rc"), [(1.0, 5.4), (-RC, RC), (-2.5, 7.5)])
@pytest.mark.parametrize("r", [0.5, 1.3, 3.1, 5.1])
def test_compact_pair_factor(name, rl, rc, r, difference):
    factor = 0.0, 0.0, CODES[name], 0.5 * (rl + rc), rc, True
    value, slope = pair_factor(0.5 * r * r, *factor)
    assert value == pytest.approx(reference.bump(r, rl, rc, name), rel=1e-12, abs=1e-13)
    numeric = difference(lambda d: pair_factor(0.5 * r * r + d, *factor)[0])
    assert slope == pytest.approx(numeric, rel=1e-8, abs=3e-10)


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


def test_atoms_in_line():
    """Rounding takes the cosine a little beyond 1; angles, and powers that are not whole, do not mind."""
    random = np.random.default_rng(0)
    hit = 0
    for r_j, r_k in random.uniform(0.7, 5.0, (2000, 2)):
        for r_c, straight in ((r_j + r_k, -1.0), (r_j - r_k, 1.0)):
            u_j, u_k, u_c = (0.5 * r * r for r in (r_j, r_k, r_c))
            x = cosine(u_j, u_k, u_c, 1 / r_j, 1 / r_k)[0]
            assert x == pytest.approx(straight, abs=1e-14)
            assert angle(x)[0] == pytest.approx(math.acos(straight), abs=2e-7)
            assert np.isfinite(angular(x, -straight, 2.7)).all()
            hit += abs(x) > 1.0
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
def test_angular_base_just_below_zero(zeta, lam):
    """Powers that are not whole have none of it; whole ones go on as they are."""
    for beyond in (0.0, 1e-16, 3e-16, 1e-12):
        value, slope = angular(-lam * (1.0 + beyond), lam, zeta)
        assert value == pytest.approx(0.0, abs=2e-12 if zeta == 1.0 else 0.0 if zeta % 1.0 else 1e-20)
        assert slope == pytest.approx(lam if zeta == 1.0 else 0.0, abs=0.0 if zeta % 1.0 else 4e-12)


@pytest.mark.parametrize("zeta", [2.0, 4.0])
@pytest.mark.parametrize("x", [-1.0, -0.3, 0.0, 0.7, 1.0])
def test_even_and_odd_powers_make_the_angular_factor(x, zeta, difference):
    (even, even_slope), (odd, odd_slope) = even_powers(x, zeta), odd_powers(x, zeta)
    for lam in (1.0, -1.0):
        value, slope = angular(x, lam, zeta)
        assert even + lam * zeta * odd == pytest.approx(value, rel=1e-14, abs=1e-14)
        assert even_slope + lam * zeta * odd_slope == pytest.approx(slope, rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("degrees", [1.0, 30.0, 90.0, 120.0, 179.0])
def test_angle(degrees, difference):
    x = math.cos(math.radians(degrees))
    theta, slope = angle(x)
    assert math.degrees(theta) == pytest.approx(degrees, rel=1e-12)
    assert slope == pytest.approx(difference(lambda d: angle(x + d)[0], h=1e-3 * (1 - abs(x))), rel=1e-9)


@pytest.mark.parametrize("degrees", [1e-3, 0.03, 179.9])
def test_slope_of_an_angle_almost_in_line(degrees):
    theta = math.radians(degrees)
    assert angle(math.cos(theta))[1] == pytest.approx(-1 / math.sin(theta), rel=1e-5)


def test_angle_of_atoms_in_line():
    """There is no slope there; a window's own slope of zero must not be multiplied with infinity."""
    assert angle(1.0) == (0.0, 0.0)
    assert angle(-1.0) == (math.pi, 0.0)
    assert all(math.isfinite(slope) for slope in angle(math.nextafter(-1.0, 0)))


SHAPES = [name for name in LEVEL if not name.endswith("a") and name != "cosine"]
WINDOWS = [(40.0, 100.0), (0.0, 110.0), (70.0, 180.0), (-60.0, 60.0), (110.0, 250.0), (0.0, 180.0), (-180.0, 180.0)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("left", "right"), WINDOWS)
def test_compact_angular(name, left, right, difference):
    support = math.radians(0.5 * (left + right)), math.radians(right)
    for degrees in (3.0, 33.0, 52.0, 84.0, 95.0, 123.0, 149.0, 177.0):
        theta = math.radians(degrees)
        x = math.cos(theta)
        value, slope = compact_angular(x, CODES[name], *support)
        expected = reference.compact_angle_factor([1.0, 0.0, 0.0], [x, math.sin(theta), 0.0], left, right, name)
        assert value == pytest.approx(expected, abs=1e-13)
        if not left < degrees < right:
            assert (value, slope) == (0.0, 0.0)
        h = 1e-3 * (1 - abs(x))
        numeric = difference(lambda d, x=x: compact_angular(x + d, CODES[name], *support)[0], h=h)
        assert slope == pytest.approx(numeric, rel=1e-7, abs=1e-7)
        assert angular_window(*angle(x), CODES[name], *support) == (value, slope)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("left", "right"), WINDOWS)
@pytest.mark.parametrize("x", [-1.0, 1.0])
def test_compact_angular_in_line(name, left, right, x):
    """Toward 0 and 180 degrees the value goes to that of the straight angle, and the slope in x stays finite."""
    support = math.radians(0.5 * (left + right)), math.radians(right)
    value, slope = compact_angular(x, CODES[name], *support)
    in_the_middle = 0.5 * (left + right) == (180.0 if x < 0 else 0.0)
    assert (value, slope) == (1.0 if in_the_middle else 0.0, 0.0)
    for gap in (1e-16, 1e-15, 1e-12, 1e-9):
        near, slope = compact_angular(x * (1.0 - gap), CODES[name], *support)
        assert near == pytest.approx(value, abs=10 * gap + 1e-13)
        assert abs(slope) < 10


# ---- kinds of numbers ----


@njit
def everything(r, eta, rs, rc, number, inner, mirrored, lam, zeta):
    """Every formula once, compiled."""
    u = 0.5 * r * r
    fc, fc_u = pair_window(u, numbers.rsqrt(2.0 * u), number, inner, rc, mirrored)
    phi, phi_u = pair_factor(u, eta, rs, number, inner, rc, mirrored)
    x, x_j, x_k, x_c = cosine(u, 1.3 * u, 1.9 * u, numbers.rsqrt(2.0 * u), numbers.rsqrt(2.6 * u))
    a, a_x = angular(x, lam, zeta)
    b, b_x = compact_angular(x, number, 1.0, 2.0)
    c, c_x = compact_angular(-1.0, number, 3.0, 4.0)
    return fc, fc_u, phi, phi_u, x, x_j, x_k, x_c, a, a_x, b, b_x, c, c_x


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("r", "zeta"), [(0.7, 1.0), (2.9, 4.0), (RC - 1e-9, 1.5), (RC, 2.0), (9.0, 2.7)])
def test_compiled_formulas_equal_those_of_python(name, r, zeta):
    for inner, mirrored in ((0.0, False), (1.7, False), (1.7, True)):
        arguments = r, 0.3, 1.1, RC, CODES[name], inner, mirrored, -1.0, zeta
        np.testing.assert_allclose(everything(*arguments), everything.py_func(*arguments), rtol=1e-13, atol=1e-15)


def test_elements_of_arrays_are_numbers():
    """np.float64 is a float, but its comparisons give np.bool_, which is no bool."""
    row = np.array([0.5, 0.6, 0.7, 1.0, 0.9])
    assert cosine(*row) == cosine(*row.tolist())
    for factor in ((0.1, 0.0, 0, 0.0, 6.0, False), (0.0, 0.0, 0, 2.0, 6.0, True)):
        assert pair_factor(np.float64(4.5), *factor) == pair_factor(4.5, *factor)
    assert angular(row[0], 1.0, 1.5) == angular(0.5, 1.0, 1.5)
    assert compact_angular(row[0], 4, 1.0, 2.0) == compact_angular(0.5, 4, 1.0, 2.0)


class Pretender:
    """A kind of number with methods; a comparison gives something else than a bool."""

    def __init__(self, name):
        self.name = name

    def __getattr__(self, method):
        return lambda *arguments: (method, self.name, *arguments)


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "cos", "acos", "rsqrt"])
def test_functions_of_numbers(name):
    function = getattr(numbers, name)
    exact = {"rsqrt": lambda x: 1 / math.sqrt(x)}.get(name) or getattr(math, name)
    assert function(0.7) == exact(0.7)
    assert function(1) == exact(1)
    assert function(Pretender("x")) == (name, "x")
    compiled = njit(lambda x: function(x))
    for x in (0.7, 1e-9, 1) if name == "acos" else (0.7, 1e-9, 2, 5.0):
        assert compiled(x) == pytest.approx(exact(x), rel=1e-15, abs=2e-16)


def test_where():
    assert numbers.where(True, 1.0, 2.0) == 1.0
    assert numbers.where(0, 1.0, 2.0) == 2.0
    assert numbers.where(np.float64(1) < 2, 1.0, 2.0) == 1.0
    assert numbers.where(Pretender("condition"), 1.0, 2.0) == ("where", "condition", 1.0, 2.0)
    compiled = njit(lambda x: numbers.where(x > 0.0, 1.0, 2.0))
    assert (compiled(1.0), compiled(-1.0)) == (1.0, 2.0)
