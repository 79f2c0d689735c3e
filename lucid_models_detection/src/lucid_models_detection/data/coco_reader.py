"""Read the images and annotations of a COCO file, and report invalid entries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport
from lucid.vision import ImageError
from lucid_models_detection.data.annotations import RawAnnotations
from lucid_models_detection.data.coco_json import read_json
from lucid_models_detection.data.detection_dataset import ImageEntry, ReadHeader
from lucid_models_detection.data.field_parsing import (
    Id,
    brief,
    entry_name,
    id_sort_key,
    original_id,
    parse_flag,
    parse_id,
    parse_number,
    parse_side,
)
from lucid_models_detection.data.image_paths import PathError, relative_path
from lucid_models_detection.data.orientation import BoxOrientation
from lucid_models_detection.data.segmentation import is_placeholder_box, rle_size, segmentation_box
from lucid_models_detection.data.types import AnnotationSource

__all__ = ["CocoImages", "annotation_source", "read_annotations", "read_images"]

_NUMBER_TYPES = {int, float}
_BOX = "expected four numbers [x, y, width, height]"


class CocoImages:
    """Images of a COCO file.

    ``positions`` maps each id to its position in ``entries``; -1 for an invalid image.
    """

    def __init__(
        self,
        rows: list[dict[str, Any]],
        folder: Path,
        report: DataReport,
        header: ReadHeader,
        box_orientation: BoxOrientation | None,
    ) -> None:
        self.entries: list[ImageEntry] = []
        self.positions: dict[Id, int] = {}
        self._folder, self._report, self._header = folder, report, header
        self._stored = box_orientation == "stored"
        self._by_name: dict[str, Id] = {}
        for position, raw in enumerate(rows):
            self._add(raw, f"image {entry_name(raw, position)}")

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Width and height of each entry."""
        return [(entry.width, entry.height) for entry in self.entries]

    def name(self, image_id: object) -> str | None:
        """Return the file name of an image id, or None if it is left out or unknown."""
        key = parse_id(image_id)
        position = -1 if key is None else self.positions.get(key, -1)
        return self.entries[position].name if position >= 0 else None

    def _add(self, raw: dict[str, Any], where: str) -> None:
        key = parse_id(raw.get("id"))
        if key is None:
            self._leave_out("bad-id", f"{where}: expected an integer or string as id", raw)
            return
        if key in self.positions:
            self._report_repeated(key, raw, where)
            return
        self.positions[key] = -1
        try:
            name, moved = relative_path(_file_name(raw), self._folder)
        except PathError as error:
            given = brief(raw.get("file_name"))
            kind = "ambiguous-image" if error.ambiguous else "bad-name"
            self._leave_out(kind, f"{where}: file_name {given}: {error}", raw)
            return
        if name in self._by_name:
            other = brief(self._by_name[name])
            message = f"{where}: image {other} has the same file_name {brief(name)}"
            self._leave_out("duplicate-image", message, raw)
            return
        self._by_name[name] = key
        if moved:
            given = brief(_file_name(raw))
            self._report.add("moved-image", f"{where}: {given} is read as {name}", image=name)
        path = self._folder / name
        width, height = parse_side(raw.get("width")), parse_side(raw.get("height"))
        has_size = width is not None and height is not None
        if not has_size and (size := self._size_of(path, raw, where)) is not None:
            width, height = size
        if width is not None and height is not None:
            self.positions[key] = len(self.entries)
            own = original_id(raw["id"])
            self.entries.append(ImageEntry(name, path, width, height, own, has_size))

    def _size_of(self, path: Path, raw: dict[str, Any], where: str) -> tuple[int, int] | None:
        try:
            header = self._header(path)
        except (ImageError, OSError) as error:
            given = f"{brief(raw.get('width'))} and {brief(raw.get('height'))}"
            reason = str(error) if str(path) in str(error) else f"{path}: {error}"
            message = f"{where}: expected width and height, got {given}, and no image: {reason}"
            self._leave_out("missing-size", message, raw)
            return None
        size = (header.width, header.height) if self._stored else header.size
        message = f"{where}: {size[0]} x {size[1]}, read from {path}"
        self._report.add("derived-size", message, image=_file_name(raw))
        return size

    def _report_repeated(self, key: Id, raw: dict[str, Any], where: str) -> None:
        """Report the second image of an id: a repetition or a contradiction."""
        position = self.positions[key]
        name = _file_name(raw)
        if position >= 0:
            entry = self.entries[position]
            size = parse_side(raw.get("width")), parse_side(raw.get("height"))
            try:
                same = relative_path(name, self._folder)[0] == entry.name
            except PathError:
                same = False
            if same and (None in size or not entry.has_size or size == (entry.width, entry.height)):
                self._report.add("repeated-image", f"{where}: listed twice", image=entry.name)
                self._report.totals["images"] -= 1
                return
        message = f"{where}: another image has the same id, and this one is {brief(name)}"
        self._report.add("contradicting-ids", message, image=name)

    def _leave_out(self, kind: str, message: str, raw: dict[str, Any]) -> None:
        self._report.add(kind, message, image=_file_name(raw), leave_out="images")


def _file_name(raw: dict[str, Any]) -> str | None:
    """Return ``file_name``, or ``coco_url`` if that is missing or empty."""
    for key in ("file_name", "coco_url"):
        name = raw.get(key)
        if isinstance(name, str) and name.strip():
            return name
    return None


def read_images(annotation_file: str | Path) -> dict[str, tuple[Id, tuple[int, int] | None]]:
    """Read the images of a COCO JSON file; it need not have annotations.

    Returns a mapping of file name (with slashes) to the id as spelled in the file, and (width,
    height) if given.
    """
    path = Path(annotation_file)
    report = DataReport(str(path))
    images: dict[str, tuple[Id, tuple[int, int] | None]] = {}
    names: dict[Id, str] = {}
    for position, raw in enumerate(read_json(path, ("images",))["images"]):
        key, name = parse_id(raw.get("id")), _file_name(raw)
        if key is None or name is None:
            message = f"image number {position}: expected id and file_name, got {brief(raw)}"
            report.add("bad-id", message)
            continue
        name = name.replace("\\", "/")
        if name in images and names.get(key) != name:
            other = brief(images[name][0])
            message = f"image {brief(key)}: image {other} has the same file_name {brief(name)}"
            report.add("duplicate-image", message)
        elif names.setdefault(key, name) != name:
            message = f"image {brief(key)}: another image has the same id"
            report.add("contradicting-ids", f"{message}, and this one is {brief(name)}")
        else:
            width, height = parse_side(raw.get("width")), parse_side(raw.get("height"))
            size = None if width is None or height is None else (width, height)
            images[name] = (original_id(raw["id"]), size)
    report.resolve("raise")
    return images


class _InvalidError(Exception):
    """An invalid annotation, with ``kind`` and message of its finding."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class _SkippedError(Exception):
    """An annotation skipped without its own finding, because of its image or category."""


def read_annotations(
    rows: Sequence[dict[str, Any]],
    images: CocoImages,
    labels: Mapping[Id, int | None],
    names: Mapping[Id, str],
    report: DataReport,
) -> RawAnnotations:
    """Collect the annotations with a known image and category; report the others.

    ``labels`` maps category ids to labels; None leaves the objects of a category out.
    """
    annotations = RawAnnotations()
    positions, sizes = images.positions, images.sizes
    ids: set[Id] = set()
    duplicates = left_out = 0
    for position, raw in enumerate(rows):
        try:
            duplicates += _is_duplicate(raw, ids)
            image = _image(raw, positions)
            label = _label(raw, labels, names)
            crowd = _crowd(raw)
            derived = _add_box(raw, sizes[image], annotations)
        except _InvalidError as error:
            leave_out = None if error.kind == "bad-category" else "annotations"
            source = annotation_source(raw, position, images, bbox="bbox" in error.kind)
            report.add(error.kind, f"{source}: {error}", **source.keywords, leave_out=leave_out)
            continue
        except _SkippedError as error:
            if error.args[0] == "image":  # reported with the image
                report.left_out["annotations"] += 1
            else:
                left_out += 1
            continue
        area = raw.get("area")
        if type(area) is not float:
            number = parse_number(area)
            area = math.nan if number is None else number
        annotations.images.append(image)
        annotations.labels.append(label)
        annotations.areas.append(area)
        annotations.ignored.append(crowd)
        annotations.derived.append(derived)
        annotations.sources.append(position)
    report.count(
        "duplicate-annotation-id", duplicates, "annotation ids have no effect: all are read"
    )
    report.count("left-out", left_out, "objects of categories without a label (category_ids)")
    number = sum(annotations.derived)
    report.count("derived-bbox", number, "annotations without a box: box around the segmentation")
    return annotations


def annotation_source(
    raw: Mapping[str, Any], position: int, images: CocoImages, bbox: bool = False
) -> AnnotationSource:
    """Return the name of an annotation for messages, optionally with its box."""
    name, own, image_id = entry_name(raw, position), raw.get("id"), raw.get("image_id")
    text = f"annotation {name} of image {brief(image_id)}"
    if bbox:
        text = f"{text}: bbox {brief(raw.get('bbox'))}"
    return AnnotationSource(text, images.name(image_id), own if isinstance(own, str) else name)


def _is_duplicate(raw: Mapping[str, Any], ids: set[Id]) -> bool:
    key = raw.get("id")
    if key is None:
        return False
    if type(key) is not int and (key := parse_id(key)) is None:
        raise _InvalidError("bad-id", "expected an integer or string as id")
    if key in ids:
        return True
    ids.add(key)
    return False


def _image(raw: Mapping[str, Any], positions: Mapping[Id, int]) -> int:
    key = raw.get("image_id")
    if type(key) is not int:
        key = parse_id(key)
    image = None if key is None else positions.get(key)
    if image is None:
        raise _InvalidError("unknown-image", "no image has this id")
    if image < 0:
        raise _SkippedError("image")
    return image


def _label(raw: Mapping[str, Any], labels: Mapping[Id, int | None], names: Mapping[Id, str]) -> int:
    key = raw.get("category_id")
    if type(key) is not int:
        key = parse_id(key)
    label = None if key is None else labels.get(key)
    if label is not None:
        return label
    if key is not None and key in labels:
        raise _SkippedError("category")
    raise _InvalidError(
        "bad-category" if key in names else "unknown-category",
        f"category_id {brief(raw.get('category_id'))} is not among "
        f"{brief(sorted(labels, key=id_sort_key))}",
    )


def _crowd(raw: Mapping[str, Any]) -> bool | int:
    flag = raw.get("iscrowd", 0)
    if type(flag) is int and (flag == 0 or flag == 1):
        return flag
    crowd = parse_flag(flag)
    if crowd is None:
        raise _InvalidError("bad-flag", f"iscrowd: expected 0 or 1, got {brief(flag)}")
    return crowd


def _add_box(raw: Mapping[str, Any], size: tuple[int, int], annotations: RawAnnotations) -> bool:
    """Append the box of an annotation; return whether it was derived from the segmentation."""
    bbox, segmentation = raw.get("bbox"), raw.get("segmentation")
    if not bbox or (segmentation and is_placeholder_box(bbox)):
        if (mask := rle_size(segmentation)) is not None and mask != size:
            raise _InvalidError(
                "no-bbox",
                f"{_BOX}, or a mask of the size of the image, {size[0]} x {size[1]} pixels; "
                f"the mask has {mask[0]} x {mask[1]}",
            )
        derived = segmentation_box(segmentation)
        if derived is None:
            masks = "polygons of at least three points, or a run-length encoded mask"
            raise _InvalidError("no-bbox", f"{_BOX}, or a segmentation ({masks})")
        annotations.boxes.extend(derived)
        return True
    if type(bbox) is not list or len(bbox) != 4:
        raise _InvalidError("bad-bbox", _BOX)
    if not set(map(type, bbox)) <= _NUMBER_TYPES:
        bbox = [parse_number(value) for value in bbox]
        if None in bbox:
            raise _InvalidError("bad-bbox", _BOX)
    try:
        annotations.boxes.fromlist(bbox)
    except OverflowError:  # JSON has integers of any length
        raise _InvalidError("bad-bbox", _BOX) from None
    return False
