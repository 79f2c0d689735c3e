"""Options of Faster R-CNN.

Defaults are torchvision's, except for the anchors (three sizes a level instead of one), the
number of proposals in prediction (300, as in the paper) and the size of images, which are not
resized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lucid_models_detection.config import (
    DetectorConfig,
    config_field,
    count_or_pair,
    fraction,
    positive_int,
)

__all__ = ["FasterRCNNConfig"]


@dataclass(frozen=True, kw_only=True)
class FasterRCNNConfig(DetectorConfig):
    """Options of a :class:`FasterRCNN` beside its backbone and its classes.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, square roots of the anchors' areas in pixels; a plain number
        for a level with one size.  Default: three sizes an octave, from 8 times the
        level's stride: 32, 40.3 and 50.8 on P2, doubling with each level up to P6.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Heights divided by widths, of all levels or one sequence for each.
    min_size : int or sequence of int, optional
        Length that the shorter side is resized to; of several, training draws one
        for each image and prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Length that the longer side may not exceed after that; by itself it only
        shrinks images.  Default: no limit.
    image_mean, image_std : sequence of float
        Of each color, subtracted and divided by; ImageNet's by default.
    rpn_pre_nms_top_n : int or (int, int), default (2000, 1000)
        Best anchors of each level that go into non-maximum suppression, in training
        and in prediction.
    rpn_post_nms_top_n : int or (int, int), default (2000, 300)
        Proposals of an image, in training and in prediction.
    rpn_nms_threshold : float, default 0.7
        IoU above which a proposal suppresses another of its level.
    rpn_positive_iou, rpn_negative_iou : float, default 0.7 and 0.3
        An anchor is foreground from the first on, background below the second.
    box_score_threshold : float, default 0.05
        Detections need a greater score.
    box_nms_threshold : float, default 0.5
        IoU above which a detection suppresses another of its class.
    box_detections_per_image : int, default 100
        Detections of an image at most.
    box_positive_iou : float, default 0.5
        IoU from which on a proposal is an example of its object.
    box_batch_size_per_image : int, default 512
        Proposals of an image that the second stage is trained on.
    box_positive_fraction : float, default 0.25
        Largest share of those that are examples of objects.
    hidden_dim : int, default 1024
        Width of the two fully connected layers of the second stage.
    pool_size : int, default 7
        Bins of RoIAlign either way.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind, out of range or at odds with another one;
        names the argument, what was expected and what arrived.
    """

    anchor_scale: ClassVar[float] = 8.0

    rpn_pre_nms_top_n: tuple[int, int] = config_field((2000, 1000), count_or_pair)
    rpn_post_nms_top_n: tuple[int, int] = config_field((2000, 300), count_or_pair)
    rpn_nms_threshold: float = config_field(0.7, fraction)
    rpn_positive_iou: float = config_field(0.7, fraction)
    rpn_negative_iou: float = config_field(0.3, fraction)
    box_score_threshold: float = config_field(0.05, fraction)
    box_nms_threshold: float = config_field(0.5, fraction)
    box_detections_per_image: int = config_field(100, positive_int)
    box_positive_iou: float = config_field(0.5, fraction)
    box_batch_size_per_image: int = config_field(512, positive_int)
    box_positive_fraction: float = config_field(0.25, fraction)
    hidden_dim: int = config_field(1024, positive_int)
    pool_size: int = config_field(7, positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("rpn_negative_iou", "rpn_positive_iou")
