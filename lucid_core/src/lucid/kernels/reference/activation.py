"""Activations of one element, by name: the registry that fused kernels share.

Each name is also a function of :mod:`lucid.nn.functional`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lucid.kernels.layout import Array


class Activation(NamedTuple):
    """A function of one element.

    Attributes
    ----------
    value, derivative : callable
        From an array of floats to one of the same shape and dtype.
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def logistic(x: Array) -> Array:
    """``1 / (1 + exp(-x))`` of an array, without overflow at either end."""
    e = np.exp(-np.abs(x))
    value: Array = np.where(x >= 0, x.dtype.type(1), e) / (1 + e)
    return value


def _inside(x: Array, low: int, high: int, inside: Array | float, above: float) -> Array:
    """0 up to ``low``, ``inside`` between ``low`` and ``high``, and ``above`` from there on."""
    zero, upper = x.dtype.type(0), x.dtype.type(above)
    value: Array = np.where(x <= low, zero, np.where(x >= high, upper, inside))
    return value.astype(x.dtype, copy=False)


def _sigmoid_derivative(x: Array) -> Array:
    s = logistic(x)
    derivative: Array = s * (1 - s)
    return derivative


def _silu_derivative(x: Array) -> Array:
    s = logistic(x)
    derivative: Array = s * (1 + x * (1 - s))
    return derivative


def _indicator(x: Array, low: int, high: int, inside: float) -> Array:
    """``inside`` strictly between ``low`` and ``high``, and 0 elsewhere, also for NaN."""
    kept = (x > low) & (x < high)
    value: Array = np.where(kept, x.dtype.type(inside), x.dtype.type(0))
    return value


#: Every activation that fused kernels take.  Derivatives at the corners are PyTorch's.
ACTIVATIONS = {
    "relu": Activation(
        lambda x: np.maximum(x, 0),
        lambda x: np.where(x <= 0, x.dtype.type(0), x.dtype.type(1)),
    ),
    "relu6": Activation(lambda x: np.clip(x, 0, 6), lambda x: _indicator(x, 0, 6, 1)),
    "hardsigmoid": Activation(
        lambda x: np.clip(x + 3, 0, 6) / 6, lambda x: _indicator(x, -3, 3, 1 / 6)
    ),
    "hardswish": Activation(
        lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda x: _inside(x, -3, 3, x / 3 + 0.5, 1)
    ),
    "sigmoid": Activation(logistic, _sigmoid_derivative),
    "silu": Activation(lambda x: x * logistic(x), _silu_derivative),
}


@np.errstate(invalid="ignore")  # 0 times infinity is NaN, without a warning
def activation(x: Array, name: str | None) -> Array:
    """The activation of this name of every element; None stands for the identity.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape, of floats.
    name : str, optional
        A key of `ACTIVATIONS`.
    """
    return x if name is None else np.asarray(ACTIVATIONS[name].value(x))


@np.errstate(invalid="ignore")
def activation_backward(g: Array, x: Array, name: str | None) -> Array:
    """The gradient of the input ``x``, for the gradient ``g`` of the output.

    Parameters
    ----------
    g, x : numpy.ndarray
        Of one shape and dtype.
    name : str, optional
        A key of `ACTIVATIONS`; None stands for the identity.
    """
    if name == "relu":
        return np.where(x <= 0, g.dtype.type(0), g)
    return g if name is None else np.asarray(g * ACTIVATIONS[name].derivative(x))
