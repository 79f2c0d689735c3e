"""Layer normalization of rows (Ba, Kiros and Hinton, 2016)."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def layer_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Compute ``weight * (x - mean) * inverse_std + bias`` of each row.

    Parameters
    ----------
    x : array (M, C)
    weight, bias : array (C,) or None
        None stands for ones and zeros.
    eps : float
        Added to the biased variance.

    Returns
    -------
    y : array (M, C)
    mean, inverse_std : array (M,)
    """
    count = max(1, x.shape[1])
    mean = x.sum(axis=1, keepdims=True) / count
    centered = x - mean
    inverse_std = 1 / np.sqrt((centered * centered).sum(axis=1, keepdims=True) / count + float(eps))
    y = centered * inverse_std
    if weight is not None:
        y = y * weight
    if bias is not None:
        y = y + bias
    return y, mean[:, 0], inverse_std[:, 0].astype(x.dtype)


@np.errstate(over="ignore", invalid="ignore")
def layer_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, inverse_std: Array
) -> tuple[Array, Array, Array]:
    """Compute the gradients of `layer_norm`.

    Parameters
    ----------
    g : array (M, C)
        Gradient of ``y``.
    x, weight, mean, inverse_std : array
        Arguments and results of `layer_norm`.

    Returns
    -------
    gx : array (M, C)
    gweight, gbias : array (C,)
    """
    count = max(1, x.shape[1])
    normal = (x - mean[:, None]) * inverse_std[:, None]
    scaled = g if weight is None else g * weight
    mean_scaled = scaled.sum(axis=1, keepdims=True) / count
    mean_product = (scaled * normal).sum(axis=1, keepdims=True) / count
    gx = inverse_std[:, None] * (scaled - mean_scaled - normal * mean_product)
    return gx, (g * normal).sum(axis=0), g.sum(axis=0)
