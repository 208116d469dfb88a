"""Loops of the derivatives of forces in the weights: which centers feel an atom move, how their inputs change, and sums
of outer products over them.

The force on atom i along direction a is -sum over centers k of dE_k/dx . x_dot_k, where x_dot_k is how the inputs of
the network of k change when atom i moves: the Jacobian blocks of the pairs (k, i), for k = i minus all its own blocks.
A *term* is one such pair (target i, center k).
"""

import numpy as np

from bpnumba.kernels.compiling import compiled


@compiled()
def terms(first_a, j_p, element_a, target_a, n_targets, n_elements):
    """Terms of all targets, sorted by the element of the center and then by target; target_a is -1 for other atoms.

    Returns
    -------
    first_et : (n_elements, n_targets + 1) begin of the terms of a target
    pair_t : pair of a term whose neighbor is the target; -1 where the target itself is the center
    center_t : center of a term
    """
    n = len(first_a) - 1
    first_et = np.zeros((n_elements, n_targets + 1), np.int64)
    for k in range(n):
        c = element_a[k]
        if target_a[k] >= 0:
            first_et[c, target_a[k] + 1] += 1
        for p in range(first_a[k], first_a[k + 1]):
            if target_a[j_p[p]] >= 0:
                first_et[c, target_a[j_p[p]] + 1] += 1
    total = 0
    for c in range(n_elements):
        for i in range(n_targets + 1):
            total += first_et[c, i]
            first_et[c, i] = total
    free, pair_t, center_t = first_et.copy(), np.empty(total, np.int64), np.empty(total, np.int64)
    for k in range(n):
        c, i = element_a[k], target_a[k]
        if i >= 0:
            pair_t[free[c, i]], center_t[free[c, i]] = -1, k
            free[c, i] += 1
        for p in range(first_a[k], first_a[k + 1]):
            i = target_a[j_p[p]]
            if i >= 0:
                pair_t[free[c, i]], center_t[free[c, i]] = p, k
                free[c, i] += 1
    return first_et, pair_t, center_t


@compiled()
def input_tangents(pair_t, center_t, first_a, j_p, element_a, related, n_related, first_p, J, factor_s, x_dot_tas):
    """Minus the change of the inputs of the center of every term when the target moves along each axis.

    With the minus, the derivatives of a force -dE/dx_i are sums over terms.
    """
    for t in range(len(pair_t)):
        x_dot, p, k = x_dot_tas[t], pair_t[t], center_t[t]
        x_dot[:] = 0.0
        c = element_a[k]
        begin, end, sign = p, p + 1, -1.0
        if p < 0:
            begin, end, sign = first_a[k], first_a[k + 1], 1.0
        for q in range(begin, end):
            e = element_a[j_p[q]]
            width = n_related[c, e]
            for a in range(3):
                row, to = J[first_p[q] + a * width : first_p[q] + (a + 1) * width], x_dot[a]
                for s in range(width):
                    to[related[c, e, s]] += sign * row[s]
        for a in range(3):
            for s in range(len(factor_s)):
                x_dot[a, s] *= factor_s[s]


@compiled()
def sums_of_outer_products(first_t, center_t, a_kn, p_tdm, a_dot_tdn, q_km, rows_idw, begin):
    """Per target i and direction d: sum over its terms of a_k (outer) p_td + a_dot_td (outer) q_k, and of p_td.

    They are the derivatives in the weights and biases of one layer, and go to the columns from `begin` on.
    """
    n_targets, n_d = rows_idw.shape[0], rows_idw.shape[1]
    n, m = a_kn.shape[1], q_km.shape[1]
    for i in range(n_targets):
        first, last = first_t[i], first_t[i + 1]
        if first == last:
            continue
        a, q = np.empty((last - first, n), a_kn.dtype), np.empty((last - first, m), q_km.dtype)
        for t in range(first, last):
            a[t - first], q[t - first] = a_kn[center_t[t]], q_km[center_t[t]]
        p = p_tdm[first:last].reshape(last - first, n_d * m)
        one = np.dot(a.T, p)  # (n, n_d m)
        two = np.dot(a_dot_tdn[first:last].reshape(last - first, n_d * n).T, q)  # (n_d n, m)
        for d in range(n_d):
            row = rows_idw[i, d]
            for s in range(n):
                to = row[begin + s * m : begin + (s + 1) * m]
                for h in range(m):
                    to[h] += one[s, d * m + h] + two[d * n + s, h]
            to = row[begin + n * m : begin + (n + 1) * m]
            for t in range(len(p)):
                for h in range(m):
                    to[h] += p[t, d * m + h]
