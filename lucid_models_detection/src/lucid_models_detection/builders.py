"""One builder for each registered detector.

What they share in their documentation is written once, below; each builder says
what is its own.  The pages of the site are made from the whole.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

from lucid.models import register_model
from lucid_models_detection.config import DetectorConfig
from lucid_models_detection.faster_rcnn import FasterRCNN

__all__ = [
    "faster_rcnn_resnet_18_fpn",
    "faster_rcnn_resnet_34_fpn",
    "faster_rcnn_resnet_50_fpn",
    "faster_rcnn_resnet_101_fpn",
]

Builder = Callable[..., FasterRCNN]

_SHARED = """
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

Parameters
----------
num_classes : int, default 21
    Number of classes **including the background** as class 0: the default is the
    20 classes of Pascal VOC plus one.
backbone_num_classes : int, default 1000
    Number of classes of the backbone's own classifier, ``backbone.net.fc``: that of
    ImageNet, unless it is pretrained on something else.
**kwargs
    Any of these by keyword, checked when the model is built; an unknown name is a
    ``TypeError`` that lists the valid ones.

    ``norm`` : {{"batch", "frozen"}}, default "batch"
        Batch normalisation in the backbone, or the same with its statistics and
        affine parameters fixed: the usual choice for fine-tuning with few images in a
        batch.
    ``norm_eps`` : float, default 1e-5
        Added to the variance there.
    ``backbone_options`` : mapping, optional
        Further keyword arguments of the backbone's builder.
{options}

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
No pretrained weights are shipped.  Training takes two stages; here each of them is a
single step, to be done over your own data instead.

1. Pretrain the backbone as a classifier, and save its weights.  ``.backbone.net`` is a
   complete ``{backbone}`` with a classifier, so it trains alone, on images normalised
   with the detector's ``image_mean`` and ``image_std``:

   >>> from lucid import nn
   >>> detector = {name}(num_classes=21, backbone_num_classes=10)
   >>> classifier = detector.backbone.net
   >>> patches, classes = lucid.random.randn(4, 3, 64, 64), lucid.tensor([3, 1, 4, 1])
   >>> nn.CrossEntropyLoss()(classifier(patches), classes).backward()
   >>> lucid.save(classifier.state_dict(), "backbone.safetensors")

2. Load them back into ``.backbone.net``, and train the detector:

   >>> detector = {name}(num_classes=21, backbone_num_classes=10)
   >>> loaded = detector.backbone.net.load_state_dict(lucid.load("backbone.safetensors"))
   >>> losses = detector([image], [target])
   >>> sum(losses.values()).backward()

``lucid train-detector --backbone-weights FILE`` is the second stage as a command.

.. tip::

   Give the pretrained backbone a lower learning rate than the new layers, by
   parameter groups:

   >>> backbone = list(detector.backbone.net.parameters())
   >>> pretrained = {{id(parameter) for parameter in backbone}}
   >>> new = [p for p in detector.parameters() if id(p) not in pretrained]
   >>> optimizer = nn.SGD(
   ...     [{{"params": backbone, "lr": 0.001}}, {{"params": new, "lr": 0.01}}],
   ...     lr=0.01, momentum=0.9, weight_decay=1e-4,
   ... )
   >>> optimizer.step()

.. warning::

   ``backbone_num_classes`` must equal the number of classes that the backbone was
   pretrained with.  Otherwise the weights of its classifier do not fit and
   ``load_state_dict`` refuses the file as a whole; the classifier's weights must then be
   discarded, which ``load_state_dict(weights, skip_mismatched=True)`` does:

   >>> other = {name}(num_classes=21, backbone_num_classes=5)
   >>> weights = lucid.load("backbone.safetensors")
   >>> other.backbone.net.load_state_dict(weights, skip_mismatched=True).skipped
   ['fc.weight', 'fc.bias']
"""


def _options() -> str:
    """What :class:`DetectorConfig` says of its arguments, as a part of ``**kwargs``."""
    text = inspect.getdoc(DetectorConfig) or ""
    fields = text.partition("Parameters\n----------\n")[2].partition("\n\nRaises\n")[0]
    fields = re.sub(r"^(\w+)(?:, (\w+))? : ", _term, fields, flags=re.MULTILINE)
    return textwrap.indent(fields, "    ")


def _term(match: re.Match[str]) -> str:
    return f"{', '.join(f'``{name}``' for name in match.groups() if name)} : "


def _documented(builder: Builder) -> Builder:
    """Append to a builder's introduction what holds for all of them."""
    name = builder.__name__
    backbone = name.removeprefix("faster_rcnn_").removesuffix("_fpn")
    shared = _SHARED.format(name=name, backbone=backbone, options=_options())
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
