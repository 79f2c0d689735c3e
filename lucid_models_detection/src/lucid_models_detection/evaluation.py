"""COCO's measures of a detector, by pycocotools.

Mean average precision and recall as https://cocodataset.org/#detection-eval defines
them: a detection is right when it has the class of an object and at least a certain
IoU with it; precision is averaged over 101 levels of recall, then over classes and,
for the main figure, over the IoU thresholds 0.50, 0.55, ... 0.95.

Needs pycocotools: ``pip install "lucid-models-detection[coco]"``.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassMetrics", "CocoEvaluator", "DetectionMetrics", "evaluate_detections"]

AREAS = ("all", "small", "medium", "large")


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """What :class:`DetectionMetrics` gives, for one class; nan where it has no object."""

    label: int
    name: str
    objects: int
    ap: float
    ap_50: float
    ap_75: float
    ar: float


@dataclass(frozen=True, slots=True)
class DetectionMetrics:
    """The result of an evaluation; every measure is in [0, 1], nan where nothing was there.

    Attributes
    ----------
    map : float
        Mean average precision over the IoU thresholds 0.50 to 0.95.
    map_50, map_75 : float
        The same at the one threshold 0.5, 0.75.
    map_small, map_medium, map_large : float
        ``map`` of objects of less than 32 * 32 pixels of area, up to 96 * 96, above.
    mar_1, mar_10, mar_100 : float
        Mean recall, over thresholds and classes, with at most 1, 10, 100 detections
        an image.
    mar_small, mar_medium, mar_large : float
        ``mar_100`` by area.
    images, objects, detections : int
        How many of each were compared.
    classes : tuple of ClassMetrics
        The measures of each class, in the order of the labels.
    """

    map: float
    map_50: float
    map_75: float
    map_small: float
    map_medium: float
    map_large: float
    mar_1: float
    mar_10: float
    mar_100: float
    mar_small: float
    mar_medium: float
    mar_large: float
    images: int
    objects: int
    detections: int
    classes: tuple[ClassMetrics, ...]

    def as_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold: nan becomes None, ``classes`` a list."""
        values: dict[str, Any] = _without_nan(asdict(self))
        return values

    def table(self) -> str:
        """A table in plain text: a line for each class, then the means."""
        width = max([len("class"), len("mean"), *(len(c.name) for c in self.classes)])
        head = f"{'class':<{width}}  objects     AP   AP50   AP75     AR"
        lines = [head, "-" * len(head)]
        for c in self.classes:
            lines.append(_row(f"{c.name:<{width}}", c.objects, c.ap, c.ap_50, c.ap_75, c.ar))
        lines.append("-" * len(head))
        mean = (self.map, self.map_50, self.map_75, self.mar_100)
        lines.append(_row(f"{'mean':<{width}}", self.objects, *mean))
        return "\n".join(lines)


def _row(name: str, objects: int, *values: float) -> str:
    cells = (f"{'-':>5}" if math.isnan(v) else f"{v:5.3f}" for v in values)
    return "  ".join((name, f"{objects:7d}", *cells))


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


class CocoEvaluator:
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

    def __init__(self, class_names: Sequence[str] | Mapping[int, str]) -> None:
        if isinstance(class_names, str):
            raise TypeError(f"expected a sequence of class names, got the string {class_names!r}")
        named = class_names if isinstance(class_names, Mapping) else dict(enumerate(class_names))
        self.class_names = {label: name for label, name in sorted(named.items()) if label != 0}
        if not self.class_names:
            raise ValueError(f"expected at least one class beside the background, got {named}")
        self._images: list[dict[str, Any]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

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
        known = {image["name"] for image in self._images}
        images: list[dict[str, Any]] = []
        truth: list[dict[str, Any]] = []
        found: list[dict[str, Any]] = []
        for prediction, target in zip(predictions, targets, strict=True):
            number = len(self._images) + len(images)
            name = _image_name(prediction, target, number)
            if name in known:
                raise ValueError(
                    f"image {name!r} was already evaluated: its objects would count twice"
                )
            known.add(name)
            images.append({"id": number, "name": name})
            truth += self._objects(target, number, f"target of image {name!r}")
            found += self._detections(prediction, number, f"prediction of image {name!r}")
        self._images += images
        self._truth += truth
        self._found += found

    def compute(self) -> DetectionMetrics:
        """Measure everything collected so far.

        Raises
        ------
        ImportError
            pycocotools is not installed.
        ValueError
            Nothing was collected.
        """
        if not self._images:
            raise ValueError("nothing to evaluate: no batch was given to update()")
        tables = _coco_tables(self._images, list(self.class_names), self._truth, self._found)
        objects = [t["category_id"] for t in self._truth if not t["iscrowd"]]
        return _metrics(
            *tables,
            class_names=self.class_names,
            objects={label: objects.count(label) for label in self.class_names},
            images=len(self._images),
            detections=len(self._found),
        )

    def _objects(self, target: Mapping[str, Any], image: int, where: str) -> list[dict[str, Any]]:
        boxes, labels = self._boxes_and_labels(target, "boxes", "labels", where)
        area = np.asarray(target.get("area", (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)))
        if area.shape != labels.shape:
            raise ValueError(f"{where}: {len(labels)} boxes but area has shape {area.shape}")
        rows = [
            _row_of(image, b, c, area=float(a)) for b, c, a in zip(boxes, labels, area, strict=True)
        ]
        if "ignored_boxes" in target:
            ignored = self._boxes_and_labels(target, "ignored_boxes", "ignored_labels", where)
            rows += [_row_of(image, b, c, crowd=True) for b, c in zip(*ignored, strict=True)]
        return rows

    def _detections(
        self, prediction: Mapping[str, Any], image: int, where: str
    ) -> list[dict[str, Any]]:
        boxes, labels = self._boxes_and_labels(prediction, "boxes", "labels", where)
        if "scores" not in prediction:
            raise ValueError(f"{where}: expected 'scores', found {sorted(prediction)}")
        scores = np.asarray(prediction["scores"], dtype=np.float64).reshape(-1)
        if scores.shape != labels.shape or not np.isfinite(scores).all():
            raise ValueError(
                f"{where}: expected a finite score for each of {len(labels)} boxes, got {scores}"
            )
        triples = zip(boxes, labels, scores, strict=True)
        return [{**_row_of(image, b, c), "score": float(s)} for b, c, s in triples]

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


def evaluate_detections(
    predictions: Sequence[Mapping[str, Any]],
    targets: Sequence[Mapping[str, Any]],
    class_names: Sequence[str] | Mapping[int, str],
) -> DetectionMetrics:
    """Measure predictions against targets in one call; see :class:`CocoEvaluator`."""
    evaluator = CocoEvaluator(class_names)
    evaluator.update(predictions, targets)
    return evaluator.compute()


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


def _row_of(
    image: int,
    box: NDArray[np.float64],
    label: Any,
    area: float | None = None,
    crowd: bool = False,
) -> dict[str, Any]:
    """One annotation as COCO's tools want it; the only place where boxes become xywh."""
    x1, y1, x2, y2 = (float(v) for v in box)
    width, height = x2 - x1, y2 - y1
    return {
        "image_id": image,
        "category_id": int(label),
        "bbox": [x1, y1, width, height],
        "area": width * height if area is None else area,
        "iscrowd": int(crowd),
    }


def _coco_tables(
    images: list[dict[str, Any]],
    labels: list[int],
    truth: list[dict[str, Any]],
    found: list[dict[str, Any]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision (T, R, K, A, M) and recall (T, K, A, M), -1 where there was nothing.

    T thresholds of IoU, R levels of recall, K classes, A ranges of area, M limits on
    the number of detections (1, 10, 100).
    """
    try:
        coco = importlib.import_module("pycocotools.coco")
        cocoeval = importlib.import_module("pycocotools.cocoeval")
    except ImportError as error:
        raise ImportError(
            "COCO's measures need pycocotools: "
            'pip install "lucid-models-detection[coco]" (or: pip install pycocotools)'
        ) from error

    def table(rows: list[dict[str, Any]]) -> Any:
        result = coco.COCO()
        result.dataset = {
            "images": [{"id": image["id"]} for image in images],
            "categories": [{"id": label} for label in labels],
            # Numbered from 1: to pycocotools an object of id 0 was never matched.
            "annotations": [{**row, "id": i} for i, row in enumerate(rows, start=1)],
        }
        result.createIndex()
        return result

    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        evaluation = cocoeval.COCOeval(table(truth), table(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _metrics(
    precision: NDArray[np.float64],
    recall: NDArray[np.float64],
    *,
    class_names: Mapping[int, str],
    objects: Mapping[int, int],
    images: int,
    detections: int,
) -> DetectionMetrics:
    by_area = {area: _mean(precision[:, :, :, a, 2]) for a, area in enumerate(AREAS)}
    recall_by_area = {area: _mean(recall[:, :, a, 2]) for a, area in enumerate(AREAS)}
    classes = tuple(
        ClassMetrics(
            label=label,
            name=name,
            objects=objects[label],
            ap=_mean(precision[:, :, k, 0, 2]),
            ap_50=_mean(precision[0, :, k, 0, 2]),
            ap_75=_mean(precision[5, :, k, 0, 2]),
            ar=_mean(recall[:, k, 0, 2]),
        )
        for k, (label, name) in enumerate(class_names.items())
    )
    return DetectionMetrics(
        map=by_area["all"],
        map_50=_mean(precision[0, :, :, 0, 2]),
        map_75=_mean(precision[5, :, :, 0, 2]),
        map_small=by_area["small"],
        map_medium=by_area["medium"],
        map_large=by_area["large"],
        mar_1=_mean(recall[:, :, 0, 0]),
        mar_10=_mean(recall[:, :, 0, 1]),
        mar_100=recall_by_area["all"],
        mar_small=recall_by_area["small"],
        mar_medium=recall_by_area["medium"],
        mar_large=recall_by_area["large"],
        images=images,
        objects=sum(objects.values()),
        detections=detections,
        classes=classes,
    )


def _mean(values: Iterable[float] | NDArray[np.float64]) -> float:
    """Mean of the cells that were measured (pycocotools marks the others by -1)."""
    array = np.asarray(values)
    measured = array[array > -1]
    return float(measured.mean()) if measured.size else math.nan
