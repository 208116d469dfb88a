"""The plain kernels: loops over centers and their neighbors, and nothing but the loops.

The contract, which another module of kernels meets with the same names:

=====================  ==========================================================================================
``describe``           r -> G
``pullback``           dE/dG -> dE/dr of every pair vector (forces)
``pushforward``        tangents of the pair vectors -> tangents of G (training on forces)
``jacobian``           dG/dr itself, per pair for the functions related to the neighbor's element
=====================  ==========================================================================================

All take the same first arguments: `first_a` (pairs of center a are ``first_a[a]:first_a[a+1]``), `j_p` and `r_pc` of
the pair list, `element_a` (element index of every atom, ghosts included), `offset_a` (the row of center a begins at
``offset_a[a]`` of a flat array of symmetry function values) and the `Table` of the set.

The neighbors of a center are sorted by element, so that whatever depends on elements stays outside the inner loops.
Pair factors are computed once per pair.  Each neighbor j then meets its *partners*, the neighbors k that come before it
and are near enough; a couple costs one window and one exponential per distinct pair factor, each distinct angular
factor once, and multiplications.  A center writes only to what it owns: its row of G, its pairs.

Suffixes within one center: ``_j`` its neighbors, ``_q`` the partners of one neighbor.  ``x`` is the cosine, ``u`` is
r^2/2, ``_u`` and ``_x`` are slopes in them; the pair jk opposite to the center carries ``c``.
"""

import numpy as np

from bpnumba.kernels.compiling import contraction
from bpnumba.kernels.neighborhood import angles, company, enter, neighborhood, opposite, partners


@contraction
def describe(first_a, j_p, r_pc, element_a, offset_a, table, G):
    """Symmetry functions of every center, into the flat array G."""
    room, row = neighborhood(first_a, table), company(first_a, table)
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    factors, groups, members = table.factors, table.groups, table.members
    w_q = np.empty(len(u_j))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        g = G[offset_a[center] : offset_a[center] + table.n_functions[c]]
        g[:] = 0.0
        enter(center, first_a, j_p, r_pc, element_a, table, room)
        for e in range(len(begin) - 1):
            for f in range(table.first_factor[c, e], table.last_factor[c, e]):
                if factors[f].column >= 0:
                    total = phi[f - table.first_factor[c, e], begin[e] : begin[e + 1]].sum()
                    g[factors[f].column] += factors[f].weight * total
            for d in range(e + 1):
                first, last = table.first_group[c, e, d], table.last_group[c, e, d]
                for j in range(begin[e], begin[e + 1] if first < last else begin[e]):
                    n = partners(j, begin[d], min(j, begin[d + 1]), table.reach2[c, e, d], room, row)
                    angles(table.first_angle[c, e, d], table.last_angle[c, e, d], n, table, row)
                    for i in range(first, last):
                        group = groups[i]
                        opposite(group, n, table, row)
                        if phi[group.factor_j, j] == 0.0:  # j is outside of the window
                            continue
                        phi_j, phi_k = phi[group.factor_j, j], phi[group.factor_k]
                        for q in range(n):
                            w_q[q] = phi_j * phi_k[k_q[q]] * phi_c[q]
                        for m in range(group.begin, group.end):
                            member, total = members[m], 0.0
                            a_m = a_q[member.angle]
                            for q in range(n):
                                total += a_m[q] * w_q[q]
                            g[member.column] += member.norm * total


@contraction
def pullback(first_a, j_p, r_pc, element_a, offset_a, table, dE_dG, dE_dr):
    """dE/dr_p = sum_s dE/dG_s dG_s/dr_p of every pair, from the flat array dE_dG."""
    room, row = neighborhood(first_a, table), company(first_a, table)
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    factors, groups, members = table.factors, table.groups, table.members
    value, slope = np.empty(len(u_j)), np.empty(len(u_j))
    g_x, g_j, g_k, g_c = np.empty(len(u_j)), np.empty(len(u_j)), np.empty(len(u_j)), np.empty(len(u_j))
    dE_dr_j = np.empty((3, len(u_j)))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        g = dE_dG[offset_a[center] : offset_a[center] + table.n_functions[c]]
        enter(center, first_a, j_p, r_pc, element_a, table, room)
        for e in range(len(begin) - 1):
            first = table.first_factor[c, e]
            for j in range(begin[e], begin[e + 1]):
                dE_du = 0.0
                for f in range(first, table.last_factor[c, e]):
                    if factors[f].column >= 0:
                        dE_du += factors[f].weight * g[factors[f].column] * phi_u[f - first, j]
                for a in range(3):
                    dE_dr_j[a, j] = dE_du * r[a, j]
        for e in range(len(begin) - 1):
            for d in range(e + 1):
                first, last = table.first_group[c, e, d], table.last_group[c, e, d]
                for j in range(begin[e], begin[e + 1] if first < last else begin[e]):
                    n = partners(j, begin[d], min(j, begin[d + 1]), table.reach2[c, e, d], room, row)
                    angles(table.first_angle[c, e, d], table.last_angle[c, e, d], n, table, row)
                    g_x[:n], g_j[:n], g_k[:n], g_c[:n] = 0.0, 0.0, 0.0, 0.0
                    for i in range(first, last):
                        group = groups[i]
                        opposite(group, n, table, row)
                        if phi[group.factor_j, j] == 0.0:  # j is outside of the window
                            continue
                        value[:n], slope[:n] = 0.0, 0.0
                        for m in range(group.begin, group.end):
                            member = members[m]
                            weight = g[member.column] * member.norm
                            a_m, a_m_x = a_q[member.angle], a_x[member.angle]
                            for q in range(n):
                                value[q] += weight * a_m[q]
                                slope[q] += weight * a_m_x[q]
                        phi_j, phi_k = phi[group.factor_j, j], phi[group.factor_k]
                        phi_j_u, phi_k_u = phi_u[group.factor_j, j], phi_u[group.factor_k]
                        for q in range(n):
                            k = k_q[q]
                            g_x[q] += slope[q] * phi_j * phi_k[k] * phi_c[q]
                            g_j[q] += value[q] * phi_j_u * phi_k[k] * phi_c[q]
                            g_k[q] += value[q] * phi_j * phi_k_u[k] * phi_c[q]
                            g_c[q] += value[q] * phi_j * phi_k[k] * phi_c_u[q]
                    for q in range(n):  # du_j = r_j . dr_j and du_c = (r_k - r_j) . (dr_k - dr_j)
                        k, c_q = k_q[q], g_c[q] + g_x[q] * x_c[q]
                        for a in range(3):
                            edge = c_q * (r[a, k] - r[a, j])
                            dE_dr_j[a, j] += (g_j[q] + g_x[q] * x_j[q]) * r[a, j] - edge
                            dE_dr_j[a, k] += (g_k[q] + g_x[q] * x_k[q]) * r[a, k] + edge
        for j in range(begin[len(begin) - 1]):
            for a in range(3):
                dE_dr[pair[j], a] = dE_dr_j[a, j]


@contraction
def pushforward(first_a, j_p, r_pc, element_a, offset_a, table, r_dot_pc, G_dot):
    """Tangents of the symmetry functions of every center, dG_s/dr_p . r_dot_p, into the flat array G_dot."""
    room, row = neighborhood(first_a, table), company(first_a, table)
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    factors, groups, members = table.factors, table.groups, table.members
    u_dot_j, u_dot_q, x_dot_q = np.empty(len(u_j)), np.empty(len(u_j)), np.empty(len(u_j))
    wx_dot_q, w_dot_q, r_dot = np.empty(len(u_j)), np.empty(len(u_j)), np.empty((3, len(u_j)))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        g_dot = G_dot[offset_a[center] : offset_a[center] + table.n_functions[c]]
        g_dot[:] = 0.0
        enter(center, first_a, j_p, r_pc, element_a, table, room)
        for j in range(begin[len(begin) - 1]):
            u_dot_j[j] = 0.0
            for a in range(3):
                r_dot[a, j] = r_dot_pc[pair[j], a]
                u_dot_j[j] += r[a, j] * r_dot[a, j]
        for e in range(len(begin) - 1):
            first = table.first_factor[c, e]
            for f in range(first, table.last_factor[c, e]):
                if factors[f].column >= 0:
                    for j in range(begin[e], begin[e + 1]):
                        g_dot[factors[f].column] += factors[f].weight * phi_u[f - first, j] * u_dot_j[j]
            for d in range(e + 1):
                first, last = table.first_group[c, e, d], table.last_group[c, e, d]
                for j in range(begin[e], begin[e + 1] if first < last else begin[e]):
                    n = partners(j, begin[d], min(j, begin[d + 1]), table.reach2[c, e, d], room, row)
                    angles(table.first_angle[c, e, d], table.last_angle[c, e, d], n, table, row)
                    for q in range(n):
                        k, u_dot_q[q] = k_q[q], 0.0
                        for a in range(3):
                            u_dot_q[q] += (r[a, k] - r[a, j]) * (r_dot[a, k] - r_dot[a, j])
                        x_dot_q[q] = x_j[q] * u_dot_j[j] + x_k[q] * u_dot_j[k] + x_c[q] * u_dot_q[q]
                    for i in range(first, last):
                        group = groups[i]
                        opposite(group, n, table, row)
                        if phi[group.factor_j, j] == 0.0:  # j is outside of the window
                            continue
                        phi_j, phi_k = phi[group.factor_j, j], phi[group.factor_k]
                        phi_j_u, phi_k_u = phi_u[group.factor_j, j], phi_u[group.factor_k]
                        for q in range(n):
                            k = k_q[q]
                            wx_dot_q[q] = phi_j * phi_k[k] * phi_c[q] * x_dot_q[q]
                            w_dot_q[q] = (
                                phi_j_u * u_dot_j[j] * phi_k[k] * phi_c[q]
                                + phi_j * phi_k_u[k] * u_dot_j[k] * phi_c[q]
                                + phi_j * phi_k[k] * phi_c_u[q] * u_dot_q[q]
                            )
                        for m in range(group.begin, group.end):
                            member, total = members[m], 0.0
                            a_m, a_m_x = a_q[member.angle], a_x[member.angle]
                            for q in range(n):
                                total += a_m_x[q] * wx_dot_q[q] + a_m[q] * w_dot_q[q]
                            g_dot[member.column] += member.norm * total


@contraction
def jacobian(first_a, j_p, r_pc, element_a, offset_a, table, first_p, J):
    """dG_s/dr_p of every pair for the functions related to its neighbor's element, into the flat array J.

    The block of pair p begins at ``first_p[p]`` and has the shape (3, n_related[c, e]); e is the neighbor's element.
    """
    room, row = neighborhood(first_a, table), company(first_a, table)
    pair, r, u_j, inverse_j, phi, phi_u, begin = room
    k_q, u_q, inverse_q, x_q, x_j, x_k, x_c, fc, fc_u, phi_c, phi_c_u, a_q, a_x = row
    factors, groups, members, n_related = table.factors, table.groups, table.members, table.n_related
    dG_dr = np.empty((len(u_j), 3, max(1, n_related.max())))
    for center in range(len(first_a) - 1):
        c = element_a[center]
        enter(center, first_a, j_p, r_pc, element_a, table, room)
        dG_dr[: begin[len(begin) - 1]] = 0.0
        for e in range(len(begin) - 1):
            first = table.first_factor[c, e]
            for f in range(first, table.last_factor[c, e]):
                if factors[f].column >= 0:
                    for j in range(begin[e], begin[e + 1]):
                        for a in range(3):
                            dG_dr[j, a, factors[f].related] = factors[f].weight * phi_u[f - first, j] * r[a, j]
        for e in range(len(begin) - 1):
            for d in range(e + 1):
                first, last = table.first_group[c, e, d], table.last_group[c, e, d]
                for j in range(begin[e], begin[e + 1] if first < last else begin[e]):
                    n = partners(j, begin[d], min(j, begin[d + 1]), table.reach2[c, e, d], room, row)
                    angles(table.first_angle[c, e, d], table.last_angle[c, e, d], n, table, row)
                    for i in range(first, last):
                        group = groups[i]
                        opposite(group, n, table, row)
                        if phi[group.factor_j, j] == 0.0:  # j is outside of the window
                            continue
                        phi_j, phi_j_u = phi[group.factor_j, j], phi_u[group.factor_j, j]
                        for q in range(n):
                            k = k_q[q]
                            phi_k, phi_k_u = phi[group.factor_k, k], phi_u[group.factor_k, k]
                            w = phi_j * phi_k * phi_c[q]
                            w_j, w_k = phi_j_u * phi_k * phi_c[q], phi_j * phi_k_u * phi_c[q]
                            w_c = phi_j * phi_k * phi_c_u[q]
                            for m in range(group.begin, group.end):
                                member = members[m]
                                value = member.norm * a_q[member.angle, q]
                                slope = member.norm * a_x[member.angle, q] * w
                                g_j, g_k = slope * x_j[q] + value * w_j, slope * x_k[q] + value * w_k
                                g_c = slope * x_c[q] + value * w_c
                                for a in range(3):
                                    edge = g_c * (r[a, k] - r[a, j])
                                    dG_dr[j, a, member.related_j] += g_j * r[a, j] - edge
                                    dG_dr[k, a, member.related_k] += g_k * r[a, k] + edge
        for e in range(len(begin) - 1):
            width = n_related[c, e]
            for j in range(begin[e], begin[e + 1]):
                at = first_p[pair[j]]
                for a in range(3):
                    for s in range(width):
                        J[at + a * width + s] = dG_dr[j, a, s]
