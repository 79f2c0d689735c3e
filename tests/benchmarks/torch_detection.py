"""torchvision's Faster R-CNN with the time in NMS and RoIAlign told apart.

A CPU build of PyTorch has no compiled NMS and RoIAlign of torchvision's, only versions
made of many small steps.  Their time says nothing about torchvision, so it is measured
and taken off, forward and backward.  RoIAlign is written anew here for its memory, which
cannot be taken off: torchvision's plain version holds gigabytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from inputs import NUM_CLASSES
from stopwatch import Stopwatch
from torchvision_cpu import torchvision


def taps(positions: Any, size: int) -> tuple[Any, Any]:
    """The two pixels around each position (R, B, S) and their shares, both (R, B, 2 * S)."""
    positions = positions.clamp(min=0)
    low = positions.long().clamp(max=size - 1)
    share = positions - low
    pixels = torch.stack([low, (low + 1).clamp(max=size - 1)], dim=-1)
    return pixels.flatten(2), torch.stack([1 - share, share], dim=-1).flatten(2)


def pooled_regions(features: Any, rois: Any, bins: int, scale: float, samples: int) -> Any:
    """RoIAlign as sums over bags of pixels: (R, C, B, B) of R regions with B bins either way."""
    _, channels, height, width = features.shape
    start = rois[:, 1:3] * scale
    length = (rois[:, 3:5] * scale - start).clamp(min=1)
    place = torch.arange(bins * samples, dtype=rois.dtype) + 0.5
    place = place.reshape(bins, samples) / (bins * samples)
    x, y = (start[:, i, None, None] + length[:, i, None, None] * place for i in (0, 1))
    columns, across = taps(x, width)
    rows, down = taps(y, height)
    first = rois[:, 0].long()[:, None, None, None, None] * (height * width)
    index = first + rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    share = down[:, :, None, :, None] * across[:, None, :, None, :] / samples**2
    pooled = torch.nn.functional.embedding_bag(
        index.flatten(3).flatten(0, 2),
        features.permute(0, 2, 3, 1).reshape(-1, channels),
        per_sample_weights=share.flatten(3).flatten(0, 2),
        mode="sum",
    )
    return pooled.reshape(-1, bins, bins, channels).permute(0, 3, 1, 2).contiguous()


class RoIAlign(torch.autograd.Function):
    """:func:`pooled_regions`, computed again for its gradient, which so can be timed."""

    @staticmethod
    def forward(ctx: Any, features: Any, rois: Any, *options: Any) -> Any:
        ctx.save_for_backward(features, rois)
        ctx.options = options
        return pooled_regions(features, rois, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return (watch.timed("roi_align_backward", backward)(ctx, gradient), *[None] * 4)


def backward(ctx: Any, gradient: Any) -> Any:
    features, rois = ctx.saved_tensors
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        pooled = pooled_regions(leaf, rois, *ctx.options)
    return torch.autograd.grad(pooled, leaf, gradient)[0]


def roi_align(
    features: Any, rois: Any, output_size: Any, spatial_scale: float, sampling_ratio: int
) -> Any:
    return RoIAlign.apply(features, rois, output_size[0], spatial_scale, sampling_ratio)


#: Times what a detector of this process spends in NMS and RoIAlign.
watch = Stopwatch()
torchvision.ops.poolers.roi_align = watch.timed("roi_align", roi_align)
torchvision.ops.boxes.nms = watch.timed("nms", torchvision.ops.boxes.nms)


def faster_rcnn(norm: Any, size: int) -> Any:
    """``fasterrcnn_resnet50_fpn`` with random weights, every layer trainable."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=5
    )
    return FasterRCNN(backbone, NUM_CLASSES, min_size=size, max_size=1333)
