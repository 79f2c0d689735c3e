"""Faster R-CNN on a feature pyramid, the whole story in one place.

Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region
Proposal Networks" (arXiv:1506.01497); Lin et al. 2017, "Feature Pyramid Networks
for Object Detection" (arXiv:1612.03144).

N images, M objects of an image, R regions of an image, C classes with background
as class 0, D detections of an image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from lucid import Tensor, nn, no_grad, pad, stack
from lucid_models_detection.config import DetectorConfig
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector, Images
from lucid_models_detection.parts.anchors import AnchorGenerator
from lucid_models_detection.parts.backbone import PyramidBackbone
from lucid_models_detection.parts.fpn import LastLevelMaxPool
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.pooler import MultiScaleRoIAlign, check_strides
from lucid_models_detection.parts.sampler import BalancedSampler
from lucid_models_detection.roi_heads import BoxHead, BoxPredictor, RoIHeads
from lucid_models_detection.rpn import RegionProposalNetwork
from lucid_models_detection.targets import Target
from lucid_models_detection.transform import (
    ImageBatch,
    Transform,
    check_images,
    pad_to_multiple,
)

__all__ = ["FasterRCNN"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Anchors of an image that the first stage is trained on, and the largest share of foreground.
_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION = 256, 0.5


class FasterRCNN(Detector):
    """Two-stage object detector: propose regions, then classify them and refine their boxes.

    ``model(images, targets)`` computes the losses to train on and ``model.predict(images)``
    the detections, from images in [0, 1], which both normalize.  ``model(x)`` runs the network
    on a batch ``x`` as it is, **without normalizing**, and returns raw scores and offsets of
    the proposed regions.  :meth:`from_backbone` and the builders make one by the name of its
    backbone.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone with ``features()`` and ``feature_channels``.
    num_classes : int, default 21
        C: classes of objects plus one for the background.
    **options
        The arguments of :class:`~lucid_models_detection.config.DetectorConfig`.

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
        levels = backbone.level_names
        if len(config.anchor_sizes) != len(levels):
            raise ValueError(
                f"anchor_sizes: expected sizes for {len(levels)} levels, {levels[0]} to "
                f"{levels[-1]}, got {len(config.anchor_sizes)}"
            )
        if len(config.aspect_ratios) != len(levels):
            raise ValueError(
                f"aspect_ratios: expected ratios for all levels or for each of {len(levels)}, "
                f"{levels[0]} to {levels[-1]}, got {len(config.aspect_ratios)}"
            )
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

    head_prefixes = ("roi_heads.box_predictor.",)

    @classmethod
    def from_backbone(
        cls,
        backbone: str | nn.Module,
        num_classes: int = 21,
        backbone_num_classes: int | None = None,
        *,
        norm: str = "batch",
        norm_eps: float = 1e-5,
        backbone_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Build a detector on any backbone, of the registry or of one's own.

        Parameters
        ----------
        backbone : str or lucid.nn.Module
            The name of a model of :func:`lucid.models.list_models`, or a module.
            Either offers ``features(x)``, which gives maps of the images at half the
            resolution each of the one before, ``feature_channels``, their channels, and
            ``feature_strides``, where those are not 4, 8, 16, ...
        num_classes : int, default 21
            Classes of the detector, background included.
        backbone_num_classes : int, optional
            Classes of the backbone's own classifier; by default as many as the model has
            by default.
        norm : {"batch", "frozen"}, default "batch"
            Normalisation of the backbone.
        norm_eps : float, default 1e-5
            Added to the variance there.
        backbone_options : mapping, optional
            Further keyword arguments of the backbone's builder.
        **options
            The arguments of :class:`~lucid_models_detection.config.DetectorConfig`.

        Raises
        ------
        TypeError, ValueError
            As the constructor; also if the model is no backbone, or if arguments of its
            builder are given with a module, which is built already.
        lucid.errors.UnknownModelError
            If no model has this name.

        Examples
        --------
        >>> from lucid_models_detection import FasterRCNN
        >>> detector = FasterRCNN.from_backbone("resnext_50_32x4d", num_classes=3)
        >>> detector.backbone.net.model_name
        'resnext_50_32x4d'
        """
        from lucid.models import create_model

        # What is the default everywhere is not passed on: not every backbone takes it.
        chosen: dict[str, Any] = dict(backbone_options or {})
        if backbone_num_classes is not None:
            chosen["num_classes"] = backbone_num_classes
        if norm != "batch":
            chosen["norm"] = norm
        if norm_eps != 1e-5:
            chosen["norm_eps"] = norm_eps
        # Before the backbone is built, which takes a moment.
        name = backbone if isinstance(backbone, str) else type(backbone).__name__
        valid = ("norm", "norm_eps", "backbone_options", *DetectorConfig.names())
        check_options(options, valid, f"a detector on {name}")
        DetectorConfig(**options)
        if isinstance(backbone, str):
            return cls(create_model(backbone, **chosen), num_classes, **options)
        if chosen:
            raise TypeError(
                f"{', '.join(chosen)}: how a backbone is built by its name, but {name} is built "
                "already; leave it out, or give a name of lucid.models.list_models()"
            )
        return cls(backbone, num_classes, **options)

    def forward(  # type: ignore[override]  # model(x) on a raw batch is an addition
        self, images: Images, targets: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[Tensor, Tensor] | dict[str, Tensor]:
        """Losses where there are targets, else what the network says of each region.

        Parameters
        ----------
        images : Tensor or sequence of Tensor
            With ``targets`` a batch (N, 3, H, W) or a list of (3, h, w) in [0, 1],
            which are normalized and, if so configured, resized.  Without, a batch
            (N, 3, H, W) of any numbers, which the network takes as it is.
        targets : sequence of mapping, optional
            For each image ``"boxes"`` (M, 4), xyxy in its pixels, and ``"labels"``
            (M,) in 1..C-1; M may be 0.

        Returns
        -------
        dict of str to Tensor
            With targets, in train and in eval mode: ``loss_objectness``,
            ``loss_rpn_box_reg``, ``loss_classifier``, ``loss_box_reg``; their sum
            is what to minimise.
        (Tensor, Tensor)
            Without: ``cls_logits`` (N, R, C) of the R regions that :meth:`propose`
            gives, and ``bbox_deltas`` (N, R, 4), the offsets of each region's
            best-scoring foreground class.  R is ``rpn_post_nms_top_n`` of
            prediction, or the number of anchors where that is less.

        Raises
        ------
        TypeError, ValueError
            For images or targets that cannot be right; says which and why.
        FloatingPointError
            If a loss is not finite; names it.
        """
        if targets is None:
            return self._score_regions(self._as_it_is(images))
        return super().forward(images, targets)

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
            batch = self._as_it_is(x)
            proposals, _ = self.rpn(self.backbone(batch.tensor), batch, fill=True)
        return Tensor(np.stack(proposals))

    def _score_regions(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        levels = self.backbone(batch.tensor)
        proposals, _ = self.rpn(levels, batch, fill=True)
        cls_logits, deltas = self.roi_heads(self._pooled_levels(levels), batch, proposals)
        best = 1 + cls_logits.data[:, 1:].argmax(axis=1)
        deltas = deltas[np.arange(len(best)), best]
        n = len(proposals)
        return cls_logits.reshape(n, -1, self.num_classes), deltas.reshape(n, -1, 4)

    def _as_it_is(self, x: Any) -> ImageBatch:
        """A batch of ``x`` with nothing done to it but padding to the stride."""
        if isinstance(x, list | tuple):
            raise TypeError(
                "model(x) takes a batch of shape (N, 3, H, W); for a list of images use "
                "model.predict(images), or model(images, targets) for the losses"
            )
        images = check_images(x)
        if not isinstance(x, Tensor):
            x = stack([Tensor(image) for image in images])
        size = (int(x.shape[2]), int(x.shape[3]))
        height, width = pad_to_multiple(size, self.backbone.stride)
        if (height, width) != size:
            x = pad(x, ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1])))
        return ImageBatch(x, [size] * len(images), [size] * len(images))


def check_options(options: Mapping[str, Any], valid: Sequence[str], what: str) -> None:
    """Refuse options that there are not, and say which there are."""
    unknown = sorted(set(options) - set(valid))
    if unknown:
        raise TypeError(
            f"{what} got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are {', '.join(valid)}"
        )


def check_num_classes(num_classes: Any) -> int:
    """Refuse a number of classes that leaves none beside the background."""
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__"):
        raise TypeError(f"num_classes: expected an integer of at least 2, got {num_classes!r}")
    if num_classes < 2:
        raise ValueError(
            "num_classes: expected an integer of at least 2, since class 0 is the "
            f"background, got {num_classes}"
        )
    return int(num_classes)


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
