"""Threads: chunks of work side by side, in kernels that release Python's lock.

Sums over chunks are taken in the order of the chunks, so results have the same bits for any number of threads.

>>> list(in_order(abs, [-1, 2]))
[1, 2]
"""

import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

VARIABLE = "BPNUMBA_THREADS"
"""Environment variable: how many threads; by default as many as OMP_NUM_THREADS says, or all cores that this process
may use."""


def count():
    """Number of threads."""
    wish = os.environ.get(VARIABLE, "")
    if wish and not (wish.isdecimal() and int(wish) > 0):
        raise ValueError(f"{VARIABLE} must be a positive number of threads, not {wish!r}")
    usual = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wish or (usual.isdecimal() and int(usual) > 0):
        return int(wish or usual)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


WORKER = threading.local()  # marked in the threads of a pool


@cache
def pool(n):
    return ThreadPoolExecutor(n, thread_name_prefix="bpnumba", initializer=lambda: setattr(WORKER, "busy", True))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.cache_clear)  # threads do not live on in a forked process


def in_order(function, items):
    """Like `map`, by threads: results come in the order of the items.

    Inside of an item's function it is `map`: the threads are busy, and waiting for each other they would never end.
    """
    items, n = list(items), count()
    if n == 1 or len(items) < 2 or hasattr(WORKER, "busy"):
        return map(function, items)
    return _few_ahead(function, items, n)


def _few_ahead(function, items, n):
    """Results in order; work is at most 2 n items ahead of the one that is taken, because results may be large."""
    waiting = deque()
    for item in items:
        waiting.append(_started(pool(n), function, item))
        if len(waiting) == 2 * n:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _started(workers, function, item):
    """A function that waits for the result."""
    try:
        return workers.submit(function, item).result
    except RuntimeError:  # Python is about to end, and no pool takes work any more
        return partial(function, item)
