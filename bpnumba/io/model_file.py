"""A potential in one file: ``.npz`` with a JSON header, checked before use, without pickle.

Comes in: a `Potential`.  Goes out: the same to the last bit, or an error that names the file and what is wrong with it.

>>> import os, tempfile
>>> from ase.build import bulk
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> potential = Potential.untrained(functions, [bulk("Si"), bulk("Si", a=5.6)], hidden=(5,), scaling="center")
>>> path = os.path.join(tempfile.mkdtemp(), "si.npz")
>>> save(potential, path)
>>> bool(load(path).evaluate(bulk("Si")).energy_m == potential.evaluate(bulk("Si")).energy_m)
True

Notes
-----
The header (see `bpnumba.io.archive` for its frame: format, version, checksum) holds ::

    {"version": 2, "units": "eV, Angstrom", "species": [...],
     "columns": ["kind", "center", "first", ...], "functions": [["G2", "Si", "Si", null, 0.5, ...], ...],
     "networks": {symbol: {"sizes": [...], "activations": [...]}}, "reference_energies": {symbol: E0},
     "energy_unit": eV per unit of the networks' output,
     "info": {"versions": {...}, what training has to say}}

and the arrays are, per element, ``Si_weights`` (layer after layer, W row by row, then b) and ``Si_shift``,
``Si_factor``, ``Si_minimum``, ``Si_maximum`` of its scaling.  Version 1 had neither the last four columns nor the
energy unit; it is read as well.
"""

import errno
import os
import platform
from importlib.metadata import version

import numpy as np
from ase.data import chemical_symbols

from bpnumba import __version__
from bpnumba.functions import ELEMENTS, checked_columns
from bpnumba.io import archive
from bpnumba.kernels.table import FUNCTION
from bpnumba.network import Network, n_weights
from bpnumba.potential import Potential
from bpnumba.scaling import Scaling
from bpnumba.symmetry import SymmetryFunctions

__all__ = ["load", "save"]

KIND = "bpnumba model"
VERSION = 2
UNITS = "eV, Angstrom"
COLUMNS = FUNCTION.names
ENTRIES = {"version": int, "units": str, "species": list, "columns": list, "functions": list, "networks": dict,
           "reference_energies": dict, "energy_unit": float, "info": dict}  # fmt: skip
NEW = COLUMNS[10:]  # columns that version 1 did not have
PACKAGES = ("numpy", "numba", "scipy", "ase")
LARGEST_CUTOFF = 100.0  # Angstrom; ten times what is in use


def save(potential, path):
    """Write a potential to one file; what was there is replaced only by a complete file.

    Parameters
    ----------
    potential : Potential
        Its `info` must consist of what JSON can hold.  The versions of Python and packages are added as
        ``info["versions"]``, unless they are there already: those of the training stay.
    path : str or Path
        Used as it is; ``.npz`` is customary.

    Raises
    ------
    ValueError
        A weight, scaling or reference energy is not finite.
    TypeError
        `info` has entries that JSON cannot hold.
    OSError
        The disk is full or read-only; ``path`` is as it was.
    """
    arrays = {}
    for symbol, scaling, network in zip(potential.species, potential.scalings, potential.networks, strict=True):
        arrays[f"{symbol}_weights"] = network.theta
        arrays |= {f"{symbol}_{name.removesuffix('_s')}": value for name, value in scaling._asdict().items()}
    _check_finite(arrays, potential.reference_energies, path)
    header = {
        "version": VERSION,
        "units": UNITS,
        "species": list(potential.species),
        "columns": COLUMNS,
        "functions": [_readable(row) for row in potential.symmetry_functions.functions],
        "networks": {symbol: {"sizes": network.sizes, "activations": network.activations}
                     for symbol, network in zip(potential.species, potential.networks, strict=True)},
        "reference_energies": {symbol: float(potential.reference_energies[symbol]) for symbol in potential.species},
        "energy_unit": float(potential.energy_unit),
        "info": {"versions": versions(), **potential.info},
    }  # fmt: skip
    archive.write(path, KIND, header, arrays)


def load(path):
    """Read back what `save` wrote.

    Every bit that has a meaning is checked; others (see `bpnumba.io.archive`) change nothing of what is read.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Potential

    Raises
    ------
    ValueError
        The file is truncated, damaged, of another kind or version, its parts do not fit together, or a cutoff or a
        scaling is not one that bpnumba can have written.
    OSError
        The file is absent or may not be read.
    """
    if os.path.isdir(path):
        raise IsADirectoryError(
            errno.EISDIR, "is a folder, not a model file; load_runner reads a potential of RuNNer or n2p2", str(path)
        )
    header, arrays = archive.read(path, KIND)
    try:
        return _build(header, arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    except (TypeError, KeyError, AttributeError, OverflowError, IndexError) as error:
        raise ValueError(f"{path}: its header is not that of a {KIND} ({type(error).__name__}: {error})") from error


def versions():
    """What is installed: name -> version."""
    return {"bpnumba": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def _build(header, arrays):
    """The potential of a header and arrays that are complete, but may not fit together."""
    if type(header.get("version")) is not int or not 1 <= header["version"] <= VERSION:
        raise ValueError(f"is a model of version {header.get('version')}; this bpnumba reads versions 1 to {VERSION}")
    if header["version"] == 1:
        header = _of_version_1(header)
    if set(header) != set(ENTRIES) or not all(isinstance(header[name], kind) for name, kind in ENTRIES.items()):
        raise ValueError(f"its header must have exactly the entries {', '.join(ENTRIES)}")
    if header["units"] != UNITS:
        raise ValueError(f"its units are {header['units']!r}, must be {UNITS!r}")
    if tuple(header["columns"]) != COLUMNS:
        raise ValueError(f"the columns of its symmetry functions are {header['columns']}, must be {', '.join(COLUMNS)}")
    functions = SymmetryFunctions.from_functions([_row(row) for row in header["functions"]], header["species"])
    species = functions.species
    if list(species) != header["species"]:
        raise ValueError(f"its species are {header['species']}, must be distinct and sorted by atomic number")
    fields = ("weights", *(name.removesuffix("_s") for name in Scaling._fields))
    _same(set(arrays), {f"{symbol}_{name}" for symbol in species for name in fields}, "arrays")
    _same(set(header["networks"]), set(species), "networks")
    _same(set(header["reference_energies"]), set(species), "reference energies")
    _check_finite(arrays, header["reference_energies"])
    scalings = tuple(Scaling(*(_vector(arrays, f"{symbol}_{name}") for name in fields[1:])) for symbol in species)
    for symbol, scaling in zip(species, scalings, strict=True):
        if len({len(array) for array in scaling}) > 1:
            raise ValueError(f"the four arrays of the scaling of {symbol} have different lengths")
        if (scaling.factor_s <= 0.0).any():
            raise ValueError(f"array '{symbol}_factor' has values that are not positive")
        if (scaling.minimum_s > scaling.maximum_s).any():
            raise ValueError(f"array '{symbol}_minimum' is larger than '{symbol}_maximum'")
    networks = tuple(_network(symbol, header["networks"][symbol], _vector(arrays, f"{symbol}_weights"))
                     for symbol in species)  # fmt: skip
    energies = header["reference_energies"]
    return Potential(functions, scalings, networks, energies, header["info"], header["energy_unit"])


def _readable(row):
    """One symmetry function as a JSON row with chemical symbols; numbers keep all their digits."""
    values = dict(zip(COLUMNS, row.item(), strict=True))
    values |= {name: chemical_symbols[values[name]] if values[name] else None for name in ELEMENTS}
    return list(values.values())


def _of_version_1(header):
    """A header of version 1 in the form of version 2."""
    if "energy_unit" in header or header.get("columns") != list(COLUMNS[: -len(NEW)]):
        raise ValueError(f"the columns of its symmetry functions are {header.get('columns')}, not those of version 1")
    functions = [[*row, *(0.0 for _ in NEW)] for row in header["functions"]]
    return header | {"version": VERSION, "columns": list(COLUMNS), "functions": functions, "energy_unit": 1.0}


def _row(row):
    """One row of FUNCTION from a JSON row, checked."""
    values = dict(zip(COLUMNS, row, strict=True))
    if any(isinstance(value, bool) for value in row):
        raise ValueError(f"has a symmetry function with true or false in place of a number: {row}")
    if values["rc"] > LARGEST_CUTOFF:
        raise ValueError(
            f"has a symmetry function with a cutoff of {values['rc']} Angstrom, beyond {LARGEST_CUTOFF:g}: {row}"
        )
    return checked_columns(values)


def _network(symbol, entry, weights):
    """The network of an element; sizes are compared with the weights before anything of that size is made."""
    sizes, activations = tuple(entry["sizes"]), tuple(entry["activations"])
    if not all(type(size) is int and size > 0 for size in sizes):
        raise ValueError(f"the layer sizes of {symbol} are {sizes}, must be positive whole numbers")
    if n_weights(sizes) != len(weights):
        raise ValueError(f"{symbol} has {len(weights)} weights, but layers {sizes} need {n_weights(sizes)}")
    return Network(sizes, activations, weights)


def _vector(arrays, name):
    array = arrays[name]
    if array.ndim != 1 or array.dtype != np.float64:
        raise ValueError(f"array '{name}' must be one row of float64 numbers, not {array.dtype} of shape {array.shape}")
    return array


def _same(found, wanted, what):
    if found != wanted:
        raise ValueError(f"{what} missing: {sorted(wanted - found)}, not expected: {sorted(found - wanted)}")


def _check_finite(arrays, reference_energies, path=None):
    where = "" if path is None else f"{path}: "
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{where}array '{name}' has values that are not finite")
    for symbol, energy in reference_energies.items():
        if isinstance(energy, bool) or not np.isfinite(energy):
            raise ValueError(f"{where}the reference energy of {symbol} is {energy}, must be a number")
