"""Rows of parameters, one per symmetry function, and the arrays that the loops read.

A set of symmetry functions is a structured array `FUNCTION` with columns named as in Behler's papers.  The loops want
the same information turned around: for a neighbor of a given element, which distinct pair factors; for two neighbors,
which groups of angular functions that share their pair factors.  `arrange` does that once per set.

>>> import numpy as np
>>> rows = np.array([("G2", 14, 14, 0, 0.1, 0.0, 0.0, 0.0, 6.0, "cosine")], dtype=FUNCTION)
>>> arrange(rows, [14]).factors["eta"]
array([0.1])
"""

from typing import NamedTuple

import numpy as np

from bpnumba.formulas.cutoff import CUTOFFS

FUNCTION = np.dtype(
    [
        ("kind", "U2"),  # G2 (radial), G4 (angular, narrow), G5 (angular, wide)
        ("center", np.int64),
        ("first", np.int64),
        ("second", np.int64),  # atomic numbers; second is 0 for radial ones
        ("eta", np.float64),
        ("rs", np.float64),
        ("lam", np.float64),
        ("zeta", np.float64),
        ("rc", np.float64),
        ("cutoff", "U6"),
    ]
)

FACTOR = np.dtype(
    [
        ("eta", np.float64),
        ("rs", np.float64),
        ("rc", np.float64),
        ("cutoff", np.int64),  # position in CUTOFFS
        ("fresh", np.bool_),  # fc differs from that of the factor before
        ("column", np.int64),  # of the radial function that this factor is, or -1
        ("related", np.int64),
    ]
)  # its place among the functions related to the neighbor's element

GROUP = np.dtype(
    [
        ("factor_j", np.int64),
        ("factor_k", np.int64),  # places in the factor lists of both neighbors
        ("factor", np.int64),
        ("narrow", np.bool_),
        ("fresh", np.bool_),  # fc(r_jk) is needed and differs from that of the group before
        ("begin", np.int64),
        ("end", np.int64),
    ]
)  # its members

MEMBER = np.dtype(
    [
        ("lam", np.float64),
        ("zeta", np.float64),
        ("norm", np.float64),
        ("column", np.int64),
        ("related_j", np.int64),
        ("related_k", np.int64),
    ]
)


class Table(NamedTuple):
    """What the loops read.  c, j and k stand for the element index of the center and of its neighbors.

    ``factors[first_factor[c, j]:last_factor[c, j]]`` are the pair factors of a neighbor,
    ``groups[first_group[c, j, k]:last_group[c, j, k]]`` the angular groups of two neighbors, of which
    ``members[begin:end]`` are the functions.  ``related[c, j]`` lists the ``n_related[c, j]`` functions (columns of G)
    that depend on a neighbor of element j at all; a stored Jacobian has no others.  ``reach2[c, j, k]`` is the square
    of the distance jk from which on no group counts.
    """

    n_functions: np.ndarray  # (n_e)
    factors: np.ndarray
    first_factor: np.ndarray  # (n_e, n_e)
    last_factor: np.ndarray
    groups: np.ndarray
    first_group: np.ndarray  # (n_e, n_e, n_e)
    last_group: np.ndarray
    members: np.ndarray
    reach2: np.ndarray  # (n_e, n_e, n_e)
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
    n_e = len(numbers)
    blocks = [functions[functions["center"] == z] for z in numbers]
    first_factor, last_factor, n_related = (np.zeros((n_e, n_e), np.int64) for _ in range(3))
    first_group, last_group, reach2 = (np.zeros((n_e, n_e, n_e), kind) for kind in (np.int64, np.int64, np.float64))
    related = np.zeros((n_e, n_e, max((len(block) for block in blocks), default=0)), np.int64)
    factors, groups, members, places = [], [], [], {}

    for c, block in enumerate(blocks):
        for j, z in enumerate(numbers):
            columns = np.flatnonzero((block["first"] == z) | (block["second"] == z))
            n_related[c, j] = len(columns)
            related[c, j, : len(columns)] = columns
            first_factor[c, j] = len(factors)
            for row in pair_factors(block, columns):
                fresh = len(factors) == first_factor[c, j] or row[2:4] != (factors[-1][2], factors[-1][3])
                places.setdefault((c, j, row[:4]), len(factors) - first_factor[c, j])
                factors.append((*row[:4], fresh, row[4], np.searchsorted(columns, row[4])))
            last_factor[c, j] = len(factors)

    for c, block in enumerate(blocks):
        for j, z_j in enumerate(numbers):
            for k, z_k in enumerate(numbers):
                first_group[c, j, k], cut = len(groups), None
                for (factor, narrow), columns in angular_groups(block, z_j, z_k).items():
                    place_j, place_k = places[c, j, factor], places[c, k, factor]
                    fresh, cut = narrow and factor[2:] != cut, factor[2:] if narrow else None
                    groups.append(
                        (
                            place_j,
                            place_k,
                            first_factor[c, j] + place_j,
                            narrow,
                            fresh,
                            len(members),
                            len(members) + len(columns),
                        )
                    )
                    for s in columns:
                        at_j, at_k = (np.searchsorted(related[c, e, : n_related[c, e]], s) for e in (j, k))
                        zeta = block["zeta"][s]
                        members.append((block["lam"][s], zeta, 2.0 ** (1.0 - zeta), s, at_j, at_k))
                    reach2[c, j, k] = max(reach2[c, j, k], factor[2] ** 2 if narrow else np.inf)
                last_group[c, j, k] = len(groups)

    return Table(
        np.array([len(block) for block in blocks], np.int64),
        np.array(factors, FACTOR),
        first_factor,
        last_factor,
        np.array(groups, GROUP),
        first_group,
        last_group,
        np.array(members, MEMBER),
        reach2,
        related,
        n_related,
    )


def factor_of(row):
    """What distinguishes a pair factor: (eta, rs, rc, position of the cutoff function)."""
    return float(row["eta"]), float(row["rs"]), float(row["rc"]), list(CUTOFFS).index(row["cutoff"])


def pair_factors(block, columns):
    """Distinct (eta, rs, rc, cutoff, column) of the related functions, those with one cutoff function side by side."""
    radial = [(*factor_of(block[s]), s) for s in columns if block["kind"][s] == "G2"]
    known = {row[:4] for row in radial}
    angular = {factor_of(block[s]) for s in columns if block["kind"][s] != "G2"}
    return sorted(radial + [(*factor, -1) for factor in angular - known], key=lambda row: (row[2:4], row[:2], row[4]))


def angular_groups(block, z_j, z_k):
    """{(factor, narrow): columns} of the angular functions of two neighbors, narrow ones last and sorted by cutoff."""
    found = {}
    for s, row in enumerate(block):
        if row["kind"] != "G2" and {(row["first"], row["second"]), (row["second"], row["first"])} & {(z_j, z_k)}:
            found.setdefault((factor_of(row), bool(row["kind"] == "G4")), []).append(s)
    return dict(sorted(found.items(), key=lambda item: (item[0][1], item[0][0][2:4], item[0][0][:2])))
