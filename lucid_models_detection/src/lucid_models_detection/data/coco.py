"""COCO dataset: images with the boxes of a COCO annotation file (``instances_*.json``).

Format: https://cocodataset.org/#format-data, section "Object Detection".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport, OnInvalid
from lucid.vision import read_header
from lucid_models_detection.data.annotations import Annotations
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.coco_categories import (
    CocoCategories,
    class_names_of,
    read_categories,
)
from lucid_models_detection.data.coco_json import read_json
from lucid_models_detection.data.coco_reader import (
    CocoImages,
    annotation_source,
    read_annotations,
    read_images,
)
from lucid_models_detection.data.detection_dataset import (
    DetectionDataset,
    ReadHeader,
    check_on_invalid,
)
from lucid_models_detection.data.field_parsing import Id, id_sort_key, parse_id
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.types import SampleTransform

__all__ = [
    "COCO_CATEGORY_IDS",
    "COCO_CLASSES",
    "CocoDetection",
    "read_categories",
    "read_images",
]

_NAMES = """
    background, person, bicycle, car, motorcycle, airplane, bus, train, truck, boat,
    traffic light, fire hydrant, N/A, stop sign, parking meter, bench, bird, cat, dog, horse,
    sheep, cow, elephant, bear, zebra, giraffe, N/A, backpack, umbrella, N/A, N/A, handbag, tie,
    suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove,
    skateboard, surfboard, tennis racket, bottle, N/A, wine glass, cup, fork, knife, spoon, bowl,
    banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch,
    potted plant, bed, N/A, dining table, N/A, N/A, toilet, N/A, tv, laptop, mouse, remote,
    keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, N/A, book, clock, vase,
    scissors, teddy bear, hair drier, toothbrush
"""

#: Class names of COCO's detection task by category id, 0 to 90: ``"background"``, the eighty
#: annotated categories, and ``"N/A"`` for the ten unused ids.
COCO_CLASSES = tuple(name.strip() for name in _NAMES.split(","))

#: Labels 1 to 80, without gaps, of the eighty annotated category ids.  Pass them as
#: ``CocoDetection(..., category_ids=COCO_CATEGORY_IDS)`` to train a model of 81 classes, even on
#: a file that has only some of the categories.
COCO_CATEGORY_IDS = {
    id: label
    for label, id in enumerate(
        (id for id, name in enumerate(COCO_CLASSES) if id and name != "N/A"), start=1
    )
}


class CocoDetection(DetectionDataset):
    """Images and boxes of a COCO JSON file.

    The annotations are checked when the dataset is created; images are read when indexed.
    Images without annotations are samples too.

    Parameters
    ----------
    annotation_file : path
        JSON file with ``images``, ``annotations`` and ``categories``.
    image_directory : path
        Folder that ``file_name`` is relative to.
    category_ids : mapping of (int or str) to (int or None), optional
        Label of each category id of the file.  Labels are 1, 2, 3, ... without gaps (0 is the
        background); several categories may share a label; None leaves the objects of a
        category out.  Every category with annotations needs an entry.  Default: the ids in
        ascending order become 1, 2, 3, ... (COCO's own ids, 1 to 90, have gaps).  Pass the
        mapping of the training set to the validation set: ``train.category_ids``.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        Handling of invalid images and annotations.  ``"skip"`` leaves them out, and
        raises if they are more than half.
    box_format : str, optional
        Format of ``bbox``: ``"xywh"``, ``"xyxy"``, ``"cxcywh"``, or one of these after
        ``"normalized-"`` for fractions of the image size.  Default: ``"xywh"``, and raise if
        the boxes look like another format.
    box_orientation : {"upright", "stored"}, optional
        Image that the boxes refer to if it has an EXIF orientation: as viewers show it, or its
        pixels as stored.  Samples are always upright.  Default: check that width and height
        are those of the upright image; raise if they are those of the stored pixels, or fit
        both.
    header : callable, optional
        Reads size and orientation of images without a size in the file.  Default:
        ``lucid.vision.read_header``.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        Problems and statistics.
    skipped : int
        Number of annotations left out.
    category_ids : dict of (int or str) to (int or None)
        Label of each category id.  Integral ids are integers, whether the file has ``1``,
        ``1.0`` or ``"1"``.
    category_names : dict of (int or str) to str
        Name of each category id, without root categories.
    original_category_ids : dict of (int or str) to (int or str)
        Each category id as spelled in the file.
    class_names : tuple of str
        Name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background.

    Raises
    ------
    ValueError
        If the file is not a valid COCO file; lists up to ten problems with file, image and
        annotation.
    FileNotFoundError
        If the file does not exist.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.
    Crowds (``iscrowd``) are in ``ignored_boxes``.  An annotation without ``bbox``, or with a
    placeholder such as four zeros, gets the bounding box of its ``segmentation``.  A category
    without annotations that is the ``supercategory`` of another, or is named background, is a
    root category, not a class.
    """

    def __init__(
        self,
        annotation_file: str | Path,
        image_directory: str | Path,
        *,
        category_ids: Mapping[Any, int | None] | None = None,
        transform: SampleTransform | None = None,
        on_invalid: OnInvalid = "raise",
        box_format: BoxFormat | None = None,
        box_orientation: BoxOrientation | None = None,
        header: ReadHeader = read_header,
    ) -> None:
        check_on_invalid(on_invalid)
        check_box_format(box_format)
        check_box_orientation(box_orientation)
        self.annotation_file = Path(annotation_file)
        self.image_directory = Path(image_directory)
        self.transform = transform
        content = read_json(self.annotation_file)
        rows: list[dict[str, Any]] = content["annotations"]
        self.report = report = DataReport(str(self.annotation_file))
        report.totals.update(images=len(content["images"]), annotations=len(rows))

        used = {parse_id(raw.get("category_id")) for raw in rows}
        categories = CocoCategories.from_rows(content["categories"], used, report)
        self.category_names = categories.names
        self.original_category_ids = categories.original_ids
        self.category_ids = _labels(category_ids, categories)
        self.class_names = class_names_of(
            self.category_ids, {**categories.roots, **categories.names}
        )
        categories.check(report, self.category_ids, used)
        if report.number("fatal"):  # annotations would repeat the same problems
            report.resolve(on_invalid)

        images = CocoImages(
            content["images"], self.image_directory, report, header, box_orientation
        )
        raw = read_annotations(rows, images, self.category_ids, categories.names, report)
        sources = raw.sources
        annotations = Annotations.from_raw(
            raw,
            images.sizes,
            report,
            lambda row: annotation_source(rows[sources[row]], sources[row], images, bbox=True),
            box_format=box_format,
            default_format="xywh",
        )
        self._set_annotations(images.entries, annotations, on_invalid, box_orientation)


def _labels(
    given: Mapping[Any, int | None] | None, categories: CocoCategories
) -> dict[Id, int | None]:
    """Return the label of each category id."""
    if given is None:
        ordered = sorted(categories.names, key=id_sort_key)
        return {category: i for i, category in enumerate(ordered, start=1)}
    labels: dict[Id, int | None] = {}
    for key, label in given.items():
        id = parse_id(key)
        if id is None or id in labels:
            raise ValueError(f"category_ids: expected distinct category ids, got {key!r}")
        labels[id] = label
    return labels
