"""Chunks of centers, for threads: each has sums of its own, which are added in the order of the chunks.

>>> parts_of(1000)
[0, 333, 666, 1000]
"""

from typing import NamedTuple

import numpy as np

from bpnumba.kernels.compiling import compiled

ENTRIES_PER_CHUNK, MOST_CHUNKS = 256, 64
"""The number of chunks depends on the number of atoms alone: sums over chunks have the same bits for any threads."""


class Chunk(NamedTuple):
    """Consecutive centers, and the entries that their pairs touch: start ... start + rows - 1 modulo n."""

    first: int
    last: int
    start: int
    rows: int

    def arcs(self, n):
        """The entries as slices."""
        end = self.start + self.rows
        return slice(self.start, min(end, n)), slice(0, max(end - n, 0))


def parts_of(n):
    """Where chunks of n entries begin and end: (n_chunks + 1)."""
    chunks = max(1, min(MOST_CHUNKS, n // ENTRIES_PER_CHUNK))
    return [n * c // chunks for c in range(chunks + 1)]


def chunks_of(packed, parts=None):
    """The `Chunk` of each part: `parts_of(n_centers)`, or where other parts begin and end.

    As entries are sorted, a chunk of a large system touches a slab.
    """
    n, n_centers = len(packed.element_q), len(packed.begin_qe)
    parts = parts_of(n_centers) if parts is None else parts
    chunks = []
    for first, last in zip(parts[:-1], parts[1:]):
        start, rows = 0, n
        if len(parts) > 2 and last > first:
            touched = np.zeros(n, np.bool_)
            touch(packed, touched, first, last)
            start, rows = shortest_arc(touched)
        chunks.append(Chunk(first, last, start, rows))
    return tuple(chunks)


@compiled()
def touch(packed, touched, first, last):
    """Mark the entries first ... last - 1 and all of their neighbors."""
    for i in range(first, last):
        touched[i] = True
        for e in range(packed.begin_qe.shape[1]):
            begin = packed.begin_qe[i, e]
            for p in range(begin, begin + packed.count_qe[i, e]):
                touched[packed.neighbor[p]] = True


def shortest_arc(touched):
    """The shortest range of a circle that holds all that is touched: start, length."""
    inside, n = np.flatnonzero(touched), len(touched)
    gaps = np.diff(inside, append=inside[0] + n)
    widest = gaps.argmax()
    return int(inside[(widest + 1) % len(inside)]), int(n - gaps[widest] + 1)
