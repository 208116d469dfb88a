"""How much memory a fit needs, before any of it is taken, and where the Jacobian is kept so that it suffices.

>>> in_bytes("500MB"), in_words(2.5e9)
(500000000, '2.50 GB')
"""

import os
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bpnumba.kernels import threads
from bpnumba.pairs import Pairs
from bpnumba.training.kalman import ROWS_PER_UPDATE
from bpnumba.training.objective import ATOMS_IN_CHUNK, ATOMS_IN_PRODUCT, SHARDS
from bpnumba.training.optimizers import OPTIMIZERS, bounds_of
from bpnumba.training.storage import Disk, Memory, Nowhere

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SHARE = 0.7  # of the memory that is free, where nobody says how much may be used
FRAMES_TO_COUNT = 300
PER_PAIR = 36  # bytes besides the Jacobian: neighbor, vector, place
JACOBIANS = ("auto", "memory", "disk", "recompute")


def in_bytes(text):
    """Bytes of "4GB", "500 MB" or a number; a ValueError for anything else."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([kMGT]?B)?\s*", str(text), re.IGNORECASE)
    if not match or not float(match[1]):
        raise ValueError(f"an amount of memory is a number with B, KB, MB, GB or TB, such as 4GB, not {text!r}")
    return int(float(match[1]) * UNITS[(match[2] or "B").upper()])


def in_words(n_bytes):
    """As people read it."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


class Plan(NamedTuple):
    """Where the Jacobian is kept, and what there is to say about it."""

    keep: object  # of `bpnumba.training.storage`
    report: str


def plan(potential, datasets, settings, optimizer, n_processes=1, n_here=1):
    """Choose where the Jacobian is kept: in memory if it fits, else on disk, else nowhere.

    Parameters
    ----------
    potential : Potential
        Untrained.
    datasets : sequence of Dataset
        Training and validation frames.
    settings : Settings
        `memory`, `jacobian` and `precision`.
    optimizer : str
        A key of `OPTIMIZERS`.
    n_processes, n_here : int
        How many share the Jacobian, and how many of them the memory and the disk of this machine; the amounts are those
        of one process, the one that drives, which needs the most.

    Raises
    ------
    MemoryError
        A place was asked for that does not suffice, or not even computing everything anew fits.
    """
    functions, dtype = potential.symmetry_functions, np.dtype(settings.precision)
    frames = [atoms for data in datasets for atoms in data.atoms]
    n_atoms = sum(len(atoms) for atoms in frames)
    pairs_per_atom, jacobian_per_atom = per_atom(functions, frames, dtype.itemsize)
    sizes, widest = np.diff(bounds_of(potential)), int(functions.table.n_functions.max())
    hidden = max(sum(network.sizes[1:]) for network in potential.networks)
    n_threads = threads.count()
    need = {
        "program": resident(),
        "structures": n_atoms * (300 + 16 * widest),
        "optimizer": optimizer_bytes(OPTIMIZERS[optimizer], sizes, n_threads),
        "work": n_threads * (ATOMS_IN_CHUNK * (3 * PER_PAIR * pairs_per_atom + jacobian_per_atom)
        + 12 * max(ATOMS_IN_PRODUCT, ROWS_PER_UPDATE) * (int(sizes.sum()) + pairs_per_atom * (widest + 4 * hidden))),
    }
    share = min(1.0, 1 / n_processes + 2 / SHARDS)  # shards are whole, and more than half as many as there may be
    jacobian = share * n_atoms * (jacobian_per_atom + PER_PAIR * pairs_per_atom)
    may_take = int(SHARE * free() / n_here)
    limit = in_bytes(settings.memory) if settings.memory is not None else sum(need.values()) + may_take
    left = limit - sum(need.values())
    room = shutil.disk_usage(tempfile.gettempdir()).free / n_here
    place = settings.jacobian
    if place == "auto":
        place = "memory" if jacobian <= left else "disk" if jacobian <= 0.9 * room else "recompute"
    fits = {"memory": jacobian <= left, "disk": left >= 0 and jacobian <= room, "recompute": left >= 0}[place]
    total = sum(need.values()) + jacobian * (place == "memory")
    where = {"memory": "in memory", "disk": f"on disk, in {tempfile.gettempdir()}", "recompute": "recomputed each time"}
    words = ", ".join(f"{name} {in_words(n)}" for name, n in need.items())
    of_each = f" of each of {n_processes} processes" if n_processes > 1 else ""
    report = (
        f"memory{of_each}: {in_words(total)} of {in_words(limit)} that may be used: {words}; "
        f"Jacobian {in_words(jacobian)} ({settings.precision}) {where[place]}"
    )
    if not fits:
        if settings.jacobian != "auto":
            raise MemoryError(f"{report}. That does not fit: allow more memory, or another place, jacobian='auto'")
        report += "; this is more than allowed, and the least that this fit can do with"
    keep = {"memory": Memory, "disk": Disk, "recompute": Nowhere}[place](dtype.type)
    return Plan(keep, report)


def per_atom(functions, frames, itemsize):
    """Pairs, and bytes of the Jacobian, per atom, from an even choice of frames."""
    n_pairs, n_bytes, n_atoms = 0, 0, 0
    index = {z: e for e, z in enumerate(functions.numbers)}
    for m in np.unique(np.linspace(0, len(frames) - 1, FRAMES_TO_COUNT).astype(int)):
        pairs = Pairs.from_atoms([frames[m]], functions.cutoff, m)
        element_a = np.array([index[z] for z in pairs.number_a])
        n_related = functions.table.n_related[element_a[pairs.i_p], element_a[pairs.j_p]]
        n_pairs, n_atoms = n_pairs + len(pairs.i_p), n_atoms + pairs.n_atoms
        n_bytes += 3 * itemsize * int(n_related.sum())
    return n_pairs / n_atoms, n_bytes / n_atoms


def optimizer_bytes(phases, sizes, n_threads):
    """Matrices over weights: covariances and their update; curvature, with that of each thread, and its factor; pairs
    of L-BFGS."""
    blocks, all_weights = 8 * int(np.square(sizes).sum()), int(sizes.sum())
    needs = {
        "kalman": blocks + 3 * 8 * ROWS_PER_UPDATE * all_weights,
        "gn-lbfgs": (3 + 2 * n_threads) * 8 * all_weights**2 + 2 * 30 * 8 * all_weights,
        "lbfgs": 2 * 20 * 8 * all_weights,
    }
    return max(needs[phase] for phase in phases)


def resident():
    """Bytes that this process holds now."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux: the most it ever held
        import resource  # which Windows lacks

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def free():
    """Bytes of memory that are free on this machine, or may be freed, within what this process is allowed."""
    allowed = float("inf")
    with suppress(OSError, ValueError):  # of a batch system or container; "max" where there is no limit
        most, now = (Path(f"/sys/fs/cgroup/memory.{name}").read_text() for name in ("max", "current"))
        allowed = max(int(most) - int(now), 0)
    return min(allowed, _free_of_machine())


def _free_of_machine():
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
