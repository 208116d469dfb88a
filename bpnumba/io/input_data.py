"""Structures in files of RuNNer and n2p2, usually called ``input.data``.

Comes in: such a file, whose units one has to know, because it does not tell them.  Goes out: Atoms in Angstrom and eV,
or an error that names file and line; and the way back.

>>> import pathlib, tempfile
>>> from ase import Atoms
>>> path = pathlib.Path(tempfile.mkdtemp(), "input.data")
>>> water = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
>>> water.info["REF_energy"], water.arrays["REF_forces"] = -14.2, [[0.1, 0.2, 0.0], [0.0, -0.2, 0.0], [-0.1, 0, 0]]
>>> write_structures(path, [water], units="metal")
>>> print(path.read_text())
begin
atom 0.0 0.0 0.0 O 0.0 0.0 0.1 0.2 0.0
atom 0.96 0.0 0.0 H 0.0 0.0 0.0 -0.2 0.0
atom -0.24 0.93 0.0 H 0.0 0.0 -0.1 0.0 0.0
energy -14.2
charge 0.0
end
<BLANKLINE>
>>> read_structures(path, units="metal")[0].info["REF_energy"]
-14.2

Notes
-----
Between ``begin`` and ``end`` stand, in any order, three lines ``lattice`` (the rows of the cell) or none, any number of
lines ``comment``, one of ``energy`` and ``charge`` each, and per atom position, element, charge, a number that nobody
reads, and forces.  n2p2 writes ``begin set=train`` and ``begin set=test`` for structures to train on and to test with.
"""

import gzip
import io
import os
import re
import warnings
import zlib

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.io.formats import open_with_compression

from bpnumba.io.keys import DEFAULT_KEYS, stored_in
from bpnumba.io.text import number, write_lines
from bpnumba.units import of_files

__all__ = ["read_structures", "write_structures"]

NUMBERS = {"lattice": 3, "atom": 9, "energy": 1, "charge": 1}  # words behind a keyword
MOST = {"lattice": 3, "energy": 1, "charge": 1}  # lines in one structure
SETS = ("train", "test")
FLAT = 1e-8  # volume of a cell as a part of that with right angles; real cells have far more
LABELS = DEFAULT_KEYS.names()
WRITTEN = {"numbers", "positions", "comment", "set", "charge", "REF_charges", "initial_charges", "charges",
           *LABELS["energy"], *LABELS["forces"]}  # fmt: skip


def read_structures(path, units="atomic"):
    """All structures of a file.

    Parameters
    ----------
    path : str
        May end in ``.gz``.
    units : str
        "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).

    Returns
    -------
    frames : list of ase.Atoms
        Periodic where there is a lattice.  ``arrays`` hold ``REF_forces`` (eV/Angstrom) and ``REF_charges`` (e);
        ``info`` holds, where the file has it, ``REF_energy`` (eV), ``charge`` (e), ``comment`` (lines joined by a
        newline), and ``set`` ("train" or "test").

    Raises
    ------
    ValueError
        Names the line that is wrong.
    OSError
        The file is absent or may not be read.
    """
    length, energy = of_files(units)
    frames, entries, number = [], None, 1
    for number, line in enumerate(_lines(path), 1):
        try:
            keyword, *words = line.partition("#")[0].split() or [None]
            if keyword is None:
                continue
            if entries is None:
                entries = _begin(keyword, words, number)
            elif keyword == "comment":  # may have a '#' of its own
                entries["comment"].append(line.strip().removeprefix("comment").strip())
            elif keyword == "end" and not words:
                frames.append(_atoms(entries, length, energy))
                entries = None
            else:
                _add(entries, keyword, words)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if entries is not None:
        raise ValueError(f"{path}, line {number}: 'end' of the structure that begins in line {entries['line']} is "
                         "missing; is the file complete?")  # fmt: skip
    if not frames:
        raise ValueError(f"{path}, line {number}: the file ends without a structure, expected 'begin'")
    return frames


def write_structures(path, frames, units="atomic"):
    """Write structures, completely or not at all; numbers keep all their digits.

    Parameters
    ----------
    path : str
        May end in ``.gz``.
    frames : list of ase.Atoms
        With energy and forces under the names `LABELS`, in ``info`` and ``arrays`` or in a calculator that has them.
        Charges are ``REF_charges``, else ASE's initial charges; the total charge is ``info["charge"]``, else their sum.
        What the file has no place for, such as stress, is named in a warning.
    units : str
        "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).

    Raises
    ------
    ValueError
        A frame has no energy or forces, which would have to be invented, or what the file cannot express: periodicity
        in one or two directions, numbers that are not finite, atoms without an element.
    """
    factors, lines, left_out, path = of_files(units), [], set(), os.fspath(path)
    frames = list(frames)
    if not frames:
        raise ValueError(f"{path}: there is no frame to write")
    for m, frame in enumerate(frames):
        try:
            stored = stored_in(frame)
            lines += _frame_lines(frame, stored, *factors)
        except ValueError as error:
            raise ValueError(f"{path}: frame {m} cannot be written: {error}") from None
        left_out |= set(stored) - WRITTEN
        if frame.cell.array.any() and not frame.pbc.any():
            left_out.add("cell (not periodic)")
    if left_out:
        warnings.warn(f"{path}: this format has no place for {', '.join(sorted(left_out))}; left out", stacklevel=2)
    write_lines(path, lines)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _lines(path):
    """Lines of a text file, ended in the way of any system; only comments can hold what is no UTF-8."""
    try:
        with open_with_compression(path, "rb") as file:
            text = file.read().decode("utf-8-sig", errors="replace")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or truncated ({error})") from None
    return io.StringIO(text, newline=None)


def _begin(keyword, words, number):
    if keyword != "begin":
        raise ValueError(f"expected 'begin', not {keyword!r}")
    if words not in ([], ["set=train"], ["set=test"]):
        raise ValueError(f"expected 'begin', 'begin set=train' or 'begin set=test', not 'begin {' '.join(words)}'")
    entries = {name: [] for name in ("comment", "symbols", *NUMBERS)}
    return entries | {"line": number, "set": [word.removeprefix("set=") for word in words]}


def _add(entries, keyword, words):
    """Add the numbers of one line to the entries of its structure."""
    if keyword == "begin":
        raise ValueError(f"'begin' before the 'end' of the structure that begins in line {entries['line']}")
    if keyword not in NUMBERS:
        raise ValueError(f"unknown keyword {keyword!r}, expected comment, {', '.join(NUMBERS)} or end")
    wanted = NUMBERS[keyword]
    if len(words) < wanted or (len(words) > wanted and keyword != "atom"):  # n2p2 too allows more columns of atoms
        names = "x y z element charge unused fx fy fz" if keyword == "atom" else f"{wanted} number{'s' * (wanted > 1)}"
        raise ValueError(f"expected {names} after '{keyword}', found {len(words)} word{'s' * (len(words) != 1)}")
    if len(entries[keyword]) == MOST.get(keyword):
        raise ValueError(f"one '{keyword}' too many in the structure that begins in line {entries['line']}")
    if keyword == "atom":
        symbol = words.pop(3)
        if atomic_numbers.get(symbol, 0) < 1:
            raise ValueError(f"unknown element {symbol!r}, expected a symbol such as Si as fourth word")
        entries["symbols"].append(symbol)
    entries[keyword].append([number(word) for word in words])


def _atoms(entries, length, energy):
    """Atoms in Angstrom and eV from the entries of one structure."""
    if len(entries["lattice"]) not in (0, 3):
        raise ValueError(f"expected three lines 'lattice' or none before 'end', found {len(entries['lattice'])}")
    if not entries["atom"]:
        raise ValueError("expected at least one line 'atom' before 'end'")
    columns = np.array([numbers[:8] for numbers in entries["atom"]])  # x y z charge unused fx fy fz
    atoms = Atoms(entries["symbols"], columns[:, :3] * length)
    if entries["lattice"]:
        atoms.cell, atoms.pbc = np.array(entries["lattice"]) * length, True
        edges = np.linalg.norm(atoms.cell, axis=1)
        if not abs(np.linalg.det(atoms.cell)) > FLAT * edges.prod():
            raise ValueError("the three lines 'lattice' enclose no volume")
    atoms.arrays["REF_forces"] = columns[:, 5:] * (energy / length)
    atoms.arrays["REF_charges"] = columns[:, 3].copy()
    for key, found in (
        ("REF_energy", [value * energy for (value,) in entries["energy"]]),
        ("charge", [value for (value,) in entries["charge"]]),
        ("comment", ["\n".join(entries["comment"])] if entries["comment"] else []),
        ("set", entries["set"]),
    ):
        if found:
            atoms.info[key] = found[0]
    return atoms


# ---- writing ---------------------------------------------------------------------------------------------------------


def _frame_lines(frame, stored, length, energy):
    if not len(frame) or (frame.numbers < 1).any():
        raise ValueError("it has no atoms" if not len(frame) else "an atom has no element (X)")
    if frame.pbc.any() != frame.pbc.all():
        raise ValueError(f"it is periodic in some directions only (pbc {frame.pbc}), which the format cannot express")
    if stored.get("set", "train") not in SETS:
        raise ValueError(f"set must be train or test, not {stored['set']!r}")
    x_ac = _checked(frame.positions, "position") / length
    E, F_ac = _label(stored, "energy", ()) / energy, _label(stored, "forces", x_ac.shape) / (energy / length)
    comments = re.split("\r\n?|\n", str(stored["comment"])) if "comment" in stored else []
    q_a = _checked(stored.get("REF_charges", frame.get_initial_charges()), "charges", (len(frame),))
    q = _checked(stored.get("charge", q_a.sum()), "charge", ())
    return [
        f"begin set={stored['set']}" if "set" in stored else "begin",
        *(f"comment {line}".rstrip() for line in comments),
        *(f"lattice {_words(row)}" for row in _checked(frame.cell.array, "cell") / length if frame.pbc.any()),
        *(f"atom {_words(x)} {symbol} {_words([q_i, 0.0, *F])}"
          for x, symbol, q_i, F in zip(x_ac, frame.symbols, q_a, F_ac)),
        f"energy {_words([E])}",
        f"charge {_words([q])}",
        "end",
    ]  # fmt: skip


def _label(stored, kind, shape):
    name = next((name for name in LABELS[kind] if name in stored), None)
    if name is None:
        raise ValueError(f"it has no {kind} ({' or '.join(LABELS[kind])}), which this format always has")
    return _checked(stored[name], name, shape)


def _checked(value, name, shape=None):
    """The value as floats of the shape."""
    try:
        value = np.array(value, dtype=float)
        value = value if shape is None else value.reshape(shape)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not a number or an array of numbers of shape {shape}") from None
    if not np.isfinite(value).all():
        raise ValueError(f"{name} is not finite")
    return value


def _words(numbers):
    return " ".join(repr(float(number)) for number in numbers)
