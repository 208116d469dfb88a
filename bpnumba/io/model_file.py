"""A model in one file: ``.npz`` with a JSON header, checked before use, without pickle.

Comes in: a `Potential`, a `Committee` or a `Composite`.  Goes out: the same to the last bit, or an error that names the
file and what is wrong with it.

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

    {"version": 3, "units": "eV, Angstrom", "species": [...],
     "columns": ["kind", "center", "first", ...], "functions": [["G2", "Si", "Si", null, 0.5, ...], ...],
     "members": [{"networks": {symbol: {"sizes": [...], "activations": [...]}}}, ...],
     "reference_energies": {symbol: E0}, "energy_unit": eV per unit of the networks' output,
     "terms": [{"kind": "ZBL", ...}, ...],
     "info": {"versions": {...}, what training has to say}}

A potential has one member; those of a committee have an entry "info" of their own.  The arrays are, per element,
``Si_shift``, ``Si_factor``, ``Si_minimum``, ``Si_maximum`` of its scaling, and per member ``Si_weights_0`` (layer after
layer, W row by row, then b), ``Si_weights_1`` ...  Files of earlier versions are read as well
(`bpnumba.io.model_versions`).
"""

import errno
import os
import platform
from importlib.metadata import version

import numpy as np
from ase.data import chemical_symbols

from bpnumba import __version__
from bpnumba.committee import Committee
from bpnumba.composite import Composite
from bpnumba.functions import ELEMENTS, checked_columns
from bpnumba.io import archive
from bpnumba.io.model_versions import COLUMNS, VERSION, present
from bpnumba.network import Network, n_weights
from bpnumba.potential import Potential
from bpnumba.repulsion import ZBL
from bpnumba.scaling import Scaling
from bpnumba.symmetry import SymmetryFunctions

__all__ = ["MODELS", "load", "save"]

MODELS = (Potential, Committee, Composite)
"""What a file can hold, and what a calculator takes."""

TERMS = {"ZBL": ZBL}
"""Kinds of terms by the name that they have in files."""

KIND = "bpnumba model"
UNITS = "eV, Angstrom"
ENTRIES = {"version": int, "units": str, "species": list, "columns": list, "functions": list, "members": list,
           "reference_energies": dict, "energy_unit": float, "terms": list, "info": dict}  # fmt: skip
PACKAGES = ("numpy", "numba", "scipy", "ase")
LARGEST_CUTOFF = 100.0  # Angstrom; ten times what is in use


def save(model, path):
    """Write a model to one file; what was there is replaced only by a complete file.

    Parameters
    ----------
    model : Potential, Committee or Composite
        Its `info` must consist of what JSON can hold.  The versions of Python and packages are added as
        ``info["versions"]``, unless they are there already: those of the training stay.
    path : str or Path
        Used as it is; ``.npz`` is customary.

    Raises
    ------
    ValueError
        A weight, scaling or reference energy is not finite.
    TypeError
        It is no such model, has a term that no file knows, or `info` has entries that JSON cannot hold.
    OSError
        The disk is full or read-only; ``path`` is as it was.
    """
    if not isinstance(model, MODELS):
        kinds = ", ".join(kind.__name__ for kind in MODELS)
        raise TypeError(f"{path}: a model file holds one of {kinds}, not {type(model).__name__}")
    short_range, terms = (model.short_range, model.terms) if isinstance(model, Composite) else (model, ())
    members = short_range.members if isinstance(short_range, Committee) else (short_range,)
    arrays, first = {}, members[0]
    for symbol, scaling in zip(first.species, first.scalings, strict=True):
        arrays |= {f"{symbol}_{name.removesuffix('_s')}": value for name, value in scaling._asdict().items()}
        arrays |= {f"{symbol}_weights_{n}": member.networks[first.species.index(symbol)].theta
                   for n, member in enumerate(members)}  # fmt: skip
    _check_finite(arrays, first.reference_energies, path)
    header = {
        "version": VERSION,
        "units": UNITS,
        "species": list(first.species),
        "columns": COLUMNS,
        "functions": [_readable(row) for row in first.symmetry_functions.functions],
        "members": [_described(member) for member in members],
        "reference_energies": {symbol: float(first.reference_energies[symbol]) for symbol in first.species},
        "energy_unit": float(first.energy_unit),
        "terms": [{"kind": _kind(term, path), **term.plain()} for term in terms],
        "info": {"versions": versions(), **model.info},
    }
    if len(members) > 1:
        header["members"] = [one | {"info": member.info} for one, member in zip(header["members"], members)]
    archive.write(path, KIND, header, arrays)


def load(path):
    """Read back what `save` wrote.

    Every bit that has a meaning is checked; others (see `bpnumba.io.archive`) change nothing of what is read.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Potential, Committee or Composite

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
    """The model of a header and arrays that are complete, but may not fit together."""
    header, arrays = present(header, arrays)
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
    fields, members = [name.removesuffix("_s") for name in Scaling._fields], header["members"]
    if not members:
        raise ValueError("its header lists no member: there are no networks")
    names = {f"{symbol}_{name}" for symbol in species for name in fields}
    names |= {f"{symbol}_weights_{n}" for symbol in species for n in range(len(members))}
    _same(set(arrays), names, "arrays")
    _same(set(header["reference_energies"]), set(species), "reference energies")
    _check_finite(arrays, header["reference_energies"])
    scalings = tuple(_scaling(symbol, [_vector(arrays, f"{symbol}_{name}") for name in fields]) for symbol in species)
    found = tuple(_members(header, arrays, functions, scalings))
    model = Committee(found, header["info"]) if len(found) > 1 else found[0]
    terms = tuple(map(_term, header["terms"]))
    return Composite(model, terms) if terms else model


def _members(header, arrays, functions, scalings):
    """One potential after the other."""
    entries = header["members"]
    for n, entry in enumerate(entries):
        wanted, where = ({"networks", "info"}, f"member {n}: ") if len(entries) > 1 else ({"networks"}, "")
        if set(entry) != wanted or not all(isinstance(value, dict) for value in entry.values()):
            raise ValueError(f"{where}must have exactly the entries {', '.join(sorted(wanted))}")
        try:
            _same(set(entry["networks"]), set(functions.species), "networks")
            networks = tuple(
                _network(symbol, entry["networks"][symbol], _vector(arrays, f"{symbol}_weights_{n}"))
                for symbol in functions.species
            )
            info, energies = entry.get("info", header["info"]), header["reference_energies"]
            yield Potential(functions, scalings, networks, energies, info, header["energy_unit"])
        except ValueError as error:
            raise ValueError(f"{where}{error}") from None


def _scaling(symbol, vectors):
    """The scaling of an element, checked."""
    scaling = Scaling(*vectors)
    if len({len(array) for array in scaling}) > 1:
        raise ValueError(f"the four arrays of the scaling of {symbol} have different lengths")
    if (scaling.factor_s <= 0.0).any():
        raise ValueError(f"array '{symbol}_factor' has values that are not positive")
    if (scaling.minimum_s > scaling.maximum_s).any():
        raise ValueError(f"array '{symbol}_minimum' is larger than '{symbol}_maximum'")
    return scaling


def _described(potential):
    """What the header says of the networks of one member."""
    networks = zip(potential.species, potential.networks, strict=True)
    return {"networks": {symbol: {"sizes": one.sizes, "activations": one.activations} for symbol, one in networks}}


def _kind(term, path):
    """Name of the kind of a term."""
    for name, kind in TERMS.items():
        if type(term) is kind:
            return name
    raise TypeError(f"{path}: a model file cannot hold the term {type(term).__name__}; it can hold {', '.join(TERMS)}")


def _term(entry):
    """The term of one entry of "terms"."""
    kind = entry["kind"]
    if not isinstance(kind, str) or kind not in TERMS:
        raise ValueError(f"has a term of the unknown kind {kind!r}; this bpnumba knows {', '.join(TERMS)}")
    return TERMS[kind].of({name: value for name, value in entry.items() if name != "kind"})


def _readable(row):
    """One symmetry function as a JSON row with chemical symbols; numbers keep all their digits."""
    values = dict(zip(COLUMNS, row.item(), strict=True))
    values |= {name: chemical_symbols[values[name]] if values[name] else None for name in ELEMENTS}
    return list(values.values())


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
