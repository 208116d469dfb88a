"""Repulsion of nuclei at short range, a term besides a potential: where atoms collide, there are no training data.

Comes in: structures.  Goes out: a `Prediction`, which adds up with that of the potential (`bpnumba.composite`).  The
formula, its constants and its source stand in `bpnumba.formulas.repulsion`.

>>> from ase import Atoms
>>> repulsion = ZBL.for_species(["H", "O"])
>>> print(repulsion)
ZBL repulsion, whole below the inner and zero from the outer radius on (poly2 in between), in Angstrom:
   H H: 0.310 to 0.620
   H O: 0.485 to 0.970
   O O: 0.660 to 1.320
>>> prediction = repulsion.evaluate(Atoms("OH", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.45]]))
>>> round(float(prediction.energy_m[0]), 3), [round(float(f), 3) for f in prediction.forces_ac[:, 2]]
(42.715, [-223.157, 223.157])
"""

from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from bpnumba.extrapolation import EVENT
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.repulsion import LENGTH, POWER
from bpnumba.functions import sorted_species
from bpnumba.kernels.repulsion import repel
from bpnumba.pairs import FreshList, checked, elements_of
from bpnumba.prediction import Prediction, evaluate_frames
from bpnumba.units import COULOMB

__all__ = ["ZBL"]

WINDOWS = ("poly2", "poly3", "poly4", "poly2a", "poly3a", "poly4a")
"""Cutoff functions with two continuous derivatives at both ends, so that forces have no kink."""

FARTHEST = 6.0
"""Angstrom; more than the sum of any two covalent radii (5.2), beyond which no nuclei repel each other."""

PAIR = np.dtype([("strength", np.float64), ("length", np.float64), ("inner", np.float64), ("outer", np.float64)])
"""What the kernel wants to know of two elements: k Z_i Z_j (eV Angstrom), a, and the two radii (Angstrom)."""

ENTRIES = {"species", "inner", "outer", "window"}


@dataclass(frozen=True, eq=False)
class ZBL:
    """The universal repulsion of Ziegler, Biersack and Littmark between all pairs of some elements.

    Each pair of elements has two radii: below the inner one the repulsion is whole, from the outer one on it is exactly
    zero, with two continuous derivatives at both.

    Parameters
    ----------
    species : sequence of str
        Chemical symbols by atomic number.
    inner_ee, outer_ee : (n_e, n_e) array_like
        Radii in Angstrom for every pair of them, symmetric.
    window : str
        The cutoff function that leads from one to the other, a name out of `WINDOWS`.

    Raises
    ------
    ValueError
        For species that are not in order, radii of another shape, not symmetric or out of range, another window.
    """

    species: tuple
    inner_ee: np.ndarray
    outer_ee: np.ndarray
    window: str = "poly2"

    def __post_init__(self):
        if not len(self.species) or list(self.species) != sorted_species(self.species):
            raise ValueError(f"the species of a repulsion must be sorted by atomic number, not {self.species}")
        if self.window not in WINDOWS:
            raise ValueError(f"the window of a repulsion must be one of {', '.join(WINDOWS)}, not {self.window!r}")
        shape = (len(self.species),) * 2
        object.__setattr__(self, "species", tuple(self.species))
        for name in ("inner_ee", "outer_ee"):
            object.__setattr__(self, name, checked(getattr(self, name), shape, name))
        for e, f in np.ndindex(*shape):
            inner, outer, pair = self.inner_ee[e, f], self.outer_ee[e, f], f"{self.species[e]} and {self.species[f]}"
            if not 0.0 <= inner < outer <= FARTHEST:  # not a number is none of this, either
                raise ValueError(
                    f"the radii of a repulsion must be 0 <= inner < outer <= {FARTHEST:g} Angstrom; those of {pair} "
                    f"are {inner:g} and {outer:g}"
                )
            if (inner, outer) != (self.inner_ee[f, e], self.outer_ee[f, e]):
                raise ValueError(f"the radii of a repulsion must be symmetric, but those of {pair} differ")

    @classmethod
    def for_species(cls, species, outer=1.0, inner=0.5, window="poly2"):
        """Radii from covalent radii (those of ASE, Cordero et al., Dalton Trans. 2832 (2008)).

        The default ends at the sum of the covalent radii, so that a bond at its usual length feels nothing or little
        of it, and is whole at half of that, where energies are tens of eV and the charge clouds of bonds do not
        matter.  MACE chooses the same outer radius.

        Parameters
        ----------
        species : str or sequence of str
        outer : float
            Outer radius in sums of covalent radii.
        inner : float
            Inner radius as a part of the outer one.
        window : str
        """
        species = tuple(sorted_species(species))
        radius_e = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in species])
        outer_ee = outer * (radius_e[:, None] + radius_e)
        return cls(species, inner * outer_ee, outer_ee, window)

    def evaluate(self, atoms):
        """Energies, forces and virial of the repulsion alone, of one structure or of a list: `Prediction`.

        Raises
        ------
        ValueError
            For an element that it does not know, and from the structure (see `Pairs.from_atoms`).
        """
        return evaluate_frames(self, atoms, FreshList(self.cutoff))

    def predict(self, pairs):
        """The same of `Pairs` whose cutoff is at least that of the repulsion; half of an energy to either atom."""
        energy_a, dE_dr = np.empty(pairs.n_centers), np.empty_like(pairs.r_pc)
        element_a, number = self._elements(pairs), list(CUTOFFS).index(self.window)
        repel(pairs.first_a, pairs.j_p, pairs.r_pc, element_a, self.table_ee, number, energy_a, dE_dr)
        forces_ac, virial_mcc = pairs.pullback(dE_dr)
        energy_m = np.bincount(pairs.structure_a[: pairs.n_centers], energy_a, minlength=pairs.n_structures)
        return Prediction(energy_m, energy_a, forces_ac, virial_mcc, pairs.volume_m, np.zeros(0, EVENT))

    @property
    def cutoff(self):
        """Largest outer radius in Angstrom."""
        return float(self.outer_ee.max())

    @property
    def table_ee(self):
        """(n_e, n_e) of `PAIR`, for the kernel."""
        z_e = np.array([atomic_numbers[symbol] for symbol in self.species], float)
        table_ee = np.empty(self.inner_ee.shape, PAIR)
        table_ee["strength"] = COULOMB * z_e[:, None] * z_e
        table_ee["length"] = LENGTH / (z_e[:, None] ** POWER + z_e**POWER)
        table_ee["inner"], table_ee["outer"] = self.inner_ee, self.outer_ee
        return table_ee

    def plain(self):
        """What JSON can hold, for model files."""
        radii = {"inner": self.inner_ee.tolist(), "outer": self.outer_ee.tolist()}
        return {"species": list(self.species), **radii, "window": self.window}

    @classmethod
    def of(cls, plain):
        """The inverse of `plain`; a ValueError for anything else."""
        if not isinstance(plain, dict) or set(plain) != ENTRIES:
            raise ValueError(f"a ZBL repulsion must have exactly the entries {', '.join(sorted(ENTRIES))}")
        species, window = plain["species"], plain["window"]
        if not isinstance(species, list) or not all(isinstance(word, str) for word in (window, *species)):
            raise ValueError("a ZBL repulsion must have a list of chemical symbols and the name of a window")
        return cls(tuple(species), *(_table(plain[name], name) for name in ("inner", "outer")), window)

    def _elements(self, pairs):
        """Element index of every atom."""
        numbers = [atomic_numbers[symbol] for symbol in self.species]
        return elements_of(pairs, numbers, "the ZBL repulsion does not know; it knows ")

    def __str__(self):
        lines = [
            "ZBL repulsion, whole below the inner and zero from the outer radius on "
            f"({self.window} in between), in Angstrom:"
        ]
        for e, f in zip(*np.triu_indices(len(self.species))):
            radii = f"{self.inner_ee[e, f]:.3f} to {self.outer_ee[e, f]:.3f}"
            lines.append(f"   {self.species[e]} {self.species[f]}: {radii}")
        return "\n".join(lines)


def _table(rows, name):
    """Rows of plain numbers as an array."""
    try:
        if all(type(number) in (int, float) for row in rows for number in row):
            return np.array(rows, float)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"the {name} radii of a ZBL repulsion must be rows of numbers, not {rows}")
