"""Focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, is_grad_enabled, record
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.loss_reduction import reduce_losses, same_shape
from lucid.ops.operands import save_for_backward

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["sigmoid_focal_loss"]


def sigmoid_focal_loss(
    input: ArrayLike,
    target: ArrayLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "none",
) -> Tensor:
    """Sigmoid focal loss, ``alpha_t * (1 - p_t)**gamma * bce``.

    ``bce`` is the binary cross entropy of ``p = sigmoid(input)``,
    ``p_t = p * target + (1 - p) * (1 - target)``, and ``alpha_t`` likewise.

    Parameters
    ----------
    input : array-like
        Logits, any shape.
    target : array-like
        Probabilities in the shape of ``input``: 1 for positives, 0 for negatives.
    alpha : float, default 0.25
        Weight of positives, in [0, 1]; negatives have ``1 - alpha``.  -1 for no weights.
    gamma : float, default 2.0
        Focusing parameter, >= 0.
    reduction : {"none", "mean", "sum"}, default "none"
        Reduction; the default is torchvision's.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, a target is not in [0, 1], or an option is invalid.

    References
    ----------
    Lin et al., *Focal Loss for Dense Object Detection*, 2017, equation 5.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid.nn import functional as F
    >>> F.sigmoid_focal_loss(np.float32([0, 4, -4]), np.float32([1, 1, 1])).numpy().round(5)
    array([0.04332, 0.     , 0.96873], dtype=float32)
    """
    alpha, gamma = float(alpha), float(gamma)
    if not (0 <= alpha <= 1 or alpha == -1):
        raise ValueError(f"expected alpha in [0, 1], or -1 for no weights, got {alpha:g}")
    if not gamma >= 0:
        raise ValueError(f"expected gamma >= 0, got {gamma:g}")
    x, t = same_shape(input, target, "sigmoid_focal_loss")
    if t.size and not (t.min() >= 0 and t.max() <= 1):
        raise ValueError(
            f"expected targets in [0, 1], got {t.min():g} to {t.max():g}; encode class indices "
            "with one_hot"
        )
    losses, slopes = kernels.sigmoid_focal_loss(
        x, t, alpha, gamma, is_grad_enabled() and needs_grad(input)
    )
    value, expand_grad = reduce_losses(losses, reduction)
    saved = save_for_backward(x, input, target)

    def by_target(g: Array) -> Array:
        return np.asarray(expand_grad(g) * _slope_by_target(saved, t, alpha, gamma))

    return record(
        value, (input, lambda g: np.asarray(expand_grad(g) * slopes)), (target, by_target)
    )


def _slope_by_target(x: Array, t: Array, alpha: float, gamma: float) -> Array:
    p, rest = (kernels.activation(a, "sigmoid") for a in (x, -x))
    entropy = np.log1p(np.exp(-np.abs(x))) + t * np.maximum(-x, 0) + (1 - t) * np.maximum(x, 0)
    wrong = p * (1 - t) + rest * t  # 1 - p_t
    weight = x.dtype.type(1) if alpha < 0 else (alpha * t + (1 - alpha) * (1 - t)).astype(x.dtype)
    divisor = np.where(wrong > 0, wrong, 1)  # avoid 0 / 0; the gradient is 0 there
    slope = weight * (gamma * entropy * ((rest - p) / divisor) - x)
    if alpha >= 0:
        slope = slope + (2 * alpha - 1) * entropy
    return np.asarray(wrong**gamma * slope)
