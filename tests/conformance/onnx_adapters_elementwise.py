"""Adapters of elementwise operators, reductions and products."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from onnx import helper
from onnx_registry import ADAPTERS, integers, node

import lucid
import lucid.nn.functional as F
from lucid import Tensor

#: Operators that are one of Lucid's functions, with the same arguments.
SAME: dict[str, Callable[..., Tensor]] = {
    "Abs": lucid.abs,
    "Add": lucid.add,
    "And": lucid.logical_and,
    "BitwiseAnd": lucid.bitwise_and,
    "BitwiseNot": lucid.invert,
    "BitwiseOr": lucid.bitwise_or,
    "BitwiseXor": lucid.bitwise_xor,
    "Ceil": lucid.ceil,
    "Cos": lucid.cos,
    "Equal": lucid.equal,
    "Erf": lucid.erf,
    "Exp": lucid.exp,
    "Floor": lucid.floor,
    "Gelu": F.gelu,
    "Greater": lucid.greater,
    "GreaterOrEqual": lucid.greater_equal,
    "Identity": lucid.clone,
    "IsNaN": lucid.isnan,
    "Less": lucid.less,
    "LessOrEqual": lucid.less_equal,
    "Log": lucid.log,
    "LogSoftmax": lucid.log_softmax,
    "MatMul": lucid.matmul,
    "Mul": lucid.multiply,
    "Neg": lucid.negative,
    "Not": lucid.logical_not,
    "Or": lucid.logical_or,
    "Reciprocal": lucid.reciprocal,
    "Relu": lucid.relu,
    "Round": lucid.round,
    "Sigmoid": lucid.sigmoid,
    "Sign": lucid.sign,
    "Sin": lucid.sin,
    "Softmax": lucid.softmax,
    "Sqrt": lucid.sqrt,
    "Sub": lucid.subtract,
    "Tan": lucid.tan,
    "Tanh": lucid.tanh,
    "Where": lucid.where,
    "Xor": lucid.logical_xor,
}
ADAPTERS.update(SAME)


# --- arithmetic ---------------------------------------------------------------------------------


@node("Div")
def div(x: Tensor, y: Tensor) -> Tensor:
    """Integer division truncates toward zero."""
    if x.dtype.kind == "f":
        return x / y
    if x.dtype.kind == "u":
        return x // y
    return lucid.sign(x) * lucid.sign(y) * (lucid.abs(x) // lucid.abs(y))


@node("Mod")
def mod(x: Tensor, y: Tensor, fmod: int = 0) -> Tensor:
    """With ``fmod`` the remainder has the sign of the dividend, as in C."""
    if fmod:
        return lucid.sign(x) * (lucid.abs(x) % lucid.abs(y))
    return x % y


@node("Pow")
def power(x: Tensor, y: Tensor) -> Tensor:
    return (x**y).astype(x.dtype)


@node("Max")
def maximum(*tensors: Tensor) -> Tensor:
    return functools.reduce(lucid.maximum, tensors)


@node("Min")
def minimum(*tensors: Tensor) -> Tensor:
    return functools.reduce(lucid.minimum, tensors)


@node("Sum")
def sum_of(*tensors: Tensor) -> Tensor:
    return functools.reduce(lucid.add, tensors)


@node("Mean")
def mean_of(*tensors: Tensor) -> Tensor:
    return sum_of(*tensors) / len(tensors)


@node("Clip")
def clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bounds = [None if bound is None else bound.item() for bound in (low, high)]
    return lucid.clip(x, *bounds)


@node("IsInf")
def is_infinite(x: Tensor, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    wanted = (x > 0) & bool(detect_positive) | (x < 0) & bool(detect_negative)
    return lucid.isinf(x) & wanted


@node("Cast")
def cast(x: Tensor, to: int, saturate: int = 1) -> Tensor:
    """Saturation applies to 8-bit floats, which are unsupported."""
    return x.astype(helper.tensor_dtype_to_np_dtype(to))


@node("CastLike")
def cast_like(x: Tensor, like: Tensor) -> Tensor:
    return x.astype(like.dtype)


# --- curves -------------------------------------------------------------------------------------


@node("Cosh")
def cosh(x: Tensor) -> Tensor:
    return (lucid.exp(x) + lucid.exp(-x)) / 2


@node("Sinh")
def sinh(x: Tensor) -> Tensor:
    return (lucid.exp(x) - lucid.exp(-x)) / 2


@node("Softplus")
def softplus(x: Tensor) -> Tensor:
    return lucid.log(lucid.exp(x) + 1)


@node("Softsign")
def softsign(x: Tensor) -> Tensor:
    return x / (lucid.abs(x) + 1)


@node("LeakyRelu")
def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@node("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return lucid.where(x < 0, x * slope, x)


@node("Elu")
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return lucid.where(x < 0, alpha * (lucid.exp(x) - 1), x)


@node("Celu")
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return lucid.maximum(x, 0) + lucid.minimum(alpha * (lucid.exp(x / alpha) - 1), 0)


@node("Selu")
def selu(x: Tensor, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Tensor:
    return gamma * elu(x, alpha)


@node("HardSigmoid")
def hard_sigmoid(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return lucid.clip(alpha * x + beta, 0, 1)


@node("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    return x * hard_sigmoid(x, 1 / 6, 0.5)


@node("Swish")
def swish(x: Tensor, alpha: float = 1.0) -> Tensor:
    return F.silu(x) if alpha == 1 else x * lucid.sigmoid(alpha * x)


@node("SwiGLU")
def swiglu(a: Tensor, b: Tensor, alpha: float = 1.0) -> Tensor:
    return swish(a, alpha) * b


@node("Mish")
def mish(x: Tensor) -> Tensor:
    return x * lucid.tanh(softplus(x))


@node("ThresholdedRelu")
def thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    return lucid.where(x > alpha, x, 0)


@node("Shrink")
def shrink(x: Tensor, lambd: float = 0.5, bias: float = 0.0) -> Tensor:
    return lucid.where(x < -lambd, x + bias, lucid.where(x > lambd, x - bias, 0))


# --- reductions ---------------------------------------------------------------------------------


def no_axis_empty(x: Tensor, sign: int) -> Tensor:
    """The extremum of an empty axis is infinite, or false."""
    worst = sign * math.inf if x.dtype.kind == "f" else sign > 0
    return lucid.pad(x, [(0, int(n == 0)) for n in x.shape], value=worst)


REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceL1": lambda x, axis, keepdims: lucid.norm(x, 1, axis, keepdims),
    "ReduceL2": lambda x, axis, keepdims: lucid.norm(x, 2, axis, keepdims),
    "ReduceLogSum": lambda x, axis, keepdims: lucid.log(lucid.sum(x, axis, keepdims)),
    "ReduceLogSumExp": lucid.logsumexp,
    "ReduceMax": lambda x, axis, keepdims: lucid.max(no_axis_empty(x, -1), axis, keepdims),
    "ReduceMean": lucid.mean,
    "ReduceMin": lambda x, axis, keepdims: lucid.min(no_axis_empty(x, 1), axis, keepdims),
    "ReduceProd": lucid.prod,
    "ReduceSum": lucid.sum,
    "ReduceSumSquare": lambda x, axis, keepdims: lucid.sum(lucid.square(x), axis, keepdims),
}


def reduce_by(
    reduction: Callable[..., Tensor],
    x: Tensor,
    axes_input: Tensor | None = None,
    axes: Any = None,
    keepdims: int = 1,
    noop_with_empty_axes: int = 0,
) -> Tensor:
    """Axes are an attribute in old opsets and an input in new ones."""
    chosen = integers(axes_input) or axes
    if not chosen:
        chosen = () if noop_with_empty_axes else None
    return reduction(x, chosen, bool(keepdims))


for _name, _reduction in REDUCTIONS.items():
    node(_name)(functools.partial(reduce_by, _reduction))


def last_index(choose: Callable[..., Tensor], x: Tensor, axis: int, keepdims: bool) -> Tensor:
    """Index of the last extremum: the first one in the flipped array."""
    return x.shape[axis] - 1 - choose(lucid.flip(x, axis), axis, keepdims)


@node("ArgMax")
def argmax(x: Tensor, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if select_last_index:
        return last_index(lucid.argmax, x, axis, bool(keepdims))
    return lucid.argmax(x, axis, bool(keepdims))


@node("ArgMin")
def argmin(x: Tensor, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    if select_last_index:
        return last_index(lucid.argmin, x, axis, bool(keepdims))
    return lucid.argmin(x, axis, bool(keepdims))


@node("CumSum")
def cumsum(x: Tensor, axis: Tensor, exclusive: int = 0, reverse: int = 0) -> Tensor:
    place = int(axis.item())
    lined = lucid.flip(x, place) if reverse else x
    total = lucid.cumsum(lined, place) - (lined if exclusive else 0)
    return (lucid.flip(total, place) if reverse else total).astype(x.dtype)


# --- products -----------------------------------------------------------------------------------


@node("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    **transposed: int,
) -> Tensor:
    left = a.T if transposed.get("transA") else a
    right = b.T if transposed.get("transB") else b
    product = alpha * (left @ right)
    return product if c is None else product + beta * c


@node("Einsum")
def einsum(*tensors: Tensor, equation: str) -> Tensor:
    return lucid.einsum(equation, *tensors)


@node("Range")
def count(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    return lucid.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@node("LpNormalization")
def lp_normalization(x: Tensor, axis: int = -1, p: int = 2) -> Tensor:
    """A zero vector stays zero."""
    size = lucid.norm(x, p, axis, keepdims=True)
    return x / lucid.where(size == 0, 1, size)


@node("MeanVarianceNormalization")
def standardize(x: Tensor, axes: Any = (0, 2, 3)) -> Tensor:
    deviation = x - lucid.mean(x, axes, keepdims=True)
    return deviation / (lucid.std(x, axes, correction=0, keepdims=True) + 1e-9)


@node("Hardmax")
def hardmax(x: Tensor, axis: int = -1) -> Tensor:
    chosen = lucid.one_hot(lucid.argmax(x, axis), x.shape[axis])
    return lucid.moveaxis(chosen, -1, axis).astype(x.dtype)
