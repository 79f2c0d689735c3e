"""Counterparts of names in ``torchvision.ops`` and ``torchvision.models.detection``.

:data:`NAMES` makes the errors for missing names; the tests run the code in backticks.
:class:`RenamedAttribute` marks attributes of torchvision's detectors with another name.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["NAMES", "RenamedAttribute"]

_BOXES = "lucid_models_detection.boxes"
_PARTS = "lucid_models_detection.parts"
_FAMILY = "lucid_models_detection.faster_rcnn"
_MODELS = "`from lucid.models import {}`"
_WEIGHTS = (
    'give the tag as create_model("faster_rcnn_resnet_50_fpn", weights="coco_v1"); '
    '`lucid.weights.list_weights("faster_rcnn_*")` lists the tags'
)
_NO_SUCH_DETECTOR = (
    'not in Lucid; `lucid.models.list_models(task="object-detection")` lists the detectors'
)

#: Remedies by torchvision's name or pattern, in the form of a table in
#: :data:`lucid.torch_names.ATTRIBUTES`.
NAMES: dict[str, str] = {
    **{
        name: f"`from {_PARTS} import {name}`"
        for name in (
            "AnchorGenerator",
            "BackboneWithFPN",
            "BalancedPositiveNegativeSampler",
            "BoxCoder",
            "ExtraFPNBlock",
            "FeaturePyramidNetwork",
            "LastLevelMaxPool",
            "LastLevelP6P7",
            "Matcher",
            "MultiScaleRoIAlign",
            "sigmoid_focal_loss",
        )
    },
    **{
        name: f"`from {_PARTS} import {own}`"
        for name, own in {
            "RetinaNetHead": "DenseHead",
            "generalized_box_iou_loss": "giou_loss",
            "distance_box_iou_loss": "diou_loss",
            "complete_box_iou_loss": "ciou_loss",
        }.items()
    },
    **{
        name: f"`from {_BOXES} import {own}`"
        for name, own in {
            "nms": "nms",
            "batched_nms": "batched_nms",
            "box_area": "area",
            "box_convert": "from_xywh",
            "box_iou": "iou",
            "generalized_box_iou": "giou",
            "clip_boxes_to_image": "clip",
            "remove_small_boxes": "remove_small_boxes",
        }.items()
    },
    **{
        name: f"`from {_FAMILY} import {own}`"
        for name, own in {
            "FastRCNNPredictor": "BoxPredictor",
            "TwoMLPHead": "BoxHead",
            "RPNHead": "RPNHead",
            "RegionProposalNetwork": "RegionProposalNetwork",
            "RoIHeads": "RoIHeads",
        }.items()
    },
    "GeneralizedRCNN": "`from lucid_models_detection import Detector`",
    "CocoDetection": "`from lucid_models_detection.data import CocoDetection`",
    "VOCDetection": "`from lucid_models_detection.data import VocDetection`",
    "draw_bounding_boxes": "`from lucid_models_detection.draw import draw_boxes`",
    "draw_boxes": "`from lucid_models_detection.draw import draw_boxes`",
    "ops": f"`import {_BOXES}, {_PARTS}`",
    "FrozenBatchNorm2d": "`from lucid.nn import FrozenBatchNorm2d`",
    "resnet_fpn_backbone": '`lucid_models_detection.FasterRCNN.from_backbone("resnet_18")`',
    "mobilenet_backbone": '`lucid_models_detection.FasterRCNN.from_backbone("mobilenet_v2")`',
    "fasterrcnn_resnet50_fpn": _MODELS.format("fasterrcnn_resnet50_fpn"),
    "retinanet_resnet50_fpn": _MODELS.format("retinanet_resnet50_fpn"),
    "*_Weights": _WEIGHTS,
    "maskrcnn_*": _NO_SUCH_DETECTOR,
    "keypointrcnn_*": _NO_SUCH_DETECTOR,
    "fasterrcnn_mobilenet_*": "not in Lucid with torchvision's anchors and stages; "
    '`lucid.models.create_model("faster_rcnn_fpn", backbone="mobilenet_v3_large")` has its own',
    "fasterrcnn_*": _NO_SUCH_DETECTOR,
    "retinanet_*": _NO_SUCH_DETECTOR,
    "fcos_*": _NO_SUCH_DETECTOR,
    "ssd*": _NO_SUCH_DETECTOR,
}


class RenamedAttribute:
    """Attribute of torchvision with another name in Lucid: setting it raises, naming what to set.

    Otherwise Python would silently store a value that nothing reads.

    Parameters
    ----------
    remedy : str
        Name of the attribute to set instead, or a sentence.

    Examples
    --------
    >>> from lucid_models_detection.torchvision_names import RenamedAttribute
    >>> class Head:
    ...     score_thresh = RenamedAttribute("score_threshold")
    >>> hasattr(Head(), "score_thresh")
    False
    >>> Head().score_thresh = 0.5
    Traceback (most recent call last):
    AttributeError: Head has no attribute 'score_thresh'; set score_threshold
    """

    def __init__(self, remedy: str) -> None:
        self.remedy = remedy if " " in remedy else f"set {remedy}"
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        raise self._error(instance)

    def __set__(self, instance: object, value: object) -> NoReturn:
        raise self._error(instance)

    def _error(self, instance: object) -> AttributeError:
        return AttributeError(
            f"{type(instance).__name__} has no attribute {self.name!r}; {self.remedy}"
        )
