"""The operations of layers and losses as functions, under PyTorch's names.

``axis`` stands where PyTorch has ``dim``.
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
from lucid.ops.conv import conv2d
from lucid.ops.conv_transpose import conv_transpose2d
from lucid.ops.focal_loss import sigmoid_focal_loss
from lucid.ops.index import getitem, one_hot
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
    """Set each value to 0 with probability ``p`` and divide the others by ``1 - p``.

    Parameters
    ----------
    x : array-like
        Any shape.
    p : float, default 0.5
        Probability of 0, from 0 to 1.
    training : bool, default True
        False returns ``x`` as it is.
    generator : lucid.random.Generator, optional
        Where the decisions are drawn from; default the default generator.

    Returns
    -------
    Tensor
        Of the shape of ``x``; a tensor ``x`` itself where nothing is to be dropped.

    Raises
    ------
    ValueError
        If ``p`` is not a probability.

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
    """Set whole samples to 0 with probability ``p`` and divide the others by ``1 - p``.

    Parameters
    ----------
    x : array-like
        Shape (N, ...): the output of a residual branch.
    p : float
        Probability of 0, from 0 to 1.
    mode : {"row", "batch"}
        ``"row"`` decides for each sample, ``"batch"`` once for all of them.
    training : bool, default True
        False returns ``x`` as it is.
    generator : lucid.random.Generator, optional
        Source of random numbers; default the default generator.

    Returns
    -------
    Tensor
        The shape of ``x``; a tensor ``x`` itself if nothing is to be dropped.

    Raises
    ------
    ValueError
        If ``p`` is not a probability, or ``mode`` is unknown.

    References
    ----------
    Huang et al., *Deep Networks with Stochastic Depth*, 2016.
    """
    if mode not in ("row", "batch"):
        raise ValueError(f"stochastic_depth: mode must be 'row' or 'batch', got {mode!r}")
    if not training or p == 0:
        return x if isinstance(x, Tensor) else Tensor(x)
    source = default_generator if generator is None else generator
    return _stochastic_depth(x, p, mode, source.numpy)


#: PyTorch's names for the modes of :func:`lucid.pad`.
_PAD_MODES = {
    "constant": "constant",
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
}


def pad(
    x: ArrayLike, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """Extended at the ends of the last axes.

    Parameters
    ----------
    x : array-like
        Any shape.
    pad : sequence of int
        ``(before, after)`` of the last axis, then of the one before it, and so
        on: two numbers for each axis that is extended, as in PyTorch.  With
        ``"constant"`` a negative number takes elements away.
    mode : {"constant", "reflect", "replicate", "circular"}
        What to add: ``value``; the elements mirrored at the last one, which is
        not repeated; the last one; or those of the other end.
    value : float, optional
        What to fill with, where the mode is ``"constant"``; default 0.

    Returns
    -------
    Tensor
        Each axis as much longer (or shorter) as its two numbers say.

    Raises
    ------
    TypeError
        If ``pad`` holds anything but integers.
    ValueError
        If there are not two numbers for each of some axes, the mode is unknown,
        ``"reflect"`` or ``"circular"`` is to add more than the axis can give, more is
        taken away than is there, or a ``value`` comes with another mode than
        ``"constant"``.

    See Also
    --------
    lucid.pad : The same with NumPy's order of widths and names of modes.
    """
    a = array_of(x)
    if mode not in _PAD_MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, _PAD_MODES))}, got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * a.ndim:
        raise ValueError(
            f"pad must be two numbers for each of at most {a.ndim} axes, last axis first, "
            f"got {tuple(pad)}"
        )
    if value is not None and mode != "constant":
        raise ValueError(f"value applies to mode='constant', not to mode={mode!r}")
    if not all(hasattr(n, "__index__") for n in pad):
        raise TypeError(f"pad must hold integers, got {tuple(pad)}")
    pairs = [(int(pad[i]), int(pad[i + 1])) for i in range(0, len(pad), 2)]
    widths = [(0, 0)] * (a.ndim - len(pairs)) + pairs[::-1]
    if mode == "constant":
        return _constant_pad(x, widths, a.shape, 0.0 if value is None else value)
    for (before, after), n in zip(widths, a.shape, strict=True):
        # PyTorch goes once through an axis at most; lucid.pad goes on, as NumPy does.
        most = {"reflect": n - 1, "circular": n}.get(mode, before + after)
        if max(before, after) > max(most, 0):
            raise ValueError(
                f"mode {mode!r} can add {max(most, 0)} elements to an axis of {n}, "
                f"got pad={tuple(pad)} for the shape {a.shape}"
            )
    return _pad(x, widths, _PAD_MODES[mode])


def _constant_pad(
    x: ArrayLike, widths: Sequence[tuple[int, int]], shape: tuple[int, ...], value: float
) -> Tensor:
    """Padding in which negative widths take away."""
    kept = tuple(
        slice(max(-before, 0), n - max(-after, 0))
        for (before, after), n in zip(widths, shape, strict=True)
    )
    if any(s.start > s.stop for s in kept):
        raise ValueError(f"pad takes more elements away than the shape {shape} has")
    more = [(max(before, 0), max(after, 0)) for before, after in widths]
    return _pad(getitem(x, kept), more, "constant", value)


add_hints(globals())
