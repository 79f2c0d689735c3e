"""Two-dimensional convolution as a sum of products over sliding windows.

Shapes: x (N, C, H, W), weight (O, C / groups, kH, kW), y (N, O, Ho, Wo).
``padding`` is ((top, bottom), (left, right)); the other pairs are (height, width).
"""

from __future__ import annotations

import numpy as np

from lucid.kernels.layout import Array, channels_last
from lucid.kernels.reference.activation import activation as apply_activation

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


def _windows(x: Array, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Array:
    """Return all receptive fields of the padded input, a view (N, C, Ho, Wo, kH, kW)."""
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    fields = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return fields[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def prepare_filters(weight: Array, groups: int, scale: Array | None = None) -> Array:
    """Prepare a weight that several calls of ``conv2d`` use, and return it in packed form.

    Parameters
    ----------
    weight : numpy.ndarray
        Shape (O, C / groups, kH, kW); it must not change while the result is used.
    groups : int
        Number of groups.
    scale : numpy.ndarray, optional
        Factor of each output channel's filter, shape (O,).
    """
    return weight if scale is None else weight * scale[:, None, None, None]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    residual: Array | None = None,
    activation: str | None = None,
) -> Array:
    """Cross-correlate ``x`` with ``weight``, add bias and residual, apply the activation."""
    fields = _windows(x, (weight.shape[2], weight.shape[3]), stride, padding, dilation)
    n, c, ho, wo, kh, kw = fields.shape
    fields = fields.reshape(n, groups, c // groups, ho, wo, kh, kw)
    filters = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    y = np.einsum("ngchwij,gocij->ngohw", fields, filters, optimize=True)
    y = y.reshape(n, weight.shape[0], ho, wo)
    if bias is not None:
        y = y + bias[:, None, None]
    if residual is not None:
        y = y + residual
    return channels_last(apply_activation(y, activation))


def conv2d_input_gradient(
    g: Array,
    weight: Array,
    input_shape: tuple[int, int, int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    accumulate: Array | None = None,
) -> Array:
    """Compute the gradient of the input, a transposed convolution.

    Parameters
    ----------
    g : numpy.ndarray
        Gradient of the output, (N, O, Ho, Wo).
    weight : numpy.ndarray
        Shape (O, C / groups, kH, kW).
    input_shape, stride, padding, dilation, groups
        Of the convolution.
    accumulate : numpy.ndarray, optional
        Gradient to add, of shape ``input_shape``; it is not written to.
    """
    n, c, h, w = input_shape
    (top, bottom), (left, right) = padding
    ho, wo = g.shape[2:]
    padded = np.zeros((n, c, h + top + bottom, w + left + right), g.dtype)
    grouped = g.reshape(n, groups, g.shape[1] // groups, ho, wo)
    filters = weight.reshape(groups, len(weight) // groups, *weight.shape[1:])
    for i in range(weight.shape[2]):
        for j in range(weight.shape[3]):
            part = np.einsum("ngohw,goc->ngchw", grouped, filters[..., i, j], optimize=True)
            rows = slice(i * dilation[0], i * dilation[0] + stride[0] * (ho - 1) + 1, stride[0])
            columns = slice(j * dilation[1], j * dilation[1] + stride[1] * (wo - 1) + 1, stride[1])
            if ho and wo:
                padded[:, :, rows, columns] += part.reshape(n, c, ho, wo)
    gx = padded[:, :, top : top + h, left : left + w]
    return channels_last(gx if accumulate is None else gx + accumulate)


def conv2d_weight_gradient(
    g: Array,
    x: Array,
    weight_shape: tuple[int, int, int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """Compute the gradient of the weight, a sum over the output pixels."""
    fields = _windows(x, weight_shape[2:], stride, padding, dilation)
    n, c, ho, wo, kh, kw = fields.shape
    fields = fields.reshape(n, groups, c // groups, ho, wo, kh, kw)
    grouped = g.reshape(n, groups, g.shape[1] // groups, ho, wo)
    gw = np.einsum("ngchwij,ngohw->gocij", fields, grouped, optimize=True)
    return channels_last(gw.reshape(weight_shape))
