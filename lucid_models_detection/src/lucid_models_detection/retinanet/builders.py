"""Builders of RetinaNet, on any backbone and on ResNets."""

from __future__ import annotations

from typing import Any

from lucid.models import register_model
from lucid_models_detection.backbones import refuse_backbone
from lucid_models_detection.builder_docs import BuilderDocs
from lucid_models_detection.retinanet.config import RetinaNetConfig
from lucid_models_detection.retinanet.network import RetinaNet

__all__ = ["retinanet_fpn", "retinanet_resnet_18_fpn", "retinanet_resnet_50_fpn"]

_METHOD = """
A one-stage detector (`Lin et al. 2017 <https://arxiv.org/abs/1708.02002>`__).  The backbone's
stages at strides 8, 16 and 32 become P3 to P5 with 256 channels; 3x3 convolutions with stride 2
add P6 and P7.  Two heads of four 3x3 convolutions, shared by all levels, predict class scores
and box deltas of nine anchors per location.  The focal loss down-weights easy background
anchors instead of sampling.  The backbone's stem is registered twice, as ``backbone.net.stem``
and ``backbone.stem``.
"""

_RETURNS = """
RetinaNet
    Randomly initialized.  ``model(x)`` with ``x`` of shape (N, 3, H, W), not normalized, returns
    ``cls_logits`` (N, T, num_classes) and ``bbox_deltas`` (N, T, 4) of all T anchors.
    ``model(images, targets)`` returns a dict of two losses, ``model.predict(images)`` boxes,
    labels and scores.
"""

_documented = BuilderDocs(
    "retinanet",
    RetinaNetConfig,
    _METHOD,
    _RETURNS,
    rows=9441,
    losses=("classification", "bbox_regression"),
)


@register_model
@_documented
def retinanet_fpn(
    num_classes: int = 21,
    backbone: str = "resnet_18",
    backbone_num_classes: int | None = None,
    **kwargs: Any,
) -> RetinaNet:
    """RetinaNet with a feature pyramid on any backbone, given by name.

    The backbone is a registered :class:`lucid.models.Backbone`; its stages of stride 8 and
    greater are used.  :meth:`.Detector.from_backbone` returns this model.  Train it by ``lucid
    train-detector --model retinanet_fpn --model-option backbone=NAME``.
    """
    return RetinaNet.from_backbone(backbone, num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def retinanet_resnet_18_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> RetinaNet:
    """RetinaNet with a feature pyramid on ResNet-18.

    For fine-tuning on small data sets, on a CPU too.
    """
    refuse_backbone(kwargs, "resnet_18", "retinanet_fpn")
    return RetinaNet.from_backbone("resnet_18", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def retinanet_resnet_50_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> RetinaNet:
    """RetinaNet with a feature pyramid on ResNet-50, the standard one-stage baseline.

    With ``num_classes=91, norm="frozen", min_size=800, max_size=1333`` it is torchvision's
    ``retinanet_resnet50_fpn`` and loads its checkpoints.
    """
    refuse_backbone(kwargs, "resnet_50", "retinanet_fpn")
    return RetinaNet.from_backbone("resnet_50", num_classes, backbone_num_classes, **kwargs)
