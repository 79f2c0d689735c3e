"""Construction of the two stages of Faster R-CNN from a config and given parts."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid import Tensor
from lucid_models_detection.faster_rcnn.config import FasterRCNNConfig
from lucid_models_detection.faster_rcnn.roi_heads import BoxHead, BoxPredictor, RoIHeads
from lucid_models_detection.faster_rcnn.rpn import RegionProposalNetwork
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.backbone_with_fpn import BackboneWithFPN
from lucid_models_detection.parts.checks import (
    apply_part,
    check_anchors,
    check_callable,
    check_members,
    check_shape,
    example_levels,
    two_results,
)
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.roi_align import MultiScaleRoIAlign
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler

__all__ = ["build_roi_heads", "build_rpn"]

#: Anchors sampled per image for the losses of the RPN, and their maximum foreground fraction.
_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION = 256, 0.5


def build_rpn(
    config: FasterRCNNConfig,
    backbone: BackboneWithFPN,
    *,
    anchors: Any,
    head: Any,
    matcher: Any,
    sampler: Any,
    box_coder: Any,
) -> RegionProposalNetwork:
    """Build the RPN; parts are None for the default.  Raise if a given part does not fit."""
    check_callable(rpn_matcher=matcher, rpn_sampler=sampler, rpn_head=head)
    check_members("rpn_box_coder", box_coder, "encode", "decode")
    channels, strides = backbone.fpn.out_channels, backbone.strides
    if anchors is None:
        anchors = AnchorGenerator(config.anchor_sizes, config.aspect_ratios)
    else:
        check_anchors("rpn_anchor_generator", anchors, strides)
    if head is not None:
        levels = example_levels(channels, strides)
        total = (
            sum(level.shape[2] * level.shape[3] for level in levels)
            * anchors.num_anchors_per_location
        )
        inputs = f"{len(levels)} levels of {channels} channels"
        found = two_results("rpn_head", head, apply_part("rpn_head", head, inputs, levels))
        each = f"for {anchors.num_anchors_per_location} anchors per location"
        check_shape("rpn_head", head, found[0], (1, total), f"logits (N, T) {each}")
        check_shape("rpn_head", head, found[1], (1, total, 4), f"deltas (N, T, 4) {each}")
    return RegionProposalNetwork(
        channels,
        anchors,
        matcher
        or Matcher(
            config.rpn_positive_iou, config.rpn_negative_iou, allow_low_quality_matches=True
        ),
        sampler or BalancedPositiveNegativeSampler(_RPN_BATCH_SIZE, _RPN_POSITIVE_FRACTION),
        config.rpn_pre_nms_top_n,
        config.rpn_post_nms_top_n,
        config.rpn_nms_threshold,
        box_coder=box_coder,
        head=head,
    )


def build_roi_heads(
    config: FasterRCNNConfig,
    backbone: BackboneWithFPN,
    num_classes: int,
    *,
    pooler: Any,
    head: Any,
    predictor: Any,
    matcher: Any,
    sampler: Any,
    box_coder: Any,
) -> RoIHeads:
    """Build the RoI heads; parts are None for the default.  Raise if a given part does not fit."""
    check_callable(
        box_matcher=matcher,
        box_sampler=sampler,
        box_roi_pool=pooler,
        box_head=head,
        box_predictor=predictor,
    )
    check_members("box_coder", box_coder, "encode", "decode")
    pooled = _pooled(config, backbone, pooler)
    if head is None:
        count, channels, height, width = pooled.shape
        if height != width:
            raise ValueError(
                f"box_roi_pool: expected square pooled features, got {height} x {width}; pass "
                "box_head too"
            )
        head = BoxHead(channels, height, config.hidden_dim)
        features = Tensor(np.zeros((count, config.hidden_dim), np.float32))
    else:
        inputs = f"pooled features of shape {pooled.shape[1:]}"
        features = apply_part("box_head", head, inputs, pooled)
        check_shape("box_head", head, features, (1, None), "features (R, F)")
    width = features.shape[1]
    if predictor is None:
        predictor = BoxPredictor(width, num_classes)
    else:
        found = apply_part("box_predictor", predictor, f"{width} features", features)
        logits, deltas = two_results("box_predictor", predictor, found)
        check_shape("box_predictor", predictor, logits, (1, num_classes), "logits (R, C)")
        check_shape("box_predictor", predictor, deltas, (1, num_classes, 4), "deltas (R, C, 4)")
    return RoIHeads(
        pooler or MultiScaleRoIAlign(config.pool_size, sampling_ratio=2),
        head,
        predictor,
        matcher or Matcher(config.box_positive_iou, config.box_positive_iou),
        sampler
        or BalancedPositiveNegativeSampler(
            config.box_batch_size_per_image, config.box_positive_fraction
        ),
        config.box_score_threshold,
        config.box_nms_threshold,
        config.box_detections_per_image,
        box_coder=box_coder,
    )


def _pooled(config: FasterRCNNConfig, backbone: BackboneWithFPN, pooler: Any) -> Tensor:
    """Zeros of the shape of one pooled region."""
    channels = backbone.fpn.out_channels
    if pooler is None:
        return Tensor(np.zeros((1, channels, config.pool_size, config.pool_size), np.float32))
    strides = backbone.strides[: len(backbone.channels)]
    region = np.array([[0, 0, 0, strides[-1], strides[-1]]], np.float32)
    pooled: Tensor = apply_part(
        "box_roi_pool",
        pooler,
        f"levels at strides {strides}",
        example_levels(channels, strides),
        region,
        strides,
    )
    check_shape("box_roi_pool", pooler, pooled, (1, None, None, None), "features (R, C, S, S)")
    return pooled
