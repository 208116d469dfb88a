"""Positions and a cell come in, the full list of pair vectors goes out.

Atoms are sorted into bins of half a cutoff, so the list takes time and memory in proportion to the atoms. Bins repeat
with the cell, and a search walks as many images as the cutoff reaches: a thin cell is no special case.

>>> chain = [[3.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
>>> i_p, j_p, shift_pc, r_pc = neighbor_list([[0.0, 0.0, 0.0]], chain, [True, False, False], cutoff=4.0)
>>> shift_pc.tolist()
[[-1, 0, 0], [1, 0, 0]]
>>> r_pc.tolist()
[[-3.0, 0.0, 0.0], [3.0, 0.0, 0.0]]
"""

from typing import NamedTuple

import numpy as np

from bpnumba.kernels.compiling import compiled

BINS_PER_CUTOFF = 2  # 1 is 10 % faster for many atoms, but twice slower for a cell of 64
BINS_PER_ATOM = 8  # at most: in sparse systems bins grow, memory does not
ROUNDING = 1e-10  # of the largest fractional coordinate, far above its error; searches reach farther by this


class Grid(NamedTuple):
    """Atoms sorted by bin, for one cell (shape (3): one entry per cell vector)."""

    periodic: np.ndarray  # (3)
    bins: np.ndarray  # (3), number of bins
    reach: np.ndarray  # (3), neighbors are at most so many bins away
    place_ac: np.ndarray  # (n_a, 3), bin of each atom
    starts: np.ndarray  # bin b = (k0 bins1 + k1) bins2 + k2 is entries starts[b] ... starts[b + 1] - 1
    members: np.ndarray  # (n_a), atoms in the order of their bins
    x_qc: np.ndarray  # (n_a, 3), their positions inside the cell
    wrap_ac: np.ndarray  # (n_a, 3), shifts that bring the atoms into the cell


class Near(NamedTuple):
    """The centers that see one atom: room for the answer of `find_centers`."""

    i_n: np.ndarray
    shift_nc: np.ndarray
    r_nc: np.ndarray


def neighbor_list(positions, cell, pbc, cutoff):
    """All ordered pairs with |r| < cutoff, where r = x_j + shift . cell - x_i.

    The list is full: it holds a pair in both directions, with exactly opposite vectors. Images of an atom are neighbors
    like any other atom. Pairs are sorted by i, then j, then shift (lexicographically). Only an atom itself is left out:
    two atoms at one place are a pair with r = 0, which the caller may refuse.

    Parameters
    ----------
    positions : (n_a, 3) array_like
        Finite, Angstrom. Atoms may lie outside the cell; shifts refer to positions as given.
    cell : (3, 3) array_like
        Rows are cell vectors, Angstrom. Periodic ones must be linearly independent, others are not read.
    pbc : (3) array_like of bool
        Which cell vectors are periods.
    cutoff : float
        Angstrom, above 0.

    Returns
    -------
    i_p, j_p : (n_p) int32
        Center and neighbor.
    shift_pc : (n_p, 3) int32
        Multiples of the cell vectors; 0 where not periodic.
    r_pc : (n_p, 3) float64
        From center to neighbor, Angstrom.
    """
    x_ac = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    periodic = np.array(pbc, dtype=np.bool_)
    cell = complete_cell(cell, periodic)
    grid = sort_into_bins(x_ac, cell, periodic, float(cutoff))
    return list_pairs(grid, cell, float(cutoff))


def complete_cell(cell, periodic):
    """Copy of the cell in which vectors that are no periods are unit vectors, normal to all others."""
    cell = np.array(cell, dtype=np.float64, order="C")
    if not periodic.all():
        axes = np.linalg.qr(cell[periodic].T, mode="complete").Q
        cell[~periodic] = axes[:, periodic.sum() :].T
    return cell


def sort_into_bins(x_ac, cell, periodic, cutoff):
    """The `Grid` of atoms at x_ac: wrapped where periodic, spanned by the atoms elsewhere."""
    inverse = np.linalg.inv(cell)
    fraction = x_ac @ inverse
    # 1 / |column c of the inverse| is the height of the cell along c: fractions of neighbors differ by less than this
    width = cutoff * np.sqrt((inverse * inverse).sum(axis=0)) + ROUNDING * np.abs(fraction).max(axis=0, initial=1.0)
    wrap = np.where(periodic, -np.floor(fraction), 0.0)
    fraction += wrap
    span = np.ones(3)
    for c in np.flatnonzero(~periodic):
        close_gaps(fraction[:, c], width[c])
        span[c] = fraction[:, c].max(initial=width[c])

    bins = np.maximum(np.floor(BINS_PER_CUTOFF * span / width), 1.0)
    while bins.prod() > BINS_PER_ATOM * (len(x_ac) + 8):
        bins[bins.argmax()] = np.ceil(bins.max() / 2)
    place = np.minimum(fraction * (bins / span), bins - 1).astype(np.int64)
    reach = np.ceil(bins / span * width).astype(np.int64)
    bins = bins.astype(np.int64)
    starts, members = sort_by_bin(place, bins)
    return Grid(periodic, bins, reach, place, starts, members, (x_ac + wrap @ cell)[members], wrap.astype(np.int64))


def close_gaps(x, width):
    """Shift coordinates, in place, to begin at 0, and shorten gaps to `width`: far fragments need no bins between."""
    order = np.argsort(x, kind="stable")
    gaps = np.diff(x[order], prepend=x[order[:1]])
    x[order] = np.cumsum(np.minimum(gaps, width))


def sort_by_bin(place_ac, bins):
    """Where each bin starts, and the atoms in the order of their bins (NumPy's sort needs no compilation)."""
    bin_a = (place_ac[:, 0] * bins[1] + place_ac[:, 1]) * bins[2] + place_ac[:, 2]
    starts = np.concatenate([[0], np.cumsum(np.bincount(bin_a, minlength=bins.prod()))])
    return starts, np.argsort(bin_a, kind="stable")


@compiled()
def list_pairs(grid, cell, cutoff):
    """Count, then fill. Atoms enter the lists of their neighbors in ascending order, so no list needs sorting."""
    n = len(grid.members)
    first_a = np.zeros(n + 1, np.int64)
    one = Near(np.empty(1, np.int64), np.empty((1, 3), np.int64), np.empty((1, 3)))
    most = 1
    for q in range(n):
        found = find_centers(q, grid, cell, cutoff, one)  # itself included
        first_a[grid.members[q] + 1] = found - 1  # the list is symmetric: q sees as many as see it
        most = max(most, found)
    first_a = np.cumsum(first_a)

    n_p = first_a[n]
    i_p, j_p = np.empty(n_p, np.int32), np.empty(n_p, np.int32)
    shift_pc, r_pc = np.empty((n_p, 3), np.int32), np.empty((n_p, 3))
    near = Near(np.empty(most + 1, np.int64), np.empty((most + 1, 3), np.int64), np.empty((most + 1, 3)))
    entry_a = np.empty(n, np.int64)
    for q in range(n):
        entry_a[grid.members[q]] = q
    for i in range(n):
        i_p[first_a[i] : first_a[i + 1]] = i
    end_a = first_a.copy()
    for j in range(n):
        for m in range(find_centers(entry_a[j], grid, cell, cutoff, near)):
            i, shift = near.i_n[m], near.shift_nc[m]
            if i == j and shift[0] == 0 and shift[1] == 0 and shift[2] == 0:
                continue
            p = end_a[i]
            end_a[i] += 1
            j_p[p] = j
            for c in range(3):
                shift_pc[p, c] = shift[c] + grid.wrap_ac[j, c] - grid.wrap_ac[i, c]
                r_pc[p, c] = near.r_nc[m, c]
    return i_p, j_p, shift_pc, r_pc


@compiled()
def find_centers(q, grid, cell, cutoff, near):
    """Centers that see entry q of the grid, itself included, in ascending order of the shift; returns how many.

    The last place of `near` is scratch: candidates are written first and kept if they are near, which is faster than a
    branch. What finds no room is counted only.
    """
    n1, n2 = grid.bins[1], grid.bins[2]
    x, y, z = grid.x_qc[q]
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for c in range(3):
        place = grid.place_ac[grid.members[q], c]
        low[c], high[c] = place - grid.reach[c], place + grid.reach[c]
        if not grid.periodic[c]:
            low[c], high[c] = max(low[c], 0), min(high[c], grid.bins[c] - 1)

    found, room = 0, len(near.i_n) - 1
    for b0 in range(high[0], low[0] - 1, -1):  # centers in image m see q shifted by -m: downwards
        m0, k0 = divmod(b0, grid.bins[0])
        for b1 in range(high[1], low[1] - 1, -1):
            m1, k1 = divmod(b1, n1)
            row = (k0 * n1 + k1) * n2
            for m2 in range(high[2] // n2, low[2] // n2 - 1, -1):  # the bins of a row in one image are contiguous
                begin = grid.starts[row + max(low[2] - m2 * n2, 0)]
                end = grid.starts[row + min(high[2] - m2 * n2, n2 - 1) + 1]
                tx = m0 * cell[0, 0] + m1 * cell[1, 0] + m2 * cell[2, 0]
                ty = m0 * cell[0, 1] + m1 * cell[1, 1] + m2 * cell[2, 1]
                tz = m0 * cell[0, 2] + m1 * cell[1, 2] + m2 * cell[2, 2]
                before = found
                for p in range(begin, end):
                    # differences before shifts: the reverse pair gets exactly the opposite vector
                    rx, ry, rz = x - grid.x_qc[p, 0] - tx, y - grid.x_qc[p, 1] - ty, z - grid.x_qc[p, 2] - tz
                    near.i_n[min(found, room)] = p
                    found += rx * rx + ry * ry + rz * rz < cutoff * cutoff
                for n in range(before, min(found, room)):
                    p = near.i_n[n]
                    near.i_n[n] = grid.members[p]
                    near.shift_nc[n, 0], near.shift_nc[n, 1], near.shift_nc[n, 2] = -m0, -m1, -m2
                    near.r_nc[n, 0] = x - grid.x_qc[p, 0] - tx
                    near.r_nc[n, 1] = y - grid.x_qc[p, 1] - ty
                    near.r_nc[n, 2] = z - grid.x_qc[p, 2] - tz
    return found
