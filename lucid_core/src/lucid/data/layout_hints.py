"""Detect data set layouts of other tools, for error messages."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

__all__ = ["is_yolo_text", "layout_hint"]

_ROBOFLOW = "_annotations.coco.json"
#: Text files to open: some list classes, and images without objects have empty label files.
_MAX_OPENED = 20
_YAML_KEYS = re.compile(r"^(names|nc|train|val)\s*:", re.MULTILINE)
_BOX = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?){4,}", re.IGNORECASE)
_PART = re.compile(r"(?i)\.|(images|labels|train|val|valid|test)(ing|idation)?[_-]?\d*$")
_READERS = "lucid train-detector, evaluate and check-data read"
_YOLO = "a YOLO data set (labels in .txt files), which is not supported; export it as COCO JSON"


def layout_hint(folder: Path) -> str:
    """Return a clause ("it looks like ...") with the arguments to use; empty if unknown."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    folders = [folder, *(folder / name for name in names if not name.startswith("."))]
    exported = [path for path in folders if (path / _ROBOFLOW).is_file()]
    if exported:
        first = next((path for path in exported if path.name == "train"), exported[0])
        return (
            "it looks like a Roboflow export of COCO annotations, one file per split; "
            f"{_READERS} it with --data {first / _ROBOFLOW} --images {first}"
        )
    if _has_class_folders(folders[1:]):
        return ""
    if files := sorted((folder / "annotations").glob("*.json")):
        first = next((path for path in files if path.name.startswith("instances_")), files[0])
        return (
            f"it looks like a COCO data set; {_READERS} it with --data {first} --images DIR, where "
            "DIR is the image folder"
        )
    return f"it looks like {_YOLO}" if _is_yolo(folder, folders) else ""


def is_yolo_text(text: str) -> bool:
    """Whether a text is a ``data.yaml`` or a label file of a YOLO data set."""
    if len(set(_YAML_KEYS.findall(text))) > 1:
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BOX.fullmatch(line) for line in lines)


def _has_class_folders(folders: list[Path]) -> bool:
    """Whether folders contain subfolders that no detection data set has."""
    inner = (entry for path in folders if path.is_dir() for entry in path.iterdir())
    return any(entry.is_dir() and not _PART.match(entry.name) for entry in inner)


def _is_yolo(folder: Path, folders: list[Path]) -> bool:
    described = (path for path in folder.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    if any(is_yolo_text(_first_lines(path)) for path in described):
        return True
    for path in folders:
        labels = path / "labels"
        if (path / "images").is_dir() and _any_labels(labels.rglob("*.txt")):
            return True
    return _any_labels(folder.glob("*.txt"))


def _any_labels(files: Iterator[Path]) -> bool:
    """Whether one of the first text files is a label file."""
    return any(is_yolo_text(_first_lines(path)) for path in islice(files, _MAX_OPENED))


def _first_lines(path: Path) -> str:
    """Return the first lines of a text file."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(4096)
    except OSError:
        return ""
    return text if len(text) < 4096 else text.rpartition("\n")[0]
