"""Arrays and a JSON header in one checked ``.npz`` file, without pickle.

Comes in: a header (anything that JSON can hold) and named NumPy arrays. Goes out: a file that is either complete or
absent, and on reading either the same content or a ``ValueError`` that names the file and what is wrong with it. Model
files and checkpoints stand on this floor.

>>> import numpy as np, os, tempfile
>>> path = os.path.join(tempfile.mkdtemp(), "a.npz")
>>> write(path, "bpnumba model", {"species": ["Si"]}, {"theta": np.arange(3.0)})
>>> read(path, "bpnumba model")
({'species': ['Si']}, {'theta': array([0., 1., 2.])})

Notes
-----
The file is an ordinary ``.npz`` (``numpy.load`` opens it). The array ``header`` holds UTF-8 JSON::

    {"format": kind, "version": 1, "arrays": {name: [shape, dtype]}, "content": header, "checksum": SHA-256}

The checksum covers the header without its checksum, and the bytes of all arrays in alphabetical order. It finds damage;
it is no signature. Bits that carry no content (dates and attributes in the zip directory, bytes behind its end) may
change unnoticed: what can be read is exactly what was written. Members are stored, never compressed: the size of the
file bounds the memory that reading can take.
"""

import errno
import hashlib
import io
import json
import math
import os
import secrets
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np

__all__ = ["behind_link", "check_target", "read", "write", "write_atomically"]

VERSION = 1
MAX_BYTES = 2**31  # ten thousand times a usual model, and what zip can hold without its 64-bit extension
MAX_ARRAY_BYTES = MAX_BYTES - 2**24  # leaves room for header and directory
MAX_NPY_HEADER = 10_000  # bytes; the limit of numpy.lib.format
STALE = 60.0  # seconds without a write, after which a temporary file is that of a killed process
TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the zero of zip time: the same content gives the same bytes


def write(path, kind, header, arrays):
    """Write a header and arrays to ``path``; what was there is replaced only by a complete file.

    Parameters
    ----------
    path : str or Path
    kind : str
        Kind of file, for example ``"bpnumba model"``; `read` asks for the same.
    header : dict
        Anything that JSON can hold; NumPy scalars and arrays become numbers and lists.
    arrays : dict of str to ndarray
        Any dtype without Python objects; stored in C order, little-endian.

    Raises
    ------
    ValueError
        An array holds objects, the content is too large, or an array is called ``header``.
    OSError
        The disk is full or read-only; ``path`` is as it was.
    """
    path = Path(path)
    arrays = {name: _portable(path, name, arrays[name]) for name in sorted(arrays)}
    if "header" in arrays:
        raise ValueError(f"{path}: no array can be called 'header'; choose another name")
    if sum(array.nbytes for array in arrays.values()) > MAX_ARRAY_BYTES:
        raise ValueError(f"{path}: more than {MAX_ARRAY_BYTES} bytes of arrays, beyond what one file may hold")
    described = {
        "format": kind,
        "version": VERSION,
        "arrays": {name: _described(array) for name, array in arrays.items()},
        "content": header,
    }
    described = json.loads(_json(described))  # tuples and NumPy scalars become what the reader will see
    described["checksum"] = _checksum(described, arrays)
    members = {"header": np.frombuffer(_json(described), dtype=np.uint8), **arrays}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in members.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", TIMESTAMP), member.getvalue())
    write_atomically(path, buffer.getvalue())


def read(path, kind):
    """Read back what `write` wrote, after checking all of it.

    Returns
    -------
    header : dict
    arrays : dict of str to ndarray

    Raises
    ------
    ValueError
        Truncated, damaged, of another kind or version, with missing, extra, object or absurdly large arrays.
    OSError
        The file is absent or may not be read.
    """
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes are too many for a {kind}; this is not such a file")
    data = path.read_bytes()
    try:
        return _decode(data, kind)
    except _Fault as fault:
        raise ValueError(f"{path}: {fault}") from None
    except Exception as error:  # zipfile, json and numpy answer damage with many types
        raise ValueError(f"{path}: damaged or not a {kind} ({type(error).__name__}: {error})") from error


def write_atomically(path, data):
    """Write bytes so that ``path`` holds either all of them or what it held before, also after a crash.

    A symbolic link stays one: what it points to is written. Temporary files that killed processes left behind for the
    same name are removed.

    Raises
    ------
    OSError
        Nothing could be written; ``path`` is as it was.
    """
    path = behind_link(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        _remove_stale(temporary)
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        message = f"could not be written ({error.strerror}); what was there is unchanged"
        raise OSError(error.errno, message, str(path)) from error


def behind_link(path):
    """Path of the file that a symbolic link points to; any other path as it is."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def check_target(path):
    """Raise OSError if no file of this name can be written, before any work is done for it."""
    path = behind_link(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a directory", str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder to write to", str(path.parent))
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise PermissionError(
            errno.EACCES, f"nothing can be written there ({error.strerror})", str(path.parent)
        ) from None


class _Fault(Exception):
    """What is wrong with a file, in words for the user."""


def _decode(data, kind):
    """Bytes of a file -> (header, arrays), every size checked before the bytes behind it are used."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise _Fault(f"not a {kind}, or truncated: no complete .npz (zip) archive")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(members) != len(archive.infolist()):
            raise _Fault("two arrays of one name")
        if any(info.compress_type or info.file_size != info.compress_size for info in members.values()):
            raise _Fault("has compressed arrays, which bpnumba never writes: they could unfold to any size; refused")
        if sum(info.file_size for info in members.values()) > len(data):
            raise _Fault("its directory claims more bytes than the file has")
        if "header" not in members:
            raise _Fault(f"not a {kind}: it has no header")
        header = json.loads(_array(archive.read(members.pop("header")), "header").tobytes())
        _check_header(header, kind, set(members))
        arrays = {name: _array(archive.read(members[name]), name, header["arrays"][name]) for name in sorted(members)}
    if header.pop("checksum") != _checksum(header, arrays):
        raise _Fault("its checksum does not fit its content: the file was damaged or edited")
    return header["content"], arrays


def _check_header(header, kind, names):
    """Raise where the header is not one of this kind and version, or lists other arrays than are there."""
    wanted = {"format": str, "version": int, "arrays": dict, "content": dict, "checksum": str}
    if not isinstance(header, dict) or not str(header.get("format")).startswith("bpnumba"):
        raise _Fault(f"not a {kind}: its header is not one of bpnumba")
    if header["format"] != kind:
        raise _Fault(f"holds a {header['format']}, not a {kind}")
    if type(header.get("version")) is not int or header["version"] != VERSION:
        raise _Fault(f"has format version {header.get('version')}; this bpnumba reads version {VERSION}")
    if set(header) != set(wanted) or not all(isinstance(header[name], wanted[name]) for name in wanted):
        raise _Fault(f"its header must have exactly the entries {', '.join(wanted)}")
    listed = set(header["arrays"])
    if listed != names:
        raise _Fault(f"arrays missing: {sorted(listed - names)}, arrays not in the header: {sorted(names - listed)}")


def _array(data, name, described=None):
    """The array in the bytes of one ``.npy`` member; nothing is allocated before its size is known to fit."""
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise _Fault(f"array '{name}' has an unknown .npy version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_NPY_HEADER)
    if dtype.hasobject:
        raise _Fault(f"array '{name}' holds Python objects, which could run code; refused")
    if fortran or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data) - stream.tell():
        raise _Fault(f"array '{name}' has a wrong size: shape {shape} of {dtype} in {len(data) - stream.tell()} bytes")
    array = np.frombuffer(data, dtype=dtype, offset=stream.tell()).reshape(shape).copy()
    if described is not None and described != json.loads(_json(_described(array))):
        raise _Fault(f"array '{name}' is {_described(array)}, its header says {described}")
    return array


def _portable(path, name, array):
    """The array in C order and little-endian, refused where it holds objects."""
    array = np.asarray(array, order="C")
    if array.dtype.hasobject:
        raise ValueError(f"{path}: array '{name}' holds Python objects; only numbers and text can be stored")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _described(array):
    return [list(array.shape), np.lib.format.dtype_to_descr(array.dtype)]


def _checksum(described, arrays):
    """SHA-256 of the header (without its checksum) and of the bytes of all arrays, in hexadecimal."""
    digest = hashlib.sha256(_json(described))
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()


def _json(content):
    return json.dumps(content, sort_keys=True, separators=(",", ":"), default=lambda value: value.tolist()).encode()


def _remove_stale(temporary):
    """Remove files named like this temporary one, up to its random part, that no process writes any more."""
    start = temporary.name[: -len("01234567.tmp")]
    for other in os.scandir(temporary.parent):
        alike = other.name.startswith(start) and other.name.endswith(".tmp") and len(other.name) == len(temporary.name)
        if alike and time.time() - other.stat(follow_symlinks=False).st_mtime > STALE:
            Path(other).unlink(missing_ok=True)


def _sync_folder(folder):
    """Make a rename last through a power cut, where the system offers it."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
