"""Labels as an objective needs them: numbers to come near to, and factors that turn errors into units of noise."""

from typing import NamedTuple

import numpy as np

from bpnumba.units import GPA, MEV

VOIGT_ROW, VOIGT_COLUMN = [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]  # xx, yy, zz, yz, xz, xy
VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # their numbers in a tensor


SYMMETRIC = 1e-3  # eV/Angstrom; forces that codes print where symmetry asks for none
NEVER_EXTREME = 5.0  # eV/Angstrom


class Scales(NamedTuple):
    """Errors that count as noise."""

    energy: float  # eV per atom
    forces: float  # eV/Angstrom
    stress: float  # eV/Angstrom^3
    extreme: float = float("inf")  # eV/Angstrom; frames with larger forces count less

    @classmethod
    def from_data(cls, dataset, settings):
        """Defaults from the distribution of the forces: s_F is 7 % of a robust rms, and by lengths that suit all
        materials tried, s_E = 0.01 Angstrom s_F per atom and s_S = 0.05 s_F / Angstrom^2.

        The rms is taken without the largest hundredth of the force components, so that a few close contacts do not set
        the scale for all others.  Where there are no forces, their typical size is taken to be 1 eV/Angstrom.  Frames
        with a force beyond ten times the rms count as the square of its part of the largest.
        """
        labeled = np.repeat(dataset.has_forces_m, dataset.n_atoms_m)
        squares = np.sort((dataset.forces_ac[labeled] ** 2).ravel())
        rms = _robust_rms(squares)
        if not len(squares) or np.median(squares) < SYMMETRIC**2:  # by symmetry: they do not tell the size of others
            rms = _robust_rms(squares[squares > SYMMETRIC**2]) or 1.0
        forces = settings.forces_scale or 0.07 * rms
        return cls(
            settings.energy_scale or 0.01 * forces,
            forces,
            settings.stress_scale or 0.05 * forces,
            extreme=max(10.0 / 0.07 * forces, NEVER_EXTREME),
        )


class Factors(NamedTuple):
    """How much a label counts: scales, factors of energies, forces and stresses (0 leaves one out), and of frames."""

    scales: Scales
    weights: tuple = (1.0, 1.0, 1.0)
    of_config_type: dict = {}  # 1 where absent

    def __str__(self):
        energy, forces, stress, extreme = self.scales
        return (
            f"errors that count as noise: energy {MEV * energy:.3g} meV/atom, forces {MEV * forces:.3g} meV/Angstrom, "
            f"stress {GPA * stress:.3g} GPa; factors in the loss {self.weights}; frames with forces beyond "
            f"{extreme:.3g} eV/Angstrom count less"
        )

    def counts(self, dataset):
        """Number of residuals per kind: energies, force components, stress components."""
        n_forces = 3 * dataset.n_atoms_m[dataset.has_forces_m].sum()
        counts = (dataset.has_energy_m.sum(), n_forces, 6 * dataset.has_stress_m.sum())
        return tuple(int(count) if weight > 0.0 else 0 for count, weight in zip(counts, self.weights))


class Rmse(NamedTuple):
    """Root mean square errors; 0 where there is no label of the kind."""

    energy: float  # eV per atom
    forces: float  # eV/Angstrom, per component
    stress: float  # eV/Angstrom^3, per component

    @classmethod
    def of(cls, sums):
        """From rows of (sum of squares, count)."""
        return cls(*np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1)))


class Targets(NamedTuple):
    """What the predictions for some frames are compared with.

    Attributes
    ----------
    structure_a : (n_a,) frame of every atom
    energy_m : (n_m,) eV, without reference energies
    forces_ac : (n_a, 3) eV/Angstrom
    virial_mv : (n_m, 6) eV, stress times volume
    per_atom_m, labeled_a, per_volume_m : (n_m,), (n_a, 1), (n_m, 1)
        From an error of energy or virial to one per atom or volume; 0 where there is no label.
    energy_unit_m, forces_unit_a, stress_unit_m : same shapes
        From the same errors to units of noise, with the square roots of all factors.
    """

    structure_a: np.ndarray
    energy_m: np.ndarray
    forces_ac: np.ndarray
    virial_mv: np.ndarray
    per_atom_m: np.ndarray
    labeled_a: np.ndarray
    per_volume_m: np.ndarray
    energy_unit_m: np.ndarray
    forces_unit_a: np.ndarray
    stress_unit_m: np.ndarray

    @classmethod
    def of(cls, dataset, reference_energies, factors):
        """Targets of a `Dataset`."""
        structure_a = np.repeat(np.arange(len(dataset)), dataset.n_atoms_m)
        of_volume = zip(dataset.atoms, dataset.has_stress_m, strict=True)
        volume_m = np.array([atoms.cell.volume if has else 1.0 for atoms, has in of_volume])
        per_atom_m, labeled_a = dataset.has_energy_m / dataset.n_atoms_m, dataset.has_forces_m[structure_a, None] * 1.0
        per_volume_m = (dataset.has_stress_m / volume_m)[:, None]
        root_m = np.sqrt([factors.of_config_type.get(kind, 1.0) for kind in dataset.config_type_m])
        largest_m = np.zeros(len(dataset))
        np.maximum.at(largest_m, structure_a, np.linalg.norm(dataset.forces_ac, axis=1))
        root_m *= np.minimum(1.0, factors.scales.extreme / np.maximum(largest_m, 1e-300))
        u_E, u_F, u_S = (np.sqrt(weight) / scale for weight, scale in zip(factors.weights, factors.scales[:3]))
        return cls(
            structure_a,
            np.where(dataset.has_energy_m, dataset.energy_m - baseline(dataset.atoms, reference_energies), 0.0),
            dataset.forces_ac,
            dataset.stress_mv * volume_m[:, None],
            per_atom_m,
            labeled_a,
            per_volume_m,
            u_E * root_m * per_atom_m,
            u_F * root_m[structure_a, None] * labeled_a,
            u_S * root_m[:, None] * per_volume_m,
        )

    def compare(self, energy_m, forces_ac, virial_mcc):
        """Residuals in units of noise (energies, forces, stresses), and (3, 2) sums of squared errors and counts."""
        virial_mv = virial_mcc[:, VOIGT_ROW, VOIGT_COLUMN] + virial_mcc[:, VOIGT_COLUMN, VOIGT_ROW]
        d_E, d_F, d_W = energy_m - self.energy_m, forces_ac - self.forces_ac, 0.5 * virial_mv - self.virial_mv
        units = self.energy_unit_m * d_E, self.forces_unit_a * d_F, self.stress_unit_m * d_W
        plain = self.per_atom_m * d_E, self.labeled_a * d_F, self.per_volume_m * d_W
        labeled = self.per_atom_m, np.repeat(self.labeled_a, 3), np.repeat(self.per_volume_m, 6)
        # not by BLAS, whose sums of long vectors depend on the number of threads
        return units, np.array([[np.square(d).sum(), np.count_nonzero(has)] for d, has in zip(plain, labeled)])

    @property
    def n_residuals_m(self):
        """(n_m,) number of labels of every frame that count in the loss."""
        forces = np.bincount(self.structure_a, self.forces_unit_a[:, 0] > 0, minlength=len(self.energy_m)).astype(int)
        return (self.energy_unit_m > 0) + 3 * forces + 6 * (self.stress_unit_m[:, 0] > 0)

    def frames(self, first, last):
        """The same of the frames `first` to `last` (without it), as views."""
        a, b = np.searchsorted(self.structure_a, (first, last))
        of_atoms = {"structure_a", "forces_ac", "labeled_a", "forces_unit_a"}
        cut = {name: value[a:b] if name in of_atoms else value[first:last] for name, value in self._asdict().items()}
        return self._replace(**cut | {"structure_a": cut["structure_a"] - first})


def _robust_rms(squares):
    """Of sorted squares, without the largest hundredth; 0 if there are none."""
    return float(np.sqrt(squares[: max(1, int(np.ceil(0.99 * len(squares))))].mean())) if len(squares) else 0.0


def baseline(frames, energies):
    """Sum of the reference energies of every frame."""
    return np.array([sum(energies[symbol] for symbol in atoms.symbols) for atoms in frames])
