"""Reader of the COCO annotation format (``instances_*.json``).

The format: https://cocodataset.org/#format-data (section "Object Detection").
Boxes are ``[x, y, width, height]`` in the file and xyxy from here on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport, OnInvalid
from lucid.vision import read_header
from lucid_models_detection.data.annotated import AnnotatedImages, ReadHeader, check_on_invalid
from lucid_models_detection.data.box_formats import BoxFormat, check_box_format
from lucid_models_detection.data.coco_categories import (
    FileCategories,
    class_names_of,
    read_categories,
)
from lucid_models_detection.data.coco_file import read_json
from lucid_models_detection.data.coco_images import FileImages, read_images
from lucid_models_detection.data.coco_objects import read_objects, source_of
from lucid_models_detection.data.objects import Objects
from lucid_models_detection.data.orientation import BoxOrientation, check_box_orientation
from lucid_models_detection.data.targets import SampleTransform
from lucid_models_detection.data.values import Id, as_id, id_order

__all__ = ["CocoDetection", "read_categories", "read_images"]


class CocoDetection(AnnotatedImages):
    """Images and boxes of a COCO JSON file.

    The whole file is checked when the dataset is made, so that a bad annotation
    does not surface in the middle of an epoch; images are read when asked for.
    Images without any annotation are part of the dataset.

    Parameters
    ----------
    annotation_file : path
        The JSON file, with ``images``, ``annotations`` and ``categories``.
    image_directory : path
        Folder that the images' ``file_name`` is relative to.
    category_ids : mapping of (int or str) to (int or None), optional
        The label of each category id of the file.  Labels start at 1 (0 is the
        background) and leave no gap; two categories may share one; None leaves
        the category's objects out.  A category that has annotations must be
        mentioned.  Default: the file's categories in the order of their ids
        become 1, 2, 3, ... (COCO's own ids, 1 to 90, have gaps).  Give the same
        mapping to the training and the validation set: ``train.category_ids``.
    transform : callable, optional
        ``transform(image, target) -> (image, target)``, applied to each sample.
    on_invalid : {"raise", "skip"}, default "raise"
        What to do with images and annotations that cannot be used.  ``"skip"`` leaves them
        out, unless that would be more than half.
    box_format : str, optional
        How ``bbox`` is written: ``"xywh"``, ``"xyxy"``, ``"cxcywh"``, or one of these after
        ``"normalized-"`` for fractions of the image.  Default: ``"xywh"``, but a file whose boxes
        look like another format is refused.
    box_orientation : {"upright", "stored"}, optional
        What the boxes of images with an EXIF orientation were drawn on: the image as viewers
        show it, or its pixels as stored.  Samples are always upright.  Default: what width and
        height of the annotations say, which is ``"upright"`` or refused; where they do not
        decide, such images are refused when they are opened.
    header : callable, optional
        Reads size and orientation of an image, where the file does not say the size.  Default
        ``lucid.vision.read_header``.

    Attributes
    ----------
    report : lucid.data.report.DataReport
        What was found wrong or remarkable, with counts.
    skipped : int
        Annotations that were left out.
    category_ids : dict of (int or str) to (int or None)
        The label of each category id.  Ids that are whole numbers are integers, whether the file
        has ``1``, ``1.0`` or ``"1"``.
    category_names : dict of (int or str) to str
        Name of each category of the file, by id, without root categories.
    own_category_ids : dict of (int or str) to (int or str)
        Each category id as the file spells it.
    class_names : tuple of str
        The name of each label, ``"background"`` first.
    num_classes : int
        Number of classes including the background, as the models count them.

    Raises
    ------
    ValueError
        The file is not of this format, or contradicts itself; names file, image
        and annotation, and lists up to ten problems at once.
    FileNotFoundError
        There is no such file.

    Notes
    -----
    A sample is ``(image, target)``: see :mod:`lucid_models_detection.data`.
    Crowds (``iscrowd``) are in ``ignored_boxes``.  An annotation without ``bbox``, or
    with one that only fills the field (such as four zeros), gets the box around its
    ``segmentation``.  A category without annotations that is the ``supercategory`` of
    another, or is called background, is no class.
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

        used = {as_id(raw.get("category_id")) for raw in rows}
        categories = FileCategories.found(content["categories"], used, report)
        self.category_names = categories.names
        self.own_category_ids = categories.own_ids
        self.category_ids = _labels(category_ids, categories)
        self.class_names = class_names_of(
            self.category_ids, {**categories.roots, **categories.names}
        )
        categories.check(report, self.category_ids, used)
        if report.number("fatal"):  # annotations would only repeat it
            report.resolve(on_invalid)

        images = FileImages(
            content["images"], self.image_directory, report, header, box_orientation
        )
        objects = read_objects(rows, images, self.category_ids, categories.names, report)
        sources = objects.sources
        self._take(
            images.entries,
            Objects.checked(
                objects,
                images.sizes,
                report,
                lambda row: source_of(rows[sources[row]], sources[row], images, bbox=True),
                box_format=box_format,
                usual="xywh",
            ),
            on_invalid,
            box_orientation,
        )


def _labels(
    given: Mapping[Any, int | None] | None, categories: FileCategories
) -> dict[Id, int | None]:
    """The label of each category id."""
    if given is None:
        ordered = sorted(categories.names, key=id_order)
        return {category: i for i, category in enumerate(ordered, start=1)}
    labels: dict[Id, int | None] = {}
    for key, label in given.items():
        id = as_id(key)
        if id is None or id in labels:
            raise ValueError(f"category_ids: expected distinct category ids, got {key!r}")
        labels[id] = label
    return labels
