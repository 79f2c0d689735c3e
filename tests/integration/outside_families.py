"""A classifier and a detector of an external plugin, without class, layer or stage names of Lucid.

Also a plugin: :func:`install` writes what an installation of this module leaves.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import lucid
from lucid import Tensor, nn
from lucid.models import register_model
from lucid.nn import functional as F
from lucid.weights import WeightConverter, rename_key
from lucid_models_detection import Detector
from lucid_models_detection.boxes import batched_nms
from lucid_models_detection.detections import Detections
from lucid_models_detection.ground_truth import GroundTruth
from lucid_models_detection.transform import GeneralizedRCNNTransform, ImageList

COLORS = {"amber": (240, 160, 20), "blue": (30, 60, 220), "cyan": (30, 220, 220)}


class Pebble(nn.Module):
    """A classifier and backbone of two convolutions."""

    head_prefixes = ("verdict.",)
    feature_channels = (6, 12)
    feature_strides = (4, 8)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.shore = nn.ConvNormAct(3, 6, 5, stride=4)
        self.reef = nn.ConvNormAct(6, 12, 3, stride=2)
        self.verdict = nn.Linear(12, num_classes)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shore = self.shore(x)
        return shore, self.reef(shore)

    def stages(self) -> tuple[nn.Module, nn.Module]:
        return self.shore, self.reef

    def forward(self, x: Tensor) -> Tensor:
        return self.verdict(self.features(x)[-1].mean(axis=(2, 3)))


class Trunk(nn.Module):
    """Return the last feature map of a network."""

    def __init__(self, net: Pebble) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.features(x)[-1]


class Lantern(Detector):
    """A detector with one box and class per 8 x 8 pixels, from the distances to its four sides."""

    head_prefixes = ("glow.",)

    def __init__(self, num_classes: int, net: Pebble) -> None:
        super().__init__(Trunk(net), GeneralizedRCNNTransform((0.5,) * 3, (0.25,) * 3))
        self.num_classes = num_classes
        self.score_threshold = 0.1
        self.glow = nn.Conv2d(12, num_classes, 1)
        self.reach = nn.Conv2d(12, 4, 1)

    def outputs(self, features: Tensor) -> tuple[Tensor, Tensor, Any]:
        """Logits (N, K, C), log distances (N, K, 4) and centers (K, 2) of the cells."""
        n, _, height, width = features.shape
        y, x = np.mgrid[:height, :width].reshape(2, -1) * 8.0 + 4
        logits = self.glow(features).reshape(n, self.num_classes, -1).transpose(1, 2)
        return logits, self.reach(features).reshape(n, 4, -1).transpose(1, 2), np.stack((x, y), 1)

    def compute_losses(
        self, features: Tensor, batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        logits, reach, centers = self.outputs(features)
        labels = np.zeros(logits.shape[:2], np.int64)
        wanted = np.zeros(reach.shape, np.float32)
        for i, target in enumerate(targets):
            for box, label in zip(np.asarray(target.boxes), np.asarray(target.labels), strict=True):
                sides = np.concatenate([centers - box[:2], box[2:] - centers], axis=1)
                inside = (sides > 0).all(axis=1)
                labels[i, inside] = label
                wanted[i, inside] = np.log(sides[inside])
        found = lucid.tensor((labels > 0)[..., None].astype(np.float32))
        return {
            "loss_class": F.cross_entropy(logits.reshape(-1, self.num_classes), labels.reshape(-1)),
            "loss_sides": ((reach - lucid.tensor(wanted)) * found).abs().mean(),
        }

    def detect(self, features: Tensor, batch: ImageList) -> list[Detections]:
        logits, reach, centers = self.outputs(features)
        scores, sides = F.softmax(logits, axis=-1).numpy(), np.exp(reach.numpy())
        found: list[Detections] = []
        for i, (height, width) in enumerate(batch.sizes):
            best = scores[i, :, 1:].max(axis=1)
            kept = best > self.score_threshold
            boxes = np.concatenate([centers - sides[i, :, :2], centers + sides[i, :, 2:]], axis=1)
            boxes = boxes[kept].clip(0, (width, height) * 2).astype(np.float32)
            labels = scores[i, kept, 1:].argmax(axis=1) + 1
            chosen = np.asarray(batched_nms(boxes, best[kept], labels, 0.5))
            found.append(
                {
                    "boxes": boxes[chosen],
                    "labels": labels[chosen],
                    "scores": best[kept][chosen],
                }
            )
        return found


def pebble(num_classes: int = 4) -> Pebble:
    """Build the classifier."""
    return Pebble(num_classes)


def lantern(num_classes: int = 4, backbone_num_classes: int = 4) -> Lantern:
    """Build the detector."""
    return Lantern(num_classes, Pebble(backbone_num_classes))


MODELS: dict[Callable[..., nn.Module], dict[str, Any]] = {
    pebble: {"task": "image-classification", "aliases": ("pebblenet",)},
    lantern: {"task": "object-detection"},
}


def register_all() -> None:
    """Register both models as in a script."""
    for builder, options in MODELS.items():
        register_model(**options, input_shape=(1, 3, 32, 32))(builder)


@lucid.hookimpl
def lucid_register_models(register: Any) -> None:
    """Register both models as a plugin."""
    for builder, options in MODELS.items():
        register(
            builder.__name__, f"{__name__}:{builder.__name__}", family="outside",
            total_parameters=builder().parameter_size, summary="Outside", **options,
            input_shape=(1, 3, 32, 32),
        )  # fmt: skip


class PebbleConverter(WeightConverter):
    """Converter of another library's names: shore is sand, reef is coral, verdict is linear."""

    pairs = (("sand", "shore"), ("coral", "reef"), ("linear", "verdict"))

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        if "coral.conv.weight" not in shapes:
            return None
        head = shapes.get("linear.weight", ())
        return "pebble", {"num_classes": head[0]} if len(head) == 2 else {}

    def rename(self, key: str) -> str:
        return rename_key(key, [(re.compile(rf"{a}\.(.+)"), rf"{b}.\1") for a, b in self.pairs])

    def export_key(self, key: str) -> str:
        return rename_key(key, [(re.compile(rf"{b}\.(.+)"), rf"{a}.\1") for a, b in self.pairs])

    def class_names(self, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
        return ("amber", "blue") if arguments["num_classes"] == 2 else None


class LanternConverter(WeightConverter):
    """Converter of another library's names, whose detector lacks the backbone's classifier."""

    net = PebbleConverter()

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        head = shapes.get("label.weight", ())
        return ("lantern", {"num_classes": head[0]}) if len(head) == 4 else None

    def rename(self, key: str) -> str:
        if key.startswith("body."):
            return f"backbone.net.{self.net.rename(key.removeprefix('body.'))}"
        rules = {r"label\.(\w+)": r"glow.\1", r"sides\.(\w+)": r"reach.\1"}
        return rename_key(key, [(re.compile(a), b) for a, b in rules.items()])

    def export_key(self, key: str) -> str | None:
        if key.startswith("backbone.net.verdict."):
            return None
        if key.startswith("backbone.net."):
            return f"body.{self.net.export_key(key.removeprefix('backbone.net.'))}"
        return key.replace("glow.", "label.").replace("reach.", "sides.")

    def prepare(self, state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        own = model.state_dict()
        return {k: v for k, v in own.items() if k.startswith("backbone.net.verdict.")} | state

    def class_names(self, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
        return ("background", "amber", "blue") if arguments["num_classes"] == 3 else None


pebble_converter, lantern_converter = PebbleConverter(), LanternConverter()


@lucid.hookimpl
def lucid_register_weight_converters(register: Any) -> None:
    """Register the converters of both models."""
    for builder, options in MODELS.items():
        name = builder.__name__
        register(
            f"elsewhere-{name}", f"{__name__}:{name}_converter", source="elsewhere",
            task=options["task"], models=(name,),
        )  # fmt: skip


def install(folder: Path) -> Path:
    """Write this module and the metadata of its distribution into a folder for sys.path."""
    info = folder / "outside_families-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(__file__, folder)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-families\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[lucid.models]\noutside = outside_families\n")
    return folder


def class_folders(folder: Path, *names: str, noise: float = 10) -> Path:
    """Write eight images per class, each of one color with noise."""
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(8):
            color = np.array(COLORS[name]) + i
            pixels = np.clip(color + rng.normal(0, noise, (16, 16, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


def coco(folder: Path, *names: str) -> Path:
    """Write six gray images with a colored square each, of alternating classes."""
    folder.mkdir()
    images, annotations = [], []
    for i in range(6):
        pixels = np.full((48, 64, 3), 90, np.uint8)
        x, y = 8 * (i % 3), 4 * i
        pixels[y : y + 24, x : x + 32] = COLORS[names[i % len(names)]]
        Image.fromarray(pixels).save(folder / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 64, "height": 48})
        annotations.append(
            {"id": i + 1, "image_id": i, "category_id": i % len(names) + 1,
             "bbox": [x, y, 32, 24], "area": 768, "iscrowd": 0}
        )  # fmt: skip
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    path = folder / "data.json"
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return path
