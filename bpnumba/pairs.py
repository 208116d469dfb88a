"""Stage 1: atoms come in, pair vectors go out; on the way back a gradient becomes forces and virial.

Everything local in this library is a function of the pair vectors r_p = x_j + shift_p . cell - x_i. Positions and cells
are known only here and in the twin of this stage for the fast kernels (`bpnumba.packed_pairs`).

>>> from ase import Atoms
>>> pairs = Pairs.from_atoms(Atoms("H2", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.75]]), cutoff=6.0)
>>> pairs.r_pc.tolist()
[[0.0, 0.0, 0.75], [0.0, 0.0, -0.75]]

With E = sum_p r_p^2 / 4, a spring between the two atoms, the gradient is dE/dr_p = r_p / 2:

>>> forces_ac, virial_mcc = pairs.pullback(pairs.r_pc / 2)
>>> forces_ac.tolist()
[[0.0, 0.0, 0.75], [0.0, 0.0, -0.75]]
>>> float(virial_mcc[0, 2, 2])
0.5625
"""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry.minkowski_reduction import minkowski_reduce

from bpnumba.kernels.neighbors import neighbor_list
from bpnumba.kernels.scatter import gather, scatter, shortest

SAME_PLACE = 1e-3
"""Angstrom. Far below any distance of two nuclei (H2: 0.74), above the rounding of coordinates in text files."""

NEAREST_IMAGE = 0.4
"""Angstrom. An atom and its image that are nearer than any two nuclei are a mistake, and an expensive one: the triples
within a cutoff grow with the sixth power of its inverse."""

FARTHEST = 1e7
"""Angstrom, a millimeter. Farther out, coordinates are known to 1e-9 Angstrom only, and soon to nothing at all."""

FLAT = 1e-4
"""A cell is flat if its volume is smaller than this part of the product of its edges."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """All ordered pairs of atoms closer than a cutoff, sorted by center; of one structure or of a batch.

    Centers are the first `n_centers` atoms; further atoms are neighbors only (ghosts). The pairs of center a are
    first_a[a] ... first_a[a + 1] - 1.
    """

    i_p: np.ndarray  #: (n_p) int32, center
    j_p: np.ndarray  #: (n_p) int32, neighbor
    shift_pc: np.ndarray  #: (n_p, 3) int32, cell vectors added to the neighbor
    r_pc: np.ndarray  #: (n_p, 3), from center to neighbor, Angstrom
    first_a: np.ndarray  #: (n_centers + 1) int64
    number_a: np.ndarray  #: (n_atoms) int64, atomic numbers
    structure_a: np.ndarray  #: (n_atoms) int64, the structure that an atom belongs to
    volume_m: np.ndarray  #: (n_structures), Angstrom^3; 0 where not periodic in three directions
    first_frame: int | None = None  #: what messages call the first structure; None where it is not one of a list

    @property
    def n_centers(self):
        return len(self.first_a) - 1

    @property
    def n_atoms(self):
        return len(self.number_a)

    @property
    def n_structures(self):
        return len(self.volume_m)

    @classmethod
    def from_atoms(cls, atoms, cutoff, first_frame=0):
        """Pairs of one `ase.Atoms`, or of a list of them: a batch is a bigger structure.

        Parameters
        ----------
        atoms : ase.Atoms or list of ase.Atoms
            Any cell, also one smaller than the cutoff, and any periodicity.
        cutoff : float
            Angstrom.
        first_frame : int, optional
            What messages call the first frame of a list: where the list is a part of a longer one.

        Raises
        ------
        ValueError
            If positions or the cell are not finite or absurdly large, a periodic cell has no volume or repeats an atom
            nearer than any nuclei, two atoms are at one place, or the cutoff is not a positive number. The message
            names atoms, and the frame of a list.
        """
        if not (np.isfinite(cutoff) and cutoff > 0):
            raise ValueError(f"the cutoff must be a positive number, not {cutoff}")
        frames = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        if not frames:
            raise ValueError("no structure is given: the list of atoms is empty")
        first_m = np.cumsum([0] + [len(frame) for frame in frames])
        parts = []
        for m, frame in enumerate(frames):
            where = "" if frame is atoms else f"frame {first_frame + m}: "
            check_structure(frame, where)
            i_p, j_p, shift_pc, r_pc = neighbor_list(frame.positions, frame.cell.array, frame.pbc, cutoff)
            check_distances(frame, i_p, j_p, shift_pc, r_pc, where)
            parts.append((i_p + np.int32(first_m[m]), j_p + np.int32(first_m[m]), shift_pc, r_pc))
        i_p, j_p, shift_pc, r_pc = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        return cls(
            i_p, j_p, shift_pc, r_pc,
            first_a=np.searchsorted(i_p, np.arange(first_m[-1] + 1, dtype=np.int32)),
            number_a=np.concatenate([frame.numbers for frame in frames]).astype(np.int64),
            structure_a=np.repeat(np.arange(len(frames)), np.diff(first_m)),
            volume_m=np.array([frame.cell.volume if frame.pbc.all() else 0.0 for frame in frames]),
            first_frame=None if frames[0] is atoms else first_frame,
        )  # fmt: skip

    @classmethod
    def from_arrays(cls, i_p, j_p, r_pc, number_a, n_centers=None, structure_a=None, volume_m=None):
        """Pairs from another code's neighbor list, such as LAMMPS': images of atoms are atoms (ghosts), without shifts.

        Parameters
        ----------
        i_p, j_p : (n_p) array_like of int
            Center and neighbor, sorted by center; a full list.
        r_pc : (n_p, 3) array_like
            x_j - x_i, Angstrom.
        number_a : (n_atoms) array_like of int
            Atomic numbers: centers first, then ghosts.
        n_centers : int, optional
            By default all atoms are centers.
        structure_a : (n_atoms) array_like of int, optional
            By default all atoms belong to one structure.
        volume_m : (n_structures) array_like, optional
            Angstrom^3; by default 0, which means that there is no stress.

        Raises
        ------
        ValueError
            If shapes, order or indices are wrong, a vector is not finite, or two atoms are at one place.
        """
        number_a = np.array(number_a, dtype=np.int64).ravel()
        n_atoms = len(number_a)
        n_centers = n_atoms if n_centers is None else int(n_centers)
        i_p, j_p = np.array(i_p, dtype=np.int32).ravel(), np.array(j_p, dtype=np.int32).ravel()
        structure_a = np.zeros(n_atoms, np.int64) if structure_a is None else np.array(structure_a, dtype=np.int64)
        n_structures = structure_a.max(initial=0) + 1
        volume_m = np.zeros(n_structures) if volume_m is None else np.array(volume_m, dtype=np.float64)
        if not 0 <= n_centers <= n_atoms:
            raise ValueError(f"there cannot be {n_centers} centers among {n_atoms} atoms")
        r_pc = checked(r_pc, (len(i_p), 3), "r_pc")
        checked(j_p, (len(i_p),), "j_p")
        checked(structure_a, (n_atoms,), "structure_a")
        limits = {"i_p": (i_p, n_centers), "j_p": (j_p, n_atoms), "structure_a": (structure_a, len(volume_m))}
        for name, (index, n) in limits.items():
            if len(index) and not 0 <= index.min() <= index.max() < n:
                raise ValueError(f"{name} must lie in 0 ... {n - 1}, but has values {index.min()} ... {index.max()}")
        if (np.diff(i_p) < 0).any():
            raise ValueError("pairs must be sorted by center, but i_p decreases")
        if not np.isfinite(r_pc).all():
            p = np.flatnonzero(~np.isfinite(r_pc).all(axis=1))[0]
            raise ValueError(f"pair {p}, atoms {i_p[p]} and {j_p[p]}: vector {r_pc[p]} is not finite")
        p, square = shortest(r_pc)
        if square < SAME_PLACE**2:
            raise ValueError(f"pair {p}: atoms {i_p[p]} and {j_p[p]} are at one place, vector {r_pc[p]}")
        first_a = np.searchsorted(i_p, np.arange(n_centers + 1, dtype=np.int32))
        return cls(i_p, j_p, np.zeros((len(i_p), 3), np.int32), r_pc, first_a, number_a, structure_a, volume_m)

    def named(self, a):
        """Atom a as messages call it: by its number in its frame, if it is one of a list."""
        if self.first_frame is None:
            return f"atom {a}"
        m = self.structure_a[a]
        return f"frame {self.first_frame + m}: atom {a - np.searchsorted(self.structure_a, m)}"

    def pullback(self, dE_dr_pc):
        """Forces and virial from the gradient g_p = dE/dr_p.

        F_a = -dE/dx_a, where dE/dx_j += g_p and dE/dx_i -= g_p for every pair, and W_ab = sum_p g_pa r_pb, which is
        dE/d eps_ab under the strain r -> r + eps r of atoms and cell.

        Parameters
        ----------
        dE_dr_pc : (n_p, 3) array_like
            eV/Angstrom.

        Returns
        -------
        forces_ac : (n_atoms, 3) float64
            eV/Angstrom; ghosts get their own.
        virial_mcc : (n_structures, 3, 3) float64
            eV.
        """
        dE_dr_pc = checked(dE_dr_pc, self.r_pc.shape, "dE_dr_pc")
        forces_ac, virial_mcc = np.zeros((self.n_atoms, 3)), np.zeros((self.n_structures, 3, 3))
        scatter(self.first_a, self.j_p, self.r_pc, self.structure_a, dE_dr_pc, forces_ac, virial_mcc)
        return forces_ac, virial_mcc

    def pushforward(self, x_dot_ac, strain_dot_mcc):
        """Change of the pair vectors with positions and strain: r_dot_p = x_dot_j - x_dot_i + strain_dot . r_p.

        The transpose of `pullback`: <r_dot, g> = -<x_dot, forces> + <strain_dot, virial>.

        Parameters
        ----------
        x_dot_ac : (n_atoms, 3) array_like
            Velocities of the atoms, besides what the strain does to them.
        strain_dot_mcc : (n_structures, 3, 3) array_like
            Strain rates.

        Returns
        -------
        r_dot_pc : (n_p, 3) float64
        """
        x_dot_ac = checked(x_dot_ac, (self.n_atoms, 3), "x_dot_ac")
        strain_dot_mcc = checked(strain_dot_mcc, (self.n_structures, 3, 3), "strain_dot_mcc")
        r_dot_pc = np.empty_like(self.r_pc)
        gather(self.first_a, self.j_p, self.r_pc, self.structure_a, x_dot_ac, strain_dot_mcc, r_dot_pc)
        return r_dot_pc


class FreshList:
    """Where there is no wider list to use again: `Pairs` searched for at each call, whatever the skin."""

    def __init__(self, cutoff, skin=0.0):
        if not (np.isfinite(skin) and skin >= 0):
            raise ValueError(f"the skin must be 0 or a positive number, not {skin}")
        self.cutoff = cutoff

    def pairs(self, atoms, first_frame=0):
        return Pairs.from_atoms(atoms, self.cutoff, first_frame)


def elements_of(contents, numbers, fault="has no symmetry functions; supported: "):
    """Element index of every atom; a ValueError names an atom of another element, and says its fault."""
    index = np.full(len(chemical_symbols), -1)
    index[list(numbers)] = np.arange(len(numbers))
    element_a = index[contents.number_a]
    if (element_a < 0).any():
        a = int(np.argmin(element_a))
        raise ValueError(
            f"{contents.named(a)} is {chemical_symbols[contents.number_a[a]]}, which {fault}"
            f"{', '.join(chemical_symbols[z] for z in numbers)}"
        )
    return element_a


def stress_voigt(virial_mcc, volume_m):
    """Stress W/V, symmetrized, in Voigt order xx, yy, zz, yz, xz, xy; positive under tension, as in ASE.

    Parameters
    ----------
    virial_mcc : (n_m, 3, 3) array_like
        eV.
    volume_m : (n_m) array_like
        Angstrom^3.

    Returns
    -------
    stress_mv : (n_m, 6) float64
        eV/Angstrom^3.

    Raises
    ------
    ValueError
        If a structure has no volume, because it is not periodic in three directions.
    """
    volume_m = np.asarray(volume_m, dtype=np.float64)
    virial_mcc = checked(virial_mcc, (len(volume_m), 3, 3), "virial_mcc")
    if (volume_m == 0).any():
        m = np.flatnonzero(volume_m == 0)[0]
        raise ValueError(f"structure {m}: stress is defined only for three periodic directions")
    stress_mcc = (virial_mcc + virial_mcc.transpose(0, 2, 1)) / (2 * volume_m[:, None, None])
    return stress_mcc[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def check_structure(atoms, where):
    """Raise a ValueError if positions or cell are not finite or far too large, or the periodic cell far too small."""
    finite_a = np.isfinite(atoms.positions).all(axis=1)
    if not finite_a.all():
        a = np.flatnonzero(~finite_a)[0]
        raise ValueError(f"{where}the position of {named(atoms, a)} is not finite: {atoms.positions[a]}")
    if not np.isfinite(atoms.cell.array).all():
        raise ValueError(f"{where}the cell is not finite: {atoms.cell.array.tolist()}")
    periods = atoms.cell.array[atoms.pbc]
    far_a = (np.abs(atoms.positions) > FARTHEST).any(axis=1)
    if far_a.any():
        a = np.argmax(far_a)
        raise ValueError(
            f"{where}the position of {named(atoms, a)} is farther out than {FARTHEST:g} Angstrom, where rounding takes "
            f"its digits: {atoms.positions[a]}"
        )
    if (np.abs(periods) > FARTHEST).any():
        raise ValueError(f"{where}the cell is longer than {FARTHEST:g} Angstrom: {atoms.cell.array.tolist()}")
    squares = (periods * periods).sum(axis=1)
    gram = periods @ periods.T
    cell = f"cell {atoms.cell.array.tolist()}, pbc {atoms.pbc.tolist()}"
    if (squares < SAME_PLACE**2).any() or np.linalg.det(gram) < FLAT**2 * squares.prod():
        raise ValueError(f"{where}the cell has no volume in the periodic directions: {cell}")
    if (np.diag(np.linalg.inv(gram)) * NEAREST_IMAGE**2 > 1.0).any():  # a height is small; is it a lattice vector?
        reduced, _ = minkowski_reduce(atoms.cell.array, atoms.pbc)
        nearest = np.linalg.norm(reduced[atoms.pbc], axis=1).min()
        if nearest < NEAREST_IMAGE:
            raise ValueError(
                f"{where}the cell repeats every atom within {nearest:.3g} Angstrom, nearer than any two nuclei: {cell}"
            )


def check_distances(atoms, i_p, j_p, shift_pc, r_pc, where):
    """Raise a ValueError if two atoms are at one place."""
    p, square = shortest(r_pc)
    if square < SAME_PLACE**2:
        image = f" shifted by cell vectors {shift_pc[p].tolist()}" if shift_pc[p].any() else ""
        raise ValueError(
            f"{where}{named(atoms, i_p[p])} and {named(atoms, j_p[p])}{image} are at one place: "
            f"their distance is {square**0.5:.3g} Angstrom"
        )


def named(atoms, a):
    """An atom as messages call it."""
    return f"atom {a} ({atoms.symbols[a]})"


def checked(array, shape, name):
    """The array as C-contiguous float64; a ValueError if its shape is wrong (kernels do not look)."""
    array = np.ascontiguousarray(array, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}, not {array.shape}")
    return array
