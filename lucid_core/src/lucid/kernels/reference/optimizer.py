"""Optimizer steps over lists of arrays, and the norm and scaling of such lists.

An update is several NumPy calls.  It runs over blocks that stay in the cache, so that arrays
are streamed from memory once and not once per call.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lucid.kernels.layout import Array, flatten_in_memory_order

# Elements of a block: five float32 arrays of them take 1.25 MiB.
_BLOCK = 65536


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
    """Update parameters in place by a step of stochastic gradient descent.

    Parameters
    ----------
    parameters, gradients : sequence of numpy.ndarray
        Pairs of one shape.
    buffers : sequence of numpy.ndarray
        Momentum buffers of the same shapes; unused if ``momentum`` is 0.
    fresh : sequence of bool
        Buffers to initialize with the gradient.
    lr, momentum, dampening, weight_decay, nesterov, maximize
        See :class:`lucid.optim.SGD`.
    """
    taken = 1 - dampening
    for i, parameter in enumerate(parameters):
        kept = (buffers[i],) if momentum else ()
        for p, g, *buffer, scratch in _blocks(parameter, gradients[i], *kept):
            if maximize:
                g = -g
            if weight_decay:
                np.multiply(p, weight_decay, out=scratch)
                scratch += g
                g = scratch
            direction = g
            if buffer:
                b = buffer[0]
                if fresh[i]:
                    b[...] = g
                else:
                    b *= momentum
                    b += g if taken == 1 else taken * g
                direction = g + momentum * b if nesterov else b
            np.multiply(direction, lr, out=scratch)
            p -= scratch


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
    """Update parameters in place by a step of Adam.

    Parameters
    ----------
    parameters, gradients, means, squares : sequence of numpy.ndarray
        Tuples of one shape: p, g, and the running means of g and of its square.
    largest : sequence of numpy.ndarray
        Running maxima of ``squares`` for AMSGrad, or empty.
    steps : sequence of int
        Step number of each parameter, from 1.
    lr, betas, eps, weight_decay, maximize
        See :class:`lucid.optim.Adam`.
    decoupled : bool
        Whether weight decay is decoupled from the gradient (AdamW).
    """
    b1, b2 = betas
    for i, parameter in enumerate(parameters):
        step_size, root = lr / (1 - b1 ** steps[i]), math.sqrt(1 - b2 ** steps[i])
        averages = (means[i], squares[i], largest[i]) if largest else (means[i], squares[i])
        for p, g, m, v, *most, scratch in _blocks(parameter, gradients[i], *averages):
            if maximize:
                g = -g
            if decoupled:
                p *= 1 - lr * weight_decay
            elif weight_decay:
                g = g + weight_decay * p
            m *= b1
            np.multiply(g, 1 - b1, out=scratch)
            m += scratch
            v *= b2
            np.multiply(g, g, out=scratch)
            scratch *= 1 - b2
            v += scratch
            if most:
                np.maximum(most[0], v, out=most[0])
            np.sqrt(most[0] if most else v, out=scratch)
            scratch /= root
            scratch += eps
            np.divide(m, scratch, out=scratch)
            scratch *= step_size
            p -= scratch


def sum_of_squares(arrays: Sequence[Array]) -> float:
    """Sum the squares of all elements in float64."""
    lines = [array.ravel(order="K") for array in arrays]
    # Converts a buffer at a time, without float64 copies.
    return float(sum(np.einsum("i,i->", line, line, dtype=np.float64) for line in lines))


def scale(arrays: Sequence[Array], factor: float) -> None:
    """Multiply all elements by ``factor`` in place."""
    for array in arrays:
        array *= factor


def _blocks(parameter: Array, *others: Array) -> Iterator[tuple[Array, ...]]:
    """Yield corresponding blocks of arrays of one shape, and a scratch array as large."""
    lines = flatten_in_memory_order(parameter, *others)
    if lines is None:
        # The memory orders differ: use one block.
        yield (parameter, *others, np.empty_like(parameter))
        return
    scratch = np.empty(min(_BLOCK, parameter.size), parameter.dtype)
    for start in range(0, parameter.size, _BLOCK):
        blocks = [line[start : start + _BLOCK] for line in lines]
        yield (*blocks, scratch[: len(blocks[0])])
