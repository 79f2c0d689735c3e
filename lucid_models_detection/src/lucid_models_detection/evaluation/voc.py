"""Pascal VOC mean average precision.

Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88, section 4.2;
the development kits of 2007 (11-point average precision) and of 2010 to 2012 (area under the
curve).

Detections of a class are matched by descending score over all images.  A detection is assigned to
the object of its class and image with the highest IoU.  It is a true positive if that IoU is at
least the threshold and the object was not matched before, else a false positive; detections
assigned to difficult objects are ignored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lucid.text import pluralize
from lucid_models_detection import boxes as box_ops
from lucid_models_detection.evaluation.evaluator import (
    DetectionEvaluator,
    ImageResult,
    format_table,
    lowest_score,
    nan_to_none,
    threshold_notes,
)
from lucid_models_detection.evaluation.precision_recall import PrecisionRecall

__all__ = ["VocClassMetrics", "VocEvaluator", "VocMetrics", "average_precision"]

Year = Literal[2007, 2012]


@dataclass(frozen=True, slots=True)
class VocClassMetrics:
    """Metrics of one class; nan if it has no objects.

    Attributes
    ----------
    label : int
        Label of the class.
    name : str
        Name of the class.
    objects : int
        Number of objects, excluding difficult ones.
    difficult : int
        Number of difficult objects, which are ignored.
    ap : float
        Average precision; see :func:`average_precision`.
    recall : float
        Fraction of the objects found by all detections.
    """

    label: int
    name: str
    objects: int
    difficult: int
    ap: float
    recall: float


@dataclass(frozen=True, slots=True)
class VocMetrics:
    """Pascal VOC metrics of a detector, in [0, 1], or nan without objects.

    Attributes
    ----------
    map : float
        Mean average precision over the classes with objects.
    year : int
        Definition of average precision, 2007 or 2012.
    iou_threshold : float
        Minimum IoU of a true positive.
    images, objects, difficult, detections : int
        Number of each.  The number of detections per image is not limited.
    lowest_score : float
        Lowest score of a detection; nan without detections.
    classes : tuple of VocClassMetrics
        Metrics of each class, by label.
    """

    map: float
    year: int
    iou_threshold: float
    images: int
    objects: int
    difficult: int
    detections: int
    lowest_score: float
    classes: tuple[VocClassMetrics, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-serializable dictionary; nan becomes None, ``classes`` a list."""
        values: dict[str, Any] = nan_to_none(asdict(self))
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on score thresholds that affect the metrics."""
        return threshold_notes(self.detections, self.lowest_score)

    def summary(self) -> str:
        """Return a line with the mean, and a line per note of :attr:`notes`."""
        images = pluralize(self.images, "image")
        mean = f"VOC {self.year} mAP@{self.iou_threshold:g} {self.map:.3f}  on {images}"
        return "\n".join((mean, *(f"note: {note}" for note in self.notes)))

    def table(self) -> str:
        """Return a plain-text table with a row per class and the mean."""
        rows = [(c.name, c.objects, (c.ap, c.recall)) for c in self.classes]
        return format_table(("AP", "recall"), rows, (self.map,))


def average_precision(correct: Any, objects: int, year: Year = 2012) -> float:
    """Average precision of one class.

    Parameters
    ----------
    correct : (D,) array of bool
        Whether each detection is a true positive, by descending score.
    objects : int
        Number of ground-truth objects.
    year : {2012, 2007}
        2012: area under the interpolated curve (the maximum precision at that recall or a
        higher one).  2007: mean of the interpolated precision at the recalls 0, 0.1, ... 1.

    Returns
    -------
    float
        Average precision in [0, 1]; nan without objects.

    Examples
    --------
    >>> from lucid_models_detection.evaluation import average_precision
    >>> round(average_precision([True, False, True], objects=4), 4)  # 1/4 * 1 + 1/4 * 2/3
    0.4167
    """
    if year not in (2007, 2012):
        raise ValueError(f"year: expected 2007 or 2012, got {year!r}")
    if objects == 0:
        return math.nan
    found = np.cumsum(np.asarray(correct, dtype=np.int64))
    if not found.size or found[-1] == 0:
        return 0.0
    precision = found / np.arange(1, len(found) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if year == 2012:
        steps = np.diff(found, prepend=0)
        return float((highest * steps).sum() / objects)
    # Integer arithmetic, so that a recall of exactly 3/10 reaches the level 0.3.
    first = np.searchsorted(10 * found, np.arange(11) * objects)
    return float(np.append(highest, 0.0)[first].sum() / 11)


class VocEvaluator(DetectionEvaluator):
    """Collect batches of predictions and targets, and compute Pascal VOC metrics.

    Parameters
    ----------
    class_names : sequence or mapping of str
        Classes to evaluate: a sequence ``class_names[label]`` with the background first (as
        ``dataset.class_names``), or a mapping of label to name, whose key 0 is ignored.
    iou_threshold : float, default 0.5
        Minimum IoU of a true positive, in (0, 1].
    year : {2012, 2007}
        Definition of average precision; see :func:`average_precision`.

    Notes
    -----
    Difficult objects are the ``ignored_boxes`` of the targets, as in
    :class:`~lucid_models_detection.data.VocDetection`.

    Examples
    --------
    >>> import numpy as np
    >>> from lucid_models_detection.evaluation import VocEvaluator
    >>> evaluator = VocEvaluator(["background", "cat"])
    >>> truth = {"boxes": np.array([[0, 0, 10, 10.0]]), "labels": np.array([1])}
    >>> guess = {"boxes": np.array([[0, 0, 10, 8.0]]), "labels": [1], "scores": [0.9]}
    >>> evaluator.update([guess], [truth])
    >>> evaluator.compute().map
    1.0
    """

    def __init__(
        self,
        class_names: Sequence[str] | Mapping[int, str],
        iou_threshold: float = 0.5,
        year: Year = 2012,
    ) -> None:
        super().__init__(class_names)
        if not 0 < iou_threshold <= 1:
            raise ValueError(f"iou_threshold: expected a number in (0, 1], got {iou_threshold}")
        if year not in (2007, 2012):
            raise ValueError(f"year: expected 2007 or 2012, got {year!r}")
        self.iou_threshold = float(iou_threshold)
        self.year: Year = year

    def compute(self) -> VocMetrics:
        """Compute the metrics of all batches added so far.

        Raises
        ------
        ValueError
            If nothing was added.
        """
        images = self._nonempty_results()
        classes = []
        for label, name in self.class_names.items():
            correct = self._match_class(images, label)
            objects = sum(int((image.true_labels == label).sum()) for image in images)
            difficult = sum(int((image.ignored_labels == label).sum()) for image in images)
            ap = average_precision(correct, objects, self.year)
            recall = float(correct.sum() / objects) if objects else math.nan
            classes.append(VocClassMetrics(label, name, objects, difficult, ap, recall))
        valid = [c.ap for c in classes if not math.isnan(c.ap)]
        return VocMetrics(
            map=float(np.mean(valid)) if valid else math.nan,
            year=self.year,
            iou_threshold=self.iou_threshold,
            images=len(images),
            objects=sum(c.objects for c in classes),
            difficult=sum(c.difficult for c in classes),
            detections=sum(len(image.labels) for image in images),
            lowest_score=lowest_score(images),
            classes=tuple(classes),
        )

    def precision_recall(self) -> dict[int, PrecisionRecall]:
        """Return precision and recall after each detection for each class with objects.

        Returns
        -------
        dict of int to PrecisionRecall
            Curves by label, not interpolated.
        """
        images = self._nonempty_results()
        curves = {}
        for label, name in self.class_names.items():
            objects = sum(int((image.true_labels == label).sum()) for image in images)
            if objects:
                correct = self._match_class(images, label)
                found = np.cumsum(correct)
                precision = found / np.arange(1, len(found) + 1)
                ap = average_precision(correct, objects, self.year)
                curves[label] = PrecisionRecall(name, found / objects, precision, ap)
        return curves

    def _match_class(self, images: Sequence[ImageResult], label: int) -> NDArray[np.bool_]:
        """Return whether each detection of a class is a true positive, excluding ignored ones.

        Detections are in descending order of score.  Matching per image is equivalent to matching
        over all images, since objects of one image cannot match detections of another.
        """
        scores, matches = [np.zeros(0)], [np.zeros(0, np.int64)]
        for image in images:
            chosen = np.flatnonzero(image.labels == label)
            chosen = chosen[np.argsort(-image.scores[chosen], kind="stable")]
            scores.append(image.scores[chosen])
            matches.append(
                _match_image(
                    image.boxes[chosen],
                    image.true_boxes[image.true_labels == label],
                    image.ignored_boxes[image.ignored_labels == label],
                    self.iou_threshold,
                )
            )
        ordered = np.concatenate(matches)[np.argsort(-np.concatenate(scores), kind="stable")]
        return np.asarray(ordered[ordered >= 0] == 1)


def _match_image(
    boxes: NDArray[np.float64],
    objects: NDArray[np.float64],
    difficult: NDArray[np.float64],
    threshold: float,
) -> NDArray[np.int64]:
    """Match boxes by descending score: 1 true positive, 0 false positive, -1 ignored."""
    matches = np.zeros(len(boxes), np.int64)
    if not len(objects) + len(difficult):
        return matches
    overlap = box_ops.iou(boxes, np.concatenate([objects, difficult]))
    taken = np.zeros(len(objects), bool)
    for i, row in enumerate(overlap):
        j = int(row.argmax())
        if row[j] < threshold:
            continue
        if j >= len(objects):
            matches[i] = -1
        elif not taken[j]:
            taken[j] = True
            matches[i] = 1
    return matches
