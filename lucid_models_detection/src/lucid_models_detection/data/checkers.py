"""COCO and VOC checkers for ``lucid check-data``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lucid.data.checkers import DataChecker
from lucid.data.report import DataReport, InvalidDataError
from lucid_models_detection.data.box_formats import check_box_format
from lucid_models_detection.data.coco import CocoDetection
from lucid_models_detection.data.detection_dataset import DetectionDataset
from lucid_models_detection.data.orientation import check_box_orientation
from lucid_models_detection.data.voc import VocDetection, conversion_command
from lucid_models_detection.data.voc_files import (
    IMAGE_FOLDERS,
    is_annotation,
    parse,
    voc_folders,
)

__all__ = ["CHECKERS", "check_coco", "check_voc"]

_OPTIONS = ("box_format", "box_orientation")


def check_coco(data: Path, images: Path | None = None, **options: Any) -> DataReport:
    """Check a COCO file and its images as training does.

    Without ``images``, uses the folder of the file or an image folder in it that has one of the
    first images; if there is none, no image is opened.
    """
    _check_options(**options)
    found = images or _images_of_coco(data)
    folder = data.parent if found is None else found
    return _report(
        data,
        lambda: CocoDetection(data, folder, on_invalid="skip", **options),
        opened=found is not None,
    )


def check_voc(data: Path, images: Path | None = None, **options: Any) -> DataReport:
    """Check a folder of VOC annotations and its images.

    Without ``images``, uses an image folder beside the annotations, else the annotation folder.
    """
    _check_options(**options)
    folder, found = voc_folders(data)
    images = images or found
    report = _report(
        data, lambda: VocDetection(folder, images, class_names=None, on_invalid="skip", **options)
    )
    command = conversion_command(folder, images)
    report.count("convert", 1, f"train-detector and evaluate read COCO files; write one: {command}")
    return report


def _check_options(box_format: Any = None, box_orientation: Any = None) -> None:
    check_box_format(box_format)
    check_box_orientation(box_orientation)


def _report(data: Path, read: Callable[[], DetectionDataset], *, opened: bool = True) -> DataReport:
    try:
        dataset = read()
        if opened:
            dataset.check_images()
    except InvalidDataError as error:
        return error.report
    except ValueError as error:  # not a file of this format
        report = DataReport(str(data))
        report.add("bad-format", str(error).removeprefix(f"{data}: "))
        return report
    report = dataset.report
    if not sum(report.classes.values()):
        missing = "object" if report.classes else "class"
        report.count("nothing-to-learn", 1, f"expected at least one {missing}, got none")
    if not opened:
        report.count(
            "unopened", len(dataset), "pass --images, the folder that file_name is relative to"
        )
    return report


def _images_of_coco(data: Path) -> Path | None:
    try:
        names = [image["file_name"] for image in json.loads(data.read_bytes())["images"]]
    except (ValueError, LookupError, TypeError):  # reported when the file is read
        return None
    folders = [data.parent, *(data.parent / name for name in IMAGE_FOLDERS)]
    for name in names[:10]:
        for folder in folders:
            if isinstance(name, str) and (folder / name.replace("\\", "/")).is_file():
                return folder
    return None


def _fits_coco(data: Path) -> int:
    return 2 * (data.is_file() and data.suffix.lower() != ".xml")


def _fits_voc(data: Path) -> int:
    if not data.is_dir():
        return 0
    folder, _ = voc_folders(data)
    first = next((path for path in folder.rglob("*") if is_annotation(path, folder)), None)
    if first is None:
        return 0
    try:
        parse(first)
    except ValueError:
        return 0
    return 2


CHECKERS = (
    DataChecker("coco", "a COCO JSON file", _fits_coco, check_coco, _OPTIONS),
    DataChecker("voc", "a folder of Pascal VOC XML files", _fits_voc, check_voc, _OPTIONS),
)
