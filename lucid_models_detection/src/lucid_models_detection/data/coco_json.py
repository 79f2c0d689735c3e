"""Load a COCO JSON file, or raise an error that names the format it has instead."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lucid.data.layout_hints import is_yolo_text
from lucid.text import decode_text
from lucid_models_detection.data.field_parsing import brief

__all__ = ["read_json"]

_EXPECTED = "expected a COCO JSON file"
_EXPORT = "export the annotations as COCO JSON (instances)"

#: Keys that identify other formats, with the remedy.
_OTHER_FORMATS = (
    ({"shapes", "imagePath"}, "a labelme file of one image; export the dataset as COCO JSON"),
    ({"_via_img_metadata"}, "a VGG Image Annotator project; export the annotations as COCO"),
    ({"asset", "regions"}, "a VoTT asset; export the annotations as COCO or Pascal VOC"),
    ({"frames", "labels"}, "a video annotation file; export the annotations as COCO JSON"),
    ({"task", "items"}, "a Datumaro file; convert it to COCO"),
)


def read_json(
    path: Path, keys: Sequence[str] = ("images", "annotations", "categories")
) -> dict[str, Any]:
    """Read a COCO file with the required keys, each a list of objects.

    Accepts UTF-8, UTF-16 and UTF-32.  The error for another format names the format and the remedy.
    """
    content = path.read_bytes()
    if not content.strip():
        raise ValueError(f"{path}: {_EXPECTED}, got an empty file; {_EXPORT}")
    text = decode_text(content, f"{path}: {_EXPECTED}", json.detect_encoding(content))
    del content  # as large as the text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: {_EXPECTED}, got text that is not JSON ({error}){_text_hint(text)}"
        ) from None
    if isinstance(value, list):
        raise ValueError(f"{path}: {_EXPECTED} (one object), got a list{_list_hint(value)}")
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {_EXPECTED} (one object), got {brief(value)}; {_EXPORT}")
    for key in keys:
        rows = value.get(key)
        expected = f"{path}: {_EXPECTED} with a list of objects {key!r}"
        if key not in value:
            raise ValueError(
                f"{expected}, got the keys {brief(sorted(value))}{_object_hint(value)}"
            )
        if not isinstance(rows, list):
            raise ValueError(f"{expected}, got {brief(rows)}{_object_hint(value)}")
        for position, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ValueError(f"{expected}, got {brief(row)} at position {position}")
    return value


def _text_hint(text: str) -> str:
    """Return a hint at the format of a text that is not JSON."""
    start = text[:2000].lstrip()
    if start.startswith("version https://git-lfs"):
        return "; it is a Git LFS pointer: fetch the file with git lfs pull"
    if re.match(r"(?i)<!doctype html|<html", start):
        return "; it is an HTML page, probably of a failed download"
    if start.startswith("<"):
        return "; it looks like XML: Pascal VOC annotations are read by VocDetection"
    if is_yolo_text(text[:2000].rpartition("\n")[0] or text):
        return "; it looks like a file of a YOLO dataset: export or convert it to COCO JSON"
    first, _, rest = text.partition("\n")
    try:
        json_lines = isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except (ValueError, RecursionError):
        json_lines = False
    if json_lines:
        return "; it looks like JSON lines; a COCO file is a single JSON object"
    return f"; {_EXPORT}"


def _list_hint(rows: list[Any]) -> str:
    """Return a hint at the format of a file whose top level is a list."""
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    if {"image_id", "category_id", "score"} <= first.keys():
        return (
            " of detections in COCO results format: pass the annotation file, which has images, "
            "annotations and categories"
        )
    if {"image", "annotations"} <= first.keys():
        return " in CreateML format: export the annotations as COCO JSON"
    if {"image_id", "bbox"} <= first.keys():
        return " of annotations without images and categories"
    return "; a COCO file is an object with images, annotations and categories"


def _object_hint(value: dict[str, Any]) -> str:
    for keys, what in _OTHER_FORMATS:
        if keys <= value.keys():
            return f"; it looks like {what}"
    rows = list(value.values())[:5]
    if rows and all(isinstance(row, dict) and "regions" in row for row in rows):
        return "; it looks like a VGG Image Annotator file; export the annotations as COCO"
    return f"; {_EXPORT}"
