"""The few LLVM instructions that the hand-written kernels are put together from.

A "vector" here is one register of VL float32 numbers; an address is an int64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

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
    "constant",
    "load_address",
    "load_vector",
    "multiply_add",
    "pointer",
    "prefetch",
    "shuffle",
    "splat",
    "store_vector",
]

#: Floats of one vector register, and whether there are 32 of these and not 16.
VL, NUM_REGISTERS = vector_registers(target())

ADDRESS = ir.IntType(64)
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, VL)
_INDEX = ir.IntType(32)
_POINTER = ir.PointerType()


def constant(value: int) -> Any:
    """An address or count that is known already."""
    return ir.Constant(ADDRESS, value)


def splat(value: float) -> Any:
    """A vector of one number that is known already."""
    return ir.Constant(VECTOR, [float(value)] * VL)


def pointer(b: Any, address: Any, offset: int = 0) -> Any:
    """``address + offset`` bytes, as something to load from."""
    return b.inttoptr(b.add(address, constant(offset)) if offset else address, _POINTER)


def load_vector(b: Any, address: Any, offset: int = 0) -> Any:
    """The vector at ``address + offset`` bytes; it need not be aligned."""
    return b.load(pointer(b, address, offset), align=4, typ=VECTOR)


def store_vector(b: Any, value: Any, address: Any, offset: int = 0) -> None:
    """Write a vector to ``address + offset`` bytes."""
    b.store(value, pointer(b, address, offset), align=4)


def load_address(b: Any, table: Any, index: int) -> Any:
    """Entry ``index`` of a table of int64."""
    return b.load(pointer(b, table, 8 * index), typ=ADDRESS)


def broadcast(b: Any, value: Any) -> Any:
    """One number in all places of a vector."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    first = b.insert_element(undefined, value, ir.Constant(_INDEX, 0))
    return b.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_INDEX, VL), None))


def multiply_add(b: Any, x: Any, y: Any, z: Any) -> Any:
    """``x * y + z`` of vectors: rounded once where the processor can, else twice.

    LLVM's ``fma`` would be rounded once everywhere, by a call for each number where
    there is no instruction for it.
    """
    name = f"llvm.fmuladd.v{VL}f32"
    function = b.module.globals.get(name)
    if function is None:
        function = ir.Function(b.module, ir.FunctionType(VECTOR, [VECTOR] * 3), name)
    return b.call(function, [x, y, z])


def prefetch(b: Any, address: Any, offset: int = 0) -> None:
    """Have the line at ``address + offset`` bytes come into the second-level cache."""
    name = "llvm.prefetch.p0"
    function = b.module.globals.get(name)
    if function is None:
        kind = ir.FunctionType(ir.VoidType(), [_POINTER, _INDEX, _INDEX, _INDEX])
        function = ir.Function(b.module, kind, name)
    how = [ir.Constant(_INDEX, value) for value in (0, 2, 1)]  # to read, level two, data
    b.call(function, [pointer(b, address, offset), *how])


def add_vectors(b: Any, values: list[Any], others: list[Any]) -> list[Any]:
    """Sums of the vectors of two lists."""
    return [b.fadd(value, other) for value, other in zip(values, others, strict=True)]


def shuffle(b: Any, low: Any, high: Any, places: list[int]) -> Any:
    """A vector of numbers of two others, by their places in both of them, one after the other."""
    chosen = [ir.Constant(_INDEX, place) for place in places]
    return b.shuffle_vector(low, high, ir.Constant(ir.VectorType(_INDEX, VL), chosen))


def apply_if(
    b: Any, flags: Any, flag: int, values: list[Any], change: Callable[[list[Any]], list[Any]]
) -> list[Any]:
    """The vectors, changed if ``flag`` is set in ``flags`` when the code runs."""
    before = b.block
    with b.if_then(b.icmp_unsigned("!=", b.and_(flags, constant(flag)), constant(0))):
        changed = change(values)
        after = b.block
    merged = []
    for value, new in zip(values, changed, strict=True):
        phi = b.phi(VECTOR)
        phi.add_incoming(value, before)
        phi.add_incoming(new, after)
        merged.append(phi)
    return merged
