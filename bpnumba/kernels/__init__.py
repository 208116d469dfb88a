"""Floor 2: loops over arrays; two kinds of kernels for the same contractions.

The plain kernels (`cpu`, with `neighborhood`) read as the theory and are the oracle's partner.  The fast ones
(`triangles`, `centers`) are traced once per set of symmetry functions, for vectors of the processor at hand; a machine
without what they need gets the plain ones.
"""


def report():
    """Which kernels this machine uses and why, where machine code is kept, and how many threads there are."""
    from bpnumba.kernels import compiling, cpu, threads
    from bpnumba.kernels.machine import this_machine

    machine, kept = this_machine(), getattr(cpu.describe, "_cache", None)
    kind = f"fast, {machine.lanes} lanes{' with permutations' if machine.avx512 else ''}" if machine.lanes else "plain"
    folder = kept.cache_path if isinstance(kept, compiling.SourcesCache) else "nowhere: no folder can be written"
    return (
        f"kernels: {kind}\n   because {machine.reason}\nthreads: {threads.count()} ({threads.VARIABLE})\n"
        f"machine code is kept in {folder}"
    )
