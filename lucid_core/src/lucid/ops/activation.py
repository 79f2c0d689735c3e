"""Nonlinearities of network layers, softmax and dropout."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.operands import floating, normalize_axis

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = [
    "dropout",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "log_softmax",
    "relu",
    "relu6",
    "silu",
    "softmax",
    "stochastic_depth",
]


def relu(x: ArrayLike) -> Tensor:
    """The larger of x and 0; the derivative at 0 is 0.

    Parameters
    ----------
    x : array-like
        Any shape.

    Returns
    -------
    Tensor
        The shape and dtype of ``x``, booleans as int64; NaN stays NaN.
    """
    value = kernels.relu(array_of(x))
    return record(value, (x, lambda g: kernels.relu_backward(g, value)))


def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Tensor:
    """x where it is positive, ``negative_slope * x`` elsewhere.

    The derivative at 0 is ``negative_slope``.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    negative_slope : float, default 0.01
        Factor of what is not positive.

    Returns
    -------
    Tensor
        The shape of ``x``.
    """
    a = floating(x)
    slope = np.where(a > 0, a.dtype.type(1), a.dtype.type(negative_slope))
    return record(a * slope, (x, lambda g: g * slope))


def gelu(x: ArrayLike, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, x times the standard normal distribution function at x.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    approximate : {"none", "tanh"}, default "none"
        ``"tanh"`` takes the approximation of section 2 of the paper,
        ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    Returns
    -------
    Tensor
        The shape of ``x``.

    Raises
    ------
    ValueError
        If ``approximate`` is neither.

    References
    ----------
    Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016.
    """
    a = floating(x)
    if approximate == "none":
        below = 0.5 * (1 + kernels.erf(a * math.sqrt(0.5)))
        density = math.sqrt(0.5 / math.pi)
        return record(a * below, (x, lambda g: g * (below + a * (density * np.exp(-0.5 * a * a)))))
    if approximate != "tanh":
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")
    scale = math.sqrt(2 / math.pi)
    t = np.tanh(scale * (a + 0.044715 * a * a * a))

    def vjp(g: Array) -> Array:
        inner = scale * (1 + 3 * 0.044715 * a * a)
        slope: Array = 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * inner
        return g * slope

    return record(0.5 * a * (1 + t), (x, vjp))


def check_activation(owner: str, name: str | None, argument: str = "activation") -> None:
    """Refuse what is neither a registered activation nor None."""
    if name is not None and name not in kernels.ACTIVATIONS:
        known = ", ".join(map(repr, kernels.ACTIVATIONS))
        raise ValueError(f"{owner}: {argument} must be one of {known}, or None, got {name!r}")


def activate(x: Tensor, name: str | None) -> Tensor:
    """The registered activation of this name; None returns ``x`` itself."""
    if name is None:
        return x
    return relu(x) if name == "relu" else _elementwise(x, name)


def _elementwise(x: ArrayLike, name: str) -> Tensor:
    """The registered activation of this name."""
    a = floating(x)
    value = kernels.activation(a, name)
    return record(value, (x, lambda g: kernels.activation_backward(g, a, name)))


def silu(x: ArrayLike) -> Tensor:
    """Sigmoid linear unit (swish), ``x * sigmoid(x)``.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``.

    References
    ----------
    Elfwing, Uchibe and Doya, *Sigmoid-Weighted Linear Units*, 2017.
    """
    return _elementwise(x, "silu")


def relu6(x: ArrayLike) -> Tensor:
    """Rectified linear unit bounded by 6, ``min(max(x, 0), 6)``.

    The derivative at 0 and at 6 is 0.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from 0 to 6; NaN stays NaN.

    References
    ----------
    Howard et al., *MobileNets*, 2017.
    """
    return _elementwise(x, "relu6")


def hardsigmoid(x: ArrayLike) -> Tensor:
    """Piecewise linear sigmoid, ``relu6(x + 3) / 6``.

    The derivative is 1/6 between -3 and 3, and 0 at both ends and beyond.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``, from 0 to 1; NaN stays NaN.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """
    return _elementwise(x, "hardsigmoid")


def hardswish(x: ArrayLike) -> Tensor:
    """Piecewise quadratic swish, ``x * relu6(x + 3) / 6``.

    The derivative is 0 up to -3, ``x / 3 + 1 / 2`` between -3 and 3, and 1 from 3 on.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.

    Returns
    -------
    Tensor
        The shape of ``x``; NaN stays NaN.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """
    return _elementwise(x, "hardswish")


def softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """Exponentials along an axis, divided by their sum.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int, default -1
        Along which the results sum to 1.

    Returns
    -------
    Tensor
        The shape of ``x``, from 0 to 1.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = floating(x)
    axis = normalize_axis(axis, a.ndim)
    value = np.exp(a - a.max(axis=axis, keepdims=True, initial=-np.inf))
    value /= value.sum(axis=axis, keepdims=True)

    def vjp(g: Array) -> Array:
        weighted: Array = g * value
        weighted -= value * weighted.sum(axis=axis, keepdims=True)
        return weighted

    return record(value, (x, vjp))


def log_softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """Logarithm of :func:`softmax`, finite where the softmax itself underflows.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    axis : int, default -1
        Along which the exponentials of the results sum to 1.

    Returns
    -------
    Tensor
        The shape of ``x``, nowhere above 0.

    Raises
    ------
    numpy.exceptions.AxisError
        If ``x`` has no such axis.
    """
    a = floating(x)
    axis = normalize_axis(axis, a.ndim)
    value = log_softmax_array(a, axis)
    return record(value, (x, lambda g: g - np.exp(value) * g.sum(axis=axis, keepdims=True)))


def log_softmax_array(a: Array, axis: int) -> Array:
    """The log-softmax of an array."""
    shifted: Array = a - a.max(axis=axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # of no classes
        shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


def dropout(x: ArrayLike, p: float, generator: np.random.Generator) -> Tensor:
    """Set each value to 0 with probability ``p`` and divide the others by ``1 - p``.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    p : float
        Probability of 0, from 0 to 1.
    generator : numpy.random.Generator
        Where the decisions are drawn from.

    Returns
    -------
    Tensor
        The shape of ``x``.

    Raises
    ------
    ValueError
        If ``p`` is not a probability.

    References
    ----------
    Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting*, JMLR 2014, section 10 for the scaling in training.
    """
    _expect_probability("dropout", p)
    a = floating(x)
    return _dropped(x, a, a.shape, p, generator)


def stochastic_depth(x: ArrayLike, p: float, mode: str, generator: np.random.Generator) -> Tensor:
    """Set whole samples, or the whole batch, to 0 with probability ``p``.

    What is kept is divided by ``1 - p``; see :func:`lucid.nn.functional.stochastic_depth`.
    """
    _expect_probability("stochastic_depth", p)
    a = floating(x)
    if not a.ndim:
        raise ValueError("stochastic_depth: expected an axis of samples, got a number")
    samples = len(a) if mode == "row" else 1
    return _dropped(x, a, (samples,) + (1,) * (a.ndim - 1), p, generator)


def _expect_probability(function: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"the {function} probability must lie from 0 to 1, got {p}")


def _dropped(
    x: ArrayLike, a: Array, shape: tuple[int, ...], p: float, generator: np.random.Generator
) -> Tensor:
    """``a`` times a mask of this shape, which is 0 with probability ``p``, else 1 / (1 - p)."""
    kept = generator.random(shape, dtype=np.float32) >= p
    factor = kept * a.dtype.type(1 / (1 - p) if p < 1 else 0)
    return record(a * factor, (x, lambda g: g * factor))
