"""Where the Jacobian lies makes no difference: memory, disk, or computed anew; nor does the number of threads."""

import builtins
import gc
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ase import Atoms
from test_rows import FACTORS, frames, potential_of

from bpnumba.kernels import threads
from bpnumba.training import objective as module
from bpnumba.training import storage
from bpnumba.training.dataset import Dataset
from bpnumba.training.objective import Objective
from bpnumba.training.rows import rows_of
from bpnumba.training.storage import Disk, Memory, Nowhere


@pytest.fixture(scope="module")
def data():
    return Dataset.from_frames(frames())


@pytest.fixture(scope="module")
def potential():
    return potential_of(hidden=(4, 3))


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch):
    monkeypatch.setattr(module, "ATOMS_IN_CHUNK", 9)


def everything(potential, data, keep):
    """Whatever an optimizer asks for, as a list of arrays."""
    problem, theta, found = Objective.prepare(potential, data, FACTORS, keep), potential.theta, []
    loss, gradient, errors = problem.evaluate(theta)
    score, valid = problem.validate(theta)
    found += [loss, gradient, *errors, score, *valid, problem.curvature(theta)]
    for piece in problem.pieces(30):
        R, r, partial = problem.linearize(theta, piece, 12, seed=4)
        found += [R, r, partial.loss, partial.sums]
    for chunk in problem.chunks:
        with chunk.stored.jacobian() as descriptors:
            found += rows_of(potential, chunk, descriptors)
    return found


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_and_disk_have_the_same_bits(potential, data, dtype):
    same(everything(potential, data, Memory(dtype)), everything(potential, data, Disk(dtype)))


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_what_is_computed_anew_is_the_same_to_rounding(potential, data, kernels, request):
    kept = everything(potential, data, Memory(np.float64))
    if kernels == "fast":
        request.getfixturevalue("fast_kernels")
    for a, b in zip(kept, everything(potential, data, Nowhere(np.float64)), strict=True):
        rounding = 1e-10 if np.asarray(a).dtype == np.float64 and np.ndim(a) < 2 else 1e-5  # rows are float32
        np.testing.assert_allclose(b, a, rtol=0, atol=rounding * np.abs(a).max(initial=1e-300))


def test_two_data_sets_on_one_disk(potential, data):
    """Training and validation frames, which have the same numbers."""
    disk, memory = Disk(), Memory()
    train, valid = data.subset(np.arange(3)), data.subset(np.arange(2, 5))
    on_disk, in_memory = ([Objective.prepare(potential, part, FACTORS, keep) for part in (train, valid)]
                          for keep in (disk, memory))  # fmt: skip
    for one, other in zip(on_disk, in_memory, strict=True):
        same(one.evaluate(potential.theta)[:2], other.evaluate(potential.theta)[:2])


def test_files_go_with_their_objective(potential, data):
    problem = Objective.prepare(potential, data, FACTORS, Disk())
    folder = os.path.dirname(problem.chunks[0].stored.path)
    assert len(os.listdir(folder)) == len(problem.chunks) > 1
    assert sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)) > 1000
    del problem
    gc.collect()
    assert not os.path.exists(folder)


def test_files_go_where_a_fit_fails(potential, data, monkeypatch):
    folders = []

    def fails(potential, chunk):
        folders.append(os.path.dirname(chunk.stored.path))
        raise FloatingPointError("not finite")

    def fit():
        Objective.prepare(potential, data, FACTORS, Disk()).evaluate(potential.theta)

    monkeypatch.setitem(module.OF_CHUNK, "gradient", fails)
    with pytest.raises(FloatingPointError):
        fit()
    gc.collect()
    assert folders
    assert not os.path.exists(folders[0])


def test_files_go_when_python_ends(tmp_path):
    """As it does with an error on its way, while the objective is alive."""
    code = """
        import numpy as np
        from test_rows import FACTORS, frames, potential_of
        from bpnumba.training.dataset import Dataset
        from bpnumba.training.objective import Objective
        from bpnumba.training.storage import Disk
        problem = Objective.prepare(potential_of(), Dataset.from_frames(frames()), FACTORS, Disk())
        print(problem.chunks[0].stored.path)
        raise SystemExit(3)
    """
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_names_the_folder(potential, data, monkeypatch):
    class Full:
        """A file that takes nothing."""

        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            self.file.close()

        def tell(self):
            return 0

        def write(self, what):
            raise OSError(28, "No space left on device")

    real = builtins.open
    monkeypatch.setattr(storage, "open", lambda path, *mode: Full(real(path, *mode)), raising=False)
    with pytest.raises(OSError, match=r"No space left on device.*bpnumba_") as caught:
        Objective.prepare(potential, data, FACTORS, Disk())
    assert caught.value.errno == 28
    assert "bpnumba_" in caught.value.filename  # what the command line shows


@pytest.mark.parametrize("keep", [Memory, Disk, Nowhere])
def test_no_frames_and_no_pairs(potential, keep):
    far = Atoms("Si2", [[0, 0, 0], [50.0, 0, 0]], info={"REF_energy": 1.0})
    far.arrays["REF_forces"] = np.zeros((2, 3))
    data = Dataset.from_frames([far])
    assert Objective.prepare(potential, data.subset([]), FACTORS, keep()).chunks == ()
    problem = Objective.prepare(potential, data, FACTORS, keep())
    loss, gradient, errors = problem.evaluate(potential.theta)
    energy = potential.evaluate(far).energy_m[0]
    assert errors.energy == pytest.approx(abs(energy - 1.0) / 2, rel=1e-12)
    assert errors.forces == 0.0
    (piece,) = problem.pieces(10)
    R, r, _ = problem.linearize(potential.theta, piece, 10, seed=0)
    assert R.shape == (7, len(potential.theta))
    np.testing.assert_allclose(2 * R.T @ r / problem.n_residuals + 2 * problem.l2 * potential.theta, gradient,
                               atol=1e-5 * np.abs(gradient).max())  # fmt: skip
    assert not R[1:].any()


@pytest.mark.parametrize("keep", [Memory, Disk, Nowhere])
def test_any_number_of_threads_gives_the_same_bits(potential, data, keep, monkeypatch, fast_kernels):
    monkeypatch.setattr(module, "ATOMS_IN_CHUNK", 3)
    results = []
    for n in (1, 2, 5):
        monkeypatch.setenv(threads.VARIABLE, str(n))
        results.append(everything(potential, data, keep()))
    for other in results[1:]:
        same(results[0], other)


def test_threads_inside_of_threads_come_to_an_end():
    """More items than threads, each with items of its own: waiting for each other they would never end."""
    code = """
        from bpnumba.kernels.threads import in_order
        rows = in_order(lambda i: list(in_order(lambda j: (i, j), range(4))), range(9))
        assert list(rows) == [[(i, j) for j in range(4)] for i in range(9)]
    """
    environment = os.environ | {threads.VARIABLE: "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=True, timeout=60)


def test_threads_after_threads_are_threads(monkeypatch):
    """Only inside of an item the work is done alone."""
    import threading

    monkeypatch.setenv(threads.VARIABLE, "3")
    for _ in range(2):
        names = list(threads.in_order(lambda _: threading.current_thread().name, range(6)))
        assert all(name.startswith("bpnumba") for name in names)
