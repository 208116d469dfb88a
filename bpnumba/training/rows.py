"""Derivatives of the residuals in the weights, one row per label: what Gauss-Newton and the Kalman filter live on.

A residual is linear in energies and in slopes dE/dx along tangents x_dot of the inputs: an energy has none, a force the
change of inputs when its atom moves, a stress that under strain.  So a row is what `Network.dual_gradient` says of one
center, summed over the few centers that feel the atom: exact, without finite differences.  Of the two parts of that
pass only one depends on x_dot; the other is shared by all rows, and sums over centers are products of small matrices.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg.blas import ssyrk

from bpnumba.descriptors import Layout
from bpnumba.kernels import rows as kernels
from bpnumba.network import n_weights
from bpnumba.training.targets import VOIGT

STRAIN_V = np.array([0.5 * ((v == VOIGT) * (1.0 + np.eye(3))) for v in range(6)])
"""(6, 3, 3) strains whose work is one Voigt component: a shear is the mean of two."""


class Slopes(NamedTuple):
    """What all rows share of the backward pass of one network: per layer, an array over its atoms."""

    a: list  # inputs of the layers
    s1: list  # f'(z)
    q_z: list  # de/dz
    q_s2: list  # de/da_out f''(z)

    @classmethod
    def of(cls, network, x_as, dtype):
        """Of all atoms of one element."""
        states = network.forward(x_as)
        q, q_z, q_s2 = np.ones((len(x_as), 1)), [], []
        for (W, _), s1, s2 in zip(network.layers[::-1], states.s1[::-1], states.s2[::-1]):
            q_z.insert(0, (q * s1).astype(dtype))
            q_s2.insert(0, (q * s2()).astype(dtype))
            q = (q * s1) @ W.T
        return cls([a.astype(dtype) for a in states.a], [s.astype(dtype) for s in states.s1], q_z, q_s2)


def rows_of(potential, chunk, descriptors, atoms=None, dtype=np.float32):
    """Derivatives of the residuals of a chunk (`Targets.compare`) in the weights.

    Parameters
    ----------
    potential : Potential
        With the weights at which to differentiate.
    chunk : Chunk
    descriptors : StoredDescriptors
        Those of the chunk.
    atoms : (n,) array of int, optional
        Whose forces are wanted, in ascending order; by default all.
    dtype : type
        Of the result; most of the work is done in it.

    Returns
    -------
    tuple of three arrays : (n_m, n_w), (3 n, n_w), (6 n_m, n_w)
        For energies, forces and stresses; a row of a label that is absent is 0.
    """
    targets, layout = chunk.targets, descriptors.layout
    atoms = np.arange(len(targets.structure_a)) if atoms is None else atoms
    n_m, n_a, n_e = len(targets.energy_m), len(targets.structure_a), len(potential.networks)
    ends = np.cumsum([0, *(n_weights(network.sizes) for network in potential.networks)])
    energy, forces, stress = (np.zeros((n, d, ends[-1]), dtype) for n, d in ((n_m, 1), (len(atoms), 3), (n_m, 6)))
    stressed, pairs = targets.per_volume_m.any(), descriptors.pairs
    still, strains = np.zeros((n_a, 3)), STRAIN_V[: 6 * stressed]
    strained = [descriptors.tangents(still, np.tile(strain, (n_m, 1, 1))) for strain in strains]
    target_a, row_a = np.full(n_a, -1), np.empty(n_a, np.int64)
    target_a[atoms] = np.arange(len(atoms))
    first_et, pair_t, center_t = kernels.terms(pairs.first_a, pairs.j_p, layout.element_a, target_a, len(atoms), n_e)
    for own in layout.atoms_e:
        row_a[own] = np.arange(len(own))
    for e, (network, scaling, centers) in enumerate(zip(potential.networks, potential.scalings, layout.atoms_e)):
        if not len(centers):
            continue
        own, shared = slice(ends[e], ends[e + 1]), Slopes.of(network, chunk.x_e[e], dtype)
        factor_s = (potential.energy_unit * scaling.factor_s).astype(dtype)
        first_m = np.searchsorted(targets.structure_a[centers], np.arange(n_m + 1))
        every = np.arange(len(centers))
        _add_energy_rows(network, shared, first_m, every, potential.energy_unit, energy[:, :, own])
        if len(center_t):
            begin, end = first_et[e, 0], first_et[e, -1]
            felt = row_a[center_t[begin:end]]
            x_dot = np.empty((end - begin, 3, network.sizes[0]), dtype)
            kernels.input_tangents(
                pair_t[begin:end], center_t[begin:end], pairs.first_a, pairs.j_p, layout.element_a,
                layout.table.related, layout.table.n_related, descriptors.first_p, descriptors.J, factor_s, x_dot,
            )  # fmt: skip
            _add_tangent_rows(network, shared, first_et[e] - begin, felt, x_dot, forces[:, :, own])
        if stressed:
            x_dot = np.stack([G_dot[e] for G_dot in strained], axis=1).astype(dtype) * factor_s
            _add_tangent_rows(network, shared, first_m, every, x_dot, stress[:, :, own])
    units = targets.energy_unit_m[:, None], targets.forces_unit_a[atoms], targets.stress_unit_m
    for block, unit in zip((energy, forces, stress), units):
        block *= unit[:, :, None].astype(dtype)
    return tuple(block.reshape(-1, ends[-1]) for block in (energy, forces, stress))


def gram(rows):
    """R^T R of the rows of all kinds of labels, upper triangle, float64; summed in float32, enough for a curvature."""
    return sum(ssyrk(1.0, R.T).astype(float) for R in rows)


def cut(chunk, descriptors, first, last):
    """The frames `first` to `last` (without it) of a chunk and of its stored descriptors; J is a view."""
    targets, pairs, layout = chunk.targets, descriptors.pairs, descriptors.layout
    a, b = np.searchsorted(targets.structure_a, (first, last))
    p, q = pairs.first_a[a], pairs.first_a[b]
    few = replace(
        pairs,
        j_p=pairs.j_p[p:q] - pairs.j_p.dtype.type(a),
        r_pc=pairs.r_pc[p:q],
        first_a=pairs.first_a[a : b + 1] - p,
        number_a=pairs.number_a[a:b],
        structure_a=pairs.structure_a[a:b] - first,
        volume_m=pairs.volume_m[first:last],
    )
    x_e = tuple(x[slice(*np.searchsorted(atoms, (a, b)))] for x, atoms in zip(chunk.x_e, layout.atoms_e))
    first_p = descriptors.first_p[p : q + 1]
    J = descriptors.J[first_p[0] : first_p[-1]]
    own = descriptors._replace(
        pairs=few, layout=Layout.of(layout.element_a[a:b], b - a, layout.table), first_p=first_p - first_p[0], J=J
    )
    return chunk._replace(x_e=x_e, targets=targets.frames(first, last)), own


def _add_energy_rows(network, shared, first_t, center_t, energy_unit, rows_idw):
    """Add the derivatives of the sum of energies over the centers of every target."""
    begin, dtype = 0, rows_idw.dtype
    for (W, _), a, q_z in zip(network.layers, shared.a, shared.q_z):
        p, no = q_z[center_t][:, None] * dtype.type(energy_unit), np.zeros((len(center_t), 1, len(W)), dtype)
        kernels.sums_of_outer_products(first_t, center_t, a, p, no, q_z, rows_idw, begin)
        begin += (len(W) + 1) * W.shape[1]


def _add_tangent_rows(network, shared, first_t, center_t, x_dot_tds, rows_idw):
    """Add the derivatives of the sum over terms of de/dx . x_dot to the row of every target and direction."""
    dtype, shape = x_dot_tds.dtype, x_dot_tds.shape[:2]
    layers = [W.astype(dtype) for W, _ in network.layers]
    a_dot, z_dot = [x_dot_tds], []
    for W, s1 in zip(layers, shared.s1):
        z_dot.append((a_dot[-1].reshape(-1, len(W)) @ W).reshape(*shape, -1))
        a_dot.append(s1[center_t][:, None] * z_dot[-1])
    p, begin = np.zeros((*shape, 1), dtype), n_weights(network.sizes)
    for k in reversed(range(len(layers))):
        W = layers[k]
        p = p * shared.s1[k][center_t][:, None] + shared.q_s2[k][center_t][:, None] * z_dot[k]
        begin -= (len(W) + 1) * W.shape[1]
        kernels.sums_of_outer_products(first_t, center_t, shared.a[k], p, a_dot[k], shared.q_z[k], rows_idw, begin)
        if k:
            p = (p.reshape(-1, W.shape[1]) @ W.T).reshape(*shape, -1)
