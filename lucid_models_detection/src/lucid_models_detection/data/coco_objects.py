"""Annotations of a COCO file: image, class, box, area and crowd flag of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lucid.data.report import DataReport
from lucid_models_detection.data.coco_images import FileImages
from lucid_models_detection.data.objects import ObjectRows
from lucid_models_detection.data.outlines import is_placeholder, mask_size, outline_box
from lucid_models_detection.data.sources import Source
from lucid_models_detection.data.values import (
    Id,
    as_flag,
    as_id,
    as_number,
    id_or_number,
    id_order,
    shown,
)

__all__ = ["read_objects", "source_of"]

_NUMBERS = {int, float}
_BOX = "expected four numbers [x, y, width, height]"


class _InvalidError(Exception):
    """An annotation that is left out; ``kind`` and message of its finding."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _LeftOutError(Exception):
    """An annotation that is left out without a finding of its own; says what counts it."""


def read_objects(
    rows: Sequence[dict[str, Any]],
    images: FileImages,
    labels: Mapping[Id, int | None],
    names: Mapping[Id, str],
    report: DataReport,
) -> ObjectRows:
    """Collect the annotations that name an image and a class; report the others.

    Parameters
    ----------
    rows : sequence of dict
        The file's ``annotations``.
    images : FileImages
        The file's images.
    labels : mapping
        Label of each category by id; None leaves its objects out.
    names : mapping
        Name of each category of the file.
    report : DataReport
        Gets what is wrong.
    """
    objects = ObjectRows()
    positions, sizes = images.positions, images.sizes
    ids: set[Id] = set()
    twice = left_out = 0
    for position, raw in enumerate(rows):
        try:
            twice += _is_repeated(raw, ids)
            image = _image(raw, positions)
            label = _label(raw, labels, names)
            crowd = _crowd(raw)
            derived = _add_box(raw, sizes[image], objects)
        except _InvalidError as error:
            leave_out = None if error.kind == "bad-category" else "annotations"
            source = source_of(raw, position, images, bbox="bbox" in error.kind)
            report.add(
                error.kind,
                f"{source}: {error}",
                image=source.image,
                annotation=source.annotation,
                leave_out=leave_out,
            )
            continue
        except _LeftOutError as error:
            if error.args[0] == "image":  # the finding on the image says why
                report.left_out["annotations"] += 1
            else:
                left_out += 1
            continue
        area = raw.get("area")
        if type(area) is not float:
            number = as_number(area)
            area = math.nan if number is None else number
        objects.images.append(image)
        objects.labels.append(label)
        objects.areas.append(area)
        objects.ignored.append(crowd)
        objects.derived.append(derived)
        objects.sources.append(position)
    report.count("duplicate-annotation-id", twice, "annotation ids have no effect: all are read")
    report.count("left-out", left_out, "objects of categories without a label (category_ids)")
    number = sum(objects.derived)
    report.count("derived-bbox", number, "annotations without a box: box around the segmentation")
    return objects


def source_of(
    raw: Mapping[str, Any], position: int, images: FileImages, bbox: bool = False
) -> Source:
    """Name an annotation, with its box on request."""
    name, own, image_id = id_or_number(raw, position), raw.get("id"), raw.get("image_id")
    text = f"annotation {name} of image {shown(image_id)}"
    if bbox:
        text = f"{text}: bbox {shown(raw.get('bbox'))}"
    return Source(text, images.name(image_id), own if isinstance(own, str) else name)


def _is_repeated(raw: Mapping[str, Any], ids: set[Id]) -> bool:
    key = raw.get("id")
    if key is None:
        return False
    if type(key) is not int and (key := as_id(key)) is None:
        raise _InvalidError("bad-id", "expected a number or text as id")
    if key in ids:
        return True
    ids.add(key)
    return False


def _image(raw: Mapping[str, Any], positions: Mapping[Id, int]) -> int:
    key = raw.get("image_id")
    if type(key) is not int:
        key = as_id(key)
    image = None if key is None else positions.get(key)
    if image is None:
        raise _InvalidError("unknown-image", "no image has this id")
    if image < 0:
        raise _LeftOutError("image")
    return image


def _label(raw: Mapping[str, Any], labels: Mapping[Id, int | None], names: Mapping[Id, str]) -> int:
    key = raw.get("category_id")
    if type(key) is not int:
        key = as_id(key)
    label = None if key is None else labels.get(key)
    if label is not None:
        return label
    if key is not None and key in labels:
        raise _LeftOutError("category")
    raise _InvalidError(
        "bad-category" if key in names else "unknown-category",
        f"category_id {shown(raw.get('category_id'))} is not among "
        f"{shown(sorted(labels, key=id_order))}",
    )


def _crowd(raw: Mapping[str, Any]) -> bool | int:
    flag = raw.get("iscrowd", 0)
    if type(flag) is int and (flag == 0 or flag == 1):
        return flag
    crowd = as_flag(flag)
    if crowd is None:
        raise _InvalidError("bad-flag", f"iscrowd: expected 0 or 1, got {shown(flag)}")
    return crowd


def _add_box(raw: Mapping[str, Any], size: tuple[int, int], objects: ObjectRows) -> bool:
    """Add the four numbers of a box; whether they are derived from the segmentation."""
    bbox, segmentation = raw.get("bbox"), raw.get("segmentation")
    if not bbox or (segmentation and is_placeholder(bbox)):
        if (mask := mask_size(segmentation)) is not None and mask != size:
            raise _InvalidError(
                "no-bbox",
                f"{_BOX}, or a mask of the size of the image, {size[0]} x {size[1]} pixels; "
                f"the mask of its segmentation has {mask[0]} x {mask[1]}",
            )
        outline = outline_box(segmentation)
        if outline is None:
            masks = "polygons of at least three points, or a run-length encoded mask"
            raise _InvalidError("no-bbox", f"{_BOX}, or a segmentation ({masks})")
        objects.boxes.extend(outline)
        return True
    if type(bbox) is not list or len(bbox) != 4:
        raise _InvalidError("bad-bbox", _BOX)
    if not set(map(type, bbox)) <= _NUMBERS:
        bbox = [as_number(value) for value in bbox]
        if None in bbox:
            raise _InvalidError("bad-bbox", _BOX)
    try:
        objects.boxes.fromlist(bbox)
    except OverflowError:  # JSON has integers of any length
        raise _InvalidError("bad-bbox", _BOX) from None
    return False
