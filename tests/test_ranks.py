"""One fit on several processes: the same bits as one, and nobody waits for ranks that failed."""

import importlib.util
import json
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import ase.io
import numpy as np
import pytest
from test_fit import copper

import bpnumba
from bpnumba.potential import Potential
from bpnumba.training import objective, ranks
from bpnumba.training.dataset import Dataset
from bpnumba.training.objective import Objective
from bpnumba.training.storage import Disk, Memory
from bpnumba.training.targets import Factors, Scales

FACTORS = Factors(Scales(0.001, 0.1, 0.005))

# ---- ranks that are threads ----


class Rank:
    """What `ranks` needs of a communicator of mpi4py; messages are pickled, as there."""

    def __init__(self, rank, mail):
        self.rank, self.size, self.mail = rank, len(mail), mail

    def send(self, message, dest):
        self.mail[dest][self.rank].put(pickle.dumps(message))

    def recv(self, source):
        return pickle.loads(self.mail[self.rank][source].get(timeout=60))

    def bcast(self, message):
        if self.rank:
            return self.recv(0)
        for rank in range(1, self.size):
            self.send(message, rank)
        return message

    def Abort(self, status):
        raise AssertionError(f"rank {self.rank} has ended all")


@contextmanager
def crew(size):
    """Rank 0, while all others serve it; in the end all have stopped, and no message is left."""
    mail = [[queue.Queue() for _ in range(size)] for _ in range(size)]
    threads = [threading.Thread(target=ranks.serve, args=(Rank(r, mail),), daemon=True) for r in range(1, size)]
    for thread in threads:
        thread.start()
    yield Rank(0, mail)
    Rank(0, mail).bcast(("stop",))
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert all(box.empty() for boxes in mail for box in boxes)


@pytest.fixture(scope="module")
def potential():
    return Potential.untrained(
        bpnumba.SymmetryFunctions(["Cu"], 4.0, g2_params=[[0.5, 0.0], [1.0, 1.5]]), copper(4), (3,)
    )


@pytest.fixture(scope="module")
def data():
    return Dataset.from_frames(copper(45))


@pytest.fixture
def one(potential, data, monkeypatch):
    """The objective of a single process, of many shards."""
    monkeypatch.setattr(objective, "ATOMS_IN_CHUNK", 4)
    return Objective.prepare(potential, data, FACTORS)


def same(first, second):
    """Equal to the last bit."""
    np.testing.assert_equal(pickle.loads(pickle.dumps(first)), pickle.loads(pickle.dumps(second)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 40])
def test_any_number_of_ranks_gives_the_bits_of_one(one, potential, data, size):
    theta = potential.theta
    assert len(one.shards) == 23 < objective.SHARDS < len(one.chunks)
    with crew(size) as comm:
        many = ranks.SharedObjective.prepare_on(comm, potential, data, FACTORS, Memory())
        assert len(many.chunks) < len(one.chunks) or size == 1
        for weights in (theta, theta[::-1].copy()):
            same(many.evaluate(weights), one.evaluate(weights))
            same(many.validate(weights), one.validate(weights))
            same(many.curvature(weights), one.curvature(weights))
        same(many.with_l2(0.5).loss_and_gradient(theta), one.with_l2(0.5).loss_and_gradient(theta))
        same(many.pieces(20), one.pieces(20))
        for piece in one.pieces(20)[::9]:
            same(many.linearize(theta, piece, 20, seed=1), one.linearize(theta, piece, 20, seed=1))


def test_two_objectives_one_of_them_with_fewer_shards_than_ranks(one, potential, data):
    few = data.subset([0, 1])
    with crew(4) as comm:
        for dataset in (data, few):
            many = ranks.SharedObjective.prepare_on(comm, potential, dataset, FACTORS, Disk())
            alone = Objective.prepare(potential, dataset, FACTORS)
            assert many.chunks
            same(many.evaluate(potential.theta), alone.evaluate(potential.theta))
            same(many.curvature(potential.theta), alone.curvature(potential.theta))


@pytest.mark.parametrize("what", ["evaluate", "curvature"])
def test_a_failure_of_rank_0_leaves_the_ranks_in_step(one, potential, data, monkeypatch, what):
    name = {"evaluate": "gradient", "curvature": "curvature"}[what]
    real, failed = objective.OF_CHUNK[name], []

    def fails(potential, chunk):
        if threading.current_thread() is threading.main_thread() and not failed:
            failed.append(chunk)
            raise MemoryError("too large")
        return real(potential, chunk)

    monkeypatch.setenv("BPNUMBA_THREADS", "1")
    with crew(3) as comm:
        many = ranks.SharedObjective.prepare_on(comm, potential, data, FACTORS, Memory())
        monkeypatch.setitem(objective.OF_CHUNK, name, fails)
        with pytest.raises(MemoryError, match="too large"):
            getattr(many, what)(potential.theta)
        same(getattr(many, what)(potential.theta), getattr(one, what)(potential.theta))


def test_an_interrupt_waits_until_the_ranks_have_answered(one, potential, data, monkeypatch):
    real, seen = objective.OF_CHUNK["gradient"], []

    def interrupted(potential, chunk):
        if threading.current_thread() is threading.main_thread() and not seen:
            seen.append(chunk)
            signal.raise_signal(signal.SIGINT)
        return real(potential, chunk)

    monkeypatch.setenv("BPNUMBA_THREADS", "1")
    with crew(3) as comm:
        many = ranks.SharedObjective.prepare_on(comm, potential, data, FACTORS, Memory())
        monkeypatch.setitem(objective.OF_CHUNK, "gradient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            many.evaluate(potential.theta)
        same(many.evaluate(potential.theta), one.evaluate(potential.theta))


def test_processes_that_do_not_know_of_each_other(monkeypatch):
    ranks.check_launch()
    assert ranks.counts() == (1, 1)
    monkeypatch.setenv("PMI_SIZE", "4")
    with pytest.raises(ValueError, match="mpiexec has started 4 processes that do not know of each other"):
        ranks.check_launch()


# ---- ranks that are processes ----

BESIDE = Path(sys.executable).with_name("mpiexec")  # of a wheel, which mpi4py prefers, too
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="needs mpi4py and mpiexec: pip install mpi4py mpich",
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    # Open MPI refuses root, and more ranks than cores
    **dict.fromkeys(
        [f"{name}_ALLOW_RUN_AS_ROOT{end}" for name in ("OMPI", "PRTE") for end in ("", "_CONFIRM")]
        + ["OMPI_MCA_rmaps_base_oversubscribe", "OMPI_MCA_mpi_yield_when_idle"],
        "1",
    ),
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_MCA_btl_vader_single_copy_mechanism": "none",  # not allowed in many containers
}

SCRIPT = """
import json, sys
import bpnumba
from bpnumba import plots
from bpnumba.training import objective, ranks
objective.ATOMS_IN_CHUNK = 16
plots.learning_curves = plots.parity = lambda *args, **options: None  # to be fast
n, output, resume, settings = json.loads(sys.argv[1])
result = bpnumba.fit("train.xyz", "valid.xyz", output, resume=resume, **settings)
assert ranks.counts() == (n, n)
assert (result is None) == ranks.is_worker()
"""

FAILING = """
import sys
from mpi4py import MPI
from bpnumba import cli
from bpnumba.training import objective, storage
objective.ATOMS_IN_CHUNK = 16

def put(self, symmetry_functions, frames, first):
    if MPI.COMM_WORLD.rank == 1:
        raise ValueError(f"frame {first} is bad")
    return real(self, symmetry_functions, frames, first)

real, storage.Memory.put = storage.Memory.put, put
raise SystemExit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("ranks")
    ase.io.write(path / "train.xyz", copper(20))
    ase.io.write(path / "valid.xyz", copper(5, seed=1))
    (path / "fit.py").write_text(SCRIPT)
    (path / "failing.py").write_text(FAILING)
    return path


def run(folder, n, *arguments):
    """By n processes, or without MPI for n = 1."""
    start = [MPIEXEC, "-n", str(n), sys.executable, "-m", "mpi4py"] if n > 1 else [sys.executable]
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(bpnumba.__file__).parents[1])}
    return subprocess.run(
        [*start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def fitted(folder, n, output, resume=False, **settings):
    """Weights of a fit by n processes, and what it printed."""
    settings = {"cutoff": 5.5, "n_functions": 8, "hidden": [4], "seed": 3, **settings}
    done = run(folder, n, "fit.py", json.dumps([n, output, resume, settings]))
    assert done.returncode == 0, done.stderr
    model = bpnumba.load(folder / output)
    return [potential.theta for potential in getattr(model, "members", [model])], done.stdout


@needs_mpi
@pytest.mark.parametrize(
    ("n", "settings"),
    [
        (2, {"optimizer": "kalman+gn-lbfgs", "max_epochs": 2, "max_iterations": 45, "memory": "2GB"}),
        (3, {"optimizer": "lbfgs", "max_iterations": 20, "jacobian": "disk"}),
    ],
)
def test_processes_give_the_weights_of_one_process(folder, n, settings):
    alone, _ = fitted(folder, 1, "one.npz", **settings)
    together, text = fitted(folder, n, "many.npz", **settings)
    np.testing.assert_array_equal(together, alone)
    assert f"memory of each of {n} processes: " in text
    assert text.count("training: 20 frames") == 1
    assert (folder / "many.csv").read_text().count("\n") == (folder / "one.csv").read_text().count("\n")


@needs_mpi
def test_a_committee_and_a_resumed_fit(folder):
    settings = {"optimizer": "gn-lbfgs", "committee": 2, "l2": 0.01}
    begun, _ = fitted(folder, 2, "two.npz", max_iterations=5, **settings)
    for checkpoint in folder.glob("two*.checkpoint.npz"):
        shutil.copy(checkpoint, folder / checkpoint.name.replace("two", "one"))
    alone, _ = fitted(folder, 1, "one.npz", resume=True, max_iterations=9, **settings)
    together, _ = fitted(folder, 2, "two.npz", resume=True, max_iterations=9, **settings)
    assert len(begun) == len(together) == 2
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(together, begun)


@needs_mpi
def test_the_command(folder):
    options = (
        "--valid",
        "valid.xyz",
        "--cutoff",
        "5.5",
        "--n-functions",
        "6",
        "--hidden",
        "3",
        "--max-iterations",
        "2",
    )
    done = run(folder, 2, "-m", "bpnumba", "fit", "train.xyz", *options, "--output", "command.npz")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote command.npz") == 1
    assert bpnumba.load(folder / "command.npz").species == ("Cu",)


@needs_mpi
def test_a_failure_of_another_rank_ends_all(folder):
    done = run(folder, 2, "failing.py", "fit", "train.xyz", "--valid", "valid.xyz", "--cutoff", "5.5", "--hidden", "3")
    assert done.returncode != 0
    assert "rank 1 of 2 failed, and all end" in done.stderr
    assert "ValueError: frame 4 is bad" in done.stderr
    assert not (folder / "model.npz").exists()


@needs_mpi
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.xyz"], "absent.xyz: no such file"),
        (["train.xyz", "--functions", "absent.nn"], "absent.nn"),
    ],
)
def test_a_mistake_that_rank_0_finds_ends_all(folder, arguments, message):
    done = run(folder, 2, "-m", "bpnumba", "fit", *arguments)
    assert done.returncode != 0
    assert done.stderr.count("bpnumba: error: ") == 1
    assert message in done.stderr


@needs_mpi
def test_without_mpi4py_the_command_says_how_to_start_it(folder):
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(Path(bpnumba.__file__).parents[1])}
    done = subprocess.run([MPIEXEC, "-n", "2", sys.executable, "-m", "bpnumba", "fit", "train.xyz"], cwd=folder,
                          env=environment, capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode != 0
    assert "start them by 'mpiexec -n 2 python -m mpi4py -m bpnumba fit" in done.stderr
