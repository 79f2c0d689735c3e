"""COCO metrics of a detector, computed by pycocotools.

Mean average precision and recall as defined at https://cocodataset.org/#detection-eval: a detection
is a true positive if it has the class of an object and an IoU of at least the threshold with it;
precision is averaged over 101 recall levels, the classes and, for ``map``, the IoU thresholds 0.50,
0.55, ... 0.95.

COCO counts at most 100 detections per class and image.  If a detector returns more, the main
metrics count all of them, and ``map_coco`` and ``mar_100`` have COCO's limit.

Needs pycocotools: ``pip install "lucid-models-detection[coco]"``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid import MissingPackageError
from lucid.text import pluralize
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.evaluation.evaluator import (
    COCO_MAX_DETECTIONS,
    DetectionEvaluator,
    ImageResult,
    format_table,
    lowest_score,
    max_per_class,
    nan_to_none,
    threshold_notes,
)
from lucid_models_detection.evaluation.precision_recall import PrecisionRecall

__all__ = ["ClassMetrics", "CocoEvaluator", "DetectionMetrics", "evaluate_detections"]

AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """Metrics of one class; nan if it has no objects.

    Attributes
    ----------
    label : int
        Label of the class.
    name : str
        Name of the class.
    objects : int
        Number of ground-truth objects.
    ap : float
        Average precision over the IoU thresholds 0.50 to 0.95.
    ap_50, ap_75 : float
        Average precision at IoU 0.5 and 0.75.
    ar : float
        Average recall over the IoU thresholds.
    """

    label: int
    name: str
    objects: int
    ap: float
    ap_50: float
    ap_75: float
    ar: float


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """COCO metrics of a detector, in [0, 1], or nan without objects.

    Attributes
    ----------
    map : float
        Mean average precision over the IoU thresholds 0.50 to 0.95, counting all detections.
    map_50, map_75 : float
        Mean average precision at IoU 0.5 and 0.75.
    map_small, map_medium, map_large : float
        ``map`` of objects with area below 32 * 32 pixels, up to 96 * 96, and above.
    map_coco : float
        ``map`` with COCO's limit of 100 detections per class and image; equal to ``map``
        unless the detector returns more.
    mar : float
        Mean average recall over IoU thresholds and classes, counting all detections.
    mar_1, mar_10, mar_100 : float
        ``mar`` with at most 1, 10, 100 detections per class and image.
    mar_small, mar_medium, mar_large : float
        ``mar`` by object area.
    images, objects, detections : int
        Number of each.
    most_objects, most_detections : int
        Maximum number of objects and of detections per class and image.
    lowest_score : float
        Lowest score of a detection; nan without detections.
    classes : tuple of ClassMetrics
        Metrics of each class, by label.
    """

    map: float
    map_50: float
    map_75: float
    map_small: float
    map_medium: float
    map_large: float
    map_coco: float
    mar: float
    mar_1: float
    mar_10: float
    mar_100: float
    mar_small: float
    mar_medium: float
    mar_large: float
    images: int
    objects: int
    detections: int
    most_objects: int
    most_detections: int
    lowest_score: float
    classes: tuple[ClassMetrics, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; nan becomes None, ``classes`` a list."""
        values: dict[str, Any] = nan_to_none(asdict(self))
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on detection limits and score thresholds that affect the metrics."""
        notes = []
        if self.most_detections > COCO_MAX_DETECTIONS:
            notes.append(
                f"an image has {self.most_detections} detections of a class, and all count here; "
                f"with COCO's limit of at most {COCO_MAX_DETECTIONS}: mAP {self.map_coco:.3f}, "
                f"mAR {self.mar_100:.3f}"
            )
        if self.most_objects > max(COCO_MAX_DETECTIONS, self.most_detections):
            notes.append(
                f"an image has {self.most_objects} objects of a class, but at most "
                f"{pluralize(self.most_detections, 'detection')} of a class per image; raise the "
                "detector's limit of detections per image if it is lower than the number of objects"
            )
        return (*notes, *threshold_notes(self.detections, self.lowest_score))

    def summary(self) -> str:
        """Return a line with the means, and a line per note of :attr:`notes`."""
        means = (
            f"mAP {self.map:.3f}  mAP@0.5 {self.map_50:.3f}  mAP@0.75 {self.map_75:.3f}  "
            f"mAR {self.mar:.3f}  on {pluralize(self.images, 'image')}"
        )
        return "\n".join((means, *(f"note: {note}" for note in self.notes)))

    def table(self) -> str:
        """Return a plain-text table with a row per class and the means."""
        rows = [(c.name, c.objects, (c.ap, c.ap_50, c.ap_75, c.ar)) for c in self.classes]
        mean = (self.map, self.map_50, self.map_75, self.mar)
        return format_table(("AP", "AP50", "AP75", "AR"), rows, mean)


class CocoEvaluator(DetectionEvaluator):
    """Collect batches of predictions and targets, and compute COCO metrics.

    Parameters
    ----------
    class_names : sequence or mapping of str
        Classes to evaluate: a sequence ``class_names[label]`` with the background first (as
        ``dataset.class_names``), or a mapping of label to name, whose key 0 is ignored.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.evaluation import CocoEvaluator
    >>> evaluator = CocoEvaluator(["background", "cat"])
    >>> truth = {"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([1])}
    >>> guess = {"boxes": np.array([[0, 0, 10, 8.0]]), "labels": [1], "scores": [0.9]}
    >>> evaluator.update([guess], [truth])
    >>> metrics = evaluator.compute()
    >>> round(metrics.map_50, 3), round(metrics.map, 3)
    (1.0, 0.7)
    """

    _cached_tables: tuple[int, NDArray[np.float64], NDArray[np.float64]] | None = None

    def compute(self) -> DetectionMetrics:
        """Compute the metrics of all batches added so far.

        Raises
        ------
        lucid.MissingPackageError
            If pycocotools is not installed.
        ValueError
            If nothing was added.
        """
        images = self._nonempty_results()
        true_labels = [label for image in images for label in image.true_labels.tolist()]
        return _metrics(
            *self._tables(images),
            class_names=self.class_names,
            objects={label: true_labels.count(label) for label in self.class_names},
            images=len(images),
            detections=sum(len(image.labels) for image in images),
            most_objects=max_per_class(image.true_labels for image in images),
            most_detections=max_per_class(image.labels for image in images),
            lowest_score=lowest_score(images),
        )

    def precision_recall(self, iou_threshold: float = 0.5) -> dict[int, PrecisionRecall]:
        """Return precision at COCO's 101 recall levels for each class with objects.

        Parameters
        ----------
        iou_threshold : float, default 0.5
            One of COCO's thresholds 0.50, 0.55, ... 0.95.

        Returns
        -------
        dict of int to PrecisionRecall
            Interpolated curves by label; their mean precision is COCO's average precision.

        Raises
        ------
        lucid.MissingPackageError, ValueError
            As :meth:`compute`; also for another threshold.
        """
        thresholds = np.linspace(0.5, 0.95, 10)
        at = int(np.abs(thresholds - iou_threshold).argmin())
        if abs(thresholds[at] - iou_threshold) > 1e-6:
            raise ValueError(
                "iou_threshold: expected one of COCO's 0.50, 0.55, ... 0.95, got "
                f"{iou_threshold}; VocEvaluator takes any"
            )
        precision = self._tables(self._nonempty_results())[0][at, :, :, 0, -1]
        levels = np.linspace(0, 1, precision.shape[0])
        return {
            label: PrecisionRecall(name, levels, precision[:, k], _mean(precision[:, k]))
            for k, (label, name) in enumerate(self.class_names.items())
            if (precision[:, k] > -1).any()
        }

    def _tables(self, images: list[ImageResult]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Cached, so that compute() and precision_recall() match detections once.
        if self._cached_tables is None or self._cached_tables[0] != len(images):
            self._cached_tables = (len(images), *_coco_tables(images, list(self.class_names)))
        return self._cached_tables[1:]


def evaluate_detections(
    predictions: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    class_names: Sequence[str] | Mapping[int, str],
) -> DetectionMetrics:
    """Compute COCO metrics in one call; see :class:`CocoEvaluator`.

    Parameters
    ----------
    predictions, targets : sequence of dict
        As in ``CocoEvaluator.update``.
    class_names : sequence or mapping of str
        Classes to evaluate, as in :class:`CocoEvaluator`.

    Returns
    -------
    DetectionMetrics
        Metrics over all images.

    Raises
    ------
    lucid.MissingPackageError
        If pycocotools is not installed.
    ValueError
        If there are no images, the lists differ in length, or an entry is malformed; names
        the image.
    """
    evaluator = CocoEvaluator(class_names)
    evaluator.update(predictions, targets)
    return evaluator.compute()


def _rows(
    image: int, boxes: NDArray[np.float64], labels: NDArray[Any], **columns: Any
) -> list[dict[str, Any]]:
    """Return COCO annotations of an image, with xywh boxes."""
    values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [
        {"image_id": image, "category_id": int(label), "bbox": xywh.tolist(), **row}
        for xywh, label, row in zip(box_ops.to_xywh(boxes), labels, values, strict=True)
    ]


def _target_rows(number: int, image: ImageResult) -> list[dict[str, Any]]:
    crowds = image.ignored_boxes, image.ignored_labels
    objects = {"area": image.area.tolist(), "iscrowd": [0] * len(image.area)}
    ignored = {"area": box_ops.area(crowds[0]).tolist(), "iscrowd": [1] * len(crowds[0])}
    return [
        *_rows(number, image.true_boxes, image.true_labels, **objects),
        *_rows(number, *crowds, **ignored),
    ]


def _detection_rows(number: int, image: ImageResult) -> list[dict[str, Any]]:
    columns = {
        "score": image.scores.tolist(),
        "area": box_ops.area(image.boxes).tolist(),
        "iscrowd": [0] * len(image.scores),
    }
    return _rows(number, image.boxes, image.labels, **columns)


def import_pycocotools() -> tuple[Any, Any]:
    """Import ``pycocotools.coco`` and ``cocoeval``; MissingPackageError if not installed."""
    try:
        return (
            importlib.import_module("pycocotools.coco"),
            importlib.import_module("pycocotools.cocoeval"),
        )
    except ImportError as error:
        raise MissingPackageError(
            "COCO metrics need pycocotools: "
            'pip install "lucid-models-detection[coco]" (or: pip install pycocotools)',
            name="pycocotools",
        ) from error


def _coco_tables(
    images: Sequence[ImageResult], labels: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return precision (T, R, K, A, M) and recall (T, K, A, M); -1 without objects.

    T IoU thresholds, R recall levels, K classes, A area ranges, M limits on the number of
    detections per class and image (1, 10, 100, none).
    """
    coco, cocoeval = import_pycocotools()

    def table(rows_of: Callable[[int, ImageResult], list[dict[str, Any]]]) -> Any:
        rows = [row for number, image in enumerate(images) for row in rows_of(number, image)]
        result = coco.COCO()
        result.dataset = {
            "images": [{"id": number} for number in range(len(images))],
            "categories": [{"id": label} for label in labels],
            # Ids start at 1: pycocotools treats id 0 as unmatched.
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
        }
        result.createIndex()
        return result

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = cocoeval.COCOeval(table(_target_rows), table(_detection_rows), "bbox")
        # Matching is by descending score, so a higher limit does not change earlier matches.
        most = max_per_class(image.labels for image in images)
        evaluation.params.maxDets = [1, 10, COCO_MAX_DETECTIONS, max(most, COCO_MAX_DETECTIONS)]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _metrics(
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    *,
    class_names: Mapping[int, str],
    objects: Mapping[int, int],
    **counts: Any,
) -> DetectionMetrics:
    by_area = {area: _mean(precision[:, :, :, a, -1]) for a, area in enumerate(AREAS)}
    recall_by_area = {area: _mean(recall[:, :, a, -1]) for a, area in enumerate(AREAS)}
    classes = tuple(
        ClassMetrics(
            label=label,
            name=name,
            objects=objects[label],
            ap=_mean(precision[:, :, k, 0, -1]),
            ap_50=_mean(precision[0, :, k, 0, -1]),
            ap_75=_mean(precision[5, :, k, 0, -1]),
            ar=_mean(recall[:, k, 0, -1]),
        )
        for k, (label, name) in enumerate(class_names.items())
    )
    return DetectionMetrics(
        map=by_area["all"],
        map_50=_mean(precision[0, :, :, 0, -1]),
        map_75=_mean(precision[5, :, :, 0, -1]),
        map_small=by_area["small"],
        map_medium=by_area["medium"],
        map_large=by_area["large"],
        map_coco=_mean(precision[:, :, :, 0, 2]),
        mar=recall_by_area["all"],
        mar_1=_mean(recall[:, :, 0, 0]),
        mar_10=_mean(recall[:, :, 0, 1]),
        mar_100=_mean(recall[:, :, 0, 2]),
        mar_small=recall_by_area["small"],
        mar_medium=recall_by_area["medium"],
        mar_large=recall_by_area["large"],
        objects=sum(objects.values()),
        classes=classes,
        **counts,
    )


def _mean(values: Iterable[float] | NDArray[np.float64]) -> float:
    """Return the mean of the values above -1, which marks missing ones in pycocotools."""
    array = np.asarray(values)
    valid = array[array > -1]
    return float(valid.mean()) if valid.size else math.nan
