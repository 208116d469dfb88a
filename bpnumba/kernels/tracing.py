"""Writing a kernel: memory, loops and the instructions that depend on the processor.

The body of a traced kernel is ordinary Python, run once while Numba compiles.  Loops over symmetry functions are Python
loops and so unroll; loops over atoms are written ``for k in t.range(...)`` or ``for k in t.lanes(...)``: the body is
*traced once* and *runs many times* (hence no `break`).  The index decides what is loaded: a scalar index one entry,
`Lanes` as many entries as a vector has lanes.
"""

import hashlib
from contextlib import contextmanager

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bpnumba.kernels.lanes import Value

DOUBLE, INT, BOOL = ir.DoubleType(), ir.IntType(64), ir.IntType(1)
FLAGS = ("contract", "nsz", "arcp", "reassoc")  # sums and products in any order; NaN stays NaN

ROUND = 1.5 * 2.0**52
"""Added to a double of moderate size, it leaves the nearest integer in the last bits."""


# ---- memory ----------------------------------------------------------------------------------------------------------


class Lanes(Value):
    """An index that stands for as many consecutive entries as there are lanes."""

    __slots__ = ()


class Turned(Lanes):
    """The same entries with the lanes turned by `turn` places: lane l holds entry (l + turn) mod width."""

    __slots__ = ("back", "there")

    def __init__(self, trace, index, turn):
        super().__init__(trace, index.code)
        self.there, self.back = trace.turns(turn), trace.turns(0 - turn)


def padded(count, width):
    """count, filled up to whole vectors"""
    return (count + (width - 1)) & -width


class Array:
    """Entries of one array; the kind of index (one entry, lanes, turned lanes) decides what is loaded."""

    def __init__(self, trace, pointer, stride=None):
        self.trace, self.pointer, self.stride = trace, pointer, stride

    def address(self, index):
        return self.trace.builder.gep(self.pointer, [self.trace.cast(index, INT)])

    def __getitem__(self, index):
        t = self.trace
        if isinstance(index, slice):
            return Array(t, self.address(index.start))
        if self.stride is not None:  # a row of a table
            return Array(t, self.address(index * self.stride))
        if isinstance(index, Lanes):
            place = t.builder.bitcast(self.address(index), t.vector.as_pointer())
            loaded = t.builder.load(place, align=8)
            return t.permute(loaded, index.there) if isinstance(index, Turned) else Value(t, loaded)
        loaded = t.builder.load(self.address(index))
        return Value(t, loaded if loaded.type in (DOUBLE, INT) else t.builder.sext(loaded, INT))

    def __setitem__(self, index, x):
        t = self.trace
        if isinstance(index, Lanes):
            x = t.cast(x, t.vector)
            x = t.permute(x, index.back).code if isinstance(index, Turned) else x
            t.builder.store(x, t.builder.bitcast(self.address(index), t.vector.as_pointer()), align=8)
        else:
            address = self.address(index)
            t.builder.store(t.cast(x, address.type.pointee), address)

    def integers(self):
        """The same memory as integers."""
        return Array(self.trace, self.trace.builder.bitcast(self.pointer, INT.as_pointer()))

    def __eq__(self, other):
        """1 where it begins at the same place, else 0"""
        t = self.trace
        begins = [t.builder.ptrtoint(array.pointer, INT) for array in (self, other)]
        return Value(t, t.builder.zext(t.builder.icmp_signed("==", *begins), INT))

    __hash__ = None


class Row(Array):
    """Row number `row` of a scratch table whose `rows` rows are interleaved vector by vector."""

    def __init__(self, scratch, row, rows):
        super().__init__(scratch.trace, scratch.pointer)
        self.row, self.rows = row, rows

    def address(self, index):
        t, width = self.trace, self.trace.width
        lane = 0 if isinstance(index, Lanes) else index & (width - 1)
        block = Value(t, index.code) - lane
        return t.builder.gep(self.pointer, [(block * self.rows + lane + self.row * width).code])


class Entries:
    """The entries of several arrays at one index, loaded when they are used: entries[key] += x."""

    def __init__(self, arrays, index):
        self.arrays, self.index = arrays, index

    def __getitem__(self, key):
        return self.arrays[key][self.index]

    def __setitem__(self, key, x):
        self.arrays[key][self.index] = x


class Sum:
    """A running sum over lanes, kept in a register: total += x, then total.value()."""

    def __init__(self, trace):
        self.trace, self.slot = trace, cgutils.alloca_once(trace.builder, trace.vector)
        trace.builder.store(trace.cast(0.0, trace.vector), self.slot)

    def __iadd__(self, x):
        self.trace.builder.store((self.lanes() + x).code, self.slot)
        return self

    def __isub__(self, x):
        self.trace.builder.store((self.lanes() - x).code, self.slot)
        return self

    def lanes(self):
        return Value(self.trace, self.trace.builder.load(self.slot))

    def value(self):
        return self.lanes().sum()


class Counter:
    """A running integer: count += n, then count.value()."""

    def __init__(self, trace):
        self.trace, self.slot = trace, cgutils.alloca_once(trace.builder, INT)
        trace.builder.store(INT(0), self.slot)

    def __iadd__(self, n):
        self.trace.builder.store((self.value() + n).code, self.slot)
        return self

    def value(self):
        return Value(self.trace, self.trace.builder.load(self.slot))


class Room:
    """Vectors on the stack, numbered from 0 on, also by numbers of the kernel."""

    def __init__(self, trace, count):
        memory = cgutils.alloca_once(trace.builder, ir.ArrayType(DOUBLE, max(count, 1) * trace.width))
        memory.align = 64
        self.entries = Array(trace, trace.builder.bitcast(memory, DOUBLE.as_pointer()))

    def lanes(self, number):
        t = self.entries.trace
        return Lanes(t, t.cast(number * t.width, INT))

    def __getitem__(self, number):
        return self.entries[self.lanes(number)]

    def __setitem__(self, number, x):
        self.entries[self.lanes(number)] = x


# ---- control flow and instructions -----------------------------------------------------------------------------------


class Trace:
    """The kernel that is being written, for vectors of `width` doubles; `avx512` allows instructions of that name."""

    def __init__(self, context, builder, width, avx512):
        self.context, self.builder, self.width, self.can_turn = context, builder, width, avx512
        self.vector, self.index = ir.VectorType(DOUBLE, width), ir.VectorType(INT, width)
        # One vector that must lie in memory makes LLVM align the stack; else spilled vectors straddle cache lines.
        anchor = cgutils.alloca_once(builder, self.vector)
        builder.asm(ir.FunctionType(ir.VoidType(), [anchor.type]), "", "r", [anchor], side_effect=True)

    def range(self, start, stop, step=1, kind=Value):
        """for i in trace.range(...): scalar indices known when the kernel runs"""
        begin, end = self.cast(start, INT), self.cast(stop, INT)
        with cgutils.for_range_slice(self.builder, begin, end, self.cast(step, INT), INT) as (i, _):
            yield kind(self, i)

    def lanes(self, start, stop):
        """the entries start ... stop - 1, `width` at a time"""
        return self.range(start, stop, self.width, Lanes)

    def room(self, count):
        """so many vectors on the stack"""
        return Room(self, count)

    def integer(self, x):
        return Value(self, INT(x))

    def lane(self):
        """0, 1 ... width - 1"""
        return Lanes(self, INT(0))

    @contextmanager
    def when(self, condition):
        with self.builder.if_then(condition.code):
            yield

    def subroutine(self, key, body, *arrays):
        """Write ``body(trace, *arrays)`` once per key, and call it: what many elements share is compiled once."""
        module, name = self.builder.module, f"{key[0]}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}"
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(ir.VoidType(), [a.pointer.type for a in arrays]), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            builder = ir.IRBuilder(function.append_basic_block())
            trace = Trace(self.context, builder, self.width, self.can_turn)
            body(trace, *[Array(trace, pointer) for pointer in function.args])
            builder.ret_void()
        self.builder.call(function, [a.pointer for a in arrays])

    # ---- kinds of numbers: doubles, integers, vectors of both ----

    def cast(self, x, type_):
        """LLVM value of x with the given type; plain numbers become constants, scalars fill all lanes"""
        if not isinstance(x, Value):
            number = float(x) if type_ in (DOUBLE, self.vector) else int(x)
            return ir.Constant(type_, [number] * self.width if type_ in (self.vector, self.index) else number)
        if isinstance(x, Lanes) and type_ == self.index:
            return self.builder.add(self.fill(x.code), ir.Constant(type_, list(range(self.width))))
        return self.fill(x.code) if type_ in (self.vector, self.index) and x.code.type != type_ else x.code

    def fill(self, scalar):
        type_ = ir.VectorType(scalar.type, self.width)
        one = self.builder.insert_element(ir.Constant(type_, ir.Undefined), scalar, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return self.builder.shuffle_vector(one, one, zeros)

    def common(self, *numbers):
        kinds = [x.code.type for x in numbers if isinstance(x, Value)]
        if any(isinstance(x, float) for x in numbers):
            kinds.append(DOUBLE)
        return next((k for k in (self.vector, self.index, DOUBLE) if k in kinds), kinds[0] if kinds else INT)

    def binary(self, name, a, b):
        comparison = name in ("<", ">", "==")
        type_ = self.index if comparison and (isinstance(a, Lanes) or isinstance(b, Lanes)) else self.common(a, b)
        x, y, real = self.cast(a, type_), self.cast(b, type_), type_ in (DOUBLE, self.vector)
        if comparison:
            return Value(self, (self.builder.fcmp_ordered if real else self.builder.icmp_signed)(name, x, y))
        if real:
            return Value(self, getattr(self.builder, "f" + name)(x, y, flags=FLAGS))
        return Value(self, getattr(self.builder, name)(x, y))

    def select(self, mask, x, y):
        type_ = self.vector if isinstance(mask.code.type, ir.VectorType) else self.common(x, y)
        return Value(self, self.builder.select(mask.code, self.cast(x, type_), self.cast(y, type_)))

    def any(self, mask):
        bits = ir.IntType(self.width)
        return Value(self, self.builder.icmp_unsigned("!=", self.builder.bitcast(mask.code, bits), bits(0)))

    # ---- instructions ----

    def call(self, name, result, *arguments, **options):
        codes = [x.code if isinstance(x, Value) else x for x in arguments]
        suffix = f".v{self.width}f64" if isinstance(codes[-1].type, ir.VectorType) else ".f64"
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(result, [c.type for c in codes]),
            name if name[-1].isdigit() else name + suffix,
        )
        return Value(self, self.builder.call(function, codes, **options))

    def sum(self, vector):
        zero = ir.Constant(DOUBLE, -0.0)
        return self.call("llvm.vector.reduce.fadd", DOUBLE, zero, vector, fastmath=("reassoc", "nsz"))

    def sums(self, vectors):
        """a vector of the sums over the lanes of as many vectors as there are lanes, or fewer"""
        parts = [x.code for x in vectors] + [self.cast(0.0, self.vector)] * (self.width - len(vectors))
        for step in (1 << n for n in range(self.width.bit_length() - 1)):
            # lanes where this bit of their number is set go on with the second vector, the others with the first
            lower = [(lane & ~step) + (self.width if lane & step else 0) for lane in range(self.width)]
            masks = [
                ir.Constant(ir.VectorType(ir.IntType(32), self.width), [n + add for n in lower]) for add in (0, step)
            ]
            halves = [[self.builder.shuffle_vector(a, b, m) for m in masks] for a, b in zip(parts[::2], parts[1::2])]
            parts = [self.builder.fadd(low, high, flags=FLAGS) for low, high in halves]
        return Value(self, parts[0])

    def each_sum(self, vectors):
        """the sums over the lanes of any number of vectors"""
        found = []
        for n in range(0, len(vectors), self.width):
            part = vectors[n : n + self.width]
            code = self.sums(part).code
            found += [
                Value(self, self.builder.extract_element(code, ir.IntType(32)(lane))) for lane in range(len(part))
            ]
        return found

    def numbers(self, numbers):
        """a vector of given numbers, one per lane"""
        return Value(self, ir.Constant(self.vector, [float(x) for x in numbers]))

    def absolute(self, x):
        return self.call("llvm.fabs", x.code.type, x)

    def sqrt(self, x):
        return self.call("llvm.sqrt", x.code.type, x)

    def rough_rsqrt(self, x):
        """1/sqrt(x) to 14 bits, or None where the processor has no such instruction"""
        if not (self.can_turn and x.code.type == self.vector):
            return None
        name, everywhere = f"llvm.x86.avx512.rsqrt14.pd.{64 * self.width}", ir.IntType(8)(2**self.width - 1)
        return self.call(name, self.vector, x, self.cast(0.0, self.vector), everywhere)

    def nearest_integer(self, x):
        """the integer nearest to x as a double, and a number that has it in its last bits"""
        shift = self.cast(ROUND, x.code.type)
        shifted = self.builder.fadd(x.code, shift)  # no flags: this order is meant
        return Value(self, self.builder.fsub(shifted, shift)), Value(self, shifted)

    def scale_by_power_of_two(self, x, shifted):
        """x 2^n, for n in the last bits of `shifted`"""
        b, type_ = self.builder, self.index if x.code.type == self.vector else INT
        exponent = b.shl(b.bitcast(shifted.code, type_), self.cast(52, type_))
        return Value(self, b.bitcast(b.add(b.bitcast(x.code, type_), exponent), x.code.type))

    def split_exponent(self, x):
        """m and n (a double) with x = m 2^n, m between sqrt(1/2) and sqrt(2)"""
        b, type_ = self.builder, self.index if x.code.type == self.vector else INT
        bits, shift = b.bitcast(x.code, type_), self.cast(52, type_)
        n = b.ashr(b.sub(bits, self.cast(0x3FE6A09E667F3BCD, type_)), shift)
        m = b.bitcast(b.sub(bits, b.shl(n, shift)), x.code.type)
        return Value(self, m), Value(self, b.sitofp(n, x.code.type))

    def turns(self, turn):
        """lane numbers 0, 1 ... turned by `turn` places"""
        lane = ir.Constant(self.index, list(range(self.width)))
        turned = self.builder.add(lane, self.cast(turn, self.index))
        return self.builder.and_(turned, self.cast(self.width - 1, self.index))

    def permute(self, vector, lanes):
        return self.call(f"llvm.x86.avx512.permvar.df.{64 * self.width}", self.vector, vector, lanes)

    def lookup(self, table, place):
        """the entries of a vector that the last bits of another one name"""
        return self.permute(table.code, self.builder.bitcast(place.code, self.index))

    # ---- arguments ----

    def wrap(self, type_, value):
        """a Numba argument as the kernel sees it"""
        if isinstance(type_, types.Array):
            array = self.context.make_array(type_)(self.context, self.builder, value)
            if type_.ndim == 1:
                return Array(self, array.data)
            return Array(self, array.data, stride=Value(self, self.builder.extract_value(array.shape, 1)))
        if isinstance(type_, types.BaseTuple):
            parts = [self.wrap(t, v) for t, v in zip(type_, cgutils.unpack_tuple(self.builder, value))]
            return type_.instance_class(*parts) if isinstance(type_, types.BaseNamedTuple) else parts
        return Value(self, self.context.cast(self.builder, value, type_, types.int64))


def traced(body):
    """A function (plan, arguments) for Numba code; ``body(trace, plan, *arguments)`` writes its machine code."""

    @intrinsic
    def function(typing_context, plan, arguments):
        def codegen(context, builder, signature, values):
            machine = plan.plan.machine
            trace = Trace(context, builder, machine.lanes, machine.avx512)
            body(trace, plan.plan, *trace.wrap(arguments, values[1]))
            return context.get_dummy_value()

        return types.void(plan, arguments), codegen

    return function
