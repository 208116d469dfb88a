"""Structures from files and to files, in the format of RuNNer and n2p2 and in any that ASE knows.

Comes in: the name of a file.  Goes out: all its frames, or an error that names the file and what is wrong with it.
"""

import errno
import gzip
import io
import json
import os
import warnings
import zlib

import ase.io
from ase.io.extxyz import key_val_dict_to_str, key_val_str_to_dict
from ase.io.formats import open_with_compression

from bpnumba.io.input_data import read_structures
from bpnumba.io.text import write_lines

__all__ = ["is_input_data", "named_input_data", "read_frames", "write_frames"]

XYZ = (".xyz", ".extxyz")
INPUT_DATA = ("runner", "runnerdata")  # names of the format, the second is ASE's


def read_frames(path, format=None, units="atomic"):
    """All frames of a file.

    Parameters
    ----------
    path : str
        Slices in the name, as in ``a.traj@0:2``, are not supported: frames keep the numbers that they have in the file.
    format : str, optional
        ASE's name of the file format, or "runner", where the file name does not tell it.
    units : str
        Of a file of RuNNer or n2p2 (`is_input_data`), "atomic" or "metal"; other formats have units of their own.

    Returns
    -------
    frames : list of ase.Atoms

    Raises
    ------
    ValueError
        The file cannot be read as structures, or holds none.
    OSError
        The file is absent, a directory, or may not be read.
    """
    _check_path(path)
    if format in INPUT_DATA or (format is None and is_input_data(path)):
        return read_structures(path, units)
    try:
        if format is None and path.removesuffix(".gz").lower().endswith(XYZ):
            with open_with_compression(path, "rt") as file:  # in memory: ASE seeks back for every frame, slow in a .gz
                frames = ase.io.read(io.StringIO(file.read()), ":", format="extxyz", parallel=False)
        else:  # not in parallel: under MPI, ASE would wait for ranks that do not read
            frames = ase.io.read(path, ":", format=format, parallel=False, do_not_split_by_at_sign=True)
    except PermissionError:
        raise
    except Exception as error:  # the readers of ASE answer a broken file with many types
        raise unreadable(path, error) from error
    if not frames:
        raise ValueError(f"{path}: holds no frame")
    return frames


def is_input_data(path):
    """Whether an existing file is one of RuNNer or n2p2: by its name, and for other names in ``.data`` by ``begin``."""
    if not named_input_data(path) or os.path.basename(path).lower().startswith("input.data"):
        return named_input_data(path)
    try:
        with open_with_compression(path, "rt") as file:  # a .data may be one of LAMMPS
            words = (line.partition("#")[0].split() for line in file)
            return next(filter(None, words), [""])[0] == "begin"
    except (EOFError, UnicodeDecodeError, gzip.BadGzipFile, zlib.error):
        return False


def named_input_data(path):
    """Whether a file is called like one of RuNNer or n2p2: input.data or input.data.anything, or .data at its end."""
    name = os.path.basename(path).removesuffix(".gz").lower()
    return name.endswith(".data") or (name.startswith("input.data") and not name.endswith(XYZ))


def write_frames(path, frames):
    """Write frames in the format that the ending names; extended XYZ keeps all digits and all words.

    A warning names what another format loses.

    Raises
    ------
    ValueError
        The format is unknown, or cannot hold the frames.
    OSError
        Nothing could be written.
    """
    if path.removesuffix(".gz").lower().endswith(XYZ):
        return write_lines(path, (line for frame in frames for line in _extended_xyz(frame)))
    try:
        ase.io.write(path, frames)
        again = ase.io.read(path, ":", do_not_split_by_at_sign=True)
    except OSError:
        raise
    except Exception as error:  # the writers of ASE answer what they cannot do with many types
        raise ValueError(f"{path}: cannot be written ({type(error).__name__}: {error})") from error
    if len(again) != len(frames):
        raise ValueError(f"{path}: this format holds {len(again)} of the {len(frames)} structures; write .xyz")
    lost = {name for old, new in zip(frames, again) for name in {*old.info, *old.arrays} - {*new.info, *new.arrays}}
    if lost:
        warnings.warn(f"{path}: this format has lost {', '.join(sorted(lost))}; .xyz keeps all", stacklevel=2)


def _extended_xyz(frame):
    """Lines of one frame as ASE writes it, but with all digits of the arrays, and words that it reads back as words."""
    frame = frame.copy()
    for name, value in frame.info.items():
        words = {name: value, "next": True}  # ASE would read a last '=' and what follows as one word
        if isinstance(value, str) and not (
            value.isprintable() and repr(key_val_str_to_dict(key_val_dict_to_str(words))) == repr(words)
        ):
            frame.info[name] = f"_JSON {json.dumps(value)}".replace("\\", 2 * "\\")  # a number, several lines, a slash
    names = [name for name in frame.arrays if name not in ("numbers", "positions")]
    header = io.StringIO()
    ase.io.write(header, frame, format="extxyz", columns=["symbols", "positions", *names])
    columns = [frame.arrays[name].reshape(len(frame), -1).tolist() for name in ("positions", *names)]
    rows = (" ".join([symbol, *(str(value) for column in row for value in column)])
            for symbol, *row in zip(frame.symbols, *columns))  # fmt: skip
    return [*header.getvalue().split("\n")[:2], *rows]


def _check_path(path):
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a directory, not a file of structures", path)
    name, at, frames = path.rpartition("@")
    if at and not os.path.exists(path) and os.path.isfile(name):
        raise ValueError(
            f"{path}: slices in file names are not supported; give the frames, ase.io.read({name!r}, {frames!r}), or "
            f"write them to a file first: ase convert -n {frames} {name} part.xyz"
        )
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{path}: no such file")


def unreadable(path, error):
    """The ValueError for a file that a reader of ASE does not understand."""
    return ValueError(
        f"{path}: cannot be read as atomic structures ({type(error).__name__}: {error}); is it complete, and does "
        "its name tell its format?"
    )
