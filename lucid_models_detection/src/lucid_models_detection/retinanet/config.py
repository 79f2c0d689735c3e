"""Options of RetinaNet; the defaults are torchvision's, except that images are not resized."""

from __future__ import annotations

from dataclasses import dataclass

from lucid_models_detection.config import (
    DetectorConfig,
    config_field,
    fraction,
    positive_int,
)

__all__ = ["RetinaNetConfig"]


@dataclass(frozen=True, kw_only=True)
class RetinaNetConfig(DetectorConfig):
    """Options of :class:`RetinaNet`.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, the anchor sizes (square roots of their areas) in pixels, or one number.
        Default: three sizes per octave from 4 times the level's stride, in whole pixels: 32, 40
        and 50 on P3 to 512, 645 and 812 on P7.
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
    positive_iou, negative_iou : float, default 0.5 and 0.4
        Minimum IoU of foreground anchors, and IoU below which an anchor is background; between
        them, anchors are ignored.
    score_threshold : float, default 0.05
        Scores of detections must be greater.
    candidates_per_level : int, default 1000
        Maximum number of predictions per level before NMS.
    nms_threshold : float, default 0.5
        IoU above which a detection suppresses another of its class.
    detections_per_image : int, default 300
        Maximum number of detections per image.
    channels : int, default 256
        Channels of the feature pyramid and of the heads.

    Raises
    ------
    TypeError, ValueError
        If a value is invalid or contradicts another; names the option.
    """

    positive_iou: float = config_field(0.5, fraction)
    negative_iou: float = config_field(0.4, fraction)
    score_threshold: float = config_field(0.05, fraction)
    candidates_per_level: int = config_field(1000, positive_int)
    nms_threshold: float = config_field(0.5, fraction)
    detections_per_image: int = config_field(300, positive_int)
    channels: int = config_field(256, positive_int)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("negative_iou", "positive_iou")

    @classmethod
    def default_sizes(cls, stride: int) -> tuple[float, ...]:
        """Return the default anchor sizes of a level, in whole pixels as in torchvision."""
        return tuple(float(int(size)) for size in super().default_sizes(stride))
