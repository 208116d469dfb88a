"""Machine code on disk: never that of other sources, and never a condition for computing at all."""

import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ase.build import molecule
from numba.core import caching

from bpnumba.kernels import (
    centers,
    chunks,
    compiling,
    cpu,
    gradients,
    neighbors,
    packed,
    scatter,
    stored,
    triangles,
)
from bpnumba.kernels.compiling import KeptFiles, SourcesCache, compiled, digest_of_sources
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

KERNELS = [cpu.describe, cpu.pullback, cpu.pushforward, cpu.jacobian, stored.pullback, stored.pushforward,
           neighbors.list_pairs, neighbors.find_centers,
           scatter.scatter, scatter.gather, scatter.shortest, gradients.scatter, gradients.gather, gradients.rooms_of,
           packed.find_chunk, chunks.touch, packed.refresh, packed.pack_pairs,
           *(getattr(of, verb) for of in (triangles, centers) for verb in ("describe", "pullback", "pushforward")),
           ]  # fmt: skip


def named(kernel):
    return f"{kernel.py_func.__module__}.{kernel.py_func.__qualname__}"


@pytest.mark.parametrize("kernel", KERNELS, ids=named)
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

    monkeypatch.setattr(KeptFiles, "save", refuse)
    kernel = compiled()(total)
    assert isinstance(kernel._cache, SourcesCache)
    assert kernel(np.ones(4)) == 4.0


def half(x):
    return 0.5 * x


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A function that compiles `half` anew, or takes it from the disk: returns its value at 4 and how it was had."""
    monkeypatch.setattr(caching.config, "CACHE_DIR", str(tmp_path))

    def of(x=4.0):
        kernel = compiled()(half)
        return kernel(x), "disk" if sum(kernel.stats.cache_hits.values()) else "compiler"

    return of


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_one_file_for_each_key(fresh, tmp_path):
    assert [fresh(), fresh(), fresh(4), fresh(4), fresh()] == [
        (2.0, "compiler"), (2.0, "disk"), (2.0, "compiler"), (2.0, "disk"), (2.0, "disk")
    ]  # fmt: skip
    assert [path.suffix for path in files(tmp_path)] == [".nbc", ".nbc"]


@pytest.mark.parametrize("harm", ["cut", "empty", "flipped", "text", "pickle", "other key"])
def test_damaged_machine_code_is_made_again(fresh, tmp_path, harm):
    assert fresh() == (2.0, "compiler")
    (path,) = files(tmp_path)
    content = path.read_bytes()
    if harm == "other key":  # a whole file, of other code
        fresh(4)
        (other,) = set(files(tmp_path)) - {path}
        shutil.copy(other, path)
    else:
        path.write_bytes({
            "cut": content[:-100], "empty": b"", "text": b"no machine code",
            "flipped": content[:2000] + bytes([content[2000] ^ 1]) + content[2001:],
            "pickle": pickle.dumps((repr("key"), "data")),
        }[harm])  # fmt: skip
    assert fresh() == (2.0, "compiler")
    assert fresh() == (2.0, "disk")


def test_code_that_cannot_be_brought_to_life(fresh, monkeypatch):
    fresh()

    def refuse(self, target_context, payload):
        raise RuntimeError("of another world")

    with monkeypatch.context() as patched:
        patched.setattr(SourcesCache._impl_class, "rebuild", refuse)
        assert fresh() == (2.0, "compiler")
    assert fresh() == (2.0, "disk")


def test_other_versions_are_other_keys(fresh, monkeypatch):
    fresh()
    for module in (compiling.numba, compiling.llvmlite):
        with monkeypatch.context() as patched:
            patched.setattr(module, "__version__", "1000.0")
            assert fresh() == (2.0, "compiler")
    assert fresh() == (2.0, "disk")


def test_a_line_says_that_something_is_compiled(fresh, monkeypatch, capsys):
    monkeypatch.setattr(compiling, "ANNOUNCED", set())
    fresh()
    fresh(4)
    assert capsys.readouterr().err.startswith("bpnumba: compiling kernels; they are kept in ")
    fresh()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("setting", ["NUMBA_DISABLE_JIT=1", "NUMBA_CPU_NAME=generic", "NUMBA_ENABLE_AVX=0"])
def test_settings_of_numba(setting, tmp_path):
    """Without its compiler the plain kernels run as Python; for a lesser processor lanes are fewer."""
    code = (
        "from ase.build import molecule; from bpnumba import SymmetryFunctions; from bpnumba.kernels.machine import *\n"
        "functions = SymmetryFunctions(['H', 'O'], 4.0, [[0.5, 0.0]], [[0.05, 2, 1]], [[0.05, 1, -1]])\n"
        "G = functions.describe(functions.pair_list().pairs(molecule('H2O'))).values\n"
        "print(this_machine().lanes, *(block.sum() for block in G))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "BPNUMBA_KERNELS"}
    environment |= {"NUMBA_CACHE_DIR": str(tmp_path), **dict([setting.split("=")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    lanes, *sums = done.stdout.split()
    assert int(lanes) in ((0,) if "JIT" in setting else (0, 2, 4))
    functions = SymmetryFunctions(["H", "O"], 4.0, [[0.5, 0.0]], [[0.05, 2, 1]], [[0.05, 1, -1]])
    G = functions.describe(Pairs.from_atoms(molecule("H2O"), 4.0)).values
    np.testing.assert_allclose([float(x) for x in sums], [block.sum() for block in G], rtol=1e-12)


def test_without_compilation():
    code = "from bpnumba.kernels import scatter; print(type(scatter.scatter).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "function", done.stderr
