"""Base class of the evaluators: validate and collect predictions and targets per image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "COCO_MAX_DETECTIONS",
    "LOW_SCORE",
    "DetectionEvaluator",
    "ImageResult",
    "format_table",
    "lowest_score",
    "max_per_class",
    "nan_to_none",
    "threshold_notes",
]

#: Maximum number of detections per class and image in COCO's protocol.
COCO_MAX_DETECTIONS = 100

#: A score threshold is suspected if none of at least _MANY detections scores below LOW_SCORE.
_MANY, LOW_SCORE = 20, 0.2


@dataclass(frozen=True, slots=True)
class ImageResult:
    """Predictions and targets of an image: D detections, M objects, K ignored objects.

    Boxes are xyxy, float64.
    """

    image_id: int | str
    boxes: NDArray[np.float64]  # (D, 4)
    labels: NDArray[Any]  # (D,)
    scores: NDArray[np.float64]  # (D,)
    true_boxes: NDArray[np.float64]  # (M, 4)
    true_labels: NDArray[Any]  # (M,)
    area: NDArray[np.float64]  # (M,)
    ignored_boxes: NDArray[np.float64]  # (K, 4)
    ignored_labels: NDArray[Any]  # (K,)


class DetectionEvaluator:
    """Base class of evaluators: collect batches of predictions and targets.

    Parameters
    ----------
    class_names : sequence or mapping of str
        Classes to evaluate: a sequence ``class_names[label]`` with the background first (as
        ``dataset.class_names``), or a mapping of label to name, whose key 0 is ignored.
    """

    def __init__(self, class_names: Sequence[str] | Mapping[int, str]) -> None:
        if isinstance(class_names, str):
            raise TypeError(
                f"class_names: expected a sequence of names, got the string {class_names!r}"
            )
        named = class_names if isinstance(class_names, Mapping) else dict(enumerate(class_names))
        self.class_names = {label: name for label, name in sorted(named.items()) if label != 0}
        if not self.class_names:
            raise ValueError(
                f"class_names: expected at least one class besides the background, got {named}"
            )
        self._images: list[ImageResult] = []

    def update(
        self,
        predictions: Sequence[Mapping[str, Any]],
        targets: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add a batch of predictions and targets; nothing is added on an error.

        Parameters
        ----------
        predictions : sequence of dict
            ``boxes (D, 4)`` xyxy, ``labels (D,)`` and ``scores (D,)`` of each image, as
            returned by ``model.predict``; an optional ``image_id`` must match the target's.
        targets : sequence of dict
            ``boxes (M, 4)`` xyxy and ``labels (M,)`` of the same images in the same order;
            optionally ``area``, ``ignored_boxes``, ``ignored_labels`` and ``image_id`` as in
            :mod:`lucid_models_detection.data`.

        Raises
        ------
        ValueError
            If the lists differ in length or ``image_id``, an image repeats, a label is not in
            ``class_names``, or an entry is malformed; names the image.
        """
        if len(predictions) != len(targets):
            raise ValueError(
                f"expected one prediction per target, got {len(predictions)} predictions and "
                f"{len(targets)} targets"
            )
        known = {image.image_id for image in self._images}
        added: list[ImageResult] = []
        for prediction, target in zip(predictions, targets, strict=True):
            image_id = _image_id(prediction, target, len(self._images) + len(added))
            if image_id in known:
                raise ValueError(
                    f"image {image_id!r} was already evaluated: its objects would count twice"
                )
            known.add(image_id)
            added.append(self._image_result(image_id, prediction, target))
        self._images += added

    @property
    def results(self) -> Sequence[ImageResult]:
        """Predictions and targets added so far, one entry per image; picklable."""
        return self._images

    def merge(self, parts: Sequence[Sequence[ImageResult]]) -> None:
        """Replace the results by those of several evaluators, such as one per rank.

        Parameters
        ----------
        parts : sequence
            ``results`` of each evaluator, including this one.

        Raises
        ------
        ValueError
            If an image is in more than one part.
        """
        images = [image for part in parts for image in part]
        ids = [image.image_id for image in images]
        if len(set(ids)) < len(ids):
            twice = next(id for id in ids if ids.count(id) > 1)
            raise ValueError(f"image {twice!r} was evaluated twice: its objects would count twice")
        self._images = images

    def _nonempty_results(self) -> list[ImageResult]:
        if not self._images:
            raise ValueError("nothing to evaluate: call update() first")
        return self._images

    def _image_result(
        self, image_id: int | str, prediction: Mapping[str, Any], target: Mapping[str, Any]
    ) -> ImageResult:
        where = f"target of image {image_id!r}"
        true_boxes, true_labels = self._boxes_and_labels(target, "boxes", "labels", where)
        sides = true_boxes[:, 2:] - true_boxes[:, :2]
        area = np.asarray(target.get("area", sides.prod(axis=1)), dtype=np.float64)
        if area.shape != true_labels.shape:
            raise ValueError(
                f"{where}: expected area of shape ({len(true_labels)},), got {area.shape}"
            )
        ignored = np.zeros((0, 4)), np.zeros(0, np.int64)
        if "ignored_boxes" in target:
            ignored = self._boxes_and_labels(target, "ignored_boxes", "ignored_labels", where)
        where = f"prediction of image {image_id!r}"
        boxes, labels = self._boxes_and_labels(prediction, "boxes", "labels", where)
        if "scores" not in prediction:
            raise ValueError(f"{where}: expected 'scores', got {sorted(prediction)}")
        scores = np.asarray(prediction["scores"], dtype=np.float64).reshape(-1)
        if scores.shape != labels.shape or not np.isfinite(scores).all():
            raise ValueError(
                f"{where}: expected a finite score for each of {len(labels)} boxes, got {scores}"
            )
        return ImageResult(image_id, boxes, labels, scores, true_boxes, true_labels, area, *ignored)

    def _boxes_and_labels(
        self, entry: Mapping[str, Any], box_key: str, label_key: str, where: str
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        if box_key not in entry or label_key not in entry:
            raise ValueError(
                f"{where}: expected {box_key!r} and {label_key!r}, got {sorted(entry)}"
            )
        boxes = np.asarray(entry[box_key], dtype=np.float64)
        labels = np.asarray(entry[label_key]).reshape(-1)
        if boxes.size == 0:
            boxes = boxes.reshape(-1, 4)
        if boxes.shape != (len(labels), 4):
            raise ValueError(
                f"{where}: expected {box_key} of shape ({len(labels)}, 4), one per label, "
                f"got {boxes.shape}"
            )
        wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"{where}: box {i} of {box_key}: expected finite x1 <= x2 and y1 <= y2, "
                f"got {boxes[i].tolist()}"
            )
        unknown = sorted(set(labels.tolist()) - self.class_names.keys())
        if unknown:
            raise ValueError(
                f"{where}: labels {unknown} are not among the evaluated classes {self.class_names}"
            )
        return boxes, labels


def _image_id(prediction: Mapping[str, Any], target: Mapping[str, Any], position: int) -> int | str:
    """Return the ``image_id`` of an image, or its position if it has none."""
    image_id: int | str = target.get("image_id", prediction.get("image_id", position))
    other = prediction.get("image_id", image_id)
    if other != image_id:
        raise ValueError(
            f"expected predictions and targets of the same images, got image {other!r} and image "
            f"{image_id!r} at position {position}"
        )
    return image_id


def lowest_score(images: Sequence[ImageResult]) -> float:
    """Return the lowest score of all detections; nan without detections."""
    return min(
        (float(image.scores.min()) for image in images if image.scores.size), default=math.nan
    )


def nan_to_none(value: Any) -> Any:
    """Replace nan by None recursively, for JSON."""
    if isinstance(value, dict):
        return {key: nan_to_none(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nan_to_none(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def format_table(
    columns: Sequence[str], rows: Sequence[tuple[str, int, Sequence[float]]], mean: Sequence[float]
) -> str:
    """Format a table of (class name, number of objects, metrics) and the means; nan is a dash."""
    width = max([len("class"), *(len(name) for name, _, _ in rows)])
    head = f"{'class':<{width}}  objects" + "".join(f" {column:>6}" for column in columns)

    def line(name: str, objects: int, values: Sequence[float]) -> str:
        cells = (f"{'-':>5}" if math.isnan(v) else f"{v:5.3f}" for v in values)
        return "  ".join((f"{name:<{width}}", f"{objects:7d}", *cells))

    rule = "-" * len(head)
    total = sum(objects for _, objects, _ in rows)
    return "\n".join((head, rule, *(line(*row) for row in rows), rule, line("mean", total, mean)))


def max_per_class(labels: Iterable[NDArray[Any]]) -> int:
    """Return the largest number of equal labels in one image, given the labels of each image."""
    return max((int(np.unique(x, return_counts=True)[1].max(initial=0)) for x in labels), default=0)


def threshold_notes(detections: int, lowest_score: float) -> tuple[str, ...]:
    """Return a note if a score threshold may have removed detections."""
    if detections < _MANY or not lowest_score >= LOW_SCORE:
        return ()
    return (
        f"no detection scores below {lowest_score:.2f}; if a score threshold, such as the "
        "detector's score_threshold, removed others, mAP and recall are too low",
    )
