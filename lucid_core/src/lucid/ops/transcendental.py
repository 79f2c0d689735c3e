"""Elementwise exponential, trigonometric and related functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, record
from lucid.ops.docstrings import FLOAT, unary
from lucid.ops.operands import floating

if TYPE_CHECKING:
    from lucid.tensor import Tensor

_RADIANS = "Angles in radians, any shape; integers and booleans become float32."


@unary(FLOAT)
def exp(x: ArrayLike) -> Tensor:
    """Elementwise exponential function, ``e ** x``."""
    value = np.exp(floating(x))
    return record(value, (x, lambda g: g * value))


@unary(FLOAT, "Shape of ``x``; -inf at 0, NaN below.")
def log(x: ArrayLike) -> Tensor:
    """Elementwise natural logarithm."""
    a = floating(x)
    return record(np.log(a), (x, lambda g: g / a))


@unary(_RADIANS, "Shape of ``x``, values in [-1, 1].")
def sin(x: ArrayLike) -> Tensor:
    """Elementwise sine."""
    a = floating(x)
    return record(np.sin(a), (x, lambda g: g * np.cos(a)))


@unary(_RADIANS, "Shape of ``x``, values in [-1, 1].")
def cos(x: ArrayLike) -> Tensor:
    """Elementwise cosine."""
    a = floating(x)
    return record(np.cos(a), (x, lambda g: -g * np.sin(a)))


@unary(_RADIANS)
def tan(x: ArrayLike) -> Tensor:
    """Elementwise tangent."""
    value = np.tan(floating(x))
    return record(value, (x, lambda g: g * (1 + value * value)))


@unary(FLOAT, "Shape of ``x``, values in [-1, 1].")
def tanh(x: ArrayLike) -> Tensor:
    """Elementwise hyperbolic tangent."""
    value = np.tanh(floating(x))
    return record(value, (x, lambda g: g * (1 - value * value)))


@unary(FLOAT, "Shape of ``x``, values in [0, 1].")
def sigmoid(x: ArrayLike) -> Tensor:
    """Logistic sigmoid, ``1 / (1 + exp(-x))``, without overflow."""
    a = floating(x)
    value = kernels.activation(a, "sigmoid")
    return record(value, (x, lambda g: g * value * (1 - value)))


@unary(FLOAT, "Shape of ``x``, values in [-1, 1].")
def erf(x: ArrayLike) -> Tensor:
    """Error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` from 0 to x."""
    a = floating(x)
    slope = 2 / np.sqrt(np.pi)
    return record(kernels.erf(a), (x, lambda g: g * (np.exp(-a * a) * a.dtype.type(slope))))
