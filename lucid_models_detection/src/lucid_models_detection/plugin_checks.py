"""Checks of ``lucid check-plugin`` for detectors."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

import lucid
from lucid.cli.invoke import run_command
from lucid.models import Classifier, missing_members
from lucid.testing.plugin_checks import CheckError, ModelUnderTest
from lucid.testing.protocol_check import check_head, protocol_errors
from lucid_models_detection.detector import backbone_net, check_detector

__all__ = ["check_commands", "check_members"]


def check_members(tested: ModelUnderTest) -> None:
    """Check the members of :class:`lucid_models_detection.Detector` and ``head_prefixes``."""
    with protocol_errors():
        check_detector(tested.model)
        check_head(tested)


def check_commands(tested: ModelUnderTest) -> None:
    """Check that ``train-detector``, ``evaluate`` and ``detect`` work with the model.

    If the network in its backbone is a classifier, also train with ``--backbone-weights``.
    """
    shape = tested.info.input_shape
    if len(shape) != 4 or shape[1] != 3:
        raise CheckError(
            f"lucid train-detector trains on RGB images, and input_shape is {shape}",
            "register an input_shape (1, 3, H, W), or another task than object-detection",
        )
    advice = "run the command yourself with --debug, on a small COCO file"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = ("--data", _write_coco(folder, shape[2], shape[3]), "--images", folder)
        small = ("--epochs", 1, "--batch-size", 2, "--samples", 1, "--no-check-data")
        train = ("train-detector", "--model", tested.name, *data, *small)
        run_command(*train, "--output", folder / "run", advice=advice)
        weights = ("--weights", folder / "run" / "best.safetensors")
        run_command("evaluate", *weights, *data, advice=advice)
        drawn = folder / "drawn.png"
        run_command("detect", folder / "0.png", *weights, "--output", drawn, advice=advice)
        if not drawn.is_file():
            raise CheckError("lucid detect drew no image", advice)
        if (classifier := _save_classifier(tested, folder)) is not None:
            start = ("--backbone-weights", classifier, "--output", folder / "started")
            run_command(*train, *start, advice=f"{advice}, with {start[0]}")


def _save_classifier(tested: ModelUnderTest, folder: Path) -> Path | None:
    """Save the classifier in the backbone, as a model if registered; None without one."""
    net = backbone_net(check_detector(tested.model))
    if missing_members(net, Classifier):
        return None
    path = folder / "classifier.safetensors"
    if net.model_name is None:
        lucid.save(net.state_dict(), path)
    else:
        lucid.save_model(net, path)
    return path


def _write_coco(folder: Path, height: int, width: int) -> Path:
    """Write a COCO file with three gray images, each with a square, of two classes."""
    images, annotations = [], []
    for i in range(3):
        pixels = np.full((height, width, 3), 90, np.uint8)
        pixels[height // 4 : height // 2, width // 4 : width // 2] = (220, 60 * i, 40)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
        box = [width // 4, height // 4, width // 2 - width // 4, height // 2 - height // 4]
        annotations.append(
            {
                "id": i + 1,
                "image_id": i,
                "category_id": i % 2 + 1,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
    path = folder / "data.json"
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
