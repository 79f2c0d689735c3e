"""Second stage: what is in each proposed region, and where exactly.

Girshick 2015, "Fast R-CNN" (arXiv:1504.08083), with the head of Lin et al. 2017
(arXiv:1612.03144), section 4.2: two fully connected layers, then a class and, for
each class, four offsets.

N images, R regions of all images together, C classes with background as class 0,
D detections of an image, S bins of a region either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lucid import Tensor, nn
from lucid.nn import functional as F
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.detections import Detections
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.roi_align import MultiScaleRoIAlign, to_rois
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.torchvision_names import RenamedAttribute
from lucid_models_detection.transform import ImageList

__all__ = ["BoxHead", "BoxPredictor", "RoIHeads"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Detections narrower or lower than this many pixels are dropped.
_MIN_SIZE = 1e-2


class BoxHead(nn.Module):
    """Two fully connected layers on the pooled features of a region.

    Parameters
    ----------
    in_channels : int
        Of the pyramid.
    pool_size : int
        S.
    hidden_dim : int
        Width of both layers.
    """

    def __init__(self, in_channels: int, pool_size: int, hidden_dim: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(in_channels * pool_size**2, hidden_dim)
        self.fc7 = nn.Linear(hidden_dim, hidden_dim)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (R, in_channels, S, S) to (R, hidden_dim)."""
        return F.relu(self.fc7(F.relu(self._flatten_and_project(pooled))))

    def _flatten_and_project(self, pooled: Tensor) -> Tensor:
        """``fc6(pooled.flatten(1))``, copying the smaller of the two operands.

        The weights expect a region channel by channel, as everyone's checkpoints
        have it, but in memory its channels stand last.  One of the two has to be
        brought into the order of the other: the regions when there are few, as in
        prediction, else the weights.
        """
        count, channels, height, width = pooled.shape
        weight = self.fc6.weight
        if count <= weight.shape[0]:
            # As a layer, so that summaries and hooks see it.
            projected: Tensor = self.fc6(pooled.flatten(1))
            return projected
        rows = pooled.permute(0, 2, 3, 1).reshape(count, -1)
        by_place = weight.reshape(-1, channels, height * width).transpose(1, 2)
        return F.linear(rows, by_place.reshape(weight.shape), self.fc6.bias)


class BoxPredictor(nn.Module):
    """A score for each class and four offsets for each class.

    Parameters
    ----------
    in_features : int
        Width of the layer before.
    num_classes : int
        C, background included.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.cls_score = nn.Linear(in_features, num_classes)
        self.bbox_pred = nn.Linear(in_features, 4 * num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, in_features) to logits (R, C) and offsets (R, C, 4)."""
        logits, offsets = self.cls_score(x), self.bbox_pred(x)
        count = self.num_classes
        if logits.shape[1] != count or offsets.shape[1] != 4 * count:
            raise ValueError(
                f"box_predictor: expected {count} logits and {4 * count} offsets for num_classes="
                f"{count}, got {logits.shape[1]} and {offsets.shape[1]}; for other classes "
                f"exchange the whole box_predictor: BoxPredictor({x.shape[1]}, num_classes)"
            )
        return logits, offsets.reshape(*logits.shape, 4)


class RoIHeads(nn.Module):
    """Pool each region, classify it, refine its box; train on a sample of regions.

    Parameters
    ----------
    box_roi_pool : MultiScaleRoIAlign
        Cuts a map of fixed size for each proposal.
    box_head : BoxHead
        Turns the maps into vectors.
    box_predictor : BoxPredictor
        Predicts classes and offsets from the vectors.
    proposal_matcher : Matcher
        Assigns proposals to ground truth.
    fg_bg_sampler : BalancedPositiveNegativeSampler
        Chooses the proposals that the losses are computed on.
    score_threshold : float
        Detections need a greater score.
    nms_threshold : float
        IoU above which a detection suppresses another of its class.
    detections_per_image : int
        Maximum number of detections.
    box_coder : BoxCoder, optional
        Encodes and decodes boxes; by default with the weights (10, 10, 5, 5).
    """

    score_thresh = RenamedAttribute("score_threshold")
    nms_thresh = RenamedAttribute("nms_threshold")
    detections_per_img = RenamedAttribute("detections_per_image")

    def __init__(
        self,
        box_roi_pool: MultiScaleRoIAlign,
        box_head: BoxHead,
        box_predictor: BoxPredictor,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        score_threshold: float,
        nms_threshold: float,
        detections_per_image: int,
        *,
        box_coder: BoxCoder | None = None,
    ) -> None:
        super().__init__()
        self.box_roi_pool = box_roi_pool
        self.box_head = box_head
        self.box_predictor = box_predictor
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder or BoxCoder((10.0, 10.0, 5.0, 5.0))
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.detections_per_image = detections_per_image

    def forward(
        self, levels: Sequence[Tensor], batch: ImageList, proposals: Sequence[Array]
    ) -> tuple[Tensor, Tensor]:
        """Classify regions and refine their boxes.

        Parameters
        ----------
        levels : sequence of Tensor
            Maps (N, channels, H_l, W_l) of the levels to pool from, finest first.
        batch : ImageList
            The images they were computed from.
        proposals : sequence of numpy.ndarray
            For each image (R_i, 4) xyxy.

        Returns
        -------
        cls_logits, bbox_deltas : Tensor
            (R, C) and (R, C, 4), image by image in the order of the proposals.
        """
        strides = [batch.padded_size[0] // level.shape[2] for level in levels]
        pooled = self.box_roi_pool(levels, to_rois(proposals), strides)
        logits, deltas = self.box_predictor(self.box_head(pooled))
        return logits, deltas

    def assign_targets_to_proposals(
        self, proposals: Array, target: GroundTruth
    ) -> tuple[Array, Array]:
        """Match the proposals of an image.

        Returns
        -------
        labels : numpy.ndarray
            (P,) int64 class of the matched object, 0 for background.
        matches : numpy.ndarray
            (P,) int64 index of the matched ground-truth box, where there is one.
        """
        matches = self.proposal_matcher(box_ops.iou(target.boxes, proposals))
        labels = np.zeros(len(proposals), np.int64)
        matched = matches >= 0
        labels[matched] = target.labels[matches[matched]]
        return labels, matches

    def compute_losses(
        self,
        levels: Sequence[Tensor],
        batch: ImageList,
        proposals: Sequence[Array],
        targets: Sequence[GroundTruth],
    ) -> dict[str, Tensor]:
        """``loss_classifier`` and ``loss_box_reg`` over a sample of the proposals.

        The ground-truth boxes join the proposals, so that there are examples of
        every object before the first stage has learnt to find any.
        """
        regions, all_labels, gt_deltas = [], [], []
        for proposed, target in zip(proposals, targets, strict=True):
            candidates = np.concatenate([proposed, target.boxes.astype(proposed.dtype)])
            labels, matches = self.assign_targets_to_proposals(candidates, target)
            sampled = np.sort(np.concatenate(self.fg_bg_sampler(labels)))
            regions.append(candidates[sampled])
            all_labels.append(labels[sampled])
            positive = sampled[labels[sampled] > 0]
            gt_deltas.append(
                self.box_coder.encode(target.boxes[matches[positive]], candidates[positive])
            )
        cls_logits, bbox_deltas = self(levels, batch, regions)
        gt_labels = np.concatenate(all_labels)
        positive = np.flatnonzero(gt_labels)
        # Without any region (everything suppressed, nothing to learn) both are 0, not 0 / 0.
        count = max(1, len(gt_labels))
        gt = np.concatenate(gt_deltas).astype(bbox_deltas.dtype, copy=False)
        return {
            "loss_classifier": F.cross_entropy(cls_logits, Tensor(gt_labels), reduction="sum")
            / count,
            "loss_box_reg": F.smooth_l1_loss(
                bbox_deltas[positive, gt_labels[positive]], Tensor(gt), reduction="sum", beta=1 / 9
            )
            / count,
        }

    def detect(
        self, levels: Sequence[Tensor], batch: ImageList, proposals: Sequence[Array]
    ) -> list[Detections]:
        """Detections of each image, in the pixels of the batch."""
        cls_logits, bbox_deltas = self(levels, batch, proposals)
        bounds = np.cumsum([len(p) for p in proposals])[:-1]
        per_image = zip(
            np.split(_softmax(cls_logits.data), bounds),
            np.split(bbox_deltas.data, bounds),
            proposals,
            batch.sizes,
            strict=True,
        )
        return [self._detections(*arrays) for arrays in per_image]

    def _detections(
        self, scores: Array, deltas: Array, proposals: Array, size: tuple[int, int]
    ) -> Detections:
        """Of one image, from (R_i, C) probabilities and (R_i, C, 4) offsets."""
        region, label = np.nonzero(scores[:, 1:] > self.score_threshold)
        label += 1
        score = scores[region, label]
        # Most classes of most regions end here: only what is left is decoded.
        boxes = self.box_coder.decode(deltas[region, label], proposals[region])
        boxes = box_ops.clip(boxes, size)
        kept = box_ops.remove_small_boxes(boxes, _MIN_SIZE)
        kept = kept[np.isfinite(boxes[kept]).all(axis=1)]
        best = box_ops.batched_nms(boxes[kept], score[kept], label[kept], self.nms_threshold)
        kept = kept[best[: self.detections_per_image]]
        return {
            "boxes": boxes[kept].astype(np.float32),
            "labels": label[kept].astype(np.int64),
            "scores": score[kept].astype(np.float32),
        }


def _softmax(logits: Array) -> Array:
    # Infinite or NaN logits give NaN, and a NaN is greater than no threshold.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
