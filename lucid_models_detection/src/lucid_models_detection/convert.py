"""Conversion of detections to and from formats of other tools.

``model.predict`` returns torchvision's format: for each image a dictionary with ``boxes`` (D, 4)
xyxy in pixels, ``labels`` (D,) with background 0, and ``scores`` (D,).  The other tools are not
imported.

Shapes: D detections in an image.

Examples
--------
>>> import numpy as np
>>> from lucid_models_detection import convert
>>> found = {
...     "boxes": np.array([[2, 3, 10, 8]], np.float32),
...     "labels": np.array([1]),
...     "scores": np.array([0.75], np.float32),
... }
>>> convert.to_records(found, ["background", "cat"])
[{'label': 1, 'class': 'cat', 'score': 0.75, 'box': [2.0, 3.0, 10.0, 8.0]}]
>>> convert.to_coco_results([found], image_ids=[42], category_ids={1: 17})
[{'image_id': 42, 'category_id': 17, 'bbox': [2.0, 3.0, 8.0, 5.0], 'score': 0.75}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lucid.autograd import array_of
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.detections import Detections
from lucid_models_detection.draw import class_name

__all__ = ["from_supervision", "to_coco_results", "to_records", "to_supervision"]

ClassNames = Sequence[str] | Mapping[int, str]


def to_supervision(
    detections: Mapping[str, Any], class_names: ClassNames | None = None
) -> dict[str, Any]:
    """Convert detections to the arguments of ``supervision.Detections``.

    Use it as ``supervision.Detections(**to_supervision(found, class_names))``.

    Parameters
    ----------
    detections : mapping
        Detections of one image, as returned by ``model.predict``.
    class_names : sequence or mapping of str, optional
        Name of each label, background first.

    Returns
    -------
    dict
        ``xyxy`` (D, 4) float32, ``confidence`` (D,) float32 and ``class_id`` (D,) int64, the
        labels, so that ``class_names[class_id]`` is the name; with ``class_names`` also
        ``data``, ``{"class_name": (D,) array of str}``.

    Raises
    ------
    ValueError
        If the numbers of boxes, labels and scores differ.
    """
    found = _validate(detections)
    result: dict[str, Any] = {
        "xyxy": found["boxes"].copy(),
        "confidence": found["scores"].copy(),
        "class_id": found["labels"].copy(),
    }
    if class_names is not None:
        names = [class_name(label, class_names) for label in found["labels"].tolist()]
        result["data"] = {"class_name": np.array(names, dtype=np.str_)}
    return result


def from_supervision(detections: Any, first_label: int = 0) -> Detections:
    """Convert ``supervision.Detections`` to the format of ``model.predict``.

    The result can be evaluated by :class:`~lucid_models_detection.evaluation.CocoEvaluator`, to
    compare another detector.

    Parameters
    ----------
    detections : supervision.Detections or mapping
        With ``xyxy`` (D, 4), ``confidence`` (D,) and ``class_id`` (D,).
    first_label : int, default 0
        Label of class id 0: 1 for a detector without a background class.

    Returns
    -------
    dict
        ``boxes``, ``labels`` and ``scores``, by descending score.

    Raises
    ------
    ValueError
        If one of the three is missing, or their numbers differ.
    """
    values = {}
    for ours, theirs in (("boxes", "xyxy"), ("labels", "class_id"), ("scores", "confidence")):
        value = (
            detections.get(theirs)
            if isinstance(detections, Mapping)
            else getattr(detections, theirs, None)
        )
        if value is None:
            raise ValueError(f"expected detections with {theirs}, got {type(detections).__name__}")
        values[ours] = value
    found = _validate(values)
    order = np.argsort(-found["scores"], kind="stable")
    return {
        "boxes": found["boxes"][order],
        "labels": found["labels"][order] + first_label,
        "scores": found["scores"][order],
    }


def to_records(
    detections: Mapping[str, Any], class_names: ClassNames | None = None
) -> list[dict[str, Any]]:
    """Convert detections to JSON-serializable dictionaries.

    Parameters
    ----------
    detections : mapping
        Detections of one image, as returned by ``model.predict``.
    class_names : sequence or mapping of str, optional
        Name of each label, background first.  Default: the label as a string.

    Returns
    -------
    list of dict
        ``label``, ``class``, ``score`` (4 decimals) and ``box`` (xyxy in pixels, 2 decimals) of
        each detection.
    """
    found = _validate(detections)
    return [
        {
            "label": label,
            "class": class_name(label, class_names),
            "score": round(score, 4),
            "box": [round(edge, 2) for edge in box],
        }
        for box, label, score in _rows(found["boxes"], found)
    ]


def to_coco_results(
    detections: Sequence[Mapping[str, Any]],
    image_ids: Sequence[int | str],
    category_ids: Mapping[int, int | str] | None = None,
) -> list[dict[str, Any]]:
    """Convert detections to COCO results format (https://cocodataset.org/#format-results).

    Parameters
    ----------
    detections : sequence of mapping
        Detections of each image, as returned by ``model.predict``.
    image_ids : sequence of (int or str)
        ``image_id`` of each image.
    category_ids : mapping of int to (int or str), optional
        ``category_id`` of each label.  Default: the labels, as for a detector of COCO's 91
        classes.

    Returns
    -------
    list of dict
        ``image_id``, ``category_id``, ``bbox`` (xywh in pixels, 2 decimals) and ``score`` (5
        decimals), JSON-serializable for pycocotools.

    Raises
    ------
    ValueError
        If the numbers of images and image ids differ, or a label has no category.
    """
    if len(detections) != len(image_ids):
        raise ValueError(
            f"expected one image id per image, got {len(detections)} images and "
            f"{len(image_ids)} image ids"
        )
    results = []
    for image_id, one in zip(image_ids, detections, strict=True):
        found = _validate(one)
        for xywh, label, score in _rows(box_ops.to_xywh(found["boxes"]), found):
            if category_ids is not None and label not in category_ids:
                raise ValueError(
                    f"image {image_id!r}: expected a label of category_ids {sorted(category_ids)}, "
                    f"got {label}"
                )
            results.append(
                {
                    "image_id": image_id,
                    "category_id": label if category_ids is None else category_ids[label],
                    "bbox": [round(edge, 2) for edge in xywh],
                    "score": round(score, 5),
                }
            )
    return results


def _validate(detections: Mapping[str, Any]) -> Detections:
    """Return the three arrays, checked for equal length."""
    boxes = box_ops.as_boxes(detections["boxes"])
    labels = array_of(detections["labels"]).reshape(-1)
    scores = array_of(detections["scores"]).reshape(-1)
    if not len(boxes) == len(labels) == len(scores):
        raise ValueError(
            f"expected one label and score per box, got {len(boxes)} boxes, {len(labels)} "
            f"labels and {len(scores)} scores"
        )
    return {
        "boxes": boxes.astype(np.float32, copy=False),
        "labels": labels.astype(np.int64, copy=False),
        "scores": scores.astype(np.float32, copy=False),
    }


def _rows(boxes: Any, found: Detections) -> Any:
    """Iterate over box, label and score of each detection, as Python numbers."""
    return zip(boxes.tolist(), found["labels"].tolist(), found["scores"].tolist(), strict=True)
