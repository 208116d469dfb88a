"""Weights in, loss and gradient out: the one function that an optimizer sees.

    L = 1/N [ sum_m w_m (dE_m / (n_m s_E))^2 + sum_ac w_m (dF_ac / s_F)^2 + sum_mv w_m (dS_mv / s_S)^2 ] + l2 |theta|^2

d = prediction - label, n_m atoms in frame m, N the number of residuals.  The scales s say how large an error is taken
for noise; labels that a frame lacks take no part.

Forces and virial are linear in the slopes dE/dx of the network.  The gradient of their part of the loss is therefore
one walk down the staircase with tangents, ``x_dot = pushforward(pairs.pushforward(-F_bar, W_bar))``, and one dual pass
of the network (`Network.dual_gradient`): no loop over force components, no second derivatives of symmetry functions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bpnumba.pairs import Pairs, stress_voigt
from bpnumba.potential import batches
from bpnumba.training.dataset import Dataset

VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
ATOMS_IN_CHUNK = 1024  # pair gradients of one chunk stay in the cache


class Scales(NamedTuple):
    """Errors that count as noise, and how strongly weights are kept small."""

    energy: float  # eV per atom
    forces: float  # eV/Angstrom
    stress: float  # eV/Angstrom^3
    l2: float

    @classmethod
    def from_data(cls, dataset, settings):
        """Defaults from the distribution of the forces: s_F is 7 % of a robust rms, and by lengths that suit all
        materials tried, s_E = 0.01 Angstrom s_F per atom and s_S = 0.05 s_F / Angstrom^2.

        The rms is taken without the largest hundredth of the force components, so that a few close contacts do not set
        the scale for all others.  Where there are no forces, their typical size is taken to be 1 eV/Angstrom.
        """
        labeled = np.repeat(dataset.has_forces_m, dataset.n_atoms_m)
        squares = np.sort((dataset.forces_ac[labeled] ** 2).ravel())
        squares = squares[: max(1, int(np.ceil(0.99 * len(squares))))]
        rms = np.sqrt(squares.mean()) if len(squares) and squares.max() > 0.0 else 1.0
        forces = settings.forces_scale or 0.07 * float(rms)
        return cls(settings.energy_scale or 0.01 * forces, forces, settings.stress_scale or 0.05 * forces, settings.l2)


class Rmse(NamedTuple):
    """Root mean square errors; 0 where there is no label of the kind."""

    energy: float  # eV per atom
    forces: float  # eV/Angstrom, per component
    stress: float  # eV/Angstrom^3, per component


def in_memory(dtype):
    """Descriptors with their Jacobian in memory, in numbers of this type.

    Sums are float64: the gradient is exact for the Jacobian that is stored.
    """

    def describe(symmetry_functions, frames, first):
        return symmetry_functions.describe(Pairs.from_atoms(frames, symmetry_functions.cutoff, first)).stored(dtype)

    return describe


IN_MEMORY = in_memory(np.float32)


def anew(symmetry_functions, frames, first):
    """Descriptors that visit their pairs for each contraction, with the fastest kernels that this machine has."""
    return symmetry_functions.describe(symmetry_functions.pair_list().pairs(frames, first))


class Chunk(NamedTuple):
    """Some frames of the data with all that does not depend on the weights."""

    descriptors: object  # of what `prepare` was told to use
    x_e: tuple  # scaled symmetry functions per element
    labels: Dataset
    weight_m: np.ndarray  # of each frame
    offset_m: np.ndarray  # reference energies and labels: E_label - sum E0
    n_m: np.ndarray


@dataclass(frozen=True, eq=False)
class Objective:
    """Loss over a dataset as a function of the weights of a potential.

    Made by `Objective.prepare`, which computes symmetry functions and their Jacobian once.
    """

    potential: object
    chunks: tuple
    scales: Scales
    weights: tuple  # of energies, forces, stresses
    n_residuals: int

    @classmethod
    def prepare(
        cls,
        potential,
        dataset,
        scales,
        weights=(1.0, 1.0, 1.0),
        config_type_weights=None,
        describe=IN_MEMORY,
        report=lambda done, of: None,
    ):
        """Symmetry functions, Jacobian blocks and labels of a dataset.

        Parameters
        ----------
        potential : Potential
            Its symmetry functions, scalings, reference energies and architecture are used.
        dataset : Dataset
        scales : Scales
        weights : tuple
            Factors of the three parts of the loss; 0 leaves a part out.
        config_type_weights : dict, optional
            Factor for frames of a config_type, 1 by default.
        describe : callable
            (symmetry functions, frames, number of the first frame) -> descriptors: `in_memory` with a type of numbers,
            or `anew`, which needs no memory for a Jacobian.
        report : function
            Called with the number of frames done and their total.
        """
        factors, chunks = config_type_weights or {}, []
        for first, last in batches(dataset.n_atoms_m, ATOMS_IN_CHUNK):
            labels = dataset.subset(np.arange(first, last))
            descriptors = describe(potential.symmetry_functions, list(labels.atoms), first)
            x_e = potential.inputs(descriptors)
            E0_m = baseline(labels.atoms, potential.reference_energies)
            weight_m = np.array([factors.get(kind, 1.0) for kind in labels.config_type_m])
            chunks.append(Chunk(descriptors, x_e, labels, weight_m, labels.energy_m - E0_m, labels.n_atoms_m))
            report(last, len(dataset))
        n_forces = 3 * dataset.n_atoms_m[dataset.has_forces_m].sum()
        counts = (dataset.has_energy_m.sum(), n_forces, 6 * dataset.has_stress_m.sum())
        n = sum(int(count) for count, weight in zip(counts, weights) if weight > 0.0)
        return cls(potential, tuple(chunks), scales, tuple(weights), max(n, 1))

    def loss_and_gradient(self, theta):
        """L and dL/dtheta."""
        loss, gradient, _ = self.evaluate(theta)
        return loss, gradient

    def evaluate(self, theta):
        """L, dL/dtheta and the `Rmse` at these weights."""
        potential = self.potential.with_weights(np.ascontiguousarray(theta))
        loss, gradient, sums = 0.0, np.zeros_like(theta), np.zeros((3, 2))
        for chunk in self.chunks:
            bars, residuals, part = self._residuals(potential, chunk)
            e_bar_m, F_bar, W_bar = bars
            loss, sums = loss + sum(np.square(r).sum() for r in residuals), sums + part
            G_dot = chunk.descriptors.tangents(-F_bar, W_bar)
            e_bar_a, pieces = potential.energy_unit * e_bar_m[chunk.descriptors.pairs.structure_a], []
            for atoms, x, g_dot, scaling, network in zip(
                chunk.descriptors.layout.atoms_e, chunk.x_e, G_dot, potential.scalings, potential.networks
            ):
                x_dot = potential.energy_unit * scaling.pushforward(g_dot)
                pieces.append(network.weight_gradient(x, e_bar_a[atoms], x_dot))
            gradient += np.concatenate(pieces)
        n, l2 = self.n_residuals, self.scales.l2
        return loss / n + l2 * np.square(theta).sum(), gradient / n + 2.0 * l2 * theta, rmse(sums)

    def validate(self, theta):
        """Robust loss and `Rmse` for validation: 1/N sum log(1 + r^2) over the residuals r of the loss.

        With the logarithm (the Lorentzian of robust statistics) a frame far outside of the training data, of which
        nobody expects much, does not decide which weights are best for all others.  W. H. Press et al., Numerical
        Recipes, section 15.7.
        """
        potential = self.potential.with_weights(np.ascontiguousarray(theta))
        loss, sums = 0.0, np.zeros((3, 2))
        for chunk in self.chunks:
            _, residuals, part = self._residuals(potential, chunk)
            loss, sums = loss + sum(np.log1p(r * r).sum() for r in residuals), sums + part
        return loss / self.n_residuals, rmse(sums)

    @property
    def memory(self):
        """Bytes of the stored Jacobian, if there is one."""
        return sum(chunk.descriptors.J.nbytes for chunk in self.chunks if hasattr(chunk.descriptors, "J"))

    def _residuals(self, potential, chunk):
        """Per kind (energies, forces, stresses or virials): slope of the sum of squares of the residuals, the residuals
        in units of noise, sums of squared errors and counts."""
        pairs, descriptors, labels = chunk.descriptors.pairs, chunk.descriptors, chunk.labels
        e_a, dE_dG = potential.energies_and_slopes(descriptors.layout, chunk.x_e)
        forces, virial = descriptors.forces(dE_dG)
        energy = np.bincount(pairs.structure_a, e_a, minlength=pairs.n_structures)

        volume = np.where(labels.has_stress_m, pairs.volume_m, 1.0)
        has_a = labels.has_forces_m[pairs.structure_a]
        dE = np.where(labels.has_energy_m, (energy - chunk.offset_m) / chunk.n_m, 0.0)
        dF = np.where(has_a[:, None], forces - labels.forces_ac, 0.0)
        dS = np.where(labels.has_stress_m[:, None], stress_voigt(virial, volume) - labels.stress_mv, 0.0)

        w_m, w_a = np.sqrt(chunk.weight_m), np.sqrt(chunk.weight_m[pairs.structure_a])
        u_E, u_F, u_S = (np.sqrt(weight) / scale for weight, scale in zip(self.weights, self.scales))
        r_E, r_F, r_S = u_E * w_m * dE, u_F * w_a[:, None] * dF, u_S * w_m[:, None] * dS
        W_bar = (2.0 * u_S * w_m[:, None] * r_S / volume[:, None])[:, VOIGT]  # transpose of stress_voigt, where a
        W_bar[:, ~np.eye(3, dtype=bool)] *= 0.5  # shear component is the mean of two
        counts = labels.has_energy_m.sum(), 3 * has_a.sum(), 6 * labels.has_stress_m.sum()
        # not by BLAS, whose sums of long vectors depend on the number of threads
        sums = np.array([[np.square(d).sum(), count] for d, count in zip((dE, dF, dS), counts)])
        return (2.0 * u_E * w_m * r_E / chunk.n_m, 2.0 * u_F * w_a[:, None] * r_F, W_bar), (r_E, r_F, r_S), sums


def baseline(frames, energies):
    """Sum of the reference energies of every frame."""
    return np.array([sum(energies[symbol] for symbol in atoms.symbols) for atoms in frames])


def rmse(sums):
    """Root mean squares from rows of (sum of squares, count)."""
    return Rmse(*np.sqrt(sums[:, 0] / np.maximum(sums[:, 1], 1)))
