"""Potentials of RuNNer and n2p2, second generation: a folder with ``input.nn``, ``scaling.data``, ``weights.ZZZ.data``.

Comes in: such a folder and its units, which the files do not tell.  Goes out: a `Potential` with the same energies and
forces to rounding errors, or an error that names file and line.  The way back is `bpnumba.io.runner_save`.

What the programs do and what becomes of it here:

====================================================  ==================================================================
E = E_network/conv_energy + N mean_energy             conv_energy goes into `Potential.energy_unit`, the rest into the
+ sum of atom_energy                                  reference energies
lengths times conv_length                             nothing: symmetry functions do not depend on the unit of length
normalize_nodes divides what a node receives by       weights and biases are divided, once
the number of nodes of the layer before
scaling between minimum, mean, maximum, sigma         shift and factor
====================================================  ==================================================================

J. Behler, Int. J. Quantum Chem. 115, 1032 (2015); A. Singraber, J. Behler and C. Dellago, J. Chem. Theory Comput. 15,
1827 (2019).
"""

import errno
import os
import warnings
from pathlib import Path

import numpy as np
from ase.data import chemical_symbols

from bpnumba.functions import WITHOUT_ALPHA, label
from bpnumba.io.runner_lines import CUTOFF_TYPES, file_order, function_row, with_unit
from bpnumba.io.runner_networks import network_of
from bpnumba.io.runner_settings import read_settings
from bpnumba.io.text import named, number, read_lines, whole
from bpnumba.kernels.table import FUNCTION
from bpnumba.potential import Potential
from bpnumba.scaling import Scaling
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.units import NAMES, of_files

__all__ = ["check_folder", "load_runner", "read_functions"]


def load_runner(directory, units="atomic"):
    """A potential of RuNNer or n2p2.

    Symmetry functions keep the order of their lines in ``input.nn``.

    Parameters
    ----------
    directory : str or Path
        Holds ``input.nn``, ``scaling.data`` and one ``weights.ZZZ.data`` per element, ZZZ its atomic number.
    units : str
        "atomic" (bohr, Hartree; all potentials of RuNNer) or "metal" (Angstrom, eV).

    Returns
    -------
    Potential

    Raises
    ------
    ValueError
        The files are damaged, do not fit together, or describe what bpnumba cannot do: potentials of the third or
        fourth generation, other types of symmetry functions.  Names file and line.
    OSError
        A file is absent or may not be read.

    Warns
    -----
    UserWarning
        For keywords that are not known, and for symmetry functions that are constant in the training data: RuNNer and
        n2p2 divide by zero there, here their factor is 1.
    """
    length, energy = of_files(units)
    directory = Path(directory)
    check_folder(directory)
    settings = read_settings(directory / "input.nn")
    rows, functions = _functions(settings, length)
    orders = [file_order(rows[rows["center"] == z]) for z in functions.numbers]
    mean_energy, conv_energy = _normalization(settings)
    return Potential(
        functions,
        _scalings(settings, directory / "scaling.data", functions, orders),
        tuple(network_of(settings, directory, symbol, order) for symbol, order in zip(functions.species, orders)),
        {symbol: (mean_energy + _atom_energy(settings, symbol)) * energy for symbol in functions.species},
        {"origin": f"files of RuNNer or n2p2, in {NAMES[units]}"},
        energy / conv_energy,
    )


def read_functions(path, units="atomic"):
    """The symmetry functions in a file ``input.nn``, in the order of its lines.

    Parameters
    ----------
    path : str or Path
    units : str
        "atomic" (bohr) or "metal" (Angstrom).

    Returns
    -------
    SymmetryFunctions
    """
    length, _ = of_files(units)
    return _functions(read_settings(path), length)[1]


def check_folder(path):
    """Raise NotADirectoryError for one file out of the folder of a potential."""
    if os.path.basename(path) in ("input.nn", "scaling.data") and os.path.isfile(path):
        raise NotADirectoryError(errno.ENOTDIR, "is one file of a potential; give the folder that holds it", str(path))


# ---- input.nn --------------------------------------------------------------------------------------------------------


def _functions(settings, length):
    """Rows of FUNCTION in the units of the file, and the set."""
    line, rows = settings.one("cutoff_type"), []
    with named(line.where):
        if len(line.words) not in (1, 2) or whole(line.words[0]) >= len(CUTOFF_TYPES):
            raise ValueError(f"expected cutoff_type 0 ... {len(CUTOFF_TYPES) - 1} and perhaps a part of the radius")
        cutoff = CUTOFF_TYPES[whole(line.words[0])]
        alpha = number(line.words[1]) if len(line.words) == 2 else 0.0
    if "cutoff_alpha" in settings.lines:  # RuNNer's way to say it
        both, line, alpha = len(line.words) == 2, settings.one("cutoff_alpha"), settings.number("cutoff_alpha")
        if both or (alpha and cutoff.startswith("tanh")):
            reason = "stands in cutoff_type as well" if both else f"makes the cutoff function {cutoff} jump in RuNNer"
            raise ValueError(f"{line.where}: cutoff_alpha {reason}")
    with named(line.where):
        if not 0.0 <= alpha < 1.0:
            raise ValueError(f"the inner radius is {alpha} of the cutoff radius, must be from 0 to below 1")
        if cutoff in WITHOUT_ALPHA:
            alpha = 0.0  # n2p2 reads the number and does not use it
    settings.one("symfunction_short")
    species = settings.species
    for line in settings.lines["symfunction_short"]:
        with named(line.where):
            row = np.array(function_row(line.words, cutoff, alpha), FUNCTION)
            for z in (row["center"], row["first"], row["second"]):
                if z and chemical_symbols[z] not in species:
                    raise ValueError(f"{chemical_symbols[z]} is not among the elements {' '.join(species)}")
            rows.append(row)
    rows = np.array(rows, FUNCTION)
    with named(settings.path):
        return rows, SymmetryFunctions.from_functions(with_unit(rows, length), species)


def _normalization(settings):
    """mean_energy and conv_energy."""
    names = ("mean_energy", "conv_energy", "conv_length")
    if not any(name in settings.lines for name in names):
        return 0.0, 1.0
    values = [settings.number(name) for name in names]
    for name, value in zip(names[1:], values[1:]):
        if value <= 0.0:
            raise ValueError(f"{settings.one(name).where}: {name} must be positive, not {value}")
    return values[:2]


def _atom_energy(settings, symbol):
    """Energy that the programs add for every atom of an element."""
    lines = settings.of_element("atom_energy", symbol)
    for line in lines:
        with named(line.where):
            if len(line.words) != 1 or len(lines) > 1:
                raise ValueError(f"expected atom_energy once for {symbol}, with one number")
            return number(line.words[0])
    return 0.0


# ---- scaling.data ----------------------------------------------------------------------------------------------------


def _scalings(settings, path, functions, orders):
    """One `Scaling` per element; the functions of an element stand in the file in the order of `orders`."""
    lines = read_lines(path)
    if len(lines) > 1 and len(lines[-1].words) == 2:  # RuNNer adds the range of the energy
        with named(lines[-1].where):
            [number(word) for word in lines[-1].words]
        lines = lines[:-1]
    expected = [(e, s) for e, order in enumerate(orders, 1) for s in range(1, len(order) + 1)]
    if len(lines) != len(expected):
        raise ValueError(f"{path}: expected {len(expected)} lines, one per symmetry function, found {len(lines)}")
    columns = []
    for line, places in zip(lines, expected):
        with named(line.where):
            if len(line.words) not in (5, 6) or len(line.words) != len(lines[0].words):
                raise ValueError(f"expected the same 5 or 6 columns as in other lines, found {len(line.words)}")
            if tuple(map(whole, line.words[:2])) != places:
                raise ValueError(f"expected element {places[0]}, function {places[1]}, found {line.words[:2]}")
            minimum, maximum, mean, *sigma = map(number, line.words[2:])
            if minimum > maximum or min(sigma, default=0.0) < 0.0:
                raise ValueError("the minimum is above the maximum, or sigma is negative")
            columns.append((minimum, maximum, mean, *(sigma or [np.nan])))
    parts = np.split(np.array(columns), np.cumsum([len(order) for order in orders])[:-1])
    scalings, constant = [], []
    for symbol, order, in_file in zip(functions.species, orders, parts):
        block = np.empty_like(in_file)
        block[order] = in_file
        minimum, maximum, mean, sigma = block.T
        shift, factor, idle = _linear(settings, path, minimum, maximum, mean, sigma)
        scalings.append(Scaling(shift, factor, minimum.copy(), maximum.copy()))
        constant += [label(row) for row in functions.functions_of(symbol)[idle]]
    if constant:
        warnings.warn(f"{path}: constant symmetry functions, their factor is 1: {'; '.join(constant)}", stacklevel=3)
    return tuple(scalings)


def _linear(settings, path, minimum, maximum, mean, sigma):
    """Shift and factor of the functions of one element, and which of them are constant.

    x = low + (high - low) (G - origin)/width, with origin and width as the keywords say.
    """
    low, high = settings.number("scale_min_short", 0.0), settings.number("scale_max_short", 1.0)
    scale, center = settings.has("scale_symmetry_functions"), settings.has("center_symmetry_functions")
    by_sigma, idle = settings.has("scale_symmetry_functions_sigma"), np.zeros(len(mean), bool)
    if not (scale or by_sigma) or (center and not scale):  # n2p2 passes over sigma where one of the others is there
        return (mean.copy() if center else np.zeros_like(mean)), np.ones_like(mean), idle
    if high <= low:
        raise ValueError(f"{settings.path}: scale_max_short, {high}, must be above scale_min_short, {low}")
    if not scale and np.isnan(sigma).any():
        raise ValueError(f"{path}: scale_symmetry_functions_sigma in input.nn needs a sixth column")
    width, origin = (maximum - minimum if scale else sigma), (mean if center or not scale else minimum)
    idle = width == 0.0
    with np.errstate(all="ignore"):
        factor = np.where(idle, 1.0, (high - low) / np.where(idle, 1.0, width))
        shift = origin - low / factor
    if not (np.isfinite(shift).all() and np.isfinite(factor).all() and (factor > 0.0).all()):
        raise ValueError(f"{path}: a range or sigma is too small or too large to scale by")
    return shift, factor, idle
