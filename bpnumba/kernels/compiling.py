"""How loops become machine code, and when machine code of an earlier day may be used again.

Numba keeps machine code on disk and compiles anew if the file of a function has changed.  Our kernels inline formulas
and helpers of other files, so here all files of formulas and kernels together are the key.

>>> @compiled()
... def twice(x):
...     return 2 * x
>>> twice(21)
42
"""

from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from numba import njit
from numba.core.caching import FunctionCache

PACKAGE = Path(__file__).parents[1]


def digest_of_sources(package=PACKAGE):
    """Digest of all files that take part in a kernel: those of `formulas` and `kernels`."""
    files = [path for room in ("formulas", "kernels") for path in sorted((package / room).glob("*.py"))]
    return sha256(b"".join(sha256(path.read_bytes()).digest() for path in files)).hexdigest()


SOURCES = digest_of_sources()


class SourcesCache(FunctionCache):
    """Numba's cache, with the digest of the sources in the key."""

    def _index_key(self, sig, codegen):
        return *super()._index_key(sig, codegen), SOURCES

    def save_overload(self, sig, data):
        with suppress(OSError):  # a full disk is no reason not to compute
            super().save_overload(sig, data)


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
