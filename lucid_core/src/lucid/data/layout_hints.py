"""Data set layouts of other tools, named in the error about a folder that is read otherwise."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["is_yolo_text", "layout_hint"]

_ROBOFLOW = "_annotations.coco.json"
#: Text files that are opened: some list classes, and an image without objects has an empty one.
_LOOKED_AT = 20
_YAML_KEYS = re.compile(r"^(names|nc|train|val)\s*:", re.MULTILINE)
_BOX = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?){4,}", re.IGNORECASE)
_PART = re.compile(r"(?i)\.|(images|labels|train|val|valid|test)(ing|idation)?[_-]?\d*$")
_READERS = "lucid train-detector, evaluate and check-data read"
_YOLO = (
    "a YOLO data set (labels in .txt files), which is not read; export or convert it to COCO JSON"
)


def layout_hint(folder: Path) -> str:
    """Say which data set a folder looks like, and what to give instead.

    Parameters
    ----------
    folder : pathlib.Path
        An existing folder.

    Returns
    -------
    str
        A clause that begins with ``"it looks like"``; empty if the layout is not known.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    folders = [folder, *(folder / name for name in names if not name.startswith("."))]
    exported = [place for place in folders if (place / _ROBOFLOW).is_file()]
    if exported:
        first = next((place for place in exported if place.name == "train"), exported[0])
        return (
            "it looks like a Roboflow export of COCO annotations, one file for each split; "
            f"{_READERS} it with --data {first / _ROBOFLOW} --images {first}"
        )
    if _has_class_folders(folders[1:]):
        return ""
    if files := sorted((folder / "annotations").glob("*.json")):
        first = next((path for path in files if path.name.startswith("instances_")), files[0])
        return (
            f"it looks like a COCO data set; {_READERS} it with --data {first} --images DIR, the "
            "folder of its images"
        )
    return f"it looks like {_YOLO}" if _is_yolo(folder, folders) else ""


def is_yolo_text(text: str) -> bool:
    """Whether a text is the ``data.yaml`` or a label file of a YOLO data set."""
    if len(set(_YAML_KEYS.findall(text))) > 1:
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BOX.fullmatch(line) for line in lines)


def _has_class_folders(places: list[Path]) -> bool:
    """Whether folders in a data set hold others than a detection data set has."""
    inner = (entry for place in places if place.is_dir() for entry in place.iterdir())
    return any(entry.is_dir() and not _PART.match(entry.name) for entry in inner)


def _is_yolo(folder: Path, folders: list[Path]) -> bool:
    described = (path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    if any(is_yolo_text(_beginning(path)) for path in described):
        return True
    for place in folders:
        labels = place / "labels"
        if (place / "images").is_dir() and _any_labels(labels.rglob("*.txt")):
            return True
    return _any_labels(folder.glob("*.txt"))


def _any_labels(files: Iterator[Path]) -> bool:
    """Whether there is a label file among the first of some text files."""
    return any(is_yolo_text(_beginning(path)) for path in islice(files, _LOOKED_AT))


def _beginning(path: Path) -> str:
    """The first lines of a small text file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(4096)
    except OSError:
        return ""
    return text if len(text) < 4096 else text.rpartition("\n")[0]
