"""Focal loss of independent binary decisions, and its derivative by the logits."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array
from lucid.kernels.reference.activation import logistic


@np.errstate(invalid="ignore")  # 0 times infinity is NaN, without a warning
def sigmoid_focal_loss(
    x: Array, t: Array, alpha: float, gamma: float, slopes: bool
) -> tuple[Array, Array | None]:
    """Losses ``alpha_t * (1 - p_t)**gamma * bce``, and their derivatives by ``x``.

    Parameters
    ----------
    x, t : numpy.ndarray
        Logits and targets in [0, 1], of one shape and dtype.
    alpha : float
        Weight of the positives; negative for no weights.
    gamma : float
        Exponent, not negative.
    slopes : bool
        Whether to compute the derivatives; otherwise None takes their place.

    Returns
    -------
    losses, slopes : numpy.ndarray
        Both in the shape and dtype of ``x``.
    """
    # p and 1 - p are computed separately, so that neither is a difference of rounded numbers.
    p, rest = logistic(x), logistic(-x)
    entropy = np.log1p(np.exp(-np.abs(x))) + t * np.maximum(-x, 0) + (1 - t) * np.maximum(x, 0)
    wrong = p * (1 - t) + rest * t  # 1 - p_t
    weight = x.dtype.type(1) if alpha < 0 else (alpha * t + (1 - alpha) * (1 - t)).astype(x.dtype)
    scale = weight * wrong**gamma
    losses = np.asarray(scale * entropy)
    if not slopes:
        return losses, None
    # Where 1 - p_t rounds to 0, the loss and its derivatives are 0.
    relative = (1 - 2 * t) * (p * rest / np.where(wrong > 0, wrong, 1))
    return losses, np.asarray(scale * (p * (1 - t) - rest * t + gamma * entropy * relative))
