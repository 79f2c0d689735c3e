"""Functions of one element over large arrays, in one pass on all threads."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lucid.kernels.compiled.jit import GRAIN, Array, dense, kernel
from lucid.kernels.layout import as_lines
from lucid.kernels.memory import empty
from lucid.kernels.reference import elementwise as reference
from lucid.kernels.threads import parallel_for

# Of fewer elements NumPy's way costs less than finding out how they lie.
_LARGE = 1 << 14


@kernel
def _erf(start, stop, x, y):  # type: ignore[no-untyped-def]
    for i in range(start, stop):
        y[i] = math.erf(x[i])


# The kernels below run over slices, from 0: of indices that may be negative Numba takes
# care one by one, which costs half of the speed.


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
        y[i] = zero if x[i] < 0 else x[i]  # NaN comes through


@kernel
def _relu_backward(start: int, stop: int, g: Array, y: Array, gx: Array) -> None:
    g, y, gx = g[start:stop], y[start:stop], gx[start:stop]
    zero = gx.dtype.type(0)
    for i in range(len(gx)):
        gx[i] = zero if y[i] <= 0 else g[i]


def erf(x: Array) -> Array:
    """The error function of every element."""
    line = dense(x).reshape(-1)
    y = np.empty_like(line)
    parallel_for(_erf, line.size, line, y, grain=4096)
    return y.reshape(x.shape)


def add(a: Array, b: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.add`."""
    lines = large_lines(a, b)
    return reference.add(a, b) if lines is None else mapped(_add, lines, a)


def add_into(total: Array, other: Array) -> None:
    """See `lucid.kernels.reference.elementwise.add_into`."""
    lines = large_lines(total, other)
    if lines is None or np.may_share_memory(total, other):
        reference.add_into(total, other)
    else:
        parallel_for(_add_into, total.size, *lines, grain=GRAIN)


def relu(x: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.relu`."""
    lines = large_lines(x)
    return reference.relu(x) if lines is None else mapped(_relu, lines, x)


def relu_backward(g: Array, y: Array) -> Array:
    """See `lucid.kernels.reference.elementwise.relu_backward`."""
    lines = large_lines(g, y)
    return reference.relu_backward(g, y) if lines is None else mapped(_relu_backward, lines, y)


def large_lines(*arrays: Array) -> list[Array] | None:
    """The values in the order of memory; None where the reference is the better way."""
    first = arrays[0]
    if first.size < _LARGE or first.dtype not in (np.float32, np.float64):
        return None
    for array in arrays:
        if array.shape != first.shape or array.dtype != first.dtype:
            return None
        if not (array.flags.aligned and array.flags.writeable):  # to Numba these are other types
            return None
    return as_lines(*arrays)


def mapped(function: Callable[..., None], lines: list[Array], like: Array, *settings: int) -> Array:
    """What a kernel makes of lines, in the shape and the order in memory of ``like``."""
    line = empty((like.size,), like.dtype)
    parallel_for(function, like.size, *lines, line, *settings, grain=GRAIN)
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    ordered = line.reshape([like.shape[axis] for axis in order])
    return ordered.transpose(np.argsort(order))
