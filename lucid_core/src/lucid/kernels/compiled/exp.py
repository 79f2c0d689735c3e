"""Exponential function of float32 without calls, for vectors and for loops that LLVM vectorizes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lucid.kernels.compiled.vector_ir import multiply_add

__all__ = ["emit_exp", "exp"]

# exp(r) = 1 + r + r^2 * polynomial(r) for |r| <= log(2) / 2: Taylor coefficients, highest power
# first; the remainder r^8 / 8! is below the precision of float32.
_TAYLOR = (1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2)
# log(2), split so that multiples of the first part are exact (Cody and Waite).
_LOG2_HIGH, _LOG2_LOW = 0.693359375, -2.12194440054690583e-4
# Added to a small number, rounds it to an integer in the lowest bits.
_ROUND = 1.5 * 2**23
# exp of smaller arguments is flushed to 0.
_MIN_EXPONENT = -86.0


def emit_exp(b: Any, x: Any) -> Any:
    """Compute exp(x) for x <= 0, a vector or a number, as 2^n * exp(r), with x = n log(2) + r."""
    lanes = getattr(x.type, "count", 0)
    bits = ir.VectorType(ir.IntType(32), lanes) if lanes else ir.IntType(32)

    def number(value: float, kind: Any = x.type) -> Any:
        return ir.Constant(kind, [value] * lanes if lanes else value)

    tiny = b.fcmp_ordered("<", x, number(_MIN_EXPONENT))
    x = b.select(tiny, number(_MIN_EXPONENT), x)
    shifted = multiply_add(b, x, number(1.4426950408889634), number(_ROUND))
    n = b.fsub(shifted, number(_ROUND))
    r = multiply_add(b, n, number(-_LOG2_HIGH), x)
    r = multiply_add(b, n, number(-_LOG2_LOW), r)
    series = number(_TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        series = multiply_add(b, series, r, number(coefficient))
    value = b.fadd(multiply_add(b, b.fmul(r, r), series, r), number(1.0))
    # Add n to the exponent bits; NaN is restored below.
    exponent = b.shl(b.bitcast(shifted, bits), number(23, bits))
    scaled = b.bitcast(b.add(b.bitcast(value, bits), exponent), x.type)
    scaled = b.select(b.fcmp_unordered("uno", x, x), x, scaled)
    return b.select(tiny, number(0.0), scaled)


def _exp(context: Any, x: Any) -> Any:
    """Compute exp(x) for x <= 0 of float32 or float64."""
    if x not in (types.float32, types.float64):
        return None

    def generate(context: Any, b: Any, signature: Any, values: Any) -> Any:
        if x == types.float32:
            return emit_exp(b, values[0])
        kind = ir.DoubleType()
        return b.call(b.module.declare_intrinsic("llvm.exp", [kind]), values)

    return x(x), generate


exp: Any = intrinsic(_exp)
