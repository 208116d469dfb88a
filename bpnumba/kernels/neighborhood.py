"""One center and its neighbors, as the kernels of `cpu.py` walk through them; inlined there.

`neighborhood` and `company` make room once per call, `enter` fills it for a center, `partners` and `angles` for one of
its neighbors and `opposite` for one group of angular functions.  Suffixes as in `cpu.py`.
"""

import math

import numpy as np
from numba import njit

from bpnumba.formulas.angular import angle, angular, angular_window, cosine
from bpnumba.formulas.cutoff import pair_window
from bpnumba.formulas.radial import cut_gaussian

inlined = njit(forceinline=True, error_model="numpy")  # a call would copy the descriptors of all arrays


@inlined
def largest(first_a):
    """Number of neighbors of the center that has most (at least 1)."""
    n = 1
    for a in range(len(first_a) - 1):
        n = max(n, first_a[a + 1] - first_a[a])
    return n


@inlined
def neighborhood(first_a, table):
    """Room for the neighbors of one center, sorted by element."""
    n, widest = largest(first_a), max(1, table.most_factors)
    return (
        np.empty(n, np.int64),  # the pair in the list
        np.empty((3, n)),  # r
        np.empty(n),  # u
        np.empty(n),  # 1/r
        np.empty((widest, n)),  # phi of every pair factor
        np.empty((widest, n)),  # dphi/du
        np.empty(len(table.n_functions) + 1, np.int64),  # neighbors of element e are begin[e] ... begin[e + 1] - 1
    )


@inlined
def enter(center, first_a, j_p, r_pc, element_a, table, room):
    """Sort the neighbors of a center by element and compute their pair factors."""
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    factors, c, n = table.factors, element_a[center], 0
    for e in range(len(begin) - 1):
        begin[e] = n
        for p in range(first_a[center], first_a[center + 1]):
            if element_a[j_p[p]] == e:
                pair[n] = p
                n += 1
    begin[len(begin) - 1] = n
    for e in range(len(begin) - 1):
        first, last = table.first_factor[c, e], table.last_factor[c, e]
        for j in range(begin[e], begin[e + 1]):
            x, y, z = r_pc[pair[j], 0], r_pc[pair[j], 1], r_pc[pair[j], 2]
            r[0, j], r[1, j], r[2, j] = x, y, z
            u = u_j[j] = 0.5 * (x * x + y * y + z * z)
            inverse = inverse_j[j] = 1.0 / math.sqrt(2.0 * u)
            fc, fc_u = 0.0, 0.0
            for f in range(first, last):
                factor = factors[f]
                if factor.fresh:
                    fc, fc_u = pair_window(u, inverse, factor.cutoff, factor.inner, factor.rc, factor.mirrored)
                if factor.eta > 0.0:
                    phi[f - first, j], phi_u[f - first, j] = cut_gaussian(u, inverse, factor.eta, factor.rs, fc, fc_u)
                else:
                    phi[f - first, j], phi_u[f - first, j] = fc, fc_u


@inlined
def company(first_a, table):
    """Room for the partners of one neighbor."""
    n, widest = largest(first_a), max(1, table.most_angles)
    return (
        np.empty(n, np.int64),  # k
        np.empty(n),  # u of the pair jk
        np.empty(n),  # 1/r
        np.empty(n),  # x, the cosine
        np.empty(n),  # dx/du of the pair ij
        np.empty(n),  # dx/du of the pair ik
        np.empty(n),  # dx/du of the pair jk
        np.empty(n),  # fc of the pair jk
        np.empty(n),  # dfc/du
        np.empty(n),  # phi of the pair jk, 1 for a wide group
        np.empty(n),  # dphi/du
        np.empty((widest, n)),  # every angular factor
        np.empty((widest, n)),  # its slope in x
    )


@inlined
def partners(j, first, last, reach2, room, row):
    """Find the partners of neighbor j among the neighbors first:last, with their cosines; returns how many they are."""
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    n = 0
    for k in range(first, last):
        x, y, z = r[0, k] - r[0, j], r[1, k] - r[1, j], r[2, k] - r[2, j]
        square = x * x + y * y + z * z
        k_q[n], u_q[n] = k, 0.5 * square
        n += square < reach2
    for q in range(n):
        k = k_q[q]
        inverse_q[q] = 1.0 / math.sqrt(2.0 * u_q[q])
        x_q[q], x_j[q], x_k[q], x_c[q] = cosine(u_j[j], u_j[k], u_q[q], inverse_j[j], inverse_j[k])
    return n


@inlined
def angles(first, last, n, table, row):
    """Angular factors of the partners, angles[first:last] of the table."""
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    compact = False
    for i in range(first, last):
        shape, at = table.angles[i], i - first
        lam, zeta, number, middle, right = shape.lam, shape.zeta, shape.cutoff, shape.middle, shape.right
        if not shape.compact:
            for q in range(n):
                a_q[at, q], a_x[at, q] = angular(x_q[q], lam, zeta)
            continue
        if not compact:
            for q in range(n):
                fc[q], fc_u[q] = angle(x_q[q])  # their room is free until `opposite`
            compact = True
        for q in range(n):
            a_q[at, q], a_x[at, q] = angular_window(fc[q], fc_u[q], number, middle, right)


@inlined
def opposite(group, n, table, row):
    """Pair factors of the pairs jk: phi(r_jk) for a narrow group (G4), 1 for a wide one (G5)."""
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    factor = table.factors[group.factor]
    # outside of the loops: in a loop that writes, what is read from a table is read each time
    number, inner, rc, mirrored = factor.cutoff, factor.inner, factor.rc, factor.mirrored
    eta, rs = factor.eta, factor.rs
    if group.fresh:
        for q in range(n):
            fc[q], fc_u[q] = pair_window(u_q[q], inverse_q[q], number, inner, rc, mirrored)
    if group.narrow and eta > 0.0:
        for q in range(n):
            phi_c[q], phi_c_u[q] = cut_gaussian(u_q[q], inverse_q[q], eta, rs, fc[q], fc_u[q])
    elif group.narrow:
        for q in range(n):
            phi_c[q], phi_c_u[q] = fc[q], fc_u[q]
    else:
        phi_c[:n], phi_c_u[:n] = 1.0, 0.0
