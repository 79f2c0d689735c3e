"""Optimizer steps over lists of arrays, and the norm and the scaling of such lists.

An update is several NumPy calls, each of which would stream whole arrays through
memory.  Over blocks of some tens of thousands of values only the first call does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from lucid.kernels.layout import Array, as_lines

# Values in a block: five arrays of them in float32 take little over a megabyte.
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
    """One step of stochastic gradient descent, in place.

    Parameters
    ----------
    parameters, gradients : sequence of numpy.ndarray
        Pairs of one shape.
    buffers : sequence of numpy.ndarray
        Of the same shapes; read and written with a ``momentum`` other than 0.
    fresh : sequence of bool
        Which buffers hold nothing yet, and begin with the gradient.
    lr, momentum, dampening, weight_decay, nesterov, maximize
        As :class:`lucid.optim.SGD` defines them.
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
    """One step of Adam, in place.

    Parameters
    ----------
    parameters, gradients, means, squares : sequence of numpy.ndarray
        Of one shape each: p, g, and the running means of g and of its square.
    largest : sequence of numpy.ndarray
        Of the same shapes, the largest that ``squares`` have been; none without AMSGrad.
    steps : sequence of int
        Which step this is for each parameter, from 1.
    lr, betas, eps, weight_decay, maximize
        As :class:`lucid.optim.Adam` defines them.
    decoupled : bool
        Whether the weight decay shrinks the parameter, and leaves the gradient alone.
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
    """The sum of the squares of all values, computed in float64."""
    lines = [array.ravel(order="K") for array in arrays]
    # Unlike a sum over wide copies, this widens a buffer at a time.
    return float(sum(np.einsum("i,i->", line, line, dtype=np.float64) for line in lines))


def scale(arrays: Sequence[Array], factor: float) -> None:
    """Multiply every value by ``factor``, in place."""
    for array in arrays:
        array *= factor


def _blocks(parameter: Array, *others: Array) -> Iterator[tuple[Array, ...]]:
    """Corresponding pieces of arrays of one shape, and a scratch array for each piece.

    Yields
    ------
    tuple of numpy.ndarray
        Views of the parameter and of the others, writable where they are, and
        last an uninitialized array of the same shape in the parameter's dtype.
    """
    lines = as_lines(parameter, *others)
    if lines is None:
        # Not the same order in memory throughout: the array is its only block.
        yield (parameter, *others, np.empty_like(parameter))
        return
    scratch = np.empty(min(_BLOCK, parameter.size), parameter.dtype)
    for start in range(0, parameter.size, _BLOCK):
        pieces = [line[start : start + _BLOCK] for line in lines]
        yield (*pieces, scratch[: len(pieces[0])])
