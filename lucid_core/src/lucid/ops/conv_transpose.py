"""2-D transposed convolution, computed by the gradient kernels of convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record_joint
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.operands import operands, pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["conv_transpose2d"]


def conv_transpose2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor:
    """2-D transposed convolution: the gradient of a convolution with respect to its input.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    weight : array-like
        Shape (C, O / groups, kH, kW).
    bias : array-like, optional
        Shape (O,).
    stride, dilation : int or (int, int), default 1
        Step between windows in the output, and between kernel elements, in pixels.
    padding : int or (int, int), default 0
        Rows and columns removed from each side of the output.
    output_padding : int or (int, int), default 0
        Rows and columns added at the bottom and right, less than ``stride`` or ``dilation``.
        Selects one of the output sizes that a convolution would map to H x W.
    groups : int, default 1
        Number of groups; input group ``i`` connects to output group ``i`` only.

    Returns
    -------
    Tensor
        Shape (N, O, Ho, Wo) with
        ``Ho = (H - 1) * stride - 2 * padding + dilation * (kH - 1) + output_padding + 1``.

    Raises
    ------
    ValueError
        If shapes or options do not match.

    References
    ----------
    Dumoulin and Visin, *A guide to convolution arithmetic for deep learning*,
    2016, chapter 4.
    """
    a, w = operands(x, weight)
    if a.ndim != 4 or w.ndim != 4 or groups < 1 or a.shape[1] != w.shape[0] or w.shape[0] % groups:
        raise ValueError(
            "conv_transpose2d expected x of shape (N, C, H, W) and weight of shape "
            f"(C, O / groups, kH, kW) with C divisible by groups={groups}, "
            f"got {a.shape} and {w.shape}"
        )
    outputs = w.shape[1] * groups
    if bias is not None and array_of(bias).shape != (outputs,):
        raise ValueError(
            f"conv_transpose2d expected a bias of shape ({outputs},), got {array_of(bias).shape}"
        )
    strides, dilations = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    pads, out_pads = pair(padding, "padding"), pair(output_padding, "output_padding")
    size = [
        (a.shape[2 + i] - 1) * strides[i]
        - 2 * pads[i]
        + dilations[i] * (w.shape[2 + i] - 1)
        + out_pads[i]
        + 1
        for i in (0, 1)
    ]
    if min(size) < 1 or any(out_pads[i] >= max(strides[i], dilations[i]) for i in (0, 1)):
        raise ValueError(
            "conv_transpose2d expected an output of at least one pixel and output_padding below "
            f"stride or dilation, got {size[0]} x {size[1]} (input {a.shape}, weight {w.shape}, "
            f"stride {strides}, padding {pads}, dilation {dilations}, output_padding {out_pads})"
        )
    # output_padding cancels padding at the end first; the rest is zeros.
    paddings = [(pads[i], max(0, pads[i] - out_pads[i])) for i in (0, 1)]
    uncovered = [max(0, out_pads[i] - pads[i]) for i in (0, 1)]
    options = (strides, (paddings[0], paddings[1]), dilations, groups)
    covered = (
        slice(None),
        slice(None),
        slice(size[0] - uncovered[0]),
        slice(size[1] - uncovered[1]),
    )
    shape = (a.shape[0], outputs, size[0] - uncovered[0], size[1] - uncovered[1])
    value: Array = kernels.conv2d_input_gradient(a, w, shape, *options)
    if any(uncovered):
        value = np.pad(value, ((0, 0), (0, 0), (0, uncovered[0]), (0, uncovered[1])))
    if bias is not None:
        value += array_of(bias).astype(value.dtype, copy=False)[:, None, None]
    weight_shape = w.shape
    saved_a = a if needs_grad(weight) else None
    saved_w = w if needs_grad(x) else None
    wants_bias = needs_grad(bias)

    def vjp(g: Array) -> list[Array | None]:
        inner = g[covered]
        return [
            None if saved_w is None else kernels.conv2d(inner, saved_w, None, *options),
            None
            if saved_a is None
            else kernels.conv2d_weight_gradient(saved_a, inner, weight_shape, *options),
            g.sum(axis=(0, 2, 3)) if wants_bias else None,
        ]

    return record_joint(value, (x, weight, bias), vjp)
