"""RoI heads: classification and box regression of proposals.

Girshick 2015, "Fast R-CNN" (arXiv:1504.08083), with the box head of Lin et al. 2017
(arXiv:1612.03144), section 4.2.

N images, R proposals of all images, C classes with background as class 0, D detections of an
image, S bins of a region per side.
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

#: Minimum width and height of detections in pixels.
_MIN_SIZE = 1e-2


class BoxHead(nn.Module):
    """Two fully connected layers with ReLU on pooled features.

    Parameters
    ----------
    in_channels : int
        Channels of the feature pyramid.
    pool_size : int
        S, the size of the pooled features.
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
        """Compute ``fc6(pooled.flatten(1))``, copying the smaller of the two operands.

        The weights are channels-first, as in checkpoints; ``pooled`` is channels-last in memory.
        With few regions (prediction) the regions are reordered, else the weights.
        """
        count, channels, height, width = pooled.shape
        weight = self.fc6.weight
        if count <= weight.shape[0]:
            # Call the module, so that hooks run.
            projected: Tensor = self.fc6(pooled.flatten(1))
            return projected
        rows = pooled.permute(0, 2, 3, 1).reshape(count, -1)
        by_position = weight.reshape(-1, channels, height * width).transpose(1, 2)
        return F.linear(rows, by_position.reshape(weight.shape), self.fc6.bias)


class BoxPredictor(nn.Module):
    """Linear layers for class logits and class-specific box deltas.

    Parameters
    ----------
    in_features : int
        Width of the box head.
    num_classes : int
        C, background included.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.cls_score = nn.Linear(in_features, num_classes)
        self.bbox_pred = nn.Linear(in_features, 4 * num_classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, in_features) to logits (R, C) and deltas (R, C, 4)."""
        logits, deltas = self.cls_score(x), self.bbox_pred(x)
        count = self.num_classes
        if logits.shape[1] != count or deltas.shape[1] != 4 * count:
            raise ValueError(
                f"box_predictor: expected {count} logits and {4 * count} deltas (num_classes="
                f"{count}), got {logits.shape[1]} and {deltas.shape[1]}; replace box_predictor "
                f"by BoxPredictor({x.shape[1]}, num_classes)"
            )
        return logits, deltas.reshape(*logits.shape, 4)


class RoIHeads(nn.Module):
    """Second stage: pool the features of proposals, classify them and regress their boxes.

    Parameters
    ----------
    box_roi_pool : MultiScaleRoIAlign
        Pools the features of each proposal.
    box_head : BoxHead
        Maps pooled features to vectors.
    box_predictor : BoxPredictor
        Predicts logits and deltas from the vectors.
    proposal_matcher : Matcher
        Matches proposals to ground truth.
    fg_bg_sampler : BalancedPositiveNegativeSampler
        Samples the proposals of the losses.
    score_threshold : float
        Scores of detections must be greater.
    nms_threshold : float
        IoU above which a detection suppresses another of its class.
    detections_per_image : int
        Maximum number of detections.
    box_coder : BoxCoder, optional
        Encodes and decodes boxes.  Default: weights (10, 10, 5, 5).
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
        """Predict logits and deltas of proposals.

        Parameters
        ----------
        levels : sequence of Tensor
            Maps (N, channels, H_l, W_l) to pool from, finest first.
        batch : ImageList
            The images.
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
            (P,) int64 index of the matched ground-truth box of foreground proposals.
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
        """Compute ``loss_classifier`` and ``loss_box_reg`` on a sample of the proposals.

        Ground-truth boxes are added to the proposals, so that every object has an example from the
        first step on.
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
        # Without proposals both losses are 0, not 0 / 0.
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
        """Return the detections of each image, in pixels of the batch."""
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
        """Postprocess one image's (R_i, C) probabilities and (R_i, C, 4) deltas."""
        region, label = np.nonzero(scores[:, 1:] > self.score_threshold)
        label += 1
        score = scores[region, label]
        # Decode only what exceeds the threshold.
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
    # Non-finite logits give NaN, which no threshold passes.
    with np.errstate(invalid="ignore"):
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
