"""One fit on several processes (MPI): rank 0 drives, the others serve sums over their share of the frames.

``mpiexec -n N python -m mpi4py -m bpnumba fit ...`` starts N processes.  Rank 0 does what a single process does: it
reads, decides and writes.  Its objective is a `SharedObjective`, which asks all ranks for the sums over their shards
and adds them up in the order of the shards, as one process does: the weights have the same bits for any number of
ranks, on machines of one kind, with the same number of threads in BLAS.  Only rank 0 decides, so no two ranks can
disagree in the last digit about what comes next.

L-BFGS, the Gauss-Newton curvature and validation share their work.  The Kalman filter does not: each update begins at
the weights of the one before, so of its work only the memory of the Jacobian is spread.  With many ranks the optimizer
"gn-lbfgs" is the faster one.

Rank r has the shards r, r + N, ...; there are at most `SHARDS` of them, and ranks without one are idle.

>>> [owner(shard, 2) for shard in range(5)]
[0, 1, 0, 1, 0]
"""

import functools
import itertools
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from bpnumba.kernels import threads
from bpnumba.training.objective import SHARDS, Objective

LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")
"""Environment variables in which Open MPI, MPICH and Intel MPI tell a process how many were started with it."""

_names = itertools.count()  # of shared objectives


# ---- who there is ----------------------------------------------------------------------------------------------------


def communicator():
    """That of all ranks, or None for one process.  mpi4py is not imported for it: ``python -m mpi4py`` has done so."""
    return _all_ranks()[0] if "mpi4py" in sys.modules else None


def counts():
    """Number of processes that share a fit, and how many of them run on this machine."""
    return (communicator().size, _all_ranks()[1]) if communicator() is not None else (1, 1)


def is_worker():
    """Whether this process serves another one, which drives."""
    return communicator() is not None and communicator().rank > 0


@functools.cache
def _all_ranks():
    """Communicator of our own, and number of ranks on this machine; all ranks meet here."""
    try:
        from mpi4py import MPI
        from mpi4py.util import pkl5  # arrays of any size, without copies
    except (ImportError, RuntimeError):  # there is no MPI library
        return None, 1
    if MPI.COMM_WORLD.size == 1:
        return None, 1
    return pkl5.Intracomm(MPI.COMM_WORLD.Dup()), MPI.COMM_WORLD.Split_type(MPI.COMM_TYPE_SHARED).size


def check_launch():
    """A ValueError where mpiexec has started processes that do not know of each other: all would do the same."""
    n = max((int(os.environ[name]) for name in LAUNCHED if os.environ.get(name, "").isdecimal()), default=1)
    if n > 1 and communicator() is None:
        raise ValueError(
            f"mpiexec has started {n} processes that do not know of each other: start them by 'mpiexec -n {n} python "
            "-m mpi4py -m bpnumba fit ...', with the mpiexec of the MPI library that mpi4py uses ('python -m mpi4py "
            "--mpi-library')"
        )


# ---- rank 0 ----------------------------------------------------------------------------------------------------------


def shared(fit):
    """Decorator of a function that all ranks call: rank 0 runs it while the others serve, and return None."""

    @functools.wraps(fit)
    def on_all_ranks(*args, **settings):
        if is_worker():
            return serve(communicator())
        try:
            return fit(*args, **settings)
        finally:
            if communicator() is not None:
                communicator().bcast(("stop",))

    return on_all_ranks


def prepare(potential, dataset, factors, keep, report):
    """`Objective.prepare`, by all processes that there are."""
    if communicator() is None:
        return Objective.prepare(potential, dataset, factors, keep, report)
    return SharedObjective.prepare_on(communicator(), potential, dataset, factors, keep, report)


@dataclass(frozen=True, eq=False)
class SharedObjective(Objective):
    """An objective whose shards are spread over all ranks; for rank 0.  Its own shards are those that it prepared.

    Where work on a shard of its own fails on rank 0, the answers of the others are waited for, so that all ranks still
    agree on what comes next, and the exception goes its way.  Where another rank fails, all end.
    """

    comm: object = None
    name: int = 0  # that the others know it by

    @classmethod
    def prepare_on(cls, comm, potential, dataset, factors, keep, report=lambda done, of: None):
        """As `Objective.prepare`, on all ranks of a communicator; each gets all frames and keeps its own."""
        name = next(_names)
        with _undisturbed():
            comm.bcast(("prepare", name, (potential, dataset, factors, type(keep), keep.dtype)))
        own = Objective.prepare(potential, dataset, factors, keep, report, shards_of(comm))
        return cls(own.potential, own.shards, own.l2, own.n_residuals, comm, name)

    def sums_of_shards(self, what, theta):
        with _undisturbed():
            self.comm.bcast((what, self.name, (theta,)))
            own, got = _answers(self._own, what, theta), {}
            numbers = iter(range(len(self.shards)))
            try:
                for number in numbers:
                    if number not in got:
                        at = owner(number, self.comm.size)
                        got.update(self._from(at) if at else next(own))
                    yield number, got.pop(number)
            finally:
                for number in numbers:  # after an exception
                    at = owner(number, self.comm.size)
                    if at and number not in got:
                        got.update(self._from(at))
                    got.pop(number, None)

    def pieces(self, n_rows):
        with _undisturbed():
            self.comm.bcast(("pieces", self.name, (n_rows,)))
            of_ranks = [self._own.pieces(n_rows), *(self._from(rank) for rank in range(1, self.comm.size))]
        return sorted(piece for pieces in of_ranks for piece in pieces)

    def linearize(self, theta, piece, n_rows, seed):
        at = owner(piece.shard, self.comm.size)
        if not at:
            return self._own.linearize(theta, piece, n_rows, seed)
        with _undisturbed():
            self.comm.bcast(("linearize", self.name, (theta, piece, n_rows, seed)))
            return self._from(at)

    @property
    def _own(self):
        """Objective of the shards that are here."""
        return Objective(self.potential, self.shards, self.l2, self.n_residuals)

    def _from(self, rank):
        with _fatal(self.comm):
            return self.comm.recv(source=rank)


@contextmanager
def _undisturbed():
    """Ctrl-C waits until a question to the others is answered."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    noted = []
    signal.signal(signal.SIGINT, lambda *event: noted.append(event))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        before(*noted[0])


# ---- the others ------------------------------------------------------------------------------------------------------


def serve(comm):
    """Answer the questions of rank 0 until it says stop.

    Whatever goes wrong is printed, and ends all ranks.  Ctrl-C is for rank 0.
    """
    objectives, before = {}, None
    if threading.current_thread() is threading.main_thread():
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _fatal(comm):
            while (question := comm.bcast(None))[0] != "stop":
                verb, name, details = question
                if verb == "prepare":
                    potential, dataset, factors, place, dtype = details
                    only = shards_of(comm)
                    objectives[name] = Objective.prepare(potential, dataset, factors, place(dtype), only=only)
                    continue
                for answer in _answers(objectives[name], verb, *details, rank=comm.rank, size=comm.size):
                    comm.send(answer, dest=0)
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _answers(objective, verb, *details, rank=0, size=1):
    """What a rank says to a question: messages, one or several, or none if it has nothing to say."""
    if verb == "pieces":
        yield objective.pieces(*details)
    elif verb == "linearize":
        if owner(details[1].shard, size) == rank:
            yield objective.linearize(*details)
    elif verb.startswith("curvature"):  # one at a time: they are large
        mine = [number for number, shard in enumerate(objective.shards) if shard]
        for few in np.split(mine, range(threads.count(), len(mine), threads.count())):  # no thread goes far ahead
            shards = tuple(shard if number in few else () for number, shard in enumerate(objective.shards))
            for number, part in replace(objective, shards=shards).sums_of_shards(verb, *details):
                yield {number: part}
    elif sums := dict(objective.sums_of_shards(verb, *details)):
        yield sums


@contextmanager
def _fatal(comm):
    """An exception here leaves ranks that wait for each other: it is told, and ends them all."""
    try:
        yield
    except BaseException:
        print(f"bpnumba: rank {comm.rank} of {comm.size} failed, and all end:", file=sys.stderr)
        traceback.print_exc()
        sys.stderr.flush()
        comm.Abort(1)
        raise


def owner(shard, size):
    """Rank that has a shard."""
    return shard % size


def shards_of(comm):
    """Numbers of the shards of this rank."""
    return set(range(comm.rank, SHARDS, comm.size))
