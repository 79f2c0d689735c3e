"""Click parameter type for a COCO annotation file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from lucid.special_files import special_kind

__all__ = ["AnnotationFile"]


class AnnotationFile(click.Path):
    """Path of a COCO JSON file; the error for a folder suggests a file."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path; reject folders, and pipes, because the file is read repeatedly."""
        path = super().convert(value, param, ctx)
        if os.path.isdir(path):
            folder = Path(os.fsdecode(path))
            self.fail(
                f"{folder}: expected a COCO JSON file, got a folder{_hint(folder)}", param, ctx
            )
        if os.path.exists(path) and (kind := special_kind(os.stat(path).st_mode)) is not None:
            self.fail(f"{os.fsdecode(path)}: expected a COCO JSON file, got {kind}", param, ctx)
        return path


def _hint(folder: Path) -> str:
    """Return a hint what to pass instead of a folder."""
    from lucid.data.layout_hints import layout_hint
    from lucid_models_detection.data.voc import conversion_command
    from lucid_models_detection.data.voc_files import voc_folders

    if hint := layout_hint(folder):
        return f"; {hint}"
    names = sorted(os.listdir(folder))
    files = [name for name in names if name.lower().endswith(".json")]
    if files:
        return f"; pass a file in it, such as {Path(folder, files[0])}"
    if "Annotations" in names or any(name.lower().endswith(".xml") for name in names):
        command = conversion_command(*voc_folders(folder))
        return f"; convert Pascal VOC annotations: {command}"
    return ""
