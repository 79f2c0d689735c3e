"""Exponentials and angles, element by element; the results are floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, record
from lucid.ops.operands import floating

if TYPE_CHECKING:
    from lucid.tensor import Tensor


def exp(x: ArrayLike) -> Tensor:
    """e to the power of x.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``.
    """
    value = np.exp(floating(x))
    return record(value, (x, lambda g: g * value))


def log(x: ArrayLike) -> Tensor:
    """Natural logarithm; -inf at 0, NaN below.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``.
    """
    a = floating(x)
    return record(np.log(a), (x, lambda g: g / a))


def sin(x: ArrayLike) -> Tensor:
    """Sine of an angle.

    Parameters
    ----------
    x : array-like
        Angles in radians, of any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from -1 to 1.
    """
    a = floating(x)
    return record(np.sin(a), (x, lambda g: g * np.cos(a)))


def cos(x: ArrayLike) -> Tensor:
    """Cosine of an angle.

    Parameters
    ----------
    x : array-like
        Angles in radians, of any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from -1 to 1.
    """
    a = floating(x)
    return record(np.cos(a), (x, lambda g: -g * np.sin(a)))


def tan(x: ArrayLike) -> Tensor:
    """Tangent of an angle.

    Parameters
    ----------
    x : array-like
        Angles in radians, of any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``.
    """
    value = np.tan(floating(x))
    return record(value, (x, lambda g: g * (1 + value * value)))


def tanh(x: ArrayLike) -> Tensor:
    """Hyperbolic tangent.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from -1 to 1.
    """
    value = np.tanh(floating(x))
    return record(value, (x, lambda g: g * (1 - value * value)))


def sigmoid(x: ArrayLike) -> Tensor:
    """1 / (1 + exp(-x)), without overflow at either end.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from 0 to 1.
    """
    a = floating(x)
    value = kernels.activation(a, "sigmoid")
    return record(value, (x, lambda g: g * value * (1 - value)))


def erf(x: ArrayLike) -> Tensor:
    """Error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from -1 to 1.
    """
    a = floating(x)
    slope = 2 / np.sqrt(np.pi)
    return record(kernels.erf(a), (x, lambda g: g * (np.exp(-a * a) * a.dtype.type(slope))))
