"""Evaluate a detector on a COCO file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from lucid.data import DataLoader
from lucid.data.report_text import left_out_text
from lucid_models_detection.categories import Categories
from lucid_models_detection.convert import to_coco_results
from lucid_models_detection.data import CocoDetection, collate
from lucid_models_detection.data.field_parsing import Id
from lucid_models_detection.detections import Detections
from lucid_models_detection.evaluation import CocoEvaluator, VocEvaluator
from lucid_models_detection.evaluation.evaluator import LOW_SCORE

__all__ = ["DatasetEvaluation"]


class DatasetEvaluation:
    """Evaluation of a detector on the annotations of a COCO file.

    ``file_categories`` has the category names of the file by id; ``options`` are passed to
    :class:`~lucid_models_detection.data.CocoDetection`.  ``missing`` are the classes of the
    detector that are not in the file; their detections are ignored.
    """

    def __init__(
        self,
        annotation_file: Any,
        image_directory: Any,
        categories: Categories,
        file_categories: Mapping[Id, str],
        **options: Any,
    ) -> None:
        categories.check(annotation_file, file_categories)
        ids = {id: label for id, label in categories.ids.items() if id in file_categories}
        present = sorted({label for label in ids.values() if label is not None})
        # Detector label to dataset label.
        self._labels = {label: i for i, label in enumerate(present, start=1)}
        mapped = {id: None if label is None else self._labels[label] for id, label in ids.items()}
        self.dataset = CocoDetection(
            annotation_file, image_directory, category_ids=mapped, **options
        )
        self.dataset.check_images()
        own = self.dataset.original_category_ids
        self._ids = {label: own[id] for id, label in reversed(mapped.items()) if label is not None}
        self.missing = (
            *(
                entry.name
                for entry in categories.entries
                if entry.label is not None and entry.label not in self._labels
            ),
            *categories.unmatched,
        )

    def evaluator(self, measure: str = "coco") -> CocoEvaluator | VocEvaluator:
        """Create the evaluator of a measure: "coco", "voc2007" or "voc2012"."""
        names = self.dataset.class_names
        if measure == "coco":
            return CocoEvaluator(names)
        return VocEvaluator(names, year=2007 if measure == "voc2007" else 2012)

    def run(
        self,
        model: Any,
        evaluator: CocoEvaluator | VocEvaluator,
        batch_size: int = 1,
        workers: int = 0,
    ) -> list[dict[str, Any]]:
        """Predict all images and update the evaluator; return all detections as COCO results."""
        results: list[dict[str, Any]] = []
        loader = DataLoader(self.dataset, batch_size, collate=collate, workers=workers, seed=0)
        try:
            for images, targets in tqdm(loader, "evaluation", unit="batch", disable=None):
                found = [self._map_labels(one) for one in model.predict(images)]
                evaluator.update(found, targets)
                names = [target["image_id"] for target in targets]
                results += to_coco_results(found, names, self._ids)
        finally:
            loader.close()
        return results

    def notes(self, model: Any) -> list[str]:
        """Return notes on data and detector that affect the metrics."""
        notes = []
        threshold = getattr(model, "score_threshold", 0.0)
        if threshold >= LOW_SCORE:
            notes.append(
                f"the detector removes detections below its score_threshold {threshold:g}: mAP and "
                "recall are lower than with all detections"
            )
        if self.missing:
            shown = ", ".join(self.missing[:20])
            rest = f" and {len(self.missing) - 20} more" if len(self.missing) > 20 else ""
            notes.append(f"classes of the detector without a category in the data: {shown}{rest}")
        if left_out := left_out_text(self.dataset.report):
            notes.append(f"left out {left_out}")
        if not sum(self.dataset.report.classes.values()):
            notes.append("the data has no objects, so nothing can be measured")
        return notes

    def _map_labels(self, found: Detections) -> Detections:
        labels = np.array([self._labels.get(label, 0) for label in found["labels"].tolist()], int)
        kept = labels > 0
        return {
            "boxes": found["boxes"][kept],
            "labels": labels[kept],
            "scores": found["scores"][kept],
        }
