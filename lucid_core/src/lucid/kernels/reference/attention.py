"""Scaled dot-product attention (Vaswani et al., 2017, section 3.2.1)."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array


def _scores(q: Array, k: Array, bias: Array | None, causal: bool, scale: float) -> Array:
    scores: Array = (q @ k.swapaxes(-1, -2)) * q.dtype.type(scale)
    if bias is not None:
        scores = scores + bias
    if causal:
        seen = np.tri(q.shape[-2], k.shape[-2], dtype=bool)
        scores = np.where(seen, scores, scores.dtype.type(-np.inf))
    return scores


@np.errstate(invalid="ignore", over="ignore")  # inf and NaN propagate
def attention(
    q: Array, k: Array, v: Array, bias: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """Compute ``softmax(q @ k.T * scale + bias) @ v`` of each head.

    Parameters
    ----------
    q, k, v : array (..., L, E), (..., S, E) and (..., S, D)
        The leading axes broadcast.
    bias : array, optional
        Added to the scores; broadcasts to (..., L, S).  -inf masks a key.
    causal : bool
        Whether query i attends to keys 0 to i only.
    scale : float

    Returns
    -------
    y : array (..., L, D)
        0 for a query whose keys are all masked.
    log_sum : array (..., L)
        Logarithm of the sum of the exponentials of the scores; inf without any.
    """
    scores = _scores(q, k, bias, causal, scale)
    most = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    most[most == -np.inf] = 0
    e = np.exp(scores - most)
    total = e.sum(axis=-1, keepdims=True)
    empty = total == 0
    total[empty] = 1
    log_sum = np.where(empty, total.dtype.type(np.inf), most + np.log(total))
    y = np.asarray((e / total) @ v)
    return y, np.broadcast_to(log_sum[..., 0], y.shape[:-1])


@np.errstate(invalid="ignore", over="ignore")
def attention_backward(
    g: Array,
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    y: Array,
    log_sum: Array,
    causal: bool,
    scale: float,
    with_bias: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """Compute the gradients of `attention`.

    Parameters
    ----------
    g : array (..., L, D)
        Gradient of ``y``.
    q, k, v, bias, causal, scale
        Arguments of `attention`.
    y, log_sum : array
        Results of `attention`.
    with_bias : bool, default False
        Whether to return the gradient of the bias.

    Returns
    -------
    gq, gk, gv : array
        With the leading axes of ``y``.
    gbias : array (..., L, S), or None
        None without ``with_bias``.
    """
    p = np.exp(_scores(q, k, bias, causal, scale) - log_sum[..., None])
    gscores = p * (g @ v.swapaxes(-1, -2) - (g * y).sum(axis=-1, keepdims=True))
    factor = q.dtype.type(scale)
    return (
        (gscores @ k) * factor,
        (gscores.swapaxes(-1, -2) @ q) * factor,
        np.asarray(p.swapaxes(-1, -2) @ g),
        gscores if with_bias else None,
    )
