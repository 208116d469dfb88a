"""A kind of number for the formulas: values of a kernel that is being written, often several lanes wide.

A `Value` stands for a number that will exist when the kernel runs: a double, an integer, or a vector of doubles, one
per lane.  Its operators write the machine's instruction instead of doing it, so a formula that is handed Values writes
itself into the kernel.  Where instructions are written is a trace (`bpnumba.kernels.tracing.Trace`), which knows the
width of the vectors and what the processor can do.

Numba brings no library of vector functions: exp, tanh and the others are polynomials here, exact to one or two units in
the last place of a number of order one, on the ranges that the formulas use.
"""

import math
from decimal import Decimal, localcontext

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
"""log 2 = high + low; n high is exact for exponents n (W. J. Cody and W. Waite, Software Manual, 1980)."""

TINY = 1e-300


def operation(name, swap=False):
    def method(a, b):
        return a.trace.binary(name, b, a) if swap else a.trace.binary(name, a, b)

    return method


class Value:
    """A number of the kernel: `code` is the LLVM value, `trace` where further instructions are written."""

    __slots__ = ("code", "trace")

    def __init__(self, trace, code):
        self.trace, self.code = trace, code

    __add__, __radd__ = operation("add"), operation("add")
    __sub__, __rsub__ = operation("sub"), operation("sub", swap=True)
    __mul__, __rmul__ = operation("mul"), operation("mul")
    __truediv__, __rtruediv__ = operation("div"), operation("div", swap=True)
    __and__, __lt__, __gt__ = operation("and_"), operation("<"), operation(">")
    __eq__, __hash__ = operation("=="), object.__hash__

    def __bool__(self):
        raise TypeError("a traced number has no truth value yet: write trace.when(...) or where(...)")

    def __neg__(self):
        return -1.0 * self

    def __abs__(self):
        return self.trace.absolute(self)

    def where(self, x, y):
        """x in the lanes where this mask is set, y elsewhere"""
        return self.trace.select(self, x, y)

    def any(self):
        """whether any lane of this mask is set"""
        return self.trace.any(self)

    def sum(self):
        """sum over the lanes"""
        return self.trace.sum(self)

    def exp(self):
        x = self.trace.select(self > -700.0, self, -700.0) * (1.0 / math.log(2.0))
        n, shifted = self.trace.nearest_integer(x)
        return self.trace.scale_by_power_of_two(polynomial(EXP2, x - n), shifted)

    def log(self):
        """for normal numbers above 0"""
        m, n = self.trace.split_exponent(self)  # m in [sqrt(1/2), sqrt(2)]
        t = (m - 1.0) / (m + 1.0)
        return n * LN2_HIGH + (n * LN2_LOW + t * polynomial(LOG, t * t))

    def __pow__(self, n):
        """for bases of 0 and above; 0 ** n is 0 to rounding"""
        return (n * self.trace.select(self > TINY, self, TINY).log()).exp()

    def tanh(self):
        """for arguments in [-1, 1]"""
        return self * polynomial(TANH, self * self)

    def sin(self):
        """for arguments in [0, pi]"""
        y = self - 0.5 * math.pi
        return polynomial(COS, y * y)

    def cos(self):
        """for arguments in [0, pi]"""
        y = 0.5 * math.pi - self
        return y * polynomial(SIN, y * y)

    def acos(self):
        """for arguments in [-1, 1]"""
        select, rest = self.trace.select, (1.0 - self) * (1.0 + self)
        cosine, sine = abs(self), rest * select(rest > 0.0, rest, 1.0).rsqrt()
        near = cosine > sine  # 0 or 180 degrees: nearer than 45
        x = select(near, sine, cosine) * math.cos(math.pi / 8) - select(near, cosine, sine) * math.sin(math.pi / 8)
        y = x * x  # of the sine of the angle to 0 or 180 or 90 degrees, less 22.5
        angle = x * y * polynomial(ASIN, y) + x + math.pi / 8
        angle = select(near, angle, 0.5 * math.pi - angle)
        return select(self > 0.0, angle, math.pi - angle)

    def rsqrt(self):
        rough = self.trace.rough_rsqrt(self)
        if rough is None:
            return 1.0 / self.trace.sqrt(self)
        e = 1.0 - (self * rough) * rough  # |e| < 2^-13: four terms of (1 - e)^(-1/2) suffice
        return rough + (rough * e) * ((0.3125 * e + 0.375) * e + 0.5)


def polynomial(coefficients, x):
    """c0 + c1 x + c2 x^2 ... by two chains, of the even and of the odd powers: the instructions of one wait less."""
    square, chains = x * x, []
    for start in (0, 1):
        *rest, result = coefficients[start::2]
        for c in reversed(rest):
            result = result * square + c
        chains.append(result)
    return chains[1] * x + chains[0]


def fit(function, low, high, degree):
    """Coefficients of the polynomial through the Chebyshev points of [low, high], in arithmetic of 40 digits."""
    with localcontext() as context:
        context.prec = 40
        middle, half = Decimal(low + high) / 2, Decimal(high - low) / 2
        points = [middle + half * Decimal(math.cos(math.pi * (n + 0.5) / (degree + 1))) for n in range(degree + 1)]
        differences = [function(x) for x in points]  # Newton's divided differences
        for order in range(1, degree + 1):
            for n in range(degree, order - 1, -1):
                differences[n] = (differences[n] - differences[n - 1]) / (points[n] - points[n - order])
        c = [Decimal(0)] * (degree + 1)
        for x, difference in zip(reversed(points), reversed(differences)):  # c <- c (t - x) + difference
            c = [difference - x * c[0], *(below - x * one for below, one in zip(c, c[1:]))]
        return [float(one) for one in c]


def tanh_over_x(y):
    """tanh(x) / x of y = x^2"""
    x = y.sqrt()
    e = (-2 * x).exp()
    return (1 - e) / (1 + e) / x


def rest_of_exp2(f):
    """(2^f - 1 - f log 2) / f^2"""
    x = f * Decimal(2).ln()
    return sum(x**n / math.factorial(n + 2) for n in range(40)) * Decimal(2).ln() ** 2


def rest_of_asin(y):
    """(asin(x) / x - 1) / y of y = x^2"""
    total, c = Decimal(0), Decimal(1)
    for n in range(1, 120):
        c = c * (2 * n - 1) / (2 * n)
        total += c * y ** (n - 1) / (2 * n + 1)
    return total


def series(terms, first, step):
    """Taylor coefficients (-1)^n / (first + n step)! of sin and cos."""
    return [(-1.0) ** n / math.factorial(first + n * step) for n in range(terms)]


EXP2 = [1.0, math.log(2.0), *fit(rest_of_exp2, -0.5, 0.5, 8)]
TANH = fit(tanh_over_x, 0.0, 1.0, 14)
SIN, COS = series(11, 1, 2), series(11, 0, 2)
LOG = [2.0 / (2 * n + 1) for n in range(10)]
ASIN = fit(rest_of_asin, 0.0, math.sin(math.pi / 8) ** 2, 9)
