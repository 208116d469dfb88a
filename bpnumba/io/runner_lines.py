"""Lines in files of RuNNer and n2p2, both directions side by side: symmetry functions, letters, connections.

>>> row = function_row("Si 2 Si 0.1 0.0 6.0".split(), "cosine", 0.0)
>>> function_words(np.array([row], FUNCTION)[0])
['Si', '2', 'Si', '0.1', '0.0', '6.0']

A set of functions has two orders.  Lines in ``input.nn`` may stand anyhow; ``scaling.data`` and the first layer of the
networks count them in the order of `file_order`.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from ase.data import chemical_symbols

from bpnumba.functions import checked_row
from bpnumba.io.text import number
from bpnumba.kernels.table import FUNCTION

__all__ = ["ACTIVATION_LETTERS", "CUTOFF_TYPES", "TYPES", "connections", "file_order", "function_row", "function_words",
           "with_unit"]  # fmt: skip


class Type(NamedTuple):
    """A type of symmetry function: its kind here, the columns of FUNCTION in a line, and those to sort by."""

    kind: str
    columns: str
    order: str


TYPES = {
    2: Type("G2", "first eta rs rc", "rc eta rs first"),
    3: Type("G4", "first second eta lam zeta rc rs", "rc eta rs zeta lam first second"),
    9: Type("G5", "first second eta lam zeta rc rs", "rc eta rs zeta lam first second"),
    12: Type("WG2", "eta rs rc", "rc eta rs"),
    13: Type("WG4", "eta rs lam zeta rc", "rc eta rs zeta lam"),
    20: Type("C2", "first rl rc cutoff", "cutoff first rc rl"),
    21: Type("C4", "first second rl rc left right cutoff", "cutoff first second rc rl left right"),
    22: Type("C5", "first second rl rc left right cutoff", "cutoff first second rc rl left right"),
    23: Type("WC2", "rl rc cutoff", "cutoff rc rl"),
    24: Type("WC4", "rl rc left right cutoff", "cutoff rc rl left right"),
    25: Type("WC5", "rl rc left right cutoff", "cutoff rc rl left right"),
}
NUMBERS = {type.kind: number for number, type in TYPES.items()}
OPTIONAL = {3: 1, 9: 1}  # words that may be left out at the end

SHAPES = {"exp": "e"} | {f"poly{n}{a}": f"p{n}{a}" for n in "1234" for a in ("", "a")}
SHAPES_BY_NAME = {letter: shape for shape, letter in SHAPES.items()}

CUTOFF_TYPES = ("hard", "cosine", "tanh", "tanh_normalized", "exp", "poly1", "poly2", "poly3", "poly4")
"""Cutoff functions by their number."""

ACTIVATION_LETTERS = {"l": "identity", "t": "tanh", "s": "logistic", "p": "softplus", "r": "relu", "g": "gaussian",
                      "c": "cosine", "S": "reverse_logistic", "e": "exponential", "h": "harmonic"}  # fmt: skip


# ---- symmetry functions ----------------------------------------------------------------------------------------------


def function_row(words, cutoff, alpha):
    """One checked row of FUNCTION, in the units of the file.

    Parameters
    ----------
    words : list of str
        Of a line, behind ``symfunction_short``.
    cutoff : str
        Name of the cutoff function of all functions that are not compact.
    alpha : float
        Its inner radius as a part of rc.
    """
    if len(words) < 2 or words[1] not in map(str, TYPES):
        known = ", ".join(map(str, TYPES))
        found = " ".join(words[:2])
        raise ValueError(f"expected an element and a type of symmetry function ({known}), found {found!r}")
    center, code, *rest = words
    kind, columns, _ = TYPES[int(code)]
    columns = columns.split()
    if not len(columns) - OPTIONAL.get(int(code), 0) <= len(rest) <= len(columns):
        wanted = " ".join({"lam": "lambda", "cutoff": "subtype"}.get(name, name) for name in columns)
        raise ValueError(f"type {code} takes {len(columns)} values ({wanted}), found {len(rest)}")
    given = dict(zip(columns, rest))
    neighbors = (given.pop("first", None), given.pop("second", None))
    if "cutoff" in given:
        shape = given.pop("cutoff")
        if shape not in SHAPES_BY_NAME:
            raise ValueError(f"no subtype {shape!r}; there are {', '.join(SHAPES_BY_NAME)}")
        return checked_row(kind, center, *neighbors, cutoff=SHAPES_BY_NAME[shape], **_numbers(given))
    return checked_row(kind, center, *neighbors, cutoff=cutoff, alpha=alpha, **({"rs": 0.0} | _numbers(given)))


def _numbers(words):
    return {name: number(word) for name, word in words.items()}


def function_words(row):
    """The words of a line from a row of FUNCTION in the units of the file; numbers keep all their digits."""
    code = NUMBERS[row["kind"]]
    shown = {name: repr(float(row[name])) for name in FUNCTION.names if FUNCTION[name].kind == "f"}
    shown |= {name: chemical_symbols[row[name]] for name in ("center", "first", "second")}
    shown["cutoff"] = SHAPES.get(row["cutoff"])
    return [shown["center"], str(code), *(shown[name] for name in TYPES[code].columns.split())]


def with_unit(rows, length):
    """Rows with lengths in another unit; `length` is the old unit in the new one."""
    rows = rows.copy()
    for name in ("rs", "rc", "rl"):
        rows[name] *= length
    rows["eta"] /= length**2
    return rows


def file_order(rows):
    """Places of the functions of one element in the order of ``scaling.data`` and of the networks' inputs.

    Rows are in the units of the file: a factor may round two different numbers to one.
    """

    def key(s):
        code = NUMBERS[rows["kind"][s]]
        return code, *(SHAPES[rows[name][s]] if name == "cutoff" else rows[name][s]
                       for name in TYPES[code].order.split())  # fmt: skip

    return np.array(sorted(range(len(rows)), key=key))


# ---- networks --------------------------------------------------------------------------------------------------------


def connections(sizes):
    """Columns 2 to 7 of ``weights.ZZZ.data``, line by line: the order of theta in `bpnumba.network`."""
    index = 0
    for layer, (n_in, n_out) in enumerate(pairwise(sizes), 1):
        for source in range(1, n_in + 1):
            for target in range(1, n_out + 1):
                index += 1
                yield "a", index, layer - 1, source, layer, target
        for target in range(1, n_out + 1):
            index += 1
            yield "b", index, layer, target
