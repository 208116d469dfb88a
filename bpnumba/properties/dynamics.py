"""Molecular dynamics: does it hold the energy, and how are the atoms arranged?

Comes in: `ase.Atoms` with any calculator.  Goes out: the drift of the total energy in meV/atom/ps at constant energy,
and radial distribution functions.  Times are in ps, time steps in fs, temperatures in K.  A run whose atoms fly away
ends with an error, not with numbers.

>>> from ase.build import bulk
>>> from ase.calculators.emt import EMT
>>> copper = bulk("Cu", cubic=True) * (2, 2, 2)
>>> copper.calc = EMT()
>>> warm = thermalize(copper, temperature=300.0, time=0.05, timestep=5.0)
>>> kept = energy_conservation(warm.atoms, time=0.1, timestep=5.0)
>>> abs(kept.drift) < 5.0, len(warm.frames)
(True, 3)
"""

import itertools
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list

from bpnumba.properties.lattice import heights
from bpnumba.units import MEV

__all__ = ["Conservation", "Distribution", "Run", "energy_conservation", "radial_distribution", "suitable_timestep",
           "thermalize"]  # fmt: skip

FRICTION = 0.01
"""1/fs, of the thermostat: it forgets in 0.1 ps."""

TOO_HOT = 10.0
"""A temperature so many times too high, and HOT K more, is no fluctuation: the atoms fly away."""

HOT = 1000.0

LIGHT = ((2.1, 0.5), (20.0, 1.0), (np.inf, 2.0))
"""Time steps in fs up to a mass in u of the lightest atom: a tenth of the fastest vibration that one expects."""


class Run(NamedTuple):
    """End of a run and what was seen on the way."""

    atoms: Atoms  #: with velocities
    frames: tuple  #: of the second half, 10 fs or more apart
    temperature: float  #: K, mean of the second half
    outside: float  #: part of all atoms and steps outside of the range of the training data


class Conservation(NamedTuple):
    """Total energy at constant volume and energy: E - E(0) against time, and a line through it."""

    time_k: np.ndarray  #: ps
    energy_k: np.ndarray  #: E - E(0), meV/atom
    drift: float  #: slope of the line, meV/atom/ps
    fluctuation: float  #: root mean square around the line, meV/atom
    temperature: float  #: mean, K
    outside: float  #: part of all atoms and steps outside of the range of the training data


class Distribution(NamedTuple):
    """Radial distribution functions by pair of elements, and the number of neighbors within a distance."""

    r_k: np.ndarray  #: middles of bins, Angstrom
    g: dict  #: (element, element) -> (n,) values
    coordination: dict  #: (element, element) -> (n,) neighbors of the second element up to the end of the bin

    def first_shell(self, pair, smooth=2):
        """Position and height of the first peak, position of the minimum after it, neighbors up to there; or None.

        The curve is smoothed by a Gaussian, `smooth` bins wide, to find them.
        """
        k = np.arange(-3 * smooth, 3 * smooth + 1)
        gaussian = np.exp(-0.5 * (k / smooth) ** 2)
        curve = np.convolve(np.pad(self.g[pair], 3 * smooth, mode="edge"), gaussian / gaussian.sum(), mode="valid")
        peaks = np.flatnonzero((curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]) & (curve[1:-1] > 1.0)) + 1
        if not len(peaks):
            return None
        peak = int(peaks[0])
        after = curve[peak:]
        rise = np.flatnonzero((after[1:-1] <= after[:-2]) & (after[1:-1] < after[2:])) + 1
        zero = np.flatnonzero(after < 0.02)
        ends = [*rise[:1], *zero[:1]]
        if not ends:
            return None
        end = peak + int(min(ends))
        near = slice(max(0, peak - smooth), peak + smooth + 1)
        top = near.start + int(self.g[pair][near].argmax())
        return tuple(map(float, (self.r_k[top], self.g[pair][top], self.r_k[end], self.coordination[pair][end])))


def suitable_timestep(atoms):
    """Time step in fs for the lightest atom: 0.5 with hydrogen, 1 up to 20 u, else 2."""
    lightest = atoms.get_masses().min()
    return next(step for mass, step in LIGHT if lightest < mass)


def thermalize(atoms, temperature=300.0, time=1.0, timestep=None, seed=0, report=None):
    """Langevin dynamics at constant volume; velocities are drawn first.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator; left as it is.
    temperature : float
        K.
    time : float
        ps.
    timestep : float, optional
        fs, by default that of `suitable_timestep`.
    seed : int
    report : callable, optional
        Called as ``report(done, of)`` during the run.

    Returns
    -------
    Run

    Raises
    ------
    RuntimeError
        The atoms fly away: it grows hotter than any fluctuation explains.
    """
    timestep = suitable_timestep(atoms) if timestep is None else timestep
    hot, rng = atoms.copy(), np.random.default_rng(seed)
    hot.calc = atoms.calc
    hot.set_momenta(rng.standard_normal((len(hot), 3)) * np.sqrt(hot.get_masses()[:, None] * units.kB * temperature))
    Stationary(hot)
    dynamics = Langevin(hot, timestep * units.fs, temperature_K=temperature, friction=FRICTION / units.fs, fixcm=False,
                        rng=rng)  # fmt: skip
    n_steps, frames, kept = max(1, round(1000 * time / timestep)), [], []
    every = max(1, round(10.0 / timestep))

    def look(step):
        if step > n_steps // 2:
            kept.append(hot.get_temperature())
            if step % every == 0:
                frames.append(hot.copy())

    outside = _run(dynamics, n_steps, temperature, look, report)
    Stationary(hot)
    return Run(hot, tuple(frames), float(np.mean(kept)), outside)


def energy_conservation(atoms, time=1.0, timestep=None, report=None):
    """Velocity Verlet at constant energy: drift and fluctuation of the total energy.

    The fluctuation belongs to the time step and falls with its square; a drift has other reasons, such as forces that
    are not the derivative of the energy.

    Parameters
    ----------
    atoms : ase.Atoms
        With a calculator and velocities; left as it is.
    time : float
        ps.
    timestep : float, optional
        fs, by default that of `suitable_timestep`.
    report : callable, optional

    Returns
    -------
    Conservation

    Raises
    ------
    RuntimeError
        The atoms fly away.
    """
    timestep = suitable_timestep(atoms) if timestep is None else timestep
    moving = atoms.copy()
    moving.calc = atoms.calc
    n_steps, energies, temperatures = max(2, round(1000 * time / timestep)), [], []

    def look(step):
        energies.append(moving.get_total_energy())
        temperatures.append(moving.get_temperature())

    outside = _run(VelocityVerlet(moving, timestep * units.fs), n_steps, moving.get_temperature(), look, report)
    time_k = 1e-3 * timestep * np.arange(n_steps + 1)
    energy_k = MEV * (np.array(energies) - energies[0]) / len(moving)
    drift, start = np.polyfit(time_k, energy_k, 1)
    fluctuation = np.sqrt(np.mean((energy_k - start - drift * time_k) ** 2))
    return Conservation(time_k, energy_k, float(drift), float(fluctuation), float(np.mean(temperatures)), outside)


def radial_distribution(frames, r_max=None, width=0.05):
    """Radial distribution functions of all pairs of elements, averaged over frames ::

        g_ab(r) = pairs(r .. r + dr) V / (n_ab 4 pi r^2 dr)

    n_ab counts ordered pairs of different atoms, so that g is 1 where atoms do not see each other.

    Parameters
    ----------
    frames : sequence of ase.Atoms
        The same atoms, periodic in three directions.
    r_max : float, optional
        Angstrom, by default half the least distance of opposite faces of the cells and 10 at most; beyond, an atom
        sees images of what it has seen.
    width : float
        Of the bins, Angstrom.

    Returns
    -------
    Distribution

    Raises
    ------
    ValueError
        There is no frame, or one that is not periodic in three directions.
    """
    if not len(frames) or not all(atoms.pbc.all() for atoms in frames):
        raise ValueError("a radial distribution needs frames that are periodic in three directions")
    if r_max is None:
        r_max = min(10.0, *(0.5 * heights(atoms.cell).min() for atoms in frames))
    edges = width * np.arange(max(2, int(r_max / width) + 1))
    symbols = np.array(frames[0].get_chemical_symbols())
    pairs = list(itertools.combinations_with_replacement(sorted(set(symbols)), 2))
    g = {pair: np.zeros(len(edges) - 1) for pair in pairs}
    coordination = {pair: np.zeros(len(edges) - 1) for pair in pairs}
    shell = 4 / 3 * np.pi * np.diff(edges**3)
    for atoms in frames:
        i_p, j_p, distance_p = neighbor_list("ijd", atoms, float(edges[-1]))
        for a, b in pairs:
            counts, _ = np.histogram(distance_p[(symbols[i_p] == a) & (symbols[j_p] == b)], edges)
            n_a, n_b = (symbols == a).sum(), (symbols == b).sum()
            n_ab = n_a * (n_b - 1) if a == b else n_a * n_b
            g[a, b] += counts * atoms.get_volume() / (max(n_ab, 1) * shell * len(frames))
            coordination[a, b] += np.cumsum(counts) / (n_a * len(frames))
    return Distribution(0.5 * (edges[:-1] + edges[1:]), g, coordination)


def _run(dynamics, n_steps, temperature, look, report):
    """Steps of a run, looked at one by one; returns the part of atoms and steps outside of the training data."""
    atoms, outside = dynamics.atoms, 0
    for step, _ in enumerate(dynamics.irun(n_steps)):
        found = atoms.get_temperature()
        if not (np.isfinite(atoms.get_potential_energy()) and found < TOO_HOT * temperature + HOT):  # NaN neither
            part = 100 * outside / (len(atoms) * max(step, 1))
            raise RuntimeError(
                f"the atoms fly away: {found:.3g} K after {1e-3 * step * dynamics.dt / units.fs:.3g} ps"
                + (f"; until then {part:.2g} % of them were outside the range of the training data" if part else "")
            )
        outside += np.count_nonzero(atoms.calc.results.get("extrapolation", 0))
        look(step)
        if report is not None:
            report(step, n_steps)
    return outside / (len(atoms) * (n_steps + 1))
