"""Builders of RetinaNet: on any backbone by name, and on ResNets."""

from __future__ import annotations

from typing import Any

from lucid.models import register_model
from lucid_models_detection.backbones import refuse_backbone
from lucid_models_detection.builder_docs import BuilderDocs
from lucid_models_detection.retinanet.config import RetinaNetConfig
from lucid_models_detection.retinanet.network import RetinaNet

__all__ = ["retinanet_fpn", "retinanet_resnet_18_fpn", "retinanet_resnet_50_fpn"]

_METHOD = """
A detector in one stage (`Lin et al. 2017 <https://arxiv.org/abs/1708.02002>`__).  A feature
pyramid turns the backbone's stages at strides 8, 16 and 32 into P3 to P5 of 256 channels each
and adds P6 and P7 by 3x3 convolutions with stride 2.  Two heads, shared by all levels, of four
3x3 convolutions each, predict for every anchor a score of each class and the offsets of its
box; there are nine anchors at each location, three sizes of an octave in three shapes.  The
focal loss reduces the weight of the many anchors that are easily told from objects, so no
anchors are sampled.  The backbone's first convolution is registered twice, as
``backbone.net.stem`` and as ``backbone.stem``: one module under two names.
"""

_RETURNS = """
RetinaNet
    With freshly drawn weights.  ``model(x)`` with ``x`` of shape (N, 3, H, W) gives
    ``cls_logits`` (N, T, num_classes) and ``bbox_deltas`` (N, T, 4) of all T anchors,
    without normalizing ``x``.  ``model(images, targets)`` gives a dict of two losses,
    ``model.predict(images)`` boxes, labels and scores.
"""

_page = BuilderDocs(
    "retinanet",
    RetinaNetConfig,
    _METHOD,
    _RETURNS,
    rows=9441,
    losses=("classification", "bbox_regression"),
)


@register_model
@_page
def retinanet_fpn(
    num_classes: int = 21,
    backbone: str = "resnet_18",
    backbone_num_classes: int | None = None,
    **kwargs: Any,
) -> RetinaNet:
    """RetinaNet with a feature pyramid on any backbone, given by its name.

    The backbone is a registered model of any plugin that satisfies
    :class:`lucid.models.Backbone`; its stages of stride 8 and greater are used.
    :meth:`.Detector.from_backbone` returns this model; ``lucid train-detector --model
    retinanet_fpn --model-option backbone=NAME`` trains it.
    """
    return RetinaNet.from_backbone(backbone, num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def retinanet_resnet_18_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> RetinaNet:
    """RetinaNet with a feature pyramid on ResNet-18, the smaller of the two.

    For fine-tuning on small data sets, on a CPU too.
    """
    refuse_backbone(kwargs, "resnet_18", "retinanet_fpn")
    return RetinaNet.from_backbone("resnet_18", num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def retinanet_resnet_50_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> RetinaNet:
    """RetinaNet with a feature pyramid on ResNet-50, the standard one-stage detector.

    With ``num_classes=91, norm="frozen", min_size=800, max_size=1333`` it is torchvision's
    ``retinanet_resnet50_fpn``, whose checkpoints then load.
    """
    refuse_backbone(kwargs, "resnet_50", "retinanet_fpn")
    return RetinaNet.from_backbone("resnet_50", num_classes, backbone_num_classes, **kwargs)
