"""The theory in plain Python: slow, short, and without a line in common with the library.

Tests compare the library with these functions; readers can learn from them.
"""

import itertools
import math


def neighbors(positions, cell, pbc, cutoff):
    """All (i, j, shift, r) with |r| < cutoff, where r = x_j + shift . cell - x_i, in ascending order of (i, j, shift).

    How far must shifts go? With every step along a cell vector, an image moves by one height of the cell along the
    normal of the other vectors. Once this alone exceeds the cutoff plus the extent of the structure, none can be near.
    """
    extent = max((math.dist(x, y) for x in positions for y in positions), default=0.0)
    steps = [math.ceil((cutoff + extent) / height(cell, pbc, c)) if pbc[c] else 0 for c in range(3)]
    shifts = list(itertools.product(*(range(-n, n + 1) for n in steps)))

    found = []
    for i, x_i in enumerate(positions):
        for j, x_j in enumerate(positions):
            for shift in shifts:
                r = [x_j[c] - x_i[c] + sum(shift[d] * cell[d][c] for d in range(3) if pbc[d]) for c in range(3)]
                itself = i == j and shift == (0, 0, 0)
                if math.hypot(*r) < cutoff and not itself:
                    found.append((i, j, shift, r))
    return found


def height(cell, pbc, c):
    """Length of cell vector c without its parts along the other periodic vectors (Gram-Schmidt)."""
    others = [cell[d] for d in range(3) if pbc[d] and d != c]
    basis = []
    for vector in [*others, cell[c]]:
        for unit in basis:
            along = sum(v * u for v, u in zip(vector, unit, strict=True))
            vector = [v - along * u for v, u in zip(vector, unit, strict=True)]
        length = math.hypot(*vector)
        basis.append([v / length for v in vector])
    return length


# ---- cutoff functions: 1 for atoms close by, 0 from the cutoff radius rc on ----


def cosine_cutoff(r, rc):
    return 0.5 * (math.cos(math.pi * r / rc) + 1) if r < rc else 0.0


def tanh_cutoff(r, rc):
    return math.tanh(1 - r / rc) ** 3 if r < rc else 0.0


def tanh_normalized_cutoff(r, rc):
    """The same, but 1 at the center."""
    return tanh_cutoff(r, rc) / tanh_cutoff(0, rc)


def exp_cutoff(r, rc):
    """A bump: all derivatives vanish at rc. Just below rc the exponent is minus infinity for all that doubles know."""
    gap = 1 - (r / rc) ** 2
    return math.exp(1 - 1 / gap) if r < rc and gap > 0.002 else 0.0


def hard_cutoff(r, rc):
    return 1.0 if r < rc else 0.0


def polynomial_cutoff(r, rc, n):
    """The polynomial of degree 2 n + 1 with n vanishing derivatives at both ends: one minus the general smooth step."""
    x = r / rc
    terms = (math.comb(n + k, k) * math.comb(2 * n + 1, n - k) * (-x) ** k for k in range(n + 1))
    return 1 - x ** (n + 1) * sum(terms) if r < rc else 0.0


def asymmetric_cutoff(r, rc, n):
    """The same polynomial of (2 - x) x, which runs from 0 to 1, too: it falls early and then slowly."""
    x = r / rc
    return polynomial_cutoff((2 - x) * x, 1, n) if r < rc else 0.0


CUTOFFS = {
    "cosine": cosine_cutoff,
    "tanh": tanh_cutoff,
    "exp": exp_cutoff,
    "poly1": lambda r, rc: polynomial_cutoff(r, rc, 1),
    "poly2": lambda r, rc: polynomial_cutoff(r, rc, 2),
    "poly3": lambda r, rc: polynomial_cutoff(r, rc, 3),
    "poly4": lambda r, rc: polynomial_cutoff(r, rc, 4),
    "tanh_normalized": tanh_normalized_cutoff,
    "hard": hard_cutoff,
    "poly1a": lambda r, rc: asymmetric_cutoff(r, rc, 1),
    "poly2a": lambda r, rc: asymmetric_cutoff(r, rc, 2),
    "poly3a": lambda r, rc: asymmetric_cutoff(r, rc, 3),
    "poly4a": lambda r, rc: asymmetric_cutoff(r, rc, 4),
}


def delayed(r, rc, cutoff, alpha):
    """A cutoff function that is 1 as far as the inner radius alpha rc and falls from there."""
    inner = alpha * rc
    return CUTOFFS[cutoff](max(r - inner, 0.0), rc - inner)


def bump(x, left, right, shape):
    """A cutoff function and its mirror image, back to back: 1 in the middle, 0 at left, at right and beyond."""
    middle, halfwidth = (left + right) / 2, (right - left) / 2
    return CUTOFFS[shape](abs(x - middle), halfwidth)


# ---- the environment of an atom: a list of (atomic number, vector), one entry per neighbor ----


def environments(numbers, positions, cell, pbc, cutoff):
    """The environment of every atom: atomic numbers of its neighbors and the vectors that point to them."""
    near = [[] for _ in numbers]
    for i, j, _, r in neighbors(positions, cell, pbc, cutoff):
        near[i].append((numbers[j], r))
    return near


def couples(environment, elements):
    """Vectors to two neighbors of the two elements, each couple once."""
    for (z_j, r_j), (z_k, r_k) in itertools.combinations(environment, 2):
        if sorted((z_j, z_k)) == sorted(elements):
            yield r_j, r_k


def between(r_j, r_k):
    """The vector from one neighbor to the other."""
    return [x_k - x_j for x_j, x_k in zip(r_j, r_k, strict=True)]


def cosine(r_j, r_k):
    """Cosine of the angle between two neighbors; rounding may take that of a straight angle a little beyond -1."""
    cos = sum(x_j * x_k for x_j, x_k in zip(r_j, r_k, strict=True)) / (math.hypot(*r_j) * math.hypot(*r_k))
    return max(-1.0, min(cos, 1.0))


# ---- symmetry functions of one atom (Behler 2011) ----


def G1(environment, element, rc, cutoff):
    """How many neighbors of this element: sum_j fc(r_ij)."""
    return sum(CUTOFFS[cutoff](math.hypot(*r), rc) for z, r in environment if z == element)


def G2(environment, element, eta, rs, rc, cutoff, alpha=0.0):
    """How many of them near the distance rs: sum_j exp(-eta (r_ij - rs)^2) fc(r_ij)."""
    return sum(phi(r, eta, rs, rc, cutoff, alpha) for z, r in environment if z == element)


def G4(environment, elements, eta, zeta, lam, rc, rs, cutoff, alpha=0.0):
    """Angles between two neighbors of these two elements that are near each other, too.

    2^(1-zeta) sum_{j<k} (1 + lam cos theta_jik)^zeta phi(r_ij) phi(r_ik) phi(r_jk)
    """
    return sum(
        angle_factor(r_j, r_k, lam, zeta)
        * phi(r_j, eta, rs, rc, cutoff, alpha)
        * phi(r_k, eta, rs, rc, cutoff, alpha)
        * phi(between(r_j, r_k), eta, rs, rc, cutoff, alpha)
        for r_j, r_k in couples(environment, elements)
    )


def G5(environment, elements, eta, zeta, lam, rc, rs, cutoff, alpha=0.0):
    """The same wherever the two neighbors are: without phi(r_jk)."""
    return sum(
        angle_factor(r_j, r_k, lam, zeta) * phi(r_j, eta, rs, rc, cutoff, alpha) * phi(r_k, eta, rs, rc, cutoff, alpha)
        for r_j, r_k in couples(environment, elements)
    )


def angle_factor(r_j, r_k, lam, zeta):
    """2^(1-zeta) (1 + lam cos theta)^zeta."""
    return 2 ** (1 - zeta) * (1 + lam * cosine(r_j, r_k)) ** zeta


def phi(r, eta, rs, rc, cutoff, alpha=0.0):
    """Pair factor exp(-eta (r - rs)^2) fc(r) of a vector."""
    distance = math.hypot(*r)
    return math.exp(-eta * (distance - rs) ** 2) * delayed(distance, rc, cutoff, alpha)


# ---- symmetry functions with compact support (Bircher et al. 2021) ----


def C2(environment, element, rl, rc, shape):
    """How many neighbors of this element between the distances rl and rc, most of all in the middle."""
    return sum(bump(math.hypot(*r), rl, rc, shape) for z, r in environment if z == element)


def C4(environment, elements, rl, rc, left, right, shape):
    """C5 for two neighbors whose distance from each other lies between rl and rc, too."""
    return sum(
        compact_angle_factor(r_j, r_k, left, right, shape)
        * bump(math.hypot(*r_j), rl, rc, shape)
        * bump(math.hypot(*r_k), rl, rc, shape)
        * bump(math.hypot(*between(r_j, r_k)), rl, rc, shape)
        for r_j, r_k in couples(environment, elements)
    )


def C5(environment, elements, rl, rc, left, right, shape):
    """Angles between left and right, in degrees, of two neighbors at distances between rl and rc."""
    return sum(
        compact_angle_factor(r_j, r_k, left, right, shape)
        * bump(math.hypot(*r_j), rl, rc, shape)
        * bump(math.hypot(*r_k), rl, rc, shape)
        for r_j, r_k in couples(environment, elements)
    )


def compact_angle_factor(r_j, r_k, left, right, shape):
    """Angles lie on both sides of the middle alike: theirs is the symmetric polynomial even where r has the other."""
    return bump(math.degrees(math.acos(cosine(r_j, r_k))), left, right, shape.removesuffix("a"))


# ---- weighted symmetry functions (Gastegger et al. 2018): few functions for many elements ----


def weighted_radial(radial, environment, *parameters):
    """WG2, WC2: the sum of G2 or C2 over all elements of neighbors, times their atomic numbers."""
    return sum(z * radial(environment, z, *parameters) for z in elements_of(environment))


def weighted_angular(angular, environment, *parameters):
    """WG4, WG5, WC4, WC5: the sum over all couples of elements, times both atomic numbers."""
    return sum(
        z_j * z_k * angular(environment, (z_j, z_k), *parameters)
        for z_j, z_k in itertools.combinations_with_replacement(elements_of(environment), 2)
    )


def elements_of(environment):
    return sorted({z for z, _ in environment})


# ---- repulsion of nuclei (Ziegler, Biersack and Littmark 1985) ----

COULOMB = 14.3996454784
"""e^2 / (4 pi epsilon_0) in eV Angstrom."""


def zbl(z_i, z_j, r):
    """Energy of two bare nuclei at a distance r, with electrons between them that screen it; nothing is cut off."""
    x = r * (z_i**0.23 + z_j**0.23) / 0.46850
    terms = (0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)
    return COULOMB * z_i * z_j / r * sum(part * math.exp(-decay * x) for part, decay in terms)


def repulsion(numbers, positions, cell, pbc, radii, cutoff="poly2"):
    """Energy of every atom: half of that of its pairs; `radii` gives (inner, outer) of two atomic numbers."""
    energies = [0.0] * len(numbers)
    for i, j, _, r in neighbors(positions, cell, pbc, max(outer for _, outer in radii.values())):
        distance, (inner, outer) = math.hypot(*r), radii[tuple(sorted((numbers[i], numbers[j])))]
        window = CUTOFFS[cutoff](max(distance - inner, 0.0), outer - inner)
        energies[i] += 0.5 * window * zbl(numbers[i], numbers[j], distance)
    return energies
