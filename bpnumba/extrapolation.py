"""Where a potential leaves what its training data show: values of symmetry functions outside of their range there.

Comes in: values G of a batch, and scalings, which remember the range of every function in training.  Goes out: a table
`EVENT` with one row per value outside, and words for the farthest of them.  A value inside is no proof that an
environment is known, but one outside is a proof that it is not.

>>> from ase import Atoms
>>> from bpnumba.pairs import Pairs
>>> from bpnumba.scaling import Scaling
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["H"], r_cut=5.0, g2_params=[[0.5, 0.0]])
>>> def described(*z):
...     return functions.describe(Pairs.from_atoms(Atoms(f"H{len(z)}", [[0, 0, x] for x in z]), functions.cutoff))
>>> scaling = Scaling.from_values(described(0.0, 0.8, 1.7).values[0])
>>> events = outside(described(0.0, 0.7), [scaling], functions.species)
>>> len(events), named(events[0], functions)
(2, 'atom 0 (H): G2 of H with H: eta 0.5, rs 0, rc 5, poly2 is 0.765485, 0.056 below the range 0.821742 to 1.34091')
"""

import numpy as np

from bpnumba.functions import label

__all__ = ["EVENT", "ExtrapolationError", "ExtrapolationWarning", "farthest", "message", "named", "outside"]

EVENT = np.dtype(
    [
        ("structure", np.int64),  # of the batch
        ("atom", np.int64),  # row in the arrays of the batch
        ("element", "U2"),
        ("function", np.int64),  # column of G of this element
        ("value", np.float64),
        ("minimum", np.float64),
        ("maximum", np.float64),  # in the training data
    ]
)

SMALLEST = 1000 * np.finfo(float).eps
"""What n2p2 allows beyond a range, "to avoid fake warnings at the boundaries" (libnnp, Element.cpp)."""

ROUNDING = 1e-10
"""More than a part of a value that a sum over neighbors in another order can change."""


class ExtrapolationWarning(UserWarning):
    """Symmetry functions are outside of the range that they have in the training data."""


class ExtrapolationError(ValueError):
    """The same, where it was asked for an error."""


def outside(descriptors, scalings, species):
    """Values that lie outside of their range in training.

    Parameters
    ----------
    descriptors : Descriptors
    scalings : sequence of Scaling
        One per species.
    species : sequence of str

    Returns
    -------
    structured array of EVENT
        Sorted by atom and function; usually empty, and then cheap.
    """
    parts = [np.zeros(0, EVENT)]
    for atoms, G, scaling, symbol in zip(descriptors.layout.atoms_e, descriptors.values, scalings, species):
        minimum, maximum = scaling.minimum_s, scaling.maximum_s
        tolerance = np.maximum(SMALLEST, ROUNDING * np.maximum(np.abs(minimum), np.abs(maximum)))
        beyond = (G < minimum - tolerance) | (G > maximum + tolerance)
        if beyond.any():
            rows, columns = np.nonzero(beyond)
            events = np.empty(len(rows), EVENT)
            events["structure"], events["atom"] = descriptors.pairs.structure_a[atoms[rows]], atoms[rows]
            events["element"], events["function"], events["value"] = symbol, columns, G[rows, columns]
            events["minimum"], events["maximum"] = minimum[columns], maximum[columns]
            parts.append(events)
    events = np.concatenate(parts)
    return events.take(np.argsort(events["atom"], kind="stable"))


def farthest(events, n=3):
    """Of the n atoms farthest outside one value each: in parts of the range, and infinitely far if it has no width."""
    distance, width = distances(events), events["maximum"] - events["minimum"]
    part = np.divide(distance, width, out=np.full(len(events), np.inf), where=width > 0.0)
    ordered = events[np.lexsort((-distance, -part))]
    _, first = np.unique(ordered["atom"], return_index=True)
    return ordered[np.sort(first)[:n]]


def distances(events):
    """How far from the range, in units of the function."""
    return np.maximum(events["minimum"] - events["value"], events["value"] - events["maximum"])


def named(event, functions, first=0, frame=""):
    """One event in words: atom, element, function, value and range.

    Parameters
    ----------
    event : row of EVENT
    functions : SymmetryFunctions
    first : int
        Row of the first atom of its structure: messages count atoms within the structure.
    frame : str
        What to call the structure, where there are several.
    """
    symbol, side = event["element"], "above" if event["value"] > event["maximum"] else "below"
    return (
        f"atom {event['atom'] - first} ({symbol}){f' of {frame}' if frame else ''}: "
        f"{label(functions.functions_of(symbol)[event['function']])} is {event['value']:.6g}, "
        f"{distances(event):.2g} {side} the range {event['minimum']:.6g} to {event['maximum']:.6g}"
    )


def message(events, functions):
    """What to tell of the events of one structure: how many, the farthest of them, and what to do."""
    n_values, n_atoms = len(events), len(np.unique(events["atom"]))
    words = "; ".join(named(event, functions) for event in farthest(events))
    return (
        f"outside the range of the training data: {n_values} value{'s' * (n_values > 1)} of symmetry functions on "
        f"{n_atoms} atom{'s' * (n_atoms > 1)}, farthest {words}. The potential has not seen such environments, and its "
        "errors there are likely large: add such structures to the training data. "
        'on_extrapolation="ignore" accepts them silently'
    )
