"""Batch normalization of (N, C, H, W), and its frozen form, with residual and activation.

Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by
Reducing Internal Covariate Shift", 2015, algorithm 1 and section 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.kernels.layout import channels_last
from lucid.kernels.reference.activation import activation as activation_of
from lucid.kernels.reference.activation import activation_backward

Array = np.ndarray[Any, np.dtype[Any]]

_PIXELS = (0, 2, 3)


def _per_channel(values: Array) -> Array:
    return values[:, None, None]


def _activate(y: Array, residual: Array | None, name: str | None) -> Array:
    return activation_of(y if residual is None else y + residual, name)


def _masked(g: Array, y: Array | None, relu: bool) -> Array:
    return np.where(y <= 0, 0, g).astype(g.dtype) if relu and y is not None else g


def _normalized(x: Array, mean: Array, affine: Array) -> Array:
    """Return ``(x - mean) * scale + shift``; forward and backward round it alike."""
    scale, shift = affine
    result: Array = (x - _per_channel(mean)) * _per_channel(scale) + _per_channel(shift)
    return result


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    eps: float,
    residual: Array | None,
    activation: str | None,
) -> tuple[Array, Array, Array, Array, Array]:
    """Normalize each channel over the batch, add a residual and apply an activation.

    ``y = act(weight * (x - mean) * inverse_std + bias + residual)``

    Parameters
    ----------
    x : array (N, C, H, W)
    weight, bias : array (C,) or None
        None stands for ones and zeros.
    eps : float
        Added to the variance.
    residual : array (N, C, H, W) or None
        Added before the activation.
    activation : str or None
        Name of the activation.

    Returns
    -------
    y : array (N, C, H, W)
    mean, variance, inverse_std : array (C,)
        In the dtype of ``x``; the variance is the biased one.  Both are 0 over no pixels
        (N, H or W is 0).
    affine : array (2, C)
        Scale and shift: ``y = act((x - mean) * affine[0] + affine[1] + residual)``.
    """
    wide = x.astype(np.float64)
    pixels = max(1, x.size // max(1, x.shape[1]))
    mean = wide.sum(_PIXELS) / pixels
    centered = wide - _per_channel(mean)
    variance = (centered**2).sum(_PIXELS) / pixels
    inverse_std = 1 / np.sqrt(variance + eps)
    scale = inverse_std if weight is None else weight * inverse_std
    # The rounding error of the mean goes into the shift.
    rounded = mean.astype(x.dtype)
    shift = (rounded - mean) * scale
    affine = np.stack([scale, shift if bias is None else shift + bias]).astype(x.dtype)
    y = _activate(_normalized(x, rounded, affine), residual, activation)
    return (
        channels_last(y.astype(x.dtype, copy=False)),
        rounded,
        variance.astype(x.dtype),
        inverse_std.astype(x.dtype),
        affine,
    )


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def batch_norm_backward(
    g: Array,
    x: Array,
    y: Array | None,
    weight: Array | None,
    mean: Array,
    inverse_std: Array,
    affine: Array,
    activation: str | None,
    with_residual: bool,
    donate: bool = False,
) -> tuple[Array, Array, Array, Array | None]:
    """Compute the gradients of `batch_norm`, through its statistics too.

    Parameters
    ----------
    g : array (N, C, H, W)
        Gradient of ``y``.
    x : array (N, C, H, W)
    y : array (N, C, H, W) or None
        Needed with a residual only: the output for ReLU, the residual for other activations.
        Otherwise the input of the activation is recomputed from ``x``.
    weight : array (C,) or None
    mean, inverse_std : array (C,)
    affine : array (2, C)
        From `batch_norm`.
    activation : str or None
        Name of the activation.
    with_residual : bool
        Whether there was a residual.
    donate : bool, default False
        Whether ``g`` may be overwritten by one of the results.

    Returns
    -------
    gx : array (N, C, H, W)
    gweight, gbias : array (C,)
    gresidual : array (N, C, H, W) or None
        ``g`` itself without an activation, None without a residual.
    """
    if activation == "relu" and with_residual:
        g = _masked(g, y, True)
    elif activation is not None:
        inner = _normalized(x, mean, affine)
        if with_residual and y is not None:
            inner = inner + y
        g = activation_backward(g, inner, activation)
    pixels = max(1, x.size // max(1, x.shape[1]))
    normalized = (x.astype(np.float64) - _per_channel(mean)) * _per_channel(inverse_std)
    gbias = g.sum(_PIXELS, dtype=np.float64)
    gweight = (g * normalized).sum(_PIXELS)
    through_statistics = (_per_channel(gbias) + normalized * _per_channel(gweight)) / pixels
    slope = inverse_std if weight is None else weight * inverse_std
    gx = _per_channel(slope) * (g - through_statistics)
    return (
        channels_last(gx.astype(x.dtype)),
        gweight.astype(x.dtype),
        gbias.astype(x.dtype),
        channels_last(g) if with_residual else None,
    )


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def affine_act(
    x: Array, scale: Array, shift: Array, residual: Array | None, activation: str | None
) -> Array:
    """Compute ``act(x * scale + shift + residual)`` per channel: batch norm, frozen statistics.

    Parameters
    ----------
    x : array (N, C, H, W)
    scale, shift : array (C,)
    residual : array (N, C, H, W) or None
        Added before the activation.
    activation : str or None
        Name of the activation.

    Returns
    -------
    array (N, C, H, W)
    """
    y = _activate(x * _per_channel(scale) + _per_channel(shift), residual, activation)
    return channels_last(y.astype(x.dtype))


@np.errstate(over="ignore", invalid="ignore")  # inf and NaN propagate
def affine_act_backward(
    g: Array,
    x: Array | None,
    y: Array | None,
    scale: Array,
    relu: bool,
    with_residual: bool,
) -> tuple[Array, Array | None, Array, Array | None]:
    """Compute the gradients of `affine_act`.

    Parameters
    ----------
    g : array (N, C, H, W)
        Gradient of ``y``.
    x : array (N, C, H, W) or None
        None to skip the gradient of ``scale``, as for a frozen layer.
    y : array (N, C, H, W) or None
        Output, needed for ReLU only.
    scale : array (C,)
    relu, with_residual : bool
        Whether there was a ReLU, and a residual.

    Returns
    -------
    gx : array (N, C, H, W)
    gscale : array (C,) or None
        None if ``x`` is.
    gshift : array (C,)
    gresidual : array (N, C, H, W) or None
        ``g`` itself without ReLU, None without a residual.
    """
    g = _masked(g, y, relu)
    gscale = None if x is None else np.sum(g * x, _PIXELS, np.float64).astype(g.dtype)
    return (
        channels_last((g * _per_channel(scale)).astype(g.dtype)),
        gscale,
        g.sum(_PIXELS, dtype=np.float64).astype(g.dtype),
        channels_last(g) if with_residual else None,
    )
