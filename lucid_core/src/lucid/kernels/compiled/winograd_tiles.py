"""Into the domain of Winograd's minimal filtering and back, one tile at a time.

F(4x4, 3x3) of Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural
Networks" (arXiv:1509.09308), section 4: 4x4 outputs of a 3x3 filter from a tile of 6x6
inputs take 36 products for each pair of channels and not 144.  Inputs become
``B' d B``, sums come back as ``A' m A``; the points are 0, 1, -1, 2, -2 and infinity.

Both loops run over vectors of channels and are written as LLVM IR, because a compiler does
not vectorise 36 loads and stores with strides of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lucid.kernels.compiled.microkernel import ADD, RELU
from lucid.kernels.compiled.simd import (
    ADDRESS,
    VL,
    add_vectors,
    constant,
    load_address,
    load_vector,
    multiply_add,
    optionally,
    rectified,
    splat,
    store_vector,
)

__all__ = ["INPUT", "OUTPUT", "from_domain", "to_domain"]

#: Side of a tile of inputs, and of the outputs that it gives.
INPUT, OUTPUT = 6, 4


def _inputs_1d(b: Any, d: list[Any]) -> list[Any]:
    """One row of B' d: six numbers from six."""
    four, five, two = splat(4), splat(-5), splat(2)
    minus_four = splat(-4)
    even = multiply_add(b, minus_four, d[2], d[4])
    odd = multiply_add(b, minus_four, d[1], d[3])
    even2 = b.fsub(d[4], d[2])
    odd2 = b.fmul(two, b.fsub(d[3], d[1]))
    return [
        multiply_add(b, four, d[0], multiply_add(b, five, d[2], d[4])),
        b.fadd(even, odd),
        b.fsub(even, odd),
        b.fadd(even2, odd2),
        b.fsub(even2, odd2),
        multiply_add(b, four, d[1], multiply_add(b, five, d[3], d[5])),
    ]


def _outputs_1d(b: Any, m: list[Any]) -> list[Any]:
    """One row of A' m: four numbers from six."""
    sum1, difference1 = b.fadd(m[1], m[2]), b.fsub(m[1], m[2])
    sum2, difference2 = b.fadd(m[3], m[4]), b.fsub(m[3], m[4])
    return [
        b.fadd(b.fadd(m[0], sum1), sum2),
        multiply_add(b, splat(2), difference2, difference1),
        multiply_add(b, splat(4), sum2, sum1),
        b.fadd(multiply_add(b, splat(8), difference2, difference1), m[5]),
    ]


def _function(
    module: Any, name: str, arguments: int, emit: Callable[[Any, Any, list[Any]], None]
) -> Any:
    """A function that runs ``emit`` for each VL channels; its last argument is their bytes."""
    if name in module.globals:
        return module.globals[name]
    function_type = ir.FunctionType(ir.VoidType(), [ADDRESS] * arguments)
    function = ir.Function(module, function_type, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))
    ir.IRBuilder(entry).branch(loop)
    b = ir.IRBuilder(loop)
    channel = b.phi(ADDRESS)
    channel.add_incoming(constant(0), entry)
    emit(b, channel, list(function.args))
    onward = b.add(channel, constant(4 * VL))
    channel.add_incoming(onward, b.block)
    b.cbranch(b.icmp_signed("<", onward, function.args[-1]), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


def _emit_inputs(b: Any, channel: Any, arguments: list[Any]) -> None:
    pixels, v, step, _ = arguments
    columns = []
    for x in range(INPUT):
        at = [b.add(load_address(b, pixels, INPUT * y + x), channel) for y in range(INPUT)]
        columns.append(_inputs_1d(b, [load_vector(b, address) for address in at]))
    target = b.add(v, channel)
    for y in range(INPUT):
        for value in _inputs_1d(b, [column[y] for column in columns]):
            store_vector(b, value, target)
            target = b.add(target, step)


def _emit_outputs(b: Any, channel: Any, arguments: list[Any]) -> None:
    m, step, bias, pixels, y_base, r_base, flags, _ = arguments
    columns = []
    for x in range(INPUT):
        at = [b.add(b.add(m, channel), b.mul(step, constant(INPUT * y + x))) for y in range(INPUT)]
        columns.append(_outputs_1d(b, [load_vector(b, address) for address in at]))
    start = load_vector(b, b.add(bias, channel))
    offsets = [b.add(load_address(b, pixels, i), channel) for i in range(OUTPUT * OUTPUT)]
    values = []
    for y in range(OUTPUT):
        values += [b.fadd(v, start) for v in _outputs_1d(b, [column[y] for column in columns])]

    def with_residual(values: list[Any]) -> list[Any]:
        return add_vectors(b, values, [load_vector(b, b.add(r_base, at)) for at in offsets])

    values = optionally(b, flags, ADD, values, with_residual)
    values = optionally(b, flags, RELU, values, lambda v: [rectified(b, value) for value in v])
    for value, offset in reversed(list(zip(values, offsets, strict=True))):
        store_vector(b, value, b.add(y_base, offset))


def _to_domain(context: Any, pixels: Any, v: Any, step: Any, bytes_: Any) -> Any:
    """Transform one tile of inputs.

    All arguments are int64.

    pixels
        Table of 36 addresses, row by row: where the channels of each pixel begin.
    v, step
        Where the 36 results go: ``v``, ``v + step`` and so on, in bytes.
    bytes_
        Bytes of the channels: a multiple of a vector's.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        b.call(_function(b.module, f"lucid_winograd_in_{VL}", 4, _emit_inputs), list(values))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _from_domain(
    context: Any, m: Any, step: Any, bias: Any, pixels: Any, y_base: Any, r_base: Any, flags: Any,
    bytes_: Any,
) -> Any:  # fmt: skip
    """Transform the sums of one tile back, and finish its outputs.

    All arguments are int64.

    m, step
        Where the 36 sums are: ``m``, ``m + step`` and so on, in bytes.
    bias
        Address of what is added for each channel.
    pixels, y_base
        Table of 16 offsets, row by row, in bytes from ``y_base``: where outputs go.  They
        are stored from the last to the first, so an output past the edge of the image
        may share the place of the last one inside, which then overwrites it.
    r_base
        With the flag ADD: what is added lies at the same offsets from here.
    flags
        RELU and ADD of the micro-kernel.
    bytes_
        Bytes of the channels: a multiple of a vector's.
    """

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        b.call(_function(b.module, f"lucid_winograd_out_{VL}", 8, _emit_outputs), list(values))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8), generate


to_domain: Any = intrinsic(_to_domain)
from_domain: Any = intrinsic(_from_domain)
