"""RetinaNet with a feature pyramid network: the detector.

Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002).

N images, L levels, A anchors per location, T anchors of an image over all levels, C classes
with background as class 0, D detections of an image.  Boxes are xyxy in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid import Tensor, concatenate, nn
from lucid.nn import functional as F
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.config import check_options
from lucid_models_detection.detections import Detections
from lucid_models_detection.detector import Detector
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.backbone_with_fpn import BackboneWithFPN, stage_strides
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.checks import (
    apply_part,
    check_anchors,
    check_callable,
    check_members,
    check_replaced,
    check_shape,
    example_levels,
    number_of_classes,
)
from lucid_models_detection.parts.dense_head import DenseHead
from lucid_models_detection.parts.fpn import LastLevelP6P7
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.postprocess import postprocess_detections
from lucid_models_detection.retinanet.config import RetinaNetConfig
from lucid_models_detection.torchvision_names import RenamedAttribute
from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList

__all__ = ["RetinaNet"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Options that a given part makes useless.
_REPLACED = {
    "fpn": ("channels",),
    "anchor_generator": ("anchor_sizes", "aspect_ratios"),
    "proposal_matcher": ("positive_iou", "negative_iou"),
}
#: Minimum stride of the stages in use: C3 of a ResNet.
_FINEST_STRIDE = 8
#: Initial score of every class, against the dominance of background anchors (section 4.1).
_PRIOR = 0.01


class RetinaNet(Detector):
    """One-stage object detector: classify every anchor and regress its box.

    ``model(images, targets)`` returns the losses, ``model.predict(images)`` the detections; both
    normalize the images, which are in [0, 1].  ``model(x)`` runs the network on a batch **without
    normalizing** and returns raw outputs, see :meth:`raw_outputs`.  :meth:`.Detector.from_backbone`
    and the builders take the backbone by name.

    Parts are passed by keyword, or replaced later under the attribute in parentheses.  Options that
    a given part makes useless are refused.

    Parameters
    ----------
    net : lucid.nn.Module
        Backbone, a :class:`lucid.models.Backbone`; its stages of stride 8 and greater are used.
    num_classes : int, optional
        C, background included.  As in torchvision, background has a logit, which is trained to be
        low and never detected.  Default: that of ``classification_head``, or 21.
    fpn : lucid.nn.Module, optional
        Feature pyramid (``backbone.fpn``); replaces ``channels``; see
        :class:`~lucid_models_detection.parts.BackboneWithFPN`.
    anchor_generator : AnchorGenerator, optional
        Generates the anchors; replaces ``anchor_sizes`` and ``aspect_ratios``.
    classification_head, regression_head : lucid.nn.Module, optional
        Map levels to a list of logits (N, T_l, C), or deltas (N, T_l, 4), one per level, like
        :class:`~lucid_models_detection.parts.DenseHead`; the first has ``num_outputs``.
    proposal_matcher : Matcher, optional
        Matches anchors to ground truth; replaces ``positive_iou`` and ``negative_iou``.
    box_coder : BoxCoder, optional
        Encodes boxes as deltas.
    classification_loss : callable, optional
        ``classification_loss(logits, targets, reduction="none")`` of (N, T, C) logits and targets
        0 or 1.  Default: :func:`lucid.nn.functional.sigmoid_focal_loss`.
    box_loss : callable, optional
        ``box_loss(boxes, targets, reduction="none")`` of (K, 4) xyxy boxes with one loss per box,
        such as :func:`~lucid_models_detection.parts.giou_loss`.  Default: L1 loss of the deltas.
    **options
        Options of :class:`RetinaNetConfig`.

    Attributes
    ----------
    backbone : BackboneWithFPN
        ``backbone.net`` is the complete ``net``, ``backbone.fpn`` the feature pyramid.
    classification_head, regression_head : lucid_models_detection.parts.DenseHead
        Predict C logits and 4 deltas per anchor.
    anchor_generator : AnchorGenerator
        Generates the anchors.
    proposal_matcher : Matcher
        Matches anchors to ground truth.
    box_coder : BoxCoder
        Encodes boxes as deltas.
    config : RetinaNetConfig
        The options, validated and complete.

    Raises
    ------
    TypeError
        If an option is unknown or of the wrong type.
    ValueError
        If a value is invalid, a part does not fit the others (names its argument), or the backbone
        has no stage of stride 8 or greater.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection import RetinaNet
    >>> from lucid_models_detection.parts import giou_loss
    >>> net = lucid.models.create_model("resnet_18")
    >>> model = RetinaNet(net, num_classes=3, box_loss=giou_loss, channels=16)
    >>> target = {"boxes": [[8.0, 8.0, 40.0, 48.0]], "labels": [1]}
    >>> sorted(model([lucid.zeros(3, 64, 64)], [target]))
    ['bbox_regression', 'classification']
    """

    head_prefixes = ("classification_head.output.",)
    class_axis = 1
    config_class = RetinaNetConfig
    generic_builder = "retinanet_fpn"

    def __init__(
        self,
        net: nn.Module,
        num_classes: int | None = None,
        *,
        fpn: nn.Module | None = None,
        anchor_generator: AnchorGenerator | None = None,
        classification_head: nn.Module | None = None,
        regression_head: nn.Module | None = None,
        proposal_matcher: Matcher | None = None,
        box_coder: BoxCoder | None = None,
        classification_loss: Callable[..., Tensor] | None = None,
        box_loss: Callable[..., Tensor] | None = None,
        **options: Any,
    ) -> None:
        check_options(options, self.valid_options(), "RetinaNet")
        parts = {
            "fpn": fpn,
            "anchor_generator": anchor_generator,
            "proposal_matcher": proposal_matcher,
        }
        check_replaced(options, _REPLACED, **parts)
        check_callable(
            proposal_matcher=proposal_matcher,
            classification_loss=classification_loss,
            box_loss=box_loss,
        )
        check_members("box_coder", box_coder, "encode", "decode")
        num_classes = number_of_classes(
            num_classes, "classification_head", classification_head, "num_outputs"
        )
        config = RetinaNetConfig(**options)
        extra = LastLevelP6P7(config.channels, config.channels)
        backbone = BackboneWithFPN(
            net, config.channels, extra if fpn is None else None, _coarse_stages(net), fpn
        )
        sizes = config.min_size, config.max_size
        super().__init__(
            backbone,
            GeneralizedRCNNTransform(config.image_mean, config.image_std, *sizes, backbone.stride),
        )
        if anchor_generator is None:
            config = config.for_levels(backbone.strides, backbone.level_names)
            anchor_generator = AnchorGenerator(config.anchor_sizes, config.aspect_ratios)
        else:
            check_anchors("anchor_generator", anchor_generator, backbone.strides)
        self.config = config
        self.score_threshold = config.score_threshold
        self.anchor_generator = anchor_generator
        self.proposal_matcher = proposal_matcher or Matcher(
            config.positive_iou, config.negative_iou, allow_low_quality_matches=True
        )
        self.box_coder = box_coder or BoxCoder()
        self.classification_loss = classification_loss or F.sigmoid_focal_loss
        self.box_loss = box_loss
        prior = -math.log((1 - _PRIOR) / _PRIOR)
        self.classification_head = self._head(
            "classification_head", classification_head, num_classes, prior
        )
        self.regression_head = self._head("regression_head", regression_head, 4)

    def _head(self, name: str, head: Any, num_outputs: int, bias: float = 0.0) -> Any:
        """Build a head, or check the given one."""
        channels, num_anchors = (
            self.backbone.fpn.out_channels,
            self.anchor_generator.num_anchors_per_location,
        )
        if head is None:
            return DenseHead(channels, num_anchors, num_outputs, bias)
        check_callable(**{name: head})
        levels = example_levels(channels, self.backbone.strides)
        found = apply_part(name, head, f"{len(levels)} levels of {channels} channels", levels)
        if len(found) != len(levels):
            raise ValueError(
                f"{name}: expected one output per level ({len(levels)}), got {len(found)}"
            )
        axes = f"(N, H * W * A, {num_outputs}) for {num_anchors} anchors per location"
        for level, values in zip(levels, found, strict=True):
            count = level.shape[2] * level.shape[3] * num_anchors
            check_shape(name, head, values, (1, count, num_outputs), axes)
        return head

    score_thresh = RenamedAttribute("score_threshold")
    nms_threshold = RenamedAttribute("build the model with nms_threshold=")
    nms_thresh = RenamedAttribute("build the model with nms_threshold=")
    detections_per_image = RenamedAttribute("build the model with detections_per_image=")
    detections_per_img = RenamedAttribute("build the model with detections_per_image=")
    candidates_per_level = RenamedAttribute("build the model with candidates_per_level=")
    topk_candidates = RenamedAttribute("build the model with candidates_per_level=")

    @property
    def num_classes(self) -> int:  # type: ignore[override]
        """Number of classes of the classification head, background included."""
        if not hasattr(self.classification_head, "num_outputs"):
            raise TypeError(
                "classification_head: expected a module with num_outputs, such as "
                "DenseHead(channels, num_anchors, num_classes), got "
                f"{type(self.classification_head).__name__}"
            )
        return int(self.classification_head.num_outputs)

    def raw_outputs(self, features: list[Tensor], batch: ImageList) -> tuple[Tensor, Tensor]:
        """Compute logits and deltas of all anchors, the result of ``model(x)``.

        Returns
        -------
        cls_logits : Tensor
            (N, T, C), level by level, row by row, location by location.
        bbox_deltas : Tensor
            (N, T, 4) deltas from the anchors.
        """
        logits, deltas = self.classification_head(features), self.regression_head(features)
        return concatenate(logits, axis=1), concatenate(deltas, axis=1)

    def compute_losses(
        self, features: list[Tensor], batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Compute the focal loss of the classes and the L1 loss of the deltas.

        Both are divided by the number of foreground anchors of each image, at least 1, and averaged
        over images.

        Returns
        -------
        dict of str to Tensor
            ``classification`` and ``bbox_regression``.
        """
        logits, deltas = self.raw_outputs(features, batch)
        anchors = np.concatenate(self._level_anchors(features, batch))
        for name, found in (("classification_head", logits), ("regression_head", deltas)):
            if found.shape[1] != len(anchors):
                raise ValueError(
                    f"{name}: expected predictions for {len(anchors)} anchors, "
                    f"{self.anchor_generator.num_anchors_per_location} per location, got "
                    f"{found.shape[1]}"
                )
        if deltas.shape[2] != 4:
            raise ValueError(
                f"regression_head: expected 4 deltas per anchor, got {deltas.shape[2]}; replace it "
                "by DenseHead(channels, num_anchors, 4)"
            )
        wanted = np.zeros(logits.shape, logits.dtype)
        weights = np.zeros((*logits.shape[:2], 1), logits.dtype)
        rows, boxes, row_anchors, row_weights = [], [], [], []
        for i, target in enumerate(targets):
            matches = self.proposal_matcher(box_ops.iou(target.boxes, anchors))
            foreground = np.flatnonzero(matches >= 0)
            matched = matches[foreground]
            weight = 1 / (max(1, len(foreground)) * len(targets))
            wanted[i, foreground, target.labels[matched]] = 1
            weights[i, matches != Matcher.IGNORED] = weight
            rows.append(foreground + i * len(anchors))
            boxes.append(target.boxes[matched])
            row_anchors.append(anchors[foreground])
            row_weights.append(np.full((len(foreground), 1), weight, deltas.dtype))
        focal = self.classification_loss(logits, Tensor(wanted), reduction="none")
        distance = self._box_distance(
            deltas.reshape(-1, 4)[np.concatenate(rows)],
            np.concatenate(row_anchors),
            np.concatenate(boxes),
        )
        return {
            "classification": (focal * Tensor(weights)).sum(),
            "bbox_regression": (distance * Tensor(np.concatenate(row_weights))).sum(),
        }

    def _box_distance(self, deltas: Tensor, anchors: Array, boxes: Array) -> Tensor:
        """Loss (K, 4) of the deltas, or (K, 1) of the boxes, of K foreground anchors."""
        if self.box_loss is None:
            wanted = self.box_coder.encode(boxes, anchors).astype(deltas.dtype, copy=False)
            return F.l1_loss(deltas, Tensor(wanted), reduction="none")
        found = self.box_coder.decode_tensor(deltas, anchors.astype(deltas.dtype, copy=False))
        target = Tensor(boxes.astype(deltas.dtype, copy=False))
        return self.box_loss(found, target, reduction="none").reshape(-1, 1)

    def detect(self, features: list[Tensor], batch: ImageList) -> list[Detections]:
        """Detect objects in a batch; see :meth:`.Detector.detect`."""
        logits = [level.data for level in self.classification_head(features)]
        deltas = [offsets.data for offsets in self.regression_head(features)]
        anchors = self._level_anchors(features, batch)
        return [
            postprocess_detections(
                [level[i, :, 1:] for level in logits],  # without the background
                [level[i] for level in deltas],
                anchors,
                size,
                box_coder=self.box_coder,
                score_threshold=self.score_threshold,
                candidates_per_level=self.config.candidates_per_level,
                nms_threshold=self.config.nms_threshold,
                detections_per_image=self.config.detections_per_image,
                first_label=1,
                from_logits=True,
            )
            for i, size in enumerate(batch.sizes)
        ]

    def _level_anchors(self, features: list[Tensor], batch: ImageList) -> list[Array]:
        sizes = [(level.shape[2], level.shape[3]) for level in features]
        return self.anchor_generator(sizes, batch.padded_size)


def _coarse_stages(net: nn.Module) -> tuple[int, ...]:
    """Return the indices of the stages of stride 8 and greater."""
    strides = stage_strides(net)
    stages = tuple(i for i, stride in enumerate(strides) if stride >= _FINEST_STRIDE)
    if not stages:
        raise ValueError(
            f"{type(net).__name__}.feature_strides: expected a stride of {_FINEST_STRIDE} or "
            f"greater, got {strides}"
        )
    return stages
