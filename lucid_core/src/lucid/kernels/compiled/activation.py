"""Activations by code: loops over runs of numbers, for whole arrays and inside other kernels.

A kernel is told its activation by a number, so that its types and its machine code are the
same for all of them.  Each activation has a loop of its own over a run that is in the
first-level cache, so that the code is not looked at for each number.
"""

from __future__ import annotations

import math

from lucid.kernels.compiled.elementwise import large_lines, mapped
from lucid.kernels.compiled.jit import GRAIN, Array, kernel, routine
from lucid.kernels.reference import activation as reference
from lucid.kernels.threads import parallel_for

__all__ = [
    "CLIP",
    "CODES",
    "OTHERS",
    "RELU",
    "activate",
    "activation",
    "activation_backward",
    "apply_activation",
    "take_derivative",
]

#: Flag of ReLU.  A micro-kernel has further flags of its own below 8.
RELU = 1
#: Flag of an upper bound of 6, in addition to RELU.
CLIP = 8
#: Bits of the codes that are neither.
OTHERS = 0xF0
HARDSIGMOID, HARDSWISH, SIGMOID, SILU = 16, 32, 48, 64
#: By name, in the order of the registry; 0 stands for the identity.
CODES: dict[str | None, int] = {
    None: 0,
    "relu": RELU,
    "relu6": RELU | CLIP,
    "hardsigmoid": HARDSIGMOID,
    "hardswish": HARDSWISH,
    "sigmoid": SIGMOID,
    "silu": SILU,
}

# So many numbers are copied and then gone through again.
_CHUNK = 2048


@routine
def apply_activation(v: Array, code: int) -> None:
    """Apply the activation to a run, in place; NaN comes through."""
    one, six = v.dtype.type(1), v.dtype.type(6)
    zero, three, sixth = v.dtype.type(0), v.dtype.type(3), v.dtype.type(1 / 6)
    if code == RELU:
        for i in range(len(v)):
            v[i] = zero if v[i] < 0 else v[i]
    elif code == RELU | CLIP:
        for i in range(len(v)):
            low = zero if v[i] < 0 else v[i]
            v[i] = six if low > six else low
    elif code == HARDSIGMOID:
        for i in range(len(v)):
            t = v[i] + three
            t = zero if t < 0 else t
            v[i] = (six if t > six else t) * sixth
    elif code == HARDSWISH:
        for i in range(len(v)):
            t = v[i] + three
            t = zero if t < 0 else t
            v[i] = v[i] * ((six if t > six else t) * sixth)
    elif code in (SIGMOID, SILU):
        for i in range(len(v)):
            e = math.exp(-abs(v[i]))
            s = (e if v[i] < 0 else one) / (one + e)
            v[i] = v[i] * s if code == SILU else s


@routine
def take_derivative(v: Array, code: int) -> None:
    """Put the activation's derivative at each number of a run in its place."""
    zero, one, three = v.dtype.type(0), v.dtype.type(1), v.dtype.type(3)
    six, half, third = v.dtype.type(6), v.dtype.type(0.5), v.dtype.type(1 / 3)
    sixth = v.dtype.type(1 / 6)
    if code == RELU:
        for i in range(len(v)):
            v[i] = zero if v[i] <= 0 else one
    elif code == RELU | CLIP:
        for i in range(len(v)):
            v[i] = one if v[i] > 0 and v[i] < six else zero
    elif code == HARDSIGMOID:
        for i in range(len(v)):
            v[i] = sixth if v[i] > -three and v[i] < three else zero
    elif code == HARDSWISH:
        for i in range(len(v)):
            t = v[i] * third + half
            t = zero if v[i] <= -three else t
            v[i] = one if v[i] >= three else t
    elif code in (SIGMOID, SILU):
        for i in range(len(v)):
            e = math.exp(-abs(v[i]))
            s = (e if v[i] < 0 else one) / (one + e)
            v[i] = s * (one + v[i] * (one - s)) if code == SILU else s * (one - s)


@kernel
def _activation(start: int, stop: int, x: Array, y: Array, code: int) -> None:
    for first in range(start, stop, _CHUNK):
        last = min(first + _CHUNK, stop)
        run = y[first:last]
        run[:] = x[first:last]
        apply_activation(run, code)


@kernel
def _activation_backward(start: int, stop: int, g: Array, x: Array, gx: Array, code: int) -> None:
    zero = gx.dtype.type(0)
    for first in range(start, stop, _CHUNK):
        last = min(first + _CHUNK, stop)
        run, given = gx[first:last], g[first:last]
        run[:] = x[first:last]
        if code == RELU:  # 0, also of an infinite gradient
            for i in range(len(run)):
                run[i] = zero if run[i] <= 0 else given[i]
        else:
            take_derivative(run, code)
            for i in range(len(run)):
                run[i] *= given[i]


@kernel
def _activate(start: int, stop: int, y: Array, code: int) -> None:
    apply_activation(y[start:stop], code)


def activate(y: Array, code: int) -> None:
    """Apply an activation to a contiguous array, in place."""
    if code:
        parallel_for(_activate, y.size, y.reshape(-1), code, grain=GRAIN)


def activation(x: Array, name: str | None) -> Array:
    """See `lucid.kernels.reference.activation.activation`."""
    lines = None if name is None else large_lines(x)
    if lines is None:
        return reference.activation(x, name)
    return mapped(_activation, lines, x, CODES[name])


def activation_backward(g: Array, x: Array, name: str | None) -> Array:
    """See `lucid.kernels.reference.activation.activation_backward`."""
    lines = None if name is None else large_lines(g, x)
    if lines is None:
        return reference.activation_backward(g, x, name)
    return mapped(_activation_backward, lines, x, CODES[name])
