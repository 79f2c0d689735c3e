"""Check of ``lucid check-plugin`` for classifiers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from lucid.cli.invoke import run_command
from lucid.testing.plugin_checks import CheckError, ModelUnderTest

__all__ = ["check_commands"]

_COLORS = {"blue": (40, 60, 220), "red": (220, 60, 40)}


def check_commands(tested: ModelUnderTest) -> None:
    """Check that ``train-classifier`` and ``classify`` work with the model."""
    shape = tested.info.input_shape
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise CheckError(
            f"lucid train-classifier trains on square RGB images, and input_shape is {shape}",
            "register an input_shape (1, 3, S, S), or another task than image-classification",
        )
    advice = "run the command yourself with --debug, on a folder with one folder per class"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_images(folder / "data", shape[2])
        small = ("--epochs", 1, "--batch-size", 2, "--image-size", shape[2], "--no-check-data")
        run_command(
            *("train-classifier", "--model", tested.name, "--data", folder / "data"),
            *("--output", folder / "run", *small),
            advice=advice,
        )
        weights = folder / "run" / "best.safetensors"
        images = sorted((folder / "data").rglob("*.png"))
        report = run_command("classify", *images, "--weights", weights, "--json", advice=advice)
        labels = {each["label"] for record in json.loads(report) for each in record["predictions"]}
        if not labels <= _COLORS.keys():
            raise CheckError(f"lucid classify gave the labels {sorted(labels)}", advice)


def _write_images(folder: Path, size: int) -> None:
    """Write three noisy images of each class."""
    rng = np.random.default_rng(0)
    for label, color in _COLORS.items():
        (folder / label).mkdir(parents=True)
        for i in range(3):
            pixels = np.clip(rng.normal(color, 20, (size, size, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i}.png")
