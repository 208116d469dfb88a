"""Numbers that write machine code: their functions against Python's, and all formulas in lanes against floats."""

import math

import numpy as np
import pytest
from llvmlite import binding as llvm
from llvmlite import ir

from bpnumba.formulas import cutoff, numbers
from bpnumba.kernels.compiling import compiled
from bpnumba.kernels.lanes import Value
from bpnumba.kernels.machine import Machine, choose, this_machine
from bpnumba.kernels.plan import Plan
from bpnumba.kernels.tracing import Trace, traced

MACHINES = [Machine(8, this_machine("").avx512, ""), Machine(4, False, ""), Machine(2, False, "")]
FUNCTIONS = {
    "exp": (lambda x: numbers.exp(x), -40.0, 3.0),
    "tanh": (lambda x: numbers.tanh(x), 0.0, 1.0),
    "sin": (lambda x: numbers.sin(x), 0.0, math.pi),
    "cos": (lambda x: numbers.cos(x), 0.0, math.pi),
    "acos": (lambda x: numbers.acos(x), -1.0, 1.0),
    "rsqrt": (lambda x: numbers.rsqrt(x), 1e-3, 1e3),
    "power": (lambda x: x**2.7, 0.0, 2.0),
    "where": (lambda x: numbers.where(x < 0.5, 2.0 * x, 1.0 - x), 0.0, 1.0),
    "poly2 window": (lambda x: cutoff.window(6 - 1, x, 0.3, 0.9, True)[0], 0.0, 1.0),
}
EXACT = ("exp", "tanh", "sin", "cos", "acos", "rsqrt")  # to the last digits of a number of order one


def body(t, plan, x, y):
    for k in t.lanes(0, 64):
        for n, (function, _, _) in enumerate(FUNCTIONS.values()):
            y[n][k] = function(x[n][k])


_evaluate = traced(body)


@compiled()
def evaluate(plan, x, y):
    _evaluate(plan, (x, y))


@pytest.fixture(params=MACHINES, ids=lambda machine: f"{machine.lanes} lanes")
def evaluated(request):
    """Arguments and values of all functions, 64 each."""
    random = np.random.default_rng(0)
    x = np.array([np.append([low, high], random.uniform(low, high, 62)) for _, low, high in FUNCTIONS.values()])
    y = np.full_like(x, np.nan)
    evaluate(Plan(((), ()), (0, 1), request.param), x, y)
    return dict(zip(FUNCTIONS, zip(x, y, strict=True), strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_lanes(evaluated, name):
    x, y = evaluated[name]
    expected = [FUNCTIONS[name][0](value) for value in x.tolist()]
    np.testing.assert_allclose(
        y, expected, rtol=1e-14 if name == "power" else 2e-15, atol=4e-16 if name in EXACT else 1e-14
    )


def test_a_traced_number_has_no_truth_value():
    with pytest.raises(TypeError, match="has no truth value yet"):
        bool(Value(None, None))


# ---- processors ----


@pytest.mark.parametrize(("architecture", "features", "lanes", "avx512"), [
    ("x86_64", {"sse2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl"}, 8, True),
    ("x86_64", {"sse2", "avx", "avx2", "fma", "avx512f"}, 4, False),  # Knights Landing
    ("AMD64", {"sse2", "avx", "avx2", "fma"}, 4, False),
    ("x86_64", {"sse2", "avx"}, 2, False),
    ("aarch64", {"neon"}, 2, False),
    ("arm64", set(), 2, False),
    ("riscv64", {"v"}, 0, False),
])  # fmt: skip
def test_kernels_for_a_processor(architecture, features, lanes, avx512):
    machine = choose(architecture, features)
    assert (machine.lanes, machine.avx512) == (lanes, avx512)
    assert machine.reason


def test_a_wish_and_no_compiler():
    assert choose("x86_64", {"avx2", "fma"}, "2").lanes == 2
    assert "BPNUMBA_KERNELS=plain" in choose("x86_64", {"avx2", "fma"}, "plain").reason
    assert choose("x86_64", {"avx2", "fma"}, jit=False).lanes == 0
    with pytest.raises(ValueError, match="BPNUMBA_KERNELS must be plain, 2, 4 or 8, not 'fast'"):
        choose("x86_64", set(), "fast")


class Foreign:
    """As much of Numba's context as a trace asks for."""


@pytest.mark.parametrize(("triple", "lanes"), [("aarch64-unknown-linux-gnu", 2), ("x86_64-unknown-linux-gnu", 2),
                                               ("x86_64-unknown-linux-gnu", 4)])  # fmt: skip
def test_other_processors_can_be_compiled_for(triple, lanes):
    """What lanes write is no language of one processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    pointer = ir.DoubleType().as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer]), "all")
    builder = ir.IRBuilder(function.append_basic_block())
    trace = Trace(Foreign(), builder, lanes, False)
    vector = builder.bitcast(function.args[0], trace.vector.as_pointer())
    x = Value(trace, builder.load(vector))
    for formula, _, _ in FUNCTIONS.values():
        builder.store((formula(x) + x.sum()).code, vector)
    builder.ret_void()
    target = llvm.Target.from_triple(triple)
    machine = target.create_target_machine(opt=2)
    code = machine.emit_assembly(llvm.parse_assembly(str(module)))
    assert ("fmla" in code or "fmul" in code) if "aarch64" in triple else "mulpd" in code
