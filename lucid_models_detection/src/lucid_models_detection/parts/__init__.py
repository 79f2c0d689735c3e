"""Building blocks of object detectors.

A subclass of :class:`lucid_models_detection.Detector` computes losses and detections of a
normalized :class:`ImageList`.  A one-stage detector consists of a feature pyramid, anchors, a
matcher, a box coder, losses and postprocessing.  A two-stage detector also samples proposals
and pools their features.

N images, L levels, A anchors per location, M objects of an image.  Boxes are xyxy in pixels.
"""

from lucid.hints import add_attribute_hints, register_hints
from lucid.nn.functional import sigmoid_focal_loss
from lucid_models_detection.detections import Detections
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.parts.anchor_generator import AnchorGenerator
from lucid_models_detection.parts.backbone_with_fpn import BackboneWithFPN
from lucid_models_detection.parts.box_coder import BoxCoder
from lucid_models_detection.parts.dense_head import DenseHead
from lucid_models_detection.parts.fpn import (
    ExtraFPNBlock,
    FeaturePyramidNetwork,
    LastLevelMaxPool,
    LastLevelP6P7,
)
from lucid_models_detection.parts.losses import ciou_loss, diou_loss, giou_loss
from lucid_models_detection.parts.matcher import Matcher
from lucid_models_detection.parts.postprocess import postprocess_detections
from lucid_models_detection.parts.roi_align import MultiScaleRoIAlign, roi_align
from lucid_models_detection.parts.sampler import BalancedPositiveNegativeSampler
from lucid_models_detection.torchvision_names import NAMES
from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList

__all__ = [
    "AnchorGenerator",
    "BackboneWithFPN",
    "BalancedPositiveNegativeSampler",
    "BoxCoder",
    "DenseHead",
    "Detections",
    "ExtraFPNBlock",
    "FeaturePyramidNetwork",
    "GeneralizedRCNNTransform",
    "GroundTruth",
    "ImageList",
    "LastLevelMaxPool",
    "LastLevelP6P7",
    "Matcher",
    "MultiScaleRoIAlign",
    "ciou_loss",
    "diou_loss",
    "giou_loss",
    "postprocess_detections",
    "roi_align",
    "sigmoid_focal_loss",
]

register_hints(__name__, lambda: NAMES)
add_attribute_hints(globals())
