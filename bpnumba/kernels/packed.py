"""Pair vectors in the shape that whole vectors of the processor want: one array per component, neighbors by element.

Atoms become entries, sorted by bins along the first axis of the cell, so that what lies close in space lies close in
memory.  The neighbors of an entry are grouped by element, and each group is filled up to whole vectors with entries
that lie far away: loops over neighbors need no remainder.

A half list holds each pair once, at the lower of its two atoms.  Images of atoms are ordered by (shift along axis 0,
entry, shift 1, shift 2).  Lattice translations do not change this order, so each triangle has one lowest corner, and
sees its other two corners from there.

>>> molecule = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
>>> bins = sort_entries(molecule, np.eye(3), [False] * 3, np.zeros(2, np.int64), 1, cutoff=1.5)
>>> packed = find_neighbors([bins], 1, half=True, near=0.0, rooms=Rooms())[0]
>>> packed.count_qe.tolist(), packed.neighbor[:8].tolist(), packed.z[:2].tolist()
([[1], [0]], [1, 2, 2, 2, 2, 2, 2, 2], [1.0, 0.0])
"""

from typing import NamedTuple

import numpy as np

from bpnumba.kernels.chunks import parts_of
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.neighbors import complete_cell, sort_by_bin, sort_into_bins

LANES = 8
"""Groups of neighbors are filled up to multiples of this: doubles in the widest vectors of today's processors."""

FAR = 1e5
"""Angstrom, from a filling entry to any other entry in sight: beyond every cutoff."""

index = np.uintp  # numbers that cannot be negative: Numba then asks no array where its end is, which saves a third

SPHERE = 4.0 / 3.0 * np.pi


class Packed(NamedTuple):
    """Neighbors of every center, grouped by element; centers are the first entries.

    The neighbors of entry q with element e are begin_qe[q, e] ... begin_qe[q, e] + count_qe[q, e] - 1. From there to
    the next multiple of LANES follow filling entries. What else lies between groups has no meaning.
    """

    element_q: np.ndarray  # (n) int64, element index of each entry
    begin_qe: np.ndarray  # (n_centers, n_elements) int64, multiples of LANES
    count_qe: np.ndarray  # (n_centers, n_elements) int64
    neighbor: np.ndarray  # (room) int32, entry of the other atom; n in filling entries
    x: np.ndarray  # (room) float64, begins at a cache line; from center to neighbor
    y: np.ndarray
    z: np.ndarray


class Bins(NamedTuple):
    """Entries of one structure: sorted by bin along axis 0, then element, then bins along axes 1 and 2."""

    order: np.ndarray  # (n), the caller's atom of each entry
    offset_qc: np.ndarray  # (n, 3), brings the atoms into the cell
    element_q: np.ndarray  # (n)
    x: np.ndarray  # (n), positions inside the cell
    y: np.ndarray
    z: np.ndarray
    slab_q: np.ndarray  # (n), bin along axis 0
    low_qc: np.ndarray  # (n, 3), neighbors are in bins from here
    high_qc: np.ndarray  # (n, 3), to here; bin -1 is the last one of the next cell
    starts: np.ndarray  # bin ((k0 n_elements + e) bins1 + k1) bins2 + k2 begins with this entry
    bins: tuple  # number of bins along each axis
    images: tuple  # neighbors are at most so many cells away
    shift_kc: np.ndarray  # lattice vector of each image
    square: float  # of the cutoff
    expected: float  # neighbors of an entry, roughly


# ---- entries --------------------------------------------------------------------------------------------------------


def sort_entries(positions, cell, pbc, element_a, n_elements, cutoff):
    """The `Bins` of one structure.

    Parameters
    ----------
    positions, cell, pbc, cutoff
        As in `kernels.neighbors.neighbor_list`.
    element_a : (n_a) int64
        Element index of every atom.
    n_elements : int
    """
    x_ac = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    periodic = np.array(pbc, dtype=np.bool_)
    cell = complete_cell(cell, periodic)
    grid = sort_into_bins(x_ac, cell, periodic, float(cutoff))
    order, starts = grid.members, grid.starts
    if n_elements > 1:
        key_ac = grid.place_ac.copy()
        key_ac[:, 0] = key_ac[:, 0] * n_elements + element_a
        starts, order = sort_by_bin(key_ac, grid.bins * [n_elements, 1, 1])
    offset_qc, place_qc = (grid.wrap_ac @ cell)[order], grid.place_ac[order]
    low_qc, high_qc = place_qc - grid.reach, place_qc + grid.reach
    for c in np.flatnonzero(~periodic):
        np.clip(low_qc[:, c], 0, None, out=low_qc[:, c])
        np.clip(high_qc[:, c], None, grid.bins[c] - 1, out=high_qc[:, c])
    images = np.where(periodic, (grid.bins - 1 + grid.reach) // grid.bins, 0)
    m0, m1, m2 = (np.arange(-most, most + 1.0)[:, None] for most in images)
    shift_kc = (m0[:, None, None] * cell[0] + m1[:, None] * cell[1] + m2 * cell[2]).reshape(-1, 3)
    # where not periodic, a bin is about cutoff / reach wide
    volume = abs(np.linalg.det(cell)) * np.where(periodic, 1.0 / grid.bins, cutoff / grid.reach).prod()
    in_bin = np.diff(starts).reshape(grid.bins[0], n_elements, -1).sum(axis=1)
    expected = SPHERE * cutoff**3 / volume * (in_bin * in_bin).sum() / max(len(order), 1)
    return Bins(
        order, offset_qc, element_a[order], *(x_ac[order] + offset_qc).T.copy(), place_qc[:, 0].copy(), low_qc, high_qc,
        starts, tuple(grid.bins.tolist()), tuple(images.tolist()), shift_kc, float(cutoff) ** 2, float(expected),
    )  # fmt: skip


# ---- lists ----------------------------------------------------------------------------------------------------------


class Rooms:
    """Arrays for pairs, used again while they are large enough: fresh memory costs more time than the search."""

    def __init__(self):
        self.arrays = {}

    def take(self, name, room, dtype):
        """An array of at least `room` numbers with any content, which begins at a cache line."""
        if name not in self.arrays or len(self.arrays[name]) < room:
            self.arrays.pop(name, None)  # the old one goes before the new one comes
            raw = np.empty(room * np.dtype(dtype).itemsize + 64, np.uint8)
            skipped = -raw.ctypes.data % 64
            self.arrays[name] = raw[skipped : len(raw) - 64 + skipped].view(dtype)
        return self.arrays[name]


def find_neighbors(structures, n_elements, half, near, rooms, needed=(), map=map):
    """Neighbor list of some structures, one after the other.

    Parameters
    ----------
    structures : list of Bins
    n_elements : int
    half : bool
        Each pair once, or all neighbors of each center.
    near : float
        Pairs that are nearer are looked out for, Angstrom; not above the cutoff.
    rooms : Rooms
        Whose arrays are used.
    needed : sequence of int, optional
        What this function returned for a similar list.
    map : callable
        That of a pool of threads, for instance.

    Returns
    -------
    packed : Packed
    code : (room) int32
        Image of each neighbor: row of the table of lattice shifts of all structures, one after the other.
    needed : list of int
        Room that was taken, chunk by chunk.
    any_near : bool
    """
    element_q = np.concatenate([bins.element_q for bins in structures])
    jobs, rooms_needed, origin, first_code = [], [], 0, 0
    for bins in structures:
        parts = parts_of(len(bins.order))
        room = bins.expected * (0.6 if half else 1.2) + 0.6 * LANES * n_elements
        jobs += [(bins, origin, first_code, *part) for part in zip(parts[:-1], parts[1:])]
        rooms_needed += [int(room * n) + 16 * LANES for n in np.diff(parts)]
        origin, first_code = origin + len(bins.order), first_code + len(bins.shift_kc)
    if len(needed) == len(jobs):
        rooms_needed = [int(1.05 * room) + 8 * LANES for room in needed]
    while True:
        limits = np.cumsum([0, *(filled(room) for room in rooms_needed)])
        packed, code = new_packed(element_q, len(element_q), n_elements, limits[-1], rooms)

        def search(k, packed=packed, code=code, limits=limits):
            return find_chunk(*jobs[k], half, near * near, packed, code, limits[k], limits[k + 1])

        found = list(map(search, range(len(jobs))))
        needed = [int(end - begin) for (end, _), begin in zip(found, limits)]
        if all(needed < np.diff(limits)):
            return packed, code, needed, any(is_near for _, is_near in found)
        rooms_needed = [room + LANES for room in needed]


def new_packed(element_q, n_centers, n_elements, room, rooms):
    """An empty list, and an array parallel to its pairs for the caller."""
    shape = n_centers, n_elements
    neighbor, code = (rooms.take(name, room, np.int32) for name in ("neighbor", "code"))
    vectors = (rooms.take(name, room, np.float64) for name in "xyz")
    return Packed(element_q, np.empty(shape, np.int64), np.empty(shape, np.int64), neighbor, *vectors), code


def filled(count):
    """Rounded up to whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@compiled(error_model="numpy")
def find_chunk(bins, origin, first_code, first, last, half, near, packed, code, begin, stop):
    """Neighbors of entries first ... last - 1 of a structure that begins at entry `origin`, into begin ... stop - 1.

    Candidates are written first and kept if they are near, which is faster than a branch. What finds no room is counted
    only. Returns the end of the room that is needed, and whether a pair is nearer than near^(1/2).
    """
    neighbor, xs, ys, zs = packed.neighbor, packed.x, packed.y, packed.z
    n_elements, end, room, any_near = packed.begin_qe.shape[1], begin, stop - 1, False
    n0, n1, n2 = bins.bins
    most0, most1, most2 = bins.images
    for i in range(first, last):
        x, y, z = bins.x[i], bins.y[i], bins.z[i]
        low0, high0 = bins.slab_q[i] if half else bins.low_qc[i, 0], bins.high_qc[i, 0]
        low1, high1, low2, high2 = bins.low_qc[i, 1], bins.high_qc[i, 1], bins.low_qc[i, 2], bins.high_qc[i, 2]
        low_m2, high_m2 = low2 // n2, high2 // n2
        for e in range(n_elements):
            found = end
            for b1 in range(low1, high1 + 1):  # slabs along axis 1: a half list is twice as long there as along axis 0
                m1 = b1 // n1
                for b0 in range(low0, high0 + 1):
                    m0 = b0 // n0
                    row = (((b0 - m0 * n0) * n_elements + e) * n1 + b1 - m1 * n1) * n2
                    for m2 in range(low_m2, high_m2 + 1):  # the bins of a row in one image are contiguous
                        a = bins.starts[row + (low2 - m2 * n2 if m2 == low_m2 else 0)]
                        b = bins.starts[row + (high2 - m2 * n2 + 1 if m2 == high_m2 else n2)]
                        itself = -1
                        if m0 == 0:
                            lowest = i if m1 > 0 or (m1 == 0 and m2 > 0) else i + 1
                            if half and a < lowest:
                                a = lowest
                            if m1 == 0 and m2 == 0:
                                itself = i
                        image = ((m0 + most0) * (2 * most1 + 1) + m1 + most1) * (2 * most2 + 1) + m2 + most2
                        tx, ty, tz = bins.shift_kc[image, 0], bins.shift_kc[image, 1], bins.shift_kc[image, 2]
                        for j in range(index(a), index(b)):
                            # differences before shifts: the reverse pair gets exactly the opposite vector
                            rx, ry, rz = bins.x[j] - x + tx, bins.y[j] - y + ty, bins.z[j] - z + tz
                            square = rx * rx + ry * ry + rz * rz
                            p = index(found if found < room else room)
                            neighbor[p], code[p] = origin + np.int64(j), first_code + image
                            xs[p], ys[p], zs[p] = rx, ry, rz
                            inside = (square < bins.square) & (np.int64(j) != itself)
                            any_near |= inside & (square < near)
                            found += inside
            packed.begin_qe[origin + i, e], packed.count_qe[origin + i, e] = end, found - end
            end = fill(packed, e, found, room)
    return end, any_near


@compiled()
def fill(packed, e, begin, room):
    """Complete a group of element e to whole vectors; returns its end."""
    end = (begin + LANES - 1) // LANES * LANES
    for p in range(begin, end if end < room else room):
        packed.neighbor[p] = len(packed.element_q)
        packed.x[p], packed.y[p], packed.z[p] = FAR * (1 + p - begin), FAR * e, 0.0
    return end


@compiled(error_model="numpy")
def refresh(wide, code, shift_kc, x_qc, cutoff, near, tight, first, last):
    """Pairs of centers first ... last - 1 within a cutoff, out of a wider list, for entries that have moved.

    Parameters
    ----------
    wide : Packed
        Its vectors are not read, and may be those of `tight`.
    code : (room) int32
        Image of each neighbor.
    shift_kc : (n_codes, 3)
        Lattice vector of each code.
    x_qc : (n, 3)
        Positions of entries in the cell where `wide` was made.
    cutoff, near : float
        Angstrom; `near` is not above the cutoff.
    tight : Packed
        Is overwritten, from the place of the first group in `wide`.
    first, last : int

    Returns
    -------
    any_near : bool
        Whether a pair is nearer than `near`.
    """
    neighbor, xs, ys, zs = tight.neighbor, tight.x, tight.y, tight.z
    end, any_near = wide.begin_qe[first, 0] if last > first else 0, False
    for i in range(first, last):
        x, y, z = x_qc[i, 0], x_qc[i, 1], x_qc[i, 2]
        for e in range(wide.begin_qe.shape[1]):
            begin, found = wide.begin_qe[i, e], end
            for q in range(index(begin), index(begin + wide.count_qe[i, e])):
                j, image, p = index(wide.neighbor[q]), index(code[q]), index(found)
                rx = x_qc[j, 0] - x + shift_kc[image, 0]
                ry = x_qc[j, 1] - y + shift_kc[image, 1]
                rz = x_qc[j, 2] - z + shift_kc[image, 2]
                square = rx * rx + ry * ry + rz * rz
                neighbor[p], xs[p], ys[p], zs[p] = wide.neighbor[q], rx, ry, rz
                any_near |= square < near * near
                found += square < cutoff * cutoff
            tight.begin_qe[i, e], tight.count_qe[i, e] = end, found - end
            end = fill(tight, e, found, len(tight.neighbor))
    return any_near


def pack(pairs, element_a, n_elements, half):
    """A plain full list in packed form; atoms are entries in the caller's order.

    Half: pair (i, j, shift) is kept if (shift 0, j, shift 1, shift 2) > (0, i, 0, 0). Atoms that are no centers
    (ghosts) are higher than all centers.

    Parameters
    ----------
    pairs : NamedTuple or dataclass
        With first_a, j_p, shift_pc and r_pc, as `bpnumba.pairs.Pairs`.
    element_a : (n_atoms) int64
    n_elements : int
    half : bool

    Returns
    -------
    packed : Packed
    pair : (room) int64
        Number of each pair in the plain list; -1 in filling entries.
    """
    n_centers = len(pairs.first_a) - 1
    room = len(pairs.j_p) + n_centers * n_elements * (LANES - 1)
    packed, _ = new_packed(element_a, n_centers, n_elements, room, Rooms())
    pair = np.full(room, -1)
    end = pack_pairs(pairs.first_a, pairs.j_p, pairs.shift_pc, pairs.r_pc, half, packed, pair)
    return Packed(*packed[:3], *(array[:end] for array in packed[3:])), pair[:end]


@compiled()
def pack_pairs(first_a, j_p, shift_pc, r_pc, half, packed, pair):
    """The loop of `pack`; returns the room that is taken."""
    end, n_centers = 0, len(first_a) - 1
    for i in range(n_centers):
        for e in range(packed.begin_qe.shape[1]):
            found = end
            for p in range(first_a[i], first_a[i + 1]):
                j = j_p[p]
                if packed.element_q[j] != e:
                    continue
                if half and j < n_centers:
                    m0, m1, m2 = shift_pc[p, 0], shift_pc[p, 1], shift_pc[p, 2]
                    if not (m0 > 0 or (m0 == 0 and (j > i or (j == i and (m1 > 0 or (m1 == 0 and m2 > 0)))))):
                        continue
                packed.neighbor[found], pair[found] = j, p
                packed.x[found], packed.y[found], packed.z[found] = r_pc[p, 0], r_pc[p, 1], r_pc[p, 2]
                found += 1
            packed.begin_qe[i, e], packed.count_qe[i, e] = end, found - end
            end = fill(packed, e, found, len(packed.neighbor))
    return end
