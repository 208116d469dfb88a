"""Symmetry functions: pair vectors in, one row of invariant values G per atom out.

``SymmetryFunctions.describe(pairs)`` returns `Descriptors`: the values and, as methods, the two contractions with their
derivatives.  `SymmetryFunctions` is also the public face for users of descriptors: ``create`` and ``derivatives`` take
`ase.Atoms`.

>>> from ase.build import molecule
>>> functions = SymmetryFunctions(["H", "O"], r_cut=5.0, g2_params=[[1.0, 0.0]], g4_params=[[0.01, 1.0, -1.0]])
>>> functions.create(molecule("H2O")).shape
(3, 5)
"""

import os
from dataclasses import replace
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers, chemical_symbols

from bpnumba import selection
from bpnumba.descriptors import Descriptors, Layout
from bpnumba.functions import DEFAULT_CUTOFF, G2, G4, G5, checked_rows, named_parameters, sorted_species
from bpnumba.kernels.machine import VARIABLE, this_machine
from bpnumba.kernels.table import FUNCTION, arrange
from bpnumba.kernels.threads import in_order
from bpnumba.packed_descriptors import PackedDescriptors, parts_of
from bpnumba.packed_pairs import PackedPairs, VerletList
from bpnumba.pairs import FreshList, Pairs, elements_of

HEADINGS = {"eta": "eta (1/A^2)", "rs": "rs (A)", "lam": "lam", "zeta": "zeta", "alpha": "alpha", "rl": "rl (A)",
            "left": "left (deg)", "right": "right (deg)"}  # fmt: skip
"""Columns of the printed table, where a function has a value in them."""

MOST_FUNCTIONS = 60
"""Chosen per element: with fewer, errors are larger (Si, water: by a tenth and by a third with half as many)."""

# ---- the set --------------------------------------------------------------------------------------------------------


class Derivatives(NamedTuple):
    """Symmetry functions of one structure with their analytic derivatives."""

    G: np.ndarray  # (n_centers, n_functions)
    dG_dr: np.ndarray  # (n_centers, n_atoms, 3, n_functions), 1/Angstrom
    dG_dstrain: np.ndarray  # (n_centers, 3, 3, n_functions), for r -> (1 + strain) r


class SymmetryFunctions:
    """A set of atom-centered symmetry functions for any number of elements.

    Reads like the ACSF class of DScribe: every center element gets the same parameters, for every neighbor element
    (G2) and every couple of them (G4, G5).  Sets that differ between elements are made by `from_functions`.

    Parameters
    ----------
    species : str or sequence of str
        Chemical symbols; kept sorted by atomic number.
    r_cut : float
        Cutoff radius in Angstrom.
    g2_params : array_like (n, 2), optional
        Rows of (eta, rs) in 1/Angstrom^2 and Angstrom; eta = 0 gives G1.
    g4_params, g5_params : array_like (n, 3), optional
        Rows of (eta, zeta, lam).
    cutoff : str
        Name of the cutoff function.

    Raises
    ------
    ValueError
        For an unknown element or cutoff function, a parameter out of range, a wrong shape, or no function at all.

    Notes
    -----
    Columns of G, for a center element: in the order of the rows of `functions` with that center.  J. Behler, J. Chem.
    Phys. 134, 074106 (2011).
    """

    def __init__(self, species, r_cut, g2_params=None, g4_params=None, g5_params=None, cutoff=DEFAULT_CUTOFF):
        species = sorted_species(species)
        rows = []
        for center in species:
            for eta, rs in _rows(g2_params, 2, "g2_params"):
                rows += [G2(center, neighbor, eta, rs, r_cut, cutoff) for neighbor in species]
            for kind, params, name in ((G4, g4_params, "g4_params"), (G5, g5_params, "g5_params")):
                for eta, zeta, lam in _rows(params, 3, name):
                    rows += [
                        kind(center, *couple, eta, zeta, lam, r_cut, cutoff=cutoff)
                        for couple in combinations_with_replacement(species, 2)
                    ]
        self._set(np.array(rows, FUNCTION), species)

    @classmethod
    def from_functions(cls, functions, species=None):
        """A set from single functions: the results of `G2`, `C5` and the others of `bpnumba.functions`, or a structured
        array of FUNCTION.

        The elements are those of the centers, or `species` where given.
        """
        self = cls.__new__(cls)
        rows = checked_rows(functions)
        self._set(rows, sorted_species(species or {chemical_symbols[z] for z in rows["center"]}))
        return self

    def _set(self, functions, species):
        numbers = [atomic_numbers[symbol] for symbol in species]
        if not len(functions):
            raise ValueError("a set needs at least one symmetry function")
        for row in functions:
            for z in (row["center"], row["first"], row["second"]):
                if z and z not in numbers:
                    raise ValueError(
                        f"{row['kind']} of center {chemical_symbols[row['center']]} names the element "
                        f"{chemical_symbols[z]}, which is not among the species {', '.join(species)}"
                    )
        for symbol, z in zip(species, numbers):
            if z not in functions["center"]:
                raise ValueError(f"no symmetry function has {symbol} at its center")
        order = np.argsort([numbers.index(z) for z in functions["center"]], kind="stable")
        self.species, self.numbers, self.functions = tuple(species), tuple(numbers), functions[order]
        self.table = arrange(self.functions, numbers)

    @classmethod
    def select(cls, frames, cutoff=6.0, n=None, cutoff_function=DEFAULT_CUTOFF, most_samples=2500):
        """A non-redundant set for the environments in `frames`, by greedy CUR from an automatic pool.

        Deterministic.  The result carries the report of the choice as the text `report`.  Where an element has fewer
        than ten environments, or only equivalent ones (one frame of a perfect crystal), functions are chosen that tell
        slightly strained and displaced copies of the frames apart; the report says so.

        Parameters
        ----------
        frames : ase.Atoms or list of them
            Structures that look like those to be described.
        cutoff : float
            Cutoff radius in Angstrom.
        n : int, optional
            Largest number of functions per element; by default `MOST_FUNCTIONS`.
        cutoff_function : str
            Name of the cutoff function.
        most_samples : int
            Number of environments per element to look at, evenly spaced over all.

        Raises
        ------
        ValueError
            Without atoms; for an element without neighbors within the cutoff, or whose functions do not vary; from the
            frames (see `Pairs.from_atoms`).

        See Also
        --------
        bpnumba.selection : the pool, the choice and their sources.
        """
        frames = [frames] if hasattr(frames, "positions") else list(frames)
        species = sorted_species({symbol for atoms in frames for symbol in atoms.symbols})
        if not species:
            raise ValueError("there are no atoms to choose symmetry functions for")
        pools = _pools(frames, [atomic_numbers[symbol] for symbol in species], cutoff, cutoff_function)
        trial = cls.from_functions(np.concatenate(pools), species)
        samples, heldout = _environments(trial, frames, cutoff, most_samples)
        kept, lines = [], []
        for e, (rows, G, unseen, symbol) in enumerate(zip(pools, samples, heldout, species)):
            remark = ""
            if selection.alike(G):
                remark = f" of shaken copies: the data have {len(G) + len(unseen)}, too few or too much alike"
                copies = _shaken([atoms for atoms in frames if symbol in atoms.symbols])
                G, unseen = (of[e] for of in _environments(trial, copies, cutoff, most_samples))
            try:
                choice = selection.choose(G, n or MOST_FUNCTIONS, np.where(rows["kind"] == "G2", rows["first"], 0))
            except ValueError as error:
                raise ValueError(f"{symbol}: {error}") from None
            kept.append(rows[choice.kept])
            lines.append(selection.summary(symbol, rows, choice, G, unseen, remark))
        self = cls.from_functions(np.concatenate(kept), species)
        self.report = "\n".join(lines)
        return self

    # ---- the stage --------------------------------------------------------------------------------------------------

    @property
    def cutoff(self):
        """Largest cutoff radius of the set in Angstrom."""
        return float(self.functions["rc"].max())

    def functions_of(self, symbol):
        """Rows of the functions with this element at their center, in the order of the columns of G."""
        return self.functions[self.functions["center"] == atomic_numbers[symbol]]

    @property
    def parts(self):
        """Plans of the fast kernels for the processor at hand (`bpnumba.packed_descriptors.Part`); empty without.

        They are kept until the environment asks for other kernels.
        """
        wish = os.environ.get(VARIABLE, "")
        if self.__dict__.get("kept_parts", (None,))[0] != wish:
            machine = this_machine()
            parts = parts_of(self.functions, self.numbers, machine) if machine.lanes else ()
            self.__dict__["kept_parts"] = wish, parts
        return self.__dict__["kept_parts"][1]

    def __getstate__(self):
        """For copies in other processes and on other machines, which have kernels of their own."""
        return {name: value for name, value in self.__dict__.items() if name != "kept_parts"}

    def pair_list(self, skin=0.0):
        """An object whose ``pairs(atoms, first_frame=0)`` gives pairs for the fastest kernels that this machine has.

        Parameters
        ----------
        skin : float
            Angstrom; a `VerletList` searches anew when an atom has moved farther than half of it.
        """
        if not self.parts:
            return FreshList(self.cutoff, skin)
        half, full = (part is not None for part in self.parts)
        return VerletList(self.cutoff, self.numbers, half, full, skin, in_order)

    def describe(self, pairs):
        """Symmetry functions of all centers: `Descriptors` of `Pairs`, or `PackedDescriptors` of `PackedPairs`."""
        if isinstance(pairs, PackedPairs):
            self._check_lists(pairs)
            return PackedDescriptors.of(pairs, self.parts, self.table.n_functions)
        return Descriptors.of(pairs, self._layout(pairs))

    def stored(self, pairs, dtype=np.float64):
        """Descriptors of `Pairs` with their Jacobian in numbers of this type, without values."""
        return Descriptors(pairs, self._layout(pairs), ()).stored(dtype)

    def _layout(self, pairs):
        return Layout.of(elements_of(pairs, self.numbers), pairs.n_centers, self.table)

    def _check_lists(self, pairs):
        """Raise a ValueError for packed pairs that were made for other symmetry functions, or on another machine."""
        if tuple(pairs.numbers) != self.numbers or pairs.cutoff not in (None, self.cutoff):
            species, cutoff = ", ".join(chemical_symbols[z] for z in pairs.numbers), pairs.cutoff or 0.0
            raise ValueError(
                f"these pairs were made for {species} and the cutoff {cutoff:g} Angstrom, the symmetry functions for "
                f"{', '.join(self.species)} and {self.cutoff:g} Angstrom: take pairs of their own pair_list()"
            )
        lists = zip(self.parts, (pairs.half, pairs.full))
        if not self.parts or any(part is not None and one is None for part, one in lists):
            raise ValueError("these pairs are for other kernels than this process uses: take pairs of pair_list()")

    # ---- for users of descriptors -----------------------------------------------------------------------------------

    def create(self, atoms, centers=None):
        """Symmetry functions of every atom, (n_atoms, n_functions), or a list of such arrays for a list of Atoms.

        An element with fewer functions than another fills its last columns with zeros.

        Parameters
        ----------
        atoms : ase.Atoms or list of them
        centers : sequence of int, optional
            Indices of the atoms whose rows are wanted; for a list of Atoms a list of such sequences.
        """
        if not hasattr(atoms, "positions"):
            frames = list(atoms)
            centers = [None] * len(frames) if centers is None else centers
            return [self.create(*one) for one in zip(frames, centers, strict=True)]
        descriptors = self.describe(Pairs.from_atoms(atoms, self.cutoff))
        rows = descriptors.layout.pad(descriptors.values)
        return rows if centers is None else rows[list(centers)]

    def get_number_of_features(self):
        """Number of columns of `create`."""
        return int(self.table.n_functions.max())

    def derivatives(self, atoms):
        """Symmetry functions with analytic derivatives in positions and strain: `Derivatives`, or a list of them.

        dG_dr is (n_centers, n_atoms, 3, n_functions): element [i, j, c, s] is the derivative of G_is in coordinate c of
        atom j; all periodic images move with their atom.  dG_dstrain is (n_centers, 3, 3, n_functions) for
        r -> (1 + strain) r of positions and cell.
        """
        if not hasattr(atoms, "positions"):
            return [self.derivatives(one) for one in atoms]
        pairs = Pairs.from_atoms(atoms, self.cutoff)
        descriptors = self.describe(pairs).stored(np.float64)
        layout, width = descriptors.layout, int(self.table.n_functions.max())
        dG_dr = np.zeros((pairs.n_centers, pairs.n_atoms, 3, width))
        dG_dstrain = np.zeros((pairs.n_centers, 3, 3, width))
        for p, (i, j) in enumerate(zip(pairs.i_p, pairs.j_p)):
            columns, block = descriptors.block(p)
            dG_dr[i, j][:, columns] += block
            dG_dr[i, i][:, columns] -= block
            dG_dstrain[i][..., columns] += block[:, None, :] * pairs.r_pc[p][None, :, None]
        return Derivatives(layout.pad(descriptors.values), dG_dr, dG_dstrain)

    def __repr__(self):
        counts = ", ".join(f"{symbol}: {count}" for symbol, count in zip(self.species, self.table.n_functions))
        return f"SymmetryFunctions({counts}; cutoff {self.cutoff:g} Angstrom)"

    def __str__(self):
        columns = {"kind": "kind", "neighbors": "neighbors"}
        columns |= {name: heading for name, heading in HEADINGS.items() if (self.functions[name] != 0.0).any()}
        columns |= {"rc": "rc (A)", "cutoff": "cutoff"}
        lines = [repr(self)]
        for symbol in self.species:
            cells = [[symbol, *columns.values()]]
            for s, row in enumerate(self.functions_of(symbol)):
                names = named_parameters(row["kind"])
                shown = {name: f"{row[name]:.6g}" if name in names else "" for name in HEADINGS}
                shown["kind"] = "G1" if row["kind"] == "G2" and row["eta"] == 0.0 else row["kind"]
                shown["neighbors"] = " ".join(chemical_symbols[z] for z in (row["first"], row["second"]) if z) or "all"
                shown |= {"rc": f"{row['rc']:.6g}", "cutoff": row["cutoff"]}
                cells.append([f"{s}", *(shown[name] for name in columns)])
            widths = [max(map(len, column)) for column in zip(*cells)]
            lines += ["", *("  ".join(map(str.ljust, one, widths)).rstrip() for one in cells)]
        return "\n".join(lines)


def _rows(params, width, name):
    """Parameters as an array of rows of the given width."""
    rows = np.zeros((0, width)) if params is None else np.array(params, float)
    if rows.ndim != 2 or rows.shape[1] != width:
        raise ValueError(f"{name} must be rows of {width} numbers, not of shape {rows.shape}")
    return rows


def _pools(frames, numbers, cutoff, cutoff_function):
    """The pool of every center element, for the neighbor elements that occur, from a look at the distances."""
    shortest = np.full((len(chemical_symbols),) * 2, np.inf)
    for m, atoms in enumerate(frames):
        pairs = Pairs.from_atoms([atoms], cutoff, first_frame=m)
        distance = np.linalg.norm(pairs.r_pc, axis=1)
        np.minimum.at(shortest, (pairs.number_a[pairs.i_p], pairs.number_a[pairs.j_p]), distance)
    pools = []
    for center in numbers:
        neighbors = [z for z in numbers if np.isfinite(shortest[center, z])]
        if not neighbors:
            raise ValueError(
                f"no {chemical_symbols[center]} atom has a neighbor within {cutoff:g} Angstrom: "
                "use a larger cutoff or more frames"
            )
        distances = {z: shortest[center, z] for z in neighbors}
        pools.append(selection.pool(center, neighbors, cutoff, distances, cutoff_function))
    return pools


def _shaken(frames, n=50):
    """`n` copies of the frames, each strained (2 %) and with its atoms displaced (0.05 Angstrom) at random."""
    random, copies = np.random.default_rng(0), []
    for m in range(n):
        atoms = frames[m % len(frames)].copy()
        deformation = np.eye(3) + random.normal(0.0, 0.02, (3, 3))
        atoms.cell[:] = atoms.cell.array @ deformation
        atoms.positions = atoms.positions @ deformation + random.normal(0.0, 0.05, (len(atoms), 3))
        copies.append(atoms)
    return copies


def _environments(functions, frames, cutoff, most_samples):
    """Per element, values G of at most `most_samples` environments evenly spaced over the frames, and of as many
    others (at most a fifth) that the choice does not see."""
    numbers = [np.asarray(atoms.numbers) for atoms in frames]
    wanted = {}
    for e, z in enumerate(functions.numbers):
        places = [(m, a) for m, of in enumerate(numbers) for a in np.flatnonzero(of == z)]
        count = min(len(places), most_samples + most_samples // 5)
        picked = np.unique(np.linspace(0, len(places) - 1, count).astype(int))
        for count, place in enumerate(picked):
            m, a = places[place]
            wanted.setdefault(m, []).append((a, e, count % 6 == 5 and len(picked) > 60))
    seen, unseen = [[] for _ in functions.numbers], [[] for _ in functions.numbers]
    for m, centers in sorted(wanted.items()):
        pairs = Pairs.from_atoms(frames[m], cutoff)
        chosen = np.isin(pairs.i_p, [a for a, _, _ in centers])
        i_p = pairs.i_p[chosen]
        few = replace(
            pairs,
            i_p=i_p,
            j_p=pairs.j_p[chosen],
            shift_pc=pairs.shift_pc[chosen],
            r_pc=pairs.r_pc[chosen],
            first_a=np.searchsorted(i_p, np.arange(pairs.n_centers + 1)),
        )
        descriptors = functions.describe(few)
        rows = descriptors.layout.pad(descriptors.values)
        for a, e, held in centers:
            (unseen if held else seen)[e].append(rows[a, : functions.table.n_functions[e]])
    return [np.array(rows) for rows in seen], [np.array(rows) for rows in unseen]
