"""Options of RetinaNet; the defaults are torchvision's, but images are not resized."""

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
    """Options of a :class:`RetinaNet` beside its backbone and its classes.

    Parameters
    ----------
    anchor_sizes : sequence, optional
        For each level, square roots of the anchors' areas in pixels; a number for a level
        with one size.  Default: three sizes an octave, from 4 times the level's stride, rounded
        down to whole pixels: 32, 40 and 50 on P3 to 512, 645 and 812 on P7.
    aspect_ratios : sequence, default (0.5, 1.0, 2.0)
        Heights divided by widths, of all levels or one sequence for each.
    min_size : int or sequence of int, optional
        Length that the shorter side is resized to; of several, training draws one for each
        image and prediction takes the last.  Default: no resizing.
    max_size : int, optional
        Upper bound of the longer side after resizing.  Default: no limit.
    image_mean, image_std : sequence of float
        Of each color, subtracted and divided by; ImageNet's by default.
    positive_iou, negative_iou : float, default 0.5 and 0.4
        An anchor is foreground from the first on, background below the second and ignored
        in between.
    score_threshold : float, default 0.05
        Detections need a greater score.
    candidates_per_level : int, default 1000
        Best predictions of each level that go into non-maximum suppression.
    nms_threshold : float, default 0.5
        IoU above which a detection suppresses another of its class.
    detections_per_image : int, default 300
        Maximum number of detections of an image.
    channels : int, default 256
        Channels of the pyramid's levels and of the heads.

    Raises
    ------
    TypeError, ValueError
        If a value is of the wrong kind, out of range or contradicts another one; names the
        option, what was expected and what was given.
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
        """Anchor sizes of a level, in whole pixels as in torchvision."""
        return tuple(float(int(size)) for size in super().default_sizes(stride))
