"""Builders of Faster R-CNN, on any backbone and on ResNets."""

from __future__ import annotations

from typing import Any

from lucid.models import register_model
from lucid_models_detection.backbones import refuse_backbone
from lucid_models_detection.builder_docs import BuilderDocs
from lucid_models_detection.faster_rcnn.config import FasterRCNNConfig
from lucid_models_detection.faster_rcnn.network import FasterRCNN

__all__ = [
    "faster_rcnn_fpn",
    "faster_rcnn_resnet_18_fpn",
    "faster_rcnn_resnet_34_fpn",
    "faster_rcnn_resnet_50_fpn",
    "faster_rcnn_resnet_101_fpn",
]

_METHOD = """
A two-stage detector (`Ren et al. 2015 <https://arxiv.org/abs/1506.01497>`__) with a feature
pyramid network (`Lin et al. 2017 <https://arxiv.org/abs/1612.03144>`__).  The backbone's stages
at strides 4, 8, 16 and 32 become P2 to P5 with 256 channels, by 1x1 lateral and 3x3 output
convolutions; max pooling adds P6.  The region proposal network applies a 3x3 convolution to all
levels, with nine anchors per location by default.  RoIAlign pools 7 x 7 features of each
proposal from the level that fits its size; two fully connected layers of 1024 units then
predict classes (``cls_score``) and class-specific boxes (``bbox_pred``).  The backbone's stem is
registered twice, as ``backbone.net.stem`` and ``backbone.stem``.
"""

_RETURNS = """
FasterRCNN
    Randomly initialized.  ``model(x)`` with ``x`` of shape (N, 3, H, W) returns ``cls_logits``
    (N, R, num_classes) and ``bbox_deltas`` (N, R, 4), the deltas of each proposal's
    best-scoring foreground class.  R is 300, or the number of anchors if that is less;
    ``model.propose(x)`` returns the proposals.  ``model(images, targets)`` returns a dict of
    four losses, ``model.predict(images)`` boxes, labels and scores.
"""

_documented = BuilderDocs(
    "faster_rcnn",
    FasterRCNNConfig,
    _METHOD,
    _RETURNS,
    rows=300,
    losses=("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"),
)


@register_model
@_documented
def faster_rcnn_fpn(
    num_classes: int = 21,
    backbone: str = "resnet_18",
    backbone_num_classes: int | None = None,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on any backbone, given by name.

    The backbone is a registered :class:`lucid.models.Backbone` whose strides double from stage
    to stage.  :meth:`.Detector.from_backbone` returns this model.  Train it by ``lucid
    train-detector --model faster_rcnn_fpn --model-option backbone=NAME``.
    """
    return FasterRCNN.from_backbone(backbone, num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_18_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-18, the smallest of the family.

    Fine-tunes in minutes on a CPU with small images: start here.
    """
    refuse_backbone(kwargs, "resnet_18", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_18", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_34_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-34.

    Between ResNet-18 and ResNet-50 in cost and accuracy.
    """
    refuse_backbone(kwargs, "resnet_34", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_34", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_50_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-50, the standard baseline.

    With ``**lucid_models_detection.torchvision_config()`` it is torchvision's
    ``fasterrcnn_resnet50_fpn`` and loads its checkpoints.
    """
    refuse_backbone(kwargs, "resnet_50", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_50", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_101_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-101.

    More accurate than on ResNet-50 in the published comparisons, at a higher cost.
    """
    refuse_backbone(kwargs, "resnet_101", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_101", num_classes, backbone_num_classes, **kwargs)
