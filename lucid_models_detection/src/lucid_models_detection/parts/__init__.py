"""Parts of object detectors, from which your own detector can be built.

A subclass of :class:`lucid_models_detection.Detector` gets a normalized :class:`ImageBatch`
from its :class:`Transform` and implements the losses and the detections.  A one-stage
detector needs anchors on the levels of a feature pyramid, a matcher that assigns them to
objects, a box coder, losses, and the selection of detections.  A two-stage detector also
samples regions and pools their features.

N images, L levels of a pyramid, A anchors at each location, M objects of an image.  Boxes
are xyxy in pixels.
"""

from lucid.hints import explain_missing, explain_names
from lucid.nn.functional import sigmoid_focal_loss
from lucid_models_detection.detections import Detections
from lucid_models_detection.parts.anchors import AnchorGenerator
from lucid_models_detection.parts.backbone import PyramidBackbone
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.dense_head import DenseHead
from lucid_models_detection.parts.fpn import (
    ExtraLevels,
    FeaturePyramid,
    LastLevelMaxPool,
    LastLevelP6P7,
)
from lucid_models_detection.parts.losses import ciou_loss, diou_loss, giou_loss
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.pooler import MultiScaleRoIAlign, roi_align
from lucid_models_detection.parts.sampler import BalancedSampler
from lucid_models_detection.parts.selection import select_detections
from lucid_models_detection.spellings import NAMES
from lucid_models_detection.targets import Target
from lucid_models_detection.transform import ImageBatch, Transform

__all__ = [
    "AnchorGenerator",
    "BalancedSampler",
    "BoxCoder",
    "DenseHead",
    "Detections",
    "ExtraLevels",
    "FeaturePyramid",
    "ImageBatch",
    "LastLevelMaxPool",
    "LastLevelP6P7",
    "Matcher",
    "MultiScaleRoIAlign",
    "PyramidBackbone",
    "Target",
    "Transform",
    "ciou_loss",
    "diou_loss",
    "giou_loss",
    "roi_align",
    "select_detections",
    "sigmoid_focal_loss",
]

explain_names(__name__, lambda: NAMES)
explain_missing(globals())
