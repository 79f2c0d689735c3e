"""The options that take a file of COCO annotations."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from lucid_models_detection.annotation_option import AnnotationFile


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.json", "such as .*/a.json"),
        ("_annotations.coco.json", "--data .*/_annotations.coco.json --images "),
        (
            "valid/_annotations.coco.json",
            "--data .*/valid/_annotations.coco.json --images .*/valid",
        ),
        ("a.xml", r"VocDetection.*to_coco\(\)"),
        ("Annotations/a.xml", r"VocDetection.*to_coco\(\)"),
        ("a.png", "$"),
    ],
)
def test_folder_is_rejected_with_a_hint(tmp_path: Path, name: str, advice: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    option = AnnotationFile(exists=True, path_type=Path)
    assert option.convert(str(path), None, None) == path
    with pytest.raises(
        click.BadParameter, match=rf"expected a COCO JSON file, got a folder.*{advice}"
    ):
        option.convert(str(tmp_path), None, None)


def test_pipe_is_rejected_without_blocking(tmp_path: Path) -> None:
    path = tmp_path / "pipe.json"
    os.mkfifo(path)
    option = AnnotationFile(exists=True, path_type=Path)
    with pytest.raises(click.BadParameter, match=r"pipe\.json: .* got a named pipe"):
        option.convert(str(path), None, None)
