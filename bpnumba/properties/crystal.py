"""Crystals: the equation of state and the energy of a vacancy.

Comes in: a relaxed crystal with any calculator.  Goes out: volumes, energies and moduli in Angstrom, eV and GPa.

>>> from ase.build import bulk
>>> from ase.calculators.emt import EMT
>>> from bpnumba.elasticity import relax
>>> copper = bulk("Cu")
>>> copper.calc = EMT()
>>> copper = relax(copper, fmax=1e-4)
>>> state = equation_of_state(copper)
>>> print(f"{state.volume:.2f} Angstrom^3/atom, {state.bulk_modulus:.0f} GPa")
11.57 Angstrom^3/atom, 134 GPa
>>> print(f"{vacancy_energy(copper, width=6.0).relaxed:.2f} eV")
1.23 eV
"""

import warnings
from typing import NamedTuple

import numpy as np
from ase.eos import EquationOfState
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, LBFGS

from bpnumba.properties.lattice import heights, repeats
from bpnumba.units import GPA, MEV

__all__ = ["State", "Vacancy", "equation_of_state", "vacancy_energy"]

MAX_STEPS = 500
"""Steps after which a relaxation has failed."""


class State(NamedTuple):
    """Equation of state: third-order Birch-Murnaghan fit to energies of relaxed cells at fixed volumes."""

    volume_k: np.ndarray  #: Angstrom^3/atom
    energy_k: np.ndarray  #: eV/atom
    energy: float  #: of the minimum, eV/atom
    bulk_modulus: float  #: GPa
    derivative: float  #: d bulk modulus / d pressure
    volume: float  #: of the minimum, Angstrom^3/atom
    residual: float  #: root mean square of energy - fit, meV/atom
    known_k: np.ndarray  #: whether all atoms are inside the range of the training data, if the calculator tells

    def fit(self, volume):
        """Energy of the fit in eV/atom at volumes in Angstrom^3/atom."""
        x = (self.volume / np.asarray(volume)) ** (2 / 3) - 1
        factor = 9 * self.volume * self.bulk_modulus / GPA / 16
        return self.energy + factor * x**2 * (2 + (self.derivative - 4) * x)


class Vacancy(NamedTuple):
    """Formation energies of a vacancy in eV at fixed cell, ions relaxed or not; width of the supercell in Angstrom."""

    relaxed: float
    unrelaxed: float
    n_atoms: int  #: of the supercell without vacancy
    width: float
    atoms: object  #: the relaxed supercell with the vacancy


def equation_of_state(atoms, span=0.06, n_points=11, fmax=1e-3, report=None):
    """Energies at volumes around that of a crystal, and a Birch-Murnaghan fit (ase.eos).

    At each volume V the shape of the cell and the ions are relaxed.  With x = (V0/V)^(2/3) - 1 ::

        E = E0 + 9 V0 B/16 x^2 (2 + (B' - 4) x)

    Parameters
    ----------
    atoms : ase.Atoms
        Relaxed, periodic in three directions; left as it is.
    span : float
        Largest relative change of the volume.
    n_points : int
    fmax : float
        eV/Angstrom.
    report : callable, optional
        Called as ``report(done, of)`` after every volume.

    Returns
    -------
    State

    Raises
    ------
    RuntimeError
        A relaxation or the fit did not converge, or there is no minimum between the volumes.
    """
    volumes, energies, known = [], [], []
    for k, change in enumerate(np.linspace(-span, span, n_points)):
        strained = atoms.copy()
        strained.calc = atoms.calc
        strained.set_cell(atoms.cell.array * (1 + change) ** (1 / 3), scale_atoms=True)
        if not BFGS(FrechetCellFilter(strained, constant_volume=True), logfile=None).run(fmax=fmax, steps=MAX_STEPS):
            raise RuntimeError(f"no relaxed cell with a volume changed by {100 * change:+.1f} %")
        volumes.append(strained.get_volume() / len(atoms))
        energies.append(strained.get_potential_energy() / len(atoms))
        known.append(not np.any(strained.calc.results.get("extrapolation", 0)))
        if report is not None:
            report(k + 1, n_points)
    volume_k, energy_k = np.array(volumes), np.array(energies)
    lowest = energy_k.min()
    fit = EquationOfState(volume_k, energy_k - lowest, eos="birchmurnaghan")  # without the digits of the total energy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fit that says nothing: it is looked at below
        fit.fit(warn=False)
    energy, bulk_modulus, derivative, volume = map(float, fit.eos_parameters)
    if not (volumes[0] < volume < volumes[-1] and bulk_modulus > 0):
        raise RuntimeError(f"no minimum between {volumes[0]:.2f} and {volumes[-1]:.2f} Angstrom^3/atom")
    state = State(volume_k, energy_k, energy + lowest, bulk_modulus * GPA, derivative, volume, 0.0,
                  np.array(known))  # fmt: skip
    return state._replace(residual=float(MEV * np.sqrt(np.mean((energy_k - state.fit(volume_k)) ** 2))))


def vacancy_energy(atoms, width=10.0, fmax=5e-3, seed=0):
    """Formation energy of a vacancy in an element ::

        E_vacancy = E(N - 1 atoms) - (N - 1)/N E(N atoms)

    at the cell of the perfect crystal, the ions relaxed.  Of the sites of the cell the one is taken where the unrelaxed
    energy is lowest.  Ions start a little off their places, because symmetric arrangements can be saddles.

    Parameters
    ----------
    atoms : ase.Atoms
        Relaxed crystal of one element, periodic in three directions; left as it is.
    width : float
        Angstrom, least distance between opposite faces of the supercell.
    fmax : float
        eV/Angstrom.
    seed : int
        Of the first displacements.

    Returns
    -------
    Vacancy

    Raises
    ------
    ValueError
        More than one element: the energy then depends on where the atom goes.
    RuntimeError
        The relaxation did not converge.
    """
    if len(set(atoms.numbers)) > 1:
        formula = atoms.get_chemical_formula()
        raise ValueError(f"{formula} has several elements: the energy depends on where the atom goes")
    perfect = atoms.copy() * repeats(atoms, width)
    perfect.calc = atoms.calc
    n, energy, trials = len(perfect), perfect.get_potential_energy(), []
    for site in range(len(atoms)):
        trial = perfect.copy()
        del trial[site]
        trial.calc = atoms.calc
        trials.append((trial.get_potential_energy() - (n - 1) / n * energy, trial))
    unrelaxed, vacant = min(trials, key=lambda entry: entry[0])
    vacant.rattle(0.02, seed=seed)
    if not LBFGS(vacant, logfile=None).run(fmax=fmax, steps=MAX_STEPS):
        raise RuntimeError(f"the relaxation of {n - 1} atoms did not reach {fmax:g} eV/Angstrom in {MAX_STEPS} steps")
    found = vacant.get_potential_energy() - (n - 1) / n * energy
    return Vacancy(float(found), float(unrelaxed), n, float(heights(perfect.cell).min()), vacant)
