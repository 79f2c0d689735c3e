"""The operations of layers and losses as functions, under PyTorch's names.

``axis`` stands where PyTorch has ``dim``.
"""

from __future__ import annotations

from lucid.autograd import ArrayLike
from lucid.ops.activation import dropout as _dropout
from lucid.ops.activation import gelu, leaky_relu, log_softmax, relu, silu, softmax
from lucid.ops.conv import conv2d
from lucid.ops.conv_transpose import conv_transpose2d
from lucid.ops.elementwise import sigmoid, tanh
from lucid.ops.index import one_hot
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
from lucid.ops.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from lucid.ops.resize import interpolate
from lucid.ops.shape import pad
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
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
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
