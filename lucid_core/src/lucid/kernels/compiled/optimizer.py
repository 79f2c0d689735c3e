"""Optimizer steps in one pass over memory, on all threads.

Every operation is rounded, in the order of the reference: results are bitwise equal to it, for
any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lucid.kernels.compiled.jit import Array, exact_kernel
from lucid.kernels.compiled.parameter_chunks import ParameterChunks, floats
from lucid.kernels.reference import optimizer as reference

_PARTIALS = 128


@exact_kernel
def _plain_step(  # type: ignore[no-untyped-def]
    start, stop, table, rate, sign, decay
):
    """Item = one chunk of p and g."""
    for i in range(start, stop):
        p, g = floats(table[i, 0], table[i, 2]), floats(table[i, 1], table[i, 2])
        for j in range(len(p)):
            d = sign * g[j]
            if decay != 0:
                d = d + decay * p[j]
            p[j] = p[j] - rate * d


@exact_kernel
def _momentum_step(  # type: ignore[no-untyped-def]
    start, stop, table, fresh, rate, sign, decay, momentum, taken, nesterov
):
    """Item = one chunk of p, the buffer b and g."""
    for i in range(start, stop):
        n = table[i, 3]
        p, b, g = (
            floats(table[i, 0], n),
            floats(table[i, 1], n),
            floats(table[i, 2], n),
        )
        begins = fresh[table[i, 4]]
        for j in range(n):
            d = sign * g[j]
            if decay != 0:
                d = d + decay * p[j]
            kept = d if begins else momentum * b[j] + taken * d
            b[j] = kept
            if nesterov:
                kept = d + momentum * kept
            p[j] = p[j] - rate * kept


@exact_kernel
def _adam_step(  # type: ignore[no-untyped-def]
    start, stop, table, rates, sign, decay, shrink, b1, rest1, b2, rest2, eps, amsgrad
):
    """Item = one chunk of p, m, v, with AMSGrad the maximum of v, and g; it stays in cache."""
    roles = table.shape[1] - 2
    for i in range(start, stop):
        n = table[i, roles]
        p, m, v = (
            floats(table[i, 0], n),
            floats(table[i, 1], n),
            floats(table[i, 2], n),
        )
        g, most = floats(table[i, roles - 1], n), v
        for j in range(n):
            d = sign * g[j]
            if decay != 0:
                d = d + decay * p[j]
            m[j] = b1 * m[j] + rest1 * d
            v[j] = b2 * v[j] + rest2 * (d * d)
        if amsgrad:
            most = floats(table[i, 3], n)
            for j in range(n):
                before = most[j]
                # NaN propagates, as in np.maximum.
                most[j] = before if before >= v[j] or before != before else v[j]
        step_size, root = rates[table[i, roles + 1], 0], rates[table[i, roles + 1], 1]
        for j in range(n):
            step = m[j] / (np.sqrt(most[j]) / root + eps)
            p[j] = p[j] * shrink - step * step_size


@exact_kernel
def _add_squares(start, stop, table, sums):  # type: ignore[no-untyped-def]
    """Item = one chunk of x, and the sum for it."""
    partials = np.empty(_PARTIALS)  # independent partial sums, to vectorize
    for i in range(start, stop):
        partials[:] = 0
        address, left = table[i, 0], table[i, 1]
        while left > 0:
            x = floats(address, min(left, _PARTIALS))
            for j in range(len(x)):
                wide = np.float64(x[j])
                partials[j] += wide * wide
            address += 4 * _PARTIALS
            left -= _PARTIALS
        sums[i] = partials.sum()


@exact_kernel
def _multiply(start, stop, table, factor):  # type: ignore[no-untyped-def]
    """Item = one chunk of x."""
    for i in range(start, stop):
        x = floats(table[i, 0], table[i, 1])
        for j in range(len(x)):
            x[j] = x[j] * factor


def sgd(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    buffers: Sequence[Array],
    fresh: Sequence[bool],
    lr: float,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
    maximize: bool,
) -> None:
    """See `lucid.kernels.reference.optimizer.sgd`."""
    written = [parameters, buffers] if momentum else [parameters]
    chunks = ParameterChunks(written, gradients)
    rest = chunks.skipped
    lists = (rest(parameters), rest(gradients), rest(buffers), rest(fresh))
    reference.sgd(*lists, lr, momentum, dampening, weight_decay, nesterov, maximize)
    rate, sign, decay, share, taken = np.array(
        [lr, -1 if maximize else 1, weight_decay, momentum, 1 - dampening], np.float32
    )
    if momentum:
        begins = np.array(fresh, np.bool_)
        chunks.run(_momentum_step, begins, rate, sign, decay, share, taken, nesterov)
    else:
        chunks.run(_plain_step, rate, sign, decay)


def adam(
    parameters: Sequence[Array],
    gradients: Sequence[Array],
    means: Sequence[Array],
    squares: Sequence[Array],
    largest: Sequence[Array],
    steps: Sequence[int],
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decoupled: bool,
    maximize: bool,
) -> None:
    """See `lucid.kernels.reference.optimizer.adam`."""
    written = [parameters, means, squares, largest] if largest else [parameters, means, squares]
    chunks = ParameterChunks(written, gradients)
    rest = chunks.skipped
    lists = (rest(parameters), rest(gradients), rest(means), rest(squares), rest(largest))
    reference.adam(*lists, rest(steps), lr, betas, eps, weight_decay, decoupled, maximize)
    b1, b2 = betas
    rates = [(lr / (1 - b1**step), math.sqrt(1 - b2**step)) for step in steps]
    shrink, decay = (1 - lr * weight_decay, 0.0) if decoupled else (1.0, weight_decay)
    numbers = [-1 if maximize else 1, decay, shrink, b1, 1 - b1, b2, 1 - b2, eps]
    constants = np.array(numbers, np.float32)
    chunks.run(_adam_step, np.array(rates, np.float32), *constants, bool(largest))


def sum_of_squares(arrays: Sequence[Array]) -> float:
    """See `lucid.kernels.reference.optimizer.sum_of_squares`."""
    chunks = ParameterChunks([], arrays)
    sums = np.empty(len(chunks.table))
    chunks.run(_add_squares, sums)
    return float(sums.sum()) + reference.sum_of_squares(chunks.skipped(arrays))


def scale(arrays: Sequence[Array], factor: float) -> None:
    """See `lucid.kernels.reference.optimizer.scale`."""
    chunks = ParameterChunks([arrays])
    reference.scale(chunks.skipped(arrays), factor)
    chunks.run(_multiply, np.float32(factor))
