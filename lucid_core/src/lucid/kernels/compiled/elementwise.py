"""Elementwise functions of large arrays, in one pass on all threads."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lucid.kernels import recording
from lucid.kernels.compiled.jit import GRAIN, Array, dense, kernel
from lucid.kernels.layout import flatten_in_memory_order
from lucid.kernels.memory import empty
from lucid.kernels.reference import elementwise as reference
from lucid.kernels.threads import parallel_for

# With fewer elements NumPy is faster.
_LARGE = 1 << 14


@kernel
def _erf(start, stop, x, y):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        y[i] = math.erf(x[i])


# The kernels below index slices from 0: the wraparound of possibly negative indices costs half
# the speed.


@kernel
def _add(start: int, stop: int, a: Array, b: Array, y: Array) -> None:
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    for i in range(len(y)):
        y[i] = a[i] + b[i]


@kernel
def _add_into(start: int, stop: int, total: Array, other: Array) -> None:
    total, other = total[start:stop], other[start:stop]
    for i in range(len(total)):
        total[i] += other[i]


@kernel
def _relu(start: int, stop: int, x: Array, y: Array) -> None:
    x, y = x[start:stop], y[start:stop]
    zero = y.dtype.type(0)
    for i in range(len(y)):
        y[i] = zero if x[i] < 0 else x[i]  # NaN propagates


@kernel
def _relu_backward(start: int, stop: int, g: Array, y: Array, gx: Array) -> None:
    g, y, gx = g[start:stop], y[start:stop], gx[start:stop]
    zero = gx.dtype.type(0)
    for i in range(len(gx)):
        gx[i] = zero if y[i] <= 0 else g[i]


def erf(x: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.erf`."""
    out = dense(x).reshape(-1)
    y = np.empty_like(out)
    parallel_for(_erf, out.size, out, y, grain=4096)
    return y.reshape(x.shape)


def add(a: Array, b: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.add`."""
    flat = flatten_if_large(a, b)
    return reference.add(a, b) if flat is None else run_elementwise(_add, flat, a)


def add_into(total: Array, other: Array) -> None:
    """See `lucid.kernels.reference.elementwise.add_into`."""
    # Both forms compute the same; only launches can be recorded.
    large = _LARGE if recording.current() is None else 1
    flat = flatten_if_large(total, other, large=large)
    if flat is None or np.may_share_memory(total, other):
        recording.refuse("a sum of other layouts")
        reference.add_into(total, other)
    else:
        parallel_for(_add_into, total.size, *flat, grain=GRAIN)


def relu(x: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.relu`."""
    flat = flatten_if_large(x, large=1)  # NumPy's -0 may become 0
    if flat is None:
        recording.refuse("a rectification of other layouts")
        return reference.relu(x)
    return run_elementwise(_relu, flat, x)


def relu_backward(g: Array, y: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.relu_backward`."""
    flat = flatten_if_large(g, y)
    if flat is None:
        return reference.relu_backward(g, y)
    return run_elementwise(_relu_backward, flat, y)


def flatten_if_large(*arrays: Array, large: int = _LARGE) -> list[Array] | None:
    """Return flat views in memory order, or None if the reference should run instead."""
    first = arrays[0]
    if first.size < large or first.dtype not in (np.float32, np.float64):
        return None
    for array in arrays:
        if array.shape != first.shape or array.dtype != first.dtype:
            return None
        if not (array.flags.aligned and array.flags.writeable):  # other types to Numba
            return None
    return flatten_in_memory_order(*arrays)


def run_elementwise(
    function: Callable[..., None], flat: list[Array], like: Array, *settings: int
) -> Array:
    """Run a kernel over flat inputs; return the output in the shape and layout of ``like``."""
    out = empty((like.size,), like.dtype)
    parallel_for(function, like.size, *flat, out, *settings, grain=GRAIN)
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    ordered = out.reshape([like.shape[axis] for axis in order])
    return ordered.transpose(np.argsort(order))
