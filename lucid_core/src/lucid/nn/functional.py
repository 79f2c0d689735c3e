"""Functional interface of layers and losses.

Names and argument order follow PyTorch; axis arguments follow NumPy (``axis``, ``keepdims``).
"""

from __future__ import annotations

from collections.abc import Sequence

from lucid.autograd import ArrayLike, array_of
from lucid.hints import add_hints
from lucid.ops.activation import dropout as _dropout
from lucid.ops.activation import (
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    silu,
    softmax,
)
from lucid.ops.activation import stochastic_depth as _stochastic_depth
from lucid.ops.attention import attention, attention_with_dropout
from lucid.ops.conv import conv2d
from lucid.ops.conv_transpose import conv_transpose2d
from lucid.ops.focal_loss import sigmoid_focal_loss
from lucid.ops.index import getitem, one_hot
from lucid.ops.join import channel_shuffle
from lucid.ops.loss import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from lucid.ops.matmul import linear
from lucid.ops.normalization import affine_act, batch_norm, group_norm, layer_norm
from lucid.ops.pad import pad as _pad
from lucid.ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from lucid.ops.resize import interpolate
from lucid.ops.transcendental import sigmoid, tanh
from lucid.random import Generator, default_generator
from lucid.tensor import Tensor

__all__ = [
    "adaptive_avg_pool2d",
    "affine_act",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy_with_logits",
    "channel_shuffle",
    "conv2d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "gelu",
    "group_norm",
    "hardsigmoid",
    "hardswish",
    "huber_loss",
    "interpolate",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "relu6",
    "scaled_dot_product_attention",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "stochastic_depth",
    "tanh",
]


def dropout(
    x: ArrayLike, p: float = 0.5, training: bool = True, generator: Generator | None = None
) -> Tensor:
    """Zero each element with probability ``p`` and scale the rest by ``1 / (1 - p)``.

    Parameters
    ----------
    x : array-like
        Any shape.
    p : float, default 0.5
        Probability of zeroing an element, in [0, 1].
    training : bool, default True
        Whether to apply dropout; otherwise ``x`` is returned.
    generator : lucid.random.Generator, optional
        Random number generator; default: the global one.

    Returns
    -------
    Tensor
        The shape of ``x``; ``x`` itself if nothing is dropped.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1].

    References
    ----------
    Srivastava et al., *Dropout: A Simple Way to Prevent Neural Networks from
    Overfitting*, JMLR 2014.
    """
    if not training or p == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    return _dropout(x, p, (default_generator if generator is None else generator).numpy)


def stochastic_depth(
    x: ArrayLike,
    p: float,
    mode: str = "row",
    training: bool = True,
    generator: Generator | None = None,
) -> Tensor:
    """Zero whole samples with probability ``p`` and scale the rest by ``1 / (1 - p)``.

    Parameters
    ----------
    x : array-like
        Output of a residual branch, shape (N, ...).
    p : float
        Probability of zeroing a sample, in [0, 1].
    mode : {"row", "batch"}
        ``"row"`` draws for each sample, ``"batch"`` once for the whole batch.
    training : bool, default True
        Whether to drop samples; otherwise ``x`` is returned.
    generator : lucid.random.Generator, optional
        Random number generator; default: the global one.

    Returns
    -------
    Tensor
        The shape of ``x``; ``x`` itself if nothing is dropped.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1] or ``mode`` is unknown.

    References
    ----------
    Huang et al., *Deep Networks with Stochastic Depth*, 2016.
    """
    if mode not in ("row", "batch"):
        raise ValueError(f"stochastic_depth: expected mode 'row' or 'batch', got {mode!r}")
    if not training or p == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    source = default_generator if generator is None else generator
    return _stochastic_depth(x, p, mode, source.numpy)


def scaled_dot_product_attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: ArrayLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
) -> Tensor:
    """Scaled dot-product attention, ``softmax(query @ key.T * scale + mask) @ value``.

    The matrix of scores is never stored, except with dropout or for the gradient of a mask.

    Parameters
    ----------
    query, key, value : array-like
        Shapes (..., L, E), (..., S, E) and (..., S, Ev); the leading axes, such as batch and heads,
        broadcast.
    attn_mask : array-like, optional
        Broadcasts to (..., L, S).  Booleans, True where a query attends to a key, or floats that
        are added to the scores.
    dropout_p : float, default 0.0
        Probability of zeroing an attention weight, in [0, 1]; pass 0 in evaluation.  Uses the
        global random number generator.
    is_causal : bool, default False
        Whether query i attends to keys 0 to i only.
    scale : float, optional
        Factor of the scores; default ``1 / sqrt(E)``.

    Returns
    -------
    Tensor
        Shape (..., L, Ev), common dtype; 0 for a query whose keys are all masked.

    Raises
    ------
    ValueError
        If shapes do not match, ``dropout_p`` is outside [0, 1], or a mask is given with
        ``is_causal``.
    TypeError
        If the mask contains integers.

    References
    ----------
    Vaswani et al., *Attention Is All You Need*, 2017, section 3.2.1; Dao et al.,
    *FlashAttention*, 2022, for the algorithm.
    """
    if dropout_p == 0:
        return attention(query, key, value, attn_mask, is_causal, scale)
    return attention_with_dropout(
        query, key, value, attn_mask, is_causal, scale, dropout_p, default_generator.numpy
    )


#: PyTorch's names of the padding modes and NumPy's.
_PAD_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def pad(
    x: ArrayLike, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Pad the last axes.

    Parameters
    ----------
    x : array-like
        Any shape.
    pad : sequence of int
        ``(before, after)`` of the last axis, then of the second to last, and so on, as in
        PyTorch.  In ``"constant"`` mode, a negative number removes elements.
    mode : {"constant", "reflect", "replicate", "circular"}
        Padding values: ``value``; the array mirrored without repeating its edge; the edge
        value; the array from its other end.
    value : float, optional
        Fill value in ``"constant"`` mode; default 0.

    Returns
    -------
    Tensor
        Axis of length n padded to ``before + n + after``.

    Raises
    ------
    TypeError
        If ``pad`` contains other values than integers.
    ValueError
        If ``pad`` has an odd length or too many entries, the mode is unknown, padding is larger
        than ``"reflect"`` or ``"circular"`` allow, more elements are removed than exist, or
        ``value`` is given in another mode than ``"constant"``.

    See Also
    --------
    lucid.pad : Pad with NumPy's argument order and mode names.
    """
    a = array_of(x)
    if mode not in _PAD_MODES:
        raise ValueError(f"pad: expected mode {', '.join(map(repr, _PAD_MODES))}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * a.ndim:
        raise ValueError(
            f"pad: expected two integers for each of at most {a.ndim} axes, last axis first, "
            f"got {tuple(pad)}"
        )
    if value is not None and mode != "constant":
        raise ValueError(
            f"pad: expected no value with mode={mode!r}, got {value!r}; use mode='constant'"
        )
    if not all(hasattr(n, "__index__") for n in pad):
        raise TypeError(f"pad: expected integers, got {tuple(pad)}")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (a.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        return _constant_pad(x, widths, a.shape, 0.0 if value is None else value)
    for (before, after), n in zip(widths, a.shape, strict=True):
        # PyTorch wraps or reflects at most once; lucid.pad repeats, as NumPy does.
        most = {"reflect": n - 1, "circular": n}.get(mode, before + after)
        if max(before, after) > max(most, 0):
            raise ValueError(
                f"pad: mode {mode!r} expected at most {max(most, 0)} elements for an axis of {n}, "
                f"got pad={tuple(pad)} (input of shape {a.shape})"
            )
    return _pad(x, widths, _PAD_MODES[mode])


def _constant_pad(
    x: ArrayLike, widths: Sequence[tuple[int, int]], shape: tuple[int, ...], value: float
) -> Tensor:
    """Pad with a constant; negative widths remove elements."""
    kept = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for (before, after), n in zip(widths, shape, strict=True)
    )
    if any(s.start > s.stop for s in kept):
        raise ValueError(
            f"pad: expected fewer removed elements than shape {shape} has, got widths {widths}"
        )
    positive = [(max(before, 0), max(after, 0)) for before, after in widths]
    return _pad(getitem(x, kept), positive, "constant", value)


add_hints(globals())
