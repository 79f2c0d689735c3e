"""Options of Faster R-CNN.

Defaults are torchvision's, except for three anchor sizes per level instead of one, 300
proposals in prediction as in the paper, and no resizing of images.
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
    """Options of :class:`FasterRCNN`.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, the anchor sizes (square roots of their areas) in pixels, or one number.
        Default: three sizes per octave from 8 times the level's stride: 32, 40.3 and 50.8 on P2,
        doubling with each level up to P6.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Height-to-width ratios of all levels, or one sequence per level.
    min_size : int or sequence of int, optional
        Length of the shorter side after resizing.  From several, training draws one per image and
        prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Upper bound of the longer side after resizing; alone, it only shrinks images.
        Default: no limit.
    image_mean, image_std : sequence of float
        Per-channel mean and standard deviation for normalization.  Default: ImageNet's.
    rpn_pre_nms_top_n : int or (int, int), default (2000, 1000)
        Number of proposals per level before NMS, in training and in prediction.
    rpn_post_nms_top_n : int or (int, int), default (2000, 300)
        Number of proposals per image after NMS, in training and in prediction.
    rpn_nms_threshold : float, default 0.7
        IoU above which a proposal suppresses another of its level.
    rpn_positive_iou, rpn_negative_iou : float, default 0.7 and 0.3
        Minimum IoU of foreground anchors, and IoU below which an anchor is background.
    box_score_threshold : float, default 0.05
        Scores of detections must be greater.
    box_nms_threshold : float, default 0.5
        IoU above which a detection suppresses another of its class.
    box_detections_per_image : int, default 100
        Maximum number of detections per image.
    box_positive_iou : float, default 0.5
        Minimum IoU of foreground proposals.
    box_batch_size_per_image : int, default 512
        Number of proposals per image that are sampled for the losses.
    box_positive_fraction : float, default 0.25
        Maximum fraction of foreground proposals among them.
    hidden_dim : int, default 1024
        Width of the two fully connected layers of the box head.
    pool_size : int, default 7
        Output size of RoIAlign.

    Raises
    ------
    TypeError, ValueError
        If a value is invalid or contradicts another; names the option.
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
