"""Builders of Faster R-CNN: on any backbone by name, and on ResNets."""

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
A detector in two stages, trained as one network (`Ren et al. 2015
<https://arxiv.org/abs/1506.01497>`__).  The backbone's four stages give maps at strides
4, 8, 16 and 32; a feature pyramid (`Lin et al. 2017
<https://arxiv.org/abs/1612.03144>`__) turns these into P2 to P5 of 256 channels each, by
1x1 lateral and 3x3 output convolutions, and adds P6 by max-pooling.  The first stage,
the region proposal network, looks at all five levels with one 3x3 convolution and,
by default, nine anchors at each location: three sizes of an octave in three shapes.
The second stage reads the features of every proposed region by RoIAlign (7 x 7, from
the level that fits the region's size), and two fully connected layers of 1024 units say
what is in it (``cls_score``) and where exactly, separately for every class
(``bbox_pred``).  The backbone's first convolution is registered twice, as
``backbone.net.stem`` and as ``backbone.stem``: one module under two names.
"""

_RETURNS = """
FasterRCNN
    With freshly drawn weights.  ``model(x)`` with ``x`` of shape (N, 3, H, W) gives
    ``cls_logits`` (N, R, num_classes) and ``bbox_deltas`` (N, R, 4), the offsets of
    each region's best-scoring foreground class; R is 300, or the number of anchors
    where an image has fewer, and ``model.propose(x)`` gives the regions.
    ``model(images, targets)`` gives a dict of four losses, ``model.predict(images)``
    boxes, labels and scores.
"""

_page = BuilderDocs(
    "faster_rcnn",
    FasterRCNNConfig,
    _METHOD,
    _RETURNS,
    rows=300,
    losses=("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"),
)


@register_model
@_page
def faster_rcnn_fpn(
    num_classes: int = 21,
    backbone: str = "resnet_18",
    backbone_num_classes: int | None = None,
    **kwargs: Any,
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on any backbone, given by its name.

    The backbone is a registered model of any plugin that satisfies
    :class:`lucid.models.Backbone`, with each stride twice the one before.
    :meth:`.Detector.from_backbone` returns this model; ``lucid train-detector --model
    faster_rcnn_fpn --model-option backbone=NAME`` trains it.
    """
    return FasterRCNN.from_backbone(backbone, num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def faster_rcnn_resnet_18_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-18, the smallest of the family.

    The one to begin with, and to fine-tune on a small data set: on a CPU it trains
    in minutes on small images.
    """
    refuse_backbone(kwargs, "resnet_18", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_18", num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def faster_rcnn_resnet_34_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-34.

    A backbone twice as deep as ResNet-18 at the same widths; between that and
    ResNet-50 in cost and in accuracy.
    """
    refuse_backbone(kwargs, "resnet_34", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_34", num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def faster_rcnn_resnet_50_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-50, the field's standard detector.

    The network that others are compared to.  Built with
    ``**lucid_models_detection.torchvision_config()`` it is torchvision's
    ``fasterrcnn_resnet50_fpn``, whose checkpoints then load.
    """
    refuse_backbone(kwargs, "resnet_50", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_50", num_classes, backbone_num_classes, **kwargs)


@register_model
@_page
def faster_rcnn_resnet_101_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-101, the larger of the two usual backbones.

    Seventeen more residual blocks than ResNet-50 in the third stage: more accurate
    in the published comparisons, for more time and memory.
    """
    refuse_backbone(kwargs, "resnet_101", "faster_rcnn_fpn")
    return FasterRCNN.from_backbone("resnet_101", num_classes, backbone_num_classes, **kwargs)
