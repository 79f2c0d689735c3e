"""Evaluation of a detector on a COCO file whose categories it was trained on."""

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
from lucid_models_detection.data.values import Id
from lucid_models_detection.detections import Detections
from lucid_models_detection.evaluation import CocoEvaluator, VocEvaluator
from lucid_models_detection.evaluation.notes import LOW_SCORE

__all__ = ["Comparison"]


class Comparison:
    """Evaluation of a detector on the annotations of a COCO file.

    Parameters
    ----------
    annotation_file, image_directory : path
        As of :class:`~lucid_models_detection.data.CocoDetection`.
    categories : Categories
        What the detector's labels mean.
    found : mapping of (int or str) to str
        The file's categories, names by id.
    **options
        As of :class:`~lucid_models_detection.data.CocoDetection`: ``on_invalid``,
        ``box_format``, ``box_orientation``, ``header``.

    Attributes
    ----------
    dataset : CocoDetection
        Of the classes that are in the file.
    missing : tuple of str
        Classes of the detector that are not in the file; their detections are left out.

    Raises
    ------
    ValueError
        If the file's categories are not the detector's, or images are missing.
    """

    def __init__(
        self,
        annotation_file: Any,
        image_directory: Any,
        categories: Categories,
        found: Mapping[Id, str],
        **options: Any,
    ) -> None:
        categories.check(annotation_file, found)
        ids = {id: label for id, label in categories.ids.items() if id in found}
        here = sorted({label for label in ids.values() if label is not None})
        #: The data set's label of each label of the detector.
        self._labels = {label: i for i, label in enumerate(here, start=1)}
        mapped = {id: None if label is None else self._labels[label] for id, label in ids.items()}
        self.dataset = CocoDetection(
            annotation_file, image_directory, category_ids=mapped, **options
        )
        self.dataset.check_images()
        own = self.dataset.own_category_ids
        self._ids = {label: own[id] for id, label in reversed(mapped.items()) if label is not None}
        self.missing = (
            *(
                entry.name
                for entry in categories.entries
                if entry.label is not None and entry.label not in self._labels
            ),
            *categories.others,
        )

    def evaluator(self, measure: str = "coco") -> CocoEvaluator | VocEvaluator:
        """What measures detections of the data set, by "coco", "voc2007" or "voc2012"."""
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
        """Predict for every image and pass the detections to the evaluator.

        Returns
        -------
        results : list of dict
            Every detection, in the format of COCO's results.
        """
        results: list[dict[str, Any]] = []
        loader = DataLoader(self.dataset, batch_size, collate=collate, workers=workers, seed=0)
        try:
            for images, targets in tqdm(loader, "evaluation", unit="batch", disable=None):
                found = [self._translated(one) for one in model.predict(images)]
                evaluator.update(found, targets)
                names = [target["image_id"] for target in targets]
                results += to_coco_results(found, names, self._ids)
        finally:
            loader.close()
        return results

    def notes(self, model: Any) -> list[str]:
        """Sentences on file and detector that the measures depend on, beside their own notes.

        Parameters
        ----------
        model : Detector
            As of :meth:`run`.
        """
        notes = []
        threshold = getattr(model, "score_threshold", 0.0)
        if threshold >= LOW_SCORE:
            notes.append(
                f"the detector leaves out what scores less than {threshold:g}, its "
                "score_threshold: mAP and recall are lower than with all detections"
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

    def _translated(self, found: Detections) -> Detections:
        labels = np.array([self._labels.get(label, 0) for label in found["labels"].tolist()], int)
        kept = labels > 0
        return {
            "boxes": found["boxes"][kept],
            "labels": labels[kept],
            "scores": found["scores"][kept],
        }
