"""Files of RuNNer and n2p2 into those of bpnumba and ASE, and back: models and structures.

Comes in: two paths and the units of the file of RuNNer or n2p2, which does not tell them.  Goes out: the written file
or folder, and a line that says what was read and written.  What a path means is seen from the path:

=====================  ==========================================================================
model                  a file ``.npz`` (bpnumba), or a folder with ``input.nn`` (RuNNer, n2p2)
structures             a file ``input.data``, ``input.data.*`` or ``*.data`` (RuNNer, n2p2), or any
                       other that ASE reads or writes
=====================  ==========================================================================
"""

import errno
import os
from pathlib import Path

import bpnumba
from bpnumba.io.archive import check_target
from bpnumba.io.frames import is_input_data, named_input_data, read_frames, write_frames
from bpnumba.io.input_data import write_structures
from bpnumba.io.runner import check_folder, load_runner
from bpnumba.units import NAMES, of_files


def convert(source, target, units="atomic", overwrite=False):
    """Convert a model or structures; one of the two files must be of RuNNer or n2p2.

    Parameters
    ----------
    source, target : path
        An existing target is replaced, but for a folder that holds an ``input.nn``.
    units : str
        Of the file of RuNNer or n2p2: "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).
    overwrite : bool
        Replace the model in a folder.

    Returns
    -------
    report : str

    Raises
    ------
    ValueError
        The two cannot be converted into each other, or the source cannot be read.
    OSError
        A file cannot be read or written.
    """
    source, target = os.fspath(source), os.fspath(target)
    of_files(units)
    if not os.path.exists(source):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
    check_folder(source)
    if os.path.isdir(source) or source.endswith(".npz"):
        return _convert_model(source, target, units, overwrite)
    return _convert_structures(source, target, units)


def load_model(path, units="atomic"):
    """The potential in a model file, or in a folder of RuNNer or n2p2, to which the units apply."""
    check_folder(path)
    return load_runner(path, units) if os.path.isdir(path) else bpnumba.load(path)


def _convert_model(source, target, units, overwrite):
    if os.path.isdir(source):
        if not target.endswith(".npz"):
            raise ValueError(f"{source} is a folder, a model of RuNNer or n2p2; it becomes a file .npz, not {target}")
        check_target(target)
        potential = load_model(source, units)
        bpnumba.save(potential, target)
        origin, result = NAMES[units], NAMES["metal"]
    else:
        if not os.path.isdir(target) and (os.path.exists(target) or Path(target).suffix):
            raise ValueError(f"{source} is a model of bpnumba; it becomes a folder of RuNNer, not the file {target}")
        if not overwrite and (Path(target) / "input.nn").exists():
            raise FileExistsError(errno.EEXIST, "holds an input.nn already; --overwrite replaces that model", target)
        potential = load_model(source)
        potential.save_runner(target, units)
        origin, result = NAMES["metal"], NAMES[units]
    n_functions = len(potential.symmetry_functions.functions)
    about = f"{' '.join(potential.species)}, {n_functions} symmetry functions, {len(potential.theta):,} weights"
    return f"read the model {source} ({origin}): {about}; wrote {target} ({result})"


def _convert_structures(source, target, units):
    if target.endswith(".npz") or os.path.isdir(target):
        raise ValueError(f"{source} holds structures; they cannot become the model {target}")
    from_theirs, to_theirs = is_input_data(source), named_input_data(target)
    if from_theirs == to_theirs:
        which = "both files are" if from_theirs else "neither file is"
        raise ValueError(f"{source} to {target}: {which} of RuNNer or n2p2 (input.data or *.data)")
    check_target(target)
    frames = read_frames(source, units=units)
    if to_theirs:
        write_structures(target, frames, units)
    else:
        write_frames(target, frames)
    origin, result = (NAMES[units if theirs else "metal"] for theirs in (from_theirs, to_theirs))
    count = f"{len(frames)} structures, {sum(map(len, frames)):,} atoms"
    return f"read {source} ({origin}): {count}; wrote {target} ({result})"
