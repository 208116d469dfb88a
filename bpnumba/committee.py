"""A committee of potentials: their mean, and how much they disagree.

    E = sum_n E_n / N,   and F, virial alike;   sigma^2 = sum_n (E_n - E)^2 / (N - 1)

Members share symmetry functions, scalings and reference energies and differ in their networks, so that one description
of the atoms serves all of them.  Where training data lie close they agree; where they disagree, none can be trusted.
That is a ranking, not an error bar.  C. Schran, K. Brezina and O. Marsalek, J. Chem. Phys. 153, 104105 (2020).

>>> from ase.build import bulk
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> frames = [bulk("Si", a=5.2), bulk("Si", a=5.6)]
>>> committee = Committee(tuple(Potential.untrained(functions, frames, hidden=(5,), seed=n) for n in range(3)))
>>> prediction = committee.evaluate(bulk("Si"))
>>> prediction.forces_ac.shape, prediction.spread.forces_std_ac.shape
((2, 3), (2, 3))
"""

from dataclasses import dataclass, field

import numpy as np

from bpnumba.extrapolation import outside
from bpnumba.potential import Potential
from bpnumba.prediction import Prediction, Spread, evaluate_frames

__all__ = ["Committee"]


@dataclass(frozen=True, eq=False)
class Committee:
    """Several potentials that answer as one: a model like `Potential`, whose predictions have a `Spread`.

    Parameters
    ----------
    members : sequence of Potential
        Two or more, with the same symmetry functions, scalings, reference energies and energy unit.  Their networks
        may differ in weights and in architecture.
    info : dict
        What is worth knowing of its making; members keep their own.

    Raises
    ------
    ValueError
        Fewer than two members, or one that differs from the first in what must be the same.
    """

    members: tuple
    info: dict = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "members", tuple(self.members))
        for n, member in enumerate(self.members):
            if not isinstance(member, Potential):
                raise TypeError(f"member {n} of a committee must be a Potential, not {type(member).__name__}")
        if len(self.members) < 2:
            raise ValueError(f"a committee needs at least two members, not {len(self.members)}")
        for n, member in enumerate(self.members[1:], 1):
            difference = _difference(self.members[0], member)
            if difference:
                raise ValueError(
                    f"members 0 and {n} of a committee differ in their {difference}: fit all of them with the same "
                    "ones, only networks may differ"
                )

    def predict(self, pairs):
        """Mean energy, forces and virial of a pair list with their spread: `Prediction`."""
        descriptors = self.symmetry_functions.describe(pairs)  # r -> G, once for all members
        x_e = self.members[0].inputs(descriptors)
        results = [member.energies_and_forces(descriptors, x_e) for member in self.members]
        energy_na, forces_nac, virial_nmcc = (np.stack(of_members) for of_members in zip(*results))
        energy_nm = np.stack([_totals(pairs, energy_a) for energy_a in energy_na])
        means = (of_members.mean(axis=0) for of_members in (energy_nm, energy_na, forces_nac, virial_nmcc))
        extrapolation = outside(descriptors, self.scalings, self.species)
        return Prediction(*means, pairs.volume_m, extrapolation, Spread.of(energy_nm, forces_nac, virial_nmcc))

    def energies(self, pairs):
        """Mean total energies (n_structures) in eV alone."""
        descriptors = self.symmetry_functions.describe(pairs)
        x_e = self.members[0].inputs(descriptors)
        energy_na = [member.atomic_energies(descriptors.layout, x_e) for member in self.members]
        return _totals(pairs, np.mean(energy_na, axis=0))

    def evaluate(self, atoms, pair_list=None):
        """Mean and spread for one structure or a list of them; arguments and errors as in `Potential.evaluate`."""
        return evaluate_frames(self, atoms, pair_list or self.symmetry_functions.pair_list())

    def save_runner(self, directory, units="atomic"):
        """Refused with a ValueError: files of RuNNer and n2p2 hold one network per element."""
        raise ValueError(
            f"{directory}: files of RuNNer and n2p2 hold one network per element, but this is a committee of "
            f"{len(self.members)}: write members one by one, committee.members[0].save_runner(...); "
            "what is lost is the mean and the spread"
        )

    @property
    def symmetry_functions(self):
        return self.members[0].symmetry_functions

    @property
    def scalings(self):
        return self.members[0].scalings

    @property
    def reference_energies(self):
        return self.members[0].reference_energies

    @property
    def species(self):
        """Chemical symbols, by atomic number."""
        return self.symmetry_functions.species

    @property
    def cutoff(self):
        """Largest cutoff radius in Angstrom."""
        return self.symmetry_functions.cutoff

    def __str__(self):
        lines = [f"committee of {len(self.members)} potentials with the same symmetry functions"]
        return "\n".join(lines + [f"{n}: {member}" for n, member in enumerate(self.members)])


def _totals(pairs, energy_a):
    """Energies of the structures from those of atoms."""
    return np.bincount(pairs.structure_a[: pairs.n_centers], energy_a, minlength=pairs.n_structures)


def _difference(one, other):
    """In what two potentials differ that cannot be members of one committee; an empty text if in nothing."""
    functions = (potential.symmetry_functions for potential in (one, other))
    if one.species != other.species or not np.array_equal(*(of.functions for of in functions)):
        return "symmetry functions"
    for of_one, of_other in zip(one.scalings, other.scalings):
        if not all(map(np.array_equal, of_one, of_other)):
            return "scalings"
    if any(one.reference_energies[symbol] != other.reference_energies[symbol] for symbol in one.species):
        return "reference energies"
    return "" if one.energy_unit == other.energy_unit else "energy unit"
