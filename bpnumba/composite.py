"""A model that is composed: a potential of short range, and terms that are added to it.

    E = E_short (networks) + sum of E_term,   and F, virial alike

A *term* knows structures but no weights of networks, so that training takes it off the labels once and the networks
learn the rest.  Whatever has these names is one:

===================  ============================================================================================
``evaluate(atoms)``  `Prediction` of one `ase.Atoms` or of a list of them, without extrapolation and spread
``species``          chemical symbols that it knows
``cutoff``           how far it reaches, in Angstrom
``plain()``          what JSON can hold, for model files; ``of(plain)`` is its inverse, which checks
===================  ============================================================================================

>>> from ase import Atoms
>>> from ase.build import bulk
>>> from bpnumba.repulsion import ZBL
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> potential = Potential.untrained(functions, [bulk("Si"), bulk("Si", a=5.6)], hidden=(5,))
>>> model = Composite(potential, (ZBL.for_species("Si"),))
>>> near = Atoms("Si2", [[0, 0, 0], [0, 0, 1.0]])
>>> bool(model.evaluate(near).energy_m[0] > potential.evaluate(near).energy_m[0] + 40.0)
True
"""

from dataclasses import dataclass

from ase import Atoms

from bpnumba.committee import Committee
from bpnumba.potential import Potential

__all__ = ["Composite"]


@dataclass(frozen=True, eq=False)
class Composite:
    """A potential or a committee with terms besides it: a model like `Potential`, with the same ``evaluate``.

    Parameters
    ----------
    short_range : Potential or Committee
        Extrapolation and spread of predictions are those of this part.
    terms : sequence
        One or more, such as `bpnumba.repulsion.ZBL`.

    Raises
    ------
    ValueError
        There is no term, or one does not know an element of the potential.
    """

    short_range: Potential | Committee
    terms: tuple

    def __post_init__(self):
        object.__setattr__(self, "terms", tuple(self.terms))
        if not isinstance(self.short_range, Potential | Committee):
            name = type(self.short_range).__name__
            raise TypeError(f"the short-range part must be a Potential or a Committee, not {name}")
        if not self.terms:
            raise ValueError("a composite needs at least one term besides its short-range part")
        for term in self.terms:
            missing = [symbol for symbol in self.species if symbol not in term.species]
            if missing:
                name = type(term).__name__
                raise ValueError(f"the term {name} does not know {', '.join(missing)}, which the potential describes")

    def evaluate(self, atoms, pair_list=None):
        """The sum of all parts, of one structure or of a list; see `Potential.evaluate`.

        `pair_list` is for the short-range part; terms find their own pairs.
        """
        atoms = atoms if isinstance(atoms, Atoms) else list(atoms)
        prediction = self.short_range.evaluate(atoms, pair_list)
        for term in self.terms:
            prediction = prediction.plus(term.evaluate(atoms))
        return prediction

    def save_runner(self, directory, units="atomic"):
        """Refused with a ValueError: n2p2 has networks alone."""
        names = ", ".join(type(term).__name__ for term in self.terms)
        raise ValueError(
            f"{directory}: files of RuNNer and n2p2 cannot hold the term {names}: write the networks alone, "
            "composite.short_range.save_runner(...), and add the term in the other program; without it the energies "
            "are others"
        )

    @property
    def symmetry_functions(self):
        return self.short_range.symmetry_functions

    @property
    def scalings(self):
        return self.short_range.scalings

    @property
    def reference_energies(self):
        return self.short_range.reference_energies

    @property
    def info(self):
        return self.short_range.info

    @property
    def species(self):
        """Chemical symbols, by atomic number."""
        return self.short_range.species

    @property
    def cutoff(self):
        """Largest cutoff radius of the short-range part in Angstrom."""
        return self.short_range.cutoff

    def __str__(self):
        return "\n".join(map(str, (self.short_range, *self.terms)))
