"""How loops become machine code, and when machine code of an earlier day may be used again.

Numba keeps machine code on disk and compiles anew if the file of a function has changed.  Our kernels inline formulas
and helpers of other files, so here all files of formulas and kernels together are the key.  Each piece of machine code
has a file of its own, named after its key, with a checksum: whatever is cut, damaged or foreign is compiled again, and
processes that write at the same time cannot take each other's code.

>>> @compiled()
... def twice(x):
...     return 2 * x
>>> twice(21)
42
"""

import os
import pickle
import sys
import uuid
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import llvmlite
import numba
from numba import njit
from numba.core.caching import FunctionCache

PACKAGE = Path(__file__).parents[1]


def digest_of_sources(package=PACKAGE):
    """Digest of all files that take part in a kernel: those of `formulas` and `kernels`."""
    files = [path for room in ("formulas", "kernels") for path in sorted((package / room).glob("*.py"))]
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()


SOURCES = digest_of_sources()


class KeptFiles:
    """Machine code in files, one for each key; in place of Numba's numbered files with a common index."""

    def __init__(self, folder, name):
        self.folder, self.name = Path(folder), name

    def path(self, key):
        return self.folder / f"{self.name}-{sha256(repr(key).encode()).hexdigest()[:32]}.nbc"

    def load(self, key):
        """What was saved under this key, or None."""
        try:
            content = self.path(key).read_bytes()
            checksum, payload = content[:32], content[32:]
            if sha256(payload).digest() != checksum:
                return None
            kept, data = pickle.loads(payload)
        except Exception:  # no file, or not one of ours
            return None
        return data if kept == repr(key) else None

    def save(self, key, data):
        payload = pickle.dumps((repr(key), data), protocol=-1)
        path = self.path(key)
        unfinished = path.with_suffix(f".{uuid.uuid4().hex[:8]}.tmp")
        try:
            unfinished.write_bytes(sha256(payload).digest() + payload)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def flush(self):
        for path in self.folder.glob(f"{self.name}-*.nbc"):
            path.unlink(missing_ok=True)


class SourcesCache(FunctionCache):
    """Numba's cache with the digest of the sources in the key, and files that are checked."""

    def __init__(self, function):
        super().__init__(function)
        self._cache_file = KeptFiles(self.cache_path, self._impl.filename_base)

    def _index_key(self, sig, codegen):
        versions = numba.__version__, llvmlite.__version__, sys.version_info[:3]
        return *super()._index_key(sig, codegen), versions, SOURCES

    def load_overload(self, sig, target_context):
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # machine code that cannot be brought to life
            found = None
        if found is None:
            announce(sig, self.cache_path)
            COMPILED.append(self.cache_path)
        return found

    def save_overload(self, sig, data):
        with suppress(OSError):  # a full disk is no reason not to compute
            super().save_overload(sig, data)


ANNOUNCED, COMPILED = set(), []
"""What users have been told, and where each kernel went that this process compiled."""


def announce(sig, folder):
    """One line before the first kernel of a kind is compiled: users wait for seconds."""
    kind = next((type_.name for type_ in sig if hasattr(type_, "plan")), "") if isinstance(sig, tuple) else ""
    if kind not in ANNOUNCED:
        ANNOUNCED.add(kind)
        what = "kernels for this set of symmetry functions" if kind else "kernels"
        print(f"bpnumba: compiling {what}; they are kept in {folder}", file=sys.stderr, flush=True)


def compiled(**options):
    """Decorator: `numba.njit` without the GIL, kept on disk where there is a folder that can be written.

    Parameters
    ----------
    options
        Of `numba.njit`, such as ``error_model="numpy"``.
    """

    def compile_later(function):
        kernel = njit(nogil=True, **options)(function)
        if kernel is not function:  # NUMBA_DISABLE_JIT gives the function back
            with suppress(RuntimeError):  # from Numba: no folder can be written; each process then compiles for itself
                kernel._cache = SourcesCache(function)
        return kernel

    return compile_later


def contraction(function):
    """Decorator of kernels that are mostly sums, which may be taken in any order: only then are whole vectors used."""
    return compiled(error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(function)
