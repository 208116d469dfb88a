"""Does the spread of a committee tell its error?  The two side by side, and the factor between them.

Comes in: a `Prediction` with a spread, and the labels of the same frames.  Goes out: `Calibration`, which says for
energies and forces how large errors and spreads are, in all and in bins, by which factor alpha the spread must be
multiplied to match the errors, whether large errors come with large spreads (Spearman), and how many errors lie within
one and two calibrated spreads.

An energy is one number per frame, divided by the number of its atoms.  A force is one vector per atom: its spread is
sigma = sqrt((s_x^2 + s_y^2 + s_z^2) / 3), its error the same mean over components, so that neither depends on the axes
and both compare with the RMSE of forces, which is per component.  With d components (1 or 3) and M members

    alpha^2 = mean( mean_c error_c^2 / sigma^2 )                        largest likelihood of a Gaussian
    alpha_committee^2 = (d (M-1) - 2) / (d (M-1)) alpha^2 - 1/M         without the bias of few members

The first makes error bars of the mean of the committee: F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019).  The
second is the factor by which members are moved away from their mean, to carry the uncertainty on to other quantities:
G. Imbalzano et al., J. Chem. Phys. 154, 074102 (2021), for d = 1, where it reads (M-3)/(M-1) alpha^2 - 1/M.  It takes
off that the mean of M members is itself uncertain by s^2/M, and that <1/sigma^2> is larger than 1/<sigma^2>.

>>> spread, error_c = np.array([0.1, 0.1, 0.2, 0.2]), np.array([[0.2], [-0.2], [0.4], [-0.4]])
>>> Match.of(spread, error_c).alpha
2.0
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from bpnumba.units import MEV

__all__ = ["Bin", "Calibration", "Match", "members_of", "pairs"]

ROUNDING = 1e-9
"""eV/atom or eV/Angstrom: a smaller spread is one of rounding errors, where symmetry leaves nothing to disagree on."""

MOST_BINS, LEAST_IN_BIN = 10, 10


class Bin(NamedTuple):
    """Values whose spreads are alike: their number, root mean square spread and error."""

    n: int
    spread: float
    error: float


class Match(NamedTuple):
    """Errors of one kind of label against their spreads, in eV/atom (energies) or eV/Angstrom (forces)."""

    n: int  # frames with an energy, or atoms with a force
    spread: float  # root mean square, per component
    error: float  # the same
    alpha: float  # what the spread is multiplied by to match the errors
    alpha_committee: float | None  # moves members away from their mean; None where M is unknown or too small
    spearman: float | None  # rank correlation of spread and size of the error; None where one of them is constant
    within_1: float  # part of the components with an error below alpha sigma, 0.683 if Gaussian
    within_2: float  # and below 2 alpha sigma, 0.954
    bins: tuple  # of Bin: equal numbers of values, by increasing spread

    @classmethod
    def of(cls, spread, error_c, n_members=None):
        """From spreads (n) and errors (n, d); None where every spread is zero.

        Parameters
        ----------
        spread : (n,) standard deviation per component
        error_c : (n, d) prediction minus label
        n_members : int, optional
            Size M of the committee.
        """
        meant = spread > ROUNDING
        if not meant.any():
            return None
        spread, error_c = spread[meant], error_c[meant]
        n, d = error_c.shape
        square = np.mean(error_c**2, axis=1)
        alpha_2 = float(np.mean(square / spread**2))
        part = np.abs(error_c) / (np.sqrt(alpha_2) * spread[:, None]) if alpha_2 else np.zeros_like(error_c)
        order = np.argsort(spread, kind="stable")
        groups = np.array_split(order, min(MOST_BINS, max(1, n // LEAST_IN_BIN)))
        return cls(
            n=n,
            spread=_rms(spread),
            error=float(np.sqrt(square.mean())),
            alpha=float(np.sqrt(alpha_2)),
            alpha_committee=_of_committee(alpha_2, d, n_members),
            spearman=_spearman(spread, square),
            within_1=float(np.mean(part <= 1.0)),
            within_2=float(np.mean(part <= 2.0)),
            bins=tuple(Bin(len(rows), _rms(spread[rows]), float(np.sqrt(square[rows].mean()))) for rows in groups),
        )


@dataclass(frozen=True)
class Calibration:
    """How the spread of a committee compares with its errors; ``print(calibration)`` shows a table.

    Attributes
    ----------
    energy, forces : Match, optional
        None where there is no label, or no spread.
    n_members : int, optional
    """

    energy: Match | None
    forces: Match | None
    n_members: int | None = None

    @classmethod
    def of(cls, prediction, dataset, n_members=None):
        """Compare a prediction with the labels of its frames; isolated atoms do not count.

        Parameters
        ----------
        prediction : Prediction
            Of ``dataset.atoms``, with a spread.
        dataset : Dataset
        n_members : int, optional
            Size of the committee, for `Match.alpha_committee`.

        Raises
        ------
        ValueError
            The prediction has no spread: a single potential cannot be calibrated.
        """
        found = pairs(prediction, dataset)
        return cls(*(Match.of(*found[kind], n_members) for kind in ("energy", "forces")), n_members)

    @property
    def forces_factor(self):
        """What a spread of forces is multiplied by to be an error; 1 if it was never compared."""
        return self.forces.alpha if self.forces else 1.0

    def to_json(self):
        """Plain dictionary: "n_members", and the fields of `Match` under "energy" and "forces"."""
        return {"n_members": self.n_members} | {
            kind: match and match._asdict() | {"bins": [one._asdict() for one in match.bins]}
            for kind, match in (("energy", self.energy), ("forces", self.forces))
        }

    @classmethod
    def from_json(cls, plain):
        """The inverse of `to_json`, for a calibration that a model file remembers."""
        matches = [
            plain[kind] and Match(**{**plain[kind], "bins": tuple(Bin(**one) for one in plain[kind]["bins"])})
            for kind in ("energy", "forces")
        ]
        return cls(*matches, plain["n_members"])

    def __str__(self):
        of = f" of {self.n_members} members" if self.n_members else ""
        lines = [f"spread of the committee{of} against errors"]
        lines.append(f"{'':<18}{'energy (meV/atom)':>18}{'forces (eV/A)':>18}")
        for name, cell in ROWS:
            cells = [
                "-" if match is None else cell(match, unit, digits)
                for match, unit, digits in ((self.energy, MEV, 3), (self.forces, 1.0, 4))
            ]
            if set(cells) != {"-"} or name == "values":
                lines.append(f"{name:<18}" + "".join(f"{text:>18}" for text in cells))
        if self.forces and len(self.forces.bins) > 1:
            lines.append("forces (eV/A) by spread, from small to large")
            for name in ("spread", "error"):
                numbers = "".join(f"{getattr(one, name):8.4f}" for one in self.forces.bins)
                lines.append(f"   RMS {name:<7}{numbers}")
        return "\n".join(lines)


ROWS = (
    ("values", lambda match, unit, digits: f"{match.n}"),
    ("RMS error", lambda match, unit, digits: f"{unit * match.error:.{digits}f}"),
    ("RMS spread", lambda match, unit, digits: f"{unit * match.spread:.{digits}f}"),
    ("alpha", lambda match, unit, digits: f"{match.alpha:.3f}"),
    ("alpha, committee", lambda match, *_: "-" if match.alpha_committee is None else f"{match.alpha_committee:.3f}"),
    ("Spearman", lambda match, *_: "-" if match.spearman is None else f"{match.spearman:.3f}"),
    ("within 1 sigma", lambda match, *_: f"{100 * match.within_1:.1f} % (68.3)"),
    ("within 2 sigma", lambda match, *_: f"{100 * match.within_2:.1f} % (95.4)"),
)
"""Of the table: a name, and what stands in a column."""


def pairs(prediction, dataset):
    """Spreads (n) and errors (n, d) of labelled frames: kind -> the two, eV/atom and eV/Angstrom.

    Raises
    ------
    ValueError
        The prediction has no spread.
    """
    spread = prediction.spread
    if spread is None:
        raise ValueError("a single potential has no spread to compare with errors; fit a committee of several")
    has_m = dataset.has_energy_m & ~dataset.isolated_m
    n_m = dataset.n_atoms_m[has_m]
    energy_error_m = (prediction.energy_m - dataset.energy_m)[has_m] / n_m
    has_a = np.repeat(dataset.has_forces_m & ~dataset.isolated_m, dataset.n_atoms_m)
    return {
        "energy": (spread.energy_std_m[has_m] / n_m, energy_error_m[:, None]),
        "forces": (
            np.sqrt(np.mean(spread.forces_std_ac[has_a] ** 2, axis=1)),
            (prediction.forces_ac - dataset.forces_ac)[has_a],
        ),
    }


def members_of(model):
    """Number of members of a model that is a committee or holds one; 0 of any other."""
    return len(getattr(getattr(model, "short_range", model), "members", ()))


def _of_committee(alpha_2, d, n_members):
    if n_members is None or d * (n_members - 1) <= 2:
        return None
    freedom = d * (n_members - 1)
    corrected = (freedom - 2) / freedom * alpha_2 - 1.0 / n_members
    return float(np.sqrt(corrected)) if corrected > 0.0 else None


def _spearman(first, second):
    ranks = [rankdata(values) for values in (first, second)]
    if len(first) < 3 or any(np.ptp(rank) == 0.0 for rank in ranks):
        return None
    return float(np.corrcoef(*ranks)[0, 1])


def _rms(values):
    return float(np.sqrt(np.mean(values**2)))
