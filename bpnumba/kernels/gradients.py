"""Gradients and tangents of packed pair vectors, a block of centers at a time, so that they stay in the cache.

`scatter` is the transpose of `gather`: with g = dE/dr of every pair, F_i += g, F_j -= g and W += g (outer) r; and
r_dot = x_dot_j - x_dot_i + strain_dot . r.  A full list has every pair twice, and both count.

The pairs of a block lie one after the other.  Arrays of its vectors begin with the first pair of its first center.
"""

from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.packed import LANES

BLOCK = 16
"""Centers whose pair vectors are kept at a time: about 30 kB."""


@compiled()
def rooms_of(packed, rows_ce, fixed_c, first, last):
    """Numbers that the centers first ... last - 1 need at a time: of scratch, and for each component of a block.

    `rows_ce` are the rows of scratch per neighbor, for elements of center and neighbor; `fixed_c` comes on top.
    """
    most, longest, start = 0, 0, first
    for i in range(first, last):
        needed, end = fixed_c[packed.element_q[i]], 0
        for e in range(packed.begin_qe.shape[1]):
            filled = (packed.count_qe[i, e] + (LANES - 1)) & -LANES
            needed += filled * rows_ce[packed.element_q[i], e]
            end = max(end, packed.begin_qe[i, e] + filled)
        if i - start == BLOCK:
            start = i
        most, longest = max(most, needed), max(longest, end - packed.begin_qe[start, 0])
    return most, longest


@compiled(error_model="numpy")
def scatter(packed, dE_dr, first, last, structure_q, forces_qc, virial_mcc):
    """Add forces and virial of the pairs of centers first ... last - 1, a block; filling entries are not read."""
    origin = packed.begin_qe[first, 0]
    for i in range(first, last):
        fx = fy = fz = xx = xy = xz = yx = yy = yz = zx = zy = zz = 0.0
        for e in range(packed.begin_qe.shape[1]):
            begin = packed.begin_qe[i, e]
            for p in range(begin, begin + packed.count_qe[i, e]):
                j, gx, gy, gz = packed.neighbor[p], dE_dr[0][p - origin], dE_dr[1][p - origin], dE_dr[2][p - origin]
                forces_qc[j, 0] -= gx
                forces_qc[j, 1] -= gy
                forces_qc[j, 2] -= gz
                fx, fy, fz = fx + gx, fy + gy, fz + gz
                x, y, z = packed.x[p], packed.y[p], packed.z[p]
                xx, xy, xz = xx + gx * x, xy + gx * y, xz + gx * z
                yx, yy, yz = yx + gy * x, yy + gy * y, yz + gy * z
                zx, zy, zz = zx + gz * x, zy + gz * y, zz + gz * z
        virial_cc = virial_mcc[structure_q[i]]
        for a, (f, ax, ay, az) in enumerate(((fx, xx, xy, xz), (fy, yx, yy, yz), (fz, zx, zy, zz))):
            forces_qc[i, a] += f
            virial_cc[a, 0] += ax
            virial_cc[a, 1] += ay
            virial_cc[a, 2] += az


@compiled(error_model="numpy")
def gather(packed, r_dot, first, last, structure_q, x_dot_qc, strain_dot_mcc):
    """Tangents of the pairs of centers first ... last - 1, a block; 0 in filling entries."""
    origin = packed.begin_qe[first, 0]
    for i in range(first, last):
        strain_dot = strain_dot_mcc[structure_q[i]]
        for e in range(packed.begin_qe.shape[1]):
            begin = packed.begin_qe[i, e]
            end = begin + packed.count_qe[i, e]
            for a in range(3):
                to_x, to_y, to_z, of_i = strain_dot[a, 0], strain_dot[a, 1], strain_dot[a, 2], x_dot_qc[i, a]
                for p in range(begin, end):
                    strained = to_x * packed.x[p] + to_y * packed.y[p] + to_z * packed.z[p]
                    r_dot[a][p - origin] = x_dot_qc[packed.neighbor[p], a] - of_i + strained
                for p in range(end, (end + LANES - 1) // LANES * LANES):
                    r_dot[a][p - origin] = 0.0
