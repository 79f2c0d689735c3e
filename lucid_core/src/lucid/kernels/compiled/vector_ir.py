"""LLVM IR builders that the hand-written kernels share.

A vector is a register of VL float32; an address is an int64; ``b`` is an ``ir.IRBuilder``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir
from numba import types

from lucid.kernels.compiled.cpu_target import target, vector_registers

__all__ = [
    "ADDRESS",
    "FLOAT",
    "NUM_REGISTERS",
    "VECTOR",
    "VL",
    "add_vectors",
    "apply_if",
    "broadcast",
    "call_emitted",
    "call_selected",
    "constant",
    "load_address",
    "load_vector",
    "merge",
    "multiply_add",
    "new_function",
    "pointer",
    "prefetch",
    "shuffle",
    "splat",
    "store_vector",
]

#: Number of float32 in a vector register, and number of vector registers.
VL, NUM_REGISTERS = vector_registers(target())

ADDRESS = ir.IntType(64)
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, VL)
_INDEX = ir.IntType(32)
_POINTER = ir.PointerType()


def new_function(module: Any, name: str, arguments: int) -> Any:
    """Add a function of int64 arguments that is not inlined."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ADDRESS] * arguments), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def call_emitted(emit: Callable[[Any], Any], arguments: int) -> Any:
    """Return signature and code of an intrinsic that calls the function ``emit(module)``."""

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        b.call(emit(b.module), list(values))
        return context.get_dummy_value()

    return types.void(*[types.int64] * arguments), generate


def call_selected(emitters: Mapping[int, Callable[[Any], Any]], arguments: int) -> Any:
    """Return signature and code of an intrinsic that calls one of some functions.

    Its first argument selects the function among ``emitters`` (``emit(module)`` by number); the
    others are the function's.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        end = b.append_basic_block("end")
        switch = b.switch(values[0], end)
        for number, emit in emitters.items():
            case = b.append_basic_block(f"case{number}")
            switch.add_case(constant(number), case)
            with b.goto_block(case):
                b.call(emit(b.module), list(values[1:]))
                b.branch(end)
        b.position_at_end(end)
        return context.get_dummy_value()

    return types.void(*[types.int64] * (arguments + 1)), generate


def constant(value: int) -> Any:
    """Return an int64 constant."""
    return ir.Constant(ADDRESS, value)


def splat(value: float) -> Any:
    """Return a constant vector of equal elements."""
    return ir.Constant(VECTOR, [float(value)] * VL)


def pointer(b: Any, address: Any, offset: int = 0) -> Any:
    """Cast ``address + offset`` (bytes) to a pointer."""
    return b.inttoptr(b.add(address, constant(offset)) if offset else address, _POINTER)


def load_vector(b: Any, address: Any, offset: int = 0) -> Any:
    """Load the vector at ``address + offset`` (bytes), aligned or not."""
    return b.load(pointer(b, address, offset), align=4, typ=VECTOR)


def store_vector(b: Any, value: Any, address: Any, offset: int = 0) -> None:
    """Store a vector at ``address + offset`` (bytes), aligned or not."""
    b.store(value, pointer(b, address, offset), align=4)


def load_address(b: Any, table: Any, index: int) -> Any:
    """Load entry ``index`` of a table of int64."""
    return b.load(pointer(b, table, 8 * index), typ=ADDRESS)


def broadcast(b: Any, value: Any) -> Any:
    """Broadcast a scalar to all lanes of a vector."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INDEX, VL), None))


def multiply_add(b: Any, x: Any, y: Any, z: Any) -> Any:
    """Compute ``x * y + z`` of vectors or numbers, fused if the processor can.

    LLVM's ``fma`` is always fused, but calls a function per element without the instruction.
    """
    name = f"llvm.fmuladd.v{VL}f32" if x.type == VECTOR else "llvm.fmuladd.f32"
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(x.type, [x.type] * 3), name)
    return b.call(function, [x, y, z])


def prefetch(b: Any, address: Any, offset: int = 0) -> None:
    """Prefetch the cache line at ``address + offset`` (bytes) into the second-level cache."""
    name = "llvm.prefetch.p0"
    function = b.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _INDEX, _INDEX, _INDEX])
        function = ir.Function(b.module, kind, name)
    how = [ir.Constant(_INDEX, value) for value in (0, 2, 1)]  # to read, level two, data
    b.call(function, [pointer(b, address, offset), *how])


def add_vectors(b: Any, values: list[Any], others: list[Any]) -> list[Any]:
    """Add two lists of vectors."""
    return [b.fadd(value, other) for value, other in zip(values, others, strict=True)]


def shuffle(b: Any, low: Any, high: Any, indices: list[int]) -> Any:
    """Select lanes of two vectors, by their indices in the concatenation of both."""
    chosen = [ir.Constant(_INDEX, index) for index in indices]
    return b.shuffle_vector(low, high, ir.Constant(ir.VectorType(_INDEX, VL), chosen))


def apply_if(
    b: Any, flags: Any, flag: int, values: list[Any], change: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """Apply ``change`` to the vectors if ``flag`` is set in ``flags`` at run time."""
    before = b.block
    with b.if_then(b.icmp_unsigned("!=", b.and_(flags, constant(flag)), constant(0))):
        changed = change(values)
        after = b.block
    return merge(b, values, before, changed, after)


def merge(b: Any, values: list[Any], block: Any, others: list[Any], other_block: Any) -> list[Any]:
    """Return the vectors of the block that control came from."""
    merged = []
    for value, other in zip(values, others, strict=True):
        phi = b.phi(VECTOR)
        phi.add_incoming(value, block)
        phi.add_incoming(other, other_block)
        merged.append(phi)
    return merged
