"""Squeeze-and-excitation (Hu, Shen and Sun, 2018, section 3)."""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array
from lucid.kernels.reference.activation import activation
from lucid.kernels.reference.linear import linear

#: Weight (O, I), bias (O,) or None, and activation of a linear layer.
Layer = tuple[Array, Array | None, str | None]


def channel_means(x: Array) -> Array:
    """Return the means (N, C) over height and width of (N, C, H, W)."""
    # In float64, since NumPy adds the pixels of channels-last memory one by one.
    means = np.asarray(np.mean(x, axis=(2, 3), dtype=np.float64))
    return means.astype(x.dtype)


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
