"""Which symmetry functions?  A wide pool of rows, and a greedy choice that is not redundant.

Published sets of symmetry functions are often numerically singular.  A set chosen by CUR decomposition describes the
environments of the data with fewer functions and a condition number that training can live with.

Sources: G. Imbalzano et al., J. Chem. Phys. 148, 241730 (2018) (CUR, eqs. 5-8); M. Gastegger et al., J. Chem. Phys.
148, 241709 (2018) (grids of parameters).

>>> import numpy as np
>>> rows = pool(14, [14], 6.0, {14: 2.2})
>>> len(rows), sorted({str(kind) for kind in rows["kind"]})
(96, ['G2', 'G4', 'G5'])
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np

from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.kernels.table import FUNCTION, make_row

ANGULAR_ETAS = (0.3, 0.71, 1.69, 4.0)  # sqrt(eta) rc of the angular functions: geometric, ratio 2.38
ZETAS = (1.0, 2.0, 4.0, 8.0, 16.0)
N_CENTERED, N_SHIFTED = 8, 10
RANGE_ABSOLUTE, RANGE_RELATIVE = 1e-8, 1e-6
FEWEST = 10  # environments in which a function must be non-zero; of fewer than 50 a fifth will do


def pool(center, neighbors, rc, shortest, cutoff="poly2"):
    """Candidate functions of one center element.

    Per neighbor element: G2 around the center, eta = (8^(m/8)/rc)^2, and shifted G2 on a grid of rs from the shortest
    distance found to rc - 0.3 Angstrom, eta = 1/spacing^2 and, for every second, a quarter of it.  Per couple of
    neighbor elements: G4 and G5 with eta = (x/rc)^2, x = 0.3, 0.71, 1.69, 4, lam = +-1, zeta = 1, 2, 4, 8, 16; without
    (lam = -1, zeta = 2), which depends exactly on the other three of zeta 1 and 2.

    Parameters
    ----------
    center : int
        Atomic number of the center.
    neighbors : sequence of int
        Atomic numbers of the neighbors that occur.
    rc : float
        Cutoff radius in Angstrom.
    shortest : dict
        Atomic number of the neighbor -> shortest distance in the data in Angstrom.
    cutoff : str
        Name of the cutoff function.
    """
    if cutoff not in CUTOFFS:
        raise ValueError(f"no cutoff function {cutoff!r}; there are {', '.join(CUTOFFS)}")
    rows = []
    for z in neighbors:
        first = min(shortest[z], 0.5 * rc)
        spacing = (max(rc - 0.3, 0.9 * rc) - first) / (N_SHIFTED - 1)
        radial = [((8.0 ** (m / N_CENTERED) / rc) ** 2, 0.0) for m in range(N_CENTERED + 1)]
        radial += [(1.0 / spacing**2, first + m * spacing) for m in range(N_SHIFTED)]
        radial += [(0.25 / spacing**2, first + m * spacing) for m in range(0, N_SHIFTED, 2)]
        rows += [make_row("G2", center, z, 0, rc, cutoff, eta=eta, rs=rs) for eta, rs in radial]
    for first, second in combinations_with_replacement(neighbors, 2):
        rows += [
            make_row(kind, center, first, second, rc, cutoff, eta=(x / rc) ** 2, lam=lam, zeta=zeta)
            for kind in ("G4", "G5")
            for x in ANGULAR_ETAS
            for zeta in ZETAS
            for lam in (1.0, -1.0)
            if (lam, zeta) != (-1.0, 2.0)
        ]
    return np.array(rows, FUNCTION)


class Choice(NamedTuple):
    """What `choose` did for one center element."""

    kept: np.ndarray  # positions in the pool, in the order of the pool
    reasons: tuple  # one text per function of the pool, "" where it is kept
    condition_before: float  # condition number of the standardized columns, inf where singular
    condition_after: float
    largest_correlation: float  # between two kept columns
    residual: float  # relative Frobenius norm of what the kept columns do not span
    usable: np.ndarray  # positions of the functions that vary enough; the residual is over these


def choose(G, n, radial_of, residual=1e-4):
    """Choose at most n columns of G by deflated CUR with one singular vector.

    The leverage of a column is the square of its entry in the leading right singular vector; the column of largest
    leverage is kept, all columns are orthogonalized against it, and so on until the relative residual is reached.  The
    strongest radial function of every neighbor element comes first, so that none is forgotten.

    Parameters
    ----------
    G : ndarray (n_samples, n_pool)
    n : int
        Largest number of functions.
    radial_of : ndarray (n_pool)
        Atomic number of the neighbor for radial functions, 0 for angular ones.
    residual : float
        Relative Frobenius norm at which the choice ends.

    Returns
    -------
    Choice
    """
    reasons = np.array([""] * G.shape[1], dtype=object)
    extent, fewest = np.ptp(G, axis=0), max(1, min(FEWEST, len(G) // 5))
    reasons[extent < max(RANGE_ABSOLUTE, RANGE_RELATIVE * extent.max())] = "hardly varies in the data"
    reasons[(G != 0.0).sum(0) < fewest] = f"non-zero in fewer than {fewest} environments"
    usable = np.flatnonzero(reasons == "")
    if not len(usable):
        raise ValueError(
            f"no symmetry function varies in the data ({len(G)} environments): "
            "give more varied frames or a larger cutoff"
        )
    Z = standardized(G[:, usable])
    gram = Z.T @ Z
    rest, total, kept = gram.copy(), np.trace(gram), []
    seeds = [
        max(np.flatnonzero(radial_of[usable] == z), key=lambda s: G[:, usable[s]].std())
        for z in np.unique(radial_of[usable])
        if z
    ]
    while len(kept) < min(n, len(usable)) and np.trace(rest) > residual**2 * total:
        left = np.diag(rest)
        if len(kept) < len(seeds):
            pick = seeds[len(kept)]
        else:
            leverage = leading_vector(rest) ** 2
            leverage[kept] = -1.0
            pick = int(np.argmax(leverage))
        if left[pick] <= 1e-12 * gram[pick, pick]:  # nothing of it is left: only rounding would be described
            if len(kept) >= len(seeds):
                break
            seeds.pop(len(kept))
            continue
        kept.append(pick)
        rest = rest - np.outer(rest[:, pick], rest[pick]) / rest[pick, pick]
        rest[pick], rest[:, pick] = 0.0, 0.0
    missing = np.sqrt(np.clip(np.diag(rest) / np.diag(gram), 0.0, None))
    for s in set(range(len(usable))) - set(kept):
        reasons[usable[s]] = f"left out: the kept ones describe {100 * (1 - missing[s] ** 2):.2f} % of its variance"
    kept = np.sort(kept)
    correlation = np.abs(np.corrcoef(Z[:, kept], rowvar=False).reshape(len(kept), len(kept)) - np.eye(len(kept)))
    return Choice(
        usable[kept],
        tuple(reasons),
        condition(G),
        condition(Z[:, kept]),
        float(correlation.max()),
        float(np.sqrt(max(np.trace(rest), 0.0) / total)),
        usable,
    )


def leading_vector(gram):
    """Eigenvector of the largest eigenvalue; started from the diagonal, so that it is the same each time."""
    from scipy.sparse.linalg import eigsh  # takes 0.15 s to import, and only the choice of functions needs it

    return eigsh(gram, k=1, v0=np.diag(gram))[1][:, 0] if len(gram) > 1 else np.ones(1)


def standardized(G):
    """Columns with mean 0 and range 1 (physics of the choice: no function counts more for its unit)."""
    extent = np.ptp(G, axis=0)
    return (G - G.mean(0)) / np.where(extent > 0.0, extent, 1.0)


def condition(G):
    """Condition number of the standardized columns; inf where they are dependent to rounding."""
    values = np.linalg.svd(standardized(G), compute_uv=False)
    rounding = values[0] * max(G.shape) * np.finfo(float).eps  # as in numpy.linalg.matrix_rank
    return float(values[0] / values[-1]) if len(G) >= G.shape[1] and values[-1] > rounding else float("inf")


def alike(G):
    """True if too few environments, or none that differ, are there to choose functions by."""
    return len(G) < FEWEST or np.ptp(G, axis=0).max() < RANGE_ABSOLUTE


def summary(symbol, rows, choice, G, unseen, remark=""):
    """The report of a choice for one center element, as lines of text."""
    kept = rows[choice.kept]
    counts = {kind: int((kept["kind"] == kind).sum()) for kind in ("G2", "G4", "G5")}
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    lines = [
        f"{symbol}: kept {len(kept)} of {len(rows)} functions ({kinds}), chosen on {len(G)} environments{remark}",
        f"   condition number {choice.condition_before:.1e} before, {choice.condition_after:.1e} after",
        f"   largest correlation of two kept functions {choice.largest_correlation:.4f}",
        f"   not described by the kept ones: {100 * choice.residual:.3f} % (norm)",
    ]
    if len(unseen):
        lines.append(
            f"   the same on {len(unseen)} environments that the choice did not see: "
            f"{100 * undescribed(G, unseen, choice):.3f} %"
        )
    for row, reason in zip(rows, choice.reasons):
        if reason:
            neighbors = f"{row['first']}" + (f" {row['second']}" if row["second"] else "")
            angle = f" lam {row['lam']:+.0f} zeta {row['zeta']:g}" if row["second"] else f" rs {row['rs']:.3f}"
            lines.append(f"   dropped {row['kind']} Z {neighbors} eta {row['eta']:.4f}{angle}: {reason}")
    return "\n".join(lines)


def undescribed(G, unseen, choice):
    """Relative norm, over other environments, of what a linear fit of the usable functions on the kept ones leaves."""
    usable = choice.usable
    mean, extent = G[:, usable].mean(0), np.ptp(G[:, usable], axis=0)
    Z, other = (G[:, usable] - mean) / extent, (unseen[:, usable] - mean) / extent
    columns = np.searchsorted(usable, choice.kept)
    coefficients = np.linalg.lstsq(Z[:, columns], Z, rcond=1e-10)[0]
    return float(np.linalg.norm(other - other[:, columns] @ coefficients) / np.linalg.norm(other))
