"""Squeeze-and-excitation (Hu, Shen and Sun, 2018, section 3)."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array, channels_last
from lucid.kernels.reference.activation import activation
from lucid.kernels.reference.linear import linear

#: Weight (O, I), bias (O,) or None, and activation of a linear layer.
Layer = tuple[Array, Array | None, str | None]


def channel_means(x: Array) -> Array:
    """Return the means (N, C) over height and width of (N, C, H, W)."""
    # In float64, since NumPy adds the pixels of channels-last memory one by one.
    means = np.asarray(np.mean(x, axis=(2, 3), dtype=np.float64))
    return means.astype(x.dtype)


def channel_means_backward(
    g: Array, input_shape: tuple[int, int, int, int], accumulate: Array | None = None
) -> Array:
    """Compute the gradient of the input of ``channel_means``.

    Parameters
    ----------
    g : numpy.ndarray
        Gradient of the means, (N, C).
    input_shape : tuple of int
        (N, C, H, W).
    accumulate : numpy.ndarray, optional
        Gradient to add, of shape ``input_shape``; it is not written to.
    """
    pixels = input_shape[2] * input_shape[3]
    spread = (g / max(1, pixels)).astype(g.dtype)[:, :, None, None]
    gx = np.broadcast_to(spread, input_shape) if accumulate is None else accumulate + spread
    return channels_last(np.array(gx))


def scale_channels(x: Array, factors: Array) -> Array:
    """Multiply (N, C, H, W) by a factor of each channel and image, (N, C)."""
    scaled: Array = x * factors[:, :, None, None]
    return channels_last(scaled)


def scale_channels_backward(g: Array, x: Array, factors: Array) -> tuple[Array, Array]:
    """Compute the gradients of the input and the factors of ``scale_channels``."""
    sums = np.sum(g * x, axis=(2, 3), dtype=np.float64)
    return scale_channels(g, factors), np.asarray(sums).astype(g.dtype)


def squeeze_excitation(x: Array, *layers: Layer) -> Array:
    """Scale each channel of an image by a factor that linear layers compute from the means.

    Parameters
    ----------
    x : numpy.ndarray
        (N, C, H, W) with at least one element.
    *layers : tuple of (weight, bias, activation)
        The first maps from C values and the last to C factors.

    Returns
    -------
    numpy.ndarray
        Shape and dtype of ``x``.
    """
    factors = channel_means(x)
    for weight, bias, name in layers:
        factors = activation(linear(factors, weight, bias), name)
    scaled: Array = x * factors[:, :, None, None]
    return scaled
