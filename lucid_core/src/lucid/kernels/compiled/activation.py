"""Activations by integer code, for whole arrays and inside other kernels.

A kernel takes its activation as an integer, so that one machine code serves all of them.  Each
activation is a loop over a run of elements in the first-level cache, so that the code is
tested once a run and not for each element.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.elementwise import flatten_if_large, run_elementwise
from lucid.kernels.compiled.exp import exp
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
    "apply_derivative",
]

#: Flag of ReLU.  The micro-kernel has further flags below 8.
RELU = 1
#: Flag of the upper bound 6 of ReLU6, in addition to RELU.
CLIP = 8
#: Mask of the codes of all other activations.
OTHERS = 0xF0
HARDSIGMOID, HARDSWISH, SIGMOID, SILU, GELU, GELU_TANH = 16, 32, 48, 64, 80, 96
#: Codes by name; 0 is the identity.
CODES: dict[str | None, int] = {
    None: 0,
    "relu": RELU,
    "relu6": RELU | CLIP,
    "hardsigmoid": HARDSIGMOID,
    "hardswish": HARDSWISH,
    "sigmoid": SIGMOID,
    "silu": SILU,
    "gelu": GELU,
    "gelu_tanh": GELU_TANH,
}

#: Tail of the normal distribution, ``Phi(-z) = t * polynomial(t) * exp(-z^2 / 2)`` for z >= 0 with
#: ``t = 1 / (1 + TAIL_STEP * z)``: coefficients, highest power first.  The error is at most 8e-8
#: (Abramowitz and Stegun, *Handbook of Mathematical Functions*, 7.1.26).
TAIL = tuple(a / 2 for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))
TAIL_STEP = 0.3275911 / math.sqrt(2)
#: GELU by tanh is ``x * sigmoid(TANH_SCALE * (x + TANH_CUBE * x^3))``.
TANH_SCALE, TANH_CUBE = 2 * math.sqrt(2 / math.pi), 0.044715
_DENSITY = 1 / math.sqrt(2 * math.pi)
_ROOT = math.sqrt(0.5)

# Elements of a run.
_CHUNK = 2048


@routine
def _normal_cdf(x: Any, density: Any) -> Any:
    """Return Phi(x) in float32, with ``density = exp(-x^2 / 2)``."""
    one = np.float32(1)
    t = one / (one + np.float32(TAIL_STEP) * abs(x))
    series = np.float32(TAIL[0]) * t + np.float32(TAIL[1])
    series = series * t + np.float32(TAIL[2])
    series = series * t + np.float32(TAIL[3])
    series = series * t + np.float32(TAIL[4])
    tail = series * t * density
    return tail if x < 0 else one - tail


@routine
def apply_activation(v: Array, code: int) -> None:
    """Apply the activation in place; NaN propagates."""
    one, six = v.dtype.type(1), v.dtype.type(6)
    zero, three, sixth = v.dtype.type(0), v.dtype.type(3), v.dtype.type(1 / 6)
    half, root = v.dtype.type(0.5), v.dtype.type(_ROOT)
    scale, cube = v.dtype.type(TANH_SCALE), v.dtype.type(TANH_SCALE * TANH_CUBE)
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
            e = exp(-abs(v[i]))
            s = (e if v[i] < 0 else one) / (one + e)
            v[i] = v[i] * s if code == SILU else s
    elif code == GELU and v.itemsize == 4:
        for i in range(len(v)):
            v[i] = v[i] * _normal_cdf(v[i], exp(-half * v[i] * v[i]))
    elif code == GELU:
        for i in range(len(v)):
            v[i] = v[i] * (half + half * math.erf(v[i] * root))
    elif code == GELU_TANH:
        for i in range(len(v)):
            t = v[i] * (scale + cube * v[i] * v[i])
            e = exp(-abs(t))
            v[i] = v[i] * ((e if t < 0 else one) / (one + e))


@routine
def apply_derivative(v: Array, code: int) -> None:
    """Replace each element by the activation's derivative at it."""
    zero, one, three = v.dtype.type(0), v.dtype.type(1), v.dtype.type(3)
    six, half, third = v.dtype.type(6), v.dtype.type(0.5), v.dtype.type(1 / 3)
    sixth = v.dtype.type(1 / 6)
    root, density = v.dtype.type(_ROOT), v.dtype.type(_DENSITY)
    scale, cube = v.dtype.type(TANH_SCALE), v.dtype.type(TANH_SCALE * TANH_CUBE)
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
            e = exp(-abs(v[i]))
            s = (e if v[i] < 0 else one) / (one + e)
            v[i] = s * (one + v[i] * (one - s)) if code == SILU else s * (one - s)
    elif code == GELU and v.itemsize == 4:
        for i in range(len(v)):
            e = exp(-half * v[i] * v[i])
            v[i] = _normal_cdf(v[i], e) + v[i] * density * e
    elif code == GELU:
        for i in range(len(v)):
            e = exp(-half * v[i] * v[i])
            v[i] = half + half * math.erf(v[i] * root) + v[i] * density * e
    elif code == GELU_TANH:
        for i in range(len(v)):
            t = v[i] * (scale + cube * v[i] * v[i])
            e = exp(-abs(t))
            s = (e if t < 0 else one) / (one + e)
            v[i] = s + v[i] * s * (one - s) * (scale + three * cube * v[i] * v[i])


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
        if code == RELU:  # select, since 0 times an infinite gradient is NaN
            for i in range(len(run)):
                run[i] = zero if run[i] <= 0 else given[i]
        else:
            apply_derivative(run, code)
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
    if name is None:
        return x
    flat = flatten_if_large(x, large=1)
    if flat is None:
        recording.refuse("an activation in NumPy")
        return reference.activation(x, name)
    return run_elementwise(_activation, flat, x, CODES[name])


def activation_backward(g: Array, x: Array, name: str | None) -> Array:
    """See `lucid.kernels.reference.activation.activation_backward`."""
    flat = None if name is None else flatten_if_large(g, x)
    if flat is None:
        return reference.activation_backward(g, x, name)
    return run_elementwise(_activation_backward, flat, x, CODES[name])
