"""Rows of parameters, one per symmetry function, and the arrays that the loops read.

A set of symmetry functions is a structured array `FUNCTION` with columns named as in Behler's papers.  The loops want
the same information turned around: for a neighbor of a given element, which distinct pair factors; for two neighbors,
which groups of angular functions that share their pair factors.  `arrange` does that once per set.

>>> import numpy as np
>>> rows = np.array([make_row("G2", 14, 14, 0, 6.0, "cosine", eta=0.1)], dtype=FUNCTION)
>>> arrange(rows, [14]).factors["eta"]
array([0.1])
"""

from typing import NamedTuple

import numpy as np
from numba import config

from bpnumba.formulas.cutoff import CUTOFFS

FUNCTION = np.dtype(
    [
        ("kind", "U3"),  # [W]{G,C}{2,4,5}, see KINDS
        ("center", np.int64),
        ("first", np.int64),
        ("second", np.int64),  # atomic numbers; second is 0 for radial functions, both for weighted ones
        ("eta", np.float64),
        ("rs", np.float64),
        ("lam", np.float64),
        ("zeta", np.float64),
        ("rc", np.float64),
        ("cutoff", "U15"),  # of CUTOFFS: the cutoff function, or the shape of a compact function
        ("alpha", np.float64),  # inner radius of the cutoff function, as a part of rc
        ("rl", np.float64),
        ("left", np.float64),
        ("right", np.float64),  # support of a compact function: rl to rc, left to right in degrees
    ]
)

KINDS = tuple(f"{weight}{shape}{number}" for weight in ("", "W") for shape in "GC" for number in "245")
"""G: Behler's functions; C: compact ones.  2: radial; 4: angular, narrow; 5: angular, wide.  W: of all neighbors,
weighted by their atomic numbers."""


def make_row(kind, center, first, second, rc, cutoff, **parameters):
    """One row of FUNCTION from its columns by name; those that the kind does not have are 0."""
    given = {"kind": kind, "center": center, "first": first, "second": second, "rc": rc, "cutoff": cutoff, **parameters}
    return tuple(given.get(name, 0.0) for name in FUNCTION.names)


FACTOR = np.dtype(
    [
        ("eta", np.float64),
        ("rs", np.float64),
        ("cutoff", np.int64),  # position in CUTOFFS
        ("inner", np.float64),
        ("rc", np.float64),
        ("mirrored", np.bool_),  # the window of the pair factor: see bpnumba.formulas.cutoff.window
        ("fresh", np.bool_),  # the window differs from that of the factor before
        ("column", np.int64),  # of the radial function that this factor is, or -1
        ("related", np.int64),  # its place among the functions related to the neighbor's element
        ("weight", np.float64),  # of this element in it
    ]
)

ANGLE = np.dtype(
    [
        ("compact", np.bool_),
        ("lam", np.float64),
        ("zeta", np.float64),  # of (1 + lam x)^zeta
        ("cutoff", np.int64),
        ("middle", np.float64),
        ("right", np.float64),  # of a compact one, radians
    ]
)

GROUP = np.dtype(
    [
        ("factor_j", np.int64),
        ("factor_k", np.int64),  # places in the factor lists of both neighbors
        ("factor", np.int64),
        ("narrow", np.bool_),
        ("fresh", np.bool_),  # the window of r_jk is needed and differs from that of the group before
        ("begin", np.int64),
        ("end", np.int64),  # its members
    ]
)

MEMBER = np.dtype(
    [
        ("angle", np.int64),  # place in the list of angular factors of these two neighbors
        ("norm", np.float64),
        ("column", np.int64),
        ("related_j", np.int64),
        ("related_k", np.int64),
    ]
)


class Table(NamedTuple):
    """What the loops read.  c, j and k stand for the element index of the center and of its neighbors.

    ``factors[first_factor[c, j]:last_factor[c, j]]`` are the pair factors of a neighbor,
    ``angles[first_angle[c, j, k]:last_angle[c, j, k]]`` the angular factors of two neighbors and
    ``groups[first_group[c, j, k]:last_group[c, j, k]]`` their groups, each with the pair factors that it takes; the
    functions of a group are ``members[begin:end]``, each with its angular factor.  ``related[c, j]`` lists the
    ``n_related[c, j]`` functions (columns of G) that depend on a neighbor of element j at all; a stored Jacobian has no
    others.  ``reach2[c, j, k]`` is the square of the distance jk from which on no group counts.
    """

    n_functions: np.ndarray  # (n_e)
    most_factors: int  # of a neighbor
    most_angles: int  # of two
    factors: np.ndarray
    first_factor: np.ndarray  # (n_e, n_e)
    last_factor: np.ndarray
    angles: np.ndarray
    first_angle: np.ndarray  # (n_e, n_e, n_e)
    last_angle: np.ndarray
    groups: np.ndarray
    first_group: np.ndarray
    last_group: np.ndarray
    members: np.ndarray
    reach2: np.ndarray
    related: np.ndarray  # (n_e, n_e, widest)
    n_related: np.ndarray  # (n_e, n_e)


def arrange(functions, numbers):
    """The `Table` of a set of symmetry functions.

    Parameters
    ----------
    functions : structured array of FUNCTION
        In the order of the columns of G within each center element.
    numbers : sequence of int
        Atomic numbers of the elements; their order is the element index.
    """
    blocks = [[column_of(row) for row in functions[functions["center"] == z]] for z in numbers]
    related, n_related = relations(blocks, numbers)
    factors, first, last, places = list_factors(blocks, numbers, related, n_related)
    angles, first_angle, last_angle, *groups = list_groups(blocks, numbers, related, n_related, first, places)
    return Table(
        np.array([len(block) for block in blocks], np.int64),
        int((last - first).max()),
        int((last_angle - first_angle).max()),
        factors,
        first,
        last,
        angles,
        first_angle,
        last_angle,
        *groups,
        related,
        n_related,
    )


def list_factors(blocks, numbers, related, n_related):
    """`Table.factors`, `first_factor` and `last_factor`, and {(c, j, factor): place in the list of c and j}."""
    factors, places = [], {}
    first, last = (np.zeros(n_related.shape, np.int64) for _ in range(2))
    for (c, j), width in np.ndenumerate(n_related):
        columns, window = related[c, j, :width], None
        first[c, j] = len(factors)
        for factor, s in pair_factors(blocks[c], columns):
            places.setdefault((c, j, factor), len(factors) - first[c, j])
            at, weight = (-1, 0.0) if s < 0 else (np.searchsorted(columns, s), blocks[c][s].weight(numbers[j]))
            factors.append((*factor, factor[2:] != window, s, at, weight))
            window = factor[2:]
        last[c, j] = len(factors)
    return records(factors, FACTOR), first, last, places


def list_groups(blocks, numbers, related, n_related, first_factor, places):
    """`Table.angles` to `Table.reach2`."""
    angles, groups, members, shape = [], [], [], (len(numbers),) * 3
    first_angle, last_angle, first_group, last_group = (np.zeros(shape, np.int64) for _ in range(4))
    reach2 = np.zeros(shape)
    for c, j, k in np.ndindex(shape):
        block, window = blocks[c], None
        found = angular_groups(block, numbers[j], numbers[k])
        shapes = list(dict.fromkeys(block[s].angle for columns in found.values() for s in columns))
        first_angle[c, j, k], first_group[c, j, k] = len(angles), len(groups)
        angles += shapes
        for (factor, narrow), columns in found.items():
            place_j, place_k = places[c, j, factor], places[c, k, factor]
            fresh, window = narrow and factor[2:] != window, factor[2:] if narrow else None
            begin, end = len(members), len(members) + len(columns)
            groups.append((place_j, place_k, first_factor[c, j] + place_j, narrow, fresh, begin, end))
            for s in columns:
                at_j, at_k = (np.searchsorted(related[c, e, : n_related[c, e]], s) for e in (j, k))
                weight = block[s].weight(numbers[j] * numbers[k])
                members.append((shapes.index(block[s].angle), block[s].norm * weight, s, at_j, at_k))
            reach2[c, j, k] = max(reach2[c, j, k], factor[4] ** 2 if narrow else np.inf)
        last_angle[c, j, k], last_group[c, j, k] = len(angles), len(groups)
    tables = records(angles, ANGLE), first_angle, last_angle, records(groups, GROUP), first_group, last_group
    return *tables, records(members, MEMBER), reach2


def records(rows, dtype):
    """Rows as an array; without compilation Python, too, wants to read fields as attributes."""
    found = np.array(rows, dtype)
    return found.view(np.recarray) if config.DISABLE_JIT else found


def is_radial(kind):
    return kind.endswith("2")


def is_narrow(kind):
    return kind.endswith("4")


def is_compact(kind):
    return "C" in kind


def is_weighted(kind):
    return kind.startswith("W")


class Column(NamedTuple):
    """One row of FUNCTION as the lists want it."""

    kind: str
    neighbors: tuple  # atomic numbers, 0 where there is none
    factor: tuple  # what distinguishes a pair factor: eta, rs, number of the cutoff function, inner, rc, mirrored
    angle: tuple  # what distinguishes an angular factor: a row of ANGLE
    norm: float

    def weight(self, number):
        """Weight of neighbors with this atomic number, or product of two."""
        return float(number) if is_weighted(self.kind) else 1.0


def column_of(row):
    """The `Column` of a row."""
    values = dict(zip(FUNCTION.names, row.tolist(), strict=True))
    kind, rc, cutoffs = values["kind"], values["rc"], list(CUTOFFS)
    compact, neighbors = is_compact(kind), (values["first"], values["second"])
    inner = 0.5 * (values["rl"] + rc) if compact else values["alpha"] * rc
    factor = (values["eta"], values["rs"], cutoffs.index(values["cutoff"]), inner, rc, compact)
    if not compact:
        angle = (False, values["lam"], values["zeta"], 0, 0.0, 0.0)
        return Column(kind, neighbors, factor, angle, 2.0 ** (1.0 - values["zeta"]))
    left, right = np.radians([values["left"], values["right"]]).tolist()
    # the angular factor of an asymmetric compact function is the symmetric one
    angle = (True, 0.0, 0.0, cutoffs.index(values["cutoff"].removesuffix("a")), 0.5 * (left + right), right)
    return Column(kind, neighbors, factor, angle, 1.0)


def relations(blocks, numbers):
    """Columns of the functions of a center element that depend on a neighbor element, and how many they are."""
    related = np.zeros((len(blocks), len(numbers), max((len(block) for block in blocks), default=0)), np.int64)
    n_related = np.zeros(related.shape[:2], np.int64)
    for c, block in enumerate(blocks):
        for j, z in enumerate(numbers):
            columns = [s for s, column in enumerate(block) if is_weighted(column.kind) or z in column.neighbors]
            n_related[c, j], related[c, j, : len(columns)] = len(columns), columns
    return related, n_related


def pair_factors(block, columns):
    """Distinct pair factors of the related functions as (factor, column), column -1 where no radial function is it;
    those with one window side by side."""
    radial = [(block[s].factor, s) for s in columns if is_radial(block[s].kind)]
    angular = {block[s].factor for s in columns if not is_radial(block[s].kind)}
    everything = radial + [(factor, -1) for factor in angular - {factor for factor, _ in radial}]
    return sorted(everything, key=lambda item: (item[0][2:], item[0][:2], item[1]))


def angular_groups(block, z_j, z_k):
    """{(factor, narrow): columns} of the angular functions of two neighbors, narrow ones last and sorted by window."""
    found = {}
    for s, column in enumerate(block):
        meant = is_weighted(column.kind) or column.neighbors in ((z_j, z_k), (z_k, z_j))
        if meant and not is_radial(column.kind):
            found.setdefault((column.factor, is_narrow(column.kind)), []).append(s)
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0][2:], item[0][0][:2])))
