"""The type of options that take a file of COCO annotations."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from lucid.special_files import special_kind

__all__ = ["AnnotationFile"]


class AnnotationFile(click.Path):
    """A path of a COCO JSON file; for a folder, the error says which file to give instead."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | os.PathLike[str]:
        """Return the path, as :class:`click.Path` does, unless it is a folder or a pipe.

        The file is read several times, which a pipe cannot be.
        """
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
    """What to give in place of a folder, by the files in it."""
    from lucid.data.layout_hints import layout_hint
    from lucid_models_detection.data.voc import conversion_command
    from lucid_models_detection.data.voc_files import voc_folders

    if hint := layout_hint(folder):
        return f"; {hint}"
    names = sorted(os.listdir(folder))
    files = [name for name in names if name.lower().endswith(".json")]
    if files:
        return f"; give a file in it, such as {Path(folder, files[0])}"
    if "Annotations" in names or any(name.lower().endswith(".xml") for name in names):
        command = conversion_command(*voc_folders(folder))
        return f"; convert Pascal VOC annotations: {command}"
    return ""
