"""Weights in, loss and gradient out: the one function that an optimizer sees.

    L = 1/N [ sum_m w_m (dE_m / (n_m s_E))^2 + sum_ac w_m (dF_ac / s_F)^2 + sum_mv w_m (dS_mv / s_S)^2 ] + l2 |theta|^2

d = prediction - label, n_m atoms in frame m, N the number of residuals.  The scales s say how large an error is taken
for noise; labels that a frame lacks take no part.

Forces and virial are linear in the slopes dE/dx of the network.  The gradient of their part of the loss is therefore
one walk down the staircase with tangents, ``x_dot = pushforward(pairs.pushforward(-F_bar, W_bar))``, and one dual pass
of the network (`Network.dual_gradient`): no loop over force components, no second derivatives of symmetry functions.

Sums run over chunks of structures, in threads, and are added up in the order of the chunks, shard by shard: they have
the same bits for any number of threads, and of processes (`bpnumba.training.ranks`).
"""

from dataclasses import dataclass, replace
from functools import reduce
from itertools import groupby
from operator import add
from typing import NamedTuple

import numpy as np

from bpnumba.kernels.threads import in_order
from bpnumba.prediction import batches
from bpnumba.training.rows import cut, gram, rows_of
from bpnumba.training.storage import Memory
from bpnumba.training.targets import VOIGT, Rmse, Targets

ATOMS_IN_CHUNK = 1024  # pair gradients of one chunk stay in the cache
ATOMS_IN_PRODUCT = 256  # whose rows of derivatives are in memory at a time
L2 = 0.01  # usual strength of the regularization
SHARDS = 32  # at most; what is added up on its own: as many processes can share the work


class Chunk(NamedTuple):
    """Some frames of the data with all that does not depend on the weights."""

    stored: object  # descriptors, wherever they are kept: `bpnumba.training.storage`
    x_e: tuple  # scaled symmetry functions per element
    targets: Targets


class Piece(NamedTuple):
    """Some frames of a chunk."""

    shard: int
    chunk: int
    first: int
    last: int


class Partial(NamedTuple):
    """What some frames contribute; contributions add up."""

    loss: float
    gradient: np.ndarray
    sums: np.ndarray

    def __add__(self, other):
        return Partial(*(one + two for one, two in zip(self, other)))


@dataclass(frozen=True, eq=False)
class Objective:
    """Loss over a dataset as a function of the weights of a potential.

    Made by `Objective.prepare`, which computes symmetry functions and their Jacobian once.
    """

    potential: object
    shards: tuple  # of tuples of chunks
    l2: float
    n_residuals: int

    @classmethod
    def prepare(cls, potential, dataset, factors, keep=Memory(), report=lambda done, of: None, only=None):
        """Symmetry functions, Jacobian blocks and labels of a dataset.

        Parameters
        ----------
        potential : Potential
            Its symmetry functions, scalings, reference energies and architecture are used.
        dataset : Dataset
        factors : Factors
            How much labels count.
        keep : Memory, Disk or Nowhere
            Where the Jacobian is kept (`bpnumba.training.storage`).
        report : function
            Called with the number of frames done and their total.
        only : set of int, optional
            Numbers of the shards to prepare; by default all.
        """
        bounds = batches(dataset.n_atoms_m, ATOMS_IN_CHUNK)
        in_shard = max(1, -(-len(bounds) // SHARDS))  # the same number of chunks in all, so that the work is even
        shards = [[] for _ in bounds[::in_shard]]
        numbers = [number // in_shard for number in range(len(bounds))]

        def prepared(bound):
            part = dataset.subset(np.arange(*bound))
            stored, values = keep.put(potential.symmetry_functions, list(part.atoms), bound[0])
            x_e = tuple(scaling.apply(G) for scaling, G in zip(potential.scalings, values))
            return Chunk(stored, x_e, Targets.of(part, potential.reference_energies, factors))

        mine = [k for k, number in enumerate(numbers) if only is None or number in only]
        for k, chunk in zip(mine, in_order(prepared, [bounds[k] for k in mine])):
            shards[numbers[k]].append(chunk)
            report(bounds[k][1], len(dataset))
        return cls(potential, tuple(map(tuple, shards)), L2, max(sum(factors.counts(dataset)), 1))

    @property
    def chunks(self):
        """All chunks, shard by shard."""
        return tuple(chunk for shard in self.shards for chunk in shard)

    def with_l2(self, l2):
        """The same data with another strength of the regularization."""
        return replace(self, l2=l2)

    def loss_and_gradient(self, theta):
        """L and dL/dtheta."""
        loss, gradient, _ = self.evaluate(theta)
        return loss, gradient

    def evaluate(self, theta):
        """L, dL/dtheta and the `Rmse` at these weights."""
        loss, gradient, sums = self.total("gradient", theta)
        n, l2 = self.n_residuals, self.l2
        return loss / n + l2 * np.square(theta).sum(), gradient / n + 2.0 * l2 * theta, Rmse.of(sums)

    def validate(self, theta):
        """Robust loss and `Rmse` for validation: 1/N sum 2 (sqrt(1 + r^2) - 1) over the residuals r of the loss.

        It is r^2 where r is small and 2 |r| where it is large, so that a frame far outside of the training data, of
        which nobody expects much, does not decide which weights are best for all others, and yet counts.
        P. Charbonnier et al., IEEE Trans. Image Process. 6, 298 (1997), table I.
        """
        loss, _, sums = self.total("robust", theta)
        return loss / self.n_residuals, Rmse.of(sums)

    def curvature(self, theta):
        """Gauss-Newton approximation of half the Hessian of L, R^T R / N + l2, (n_w, n_w)."""
        H = self.total("curvature", theta)
        H = (np.triu(H) + np.triu(H, 1).T) / self.n_residuals
        H[np.diag_indices_from(H)] += self.l2
        return H

    def curvature_of_elements(self, theta):
        """R^T R of all data, one block (n, n) per element: what `curvature` is made of, but for a factor."""
        H, blocks, begin = self.total("curvature of elements", theta), [], 0
        for network in self.potential.networks:
            size = len(network.theta)
            block = H[begin : begin + size**2].reshape(size, size)
            blocks.append(np.triu(block) + np.triu(block, 1).T)
            begin += size**2
        return blocks

    def total(self, what, theta):
        """Sum over all shards, in their order."""
        return added(part for _, part in self.sums_of_shards(what, theta))

    def sums_of_shards(self, what, theta):
        """(number, sum) of every shard with chunks; `what` is a key of `OF_CHUNK`."""
        potential = self.potential.with_weights(np.ascontiguousarray(theta))
        of_chunk = OF_CHUNK[what]
        numbers = [number for number, shard in enumerate(self.shards) for _ in shard]
        found = zip(numbers, in_order(lambda chunk: of_chunk(potential, chunk), self.chunks))
        for number, group in groupby(found, key=lambda entry: entry[0]):
            yield number, added(part for _, part in group)

    # ---- a few frames at a time ------------------------------------------------------------------------------------

    def pieces(self, n_rows):
        """Groups of frames with about so many residuals: `Piece`, in order."""
        return [
            Piece(s, c, first, last)
            for s, shard in enumerate(self.shards)
            for c, chunk in enumerate(shard)
            for first, last in batches(chunk.targets.n_residuals_m, n_rows)
        ]

    def linearize(self, theta, piece, n_rows, seed):
        """Residuals of a piece and their derivatives at these weights.

        Of forces, a random choice takes part where there are more than `n_rows`; energies and stresses then count as
        much less, so that over many passes the loss is the same.

        Returns
        -------
        R : (n, n_w) float32
        r : (n,)
        partial : Partial
            Of the loss, all forces included, without gradient.
        """
        potential, chunk = self.potential.with_weights(theta), self.shards[piece.shard][piece.chunk]
        with chunk.stored.jacobian() as descriptors:
            chunk, descriptors = cut(chunk, descriptors, piece.first, piece.last)
            (r_E, r_F, r_S), sums = residuals_of(potential, chunk, descriptors)
            labeled = np.flatnonzero(chunk.targets.forces_unit_a)
            count = min(len(labeled), max(1, n_rows // 3))
            atoms = np.sort(np.random.default_rng(seed).choice(labeled, count, replace=False))
            R_E, R_F, R_S = rows_of(potential, chunk, descriptors, atoms)
        loss, root = sum(np.square(r).sum() for r in (r_E, r_F, r_S)), np.sqrt(count / max(len(labeled), 1)) or 1.0
        R = np.concatenate([root * R_E, R_F, root * R_S])
        r = np.concatenate([root * r_E, r_F[atoms].ravel(), root * r_S.ravel()])
        used = np.concatenate(
            [chunk.targets.energy_unit_m > 0, np.full(3 * count, True), np.repeat(chunk.targets.stress_unit_m > 0, 6)]
        )
        return R[used], r[used], Partial(loss, 0.0, sums)


def added(parts):
    """Their sum, in their order."""
    return reduce(add, parts)


def gradient_of(potential, chunk):
    """Sum of squares of the residuals of a chunk and its gradient: `Partial`."""
    with chunk.stored.open() as descriptors:
        units, sums = residuals_of(potential, chunk, descriptors)
        e_bar_m, F_bar, W_bar = slopes_of(units, chunk.targets)
        G_dot = descriptors.tangents(-F_bar, W_bar)
        e_bar_a, pieces = potential.energy_unit * e_bar_m[chunk.targets.structure_a], []
        for atoms, x, g_dot, scaling, network in zip(
            descriptors.layout.atoms_e, chunk.x_e, G_dot, potential.scalings, potential.networks
        ):
            x_dot = potential.energy_unit * scaling.pushforward(g_dot)
            pieces.append(network.weight_gradient(x, e_bar_a[atoms], x_dot))
    return Partial(sum(np.square(r).sum() for r in units), np.concatenate(pieces), sums)


def robust_of(potential, chunk):
    """Robust loss of a chunk, without gradient: `Partial`."""
    with chunk.stored.open() as descriptors:
        units, sums = residuals_of(potential, chunk, descriptors)
    return Partial(sum((2.0 * (np.sqrt(1.0 + r * r) - 1.0)).sum() for r in units), 0.0, sums)


def curvature_of(potential, chunk):
    """R^T R of a chunk, upper triangle."""
    with chunk.stored.jacobian() as descriptors:
        return sum(
            gram(rows_of(potential, *cut(chunk, descriptors, first, last)))
            for first, last in batches(np.bincount(chunk.targets.structure_a), ATOMS_IN_PRODUCT)
        )


def curvature_of_elements_of(potential, chunk):
    """R^T R of a chunk, upper triangles of the blocks of the elements, one after the other."""
    ends = np.cumsum([0, *(len(network.theta) for network in potential.networks)])
    with chunk.stored.jacobian() as descriptors:
        total = np.zeros(np.square(np.diff(ends)).sum())
        for first, last in batches(np.bincount(chunk.targets.structure_a), ATOMS_IN_PRODUCT):
            rows = rows_of(potential, *cut(chunk, descriptors, first, last))
            blocks = [gram([R[:, a:b] for R in rows]).ravel() for a, b in zip(ends[:-1], ends[1:])]
            total += np.concatenate(blocks)
    return total


OF_CHUNK = {
    "gradient": gradient_of,  # `Partial`
    "robust": robust_of,  # `Partial` without gradient
    "curvature": curvature_of,
    "curvature of elements": curvature_of_elements_of,
}
"""What sums over the data consist of."""


def residuals_of(potential, chunk, descriptors):
    """Residuals of a chunk in units of noise, per kind, and sums of squared errors (`Targets.compare`)."""
    targets = chunk.targets
    e_a, dE_dG = potential.energies_and_slopes(descriptors.layout, chunk.x_e)
    forces, virial = descriptors.forces(dE_dG)
    energy = np.bincount(targets.structure_a, e_a, minlength=len(targets.energy_m))
    return targets.compare(energy, forces, virial)


def slopes_of(units, targets):
    """Slopes of the sum of squares in the energies, forces and virials of a chunk."""
    r_E, r_F, r_S = units
    W_bar = (2.0 * targets.stress_unit_m * r_S)[:, VOIGT]  # transpose of stress_voigt, where a
    W_bar[:, ~np.eye(3, dtype=bool)] *= 0.5  # shear component is the mean of two
    return 2.0 * targets.energy_unit_m * r_E, 2.0 * targets.forces_unit_a * r_F, W_bar
