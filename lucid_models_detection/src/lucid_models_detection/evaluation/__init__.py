"""Measures of a detector: COCO's, by pycocotools, and Pascal VOC's, by arithmetic of our own.

Predictions and targets are what ``model.predict`` and the datasets of
:mod:`lucid_models_detection.data` give.  An evaluator is told the classes first; a
label that is not among them is refused, so that a model and a data set that number
their classes differently cannot be measured against each other by mistake.

COCO's measures need pycocotools (``pip install "lucid-models-detection[coco]"``), the
plot matplotlib (``[plot]``).
"""

from __future__ import annotations

from lucid_models_detection.evaluation.coco import (
    ClassMetrics,
    CocoEvaluator,
    DetectionMetrics,
    evaluate_detections,
)
from lucid_models_detection.evaluation.curves import PrecisionRecall, plot_precision_recall
from lucid_models_detection.evaluation.voc import (
    VocClassMetrics,
    VocEvaluator,
    VocMetrics,
    average_precision,
)

__all__ = [
    "ClassMetrics",
    "CocoEvaluator",
    "DetectionMetrics",
    "PrecisionRecall",
    "VocClassMetrics",
    "VocEvaluator",
    "VocMetrics",
    "average_precision",
    "evaluate_detections",
    "plot_precision_recall",
]
