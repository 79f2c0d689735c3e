"""Content of a COCO JSON file, or an error that says what the file is instead."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lucid.data.layouts import is_yolo_text
from lucid.text import decode_text
from lucid_models_detection.data.values import shown

__all__ = ["read_json"]

#: Keys by which other formats are known, and what to do with them.
_OTHERS = (
    ({"shapes", "imagePath"}, "a labelme file of one image; export the data set as COCO JSON"),
    ({"_via_img_metadata"}, "a VGG Image Annotator project; export the annotations as COCO"),
    ({"asset", "regions"}, "a VoTT asset; export the annotations as COCO or Pascal VOC"),
    ({"frames", "labels"}, "a video annotation file; export the annotations as COCO JSON"),
    ({"task", "items"}, "a Datumaro file; convert it to COCO"),
)


def read_json(
    path: Path, keys: Sequence[str] = ("images", "annotations", "categories")
) -> dict[str, Any]:
    """Read a COCO file.

    Parameters
    ----------
    path : pathlib.Path
        In UTF-8, UTF-16 or UTF-32, with or without a byte-order mark.
    keys : sequence of str
        What it must have: lists of objects.

    Raises
    ------
    ValueError
        If it is something else; names the file, what it looks like and the remedy.
    """
    content = path.read_bytes()
    if not content.strip():
        raise ValueError(f"{path}: not a JSON file: it is empty")
    text = decode_text(content, f"{path}: not a JSON file", json.detect_encoding(content))
    del content  # as large as the text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a JSON file: {error}{_look(text)}") from None
    if isinstance(value, list):
        raise ValueError(f"{path}: expected a JSON object, found a list{_of_list(value)}")
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected a JSON object, found a {type(value).__name__}")
    for key in keys:
        rows = value.get(key)
        expected = f"{path}: not COCO annotations: expected a list of objects named {key!r}"
        if key not in value:
            raise ValueError(f"{expected}; the file has {shown(sorted(value))}{_of_object(value)}")
        if not isinstance(rows, list):
            raise ValueError(f"{expected}, got {shown(rows)}{_of_object(value)}")
        for position, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ValueError(f"{expected}, got {shown(row)} at position {position}")
    return value


def _look(text: str) -> str:
    """What a text that is no JSON looks like."""
    start = text[:2000].lstrip()
    if start.startswith("version https://git-lfs"):
        return "; it is a Git LFS pointer: fetch the file with git lfs pull"
    if re.match(r"(?i)<!doctype html|<html", start):
        return "; it is an HTML page, as a download that failed leaves"
    if start.startswith("<"):
        return "; it looks like XML: Pascal VOC annotations are read by VocDetection"
    if is_yolo_text(text[:2000].rpartition("\n")[0] or text):
        return "; it looks like a file of a YOLO data set: export or convert the data to COCO JSON"
    first, _, rest = text.partition("\n")
    try:
        whole = isinstance(json.loads(first), dict) and rest.lstrip().startswith("{")
    except (ValueError, RecursionError):
        whole = False
    if whole:
        return "; it looks like JSON lines, one object per line: COCO is one object for all"
    return ""


def _of_list(rows: list[Any]) -> str:
    """What a list at the top of a file looks like."""
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    if {"image_id", "category_id", "score"} <= first.keys():
        return (
            " of detections, as COCO results: give the file with the annotations, which has "
            "images, annotations and categories"
        )
    if {"image", "annotations"} <= first.keys():
        return ", as CreateML has it: export the annotations as COCO JSON"
    if {"image_id", "bbox"} <= first.keys():
        return " of annotations alone: expected an object with images and categories as well"
    return ": expected an object with images, annotations and categories"


def _of_object(value: dict[str, Any]) -> str:
    for keys, what in _OTHERS:
        if keys <= value.keys():
            return f"; it looks like {what}"
    rows = list(value.values())[:5]
    if rows and all(isinstance(row, dict) and "regions" in row for row in rows):
        return "; it looks like a VGG Image Annotator file; export the annotations as COCO"
    return ""
