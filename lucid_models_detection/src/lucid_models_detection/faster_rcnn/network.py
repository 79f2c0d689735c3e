"""Faster R-CNN with a feature pyramid network: the detector.

Ren et al. 2015, "Faster R-CNN: Towards Real-Time Object Detection with Region Proposal
Networks" (arXiv:1506.01497); Lin et al. 2017, "Feature Pyramid Networks for Object Detection"
(arXiv:1612.03144).

N images, M objects of an image, R proposals of an image, C classes with background as class 0,
D detections of an image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import Tensor, nn, no_grad
from lucid_models_detection.config import check_options
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector
from lucid_models_detection.faster_rcnn.build import build_roi_heads, build_rpn
from lucid_models_detection.faster_rcnn.config import FasterRCNNConfig
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.backbone_with_fpn import BackboneWithFPN
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.checks import check_replaced, number_of_classes
from lucid_models_detection.parts.fpn import LastLevelMaxPool
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.roi_align import MultiScaleRoIAlign, check_strides
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.torchvision_names import RenamedAttribute
from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList, raw_batch

__all__ = ["FasterRCNN"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Options that a given part makes useless.
_REPLACED = {
    "rpn_anchor_generator": ("anchor_sizes", "aspect_ratios"),
    "rpn_matcher": ("rpn_positive_iou", "rpn_negative_iou"),
    "box_roi_pool": ("pool_size",),
    "box_head": ("hidden_dim",),
    "box_matcher": ("box_positive_iou",),
    "box_sampler": ("box_batch_size_per_image", "box_positive_fraction"),
}


class FasterRCNN(Detector):
    """Two-stage object detector: a region proposal network, then RoI heads.

    ``model(images, targets)`` returns the losses, ``model.predict(images)`` the detections; both
    normalize the images, which are in [0, 1].  ``model(x)`` runs the network on a batch **without
    normalizing** and returns raw outputs, see :meth:`raw_outputs`.  :meth:`.Detector.from_backbone`
    and the builders take the backbone by name.

    Parts are passed by keyword, or replaced later under the attribute in parentheses.  Options that
    a given part makes useless are refused.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone, a :class:`lucid.models.Backbone`.
    num_classes : int, optional
        C, background included.  Default: that of ``box_predictor``, or 21.
    fpn : lucid.nn.Module, optional
        Feature pyramid (``backbone.fpn``); see
        :class:`~lucid_models_detection.parts.BackboneWithFPN`.
    rpn_anchor_generator : AnchorGenerator, optional
        Generates the anchors (``rpn.anchor_generator``); replaces ``anchor_sizes`` and
        ``aspect_ratios``.
    rpn_head : lucid.nn.Module, optional
        Maps levels to logits (N, T) and deltas (N, T, 4) of all T anchors (``rpn.head``), like
        :class:`~lucid_models_detection.faster_rcnn.RPNHead`.
    rpn_matcher : Matcher, optional
        Matches anchors to ground truth (``rpn.proposal_matcher``); replaces ``rpn_positive_iou``
        and ``rpn_negative_iou``.
    rpn_sampler : BalancedPositiveNegativeSampler, optional
        Samples the anchors of the losses (``rpn.fg_bg_sampler``).
    rpn_box_coder : BoxCoder, optional
        Encodes boxes as deltas from anchors (``rpn.box_coder``).
    box_roi_pool : MultiScaleRoIAlign, optional
        Pools the features of proposals (``roi_heads.box_roi_pool``); replaces ``pool_size``.
    box_head : lucid.nn.Module, optional
        Maps pooled features to (R, F) (``roi_heads.box_head``); replaces ``hidden_dim``.
    box_predictor : lucid.nn.Module, optional
        Maps (R, F) to logits (R, C) and deltas (R, C, 4) (``roi_heads.box_predictor``), like
        :class:`~lucid_models_detection.faster_rcnn.BoxPredictor`, and has ``num_classes``.
    box_matcher : Matcher, optional
        Matches proposals to ground truth (``roi_heads.proposal_matcher``); replaces
        ``box_positive_iou``.
    box_sampler : BalancedPositiveNegativeSampler, optional
        Samples the proposals of the losses (``roi_heads.fg_bg_sampler``); replaces
        ``box_batch_size_per_image`` and ``box_positive_fraction``.
    box_coder : BoxCoder, optional
        Encodes boxes as deltas from proposals (``roi_heads.box_coder``).
    **options
        Options of :class:`~lucid_models_detection.FasterRCNNConfig`.

    Attributes
    ----------
    backbone : BackboneWithFPN
        ``backbone.net`` is the complete ``net``, ``backbone.fpn`` the feature pyramid.
    rpn : RegionProposalNetwork
        First stage.
    roi_heads : RoIHeads
        Second stage.
    transform : GeneralizedRCNNTransform
        Normalizes, resizes and batches images.
    config : FasterRCNNConfig
        The options, validated and complete.
    num_classes : int
        C, background included.

    Raises
    ------
    TypeError
        If an option is unknown or of the wrong type.
    ValueError
        If a value is invalid, or a part does not fit the others; names its argument.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection import FasterRCNN
    >>> from lucid_models_detection.parts import AnchorGenerator
    >>> net = lucid.models.create_model("resnet_18")
    >>> anchors = AnchorGenerator([(8,), (16,), (32,), (64,), (128,)], [(1.0,)] * 5)
    >>> model = FasterRCNN(net, num_classes=3, rpn_anchor_generator=anchors, hidden_dim=16)
    >>> model.rpn.head.cls_logits.weight.shape
    (1, 256, 1, 1)
    """

    head_prefixes = ("roi_heads.box_predictor.",)
    config_class = FasterRCNNConfig
    generic_builder = "faster_rcnn_fpn"

    def __init__(
        self,
        net: nn.Module,
        num_classes: int | None = None,
        *,
        fpn: nn.Module | None = None,
        rpn_anchor_generator: AnchorGenerator | None = None,
        rpn_head: nn.Module | None = None,
        rpn_matcher: Matcher | None = None,
        rpn_sampler: BalancedPositiveNegativeSampler | None = None,
        rpn_box_coder: BoxCoder | None = None,
        box_roi_pool: MultiScaleRoIAlign | None = None,
        box_head: nn.Module | None = None,
        box_predictor: nn.Module | None = None,
        box_matcher: Matcher | None = None,
        box_sampler: BalancedPositiveNegativeSampler | None = None,
        box_coder: BoxCoder | None = None,
        **options: Any,
    ) -> None:
        check_options(options, self.valid_options(), "FasterRCNN")
        check_replaced(
            options,
            _REPLACED,
            rpn_anchor_generator=rpn_anchor_generator,
            rpn_matcher=rpn_matcher,
            box_roi_pool=box_roi_pool,
            box_head=box_head,
            box_matcher=box_matcher,
            box_sampler=box_sampler,
        )
        num_classes = number_of_classes(num_classes, "box_predictor", box_predictor, "num_classes")
        config = FasterRCNNConfig(**options)
        backbone = BackboneWithFPN(net, extra_blocks=LastLevelMaxPool(), fpn=fpn)
        check_strides(
            backbone.strides[: len(backbone.channels)], f"{type(net).__name__}.feature_strides"
        )
        mean, std = config.image_mean, config.image_std
        sizes = config.min_size, config.max_size
        super().__init__(backbone, GeneralizedRCNNTransform(mean, std, *sizes, backbone.stride))
        if rpn_anchor_generator is None:
            config = config.for_levels(backbone.strides, backbone.level_names)
        self.config = config
        self.rpn = build_rpn(
            config,
            backbone,
            anchors=rpn_anchor_generator,
            head=rpn_head,
            matcher=rpn_matcher,
            sampler=rpn_sampler,
            box_coder=rpn_box_coder,
        )
        self.roi_heads = build_roi_heads(
            config,
            backbone,
            num_classes,
            pooler=box_roi_pool,
            head=box_head,
            predictor=box_predictor,
            matcher=box_matcher,
            sampler=box_sampler,
            box_coder=box_coder,
        )

    nms_threshold = RenamedAttribute("roi_heads.nms_threshold")
    detections_per_image = RenamedAttribute("roi_heads.detections_per_image")
    box_predictor = RenamedAttribute("roi_heads.box_predictor")

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes of the box predictor, background included."""
        predictor = self.roi_heads.box_predictor
        if not hasattr(predictor, "num_classes"):
            raise TypeError(
                "roi_heads.box_predictor: expected a module with num_classes, such as "
                f"BoxPredictor(in_features, num_classes), got {type(predictor).__name__}"
            )
        return int(predictor.num_classes)

    def compute_losses(
        self, features: list[Tensor], batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Compute the losses of both stages; see :meth:`.Detector.compute_losses`."""
        proposals, losses = self.rpn(features, batch, targets)
        pooled = self._pooled_levels(features)
        return {**losses, **self.roi_heads.compute_losses(pooled, batch, proposals, targets)}

    def detect(self, features: list[Tensor], batch: ImageList) -> list[Detections]:
        """Detect objects in a batch; see :meth:`.Detector.detect`."""
        proposals, _ = self.rpn(features, batch)
        found: list[Detections] = self.roi_heads.detect(
            self._pooled_levels(features), batch, proposals
        )
        return found

    def raw_outputs(self, features: list[Tensor], batch: ImageList) -> tuple[Tensor, Tensor]:
        """Compute logits and deltas of the proposals, the result of ``model(x)``.

        Returns
        -------
        cls_logits : Tensor
            (N, R, C) logits of the R proposals of :meth:`propose`.  R is ``rpn_post_nms_top_n`` in
            prediction, or the number of anchors if that is less.
        bbox_deltas : Tensor
            (N, R, 4) deltas of each proposal's best-scoring foreground class.
        """
        proposals, _ = self.rpn(features, batch, fill=True)
        cls_logits, deltas = self.roi_heads(self._pooled_levels(features), batch, proposals)
        best = 1 + cls_logits.data[:, 1:].argmax(axis=1)
        deltas = deltas[np.arange(len(best)), best]
        n = len(proposals)
        return cls_logits.reshape(n, -1, self.num_classes), deltas.reshape(n, -1, 4)

    def _pooled_levels(self, levels: list[Tensor]) -> list[Tensor]:
        """Levels to pool from, one per stage of the backbone."""
        return levels[: len(self.backbone.channels)]

    @property
    def score_threshold(self) -> float:
        """Minimum score of detections, initially ``box_score_threshold``."""
        return self.roi_heads.score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        self.roi_heads.score_threshold = value

    def propose(self, x: Tensor) -> Tensor:
        """Compute the proposals of the rows of ``model(x)``.

        Parameters
        ----------
        x : Tensor
            (N, 3, H, W), not normalized.

        Returns
        -------
        Tensor
            (N, R, 4) xyxy in pixels of ``x``, by descending score; the best suppressed
            proposals last, if NMS leaves fewer than R.
        """
        with no_grad():
            batch = raw_batch(x, self.transform.size_divisible)
            proposals, _ = self.rpn(self.backbone(batch.tensor), batch, fill=True)
        return Tensor(np.stack(proposals))
