"""Structures of files one at a time, for pools that are larger than the memory.

Comes in: paths, or structures.  Goes out: one `Streamed` after the other; memory holds one frame, but for compressed
files and those of RuNNer and n2p2, which are read at once.
"""

import os
from typing import NamedTuple

import ase.io
from ase import Atoms

from bpnumba.io.frames import is_input_data, read_frames, unreadable

__all__ = ["Streamed", "stream"]


class Streamed(NamedTuple):
    """A frame and where it is from."""

    source: str  # name of the file; empty for structures that were given
    index: int  # from 0, in its file or list
    atoms: Atoms

    @property
    def name(self):
        """For messages: "pool.xyz, frame 12"."""
        return f"{self.source}, frame {self.index}" if self.source else f"frame {self.index}"


def stream(source, units="atomic"):
    """Every frame of paths or structures, in order.

    Parameters
    ----------
    source : path, Atoms, or an iterable of them
    units : str
        Of files of RuNNer and n2p2, "atomic" or "metal".

    Yields
    ------
    Streamed

    Raises
    ------
    ValueError
        A file cannot be read as structures; the frames before the fault have been given by then.
    OSError
        A file is absent, a directory, or may not be read.
    """
    n_given = 0
    for item in [source] if isinstance(source, str | os.PathLike | Atoms) else source:
        if isinstance(item, Atoms):
            yield Streamed("", n_given, item)
            n_given += 1
        else:
            path = os.fspath(item)
            for index, atoms in enumerate(_frames_of(path, units)):
                yield Streamed(path, index, atoms)


def _frames_of(path, units):
    at_once = not os.path.isfile(path) or os.path.getsize(path) == 0 or path.lower().endswith((".gz", ".bz2", ".xz"))
    if at_once or is_input_data(path):  # also what `read_frames` refuses, with its words
        yield from read_frames(path, units=units)
        return
    read_one_by_one = ase.io.iread(path, ":", do_not_split_by_at_sign=True)
    try:
        yield from read_one_by_one
    except (GeneratorExit, PermissionError):
        raise
    except Exception as error:  # the readers of ASE answer a broken file with many types
        raise unreadable(path, error) from error
    finally:
        read_one_by_one.close()
