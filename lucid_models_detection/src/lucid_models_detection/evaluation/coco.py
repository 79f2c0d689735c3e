"""COCO's measures of a detector, by pycocotools.

Mean average precision and recall as https://cocodataset.org/#detection-eval defines
them: a detection is right when it has the class of an object and at least a certain
IoU with it; precision is averaged over 101 levels of recall, then over classes and,
for the main figure, over the IoU thresholds 0.50, 0.55, ... 0.95.

COCO counts at most 100 detections of a class in an image.  A detector that gives more is
measured on all of them, and the figures with COCO's limit are given beside.

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
from lucid.text import counted
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.evaluation.collected import (
    Collector,
    Compared,
    lowest_score,
    table_row,
    without_nan,
)
from lucid_models_detection.evaluation.curves import PrecisionRecall
from lucid_models_detection.evaluation.notes import COCO_LIMIT, largest_count, threshold_notes

__all__ = ["ClassMetrics", "CocoEvaluator", "DetectionMetrics", "evaluate_detections"]

AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """What :class:`DetectionMetrics` gives, for one class; nan where it has no object.

    Attributes
    ----------
    label : int
        Number of the class.
    name : str
        Its name.
    objects : int
        How many there were to find.
    ap : float
        Average precision over the IoU thresholds 0.50 to 0.95.
    ap_50, ap_75 : float
        The same at the one threshold 0.5, 0.75.
    ar : float
        Mean recall over the thresholds.
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
    """COCO's measures of a detector, each in [0, 1], or nan where there is no object.

    Attributes
    ----------
    map : float
        Mean average precision over the IoU thresholds 0.50 to 0.95, of all detections.
    map_50, map_75 : float
        The same at the one threshold 0.5, 0.75.
    map_small, map_medium, map_large : float
        ``map`` of objects of less than 32 * 32 pixels of area, up to 96 * 96, above.
    map_coco : float
        ``map`` of at most 100 detections of a class in an image, COCO's protocol.  The
        same as ``map`` unless a detector gives more.
    mar : float
        Mean recall, over thresholds and classes, of all detections.
    mar_1, mar_10, mar_100 : float
        ``mar`` of at most 1, 10, 100 detections of a class in an image.
    mar_small, mar_medium, mar_large : float
        ``mar`` by area.
    images, objects, detections : int
        How many of each were compared.
    most_objects, most_detections : int
        Largest number of objects and of detections of one class in one image.
    lowest_score : float
        Lowest score of a detection; nan without detections.
    classes : tuple of ClassMetrics
        The measures of each class, in the order of the labels.
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
        """A dictionary that JSON can hold: nan becomes None, ``classes`` a list."""
        values: dict[str, Any] = without_nan(asdict(self))
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on limits and thresholds that the measures depend on; often none."""
        notes = []
        if self.most_detections > COCO_LIMIT:
            notes.append(
                f"an image has {self.most_detections} detections of a class, and all count here; "
                f"with at most {COCO_LIMIT}, as COCO's protocol has it: mAP {self.map_coco:.3f}, "
                f"mAR {self.mar_100:.3f}"
            )
        if self.most_objects > max(COCO_LIMIT, self.most_detections):
            notes.append(
                f"an image has {self.most_objects} objects of a class, and no image more than "
                f"{counted(self.most_detections, 'detection')} of one: the rest cannot be found if "
                "the detector's box_detections_per_image is lower"
            )
        return (*notes, *threshold_notes(self.detections, self.lowest_score))

    def summary(self) -> str:
        """The means in a line of plain text, and a line for each of :attr:`notes`."""
        means = (
            f"mAP {self.map:.3f}  mAP@0.5 {self.map_50:.3f}  mAP@0.75 {self.map_75:.3f}  "
            f"mAR {self.mar:.3f}  on {counted(self.images, 'image')}"
        )
        return "\n".join((means, *(f"note: {note}" for note in self.notes)))

    def table(self) -> str:
        """A table in plain text: a line for each class, then the means."""
        width = max([len("class"), len("mean"), *(len(c.name) for c in self.classes)])
        head = f"{'class':<{width}}  objects     AP   AP50   AP75     AR"
        lines = [head, "-" * len(head)]
        for c in self.classes:
            lines.append(table_row(f"{c.name:<{width}}", c.objects, c.ap, c.ap_50, c.ap_75, c.ar))
        lines.append("-" * len(head))
        mean = (self.map, self.map_50, self.map_75, self.mar)
        lines.append(table_row(f"{'mean':<{width}}", self.objects, *mean))
        return "\n".join(lines)


class CocoEvaluator(Collector):
    """Collects predictions and targets, batch by batch, and measures them together.

    Parameters
    ----------
    class_names : sequence or mapping of str
        The classes that are evaluated: for a sequence, ``class_names[label]`` with the
        background first (as ``dataset.class_names``); for a mapping, its keys but 0.

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

    _counted: tuple[int, NDArray[np.float64], NDArray[np.float64]] | None = None

    def compute(self) -> DetectionMetrics:
        """Measure everything collected so far.

        Raises
        ------
        lucid.MissingPackageError
            pycocotools is not installed.
        ValueError
            Nothing was collected.
        """
        images = self._collected()
        true_labels = [label for image in images for label in image.true_labels.tolist()]
        return _metrics(
            *self._tables(images),
            class_names=self.class_names,
            objects={label: true_labels.count(label) for label in self.class_names},
            images=len(images),
            detections=sum(len(image.labels) for image in images),
            most_objects=largest_count(image.true_labels for image in images),
            most_detections=largest_count(image.labels for image in images),
            lowest_score=lowest_score(images),
        )

    def precision_recall(self, iou_threshold: float = 0.5) -> dict[int, PrecisionRecall]:
        """Precision at COCO's 101 levels of recall, for every class that has objects.

        Parameters
        ----------
        iou_threshold : float, default 0.5
            One of COCO's ten: 0.50, 0.55, ... 0.95.

        Returns
        -------
        dict of int to PrecisionRecall
            By label; interpolated, as COCO's average precision is the mean of it.

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
        precision = self._tables(self._collected())[0][at, :, :, 0, -1]
        levels = np.linspace(0, 1, precision.shape[0])
        return {
            label: PrecisionRecall(name, levels, precision[:, k], _mean(precision[:, k]))
            for k, (label, name) in enumerate(self.class_names.items())
            if (precision[:, k] > -1).any()
        }

    def _tables(self, images: list[Compared]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        # Kept, because a curve after the measures would count everything again.
        if self._counted is None or self._counted[0] != len(images):
            self._counted = (len(images), *_coco_tables(images, list(self.class_names)))
        return self._counted[1:]


def evaluate_detections(
    predictions: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    class_names: Sequence[str] | Mapping[int, str],
) -> DetectionMetrics:
    """Measure predictions against targets in one call; see :class:`CocoEvaluator`.

    Parameters
    ----------
    predictions : sequence of dict
        ``boxes (D, 4)`` xyxy, ``labels (D,)``, ``scores (D,)`` of each image, as
        ``model.predict`` gives them.
    targets : sequence of dict
        ``boxes (M, 4)`` xyxy and ``labels (M,)`` of the same images in the same order;
        ``area``, ``ignored_boxes``, ``ignored_labels`` and ``image_id`` as
        :mod:`lucid_models_detection.data` describes them are optional.
    class_names : sequence or mapping of str
        The classes that are evaluated, as for :class:`CocoEvaluator`.

    Returns
    -------
    DetectionMetrics
        Of all images together.

    Raises
    ------
    lucid.MissingPackageError
        pycocotools is not installed.
    ValueError
        There is no image, the lists differ in length, or an entry is malformed; names the
        image.
    """
    evaluator = CocoEvaluator(class_names)
    evaluator.update(predictions, targets)
    return evaluator.compute()


def _rows(
    image: int, boxes: NDArray[np.float64], labels: NDArray[Any], **columns: Any
) -> list[dict[str, Any]]:
    """Annotations as COCO's tools want them; the only place where boxes become xywh."""
    values = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [
        {"image_id": image, "category_id": int(label), "bbox": xywh.tolist(), **row}
        for xywh, label, row in zip(box_ops.to_xywh(boxes), labels, values, strict=True)
    ]


def _true_rows(number: int, image: Compared) -> list[dict[str, Any]]:
    crowds = image.ignored_boxes, image.ignored_labels
    objects = {"area": image.area.tolist(), "iscrowd": [0] * len(image.area)}
    ignored = {"area": box_ops.area(crowds[0]).tolist(), "iscrowd": [1] * len(crowds[0])}
    return [
        *_rows(number, image.true_boxes, image.true_labels, **objects),
        *_rows(number, *crowds, **ignored),
    ]


def _found_rows(number: int, image: Compared) -> list[dict[str, Any]]:
    columns = {
        "score": image.scores.tolist(),
        "area": box_ops.area(image.boxes).tolist(),
        "iscrowd": [0] * len(image.scores),
    }
    return _rows(number, image.boxes, image.labels, **columns)


def import_pycocotools() -> tuple[Any, Any]:
    """Import ``pycocotools.coco`` and ``pycocotools.cocoeval``, or say how to install them."""
    try:
        return (
            importlib.import_module("pycocotools.coco"),
            importlib.import_module("pycocotools.cocoeval"),
        )
    except ImportError as error:
        raise MissingPackageError(
            "COCO's measures need pycocotools: "
            'pip install "lucid-models-detection[coco]" (or: pip install pycocotools)',
            name="pycocotools",
        ) from error


def _coco_tables(
    images: Sequence[Compared], labels: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (T, R, K, A, M) and recall (T, K, A, M), -1 where there was nothing.

    T thresholds of IoU, R levels of recall, K classes, A ranges of area, M limits on
    the number of detections of a class in an image (1, 10, 100, none).
    """
    coco, cocoeval = import_pycocotools()

    def table(rows_of: Callable[[int, Compared], list[dict[str, Any]]]) -> Any:
        rows = [row for number, image in enumerate(images) for row in rows_of(number, image)]
        result = coco.COCO()
        result.dataset = {
            "images": [{"id": number} for number in range(len(images))],
            "categories": [{"id": label} for label in labels],
            # Numbered from 1: to pycocotools an object of id 0 was never matched.
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
        }
        result.createIndex()
        return result

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = cocoeval.COCOeval(table(_true_rows), table(_found_rows), "bbox")
        # Matching goes from the best score down, so a higher limit changes nothing before it.
        most = largest_count(image.labels for image in images)
        evaluation.params.maxDets = [1, 10, COCO_LIMIT, max(most, COCO_LIMIT)]
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
    """Mean of the cells that were measured (pycocotools marks the others by -1)."""
    array = np.asarray(values)
    measured = array[array > -1]
    return float(measured.mean()) if measured.size else math.nan
