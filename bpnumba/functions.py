"""Symmetry functions by name: each makes one checked row of the table `bpnumba.kernels.table.FUNCTION`.

>>> G2("Si", "O", eta=0.5, rs=1.6, rc=6.0)
('G2', 14, 8, 0, 0.5, 1.6, 0.0, 0.0, 6.0, 'poly2')
"""

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.kernels.table import FUNCTION

DEFAULT_CUTOFF = "poly2"  # two continuous derivatives at the cutoff, and no exponential


def G1(center, neighbor, rc, cutoff=DEFAULT_CUTOFF):
    """Radial function sum_j fc(r_ij): the number of neighbors, softly counted (Behler 2011, eq. 6)."""
    return G2(center, neighbor, 0.0, 0.0, rc, cutoff)


def G2(center, neighbor, eta, rs, rc, cutoff=DEFAULT_CUTOFF):
    """Radial function sum_j exp(-eta (r_ij - rs)^2) fc(r_ij) (Behler 2011, eq. 7).

    Parameters
    ----------
    center, neighbor : str
        Chemical symbols.
    eta : float
        Width in 1/Angstrom^2.
    rs : float
        Shift of the Gaussian in Angstrom.
    rc : float
        Cutoff radius in Angstrom.
    cutoff : str
        Name of the cutoff function, a key of `bpnumba.formulas.cutoff.CUTOFFS`.
    """
    return checked_row("G2", center, neighbor, None, eta, rs, 0.0, 0.0, rc, cutoff)


def G4(center, first, second, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF):
    """Angular function, narrow: all three atoms near each other (Behler 2011, eq. 9).

    2^(1-zeta) sum_{j<k} (1 + lam cos theta_jik)^zeta phi(r_ij) phi(r_ik) phi(r_jk) over all couples of neighbors of the
    elements `first` and `second`, with phi(r) = exp(-eta (r - rs)^2) fc(r).  RuNNer and n2p2 call it type 3.
    """
    return checked_row("G4", center, first, second, eta, rs, lam, zeta, rc, cutoff)


def G5(center, first, second, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF):
    """Angular function, wide: G4 without the factor of the pair jk (Behler 2011, eq. 10); type 9 of RuNNer and n2p2."""
    return checked_row("G5", center, first, second, eta, rs, lam, zeta, rc, cutoff)


def checked_row(kind, center, first, second, eta, rs, lam, zeta, rc, cutoff):
    """One checked row of FUNCTION."""
    if kind not in ("G2", "G4", "G5") or (kind == "G2") != (second is None):
        raise ValueError(f"there is no symmetry function {kind!r} with {1 if second is None else 2} neighbors")
    for symbol in (center, first) + ((second,) if second is not None else ()):
        if symbol not in atomic_numbers or symbol == "X":
            raise ValueError(f"{kind}: {symbol!r} is not a chemical symbol")
    if cutoff not in CUTOFFS:
        raise ValueError(f"{kind}: no cutoff function {cutoff!r}; there are {', '.join(CUTOFFS)}")
    for name, value, good in (
        ("eta", eta, eta >= 0.0),
        ("rs", rs, rs >= 0.0),
        ("rc", rc, rc > 0.0),
        ("lam", lam, abs(lam) <= 1.0),
        ("zeta", zeta, zeta >= 1.0 or kind == "G2"),
    ):
        if not (np.isfinite(value) and good):
            raise ValueError(
                f"{kind} on {center}: {name} = {value} is out of range "
                "(eta, rs >= 0, rc > 0, -1 <= lam <= 1, zeta >= 1)"
            )
    neighbors = sorted(atomic_numbers[symbol] for symbol in (first, second) if symbol is not None)
    return (
        kind,
        atomic_numbers[center],
        neighbors[0],
        neighbors[1] if second is not None else 0,
        eta,
        rs,
        lam,
        zeta,
        rc,
        cutoff,
    )


def checked_rows(functions):
    """The array of FUNCTION from rows of any origin, each checked before its text is cut to the width of a column."""
    rows = []
    for function in functions:
        row = function.tolist() if isinstance(function, np.void) else function
        if not isinstance(row, tuple | list) or len(row) != len(FUNCTION):
            raise ValueError(f"a symmetry function is a row of {len(FUNCTION)} values, not {row!r}")
        kind, center, first, second, *parameters = row
        rows.append(checked_row(kind, *map(symbol_of, (center, first, second)), *parameters))
    return np.array(rows, FUNCTION)


def symbol_of(number):
    """Chemical symbol of an atomic number in a row, None for 0."""
    return None if number == 0 else chemical_symbols[number] if 0 < number < len(chemical_symbols) else str(number)


def sorted_species(species):
    """Distinct chemical symbols by atomic number; a single symbol will do."""
    species = [species] if isinstance(species, str) else list(species)
    for symbol in species:
        if symbol not in atomic_numbers or symbol == "X":
            raise ValueError(f"{symbol!r} is not a chemical symbol")
    return sorted(set(species), key=atomic_numbers.get)
