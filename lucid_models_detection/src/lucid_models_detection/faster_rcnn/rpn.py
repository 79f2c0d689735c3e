"""Region proposal network (RPN) on a feature pyramid.

Ren et al. 2015, "Faster R-CNN" (arXiv:1506.01497), section 3.1; Lin et al. 2017
(arXiv:1612.03144), section 4.1.

N images, L levels, A anchors per location, T anchors of an image over all levels (level by
level, row by row, location by location), P proposals of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lucid import Tensor, concatenate, nn
from lucid.nn import functional as F
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.postprocess import topk_indices
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.torchvision_names import RenamedAttribute
from lucid_models_detection.transform import ImageList

__all__ = ["RPNHead", "RegionProposalNetwork"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Minimum width and height of proposals in pixels.
_MIN_SIZE = 1e-3


class RPNHead(nn.Module):
    """3x3 convolution followed by 1x1 convolutions for objectness and box deltas.

    Parameters
    ----------
    channels : int
        Channels of every level.
    num_anchors : int
        A, the number of anchors per location.
    """

    def __init__(self, channels: int, num_anchors: int) -> None:
        super().__init__()
        self.conv = nn.ConvNormAct(channels, channels, 3, norm=None)
        self.cls_logits = nn.Conv2d(channels, num_anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * num_anchors, 1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.normal_(parameter, std=0.01)
            else:
                nn.init.zeros_(parameter)

    def forward(self, levels: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Predict objectness and deltas on every level.

        Parameters
        ----------
        levels : sequence of Tensor
            L maps (N, channels, H_l, W_l).

        Returns
        -------
        pred_objectness, pred_deltas : Tensor
            (N, T) logits and (N, T, 4) deltas.
        """
        objectness, deltas = [], []
        for level in levels:
            n = level.shape[0]
            hidden = self.conv(level)
            # Free of copies: tensors are channels-last in memory.
            objectness.append(self.cls_logits(hidden).permute(0, 2, 3, 1).reshape(n, -1))
            deltas.append(self.bbox_pred(hidden).permute(0, 2, 3, 1).reshape(n, -1, 4))
        return concatenate(objectness, axis=1), concatenate(deltas, axis=1)


class RegionProposalNetwork(nn.Module):
    """Region proposal network: head, anchors, losses and proposals.

    Parameters
    ----------
    channels : int
        Channels of every level.
    anchor_generator : AnchorGenerator
        Generates the anchors.
    proposal_matcher : Matcher
        Matches anchors to ground truth.
    fg_bg_sampler : BalancedPositiveNegativeSampler
        Samples the anchors of the losses.
    pre_nms_top_n, post_nms_top_n : (int, int)
        Number of proposals per level before NMS and per image after NMS, each in training and in
        prediction.
    nms_threshold : float
        IoU above which a proposal suppresses another of its level.
    box_coder : BoxCoder, optional
        Encodes and decodes boxes.  Default: ``BoxCoder()``.
    head : lucid.nn.Module, optional
        Maps levels to logits and deltas.  Default: :class:`RPNHead`.
    """

    nms_thresh = RenamedAttribute("nms_threshold")

    def __init__(
        self,
        channels: int,
        anchor_generator: AnchorGenerator,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        pre_nms_top_n: tuple[int, int],
        post_nms_top_n: tuple[int, int],
        nms_threshold: float,
        *,
        box_coder: BoxCoder | None = None,
        head: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.anchor_generator = anchor_generator
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder or BoxCoder()
        self.pre_nms_top_n = pre_nms_top_n
        self.post_nms_top_n = post_nms_top_n
        self.nms_threshold = nms_threshold
        self.head = (
            RPNHead(channels, anchor_generator.num_anchors_per_location) if head is None else head
        )

    def forward(
        self,
        levels: Sequence[Tensor],
        batch: ImageList,
        targets: Sequence[GroundTruth] | None = None,
        fill: bool = False,
    ) -> tuple[list[Array], dict[str, Tensor]]:
        """Compute proposals and, with targets, losses.

        Parameters
        ----------
        levels : sequence of Tensor
            L maps (N, channels, H_l, W_l), finest first.
        batch : ImageList
            The images.
        targets : sequence of GroundTruth, optional
            Ground truth; selects the training values of ``pre_nms_top_n`` and ``post_nms_top_n``.
        fill : bool, default False
            Fill up with suppressed proposals, by score, to ``min(post_nms_top_n, T)`` per image.

        Returns
        -------
        proposals : list of numpy.ndarray
            For each image (P, 4) xyxy inside the image, by descending score.
        losses : dict of str to Tensor
            ``loss_objectness`` and ``loss_rpn_box_reg``; empty without targets.
        """
        pred_objectness, pred_deltas = self.head(levels)
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        per_level = self.anchor_generator(sizes, batch.padded_size)
        anchors = np.concatenate(per_level)
        if pred_objectness.shape[1] != len(anchors):
            raise ValueError(
                f"rpn.head: expected predictions for {len(anchors)} anchors, "
                f"{self.anchor_generator.num_anchors_per_location} per location, got "
                f"{pred_objectness.shape[1]}"
            )
        bounds = np.cumsum([0, *map(len, per_level)])
        phase = 1 if targets is None else 0
        proposals = [
            self._filter_proposals(objectness, deltas, anchors, bounds, size, phase, fill)
            for objectness, deltas, size in zip(
                pred_objectness.data, pred_deltas.data, batch.sizes, strict=True
            )
        ]
        if targets is None:
            return proposals, {}
        return proposals, self._compute_losses(pred_objectness, pred_deltas, anchors, targets)

    def _filter_proposals(
        self,
        objectness: Array,
        deltas: Array,
        anchors: Array,
        bounds: Array,
        size: tuple[int, int],
        phase: int,
        fill: bool,
    ) -> Array:
        """Select the proposals of one image from its (T,) logits and (T, 4) deltas."""
        top_n, count = self.pre_nms_top_n[phase], self.post_nms_top_n[phase]
        best = [
            start + topk_indices(objectness[start:stop], top_n) for start, stop in pairwise(bounds)
        ]
        level = np.repeat(np.arange(len(best)), [len(b) for b in best])
        candidates = np.concatenate(best)
        boxes = self._decode(deltas, anchors, candidates, size)
        # Logits, since probabilities may round to ties.
        scores = objectness[candidates]
        valid = box_ops.remove_small_boxes(boxes, _MIN_SIZE)
        valid = valid[np.isfinite(boxes[valid]).all(axis=1) & ~np.isnan(scores[valid])]
        kept = valid[
            box_ops.batched_nms(boxes[valid], scores[valid], level[valid], self.nms_threshold)
        ][:count]
        chosen: Array = boxes[kept]
        missing = min(count, len(anchors)) - len(kept)
        if not fill or missing == 0:
            return chosen
        rest = np.ones(len(anchors), bool)
        rest[candidates[kept]] = False
        others = np.flatnonzero(rest)
        others = others[np.argsort(-objectness[others], kind="stable")[:missing]]
        filling = np.nan_to_num(self._decode(deltas, anchors, others, size))
        return np.concatenate([chosen, filling])

    def _decode(self, deltas: Array, anchors: Array, index: Array, size: tuple[int, int]) -> Array:
        decoded = self.box_coder.decode(deltas[index], anchors[index])
        return box_ops.clip(decoded, size)

    def assign_targets_to_anchors(self, anchors: Array, target: GroundTruth) -> tuple[Array, Array]:
        """Match the anchors of an image.

        Returns
        -------
        labels : numpy.ndarray
            (T,) int64: 1 foreground, 0 background, -1 ignored.
        matches : numpy.ndarray
            (T,) int64 index of the matched ground-truth box of foreground anchors.
        """
        matches = self.proposal_matcher(box_ops.iou(target.boxes, anchors))
        labels = np.where(matches == Matcher.IGNORED, -1, (matches >= 0).astype(np.int64))
        return labels, matches

    def _compute_losses(
        self,
        pred_objectness: Tensor,
        pred_deltas: Tensor,
        anchors: Array,
        targets: Sequence[GroundTruth],
    ) -> dict[str, Tensor]:
        total = len(anchors)
        positives, negatives, gt_deltas = [], [], []
        for i, target in enumerate(targets):
            labels, matches = self.assign_targets_to_anchors(anchors, target)
            positive, negative = self.fg_bg_sampler(labels)
            gt_deltas.append(
                self.box_coder.encode(target.boxes[matches[positive]], anchors[positive])
            )
            positives.append(positive + i * total)
            negatives.append(negative + i * total)
        positive = np.concatenate(positives)
        sampled = np.concatenate([positive, *negatives])
        dtype = pred_objectness.dtype
        gt_objectness = (np.arange(len(sampled)) < len(positive)).astype(dtype)
        return {
            "loss_objectness": F.binary_cross_entropy_with_logits(
                pred_objectness.reshape(-1)[sampled], Tensor(gt_objectness)
            ),
            "loss_rpn_box_reg": F.smooth_l1_loss(
                pred_deltas.reshape(-1, 4)[positive],
                Tensor(np.concatenate(gt_deltas).astype(dtype, copy=False)),
                reduction="sum",
                beta=1 / 9,
            )
            / len(sampled),
        }
