"""The contractions of the contract with a stored Jacobian: two sweeps over memory, for training on small sets.

`first_p` and `J` are what `cpu.jacobian` fills: the block of pair p begins at ``J[first_p[p]]`` and has the shape
(3, n_related[c, e]).  J may be float32; sums are float64, so the results are exact for the J that is stored.
"""

import numpy as np

from bpnumba.kernels.compiling import contraction


@contraction
def pullback(first_a, j_p, element_a, offset_a, table, first_p, J, dE_dG, dE_dr):
    """dE/dr_p = sum_s dE/dG_s J_ps of every pair, from the flat array dE_dG."""
    related, n_related = table.related, table.n_related
    weight = np.empty((len(n_related), max(1, n_related.max())))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        for e in range(len(n_related)):
            for s in range(n_related[c, e]):
                weight[e, s] = dE_dG[offset_a[center] + related[c, e, s]]
        for p in range(first_a[center], first_a[center + 1]):
            e = element_a[j_p[p]]
            at, width = first_p[p], n_related[c, e]
            for a in range(3):  # over slices: only then does the compiler use whole vectors
                row, g, total = J[at + a * width : at + (a + 1) * width], weight[e, :width], 0.0
                for s in range(len(row)):
                    total += row[s] * g[s]
                dE_dr[p, a] = total


@contraction
def pushforward(first_a, j_p, element_a, offset_a, table, first_p, J, r_dot, G_dot):
    """Tangents of the symmetry functions, sum_p J_ps . r_dot_p, into the flat array G_dot."""
    related, n_related = table.related, table.n_related
    total = np.empty((len(n_related), max(1, n_related.max())))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        G_dot[offset_a[center] : offset_a[center] + table.n_functions[c]] = 0.0
        total[:] = 0.0
        for p in range(first_a[center], first_a[center + 1]):
            e = element_a[j_p[p]]
            at, width = first_p[p], n_related[c, e]
            for a in range(3):
                row, g_dot, tangent = J[at + a * width : at + (a + 1) * width], total[e, :width], r_dot[p, a]
                for s in range(len(row)):
                    g_dot[s] += row[s] * tangent
        for e in range(len(n_related)):
            for s in range(n_related[c, e]):
                G_dot[offset_a[center] + related[c, e, s]] += total[e, s]
