"""The loops of `bpnumba.pairs`: gradients of pair vectors to atoms and structures, and back."""

import numpy as np

from bpnumba.kernels.compiling import compiled


@compiled()
def scatter(first_a, j_p, r_pc, structure_a, g_pc, forces_ac, virial_mcc):
    """Add F_i += g, F_j -= g and W += g (outer) r of all pairs."""
    for i in range(len(first_a) - 1):
        virial = virial_mcc[structure_a[i]]
        for p in range(first_a[i], first_a[i + 1]):
            for a in range(3):
                g = g_pc[p, a]
                forces_ac[i, a] += g
                forces_ac[j_p[p], a] -= g
                for b in range(3):
                    virial[a, b] += g * r_pc[p, b]


@compiled()
def gather(first_a, j_p, r_pc, structure_a, x_dot_ac, strain_dot_mcc, r_dot_pc):
    """Transpose of `scatter`: r_dot = x_dot_j - x_dot_i + strain_dot . r of all pairs."""
    for i in range(len(first_a) - 1):
        strain_dot = strain_dot_mcc[structure_a[i]]
        for p in range(first_a[i], first_a[i + 1]):
            for a in range(3):
                r_dot = x_dot_ac[j_p[p], a] - x_dot_ac[i, a]
                for b in range(3):
                    r_dot += strain_dot[a, b] * r_pc[p, b]
                r_dot_pc[p, a] = r_dot


@compiled()
def shortest(r_pc):
    """The pair with the smallest distance; its number and the square of the distance (infinite without pairs)."""
    pair, smallest = -1, np.inf
    for p in range(len(r_pc)):
        square = r_pc[p, 0] ** 2 + r_pc[p, 1] ** 2 + r_pc[p, 2] ** 2
        if square < smallest:
            pair, smallest = p, square
    return pair, smallest
