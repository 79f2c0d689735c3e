"""Pascal VOC's measure of a detector.

Everingham et al. 2010, "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88,
section 4.2; the development kits of 2007 (average precision from eleven levels of
recall) and of 2010 to 2012 (the area under the whole curve).

Of each class, all detections of all images are taken from the best score down.  A
detection belongs to the object of its class and image that it overlaps most.  It is
right if that IoU is at least the threshold and no better detection has this object
already, else it is wrong; one that belongs to a difficult object counts as neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

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
from lucid_models_detection.evaluation.notes import threshold_notes

__all__ = ["VocClassMetrics", "VocEvaluator", "VocMetrics", "average_precision"]

Year = Literal[2007, 2012]


@dataclass(frozen=True, slots=True)
class VocClassMetrics:
    """What :class:`VocMetrics` gives, for one class; nan where it has no object.

    Attributes
    ----------
    label : int
        Number of the class.
    name : str
        Its name.
    objects : int
        How many there were to find, difficult ones apart.
    difficult : int
        How many are difficult, which count neither as found nor as missed.
    ap : float
        Average precision; see :func:`average_precision`.
    recall : float
        Share of the objects that all detections together find.
    """

    label: int
    name: str
    objects: int
    difficult: int
    ap: float
    recall: float


@dataclass(frozen=True, slots=True)
class VocMetrics:
    """The result of an evaluation; measures are in [0, 1], nan where there was no object.

    Attributes
    ----------
    map : float
        Mean average precision over the classes that have objects.
    year : int
        Whose definition of average precision it is, 2007 or 2012.
    iou_threshold : float
        IoU from which on a detection has found its object.
    images, objects, difficult, detections : int
        How many of each were compared.  Detections of an image are not limited in number.
    lowest_score : float
        Lowest score of a detection; nan without detections.
    classes : tuple of VocClassMetrics
        The measures of each class, in the order of the labels.
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
        """A dictionary that JSON can hold: nan becomes None, ``classes`` a list."""
        values: dict[str, Any] = without_nan(asdict(self))
        return values

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on thresholds that the measures depend on; often none."""
        return threshold_notes(self.detections, self.lowest_score)

    def summary(self) -> str:
        """The mean in a line of plain text, and a line for each of :attr:`notes`."""
        images = counted(self.images, "image")
        mean = f"VOC {self.year} mAP@{self.iou_threshold:g} {self.map:.3f}  on {images}"
        return "\n".join((mean, *(f"note: {note}" for note in self.notes)))

    def table(self) -> str:
        """A table in plain text: a line for each class, then the mean."""
        width = max([len("class"), len("mean"), *(len(c.name) for c in self.classes)])
        head = f"{'class':<{width}}  objects     AP recall"
        lines = [head, "-" * len(head)]
        for c in self.classes:
            lines.append(table_row(f"{c.name:<{width}}", c.objects, c.ap, c.recall))
        lines.append("-" * len(head))
        lines.append(table_row(f"{'mean':<{width}}", self.objects, self.map))
        return "\n".join(lines)


def average_precision(right: Any, objects: int, year: Year = 2012) -> float:
    """Average precision of one class.

    Parameters
    ----------
    right : (D,) array of bool
        Whether each detection is right, from the best score down.
    objects : int
        How many there were to find.
    year : {2012, 2007}
        2012: the area under the curve, where precision at a recall is the highest
        at that recall or a greater one.  2007: the mean of that precision at the
        recalls 0, 0.1, ... 1.

    Returns
    -------
    float
        In [0, 1]; nan without objects.

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
    found = np.cumsum(np.asarray(right, dtype=np.int64))
    if not found.size or found[-1] == 0:
        return 0.0
    precision = found / np.arange(1, len(found) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    if year == 2012:
        steps = np.diff(found, prepend=0)
        return float((highest * steps).sum() / objects)
    # In whole numbers, so that a recall of exactly three tenths reaches the level 0.3.
    first = np.searchsorted(10 * found, np.arange(11) * objects)
    return float(np.append(highest, 0.0)[first].sum() / 11)


class VocEvaluator(Collector):
    """Collects predictions and targets, batch by batch, and measures them together.

    Parameters
    ----------
    class_names : sequence or mapping of str
        The classes that are evaluated: for a sequence, ``class_names[label]`` with the
        background first (as ``dataset.class_names``); for a mapping, its keys but 0.
    iou_threshold : float, default 0.5
        IoU from which on a detection has found its object.
    year : {2012, 2007}
        How precision is averaged; see :func:`average_precision`.

    Notes
    -----
    Difficult objects are the ``ignored_boxes`` of the targets, as
    :class:`~lucid_models_detection.data.VocDetection` gives them.

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
        """Measure everything collected so far.

        Raises
        ------
        ValueError
            Nothing was collected.
        """
        images = self._collected()
        classes = []
        for label, name in self.class_names.items():
            right = self._judged(images, label)
            objects = sum(int((image.true_labels == label).sum()) for image in images)
            difficult = sum(int((image.ignored_labels == label).sum()) for image in images)
            ap = average_precision(right, objects, self.year)
            recall = float(right.sum() / objects) if objects else math.nan
            classes.append(VocClassMetrics(label, name, objects, difficult, ap, recall))
        measured = [c.ap for c in classes if not math.isnan(c.ap)]
        return VocMetrics(
            map=float(np.mean(measured)) if measured else math.nan,
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
        """Precision and recall after each detection, for every class that has objects.

        Returns
        -------
        dict of int to PrecisionRecall
            By label; as measured, not made to fall.
        """
        images = self._collected()
        curves = {}
        for label, name in self.class_names.items():
            objects = sum(int((image.true_labels == label).sum()) for image in images)
            if objects:
                right = self._judged(images, label)
                found = np.cumsum(right)
                precision = found / np.arange(1, len(found) + 1)
                ap = average_precision(right, objects, self.year)
                curves[label] = PrecisionRecall(name, found / objects, precision, ap)
        return curves

    def _judged(self, images: Sequence[Compared], label: int) -> NDArray[np.bool_]:
        """Right or wrong of every detection of a class, best first, without those that count not.

        Objects are taken image by image: a better detection of another image takes none away.
        """
        scores, right = [np.zeros(0)], [np.zeros(0, np.int64)]
        for image in images:
            chosen = np.flatnonzero(image.labels == label)
            chosen = chosen[np.argsort(-image.scores[chosen], kind="stable")]
            scores.append(image.scores[chosen])
            right.append(
                _judge(
                    image.boxes[chosen],
                    image.true_boxes[image.true_labels == label],
                    image.ignored_boxes[image.ignored_labels == label],
                    self.iou_threshold,
                )
            )
        verdicts = np.concatenate(right)[np.argsort(-np.concatenate(scores), kind="stable")]
        return np.asarray(verdicts[verdicts >= 0] == 1)


def _judge(
    found: NDArray[np.float64],
    objects: NDArray[np.float64],
    difficult: NDArray[np.float64],
    threshold: float,
) -> NDArray[np.int64]:
    """1 for right, 0 for wrong, -1 for what is of a difficult object; ``found`` is best first."""
    verdicts = np.zeros(len(found), np.int64)
    if not len(objects) + len(difficult):
        return verdicts
    overlap = box_ops.iou(found, np.concatenate([objects, difficult]))
    taken = np.zeros(len(objects), bool)
    for i, row in enumerate(overlap):
        j = int(row.argmax())
        if row[j] < threshold:
            continue
        if j >= len(objects):
            verdicts[i] = -1
        elif not taken[j]:
            taken[j] = True
            verdicts[i] = 1
    return verdicts
