"""Object detectors for Lucid: Faster R-CNN and RetinaNet with feature pyramid networks.

Names are imported on first use, so that importing the package is cheap.

Examples
--------
>>> from lucid_models_detection import faster_rcnn_resnet_18_fpn
>>> detector = faster_rcnn_resnet_18_fpn(num_classes=3)
>>> detector.num_classes
3
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid.hints import attribute_error, register_hints

if TYPE_CHECKING:
    from lucid_models_detection import boxes, convert, data, draw, evaluation, parts, torchvision
    from lucid_models_detection.detections import Detections
    from lucid_models_detection.detector import Detector
    from lucid_models_detection.faster_rcnn import FasterRCNN, FasterRCNNConfig
    from lucid_models_detection.faster_rcnn.builders import (
        faster_rcnn_fpn,
        faster_rcnn_resnet_18_fpn,
        faster_rcnn_resnet_34_fpn,
        faster_rcnn_resnet_50_fpn,
        faster_rcnn_resnet_101_fpn,
    )
    from lucid_models_detection.ground_truth import GroundTruth
    from lucid_models_detection.parts.roi_align import roi_align
    from lucid_models_detection.prediction import DetectionPredictor
    from lucid_models_detection.retinanet import RetinaNet, RetinaNetConfig
    from lucid_models_detection.retinanet.builders import (
        retinanet_fpn,
        retinanet_resnet_18_fpn,
        retinanet_resnet_50_fpn,
    )
    from lucid_models_detection.torchvision import torchvision_config
    from lucid_models_detection.training import DetectorTask, TrainingOptions, train_detector
    from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList

__all__ = [
    "DetectionPredictor",
    "Detections",
    "Detector",
    "DetectorTask",
    "FasterRCNN",
    "FasterRCNNConfig",
    "GeneralizedRCNNTransform",
    "GroundTruth",
    "ImageList",
    "RetinaNet",
    "RetinaNetConfig",
    "TrainingOptions",
    "boxes",
    "convert",
    "data",
    "draw",
    "evaluation",
    "faster_rcnn_fpn",
    "faster_rcnn_resnet_18_fpn",
    "faster_rcnn_resnet_34_fpn",
    "faster_rcnn_resnet_50_fpn",
    "faster_rcnn_resnet_101_fpn",
    "parts",
    "retinanet_fpn",
    "retinanet_resnet_18_fpn",
    "retinanet_resnet_50_fpn",
    "roi_align",
    "torchvision",
    "torchvision_config",
    "train_detector",
]

_SUBMODULES = ("boxes", "convert", "data", "draw", "evaluation", "parts", "torchvision")
_SOURCES = {
    "DetectionPredictor": "prediction",
    "Detections": "detections",
    "Detector": "detector",
    "FasterRCNNConfig": "faster_rcnn",
    "DetectorTask": "training",
    "FasterRCNN": "faster_rcnn",
    "ImageList": "transform",
    "GroundTruth": "ground_truth",
    "GeneralizedRCNNTransform": "transform",
    "RetinaNet": "retinanet",
    "RetinaNetConfig": "retinanet",
    "retinanet_fpn": "retinanet.builders",
    "retinanet_resnet_18_fpn": "retinanet.builders",
    "retinanet_resnet_50_fpn": "retinanet.builders",
    "faster_rcnn_fpn": "faster_rcnn.builders",
    "faster_rcnn_resnet_18_fpn": "faster_rcnn.builders",
    "faster_rcnn_resnet_34_fpn": "faster_rcnn.builders",
    "faster_rcnn_resnet_50_fpn": "faster_rcnn.builders",
    "faster_rcnn_resnet_101_fpn": "faster_rcnn.builders",
    "roi_align": "parts",
    "torchvision_config": "torchvision",
    "TrainingOptions": "training",
    "train_detector": "training",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _SOURCES:
        return getattr(importlib.import_module(f"{__name__}.{_SOURCES[name]}"), name)
    raise attribute_error(__name__, name)


register_hints(__name__, lambda: importlib.import_module(f"{__name__}.torchvision_names").NAMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
