"""Two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record, record_joint
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.operands import operands, pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Pair = tuple[int, int]


def padding_pairs(
    padding: int | str | Sequence[int] | Sequence[Sequence[int]],
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
) -> tuple[Pair, Pair]:
    """Padding as ((top, bottom), (left, right)), however it was given.

    Raises
    ------
    ValueError
        If it is none of the forms that :func:`conv2d` names.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding='same' needs stride 1, got {stride}")
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (reach[0] // 2, reach[0] - reach[0] // 2), (reach[1] // 2, reach[1] - reach[1] // 2)
    if isinstance(padding, str):
        raise ValueError(f"padding must be 'valid', 'same' or numbers, got {padding!r}")
    if isinstance(padding, (int, np.integer)) or all(isinstance(p, int) for p in padding):
        ph, pw = pair(padding, "padding")  # type: ignore[arg-type]
        return (ph, ph), (pw, pw)
    sides = tuple(pair(p, "padding") for p in padding)
    if len(sides) != 2:
        raise ValueError(
            f"padding must be one number, (height, width) or ((top, bottom), (left, right)), "
            f"got {padding!r}"
        )
    return sides


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """Two-dimensional cross-correlation over a batch of images.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    weight : array-like
        Shape (O, C / groups, kH, kW).
    bias : array-like, optional
        Shape (O,).
    stride, dilation : int or (int, int), default 1
        Steps between windows, and between the taps of one, in pixels.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        Zeros around the image, in pixels: on every side; (height, width);
        ((top, bottom), (left, right)).
    groups : int, default 1
        Blocks of channels that do not see each other.

    Returns
    -------
    Tensor
        Shape (N, O, Ho, Wo) with
        ``Ho = (H + top + bottom - dilation * (kH - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        If shapes or options do not fit together.
    """
    a, w = operands(x, weight)
    if a.ndim != 4 or w.ndim != 4:
        raise ValueError(
            f"conv2d takes x of shape (N, C, H, W) and weight of shape (O, C / groups, kH, kW), "
            f"got {a.shape} and {w.shape}"
        )
    kernel = (w.shape[2], w.shape[3])
    steps, gaps = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    pads = padding_pairs(padding, kernel, steps, gaps)
    _check(a, w, bias, pads, gaps, groups)
    b = None if bias is None else array_of(bias).astype(a.dtype, copy=False)
    options = (steps, pads, gaps, groups)
    value = kernels.conv2d(a, w, b, *options)
    input_shape, weight_shape = a.shape, w.shape
    # Each derivative needs only the other's array; what is not needed is not kept.
    kept_a = a if needs_grad(weight) else None
    kept_w = w if needs_grad(x) else None
    wants_bias = needs_grad(bias)

    def vjp(g: Array, onto: Array | None = None) -> list[Array | None]:
        return [
            None
            if kept_w is None
            else kernels.conv2d_input_gradient(g, kept_w, input_shape, *options, onto),
            None
            if kept_a is None
            else kernels.conv2d_weight_gradient(g, kept_a, weight_shape, *options),
            g.sum(axis=(0, 2, 3)) if wants_bias else None,
        ]

    return record_joint(value, (x, weight, bias), vjp, adds_onto=True)


def prepared_conv2d(
    x: Tensor,
    filters: Any,
    bias: Array | None,
    stride: Pair,
    padding: Pair | str,
    dilation: Pair,
    groups: int,
    residual: Tensor | None = None,
    relu: bool = False,
) -> Tensor:
    """Convolution by filters of :func:`lucid.kernels.prepare_filters`; records nothing.

    ``act(conv(x) + bias + residual)``; the other arguments are those of :func:`conv2d`.
    """
    a = array_of(x)
    pads = padding_pairs(padding, filters.shape[2:], stride, dilation)
    _check(a, filters, bias, pads, dilation, groups)
    added = None
    if residual is not None:
        # The kernel reads the residual wherever it writes: its shape must be right.
        added = array_of(residual)
        size = _output_size(a.shape, filters.shape, stride, pads, dilation)
        expected = (a.shape[0], filters.shape[0], *size)
        if added.shape != expected or added.dtype != a.dtype:
            raise ValueError(
                f"the residual must have the shape {expected} of the output and its dtype "
                f"{a.dtype}, got {added.shape} and {added.dtype}"
            )
    options = (stride, pads, dilation, groups, added, relu)
    return record(kernels.conv2d(a, filters, bias, *options))


def _output_size(
    image: tuple[int, ...],
    weight: tuple[int, ...],
    stride: Pair,
    pads: tuple[Pair, Pair],
    dilation: Pair,
) -> list[int]:
    """Height and width of the result."""
    return [
        (image[2 + i] + sum(pads[i]) - dilation[i] * (weight[2 + i] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]


def _check(
    a: Array,
    w: Any,
    bias: ArrayLike | None,
    pads: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> None:
    if groups < 1 or a.shape[1] % groups or w.shape[0] % groups:
        raise ValueError(
            f"groups={groups} must divide the {a.shape[1]} channels of the input "
            f"and the {w.shape[0]} of the output"
        )
    if a.shape[1] != w.shape[1] * groups:
        raise ValueError(
            f"conv2d with a weight of shape {w.shape} and groups={groups} takes "
            f"{w.shape[1] * groups} input channels, got an input of shape {a.shape}"
        )
    if bias is not None and array_of(bias).shape != (w.shape[0],):
        raise ValueError(f"bias must have shape ({w.shape[0]},), got {array_of(bias).shape}")
    for axis, name in ((0, "height"), (1, "width")):
        size = a.shape[2 + axis] + sum(pads[axis])
        reach = dilation[axis] * (w.shape[2 + axis] - 1) + 1
        if size < reach:
            raise ValueError(
                f"the padded {name} of {size} is smaller than the kernel's reach of {reach}: "
                f"input {a.shape}, weight {w.shape}"
            )
