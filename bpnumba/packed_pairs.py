"""Stage 1 for the fast kernels, the twin of `bpnumba.pairs`: atoms come in, packed pair vectors go out, and back.

A half list holds each pair once, for kernels that visit each triangle once; a full list holds all neighbors of each
center.  Atoms are in another order here, as entries; what goes in and out is in the order of the caller.

>>> from ase import Atoms
>>> pairs = PackedPairs.from_atoms(Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.75]]), 6.0, [1], half=True, full=False)
>>> pairs.half.z[0], pairs.half.count_qe.tolist()
(np.float64(0.75), [[1], [0]])
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry.minkowski_reduction import minkowski_reduce

from bpnumba.kernels.chunks import chunks_of
from bpnumba.kernels.neighbors import complete_cell, neighbor_list
from bpnumba.kernels.packed import Packed, Rooms, find_neighbors, pack, refresh, sort_entries
from bpnumba.pairs import SAME_PLACE, Pairs, check_distances, check_structure, elements_of

MANY_IMAGES = 4096
"""Cells within reach of a search; if there are more, it is done in a more compact cell of the same lattice."""

ROUNDING = 1e-14
"""Of the largest coordinate: some units in the last place, by which distances may be wrong."""


@dataclass(frozen=True, eq=False)
class PackedPairs:
    """Pairs of one structure or of a batch as packed lists: half, full, or both.

    Entry q is the caller's atom order[q]; centers are the first entries. Pairs of a `VerletList` live in its arrays:
    they are valid until it is asked again.
    """

    half: Packed | None
    full: Packed | None
    half_chunks: tuple  #: `Chunk` by `Chunk`, what its centers and their neighbors touch
    full_chunks: tuple
    order: np.ndarray  #: (n_atoms) int64
    structure_q: np.ndarray  #: (n_atoms) int64, structure of each entry
    number_a: np.ndarray  #: (n_atoms) int64, atomic numbers in the caller's order
    structure_a: np.ndarray  #: (n_atoms) int64
    volume_m: np.ndarray  #: (n_structures), Angstrom^3; 0 where not periodic in three directions
    n_centers: int
    numbers: tuple  #: atomic numbers in the order of element indices
    cutoff: float | None  #: Angstrom; None where it is not known
    first_frame: int | None = None  #: what messages call the first structure; None where it is not one of a list
    half_pair: np.ndarray | None = None  #: number of each pair in the `Pairs` that these were made from
    full_pair: np.ndarray | None = None

    n_atoms, n_structures, named = Pairs.n_atoms, Pairs.n_structures, Pairs.named

    @classmethod
    def from_atoms(cls, atoms, cutoff, numbers, half, full, first_frame=0):
        """Pairs of one `ase.Atoms`, or of a list of them: a batch is a bigger structure.

        Parameters
        ----------
        atoms : ase.Atoms or list of ase.Atoms
            Any cell, also one smaller than the cutoff, and any periodicity.
        cutoff : float
            Angstrom.
        numbers : sequence of int
            Atomic numbers in the order of element indices.
        half, full : bool
            Which lists are wanted.
        first_frame : int, optional
            What messages call the first frame of a list: where the list is a part of a longer one.

        Raises
        ------
        ValueError
            As `Pairs.from_atoms`, and for an element that is not among the numbers.
        """
        return VerletList(cutoff, numbers, half, full).pairs(atoms, first_frame)

    @classmethod
    def from_pairs(cls, pairs, numbers, half, full):
        """The pairs of a plain full list, with exactly its vectors; entries are atoms in the caller's order.

        Ghosts, which are neighbors only, are higher than all centers: a half list has each triangle with a center among
        its corners once, at the lowest center.

        Parameters
        ----------
        pairs : Pairs
        numbers : sequence of int
            Atomic numbers in the order of element indices.
        half, full : bool
            Which lists are wanted.

        Raises
        ------
        ValueError
            For an element that is not among the numbers.
        """
        element_a, nothing = elements_of(pairs, numbers), (None, None)
        half, half_pair = pack(pairs, element_a, len(numbers), half=True) if half else nothing
        full, full_pair = pack(pairs, element_a, len(numbers), half=False) if full else nothing
        half_chunks, full_chunks = (chunks_of(one) if one else () for one in (half, full))
        return cls(
            half, full, half_chunks, full_chunks, np.arange(pairs.n_atoms), pairs.structure_a, pairs.number_a,
            pairs.structure_a, pairs.volume_m, pairs.n_centers, tuple(numbers), None, pairs.first_frame, half_pair,
            full_pair,
        )  # fmt: skip


class Contents(NamedTuple):
    """What is in some frames, besides positions."""

    number_a: np.ndarray
    structure_a: np.ndarray
    volume_m: np.ndarray
    first_frame: int | None

    named = Pairs.named


class VerletList:
    """Pairs of one structure, or of one batch, that moves: a list that is somewhat wider is searched for rarely.

    The wide list is used again while cells, periodicity and elements are the same and no atom has moved farther than
    half of the skin since it was made. The pairs are exactly those within the cutoff in any case.

    Parameters
    ----------
    cutoff : float
        Angstrom.
    numbers : sequence of int
        Atomic numbers in the order of element indices.
    half, full : bool
        Which lists are wanted.
    skin : float, optional
        Angstrom.
    map : callable, optional
        That of a pool of threads, for instance.

    Attributes
    ----------
    rebuilds : int
        How often the wide list has been searched for.
    """

    def __init__(self, cutoff, numbers, half, full, skin=0.0, map=map):
        if not (np.isfinite(cutoff) and cutoff > 0):
            raise ValueError(f"the cutoff must be a positive number, not {cutoff}")
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"the skin must be 0 or a positive number, not {skin}")
        self.cutoff, self.numbers, self.skin, self.map = float(cutoff), tuple(numbers), float(skin), map
        self.half = WideList(half=True) if half else None
        self.full = WideList(half=False) if full else None
        self.rebuilds, self.key = 0, None

    def pairs(self, atoms, first_frame=0):
        """`PackedPairs` at the positions of the atoms. They are valid until the next call, which overwrites them.

        Parameters
        ----------
        atoms : ase.Atoms or list of ase.Atoms
        first_frame : int, optional
            What messages call the first frame of a list.

        Raises
        ------
        ValueError
            As `PackedPairs.from_atoms`.
        """
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        if not frames:
            raise ValueError("no structure is given: the list of atoms is empty")
        first_frame = None if frames[0] is atoms else first_frame
        x_ac = np.concatenate([frame.positions for frame in frames]).astype(np.float64, copy=False)
        key = [(len(one), one.cell.array.tobytes(), one.pbc.tobytes(), one.numbers.tobytes()) for one in frames]
        if key != self.key or not self.reaches(x_ac):
            self.search(frames, x_ac, key, first_frame)
        x_qc = x_ac[self.order] + self.offset_qc
        near = min(self.cutoff, SAME_PLACE)
        wide_lists = self.half, self.full
        half, full = (one and one.tight(x_qc, self.cutoff, near, self.skin, self.map) for one in wide_lists)
        if any(one and one.any_near for one in wide_lists):
            check_places(frames, near, first_frame)
        half_chunks, full_chunks = (one.chunks if one else () for one in wide_lists)
        return PackedPairs(
            half, full, half_chunks, full_chunks, self.order, self.structure_q, self.contents.number_a,
            self.contents.structure_a, self.contents.volume_m, len(self.order), self.numbers, self.cutoff, first_frame,
        )  # fmt: skip

    def reaches(self, x_ac):
        """Whether the wide list holds all pairs within the cutoff; not if a position is not a number."""
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite or absurdly far is refused later
            far = np.sqrt(((x_ac - self.x_ac) ** 2).sum(axis=1).max(initial=0.0))
        return far == 0 or far <= self.skin / 2 - self.rounding

    def search(self, frames, x_ac, key, first_frame):
        """Make the wide lists anew."""
        lengths = [len(frame) for frame in frames]
        for m, frame in enumerate(frames):
            check_structure(frame, "" if first_frame is None else f"frame {first_frame + m}: ")
        self.key = None  # until all is in place
        self.contents = Contents(
            np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
            np.repeat(np.arange(len(frames)), lengths),
            np.array([frame.cell.volume if frame.pbc.all() else 0.0 for frame in frames]),
            first_frame,
        )
        element_a, cutoff = elements_of(self.contents, self.numbers), self.cutoff + self.skin
        first_m = np.cumsum([0, *lengths])
        structures = [
            sort_entries(x_ac[a:b], compact(frame, cutoff), frame.pbc, element_a[a:b], len(self.numbers), cutoff)
            for frame, a, b in zip(frames, first_m[:-1], first_m[1:])
        ]
        self.order = np.concatenate([first + one.order for first, one in zip(first_m, structures)])
        self.offset_qc = np.concatenate([one.offset_qc for one in structures])
        self.structure_q = self.contents.structure_a  # entries come structure by structure, too
        self.x_ac = x_ac.copy()
        coordinates = x_ac, self.offset_qc, *(one.shift_kc for one in structures)
        self.rounding = ROUNDING * (cutoff + max(np.abs(some).max(initial=0.0) for some in coordinates))
        for one in (self.half, self.full):
            if one is not None:
                one.search(structures, len(self.numbers), min(self.cutoff, SAME_PLACE), self.structure_q, self.map)
        self.key, self.rebuilds = key, self.rebuilds + 1


class WideList:
    """One list at cutoff + skin, with the arrays for it and for the list at the cutoff."""

    def __init__(self, half):
        self.half, self.rooms, self.needed, self.any_near = half, Rooms(), (), False

    def search(self, structures, n_elements, near, structure_q, map):
        """Find the pairs of some `Bins`."""
        self.packed, self.code, self.needed, self.any_near = find_neighbors(
            structures, n_elements, self.half, near, self.rooms, self.needed, map
        )
        self.shift_kc = np.concatenate([one.shift_kc for one in structures])
        self.chunks = chunks_of(self.packed)

    def tight(self, x_qc, cutoff, near, skin, map):
        """The `Packed` list at the cutoff, of entries at x_qc; sets `any_near`."""
        if skin == 0:
            return self.packed  # no atom has moved since the search
        room = len(self.packed.neighbor)
        tight = self.packed._replace(
            begin_qe=np.empty_like(self.packed.begin_qe), count_qe=np.empty_like(self.packed.count_qe),
            neighbor=self.rooms.take("tight", room, np.int32),
        )  # fmt: skip

        def of_chunk(chunk):
            some = chunk.first, chunk.last
            return refresh(self.packed, self.code, self.shift_kc, x_qc, cutoff, near, tight, *some)

        self.any_near = any(list(map(of_chunk, self.chunks)))
        return tight


def compact(frame, cutoff):
    """The cell, or a reduced one of the same lattice if a search in the cell would meet very many images."""
    if frame.pbc.any():
        inverse = np.linalg.inv(complete_cell(frame.cell.array, frame.pbc))
        images = 2 * np.ceil(cutoff * np.sqrt((inverse * inverse).sum(axis=0))) + 3
        if images[frame.pbc].prod() > MANY_IMAGES:
            return minkowski_reduce(frame.cell.array, frame.pbc)[0]
    return frame.cell.array


def check_places(frames, near, first_frame):
    """Raise a ValueError that names two atoms at one place."""
    for m, frame in enumerate(frames):
        i_p, j_p, shift_pc, r_pc = neighbor_list(frame.positions, frame.cell.array, frame.pbc, near)
        check_distances(frame, i_p, j_p, shift_pc, r_pc, "" if first_frame is None else f"frame {first_frame + m}: ")
