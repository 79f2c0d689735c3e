"""Ahead-of-time compilation: small calls that compile every kernel for all of its types.

A kernel is compiled for the types of its first call.  Its wrapper allows only float32, and float64
if it does not fall back to the reference, so one call in each dtype compiles everything.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lucid.kernels.compiled import (
    activation,
    attention,
    channel_ops,
    conv,
    elementwise,
    focal_loss,
    gemm,
    layer_norm,
    linear,
    matmul,
    nms,
    norm,
    optimizer,
    pool,
    resize,
    roi_align,
    squeeze_excitation,
)
from lucid.kernels.layout import Array
from lucid.kernels.threads import get_num_threads, set_num_threads

__all__ = ["tasks"]

Type = np.dtype[Any]

_ONE, _TWO, _THREE = (1, 1), (2, 2), (3, 3)


def tasks() -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the compilation tasks.

    Yields
    ------
    str
        Kernels and dtype.
    callable
        Compiles the kernels or loads them from disk.
    """
    yield "threads", _threads
    works = (_convolution, _products, _pooling, _channels, _norms, _resizing, _regions, _updates)
    for work in works:
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            title = f"{work.__name__.removeprefix('_')} {dtype}"
            yield title, functools.partial(work, dtype)


def _threads() -> None:
    """Compile the workers' code, which does not run on one thread."""
    before = get_num_threads()
    set_num_threads(2)
    try:
        elementwise.erf(np.ones(1 << 16))
    finally:
        set_num_threads(before)


def _image(dtype: Type, channels: int = 3, side: int = 8) -> Array:
    return np.ones((1, channels, side, side), dtype)


def _convolution(dtype: Type) -> None:
    padding = (_ONE, _ONE)
    # Wide enough for Winograd or AMX, with more outputs than tiles and with fewer; then too
    # narrow for either, and large enough for partial sums of the weight gradient.
    sizes = ((64, 64, _ONE, 24), (64, 64, _ONE, 40), (3, 8, _TWO, 64))
    for channels, outputs, stride, side in sizes:
        x = _image(dtype, channels, side)
        w = np.ones((outputs, channels, 3, 3), dtype)
        options = (stride, padding, _ONE, 1)
        y = conv.conv2d(x, w, np.ones(outputs, dtype), *options, activation="relu")
        conv.conv2d(x, conv.prepare_filters(w, 1), None, *options, residual=y)
        conv.conv2d_input_gradient(y, w, x.shape, *options)
        conv.conv2d_weight_gradient(y, x, w.shape, *options)
    # 1x1 kernels, which Winograd does not take.
    x, w = _image(dtype, 64, 24), np.ones((64, 64, 1, 1), dtype)
    options = (_ONE, ((0, 0), (0, 0)), _ONE, 1)
    large = conv.conv2d(x, w, None, *options)
    conv.conv2d_input_gradient(large, w, x.shape, *options)
    conv.conv2d_weight_gradient(large, x, w.shape, *options)
    conv.conv2d(_image(dtype), np.ones((16, 3, 3, 3), dtype), None, _TWO, padding, _ONE, 1)
    # Windows that skip some pixels.
    single = np.ones((8, 3, 1, 1), dtype)
    options = (_TWO, ((0, 0), (0, 0)), _ONE, 1)
    conv.conv2d(_image(dtype, 3, 64), single, None, *options)
    conv.conv2d_input_gradient(y, single, (1, 3, 64, 64), *options)
    # Depthwise, then narrow groups.
    for width in (1, 2):
        w = np.ones((64, width, 3, 3), dtype)
        x, options = _image(dtype, 64), (_ONE, padding, _ONE, 64 // width)
        y = conv.conv2d(x, w, None, *options)
        conv.conv2d_input_gradient(y, w, x.shape, *options)
        conv.conv2d_weight_gradient(y, x, w.shape, *options)


def _products(dtype: Type) -> None:
    matrix = np.ones((64, 64), dtype)
    gemm.gemm(matrix, matrix)
    linear.linear(matrix[:1], matrix, None)
    matmul.matmul(matrix[None], matrix)
    elementwise.erf(matrix)
    large = np.ones((128, 128), dtype)
    elementwise.add_into(elementwise.add(large, large), large)
    elementwise.relu_backward(large, elementwise.relu(large))
    activation.activate(np.ones(8, np.float32), activation.RELU)
    activation.activation_backward(large, activation.activation(large, "silu"), "silu")
    y, log_sum = attention.attention(matrix, matrix, matrix, None, False, 1.0)
    attention.attention_backward(y, matrix, matrix, matrix, None, y, log_sum, False, 1.0)
    focal_loss.sigmoid_focal_loss(large, large, 0.25, 2.0, True)


def _pooling(dtype: Type) -> None:
    x = _image(dtype)
    largest, index = pool.max_pool2d(x, _THREE, _TWO, _ONE, _ONE, False)
    pool.max_pool2d_backward(largest, index, x.shape)
    settings = (_THREE, _TWO, _ONE, False, True, None)
    pool.avg_pool2d_backward(pool.avg_pool2d(x, *settings), x.shape, *settings)
    wide = np.ones((1, 8, 8, 4), dtype).transpose(0, 3, 1, 2)
    channel_ops.channel_shuffle(channel_ops.concatenate_channels(wide, wide), 2)
    squeeze_excitation.squeeze_excitation(x, (np.ones((3, 3), dtype), None, "relu"))
    means = squeeze_excitation.channel_means(x)
    squeeze_excitation.channel_means_backward(means, x.shape, x)
    squeeze_excitation.scale_channels_backward(x, x, means)


def _channels(dtype: Type) -> None:
    x = np.ones((1, 64, 64, 16), dtype).transpose(0, 3, 1, 2)
    channel_ops.channel_shuffle(channel_ops.concatenate_channels(x, x), 2)


def _norms(dtype: Type) -> None:
    x, ones = _image(dtype), np.ones(3, dtype)
    y, mean, _, inverse_std, affine = norm.batch_norm(x, ones, ones, 1e-5, x, "relu")
    norm.batch_norm_backward(x, x, y, ones, mean, inverse_std, affine, "relu", True)
    rows = np.ones((2, 3), dtype)
    _, mean, inverse_std = layer_norm.layer_norm(rows, ones, ones, 1e-5)
    layer_norm.layer_norm_backward(rows, rows, ones, mean, inverse_std)
    norm.affine_act_backward(x, x, norm.affine_act(x, ones, ones, x, "relu"), ones, True, True)


def _resizing(dtype: Type) -> None:
    x = _image(dtype)
    large = resize.resize_nearest(x, (16, 16))
    resize.resize_nearest_backward(large, x.shape)
    resize.resize_bilinear_backward(resize.resize_bilinear(x, (16, 16), False), x.shape, False)


def _regions(dtype: Type) -> None:
    boxes = np.array([[0, 0, 4, 4], [1, 1, 5, 5]], dtype)
    nms.nms(boxes, np.ones(2, dtype), 0.5)
    x, rois = _image(dtype), np.concatenate([np.zeros((2, 1), dtype), boxes], axis=1)
    y = roi_align.roi_align(x, rois, 1.0, _TWO, 2, False)
    roi_align.roi_align_backward(y, rois, x.shape, 1.0, 2, False)


def _updates(dtype: Type) -> None:
    p, g, m, v, most = ([np.ones(3, dtype)] for _ in range(5))
    for momentum in (0.0, 0.9):
        optimizer.sgd(p, g, m, [False], 0.1, momentum, 0.0, 0.0, False, False)
    optimizer.adam(p, g, m, v, most, [1], 0.1, (0.9, 0.9), 1e-8, 0.0, False, False)
    optimizer.scale(g, 1 / (1 + optimizer.sum_of_squares(g)))
