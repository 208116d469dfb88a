"""Where the Jacobian of the symmetry functions is kept while weights are sought: in memory, on disk, or nowhere.

`Memory`, `Disk` and `Nowhere` put away what belongs to some frames; what they give back opens to descriptors with the
two contractions that training needs.  Sums are float64, so a gradient is exact for the Jacobian that is stored, be it
float32 or float64; memory and disk give the same bits, and to recompute gives them to rounding.
"""

import os
import shutil
import tempfile
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from bpnumba.descriptors import StoredDescriptors
from bpnumba.pairs import Pairs
from bpnumba.potential import values

ALIGNED = 64  # bytes


def stored(symmetry_functions, frames, first, dtype):
    """Descriptors with their Jacobian, without values, and of the pairs only what the contractions need."""
    descriptors = symmetry_functions.stored(Pairs.from_atoms(frames, symmetry_functions.cutoff, first), dtype)
    pairs = replace(descriptors.pairs, i_p=np.zeros(0, np.int32), shift_pc=np.zeros((0, 3), np.int32))
    return descriptors._replace(pairs=pairs)


class InMemory(NamedTuple):
    """Stored descriptors."""

    descriptors: StoredDescriptors

    @contextmanager
    def open(self):
        """Descriptors with the contractions `forces` and `tangents`."""
        yield self.descriptors

    jacobian = open  #: descriptors with their Jacobian


class Folder:
    """A temporary folder, which goes with the last object that knows it, or with the process that made it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="bpnumba_")
        weakref.finalize(self, _remove, self.path, os.getpid())


def _remove(path, process):
    if os.getpid() == process:  # not a copy of it
        shutil.rmtree(path, ignore_errors=True)


class OnDisk(NamedTuple):
    """Stored descriptors whose long arrays lie in a file; they are in memory only while they are in use."""

    descriptors: StoredDescriptors  # without these arrays
    folder: Folder
    path: str
    places: dict  # name -> (offset, dtype, shape)

    @contextmanager
    def open(self):
        raw = np.memmap(self.path, np.uint8, "c")  # nobody writes, but for read-only arrays kernels are compiled anew
        arrays = {}
        for name, (offset, dtype, shape) in self.places.items():
            n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            arrays[name] = raw[offset : offset + n_bytes].view(dtype).reshape(shape)
        yield _with_long(self.descriptors, **{name: np.asarray(array) for name, array in arrays.items()})

    jacobian = open


class Recomputed(NamedTuple):
    """Nothing but the structures."""

    symmetry_functions: object
    frames: list
    first: int
    dtype: type

    @contextmanager
    def open(self):
        pairs = self.symmetry_functions.pair_list().pairs(self.frames, self.first)
        yield self.symmetry_functions.describe(pairs)

    @contextmanager
    def jacobian(self):
        yield stored(self.symmetry_functions, self.frames, self.first, self.dtype)


@dataclass(frozen=True)
class Memory:
    """Keeps the Jacobian in memory, in numbers of this type."""

    dtype: type = np.float32

    def put(self, symmetry_functions, frames, first):
        """Put away what belongs to some frames; returns where, and the values of the symmetry functions."""
        kept = stored(symmetry_functions, frames, first, self.dtype)
        return InMemory(kept), values(symmetry_functions, frames, first)


@dataclass(frozen=True)
class Disk:
    """Keeps the Jacobian in files of a temporary folder, which goes with this object and what it gave out."""

    dtype: type = np.float32
    folder: Folder = field(default_factory=Folder)

    def put(self, symmetry_functions, frames, first):
        """As of `Memory`.  An OSError says that the disk is full."""
        kept = stored(symmetry_functions, frames, first, self.dtype)
        long = {"j_p": kept.pairs.j_p, "r_pc": kept.pairs.r_pc, "first_p": kept.first_p, "J": kept.J}
        number, path = tempfile.mkstemp(".jacobian", dir=self.folder.path)  # several data sets may share the folder
        places = {}
        try:
            with open(number, "wb") as file:
                for name, array in long.items():
                    file.write(b"\0" * (-file.tell() % ALIGNED))
                    places[name] = file.tell(), array.dtype.str, array.shape
                    file.write(np.ascontiguousarray(array).data)
                file.write(b"\0" * ALIGNED)  # a file without pairs cannot be mapped either
        except OSError as error:  # such as a full disk, which has no name
            advice = f"{error.strerror} for the Jacobian; TMPDIR names another folder"
            raise OSError(error.errno, advice, path) from error
        nothing = {name: np.zeros((0,) * array.ndim, array.dtype) for name, array in long.items()}
        return OnDisk(_with_long(kept, **nothing), self.folder, path, places), values(symmetry_functions, frames, first)


@dataclass(frozen=True)
class Nowhere:
    """Keeps nothing: symmetry functions are computed anew, with the fastest kernels that this machine has."""

    dtype: type = np.float32  # of Jacobian blocks, where rows of them are asked for

    def put(self, symmetry_functions, frames, first):
        """As of `Memory`."""
        kept = Recomputed(symmetry_functions, list(frames), first, self.dtype)
        return kept, values(symmetry_functions, frames, first)


def _with_long(descriptors, j_p, r_pc, first_p, J):
    return descriptors._replace(pairs=replace(descriptors.pairs, j_p=j_p, r_pc=r_pc), first_p=first_p, J=J)
