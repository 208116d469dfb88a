"""Symmetry functions by name: each makes one checked row of the table `bpnumba.kernels.table.FUNCTION`.

Names: G2, G4, G5 are Behler's, C2, C4, C5 have compact support, and a W before the name means: over the neighbors of
all elements at once, weighted by their atomic numbers.

>>> label(G2("Si", "O", eta=0.5, rs=1.6, rc=6.0))
'G2 of Si with O: eta 0.5, rs 1.6, rc 6, poly2'
"""

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.kernels.table import FUNCTION, KINDS, is_compact, is_radial, is_weighted, make_row

DEFAULT_CUTOFF = "poly2"  # two continuous derivatives at the cutoff, and no exponential
WITHOUT_ALPHA = ("tanh", "tanh_normalized", "hard")
ELEMENTS = ("center", "first", "second")
PARAMETERS = tuple(name for name in FUNCTION.names if name not in ("kind", *ELEMENTS, "rc", "cutoff"))
COMPACT = tuple(name for name in CUTOFFS if name.startswith("poly")) + ("exp",)  # shapes of compact functions


def G1(center, neighbor, rc, cutoff=DEFAULT_CUTOFF):
    """Radial function sum_j fc(r_ij): the number of neighbors, softly counted (Behler 2011, eq. 6)."""
    return G2(center, neighbor, 0.0, 0.0, rc, cutoff)


def G2(center, neighbor, eta, rs, rc, cutoff=DEFAULT_CUTOFF, alpha=0.0):
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
    alpha : float
        Part of rc within which the cutoff function is 1.
    """
    return checked_row("G2", center, neighbor, None, rc, cutoff, alpha=alpha, eta=eta, rs=rs)


def G4(center, first, second, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF, alpha=0.0):
    """Angular function, narrow: all three atoms near each other (Behler 2011, eq. 9).

    2^(1-zeta) sum_{j<k} (1 + lam cos theta_jik)^zeta phi(r_ij) phi(r_ik) phi(r_jk) over all couples of neighbors of the
    elements `first` and `second`, with phi(r) = exp(-eta (r - rs)^2) fc(r).  RuNNer and n2p2 call it type 3.
    """
    return checked_row("G4", center, first, second, rc, cutoff, alpha=alpha, eta=eta, rs=rs, lam=lam, zeta=zeta)


def G5(center, first, second, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF, alpha=0.0):
    """Angular function, wide: G4 without the factor of the pair jk (Behler 2011, eq. 10); type 9 of RuNNer and n2p2."""
    return checked_row("G5", center, first, second, rc, cutoff, alpha=alpha, eta=eta, rs=rs, lam=lam, zeta=zeta)


def C2(center, neighbor, rl, rc, shape=DEFAULT_CUTOFF):
    """Compact radial function sum_j f(|r_ij - m| / h), non-zero for rl < r < rc; type 20 of n2p2.

    The middle is m = (rl + rc)/2, the halfwidth h = (rc - rl)/2; f is 1 at 0 and 0 at 1.  M. P. Bircher, A. Singraber
    and C. Dellago, Mach. Learn.: Sci. Technol. 2, 035026 (2021).

    Parameters
    ----------
    center, neighbor : str
        Chemical symbols.
    rl, rc : float
        Ends of the support in Angstrom; rl = -rc gives a function that is 1 at r = 0.
    shape : str
        "poly1" ... "poly4", "exp", or the asymmetric "poly1a" ... "poly4a", as in `bpnumba.formulas.cutoff.CUTOFFS`.
    """
    return checked_row("C2", center, neighbor, None, rc, shape, rl=rl)


def C4(center, first, second, rl, rc, left, right, shape=DEFAULT_CUTOFF):
    """Compact angular function, narrow: C5 with the radial factor of the pair jk, too; type 21 of n2p2."""
    return checked_row("C4", center, first, second, rc, shape, rl=rl, left=left, right=right)


def C5(center, first, second, rl, rc, left, right, shape=DEFAULT_CUTOFF):
    """Compact angular function, wide; type 22 of n2p2.

    sum_{j<k} f(|theta_jik - m'| / h') phi(r_ij) phi(r_ik) over couples of neighbors of the two elements, with the
    radial factor phi of `C2`, and m', h' middle and halfwidth of the angles `left` to `right` in degrees.  The angle's
    factor is never the asymmetric one.
    """
    return checked_row("C5", center, first, second, rc, shape, rl=rl, left=left, right=right)


def WG2(center, eta, rs, rc, cutoff=DEFAULT_CUTOFF, alpha=0.0):
    """Weighted radial function, the sum of `G2` over all elements times their atomic numbers: wACSF, type 12.

    M. Gastegger, L. Schwiedrzik, M. Bittermann, F. Berzsenyi and P. Marquetand, J. Chem. Phys. 148, 241709 (2018).
    """
    return checked_row("WG2", center, None, None, rc, cutoff, alpha=alpha, eta=eta, rs=rs)


def WG4(center, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF, alpha=0.0):
    """Weighted angular function, narrow: `G4` over all couples of neighbors, times both atomic numbers; type 13."""
    return checked_row("WG4", center, None, None, rc, cutoff, alpha=alpha, eta=eta, rs=rs, lam=lam, zeta=zeta)


def WG5(center, eta, zeta, lam, rc, rs=0.0, cutoff=DEFAULT_CUTOFF, alpha=0.0):
    """Weighted angular function, wide; RuNNer and n2p2 have no such type."""
    return checked_row("WG5", center, None, None, rc, cutoff, alpha=alpha, eta=eta, rs=rs, lam=lam, zeta=zeta)


def WC2(center, rl, rc, shape=DEFAULT_CUTOFF):
    """Weighted compact radial function; type 23 of n2p2."""
    return checked_row("WC2", center, None, None, rc, shape, rl=rl)


def WC4(center, rl, rc, left, right, shape=DEFAULT_CUTOFF):
    """Weighted compact angular function, narrow; type 24 of n2p2."""
    return checked_row("WC4", center, None, None, rc, shape, rl=rl, left=left, right=right)


def WC5(center, rl, rc, left, right, shape=DEFAULT_CUTOFF):
    """Weighted compact angular function, wide; type 25 of n2p2."""
    return checked_row("WC5", center, None, None, rc, shape, rl=rl, left=left, right=right)


def checked_row(kind, center, first, second, rc, cutoff, **parameters):
    """One checked row of FUNCTION; elements by their symbols, None where the kind has none."""
    names = named_parameters(kind)
    number = 0 if is_weighted(kind) else 1 if is_radial(kind) else 2
    if (first is None, second is None) != (number == 0, number < 2):
        raise ValueError(f"{kind} takes {number} element{'s' * (number != 1)} of neighbors, not ({first}, {second})")
    for symbol in (center, *(symbol for symbol in (first, second) if symbol is not None)):
        if symbol not in atomic_numbers or symbol == "X":
            raise ValueError(f"{kind}: {symbol!r} is not a chemical symbol")
    known = COMPACT if is_compact(kind) else CUTOFFS
    if cutoff not in known:
        what = "shape of a compact function" if is_compact(kind) else "cutoff function"
        raise ValueError(f"{kind}: no {what} {cutoff!r}; there are {', '.join(known)}")
    given = {name: float(0.0 + value) for name, value in {"rc": rc, **parameters}.items()}  # no text
    for name, value in given.items():
        if not np.isfinite(value):
            raise ValueError(f"{kind} on {center}: {name} = {value} is out of range (a number)")
    rules = {
        "rc": (given["rc"] > 0.0, "rc > 0"),
        "eta": (given.get("eta", 0.0) >= 0.0, "eta >= 0"),
        "lam": (abs(given.get("lam", 0.0)) <= 1.0, "-1 <= lam <= 1"),
        "zeta": (given.get("zeta", 1.0) >= 1.0, "zeta >= 1"),
        "alpha": (0.0 <= given.get("alpha", 0.0) < 1.0, "0 <= alpha < 1"),
        "rl": (given.get("rl", -1.0) < given["rc"], "rl < rc"),
        "left": (given.get("left", 0.0) < given.get("right", 1.0), "left < right"),
    }
    for name, (good, rule) in rules.items():
        if not good:
            raise ValueError(f"{kind} on {center}: {name} = {given[name]} is out of range ({rule})")
    if given.get("alpha") and cutoff in WITHOUT_ALPHA:
        raise ValueError(f"{kind} on {center}: the cutoff function {cutoff} has no inner radius, alpha must be 0")
    if "left" in names:
        left, right = given["left"], given["right"]
        if (left < 0.0 and left + right != 0.0) or (right > 180.0 and left + right != 360.0):
            raise ValueError(
                f"{kind} on {center}: angles from {left} to {right} degrees: a window that goes beyond 0 or 180 must "
                "have its middle there"
            )
    neighbors = sorted(atomic_numbers[symbol] for symbol in (first, second) if symbol is not None) + [0, 0]
    return make_row(kind, atomic_numbers[center], *neighbors[:2], cutoff=cutoff, **given)


def named_parameters(kind):
    """Columns of FUNCTION that a kind of function has, besides elements, rc and cutoff."""
    if kind not in KINDS:
        raise ValueError(f"there is no symmetry function {kind!r}; there are {', '.join(KINDS)}")
    if is_compact(kind):
        return ("rl",) if is_radial(kind) else ("rl", "left", "right")
    return ("eta", "rs", "alpha") if is_radial(kind) else ("eta", "rs", "lam", "zeta", "alpha")


def checked_columns(given):
    """One checked row from all its columns by name, elements by their symbols; what a kind does not have must be 0."""
    kind, elements = given["kind"], [given[name] for name in ELEMENTS]
    names = named_parameters(kind)
    for name in PARAMETERS:
        if name not in names and given[name] != 0.0:
            raise ValueError(f"{kind} has no parameter {name}, it must be 0, not {given[name]!r}")
    return checked_row(kind, *elements, given["rc"], given["cutoff"], **{name: given[name] for name in names})


def label(function):
    """One line that names a function: kind, elements and parameters, in Angstrom and degrees."""
    values = dict(zip(FUNCTION.names, function, strict=True))
    elements = " ".join(chemical_symbols[values[name]] for name in ("first", "second") if values[name])
    shown = [f"{name} {values[name]:g}" for name in named_parameters(values["kind"]) if name != "alpha"]
    shown += [f"rc {values['rc']:g}", str(values["cutoff"])] + [f"alpha {values['alpha']:g}"] * bool(values["alpha"])
    neighbors = f" with {elements}" if elements else ""
    return f"{values['kind']} of {chemical_symbols[values['center']]}{neighbors}: {', '.join(shown)}"


def checked_rows(functions):
    """The array of FUNCTION from rows of any origin, each checked before its text is cut to the width of a column."""
    rows = []
    for function in functions:
        values = function.tolist() if isinstance(function, np.void) else function
        if not isinstance(values, tuple | list) or len(values) != len(FUNCTION):
            raise ValueError(f"a symmetry function is a row of {len(FUNCTION)} values, not {values!r}")
        given = dict(zip(FUNCTION.names, values, strict=True))
        given |= {name: symbol_of(given[name]) for name in ELEMENTS}
        rows.append(checked_columns(given))
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
