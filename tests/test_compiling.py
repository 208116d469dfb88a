"""Machine code on disk: never that of other sources, and never a condition for computing at all."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from numba.core import caching

from bpnumba.kernels import compiling, cpu, neighbors, scatter, stored
from bpnumba.kernels.compiling import SourcesCache, compiled, digest_of_sources

KERNELS = [cpu.describe, cpu.pullback, cpu.pushforward, cpu.jacobian, stored.pullback, stored.pushforward,
           neighbors.list_pairs, neighbors.find_centers, neighbors.sort_by_bin,
           scatter.scatter, scatter.gather, scatter.shortest]  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.py_func.__qualname__)
def test_every_kernel_is_kept_with_all_sources_in_its_key(kernel):
    assert isinstance(kernel._cache, SourcesCache)
    assert kernel.targetoptions["nogil"]


def test_every_file_counts(tmp_path):
    shutil.copytree(compiling.PACKAGE, tmp_path / "bpnumba", ignore=shutil.ignore_patterns("__pycache__"))
    digests = [compiling.SOURCES]
    assert digest_of_sources(tmp_path / "bpnumba") == digests[0]
    for path in sorted(tmp_path.glob("bpnumba/formulas/*.py")) + sorted(tmp_path.glob("bpnumba/kernels/*.py")):
        path.write_text(path.read_text() + "# another day\n")
        digests.append(digest_of_sources(tmp_path / "bpnumba"))
    assert len(set(digests)) == len(digests) > 10


def test_an_edited_formula_gives_another_number(tmp_path):
    """A warm cache, an edit of a formula that kernels inline from another file, and a new process."""
    package = tmp_path / "bpnumba"
    shutil.copytree(compiling.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from bpnumba.functions import G1; from bpnumba.symmetry import SymmetryFunctions; from ase import Atoms\n"
        "import bpnumba.kernels.cpu as cpu\n"
        "functions = SymmetryFunctions.from_functions([G1('H', 'H', 4.0, 'cosine')])\n"
        "value = functions.create(Atoms('H2', [[0, 0, 0], [0, 0, 2.0]]))[0, 0]\n"
        "print(value, sum(cpu.describe.stats.cache_hits.values()))"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "machine code"), "PYTHONPATH": str(tmp_path)}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return [float(word) for word in done.stdout.split()]

    assert run() == pytest.approx([0.5, 0], abs=1e-12)
    assert run() == pytest.approx([0.5, 1], abs=1e-12)  # from the disk
    formula = package / "formulas" / "cutoff.py"
    text = formula.read_text()
    assert "0.5 * (cos(angle) + 1.0)" in text
    formula.write_text(text.replace("0.5 * (cos(angle) + 1.0)", "0.7 * (cos(angle) + 1.0)"))
    assert run() == pytest.approx([0.7, 0], abs=1e-12)
    formula.write_text(text)
    assert run() == pytest.approx([0.5, 1], abs=1e-12)  # two versions live side by side


def total(x):
    return x.sum()


def test_without_a_folder_that_can_be_written(monkeypatch):
    """A read-only installation, and no home: each locator of Numba fails to make its folder."""

    def refuse(self):
        raise PermissionError("read-only")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)
    with pytest.raises(RuntimeError, match="cannot cache function"):
        SourcesCache(total)
    kernel = compiled(error_model="numpy")(total)
    assert isinstance(kernel._cache, caching.NullCache)
    assert kernel(np.ones(3)) == 3.0


def test_a_disk_that_fills_up(monkeypatch):
    """The folder was there when the kernel was made, but cannot take its machine code."""

    def refuse(self, key, data):
        raise OSError("No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", refuse)
    kernel = compiled()(total)
    assert isinstance(kernel._cache, SourcesCache)
    assert kernel(np.ones(4)) == 4.0


def test_without_compilation():
    code = "from bpnumba.kernels import scatter; print(type(scatter.scatter).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "function", done.stderr
