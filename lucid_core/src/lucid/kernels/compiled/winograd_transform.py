"""Winograd transforms of one tile, F(4x4, 3x3), written as LLVM IR.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016
(arXiv:1509.09308), section 4: 4x4 outputs of a 3x3 filter from a 6x6 input tile take 36 products
for each pair of channels instead of 144.  Inputs become ``B' d B``, filters ``G g G'``, and sums
``A' m A``; the interpolation points are 0, 1, -1, 2, -2 and infinity.

The loops run over vectors of channels.  They are spelled out in IR because compilers do not
vectorize 36 loads and stores of different strides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from lucid.kernels.compiled.epilogue import emit_activation
from lucid.kernels.compiled.microkernel import ADD
from lucid.kernels.compiled.vector_ir import (
    ADDRESS,
    VL,
    add_vectors,
    apply_if,
    call_emitted,
    constant,
    load_address,
    load_vector,
    multiply_add,
    new_function,
    shuffle,
    splat,
    store_vector,
)

__all__ = [
    "INPUT",
    "OUTPUT",
    "transform_filters",
    "transform_input",
    "transform_output",
    "transform_output_gradient",
    "transform_weight_gradient",
    "transpose_squares",
]

#: Sides of an input tile and of its outputs.
INPUT, OUTPUT = 6, 4


def _inputs_1d(b: Any, d: list[Any]) -> list[Any]:
    """Compute a row of B' d: six values from six."""
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
    """Compute a row of A' m: four values from six."""
    sum1, difference1 = b.fadd(m[1], m[2]), b.fsub(m[1], m[2])
    sum2, difference2 = b.fadd(m[3], m[4]), b.fsub(m[3], m[4])
    return [
        b.fadd(b.fadd(m[0], sum1), sum2),
        multiply_add(b, splat(2), difference2, difference1),
        multiply_add(b, splat(4), sum2, sum1),
        b.fadd(multiply_add(b, splat(8), difference2, difference1), m[5]),
    ]


def _filters_1d(b: Any, g: list[Any]) -> list[Any]:
    """Compute a row of G g: six values from three."""
    sixth, twelfth = splat(1 / 6), splat(1 / 12)
    minus_sixth, minus_twelfth = splat(-1 / 6), splat(-1 / 12)
    ones = b.fmul(minus_sixth, b.fadd(g[0], g[2]))
    twos = multiply_add(b, sixth, g[2], b.fmul(splat(1 / 24), g[0]))
    return [
        b.fmul(splat(1 / 4), g[0]),
        multiply_add(b, minus_sixth, g[1], ones),
        multiply_add(b, sixth, g[1], ones),
        multiply_add(b, twelfth, g[1], twos),
        multiply_add(b, minus_twelfth, g[1], twos),
        g[2],
    ]


def _gradients_1d(b: Any, y: list[Any]) -> list[Any]:
    """Compute a row of A y: six values from four."""
    even, odd = b.fadd(y[0], y[2]), b.fadd(y[1], y[3])
    even2, odd2 = multiply_add(b, splat(4), y[2], y[0]), multiply_add(b, splat(4), y[3], y[1])
    return [
        y[0],
        b.fadd(even, odd),
        b.fsub(even, odd),
        multiply_add(b, splat(2), odd2, even2),
        multiply_add(b, splat(-2), odd2, even2),
        y[3],
    ]


def _taps_1d(b: Any, m: list[Any]) -> list[Any]:
    """Compute a row of G' m: three values from six."""
    sixth, minus_sixth = splat(1 / 6), splat(-1 / 6)
    sum1, difference1 = b.fadd(m[1], m[2]), b.fsub(m[2], m[1])
    sum2, difference2 = b.fadd(m[3], m[4]), b.fsub(m[3], m[4])
    first = multiply_add(b, splat(1 / 24), sum2, b.fmul(splat(1 / 4), m[0]))
    return [
        multiply_add(b, minus_sixth, sum1, first),
        multiply_add(b, splat(1 / 12), difference2, b.fmul(sixth, difference1)),
        multiply_add(b, sixth, b.fsub(sum2, sum1), m[5]),
    ]


def _loop_function(
    module: Any,
    name: str,
    arguments: int,
    emit: Callable[[Any, Any, list[Any]], None],
    step_bytes: int,
) -> Any:
    """Return a function that runs ``emit`` for each ``step_bytes`` below its last argument.

    With a step of one vector, the last argument is the bytes of the channels.
    """
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, arguments)
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "loop", "done"))
    ir.IRBuilder(entry).branch(loop)
    b = ir.IRBuilder(loop)
    channel = b.phi(ADDRESS)
    channel.add_incoming(constant(0), entry)
    emit(b, channel, list(function.args))
    following = b.add(channel, constant(step_bytes))
    channel.add_incoming(following, b.block)
    b.cbranch(b.icmp_signed("<", following, function.args[-1]), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


def _intrinsic(name: str, count: int, emit: Callable[..., None], step_bytes: int = 4 * VL) -> Any:
    """Return signature and code of an intrinsic of ``count`` int64 that runs ``emit``."""
    name = f"lucid_winograd_{name}_{VL}"
    return call_emitted(lambda m: _loop_function(m, name, count, emit, step_bytes), count)


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

    values = apply_if(b, flags, ADD, values, with_residual)
    values = emit_activation(b, flags, values)
    for value, offset in reversed(list(zip(values, offsets, strict=True))):
        store_vector(b, value, b.add(y_base, offset))


def _emit_gradients(b: Any, channel: Any, arguments: list[Any]) -> None:
    pixels, m, step, _ = arguments
    columns = []
    for x in range(OUTPUT):
        at = [b.add(load_address(b, pixels, OUTPUT * y + x), channel) for y in range(OUTPUT)]
        columns.append(_gradients_1d(b, [load_vector(b, address) for address in at]))
    target = b.add(m, channel)
    for y in range(INPUT):
        for value in _gradients_1d(b, [column[y] for column in columns]):
            store_vector(b, value, target)
            target = b.add(target, step)


def _emit_taps(b: Any, channel: Any, arguments: list[Any]) -> None:
    m, step, taps, tap_step, _ = arguments
    columns = []
    for x in range(INPUT):
        at = [b.add(b.add(m, channel), b.mul(step, constant(INPUT * y + x))) for y in range(INPUT)]
        columns.append(_taps_1d(b, [load_vector(b, address) for address in at]))
    target = b.add(taps, channel)
    for y in range(3):
        for value in _taps_1d(b, [column[y] for column in columns]):
            store_vector(b, value, target)
            target = b.add(target, tap_step)


def _emit_filters(b: Any, index: Any, arguments: list[Any]) -> None:
    taps, tap_step, taps_step, u, step, u_step, _ = arguments
    at = b.add(taps, b.mul(index, taps_step))
    columns: list[list[Any]] = [[], [], []]
    for tap in range(9):
        columns[tap % 3].append(load_vector(b, b.add(at, b.mul(tap_step, constant(tap)))))
    halves = [_filters_1d(b, column) for column in columns]
    target = b.add(u, b.mul(index, u_step))
    for y in range(INPUT):
        for value in _filters_1d(b, [half[y] for half in halves]):
            store_vector(b, value, target)
            target = b.add(target, step)


def _emit_transpose(b: Any, index: Any, arguments: list[Any]) -> None:
    source, source_step, source_square, target, target_square, _ = arguments
    at = b.add(source, b.mul(index, source_square))
    rows = []
    for _ in range(VL):
        rows.append(load_vector(b, at))
        at = b.add(at, source_step)
    # Each round exchanges the off-diagonal quadrants of squares of twice the size.
    size = 1
    while size < VL:
        for i in range(VL):
            if i & size:
                continue
            low, high = rows[i], rows[i + size]
            first = [j if not j & size else j - size + VL for j in range(VL)]
            second = [j + size for j in first]
            rows[i], rows[i + size] = (shuffle(b, low, high, f) for f in (first, second))
        size *= 2
    target = b.add(target, b.mul(index, target_square))
    for i, row in enumerate(rows):
        store_vector(b, row, target, 4 * VL * i)


def _transform_input(context: Any, pixels: Any, v: Any, step: Any, bytes_: Any) -> Any:
    """Transform one input tile.

    All arguments are int64.

    pixels
        Table of 36 addresses, row by row: the channels of each pixel.
    v, step
        Address of the first of 36 results, and bytes between them.
    bytes_
        Bytes of the channels, a multiple of a vector.
    """
    return _intrinsic("in", 4, _emit_inputs)


def _transform_output(
    context: Any, m: Any, step: Any, bias: Any, pixels: Any, y_base: Any, r_base: Any, flags: Any,
    bytes_: Any,
) -> Any:  # fmt: skip
    """Transform the sums of one tile back, and store its outputs.

    All arguments are int64.

    m, step
        Address of the first of 36 sums, and bytes between them.
    bias
        Address of the value added to each channel.
    pixels, y_base
        Table of 16 offsets, row by row, in bytes from ``y_base``.  Outputs are stored from last to
        first, so outputs past the edge of the image may go to the last pixel inside, which then
        overwrites them.
    r_base
        Base address of the residual at the same offsets, with the flag ADD.
    flags
        Code of an activation, and ADD of the micro-kernel.
    bytes_
        Bytes of the channels, a multiple of a vector.
    """
    return _intrinsic("out", 8, _emit_outputs)


def _transform_filters(
    context: Any, taps: Any, tap_step: Any, taps_step: Any, u: Any, step: Any, u_step: Any,
    count: Any,
) -> Any:  # fmt: skip
    """Transform ``count`` times VL filters; all arguments are int64, steps in bytes.

    taps, tap_step, taps_step
        First tap of VL filters, step to their next tap, and to the next filters.
    u, step, u_step
        First of the 36 results, step to the next one, and to those of the next filters.
    """
    return _intrinsic("filters", 7, _emit_filters, step_bytes=1)


def _transpose_squares(
    context: Any, source: Any, source_step: Any, source_square: Any, target: Any,
    target_square: Any, count: Any,
) -> Any:  # fmt: skip
    """Transpose ``count`` squares of VL x VL float32; all arguments are int64, steps in bytes.

    source, source_step, source_square
        First square, step to its next row, and to the next square.
    target, target_square
        First target square, whose rows are contiguous, and step to the next one.
    """
    return _intrinsic("transpose", 6, _emit_transpose, step_bytes=1)


def _transform_output_gradient(context: Any, pixels: Any, m: Any, step: Any, bytes_: Any) -> Any:
    """Transform the output gradients of one tile, as :func:`_transform_input` does inputs.

    It is ``A g A'``, the adjoint of :func:`_transform_output`; the table has 16 addresses.
    """
    return _intrinsic("gradients", 4, _emit_gradients)


def _transform_weight_gradient(
    context: Any, m: Any, step: Any, taps: Any, tap_step: Any, bytes_: Any
) -> Any:
    """Transform sums of products to the nine taps of filter gradients, ``G' m G``.

    All arguments are int64.

    m, step
        Address of the first of 36 sums, and bytes between them.
    taps, tap_step
        Address of the first tap, and bytes between them.
    bytes_
        Bytes of the channels, a multiple of a vector.
    """
    return _intrinsic("taps", 5, _emit_taps)


transform_input: Any = intrinsic(_transform_input)
transform_output_gradient: Any = intrinsic(_transform_output_gradient)
transform_weight_gradient: Any = intrinsic(_transform_weight_gradient)
transform_filters: Any = intrinsic(_transform_filters)
transpose_squares: Any = intrinsic(_transpose_squares)
transform_output: Any = intrinsic(_transform_output)
