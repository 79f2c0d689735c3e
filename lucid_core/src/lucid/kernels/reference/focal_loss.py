"""Sigmoid focal loss and its gradient (Lin et al., arXiv:1708.02002, section 3)."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array
from lucid.kernels.reference.activation import logistic


@np.errstate(invalid="ignore")  # 0 times infinity gives NaN
def sigmoid_focal_loss(
    x: Array, t: Array, alpha: float, gamma: float, gradients: bool
) -> tuple[Array, Array | None]:
    """Compute the losses ``alpha_t * (1 - p_t)**gamma * bce`` and their derivatives by ``x``.

    Parameters
    ----------
    x, t : numpy.ndarray
        Logits and targets in [0, 1], of one shape and dtype.
    alpha : float
        Weight of the positives, 1 - alpha of the negatives; no weights if negative.
    gamma : float
        Focusing exponent, at least 0.
    gradients : bool
        Whether to compute the gradients; None is returned for them otherwise.

    Returns
    -------
    losses, gradients : numpy.ndarray
        In the shape and dtype of ``x``.
    """
    # p and 1 - p are computed separately to avoid cancellation.
    p, q = logistic(x), logistic(-x)
    bce = np.log1p(np.exp(-np.abs(x))) + t * np.maximum(-x, 0) + (1 - t) * np.maximum(x, 0)
    one_minus_pt = p * (1 - t) + q * t  # 1 - p_t
    weight = x.dtype.type(1) if alpha < 0 else (alpha * t + (1 - alpha) * (1 - t)).astype(x.dtype)
    scale = weight * one_minus_pt**gamma
    losses = np.asarray(scale * bce)
    if not gradients:
        return losses, None
    # Where 1 - p_t rounds to 0, the loss and its gradient are 0.
    relative = (1 - 2 * t) * (p * q / np.where(one_minus_pt > 0, one_minus_pt, 1))
    return losses, np.asarray(scale * (p * (1 - t) - q * t + gamma * bce * relative))
