"""A model as a calculator of ASE: for relaxation, molecular dynamics, phonons and all else that ASE does.

>>> from ase.build import bulk
>>> from bpnumba.potential import Potential
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> potential = Potential.untrained(functions, [bulk("Si"), bulk("Si", a=5.6)], hidden=(5,))
>>> atoms = bulk("Si")
>>> atoms.calc = BPCalculator(potential)
>>> atoms.get_forces().shape, atoms.get_stress().shape
((2, 3), (6,))
"""

import os
import time
import warnings

from ase import Atoms
from ase.calculators.calculator import Calculator, Parameters, PropertyNotImplementedError, all_changes
from ase.outputs import Properties, all_outputs

from bpnumba.extrapolation import ExtrapolationError, ExtrapolationWarning, message
from bpnumba.io.model_file import MODELS, load

__all__ = ["BPCalculator", "warm_up"]

ON_EXTRAPOLATION = ("warn", "ignore", "raise")


class BPCalculator(Calculator):
    """ASE calculator of a Behler-Parrinello potential, of a committee, or of one of them with terms besides it.

    Energies in eV, forces in eV/Angstrom, stress in eV/Angstrom^3 (Voigt order, positive under tension).  Results are
    kept until positions, cell, pbc or elements change.  Energy and forces exist for every periodicity; the stress only
    for three periodic directions, otherwise `PropertyNotImplementedError`.

    ``results["extrapolation"]`` counts for every atom the symmetry functions outside of their range in the training
    data: where it is not zero, the potential guesses.  A committee also gives ``results["energy_std"]``,
    ``["forces_std"]`` (n_atoms, 3) and, with three periodic directions, ``["stress_std"]`` (6): the standard deviations
    over its members.

    Parameters
    ----------
    potential : Potential, Committee or Composite, or path of a model file
    on_extrapolation : str
        "warn": one `ExtrapolationWarning`, at the first structure with such atoms and never again, however long the
        run.  "raise": an `ExtrapolationError` in place of results.  "ignore": neither.
    skin : float
        Angstrom, without influence on the results: neighbors are searched for that much beyond the cutoff, and again
        when an atom has moved half as far, the cell or the elements have changed.

    Raises
    ------
    ValueError
        From the model file when it is read, and from the structure when it is calculated: an element that the potential
        does not know, positions or a cell that are not finite, two atoms at one place.
    ExtrapolationError
        If asked for; a ValueError, too.
    """

    name = "bpnumba"
    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]
    ignored_changes = {"initial_charges", "initial_magmoms"}

    def __init__(self, potential, on_extrapolation="warn", skin=0.5):
        if on_extrapolation not in ON_EXTRAPOLATION:
            raise ValueError(f"on_extrapolation must be one of {', '.join(ON_EXTRAPOLATION)}, not {on_extrapolation!r}")
        is_path = isinstance(potential, str | os.PathLike)
        self.potential = load(potential) if is_path else potential
        if not isinstance(self.potential, MODELS):
            raise TypeError(
                "needs a Potential, a Committee, a Composite or the path of a model file, not "
                f"{type(potential).__name__}"
            )
        origin = os.fspath(potential) if is_path else "in memory"
        super().__init__()
        self.parameters = Parameters(
            model=origin,
            species=" ".join(self.potential.species),
            cutoff=self.potential.cutoff,
            on_extrapolation=on_extrapolation,
            skin=skin,
        )
        self.pair_list = self.potential.symmetry_functions.pair_list(skin)
        self.has_warned = False

    def __getstate__(self):
        """Without the list, which is for the kernels of this machine and this process."""
        return {name: value for name, value in self.__dict__.items() if name != "pair_list"}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.pair_list = self.potential.symmetry_functions.pair_list(self.parameters.skin)

    def set(self, **changes):
        """Refuse changes with a ValueError: a calculator stays what it was made."""
        if changes:
            raise ValueError(
                f"{', '.join(changes)} cannot be set: a trained potential has no free parameters; "
                "make another BPCalculator"
            )
        return {}

    def calculate(self, atoms=None, properties=("energy",), system_changes=tuple(all_changes)):
        """Fill ``self.results``; called by ASE when something is asked for that is not known yet."""
        self.results = {}  # if this fails, nothing may be left of another structure
        super().calculate(atoms, properties, system_changes)
        if "stress" in properties and not self.atoms.pbc.all():
            raise PropertyNotImplementedError(
                f"stress is defined only for three periodic directions; these atoms have pbc {self.atoms.pbc.tolist()}"
            )
        prediction = self.potential.evaluate(self.atoms, self.pair_list)
        if len(prediction.extrapolation):
            self._tell(prediction.extrapolation)
        energy = float(prediction.energy_m[0])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": prediction.energy_a,
            "forces": prediction.forces_ac,
            "extrapolation": prediction.extrapolation_a,
        }
        spread = prediction.spread
        if spread is not None:
            self.results |= {"energy_std": float(spread.energy_std_m[0]), "forces_std": spread.forces_std_ac}
        if self.atoms.pbc.all():
            self.results["stress"] = prediction.stress_mv[0]
            if spread is not None:
                self.results["stress_std"] = spread.stress_std_mv(prediction.volume_m)[0]

    def export_properties(self):
        """Results that ASE knows; its list of properties has neither extrapolation nor standard deviations."""
        return Properties({name: value for name, value in self.results.items() if name in all_outputs})

    def _tell(self, events):
        """Warn once, raise, or do nothing."""
        choice, functions = self.parameters.on_extrapolation, self.potential.symmetry_functions
        if choice == "raise":
            raise ExtrapolationError(message(events, functions))
        if choice == "warn" and not self.has_warned:
            self.has_warned = True
            warnings.warn(message(events, functions), ExtrapolationWarning, stacklevel=2)


def warm_up(potential):
    """Compile what `BPCalculator` needs for this model, or take it from the disk; says in words what was done."""
    from bpnumba.kernels.compiling import COMPILED

    start, before = time.perf_counter(), len(COMPILED)
    atoms = Atoms(potential.species, [[1.3 * n, 0.0, 0.0] for n in range(len(potential.species))])
    atoms.calc = BPCalculator(potential, on_extrapolation="ignore")
    for _ in range(2):  # with a fresh list, and with one that is used again
        atoms.get_forces()
        atoms.positions[0, 1] += 0.01
    compiled = len(COMPILED) - before
    return (
        f"{', '.join(potential.species)}: kernels are ready after {time.perf_counter() - start:.1f} s, "
        f"{compiled} of them compiled" + (f" and kept in {COMPILED[-1]}" if compiled else ", all others from the disk")
    )
