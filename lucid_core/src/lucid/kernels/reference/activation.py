"""Registry of elementwise activations that kernels can fuse.

Each name is also a function of :mod:`lucid.nn.functional`; ``gelu_tanh`` is ``gelu`` with
``approximate="tanh"``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lucid.kernels.layout import Array
from lucid.kernels.reference.elementwise import erf


class Activation(NamedTuple):
    """An elementwise activation.

    Attributes
    ----------
    value, derivative : callable
        Map an array of floats to one of the same shape and dtype.
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


def logistic(x: Array) -> Array:
    """Compute the logistic sigmoid ``1 / (1 + exp(-x))`` without overflow."""
    e = np.exp(-np.abs(x))
    value: Array = np.where(x >= 0, x.dtype.type(1), e) / (1 + e)
    return value


def _piecewise(x: Array, low: int, high: int, inside: Array | float, above: float) -> Array:
    """Return 0 up to ``low``, ``inside`` up to ``high``, and ``above`` from there on."""
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


def _normal_cdf(x: Array) -> Array:
    """Return the cumulative distribution function of the standard normal distribution."""
    value: Array = x.dtype.type(0.5) * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))
    return value


def _gelu_derivative(x: Array) -> Array:
    density = x.dtype.type(1 / math.sqrt(2 * math.pi)) * np.exp(x.dtype.type(-0.5) * x * x)
    derivative: Array = _normal_cdf(x) + x * density
    return derivative


# GELU by tanh is x * logistic(2 u) with u = sqrt(2 / pi) (x + 0.044715 x^3).
_SCALE, _CUBE = 2 * math.sqrt(2 / math.pi), 0.044715


def _gelu_tanh(x: Array) -> Array:
    value: Array = x * logistic(x.dtype.type(_SCALE) * (x + x.dtype.type(_CUBE) * x * x * x))
    return value


def _gelu_tanh_derivative(x: Array) -> Array:
    s = logistic(x.dtype.type(_SCALE) * (x + x.dtype.type(_CUBE) * x * x * x))
    slope = x.dtype.type(_SCALE) * (1 + x.dtype.type(3 * _CUBE) * x * x)
    derivative: Array = s + x * s * (1 - s) * slope
    return derivative


def _indicator(x: Array, low: int, high: int, inside: float) -> Array:
    """Return ``inside`` strictly between ``low`` and ``high``, 0 elsewhere and for NaN."""
    kept = (x > low) & (x < high)
    value: Array = np.where(kept, x.dtype.type(inside), x.dtype.type(0))
    return value


#: Activations by name.  At the kinks, derivatives are PyTorch's.
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
        lambda x: x * np.clip(x + 3, 0, 6) / 6, lambda x: _piecewise(x, -3, 3, x / 3 + 0.5, 1)
    ),
    "sigmoid": Activation(logistic, _sigmoid_derivative),
    "silu": Activation(lambda x: x * logistic(x), _silu_derivative),
    "gelu": Activation(lambda x: x * _normal_cdf(x), _gelu_derivative),
    "gelu_tanh": Activation(_gelu_tanh, _gelu_tanh_derivative),
}


@np.errstate(invalid="ignore")  # 0 times infinity gives NaN
def activation(x: Array, name: str | None) -> Array:
    """Apply an activation to each element.

    Parameters
    ----------
    x : numpy.ndarray
        Floats of any shape.
    name : str, optional
        Key of `ACTIVATIONS`; None is the identity.
    """
    return x if name is None else np.asarray(ACTIVATIONS[name].value(x))


@np.errstate(invalid="ignore")
def activation_backward(g: Array, x: Array, name: str | None) -> Array:
    """Compute the input gradient of an activation.

    Parameters
    ----------
    g, x : numpy.ndarray
        Output gradient and input, of one shape and dtype.
    name : str, optional
        Key of `ACTIVATIONS`; None is the identity.
    """
    if name == "relu":
        return np.where(x <= 0, g.dtype.type(0), g)
    return g if name is None else np.asarray(g * ACTIVATIONS[name].derivative(x))
