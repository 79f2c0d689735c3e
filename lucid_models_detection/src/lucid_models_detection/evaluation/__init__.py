"""COCO and Pascal VOC metrics of object detectors.

Evaluators take predictions of ``model.predict`` and targets of
:mod:`lucid_models_detection.data`.  Labels that are not in the evaluator's ``class_names`` raise,
so that a model and a dataset with different class numbering are not compared by mistake.

COCO metrics need pycocotools (``pip install "lucid-models-detection[coco]"``), plots need
matplotlib (``[plot]``).
"""

from __future__ import annotations

from lucid_models_detection.evaluation.coco import (
    ClassMetrics,
    CocoEvaluator,
    DetectionMetrics,
    evaluate_detections,
)
from lucid_models_detection.evaluation.precision_recall import (
    PrecisionRecall,
    plot_precision_recall,
)
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
