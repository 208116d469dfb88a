"""What the processor offers to the fast kernels: how many doubles one instruction takes, and with which extras.

>>> choose("x86_64", {"avx512f", "avx512dq", "avx512vl"}).lanes
8
>>> choose("aarch64", {"neon"}).lanes
2
"""

import os
import platform
from typing import NamedTuple

from numba import config
from numba.core.registry import cpu_target

VARIABLE = "BPNUMBA_KERNELS"
"""Environment variable that asks for other kernels than the machine would get: plain, or a number of lanes."""


class Machine(NamedTuple):
    """Kind of kernels for a processor."""

    lanes: int  # doubles in a vector; 0 where only the plain kernels serve
    avx512: bool  # whether there are rough reciprocal square roots and permutations of lanes
    reason: str

    @property
    def kind(self):
        """What distinguishes machine code."""
        return self.lanes, self.avx512


def choose(architecture, features, wish="", jit=True):
    """The `Machine` for a processor architecture and the set of its features (names of LLVM)."""
    if wish not in ("", "plain", "2", "4", "8"):
        raise ValueError(f"{VARIABLE} must be plain, 2, 4 or 8, not {wish!r}")
    if not jit:
        return Machine(0, False, "Numba's compiler is switched off (NUMBA_DISABLE_JIT)")
    if wish == "plain":
        return Machine(0, False, f"{VARIABLE}=plain asks for them")
    avx512 = {"avx512f", "avx512dq", "avx512vl"} <= features
    if architecture in ("x86_64", "AMD64"):
        widths = ((8, avx512, "AVX-512"), (4, {"avx2", "fma"} <= features, "AVX2"), (2, True, "SSE2"))
    elif architecture in ("aarch64", "arm64"):
        widths = ((2, True, "NEON"),)
    else:
        return Machine(0, False, f"no vector instructions are known for the processor {architecture}")
    lanes, name = next((lanes, name) for lanes, there, name in widths if there)
    if wish:
        return Machine(int(wish), avx512 and wish == "8", f"{VARIABLE}={wish} asks for {wish} lanes")
    return Machine(lanes, avx512, f"the processor ({architecture}) has {name}: {lanes} doubles per instruction")


def this_machine(wish=None):
    """The `Machine` for the processor at hand; the wish is that of the environment, if none is given."""
    # what Numba compiles for, which may be less than what the host has (NUMBA_CPU_NAME=generic, NUMBA_ENABLE_AVX=0)
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    features = {name[1:] for name in features.split(",") if name.startswith("+")}
    wish = os.environ.get(VARIABLE, "") if wish is None else wish
    return choose(platform.machine(), features, wish, not config.DISABLE_JIT)
