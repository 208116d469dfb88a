"""What a fit says while it runs, and what it remembers of it.

Comes in: one `Row` per iteration, in eV and Angstrom. Goes out: a tqdm bar on a terminal, plain lines elsewhere, and a
CSV file, in the units that people read. An error of a kind of label that is absent is 0 or NaN, and is not shown.

>>> row = Row(100, 0.5, train=(0.00531, 0.1234, 0.00443), valid=(0.006, 0.130, 0.0), elapsed=12.3)
>>> print(line(row))  # doctest: +NORMALIZE_WHITESPACE
iteration 100  loss 5.000e-01  E 5.31 meV/atom  F 123.4 meV/Angstrom  stress 0.71 GPa
               valid E 6.00 meV/atom  F 130.0 meV/Angstrom  12.3 s
"""

import csv
import io
import math
import sys
import time
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from bpnumba.io.archive import write_atomically
from bpnumba.units import GPA, MEV

__all__ = ["History", "Progress", "Row", "Steps", "line"]

ABSENT = (math.nan, math.nan, math.nan)
UNITS = (MEV, MEV, GPA)  # of energy, forces, stress, in what people read
KINDS = ("energy_rmse_mev_per_atom", "forces_rmse_mev_per_angstrom", "stress_rmse_gpa")
COLUMNS = ("iteration", "loss", *(f"{part}_{kind}" for part in ("train", "valid") for kind in KINDS), "elapsed_s")
QUIET = 5.0  # seconds; what takes less needs no lines
FACTORS = np.array([1.0, 1.0, *UNITS, *UNITS, 1.0])  # from the units of a row to those of the columns


class Row(NamedTuple):
    """State of a fit after an iteration.

    Attributes
    ----------
    iteration : int
    loss : float
    train, valid : (energy, forces, stress)
        Root mean square errors in eV/atom, eV/Angstrom, eV/Angstrom^3.
    elapsed : float, seconds since the fit began
    """

    iteration: int
    loss: float
    train: tuple = ABSENT
    valid: tuple = ABSENT
    elapsed: float = 0.0


class History:
    """Rows of a fit, in the order of iterations.

    >>> history = History([Row(0, 3.0), Row(1, 2.0, train=(0.01, 0.2, 0.0))])
    >>> History.from_array(history.as_array()).rows[1].train
    (0.01, 0.2, 0.0)
    """

    def __init__(self, rows=()):
        self.rows = list(rows)

    def append(self, row):
        """Add the newest row."""
        self.rows.append(row)

    def as_array(self):
        """(n_rows, 9) array: iteration, loss, errors in training, errors in validation, elapsed; units of `Row`."""
        flat = [(row.iteration, row.loss, *row.train, *row.valid, row.elapsed) for row in self.rows]
        return np.array(flat, dtype=float).reshape(-1, len(COLUMNS))

    @classmethod
    def from_array(cls, array):
        """The inverse of `as_array`."""
        return cls(Row(int(row[0]), row[1], tuple(row[2:5]), tuple(row[5:8]), row[8]) for row in array.tolist())

    def save(self, path):
        """Write CSV with one row per iteration and units in the names of the columns; absent errors are empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.as_array() * FACTORS:
            writer.writerow([int(row[0]), *("" if math.isnan(x) else f"{x:.8g}" for x in row[1:])])
        write_atomically(path, text.getvalue().encode())

    @classmethod
    def read(cls, path):
        """Read what `save` wrote (8 digits).

        Raises
        ------
        ValueError
            The file has other columns, or something that is not a number.
        """
        with open(path, newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if tuple(header) != COLUMNS:
            raise ValueError(f"{path}: not a training history; its first line must be {','.join(COLUMNS)}")
        if any(len(row) != len(COLUMNS) for row in rows):
            raise ValueError(f"{path}: a line has not {len(COLUMNS)} columns; truncated?")
        try:
            array = np.array([[float(x) if x else math.nan for x in row] for row in rows])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return cls.from_array(array.reshape(-1, len(COLUMNS)) / FACTORS)


class Progress:
    """Shows the rows of a fit: as a bar where the stream is a terminal, else as a line every few iterations.

    Parameters
    ----------
    total : int
        Number of iterations.
    stream : text stream, optional
        Standard output.
    every : int
        A line after every so many iterations; the bar moves with each.
    first : int
        Iterations already done, for a fit that is resumed.
    label : str
        What is fitted, where there are several.
    """

    def __init__(self, total, stream=None, every=10, first=0, label=""):
        self.stream = sys.stdout if stream is None else stream
        self.every = every
        self.bar = None
        if _is_terminal(self.stream):
            self.bar = tqdm(
                total=total, initial=first, file=self.stream, dynamic_ncols=True, unit="iteration", desc=label or None
            )

    def update(self, row):
        """Show a row."""
        if self.bar is not None:
            self.bar.set_postfix_str(_values(row), refresh=False)
            self.bar.update(row.iteration - self.bar.n)
        elif row.iteration % self.every == 0:
            self.write(line(row))

    def within(self, done, of):
        """Show how far a long iteration is; lines do not."""
        if self.bar is not None:
            self.bar.set_postfix_str(f"{done} of {of} updates")

    def write(self, message):
        """Print a message, above the bar if there is one."""
        if self.bar is not None:
            self.bar.write(message, file=self.stream)
        else:
            print(message, file=self.stream, flush=True)

    def close(self):
        """Leave the bar as it stands."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


class Steps:
    """Shows how far a preparation is: a bar where the stream is a terminal, else at most four lines, none in 5 s.

    Called after each step; it fits where a function ``report(done, of)`` is wanted.

    Parameters
    ----------
    label : str
        What is done.
    stream : text stream, optional
        Standard output.
    """

    def __init__(self, label, stream=None):
        self.label = label
        self.stream = sys.stdout if stream is None else stream
        self.start, self.quarter, self.bar = time.perf_counter(), 0, None

    def __call__(self, done, of):
        if _is_terminal(self.stream):
            if self.bar is None:
                self.bar = tqdm(total=of, desc=self.label, file=self.stream, dynamic_ncols=True, leave=False)
            self.bar.update(done - self.bar.n)
            return
        quarter, elapsed = 4 * done // max(of, 1), time.perf_counter() - self.start
        if quarter > self.quarter and elapsed > QUIET:
            self.quarter = quarter
            print(f"{self.label}: {done} of {of}, {elapsed:.0f} s", file=self.stream, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.bar is not None:
            self.bar.close()


def line(row):
    """One line of text: iteration, loss, errors with their units, elapsed time."""
    return f"iteration {row.iteration}  {_values(row)}  {row.elapsed:.1f} s"


def _is_terminal(stream):
    """Whether a stream says so; not every object with ``write`` can tell."""
    return bool(getattr(stream, "isatty", bool)())


def _values(row):
    errors = _errors(row.train) + [f"valid {text}" if k == 0 else text for k, text in enumerate(_errors(row.valid))]
    return "  ".join([f"loss {row.loss:.3e}", *errors])


def _errors(rmse):
    texts = ("E {:.2f} meV/atom", "F {:.1f} meV/Angstrom", "stress {:.2f} GPa")
    return [text.format(x * unit) for text, x, unit in zip(texts, rmse, UNITS, strict=True) if x > 0]  # not NaN
