"""Wide moments whose angular factor is a polynomial of low degree: their cost is linear in the neighbors.

With x = e_j . e_k and real spherical harmonics Y, normalized so that P_l(x) = sum_m Y_lm(e_j) Y_lm(e_k),

    a(x) = sum_l kappa_l P_l(x),      A_p,lm = sum_j phi(r_j) Y_lm(e_j)           (neighbors j of element p)
    m = sum_lm kappa_l A_p,lm A_q,lm                                              (p and q differ)
    m = [sum_lm kappa_l A_p,lm^2 - a(1) sum_j phi(r_j)^2] / 2                     (p = q: couples j < k)

The sums A serve all zeta, both signs of lambda and all partners.  This file knows what becomes of the sums; the loops
over centers stand in `centers.py`.
"""

from math import factorial, sqrt

from numpy.polynomial import legendre, polynomial

from bpnumba.formulas.numbers import where
from bpnumba.formulas.tape import Node
from bpnumba.formulas.tape import pullback as adjoints
from bpnumba.formulas.tape import pushforward as tangents
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.tracing import Lanes, Sum, padded
from bpnumba.kernels.triangles import total

HIGHEST = 8
"""Degree up to which harmonics are used.  They win while (degree + 1)^2 < 1.6 times the number of neighbors (measured),
which is 30 to 200 in practice."""

REGISTERS = 24
"""Sums that a loop keeps in registers at a time, of the 32 of AVX-512."""


# ---- which moments ---------------------------------------------------------------------------------------------------


def expansion(shape):
    """kappa_l of an angular factor; () if it is not for this file."""
    kind, *parameters = shape or (None,)
    if kind is None:
        return (1.0,)
    if kind == "cosine":
        return (0.0, 1.0)
    if kind == "compact" or parameters[1] != int(parameters[1]) or parameters[1] > HIGHEST:
        return ()
    lam, zeta = parameters
    return tuple(float(kappa) for kappa in legendre.poly2leg(polynomial.polypow([1.0, lam], int(zeta))))


def components(degrees):
    """The (l, m) above (0, 0) of the harmonics that are kept of a neighbor; degrees are pairs (factor, highest l)."""
    return numbered(max((degree for _, degree in degrees), default=0))[1:]


def numbered(degree):
    """All (l, m) up to a degree; m < 0 stands for the sine, and (l, m) has the number l^2 + l + m."""
    return [(l, m) for l in range(degree + 1) for m in range(-l, l + 1)]  # noqa: E741


# ---- the theory ------------------------------------------------------------------------------------------------------


def spherical(e, degree, one):
    """{(l, m): Y_lm} of a unit vector, up to a degree.

    Y_lm = n_lm d^mP_l/dz^m times the real or imaginary part of (x + iy)^m: polynomials, with neither poles nor angles.
    """
    x, y, z = e

    def norm(l, m):  # noqa: E741
        return sqrt((2.0 if m else 1.0) * factorial(l - m) / factorial(l + m))

    found, real, imaginary, start = {}, one, None, 1.0
    for m in range(degree + 1):
        if m == 1:
            real, imaginary = x, y
        elif m > 1:
            real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        start = start * max(2 * m - 1, 1)  # d^mP_m/dz^m = (2m - 1)!!
        column = {m: start * norm(m, m) * one if m == 0 else start * norm(m, m)}
        for l in range(m, degree):  # noqa: E741
            # (l - m + 1) P_l+1 = (2l + 1) z P_l - (l + m) P_l-1, derived m times
            up = (2 * l + 1) / (l - m + 1) * norm(l + 1, m) / norm(l, m)
            column[l + 1] = (up * z) * column[l]
            if l > m:
                column[l + 1] = column[l + 1] - (l + m) / (l - m + 1) * norm(l + 1, m) / norm(l - 1, m) * column[l - 1]
        for l, value in column.items():  # noqa: E741
            found[l, m] = real * value
            if m:
                found[l, -m] = imaginary * value
    return found


def contracted(t, moments, same, A, B, squares):
    """Nodes of the moments (factor, shape) of a couple of groups: vectors whose sums over the lanes they are.

    A and B are nodes of the sums over both groups by (factor, n), a vector at a time; squares those of phi^2, with a
    factor that is zero where there are no two neighbors.
    """
    products, found = {}, []
    for factor, shape in moments:
        kappa = expansion(shape)
        weights = [kappa[l] for l, _ in numbered(len(kappa) - 1)]
        terms = []
        for n in range(0, len(weights), t.width):
            part = weights[n : n + t.width] + [0.0] * (n + t.width - len(weights))
            if any(part):
                if (factor, n) not in products:
                    products[factor, n] = A[factor, n] * B[factor, n]
                terms.append(products[factor, n] * t.numbers(part))
        m = total(terms)
        if same:
            square, half = squares[factor]
            m = (m - sum(kappa) * square) * half
        found.append(m)
    return found


def linear(near, degrees, A_bar, squares_bar):
    """sum A_bar phi Y + squares_bar phi^2 of one neighbor: what it adds to an energy that is linear in the sums."""
    Y = spherical(near.unit, max(degree for _, degree in degrees), Node(1.0))
    terms = []
    for factor, degree in degrees:
        phi = near.phi[factor]
        inner = total([Y[component] * A_bar[factor][n] for n, component in enumerate(numbered(degree))])
        terms.append(phi * (inner + phi * squares_bar[factor]))
    return total(terms)


# ---- sums in scratch -------------------------------------------------------------------------------------------------


def places(degrees):
    """{factor: (first, count)} of the sums in scratch, each with a vector for phi^2 and one for the number of neighbors
    behind it, and how many numbers they take in all."""
    found, end = {}, 0
    for factor, degree in degrees:
        count = (degree + 1) ** 2
        found[factor] = end, padded(count, LANES)
        end += padded(count, LANES) + 2 * LANES
    return found, end


def room(degrees):
    """How many numbers of scratch the sums over a group take."""
    return places(degrees)[1]


def of(degrees, e):
    """Nodes of the harmonics that are kept of a neighbor."""
    found = components(degrees)
    return spherical(e, found[-1][0], Node(1.0)) if found else {}


def accumulate(t, group, mode):
    """Sum phi Y, phi^2 and 1 over the neighbors of a group, and then their tangents, or clear their adjoints."""
    degrees = group.recipe.degrees
    where_, size = places(degrees)
    rates = mode == "rates"
    most = max(1, REGISTERS // (t.width * (1 + rates)))
    for n in range(0, max(((degree + 1) ** 2 for _, degree in degrees), default=0), t.width):
        wanted = [(factor, degree) for factor, degree in degrees if n < (degree + 1) ** 2]
        for m in range(0, len(wanted), most):
            sums = {factor: [[Sum(t) for _ in range(1 + rates)] for _ in numbered(degree)[n : n + t.width]]
                    for factor, degree in wanted[m : m + most]}  # fmt: skip
            squares = {factor: [Sum(t) for _ in range(2 + rates)] for factor in sums} if n == 0 else {}
            for k in t.lanes(0, group.count):
                Y, dot = {}, {}

                def node(key):
                    x = Node(group.known[key][k])
                    if rates:
                        dot[x] = group.also[key][k]
                    return x

                for factor, parts in sums.items():
                    phi = node(factor)
                    for name, part in zip(numbered(HIGHEST)[n:], parts):
                        if name not in Y:
                            Y[name] = node(name) if name != (0, 0) else Node(1.0)
                        add(part, phi * Y[name], dot)
                    if n == 0:
                        add(squares[factor][:1] + squares[factor][2:], phi * phi, dot)
                        squares[factor][1] += where(phi.value == 0.0, 0.0, 1.0)
            for factor, parts in sums.items():
                first, count = where_[factor]
                for r in range(1 + rates):
                    vector(t, group.sums, first + n + r * size, t.sums([part[r].lanes() for part in parts]))
                if n == 0:
                    for r, s in enumerate((0, 2)[: 1 + rates]):
                        vector(t, group.sums, first + count + r * size, squares[factor][s].lanes())
                    group.sums[first + count + LANES] = squares[factor][1].value()
    if mode == "adjoints":
        for n in range(0, size, t.width):
            vector(t, group.sums, size + n, 0.0)


def add(sums, node, dot):
    """Add a node to a running sum, and its tangent to the next."""
    sums[0] += node.value
    if len(sums) > 1:
        sums[1] += tangents(dot)(node)


def vector(t, array, place, x=None):
    """Load or store a vector at a fixed place."""
    index = Lanes(t, t.integer(place).code)
    if x is None:
        return array[index]
    array[index] = x


def nodes(t, group, dot):
    """Nodes of the sums over a group, by (factor, n), and by factor those of phi^2 with the factor of `contracted`.

    Their tangents, or what has been found of their adjoints, go into dot: {node: place}."""
    found, size = places(group.recipe.degrees)
    A, squares = {}, {}
    for factor, (first, count) in found.items():
        for n in range(0, count, t.width):
            A[factor, n] = Node(vector(t, group.sums, first + n))
            dot[A[factor, n]] = size + first + n
        square = Node(vector(t, group.sums, first + count))
        dot[square] = size + first + count
        squares[factor] = square, where(group.sums[first + count + LANES] > 1.5, 0.5, 0.0)
    return A, squares


# ---- subroutines -----------------------------------------------------------------------------------------------------


def contract(t, kind, p, q, numbers, mode, same):
    """Moments of a couple of groups, or their tangents."""

    def body(t, start_p, start_q, numbers):
        p, q = type(group)(t, kind.first, start_p), type(group)(t, kind.second, start_q)
        at_p, at_q = {}, {}
        A, squares = nodes(t, p, at_p)
        B = A if same else nodes(t, q, at_q)[0]
        found = contracted(t, kind.moments, same, A, B, squares)
        if mode == "rates":
            dot = {node: vector(t, g.sums, place) for g, at in ((p, at_p), (q, at_q)) for node, place in at.items()}
            rate = tangents(dot)
        for n, x in enumerate(t.each_sum([rate(node) if mode == "rates" else node.value for node in found])):
            numbers[n] = x

    group = p
    t.subroutine(("contract", mode, same, kind), body, p.start, q.start, numbers)


def pull_back(t, kind, p, q, numbers, mode, same):
    """Add to the adjoints of the sums, from those of the moments, which are the numbers."""

    def body(t, start_p, start_q, numbers):
        p, q = type(group)(t, kind.first, start_p), type(group)(t, kind.second, start_q)
        at_p, at_q = {}, {}
        A, squares = nodes(t, p, at_p)
        B = A if same else nodes(t, q, at_q)[0]
        found = contracted(t, kind.moments, same, A, B, squares)
        variables = [(g, node, place) for g, at in ((p, at_p), (q, at_q)) for node, place in at.items()]
        bars = adjoints([(node, numbers[n]) for n, node in enumerate(found)], [node for _, node, _ in variables])
        for (g, _, place), bar in zip(variables, bars):
            if not isinstance(bar, float):
                vector(t, g.sums, place, vector(t, g.sums, place) + bar)

    group = p
    t.subroutine(("contract", mode, same, kind), body, p.start, q.start, numbers)


def energy(group, near):
    """[(node, 1)] of the energy to which a neighbor contributes by the sums, if there are any."""
    degrees = group.recipe.degrees
    if not degrees:
        return []
    found, size = places(degrees)
    A_bar = {factor: group.sums[size + first :] for factor, (first, _) in found.items()}
    squares = {factor: group.sums[size + first + count] for factor, (first, count) in found.items()}
    return [(linear(near, degrees, A_bar, squares), 1.0)]
