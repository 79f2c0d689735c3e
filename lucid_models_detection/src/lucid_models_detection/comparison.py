"""A detector held against a COCO file whose categories it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from lucid.data import DataLoader
from lucid_models_detection.categories import Categories
from lucid_models_detection.convert import to_coco_results
from lucid_models_detection.data import CocoDetection, collate
from lucid_models_detection.evaluation import CocoEvaluator, VocEvaluator
from lucid_models_detection.roi_heads import Detections

__all__ = ["Comparison"]


class Comparison:
    """A detector held against the annotations of a COCO file.

    Parameters
    ----------
    annotation_file, image_directory : path
        As of :class:`~lucid_models_detection.data.CocoDetection`.
    categories : Categories
        What the detector's labels mean.
    found : mapping of int to str
        The file's categories, names by id.
    skip_invalid : bool, default False
        Leave out boxes that cannot be an object's, instead of refusing the file.

    Attributes
    ----------
    dataset : CocoDetection
        Of the classes that are in the file.
    missing : tuple of str
        What the detector knows beside them; detections of it are left out.

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
        found: Mapping[int, str],
        skip_invalid: bool = False,
    ) -> None:
        categories.check(annotation_file, found)
        ids = {id: label for id, label in categories.ids.items() if id in found}
        here = sorted({label for label in ids.values() if label is not None})
        #: The data set's label of each label of the detector.
        self._labels = {label: i for i, label in enumerate(here, start=1)}
        mapped = {id: None if label is None else self._labels[label] for id, label in ids.items()}
        self.dataset = CocoDetection(
            annotation_file,
            image_directory,
            category_ids=mapped,
            on_invalid="skip" if skip_invalid else "raise",
        )
        self.dataset.check_images()
        self._ids = {label: id for id, label in reversed(mapped.items()) if label is not None}
        self.missing = tuple(
            entry.name
            for entry in categories.entries
            if entry.label is not None and entry.label not in self._labels
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
        """Let the detector look at every image, and the evaluator at what it finds.

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

    def _translated(self, found: Detections) -> Detections:
        labels = np.array([self._labels.get(label, 0) for label in found["labels"].tolist()], int)
        kept = labels > 0
        return {
            "boxes": found["boxes"][kept],
            "labels": labels[kept],
            "scores": found["scores"][kept],
        }
