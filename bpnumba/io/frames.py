"""Structures from files, in any format that ASE knows.

Comes in: the name of a file.  Goes out: all its frames, or an error that names the file and what is wrong with it.
"""

import errno
import io
import os

import ase.io
from ase.io.formats import open_with_compression

__all__ = ["read_frames"]


def read_frames(path, format=None):
    """All frames of a file.

    Parameters
    ----------
    path : str
        Slices in the name, as in ``a.traj@0:2``, are not supported: frames keep the numbers that they have in the file.
    format : str, optional
        ASE's name of the file format, where the file name does not tell it.

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
    try:
        if format is None and path.removesuffix(".gz").endswith((".xyz", ".extxyz")):
            with open_with_compression(path, "rt") as file:  # in memory: ASE seeks back for every frame, slow in a .gz
                frames = ase.io.read(io.StringIO(file.read()), ":", format="extxyz")
        else:
            frames = ase.io.read(path, ":", format=format, do_not_split_by_at_sign=True)
    except PermissionError:
        raise
    except Exception as error:  # the readers of ASE answer a broken file with many types
        raise ValueError(
            f"{path}: cannot be read as atomic structures ({type(error).__name__}: {error}); is it complete, and does "
            "its name tell its format?"
        ) from error
    if not frames:
        raise ValueError(f"{path}: holds no frame")
    return frames


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
