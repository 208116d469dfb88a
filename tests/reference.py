"""The theory in plain Python: slow, short, and without a line in common with the library.

Tests compare the library with these functions; readers can learn from them.
"""

import itertools
import math


def neighbors(positions, cell, pbc, cutoff):
    """All (i, j, shift, r) with |r| < cutoff, where r = x_j + shift . cell - x_i, in ascending order of (i, j, shift).

    How far must shifts go? With every step along a cell vector, an image moves by one height of the cell along the
    normal of the other vectors. Once this alone exceeds the cutoff plus the extent of the structure, none can be near.
    """
    extent = max((math.dist(x, y) for x in positions for y in positions), default=0.0)
    steps = [math.ceil((cutoff + extent) / height(cell, pbc, c)) if pbc[c] else 0 for c in range(3)]
    shifts = list(itertools.product(*(range(-n, n + 1) for n in steps)))

    found = []
    for i, x_i in enumerate(positions):
        for j, x_j in enumerate(positions):
            for shift in shifts:
                r = [x_j[c] - x_i[c] + sum(shift[d] * cell[d][c] for d in range(3) if pbc[d]) for c in range(3)]
                itself = i == j and shift == (0, 0, 0)
                if math.hypot(*r) < cutoff and not itself:
                    found.append((i, j, shift, r))
    return found


def height(cell, pbc, c):
    """Length of cell vector c without its parts along the other periodic vectors (Gram-Schmidt)."""
    others = [cell[d] for d in range(3) if pbc[d] and d != c]
    basis = []
    for vector in [*others, cell[c]]:
        for unit in basis:
            along = sum(v * u for v, u in zip(vector, unit, strict=True))
            vector = [v - along * u for v, u in zip(vector, unit, strict=True)]
        length = math.hypot(*vector)
        basis.append([v / length for v in vector])
    return length
