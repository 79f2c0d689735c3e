"""Activations fused into the hand-written kernels, on sums that are still in registers.

ReLU, ReLU6 and hardswish are inlined.  The others use a buffer on the stack and one function
shared by all kernels of a module, so that they cost a kernel one branch and no registers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from lucid.kernels.compiled.activation import (
    CLIP,
    GELU,
    GELU_TANH,
    HARDSIGMOID,
    HARDSWISH,
    OTHERS,
    RELU,
    SIGMOID,
    SILU,
    TAIL,
    TAIL_STEP,
    TANH_CUBE,
    TANH_SCALE,
)
from lucid.kernels.compiled.exp import emit_exp
from lucid.kernels.compiled.vector_ir import (
    ADDRESS,
    FLOAT,
    VL,
    apply_if,
    constant,
    load_vector,
    merge,
    multiply_add,
    new_function,
    splat,
    store_vector,
)

__all__ = ["emit_activation"]


def emit_activation(b: Any, flags: Any, values: list[Any]) -> list[Any]:
    """Apply the activation whose code is in ``flags`` to the vectors; see `CODES`."""

    def relu(values: list[Any]) -> list[Any]:
        values = [_maximum(b, value, 0) for value in values]
        return apply_if(b, flags, CLIP, values, lambda v: [_minimum(b, x, 6) for x in v])

    def other(values: list[Any]) -> list[Any]:
        code = b.and_(flags, constant(OTHERS))
        with b.if_else(b.icmp_unsigned("==", code, constant(HARDSWISH))) as (then, otherwise):
            with then:
                inlined, inline_end = [_hardswish(b, value) for value in values], b.block
            with otherwise:
                called, call_end = _by_call(b, flags, values), b.block
        return merge(b, inlined, inline_end, called, call_end)

    values = apply_if(b, flags, RELU, values, relu)
    return apply_if(b, flags, OTHERS, values, other)


def _maximum(b: Any, value: Any, bound: float) -> Any:
    """Clamp a vector from below; NaN propagates."""
    return b.select(b.fcmp_ordered("<", value, splat(bound)), splat(bound), value)


def _minimum(b: Any, value: Any, bound: float) -> Any:
    return b.select(b.fcmp_ordered(">", value, splat(bound)), splat(bound), value)


def _by_call(b: Any, flags: Any, values: list[Any]) -> list[Any]:
    count = len(values)
    with b.goto_entry_block():
        buffer = b.alloca(ir.ArrayType(FLOAT, count * VL))
        buffer.align = 16  # more than the alignment of the stack would slow down every call
        at = b.ptrtoint(buffer, ADDRESS)
    for i, value in enumerate(values):
        store_vector(b, value, at, 4 * VL * i)
    b.call(_function(b.module), [at, constant(4 * VL * count), flags])
    return [load_vector(b, at, 4 * VL * i) for i in range(count)]


def _function(module: Any) -> Any:
    """Return the function that applies an activation in place to some bytes at an address."""
    name = f"lucid_activate_{VL}"
    if name in module.globals:
        return module.globals[name]
    function = new_function(module, name, 3)
    address, size, flags = function.args
    entry, done = (function.append_basic_block(label) for label in ("entry", "done"))
    b = ir.IRBuilder(entry)
    switch = b.switch(b.and_(flags, constant(OTHERS)), done)
    for code, emit in _EMITTED.items():
        loop = function.append_basic_block(f"code{code}")
        switch.add_case(constant(code), loop)
        b = ir.IRBuilder(loop)
        offset = b.phi(ADDRESS)
        offset.add_incoming(constant(0), entry)
        at = b.add(address, offset)
        store_vector(b, emit(b, load_vector(b, at)), at)
        following = b.add(offset, constant(4 * VL))
        offset.add_incoming(following, loop)
        b.cbranch(b.icmp_signed("<", following, size), loop, done)
    ir.IRBuilder(done).ret_void()
    return function


def _hardsigmoid(b: Any, x: Any) -> Any:
    shifted = _minimum(b, _maximum(b, b.fadd(x, splat(3)), 0), 6)
    return b.fmul(shifted, splat(1 / 6))


def _hardswish(b: Any, x: Any) -> Any:
    return b.fmul(x, _hardsigmoid(b, x))


def _sigmoid(b: Any, x: Any) -> Any:
    """Compute ``1 / (1 + e)`` for x >= 0, else ``e / (1 + e)``, with e = exp(-abs(x))."""
    one = splat(1)
    negative = b.fcmp_ordered("<", x, splat(0))
    e = emit_exp(b, b.select(negative, x, b.fsub(splat(0), x)))
    return b.fdiv(b.select(negative, e, one), b.fadd(one, e))


def _silu(b: Any, x: Any) -> Any:
    return b.fmul(x, _sigmoid(b, x))


def _gelu(b: Any, x: Any) -> Any:
    """Compute ``x * Phi(x)`` by the tail of the normal distribution; see `TAIL`."""
    one = splat(1)
    negative = b.fcmp_ordered("<", x, splat(0))
    size = b.select(negative, b.fsub(splat(0), x), x)
    t = b.fdiv(one, multiply_add(b, size, splat(TAIL_STEP), one))
    series = splat(TAIL[0])
    for coefficient in TAIL[1:]:
        series = multiply_add(b, series, t, splat(coefficient))
    density = emit_exp(b, b.fmul(b.fmul(x, x), splat(-0.5)))
    tail = b.fmul(b.fmul(series, t), density)
    return b.fmul(x, b.select(negative, tail, b.fsub(one, tail)))


def _gelu_tanh(b: Any, x: Any) -> Any:
    """Compute ``x * sigmoid(2 u)``, which is ``x * (1 + tanh(u)) / 2``."""
    slope = multiply_add(b, b.fmul(x, x), splat(TANH_SCALE * TANH_CUBE), splat(TANH_SCALE))
    return b.fmul(x, _sigmoid(b, b.fmul(x, slope)))


_EMITTED: dict[int, Callable[[Any, Any], Any]] = {
    HARDSIGMOID: _hardsigmoid,
    SIGMOID: _sigmoid,
    SILU: _silu,
    GELU: _gelu,
    GELU_TANH: _gelu_tanh,
}
