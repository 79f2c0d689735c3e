"""RetinaNet on a feature pyramid: the network.

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002).

N images, L levels of the pyramid, A anchors at each location, T anchors of an image over all
levels, C classes with background as class 0, D detections of an image.  Boxes are xyxy in
pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import Tensor, concatenate, nn
from lucid.nn import functional as F
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector
from lucid_models_detection.options import check_num_classes, check_options
from lucid_models_detection.parts.anchors import AnchorGenerator
from lucid_models_detection.parts.backbone import PyramidBackbone, stage_strides
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.dense_head import DenseHead
from lucid_models_detection.parts.fpn import LastLevelP6P7
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.selection import select_detections
from lucid_models_detection.retinanet.options import RetinaNetOptions
from lucid_models_detection.targets import Target
from lucid_models_detection.transform import ImageBatch, Transform

__all__ = ["RetinaNet"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Stride of the finest stage that the pyramid is built on, C3 of a ResNet.
_FINEST_STRIDE = 8
#: Score of every class before training, so that the many background anchors do not dominate
#: the loss of the first steps; section 4.1.
_PRIOR = 0.01


class RetinaNet(Detector):
    """One-stage object detector: classify every anchor and refine its box.

    ``model(images, targets)`` computes the losses to train on and ``model.predict(images)``
    the detections, from images in [0, 1], which both normalize.  ``model(x)`` runs the network
    on a batch ``x`` as it is, **without normalizing**, and returns raw scores and offsets of
    all anchors, see :meth:`raw_outputs`.  :meth:`.Detector.from_backbone` and the builders build
    one from the name of its backbone.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone with ``features()``, ``feature_channels`` and ``feature_strides``; its stages
        of stride 8 and greater are used.
    num_classes : int, default 21
        C: classes of objects plus one for the background.  As in torchvision the background
        has a logit of its own, which is trained to be low; it is never detected.
    **options
        The arguments of :class:`RetinaNetOptions`.

    Attributes
    ----------
    backbone : PyramidBackbone
        ``backbone.net`` is the complete ``net``, ``backbone.fpn`` the pyramid.
    classification_head, regression_head : lucid_models_detection.parts.DenseHead
        Predict C logits and 4 offsets of each anchor.
    anchors : AnchorGenerator
        Anchors of each level.
    matcher : Matcher
        Assigns anchors to ground truth.
    box_coder : BoxCoder
        Encodes boxes as offsets.
    config : RetinaNetOptions
        The options, checked and complete.

    Raises
    ------
    TypeError
        For an unknown option (lists the valid ones) or one of the wrong kind.
    ValueError
        For a value out of range, two that contradict each other, or a backbone without a
        stage of stride 8 or greater.
    """

    head_prefixes = ("classification_head.output.",)
    class_axis = 1
    options_class = RetinaNetOptions

    def __init__(self, net: nn.Module, num_classes: int = 21, **options: Any) -> None:
        check_options(options, RetinaNetOptions.names(), "RetinaNet")
        num_classes = check_num_classes(num_classes)
        config = RetinaNetOptions(**options)
        channels = config.channels
        extra = LastLevelP6P7(channels, channels)
        backbone = PyramidBackbone(net, channels, extra, stages=_coarse_stages(net))
        config.check_levels(backbone.level_names)
        sizes = config.min_size, config.max_size
        super().__init__(
            backbone, Transform(config.image_mean, config.image_std, *sizes, backbone.stride)
        )
        self.config = config
        self.score_threshold = config.score_threshold
        self.anchors = AnchorGenerator(config.anchor_sizes, config.aspect_ratios)
        self.matcher = Matcher(
            config.positive_iou, config.negative_iou, allow_low_quality_matches=True
        )
        self.box_coder = BoxCoder()
        num_anchors = self.anchors.num_per_location
        prior = -math.log((1 - _PRIOR) / _PRIOR)
        self.classification_head = DenseHead(channels, num_anchors, num_classes, prior)
        self.regression_head = DenseHead(channels, num_anchors, 4)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes of the present classification head, background included."""
        if not hasattr(self.classification_head, "num_outputs"):
            raise TypeError(
                "classification_head: expected a module with num_outputs, such as "
                "DenseHead(channels, num_anchors, num_classes), got "
                f"{type(self.classification_head).__name__}"
            )
        return int(self.classification_head.num_outputs)

    def raw_outputs(self, features: list[Tensor], batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Logits and offsets of all anchors, the result of ``model(x)``.

        Returns
        -------
        cls_logits : Tensor
            (N, T, C), level by level, row by row, location by location.
        bbox_deltas : Tensor
            (N, T, 4) offsets from the anchors.
        """
        logits, deltas = self.classification_head(features), self.regression_head(features)
        return concatenate(logits, axis=1), concatenate(deltas, axis=1)

    def compute_losses(
        self, features: list[Tensor], batch: ImageBatch, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Focal loss of the classes and L1 loss of the offsets.

        Both are divided by the number of foreground anchors of each image, at least 1, and
        averaged over images.

        Returns
        -------
        dict of str to Tensor
            ``classification`` and ``bbox_regression``.
        """
        logits, deltas = self.raw_outputs(features, batch)
        anchors = np.concatenate(self._level_anchors(features, batch))
        wanted = np.zeros(logits.shape, logits.dtype)
        weights = np.zeros((*logits.shape[:2], 1), logits.dtype)
        rows, offsets, row_weights = [], [], []
        for i, target in enumerate(targets):
            matches = self.matcher(box_ops.iou(target.boxes, anchors))
            foreground = np.flatnonzero(matches >= 0)
            matched = matches[foreground]
            weight = 1 / (max(1, len(foreground)) * len(targets))
            wanted[i, foreground, target.labels[matched]] = 1
            weights[i, matches != Matcher.IGNORED] = weight
            rows.append(foreground + i * len(anchors))
            offsets.append(self.box_coder.encode(target.boxes[matched], anchors[foreground]))
            row_weights.append(np.full((len(foreground), 1), weight, deltas.dtype))
        focal = F.sigmoid_focal_loss(logits, Tensor(wanted))
        distance = F.l1_loss(
            deltas.reshape(-1, 4)[np.concatenate(rows)],
            Tensor(np.concatenate(offsets).astype(deltas.dtype, copy=False)),
            reduction="none",
        )
        return {
            "classification": (focal * Tensor(weights)).sum(),
            "bbox_regression": (distance * Tensor(np.concatenate(row_weights))).sum(),
        }

    def detect(self, features: list[Tensor], batch: ImageBatch) -> list[Detections]:
        """Detections in a batch; see :class:`~lucid_models_detection.detector.Detector`."""
        scores = [F.sigmoid(logits).data for logits in self.classification_head(features)]
        deltas = [offsets.data for offsets in self.regression_head(features)]
        anchors = self._level_anchors(features, batch)
        return [
            select_detections(
                [level[i, :, 1:] for level in scores],  # without the background
                [level[i] for level in deltas],
                anchors,
                size,
                box_coder=self.box_coder,
                score_threshold=self.score_threshold,
                candidates_per_level=self.config.candidates_per_level,
                nms_threshold=self.config.nms_threshold,
                detections_per_image=self.config.detections_per_image,
                first_label=1,
            )
            for i, size in enumerate(batch.sizes)
        ]

    def _level_anchors(self, features: list[Tensor], batch: ImageBatch) -> list[Array]:
        sizes = [(level.shape[2], level.shape[3]) for level in features]
        return self.anchors(sizes, batch.padded_size)


def _coarse_stages(net: nn.Module) -> tuple[int, ...]:
    """Indices of the stages that the pyramid is built on."""
    strides = stage_strides(net)
    stages = tuple(i for i, stride in enumerate(strides) if stride >= _FINEST_STRIDE)
    if not stages:
        raise ValueError(
            f"{type(net).__name__}.feature_strides {strides}: expected a stage of stride "
            f"{_FINEST_STRIDE} or greater, which RetinaNet's pyramid is built on"
        )
    return stages
