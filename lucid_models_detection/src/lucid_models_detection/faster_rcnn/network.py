"""Faster R-CNN on a feature pyramid: the network.

Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region
Proposal Networks" (arXiv:1506.01497); Lin et al. 2017, "Feature Pyramid Networks
for Object Detection" (arXiv:1612.03144).

N images, M objects of an image, R regions of an image, C classes with background
as class 0, D detections of an image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import Tensor, nn, no_grad
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector
from lucid_models_detection.faster_rcnn.options import DetectorConfig
from lucid_models_detection.faster_rcnn.roi_heads import BoxHead, BoxPredictor, RoIHeads
from lucid_models_detection.faster_rcnn.rpn import RegionProposalNetwork
from lucid_models_detection.options import check_num_classes, check_options
from lucid_models_detection.parts.anchors import AnchorGenerator
from lucid_models_detection.parts.backbone import PyramidBackbone
from lucid_models_detection.parts.fpn import LastLevelMaxPool
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.pooler import MultiScaleRoIAlign, check_strides
from lucid_models_detection.parts.sampler import BalancedSampler
from lucid_models_detection.targets import Target
from lucid_models_detection.transform import ImageBatch, Transform, raw_batch

__all__ = ["FasterRCNN"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Anchors of an image that the first stage is trained on, and the largest share of foreground.
_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION = 256, 0.5


class FasterRCNN(Detector):
    """Two-stage object detector: propose regions, then classify them and refine their boxes.

    ``model(images, targets)`` computes the losses to train on and ``model.predict(images)``
    the detections, from images in [0, 1], which both normalize.  ``model(x)`` runs the network
    on a batch ``x`` as it is, **without normalizing**, and returns raw scores and offsets of
    the proposed regions, see :meth:`raw_outputs`.  :meth:`.Detector.from_backbone` and the builders
    build one from the name of its backbone.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone with ``features()`` and ``feature_channels``.
    num_classes : int, default 21
        C: classes of objects plus one for the background.
    **options
        The arguments of :class:`~lucid_models_detection.faster_rcnn.options.DetectorConfig`.

    Attributes
    ----------
    backbone : PyramidBackbone
        ``backbone.net`` is the complete ``net``, ``backbone.fpn`` the pyramid.
    rpn : RegionProposalNetwork
        First stage.
    roi_heads : RoIHeads
        Second stage.
    transform : Transform
        Normalises, resizes and batches images.
    config : DetectorConfig
        The options, checked and complete.
    num_classes : int
        As given, with the background.

    Raises
    ------
    TypeError
        For an unknown option (lists the valid ones) or one of the wrong kind.
    ValueError
        For a value out of range, or two that contradict each other.
    """

    head_prefixes = ("roi_heads.box_predictor.",)
    options_class = DetectorConfig

    def __init__(self, net: nn.Module, num_classes: int = 21, **options: Any) -> None:
        check_options(options, DetectorConfig.names(), "FasterRCNN")
        num_classes = check_num_classes(num_classes)
        config = DetectorConfig(**options)
        backbone = PyramidBackbone(net, extra_blocks=LastLevelMaxPool())
        check_strides(
            backbone.strides[: len(backbone.channels)], f"{type(net).__name__}.feature_strides"
        )
        mean, std = config.image_mean, config.image_std
        sizes = config.min_size, config.max_size
        super().__init__(backbone, Transform(mean, std, *sizes, backbone.stride))
        self.config = config
        config.check_levels(backbone.level_names)
        channels = backbone.fpn.out_channels
        self.rpn = _make_rpn(config, channels)
        self.roi_heads = _make_roi_heads(config, channels, num_classes)

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes of the present box predictor, background included."""
        predictor = self.roi_heads.box_predictor
        if not hasattr(predictor, "num_classes"):
            raise TypeError(
                "roi_heads.box_predictor: expected a module with num_classes, such as "
                f"BoxPredictor(in_features, num_classes), got {type(predictor).__name__}"
            )
        return int(predictor.num_classes)

    def compute_losses(
        self, features: list[Tensor], batch: ImageBatch, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Losses of both stages; see :class:`~lucid_models_detection.detector.Detector`."""
        proposals, losses = self.rpn(features, batch, targets)
        pooled = self._pooled_levels(features)
        return {**losses, **self.roi_heads.losses(pooled, batch, proposals, targets)}

    def detect(self, features: list[Tensor], batch: ImageBatch) -> list[Detections]:
        """Detections in a batch; see :class:`~lucid_models_detection.detector.Detector`."""
        proposals, _ = self.rpn(features, batch)
        found: list[Detections] = self.roi_heads.detect(
            self._pooled_levels(features), batch, proposals
        )
        return found

    def raw_outputs(self, features: list[Tensor], batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """Scores and offsets of the proposed regions, the result of ``model(x)``.

        Returns
        -------
        cls_logits : Tensor
            (N, R, C) logits of the R regions that :meth:`propose` gives.  R is
            ``rpn_post_nms_top_n`` of prediction, or the number of anchors where that is less.
        bbox_deltas : Tensor
            (N, R, 4) offsets of each region's best-scoring foreground class.
        """
        proposals, _ = self.rpn(features, batch, fill=True)
        cls_logits, deltas = self.roi_heads(self._pooled_levels(features), batch, proposals)
        best = 1 + cls_logits.data[:, 1:].argmax(axis=1)
        deltas = deltas[np.arange(len(best)), best]
        n = len(proposals)
        return cls_logits.reshape(n, -1, self.num_classes), deltas.reshape(n, -1, 4)

    def _pooled_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """Levels that regions are pooled from: those on a stage of the backbone."""
        return levels[: len(self.backbone.channels)]

    @property
    def score_threshold(self) -> float:
        """Lowest score of detections, ``box_score_threshold`` of the configuration at first."""
        return self.roi_heads.score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        self.roi_heads.score_threshold = value

    def propose(self, x: Tensor) -> Tensor:
        """The regions that ``model(x)`` speaks of.

        Parameters
        ----------
        x : Tensor
            (N, 3, H, W), going into the network as it is.

        Returns
        -------
        Tensor
            (N, R, 4) xyxy in pixels of ``x``; proposals by descending score, then,
            where suppression leaves fewer than R, the best of the suppressed.
        """
        with no_grad():
            batch = raw_batch(x, self.transform.multiple)
            proposals, _ = self.rpn(self.backbone(batch.tensor), batch, fill=True)
        return Tensor(np.stack(proposals))


def _make_rpn(config: DetectorConfig, channels: int) -> RegionProposalNetwork:
    return RegionProposalNetwork(
        channels,
        AnchorGenerator(config.anchor_sizes, config.aspect_ratios),
        Matcher(config.rpn_positive_iou, config.rpn_negative_iou, allow_low_quality_matches=True),
        BalancedSampler(_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION),
        config.rpn_pre_nms_top_n,
        config.rpn_post_nms_top_n,
        config.rpn_nms_threshold,
    )


def _make_roi_heads(config: DetectorConfig, channels: int, num_classes: int) -> RoIHeads:
    return RoIHeads(
        MultiScaleRoIAlign(config.pool_size, sampling_ratio=2),
        BoxHead(channels, config.pool_size, config.hidden_dim),
        BoxPredictor(config.hidden_dim, num_classes),
        Matcher(config.box_positive_iou, config.box_positive_iou),
        BalancedSampler(config.box_batch_size_per_image, config.box_positive_fraction),
        config.box_score_threshold,
        config.box_nms_threshold,
        config.box_detections_per_image,
    )
