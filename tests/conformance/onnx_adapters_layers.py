"""Adapters of layers: convolution, pooling, normalization, resizing, losses, boxes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx_registry import node

import lucid
import lucid.nn.functional as F
from lucid import Tensor
from lucid_models_detection import boxes as box_functions
from lucid_models_detection import roi_align

Pairs = tuple[tuple[int, int], tuple[int, int]]
Widths = list[tuple[int, int]]


def as_image(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a 2D layer on 1D signals, as images of height 1."""

    @functools.wraps(function)
    def layer(x: Tensor, *tensors: Tensor | None, **attributes: Any) -> Any:
        if x.ndim == 4:
            return function(x, *tensors, **attributes)
        if x.ndim != 3:
            raise NotImplementedError(f"Lucid's layers take images, not {x.ndim - 2} axes")
        for name in ("kernel_shape", "strides", "dilations", "output_padding"):
            if name in attributes:
                fill = 0 if name == "output_padding" else 1
                attributes[name] = [fill, *attributes[name]]
        if "pads" in attributes:
            attributes["pads"] = [0, attributes["pads"][0], 0, attributes["pads"][1]]
        high = [t.unsqueeze(2) if t is not None and t.ndim == 3 else t for t in tensors]
        return function(x.unsqueeze(2), *high, **attributes).squeeze(2)

    return layer


def padding_of(
    size: tuple[int, ...],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[int] | None,
    auto_pad: str,
) -> Pairs:
    """The padding as ((top, bottom), (left, right))."""
    if auto_pad in ("NOTSET", "VALID"):
        top, left, bottom, right = pads or [0, 0, 0, 0]
        return (top, bottom), (left, right)
    result = []
    for n, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        less, more = total // 2, total - total // 2
        result.append((less, more) if auto_pad == "SAME_UPPER" else (more, less))
    return result[0], result[1]


# --- convolution and pooling --------------------------------------------------------------------


@node("Conv")
@as_image
def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    kernel_shape: Any = None,
    strides: Any = (1, 1),
    dilations: Any = (1, 1),
    pads: Any = None,
    auto_pad: str = "NOTSET",
    group: int = 1,
) -> Tensor:
    padding = padding_of(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
    return F.conv2d(x, w, b, strides, padding, dilations, group)


@node("ConvTranspose")
@as_image
def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    kernel_shape: Any = None,
    strides: Any = (1, 1),
    dilations: Any = (1, 1),
    pads: Any = (0, 0, 0, 0),
    auto_pad: str = "NOTSET",
    output_padding: Any = (0, 0),
    output_shape: Any = None,
    group: int = 1,
) -> Tensor:
    """A given output size is reached by changing the padding at the end."""
    if auto_pad != "NOTSET":
        output_shape = [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
    if output_shape is None:
        assert list(pads[:2]) == list(pads[2:])
        return F.conv_transpose2d(x, w, b, strides, pads[:2], output_padding, group, dilations)
    whole = F.conv_transpose2d(x, w, b, strides, 0, 0, group, dilations)
    lengths = zip(output_shape, whole.shape[2:], strict=True)
    ends = [(0, max(wanted - n, 0)) for wanted, n in lengths]
    filled = lucid.pad(whole, [(0, 0), (0, 0), *ends])
    return filled[:, :, : output_shape[0], : output_shape[1]]


@node("MaxPool")
@as_image
def max_pool(
    x: Tensor,
    kernel_shape: Any,
    strides: Any = (1, 1),
    dilations: Any = (1, 1),
    pads: Any = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    storage_order: int = 0,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, Tensor]:
    """ONNX indexes the whole batch, in row-major or (``storage_order``) column-major order."""
    pairs = padding_of(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
    padding, wide = layer_padding(pairs, kernel_shape)
    image = x.astype(lucid.float32)
    if wide is not None:
        image = lucid.pad(image, wide, value=-np.inf)
    options = (kernel_shape, strides, padding, dilations, bool(ceil_mode))
    if outputs == 1:
        return F.max_pool2d(image, *options).astype(x.dtype)
    assert wide is None
    values, indices = F.max_pool2d(image, *options, return_indices=True)
    n, c, h, w = x.shape
    if storage_order:
        indices = indices % w * h + indices // w
    return values.astype(x.dtype), indices + lucid.arange(n * c).reshape(n, c, 1, 1) * (h * w)


def layer_padding(pairs: Pairs, kernel: list[int]) -> tuple[list[int], Widths | None]:
    """Split padding into that of the layer and that applied before it."""
    if all(a == b and 2 * a <= k for (a, b), k in zip(pairs, kernel, strict=True)):
        return [pairs[0][0], pairs[1][0]], None
    return [0, 0], [(0, 0), (0, 0), *pairs]


@node("AveragePool")
@as_image
def average_pool(
    x: Tensor,
    kernel_shape: Any,
    strides: Any = (1, 1),
    pads: Any = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
) -> Tensor:
    pairs = padding_of(x.shape[2:], kernel_shape, strides, [1, 1], pads, auto_pad)
    padding, wide = layer_padding(pairs, kernel_shape)
    if wide is None:
        options = (padding, bool(ceil_mode), bool(count_include_pad))
        return F.avg_pool2d(x, kernel_shape, strides, *options)

    def padded(image: Tensor) -> Tensor:
        return F.avg_pool2d(lucid.pad(image, wide), kernel_shape, strides)

    # The share of a window that lies in the image is what its mean is a mean of.
    return padded(x) / (1 if count_include_pad else padded(lucid.ones_like(x)))


@node("LpPool")
@as_image
def lp_pool(
    x: Tensor,
    kernel_shape: Any,
    p: int = 2,
    strides: Any = (1, 1),
    pads: Any = None,
    auto_pad: str = "NOTSET",
) -> Tensor:
    means = average_pool(
        lucid.abs(x) ** p, kernel_shape=kernel_shape, strides=strides, pads=pads,
        auto_pad=auto_pad, count_include_pad=1,
    )  # fmt: skip
    return (means * int(np.prod(kernel_shape))) ** (1 / p)


@node("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(x, 1)


@node("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, x.shape[2:])


# --- normalization ------------------------------------------------------------------------------


@node("BatchNormalization")
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """ONNX's momentum is one minus Lucid's.

    The running variance that ONNX keeps is the biased one of the batch, PyTorch's
    and Lucid's the unbiased one, so the running statistics are put together here.
    """
    if not training_mode:
        return F.batch_norm(x, mean, var, scale, bias, eps=epsilon)
    y = F.batch_norm(x, None, None, scale, bias, training=True, eps=epsilon)
    batch_mean = lucid.mean(x, (0, 2, 3))
    batch_var = lucid.var(x, (0, 2, 3), correction=0)
    return (
        y,
        momentum * mean + (1 - momentum) * batch_mean,
        momentum * var + (1 - momentum) * batch_var,
    )


@node("InstanceNormalization")
def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, epsilon: float = 1e-5) -> Tensor:
    return F.group_norm(x, x.shape[1], scale, bias, epsilon)


@node("GroupNormalization")
def group_norm(
    x: Tensor, scale: Tensor, bias: Tensor, num_groups: int, epsilon: float = 1e-5
) -> Tensor:
    return F.group_norm(x, num_groups, scale, bias, epsilon)


@node("LayerNormalization")
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    axis: int = -1,
    epsilon: float = 1e-5,
) -> tuple[Tensor, Tensor, Tensor]:
    axes = tuple(range(axis % x.ndim, x.ndim))
    y = F.layer_norm(x, x.shape[axes[0] :], scale, bias, epsilon)
    mean = lucid.mean(x, axes, keepdims=True)
    variance = lucid.var(x, axes, correction=0, keepdims=True)
    return y, mean, 1 / lucid.sqrt(variance + epsilon)


@node("RMSNormalization")
def rms_norm(x: Tensor, scale: Tensor, axis: int = -1, epsilon: float = 1e-5) -> Tensor:
    axes = tuple(range(axis % x.ndim, x.ndim))
    return x / lucid.sqrt(lucid.mean(lucid.square(x), axes, keepdims=True) + epsilon) * scale


@node("Dropout")
def dropout(
    x: Tensor,
    ratio: Tensor | float = 0.5,
    training_mode: Tensor | None = None,
    seed: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Also return the mask, which is all true in the cases that run."""
    p = ratio.item() if isinstance(ratio, Tensor) else ratio  # an attribute in old operator sets
    training = training_mode is not None and bool(training_mode.item())
    assert not training or p == 0
    return F.dropout(x, p, training), lucid.ones_like(x, dtype=lucid.bool_)


# --- resizing -----------------------------------------------------------------------------------


@node("Resize")
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    axes: Any = (0, 1, 2, 3),
    keep_aspect_ratio_policy: str = "stretch",
) -> Tensor:
    assert roi is None
    assert mode in ("nearest", "linear")
    assert coordinate_transformation_mode in ("half_pixel", "align_corners")
    if mode == "linear" and scales is not None:
        assert list(axes) == [0, 1, 2, 3]
        factors = [float(s) for s in scales.numpy()[2:]]
        corners = coordinate_transformation_mode == "align_corners"
        return F.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=corners)
    height, width = x.shape[2:]
    wanted = {2: height, 3: width}
    for i, axis in enumerate(axes):
        if scales is not None:
            wanted[axis] = int(x.shape[axis] * scales.numpy()[i])
        elif sizes is not None:
            wanted[axis] = int(sizes.numpy()[i])
    factors = [wanted[2] / height, wanted[3] / width]
    if keep_aspect_ratio_policy != "stretch":
        factor = (min if keep_aspect_ratio_policy == "not_larger" else max)(factors)
        wanted = {2: round(factor * height), 3: round(factor * width)}
    size = (wanted[2], wanted[3])
    if mode == "nearest":
        return F.interpolate(x, size)
    corners = coordinate_transformation_mode == "align_corners"
    return F.interpolate(x, size, mode="bilinear", align_corners=corners)


@node("Upsample")
def upsample(x: Tensor, scales: Tensor, mode: str = "nearest") -> Tensor:
    return F.interpolate(x, scale_factor=[float(s) for s in scales.numpy()[2:]], mode=mode)


# --- losses -------------------------------------------------------------------------------------


@node("NegativeLogLikelihoodLoss")
def nll_loss(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    return F.nll_loss(x, target, weight, ignore_index, reduction)


@node("SoftmaxCrossEntropyLoss")
def cross_entropy(
    x: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> tuple[Tensor, Tensor]:
    loss = F.cross_entropy(x, target, weight, ignore_index, reduction)
    return loss, lucid.log_softmax(x, 1)


# --- boxes --------------------------------------------------------------------------------------


@node("RoiAlign")
def align(
    x: Tensor,
    rois: Tensor,
    batch_indices: Tensor,
    output_height: int = 1,
    output_width: int = 1,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    mode: str = "avg",
    coordinate_transformation_mode: str = "half_pixel",
) -> Tensor:
    assert mode == "avg"
    per_image = [rois.numpy()[batch_indices.numpy() == i] for i in range(len(x))]
    aligned = coordinate_transformation_mode == "half_pixel"
    size = (output_height, output_width)
    return roi_align(x, per_image, size, spatial_scale, sampling_ratio, aligned)


@node("NonMaxSuppression")
def nms(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor,
    iou_threshold: Tensor,
    score_threshold: Tensor,
    center_point_box: int = 0,
) -> Tensor:
    """NMS per class and image; box corners may come in either order."""
    limit, overlap = int(max_output_boxes_per_class.item()), iou_threshold.item()
    chosen = []
    for i, (image_boxes, image_scores) in enumerate(
        zip(boxes.numpy(), scores.numpy(), strict=True)
    ):
        if center_point_box:
            half = image_boxes[:, 2:] / 2
            corners = np.hstack([image_boxes[:, :2] - half, image_boxes[:, :2] + half])
        else:
            a, b = image_boxes[:, :2], image_boxes[:, 2:]
            corners = np.hstack([np.minimum(a, b), np.maximum(a, b)])
        for c, class_scores in enumerate(image_scores):
            (candidates,) = np.nonzero(class_scores > score_threshold.item())
            kept = box_functions.nms(corners[candidates], class_scores[candidates], overlap)
            chosen += [[i, c, int(k)] for k in candidates[kept][:limit]]
    return lucid.tensor(np.array(chosen, np.int64).reshape(-1, 3))
