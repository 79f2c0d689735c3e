"""Predictions and targets, checked and gathered image by image, before anything is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Collector", "Compared", "lowest_score", "table_row", "without_nan"]


@dataclass(frozen=True, slots=True)
class Compared:
    """What was found in an image and what is there: D detections, M objects, K ignored ones.

    Boxes are xyxy and float64.
    """

    name: int | str
    boxes: NDArray[np.float64]  # (D, 4)
    labels: NDArray[Any]  # (D,)
    scores: NDArray[np.float64]  # (D,)
    true_boxes: NDArray[np.float64]  # (M, 4)
    true_labels: NDArray[Any]  # (M,)
    area: NDArray[np.float64]  # (M,)
    ignored_boxes: NDArray[np.float64]  # (K, 4)
    ignored_labels: NDArray[Any]  # (K,)


class Collector:
    """The part of an evaluator that takes batches.

    Parameters
    ----------
    class_names : sequence or mapping of str
        The classes that are evaluated: for a sequence, ``class_names[label]`` with the
        background first (as ``dataset.class_names``); for a mapping, its keys but 0.
    """

    def __init__(self, class_names: Sequence[str] | Mapping[int, str]) -> None:
        if isinstance(class_names, str):
            raise TypeError(f"expected a sequence of class names, got the string {class_names!r}")
        named = class_names if isinstance(class_names, Mapping) else dict(enumerate(class_names))
        self.class_names = {label: name for label, name in sorted(named.items()) if label != 0}
        if not self.class_names:
            raise ValueError(f"expected at least one class beside the background, got {named}")
        self._images: list[Compared] = []

    def update(
        self,
        predictions: Sequence[Mapping[str, Any]],
        targets: Sequence[Mapping[str, Any]],
    ) -> None:
        """Add a batch; on an error nothing of it is added.

        Parameters
        ----------
        predictions : sequence of dict
            ``boxes (D, 4)`` xyxy, ``labels (D,)``, ``scores (D,)`` of each image, as
            ``model.predict`` gives them; ``image_id`` is compared where it is there.
        targets : sequence of dict
            ``boxes (M, 4)`` xyxy and ``labels (M,)`` of the same images in the same
            order; ``area``, ``ignored_boxes``, ``ignored_labels`` and ``image_id`` as
            :mod:`lucid_models_detection.data` describes them are optional.

        Raises
        ------
        ValueError
            The lists differ in length, their ``image_id`` differ, an image comes twice,
            a label is not one of ``class_names``, or an entry is malformed; names the image.
        """
        if len(predictions) != len(targets):
            raise ValueError(
                f"expected as many predictions as targets, got {len(predictions)} and "
                f"{len(targets)}"
            )
        known = {image.name for image in self._images}
        added: list[Compared] = []
        for prediction, target in zip(predictions, targets, strict=True):
            name = _image_name(prediction, target, len(self._images) + len(added))
            if name in known:
                raise ValueError(
                    f"image {name!r} was already evaluated: its objects would count twice"
                )
            known.add(name)
            added.append(self._compared(name, prediction, target))
        self._images += added

    @property
    def collected(self) -> Sequence[Compared]:
        """What was added so far, image by image; it can be pickled."""
        return self._images

    def join(self, parts: Sequence[Sequence[Compared]]) -> None:
        """Replace what was added by what several evaluators collected, as if by one.

        Parameters
        ----------
        parts : sequence
            The ``collected`` of each, with this one's among them.

        Raises
        ------
        ValueError
            If an image is in two of them.
        """
        images = [image for part in parts for image in part]
        names = [image.name for image in images]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"image {twice!r} was evaluated twice: its objects would count so")
        self._images = images

    def _collected(self) -> list[Compared]:
        if not self._images:
            raise ValueError("nothing to evaluate: no batch was given to update()")
        return self._images

    def _compared(
        self, name: int | str, prediction: Mapping[str, Any], target: Mapping[str, Any]
    ) -> Compared:
        where = f"target of image {name!r}"
        true_boxes, true_labels = self._boxes_and_labels(target, "boxes", "labels", where)
        sides = true_boxes[:, 2:] - true_boxes[:, :2]
        area = np.asarray(target.get("area", sides.prod(axis=1)), dtype=np.float64)
        if area.shape != true_labels.shape:
            raise ValueError(f"{where}: {len(true_labels)} boxes but area has shape {area.shape}")
        ignored = np.zeros((0, 4)), np.zeros(0, np.int64)
        if "ignored_boxes" in target:
            ignored = self._boxes_and_labels(target, "ignored_boxes", "ignored_labels", where)
        where = f"prediction of image {name!r}"
        boxes, labels = self._boxes_and_labels(prediction, "boxes", "labels", where)
        if "scores" not in prediction:
            raise ValueError(f"{where}: expected 'scores', found {sorted(prediction)}")
        scores = np.asarray(prediction["scores"], dtype=np.float64).reshape(-1)
        if scores.shape != labels.shape or not np.isfinite(scores).all():
            raise ValueError(
                f"{where}: expected a finite score for each of {len(labels)} boxes, got {scores}"
            )
        return Compared(name, boxes, labels, scores, true_boxes, true_labels, area, *ignored)

    def _boxes_and_labels(
        self, entry: Mapping[str, Any], box_key: str, label_key: str, where: str
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        if box_key not in entry or label_key not in entry:
            raise ValueError(
                f"{where}: expected {box_key!r} and {label_key!r}, found {sorted(entry)}"
            )
        boxes = np.asarray(entry[box_key], dtype=np.float64)
        labels = np.asarray(entry[label_key]).reshape(-1)
        if boxes.size == 0:
            boxes = boxes.reshape(-1, 4)
        if boxes.shape != (len(labels), 4):
            raise ValueError(
                f"{where}: expected {box_key} of shape ({len(labels)}, 4) for as many labels, "
                f"got {boxes.shape}"
            )
        wrong = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"{where}: box {i} of {box_key}: expected finite x1 <= x2 and y1 <= y2, "
                f"got {boxes[i].tolist()}"
            )
        strange = sorted(set(labels.tolist()) - self.class_names.keys())
        if strange:
            raise ValueError(
                f"{where}: labels {strange} are not among the evaluated classes {self.class_names}"
            )
        return boxes, labels


def _image_name(prediction: Mapping[str, Any], target: Mapping[str, Any], number: int) -> int | str:
    """What the image is called: its ``image_id``, else its number in the order of coming."""
    name: int | str = target.get("image_id", prediction.get("image_id", number))
    other = prediction.get("image_id", name)
    if other != name:
        raise ValueError(
            f"predictions and targets are of different images: at place {number} the prediction "
            f"is of image {other!r}, the target of image {name!r}"
        )
    return name


def lowest_score(images: Sequence[Compared]) -> float:
    """Lowest score of a detection; nan without detections."""
    return min(
        (float(image.scores.min()) for image in images if image.scores.size), default=math.nan
    )


def without_nan(value: Any) -> Any:
    """The same with None for nan, all the way down: what JSON can hold."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def table_row(name: str, objects: int, *values: float) -> str:
    """A line of a table: nan, where nothing was measured, is a dash."""
    cells = (f"{'-':>5}" if math.isnan(v) else f"{v:5.3f}" for v in values)
    return "  ".join((name, f"{objects:7d}", *cells))
