"""One builder for each registered detector.

What they share in their documentation is written once, below; each builder says
what is its own.  The pages of the site are made from the whole.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from lucid.models import register_model
from lucid_models_detection.faster_rcnn import FasterRCNN

__all__ = [
    "faster_rcnn_resnet_18_fpn",
    "faster_rcnn_resnet_34_fpn",
    "faster_rcnn_resnet_50_fpn",
    "faster_rcnn_resnet_101_fpn",
]

Builder = Callable[..., FasterRCNN]

_SHARED = """
The detector works in two stages (`Ren et al. 2015
<https://arxiv.org/abs/1506.01497>`__).  A feature pyramid (`Lin et al. 2017
<https://arxiv.org/abs/1612.03144>`__) turns the backbone's four stages into maps
P2 to P5 of 256 channels and adds P6; a region proposal network looks at all five
with nine anchors at each location; the features of each proposed region are read
by RoIAlign from the level that fits its size, and two fully connected layers of
1024 units say what is in it and where exactly.  Parameters of the backbone's
first convolution are registered twice, as ``backbone.net.stem`` and
``backbone.stem``.

Parameters
----------
num_classes : int, default 21
    Number of classes **including the background** as class 0: the default is the
    20 classes of Pascal VOC plus one.
backbone_num_classes : int, default 1000
    Number of classes of the backbone's own classifier, ``backbone.net.fc``.
**kwargs
    Everything else, checked when the model is built; an unknown name is a
    ``TypeError`` that lists the valid ones.

    ``norm`` ("batch" or "frozen", default "batch"): batch normalisation in the
    backbone, or the same with its statistics and affine parameters fixed, the
    usual choice for fine-tuning with few images in a batch;
    ``norm_eps`` (1e-5): added to the variance there.

    ``anchor_sizes`` (three octave scales of 32, 64, 128, 256 and 512 pixels on P2 to
    P6), ``aspect_ratios`` ((0.5, 1.0, 2.0), height to width).

    ``rpn_pre_nms_top_n`` ((2000, 1000)), ``rpn_post_nms_top_n`` ((2000, 300)):
    proposals of a level before and of an image after non-maximum suppression, an
    integer or one for training and one for prediction;
    ``rpn_nms_threshold`` (0.7), ``rpn_positive_iou`` (0.7), ``rpn_negative_iou`` (0.3).

    ``box_score_threshold`` (0.05), ``box_nms_threshold`` (0.5),
    ``box_detections_per_image`` (100), ``box_positive_iou`` (0.5),
    ``box_batch_size_per_image`` (512), ``box_positive_fraction`` (0.25).

    ``min_size``, ``max_size`` (None): resize images so that the shorter side has
    ``min_size`` pixels and the longer one at most ``max_size``;
    ``image_mean``, ``image_std`` (ImageNet's): of each colour, in [0, 1].

    ``hidden_dim`` (1024), ``pool_size`` (7): width of the second stage's layers and
    bins of RoIAlign either way.

Returns
-------
FasterRCNN
    With freshly drawn weights.  ``model(x)`` with ``x`` of shape (N, 3, H, W) gives
    ``cls_logits`` (N, R, num_classes) and ``bbox_deltas`` (N, R, 4), the offsets of
    each region's best-scoring foreground class; R is 300, or the number of anchors
    where an image has fewer, and ``model.propose(x)`` gives the regions.
    ``model(images, targets)`` gives a dict of four losses, ``model.predict(images)``
    boxes, labels and scores.

Examples
--------
Basic usage:

>>> import lucid
>>> from lucid.models import {name}
>>> detector = {name}(num_classes=21).eval()
>>> x = lucid.random.randn(1, 3, 224, 224)
>>> with lucid.no_grad():
...     cls_logits, bbox_deltas = detector(x)
>>> print(cls_logits.shape)
(1, 300, 21)
>>> print(bbox_deltas.shape)
(1, 300, 4)

The losses of an image with one object, and its detections:

>>> image = lucid.random.rand(3, 128, 160)
>>> target = {{"boxes": [[20.0, 30.0, 90.0, 110.0]], "labels": [7]}}
>>> losses = detector([image], [target])
>>> sorted(losses)
['loss_box_reg', 'loss_classifier', 'loss_objectness', 'loss_rpn_box_reg']
>>> detections = detector.predict([image])
>>> sorted(detections[0])
['boxes', 'labels', 'scores']

Training Notes
--------------
No pretrained weights are shipped.  Training has two stages.

1. Pretrain the backbone as a classifier.  ``detector.backbone.net`` is a complete
   ``{backbone}`` with its own classifier, so it trains alone, on images normalised
   with the detector's mean and standard deviation::

       detector = {name}(num_classes=21, backbone_num_classes=1000)
       classifier = detector.backbone.net
       ...  # train classifier(x) with nn.CrossEntropyLoss()
       lucid.save(classifier.state_dict(), "backbone.safetensors")

2. Load it back into the backbone and train the detector::

       detector.backbone.net.load_state_dict(lucid.load("backbone.safetensors"))
       detector.train()
       for images, targets in loader:
           losses = detector(images, targets)
           sum(losses.values()).backward()
           ...  # optimizer step

.. tip::

   Give the pretrained backbone a lower learning rate than the new layers, by
   parameter groups::

       backbone = list(detector.backbone.net.parameters())
       pretrained = {{id(p) for p in backbone}}
       new = [p for p in detector.parameters() if id(p) not in pretrained]
       optimizer = nn.SGD(
           [{{"params": backbone, "lr": 0.001}}, {{"params": new, "lr": 0.01}}],
           lr=0.01, momentum=0.9, weight_decay=1e-4,
       )

.. warning::

   ``backbone_num_classes`` must equal the number of classes that the backbone was
   pretrained with.  Otherwise the weights of its classifier do not fit and
   ``load_state_dict`` refuses them all; ``load_state_dict(weights,
   skip_mismatched=True)`` discards the classifier's and loads the rest.
"""


def _documented(builder: Builder) -> Builder:
    """Append to a builder's introduction what holds for all of them."""
    name = builder.__name__
    backbone = name.removeprefix("faster_rcnn_").removesuffix("_fpn")
    shared = _SHARED.format(name=name, backbone=backbone)
    builder.__doc__ = f"{inspect.getdoc(builder)}\n{shared}"
    return builder


@register_model
@_documented
def faster_rcnn_resnet_18_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-18, the smallest of the family.

    The one to begin with, and to fine-tune on a small data set: on a CPU it trains
    in minutes on small images.
    """
    return FasterRCNN.from_backbone("resnet_18", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_34_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-34.

    A backbone twice as deep as ResNet-18 at the same widths; between that and
    ResNet-50 in cost and in accuracy.
    """
    return FasterRCNN.from_backbone("resnet_34", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_50_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-50, the field's standard detector.

    The network that others are compared to.  Built with
    ``**lucid_models_detection.torchvision_config()`` it is torchvision's
    ``fasterrcnn_resnet50_fpn``, whose checkpoints then load.
    """
    return FasterRCNN.from_backbone("resnet_50", num_classes, backbone_num_classes, **kwargs)


@register_model
@_documented
def faster_rcnn_resnet_101_fpn(
    num_classes: int = 21, backbone_num_classes: int = 1000, **kwargs: Any
) -> FasterRCNN:
    """Faster R-CNN with a feature pyramid on ResNet-101, the larger of the two usual backbones.

    Seventeen more residual blocks than ResNet-50 in the third stage: more accurate
    in the published comparisons, for more time and memory.
    """
    return FasterRCNN.from_backbone("resnet_101", num_classes, backbone_num_classes, **kwargs)
