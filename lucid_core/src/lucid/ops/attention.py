"""Scaled dot-product attention."""

from __future__ import annotations

import math
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record_joint, unbroadcast
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.dtypes import promote
from lucid.ops.activation import dropout, softmax
from lucid.ops.arithmetic import add, multiply
from lucid.ops.index import where
from lucid.ops.matmul import matmul
from lucid.ops.operands import floating, save_for_backward
from lucid.ops.shape import transpose

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["attention", "attention_with_dropout"]


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None,
    is_causal: bool,
    scale: float | None,
) -> Tensor:
    """Compute attention; see `lucid.nn.functional.scaled_dot_product_attention`."""
    inputs = (query, key, value, attn_mask)
    arrays = [floating(x) for x in inputs[:3]]
    bias = _check(arrays[0], arrays[1], arrays[2], attn_mask, is_causal)
    dtype = reduce(promote, [a.dtype for a in arrays])
    q, k, v = (
        save_for_backward(a.astype(dtype, copy=False), x, *inputs)
        for a, x in zip(arrays, inputs[:3], strict=True)
    )
    if bias is not None:
        bias = save_for_backward(bias.astype(dtype, copy=False), attn_mask, *inputs)
    factor = _default_scale(q) if scale is None else float(scale)
    result, log_sum = kernels.attention(q, k, v, bias, is_causal, factor)
    with_bias = needs_grad(attn_mask)

    def vjp(g: Array) -> list[Array | None]:
        gradients = kernels.attention_backward(
            g, q, k, v, bias, result, log_sum, is_causal, factor, with_bias
        )
        return [
            None if given is None or array is None else unbroadcast(given, array.shape)
            for given, array in zip(gradients, (q, k, v, bias), strict=True)
        ]

    return record_joint(result, inputs, vjp)


def attention_with_dropout(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None,
    is_causal: bool,
    scale: float | None,
    p: float,
    generator: np.random.Generator,
) -> Tensor:
    """Compute attention with dropout of the probabilities, which are stored."""
    q, k, v = (floating(x) for x in (query, key, value))
    bias = _check(q, k, v, attn_mask, is_causal)
    if is_causal:
        seen = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
        bias = np.where(seen, q.dtype.type(0), q.dtype.type(-np.inf))
    factor = _default_scale(q) if scale is None else float(scale)
    given: Any = key if needs_grad(key) else save_for_backward(k, key, query)
    transposed = transpose(given, *range(k.ndim - 2), k.ndim - 1, k.ndim - 2)
    scores = multiply(matmul(query, transposed), factor)
    if bias is not None:
        added: Any = attn_mask if needs_grad(attn_mask) else bias.astype(array_of(scores).dtype)
        scores = add(scores, added)
    # A query without keys has no softmax.
    empty = (array_of(scores) == -np.inf).all(axis=-1, keepdims=True)
    weights = where(empty, 0.0, softmax(where(empty, 0.0, scores)))
    return matmul(dropout(weights, p, generator), value)


def _default_scale(q: Array) -> float:
    return 1 / math.sqrt(q.shape[-1]) if q.shape[-1] else 1.0


def _check(
    q: Array, k: Array, v: Array, attn_mask: ArrayLike | None, is_causal: bool
) -> Array | None:
    """Check shapes; return the mask as numbers that are added to the scores."""
    name = "scaled_dot_product_attention"
    shapes = f"got {q.shape}, {k.shape} and {v.shape}"
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            f"{name} expected query, key and value of shapes (..., L, E), (..., S, E) and "
            f"(..., S, Ev), {shapes}"
        )
    try:
        lead = np.broadcast_shapes(*(a.shape[:-2] for a in (q, k, v)))
    except ValueError:
        raise ValueError(f"{name} expected leading axes that broadcast, {shapes}") from None
    if attn_mask is None:
        return None
    if is_causal:
        raise ValueError(
            f"{name} expected no attn_mask with is_causal=True; mask later keys in attn_mask"
        )
    mask = array_of(attn_mask)
    if mask.dtype.kind not in "bf":
        raise TypeError(
            f"{name} expected an attn_mask of booleans or floats, got {mask.dtype}; "
            "use attn_mask != 0"
        )
    scores = (*lead, q.shape[-2], k.shape[-2])
    if mask.ndim > len(scores) or any(
        m not in (1, n) for m, n in zip(mask.shape[::-1], scores[::-1], strict=False)
    ):
        raise ValueError(
            f"{name} expected an attn_mask that broadcasts to {scores}, got {mask.shape}"
        )
    if mask.dtype.kind == "f":
        return mask
    return np.asarray(np.where(mask, q.dtype.type(0), q.dtype.type(-np.inf)))
