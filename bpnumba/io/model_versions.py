"""Model files of earlier versions in the form of the present one.

Comes in: the header and the arrays of a file of any version.  Goes out: those that `bpnumba.io.model_file` would write
today.  What they say is not checked here, but that they are of their version.

=======  =============================================================================================
version  what it lacks
=======  =============================================================================================
1        the last four columns of symmetry functions, and the energy unit of networks
2        members of a committee, and terms: it has ``"networks"`` in its header, arrays ``Si_weights``
=======  =============================================================================================
"""

from bpnumba.kernels.table import FUNCTION

__all__ = ["COLUMNS", "VERSION", "present"]

VERSION = 3
COLUMNS = FUNCTION.names
NEW = COLUMNS[10:]  # columns that version 1 did not have
OF_VERSION_2 = ("weights", "shift", "factor", "minimum", "maximum")
"""What arrays of every element were called."""


def present(header, arrays):
    """Header and arrays in the form of version `VERSION`; ValueError for an unknown version, or one misused."""
    version = header.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise ValueError(f"is a model of version {version}; this bpnumba reads versions 1 to {VERSION}")
    if version == 1:
        header = _second(header)
    return _third(header, arrays) if version < 3 else (header, arrays)


def _second(header):
    """A header of version 1 in the form of version 2."""
    if "energy_unit" in header or header.get("columns") != list(COLUMNS[: -len(NEW)]):
        raise ValueError(f"the columns of its symmetry functions are {header.get('columns')}, not those of version 1")
    functions = [[*row, *(0.0 for _ in NEW)] for row in header["functions"]]
    return header | {"columns": list(COLUMNS), "functions": functions, "energy_unit": 1.0}


def _third(header, arrays):
    """Header and arrays of version 2 in the form of version 3: a potential is the only member, without terms."""
    later = sorted({"members", "terms"} & set(header))
    later += [name for name in arrays if name.rpartition("_")[2] not in OF_VERSION_2]
    if later:
        raise ValueError(f"has {', '.join(later)}, which do not belong into a model of version {header['version']}")
    header = header | {"version": VERSION, "members": [{"networks": header["networks"]}], "terms": []}
    del header["networks"]
    return header, {f"{name}_0" if name.endswith("_weights") else name: array for name, array in arrays.items()}
