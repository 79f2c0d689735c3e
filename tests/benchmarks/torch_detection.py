"""torchvision's detectors with the time in NMS and RoIAlign measured separately.

With a CPU build of PyTorch, torchvision's NMS and RoIAlign run as many small operations instead
of compiled kernels.  Their time is not representative, so it is measured and subtracted, forward
and backward.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
from inputs import NUM_CLASSES
from stopwatch import Stopwatch
from torchvision_cpu import roi_align as pooled_regions
from torchvision_cpu import torchvision


class RoIAlign(torch.autograd.Function):
    """:func:`pooled_regions` with a backward pass that can be timed."""

    @staticmethod
    def forward(ctx: Any, features: Any, rois: Any, *options: Any) -> Any:
        ctx.save_for_backward(features, rois)
        ctx.options = options
        return pooled_regions(features, rois, *options)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return (watch.timed("roi_align_backward", backward)(ctx, gradient), *[None] * 6)


def backward(ctx: Any, gradient: Any) -> Any:
    features, rois = ctx.saved_tensors
    leaf = features.detach().requires_grad_()
    with torch.enable_grad():
        pooled = pooled_regions(leaf, rois, *ctx.options)
    return torch.autograd.grad(pooled, leaf, gradient)[0]


def roi_align(
    features: Any, rois: Any, output_size: Any, spatial_scale: float, sampling_ratio: int
) -> Any:
    return RoIAlign.apply(features, rois, spatial_scale, *output_size, sampling_ratio, False)


#: Stopwatch of NMS and RoIAlign in this process.
watch = Stopwatch()
torchvision.ops.poolers.roi_align = watch.timed("roi_align", roi_align)
torchvision.ops.boxes.nms = watch.timed("nms", torchvision.ops.boxes.nms)


def retinanet(norm: Any, size: int) -> Any:
    """Build ``retinanet_resnet50_fpn`` with random weights and all layers trainable."""
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        norm_layer=norm,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return RetinaNet(backbone, NUM_CLASSES, min_size=size, max_size=1333)


def faster_rcnn(norm: Any, size: int) -> Any:
    """Build ``fasterrcnn_resnet50_fpn`` with random weights and all layers trainable."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    backbone = resnet_fpn_backbone(
        backbone_name="resnet50", weights=None, norm_layer=norm, trainable_layers=5
    )
    return FasterRCNN(backbone, NUM_CLASSES, min_size=size, max_size=1333)
