"""Activation functions, softmax and dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.docstrings import FLOAT, NO_AXIS, add_sections, unary
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


_SOFTMAX = {
    "x : array-like": FLOAT,
    "axis : int, default -1": "Axis of the classes; the probabilities along it sum to 1.",
}


@unary(returns="Shape and dtype of ``x``, int64 for booleans; NaN stays NaN.")
def relu(x: ArrayLike) -> Tensor:
    """Rectified linear unit, ``max(x, 0)``; the gradient at 0 is 0."""
    value = kernels.relu(array_of(x))
    return record(value, (x, lambda g: kernels.relu_backward(g, value)))


@add_sections(
    {
        "x : array-like": FLOAT,
        "negative_slope : float, default 0.01": "Slope for x <= 0.",
    },
    "Shape of ``x``.",
)
def leaky_relu(x: ArrayLike, negative_slope: float = 0.01) -> Tensor:
    """Leaky ReLU, ``x`` where ``x > 0``, else ``negative_slope * x``.

    The gradient at 0 is ``negative_slope``.
    """
    a = floating(x)
    slope = np.where(a > 0, a.dtype.type(1), a.dtype.type(negative_slope))
    return record(a * slope, (x, lambda g: g * slope))


def gelu(x: ArrayLike, approximate: str = "none") -> Tensor:
    """Gaussian error linear unit, ``x * Phi(x)`` with the standard normal CDF ``Phi``.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    approximate : {"none", "tanh"}, default "none"
        ``"tanh"`` uses ``0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If ``approximate`` is neither.

    References
    ----------
    Hendrycks and Gimpel, *Gaussian Error Linear Units*, 2016, section 2.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"expected approximate='none' or 'tanh', got {approximate!r}")
    return _elementwise(x, "gelu" if approximate == "none" else "gelu_tanh")


def check_activation(owner: str, name: str | None, argument: str = "activation") -> None:
    """Raise ValueError unless ``name`` is None or a registered activation."""
    if name is not None and name not in kernels.ACTIVATIONS:
        known = ", ".join(map(repr, kernels.ACTIVATIONS))
        raise ValueError(f"{owner}: expected {argument} to be None or one of {known}, got {name!r}")


def activate(x: Tensor, name: str | None) -> Tensor:
    """Apply a registered activation by name; None is the identity."""
    if name is None:
        return x
    return relu(x) if name == "relu" else _elementwise(x, name)


def _elementwise(x: ArrayLike, name: str) -> Tensor:
    a = floating(x)
    value = kernels.activation(a, name)
    return record(value, (x, lambda g: kernels.activation_backward(g, a, name)))


@unary(FLOAT)
def silu(x: ArrayLike) -> Tensor:
    """Sigmoid linear unit (swish), ``x * sigmoid(x)``.

    References
    ----------
    Elfwing, Uchibe and Doya, *Sigmoid-Weighted Linear Units*, 2017.
    """
    return _elementwise(x, "silu")


@unary(FLOAT, "Shape of ``x``, values in [0, 6]; NaN stays NaN.")
def relu6(x: ArrayLike) -> Tensor:
    """ReLU bounded by 6, ``min(max(x, 0), 6)``; the gradient at 0 and 6 is 0.

    References
    ----------
    Howard et al., *MobileNets*, 2017.
    """
    return _elementwise(x, "relu6")


@unary(FLOAT, "Shape of ``x``, values in [0, 1]; NaN stays NaN.")
def hardsigmoid(x: ArrayLike) -> Tensor:
    """Piecewise linear sigmoid, ``relu6(x + 3) / 6``; the gradient at -3 and 3 is 0.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """
    return _elementwise(x, "hardsigmoid")


@unary(FLOAT, "Shape of ``x``; NaN stays NaN.")
def hardswish(x: ArrayLike) -> Tensor:
    """Piecewise quadratic swish, ``x * relu6(x + 3) / 6``.

    The gradient is 0 for x <= -3, ``x / 3 + 1 / 2`` for -3 < x < 3, and 1 for x >= 3.

    References
    ----------
    Howard et al., *Searching for MobileNetV3*, 2019, section 5.2.
    """
    return _elementwise(x, "hardswish")


@add_sections(_SOFTMAX, "Shape of ``x``, values in [0, 1].", NO_AXIS)
def softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """Softmax along an axis, ``exp(x) / sum(exp(x))``."""
    a = floating(x)
    axis = normalize_axis(axis, a.ndim)
    value = np.exp(a - a.max(axis=axis, keepdims=True, initial=-np.inf))
    value /= value.sum(axis=axis, keepdims=True)

    def vjp(g: Array) -> Array:
        weighted: Array = g * value
        weighted -= value * weighted.sum(axis=axis, keepdims=True)
        return weighted

    return record(value, (x, vjp))


@add_sections(_SOFTMAX, "Shape of ``x``, values <= 0.", NO_AXIS)
def log_softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """Logarithm of :func:`softmax`, computed without underflow."""
    a = floating(x)
    axis = normalize_axis(axis, a.ndim)
    value = log_softmax_array(a, axis)
    return record(value, (x, lambda g: g - np.exp(value) * g.sum(axis=axis, keepdims=True)))


def log_softmax_array(a: Array, axis: int) -> Array:
    """Compute the log-softmax of an array."""
    shifted: Array = a - a.max(axis=axis, keepdims=True, initial=-np.inf)
    with np.errstate(divide="ignore"):  # zero classes
        shifted -= np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


def dropout(x: ArrayLike, p: float, generator: np.random.Generator) -> Tensor:
    """Zero each element with probability ``p`` and scale the others by ``1 / (1 - p)``.

    Parameters
    ----------
    x : array-like
        Any shape; integers and booleans become float32.
    p : float
        Drop probability, in [0, 1].
    generator : numpy.random.Generator
        Random number generator.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If ``p`` is not in [0, 1].

    References
    ----------
    Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting*, JMLR 2014, section 10 for the scaling in training.
    """
    _check_probability("dropout", p)
    a = floating(x)
    return _apply_dropout(x, a, a.shape, p, generator)


def stochastic_depth(x: ArrayLike, p: float, mode: str, generator: np.random.Generator) -> Tensor:
    """Zero samples (``mode="row"``) or the whole batch; see `lucid.nn.functional`."""
    _check_probability("stochastic_depth", p)
    a = floating(x)
    if not a.ndim:
        raise ValueError("stochastic_depth expected an input of shape (N, ...), got ()")
    samples = len(a) if mode == "row" else 1
    return _apply_dropout(x, a, (samples,) + (1,) * (a.ndim - 1), p, generator)


def _check_probability(function: str, p: float) -> None:
    if not 0 <= p <= 1:
        raise ValueError(f"{function} expected a probability p in [0, 1], got {p}")


def _apply_dropout(
    x: ArrayLike, a: Array, shape: tuple[int, ...], p: float, generator: np.random.Generator
) -> Tensor:
    """Multiply by a mask of ``shape``: 0 with probability ``p``, else ``1 / (1 - p)``."""
    kept = generator.random(shape, dtype=np.float32) >= p
    factor = kept * a.dtype.type(1 / (1 - p) if p < 1 else 0)
    return record(a * factor, (x, lambda g: g * factor))
