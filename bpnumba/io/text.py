"""Lines, words and numbers of text files, with errors that name file and line.

>>> number("-1.5D-3"), whole("12")
(-0.0015, 12)
"""

import gzip
import io
import math
import re
from contextlib import contextmanager
from typing import NamedTuple

from bpnumba.io.archive import write_atomically

__all__ = ["Line", "named", "number", "read_lines", "whole", "write_lines"]

NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?", re.ASCII)


class Line(NamedTuple):
    """Words of one line, and where it stands, for messages."""

    where: str
    words: list


def read_lines(path):
    """All lines of a text file with something besides comments; ended in the way of any system."""
    with open(path, "rb") as file:
        text = file.read().decode("utf-8-sig", errors="replace")  # only comments can hold what is no UTF-8
    lines = enumerate(io.StringIO(text, newline=None), 1)
    split = ((n, re.split("[#!]", line, maxsplit=1)[0].split()) for n, line in lines)
    found = [Line(f"{path}, line {n}", words) for n, words in split if words]
    if text[-1:] not in ("", "\n", "\r") and len(found) > 1:
        *others, last = found
        alike = [line for line in others if line.words[:1] + line.words[2:3] == last.words[:1] + last.words[2:3]]
        _check_last(last, [*others, *alike][-1], bool(alike))
    return found


def write_lines(path, lines):
    """Write a text file, completely or not at all; compressed where its name ends in ``.gz``."""
    data = "".join(f"{line}\n" for line in lines).encode()
    write_atomically(path, gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def _check_last(line, before, alike):
    """A number that lost its last digits is still a number: without a line's end it must look like the one above.

    Better than the line above is one with the same keyword and, behind an element, the same type of function (alike);
    from such a line a word can be missing, too.
    """
    last, above = line.words[-1], before.words[-1]
    cut = _form(last) != _form(above) or (last != above and above.startswith(last))  # 12 above, and 1
    missing = len(before.words) - len(line.words)
    if (cut and missing == 0) or (alike and missing > 0 and not NUMBER.fullmatch(line.words[0])):
        raise ValueError(
            f"{line.where}: the file does not end with a newline, and its last word, {last!r}, looks cut; if "
            "the file is complete, add a newline"
        )


def _form(word):
    """Digits behind the point, and whether there is an exponent of two digits or more; None where it is no number."""
    match = re.fullmatch(r"[-+]?\d*(?:\.(\d*))?([eEdD][-+]?\d*)?", word)
    return match and (len(match[1] or ""), bool(match[2]), len(match[2] or "") > 3)


@contextmanager
def named(where):
    """Put the name of a file or line before the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def number(word):
    """A finite number; Fortran writes some exponents with D."""
    if not NUMBER.fullmatch(word):
        raise ValueError(f"{word!r} is not a number")
    value = float(word.upper().replace("D", "E"))
    if not math.isfinite(value):
        raise ValueError(f"{word!r} is too large for a number")
    return value


def whole(word):
    """A whole number, zero or positive."""
    if not re.fullmatch(r"\+?\d{1,9}", word, re.ASCII):
        raise ValueError(f"{word!r} is not a whole number")
    return int(word)
