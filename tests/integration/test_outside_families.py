"""Every command works on families that share no class, layer or stage name with ours."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid import Tensor, nn
from lucid.cli.entry import run
from lucid.models import create_model, register_model, zoo
from lucid.models.registry import Registry
from lucid.nn import functional as F
from lucid.testing.plugin_checks import CheckError, ModelUnderTest, checks_of_task
from lucid.weights import model_metadata
from lucid_models_classification.checkpoints import start_from
from lucid_models_detection import Detector
from lucid_models_detection.boxes import batched_nms
from lucid_models_detection.detections import Detections
from lucid_models_detection.targets import Target
from lucid_models_detection.transform import ImageBatch, Transform

Command = Callable[..., str]

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
    """The coarsest map of a network."""

    def __init__(self, net: Pebble) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.features(x)[-1]


class Lantern(Detector):
    """One box and one class for each 8 x 8 pixels, from the distances to its four sides."""

    head_prefixes = ("glow.",)

    def __init__(self, num_classes: int, net: Pebble) -> None:
        super().__init__(Trunk(net), Transform((0.5,) * 3, (0.25,) * 3))
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
        self, features: Tensor, batch: ImageBatch, targets: Sequence[Target]
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

    def detect(self, features: Tensor, batch: ImageBatch) -> list[Detections]:
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


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two models of this module, registered as a script does it."""
    monkeypatch.setattr(zoo, "registry", Registry(zoo.RESERVED))

    small = (1, 3, 32, 32)

    @register_model(task="image-classification", aliases=("pebblenet",), input_shape=small)
    def pebble(num_classes: int = 4) -> Pebble:
        return Pebble(num_classes)

    @register_model(task="object-detection", input_shape=small)
    def lantern(num_classes: int = 4, backbone_num_classes: int = 4) -> Lantern:
        return Lantern(num_classes, Pebble(backbone_num_classes))


@pytest.fixture
def call(families: None, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a ``lucid`` command that has to succeed; give its output."""

    def call(*arguments: object) -> str:
        code = run([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return call


def class_folders(folder: Path, *names: str) -> Path:
    """Eight plain images of each class."""
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(8):
            pixels = np.clip(np.array(COLORS[name]) + rng.normal(0, 10, (16, 16, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{i}.png")
    return folder


def coco(folder: Path, *names: str) -> Path:
    """Six gray images with a colored square each, of one class after the other."""
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


def state(path: Path) -> dict[str, Any]:
    return {key: value.numpy() for key, value in lucid.load(path).items()}


def test_a_classifier_is_trained_resumed_used_and_fine_tuned(call: Command, tmp_path: Path) -> None:
    data, output = class_folders(tmp_path / "two", "amber", "blue"), tmp_path / "run"
    small = ("--image-size", 16, "--batch-size", 4)
    call("train-classifier", "--data", data, "--output", output, "--model", "pebblenet", *small,
         "--epochs", 3, "--lr", 0.05)  # fmt: skip
    best = output / "best.safetensors"
    assert (model_metadata(best).name, model_metadata(best).class_names) == (
        "pebble",
        ("amber", "blue"),
    )
    call("train-classifier", "--output", output, "--resume")
    report = json.loads(call("classify", data / "blue", "--weights", best, "--top", 1, "--json"))
    assert [each["predictions"][0]["label"] for each in report] == ["blue"] * 8

    more, tuned = class_folders(tmp_path / "three", "cyan", "blue", "amber"), tmp_path / "tuned"
    out = call("train-classifier", "--data", more, "--output", tuned, "--weights", best, *small,
               "--epochs", 1, "--lr", 1e-9)  # fmt: skip
    assert "keeps 2 of 3 classes by name" in " ".join(out.split())
    before, after = state(best), state(tuned / "best.safetensors")
    np.testing.assert_allclose(after["shore.conv.weight"], before["shore.conv.weight"], atol=1e-6)
    assert model_metadata(tuned / "best.safetensors").class_names == ("amber", "blue", "cyan")
    np.testing.assert_allclose(
        after["verdict.weight"][:2], before["verdict.weight"], atol=1e-6, rtol=0
    )


def test_a_detector_is_trained_resumed_used_and_fine_tuned(call: Command, tmp_path: Path) -> None:
    data, output = coco(tmp_path / "two", "amber", "blue"), tmp_path / "run"
    net = create_model("pebble", num_classes=7)
    lucid.save_model(net, tmp_path / "net.safetensors")
    small = ("--batch-size", 2, "--samples", 2, "--augment", "none", "--val-fraction", 0.34)
    call("train-detector", "--data", data, "--images", data.parent, "--output", output,
         "--model", "lantern", "--backbone-weights", tmp_path / "net.safetensors",
         "--frozen-stages", 1, "--epochs", 2, *small)  # fmt: skip
    best = output / "best.safetensors"
    after = state(best)
    np.testing.assert_array_equal(
        after["backbone.net.shore.conv.weight"], net.shore.conv.weight.numpy()
    )
    assert after["backbone.net.verdict.weight"].shape == (7, 12)
    assert model_metadata(best).name == "lantern"
    call("train-detector", "--output", output, "--resume")
    report = json.loads(
        call("evaluate", "--weights", best, "--data", data, "--images", data.parent, "--json")
    )
    assert report["images"] == 6
    call("detect", data.parent / "0.png", "--weights", best, "--output", tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as drawn:
        assert drawn.size == (64, 48)

    more, tuned = coco(tmp_path / "three", "cyan", "blue", "amber"), tmp_path / "tuned"
    out = call("train-detector", "--data", more, "--images", more.parent, "--output", tuned,
               "--weights", best, "--epochs", 1, "--lr", 1e-9, *small)  # fmt: skip
    assert "keeps 2 of 3 classes by name" in " ".join(out.split())
    names = model_metadata(best).class_names, model_metadata(tuned / "best.safetensors").class_names
    before, after = state(best), state(tuned / "best.safetensors")
    for old, name in enumerate(names[0]):
        np.testing.assert_allclose(
            after["glow.weight"][names[1].index(name)], before["glow.weight"][old], atol=1e-6
        )


@pytest.mark.parametrize(
    ("command", "model", "lacking"),
    [
        ("train-classifier", "bare", "the model bare of class Sequential, which lacks num_classes"),
        (
            "train-detector",
            "hollow",
            "the model hollow of class Linear, which lacks num_classes, b",
        ),
        ("train-classifier", "lantern", "image-classification, got lantern, a model for object-de"),
        ("train-detector", "pebble", "object-detection, got pebble, a model for image-classificat"),
    ],
)
def test_a_model_that_a_command_cannot_train_is_refused_in_one_line(
    families: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], command, model, lacking
) -> None:
    @register_model(task="image-classification")
    def bare(num_classes: int = 2) -> nn.Sequential:
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, num_classes))

    @register_model(task="object-detection")
    def hollow(num_classes: int = 2) -> nn.Linear:
        return nn.Linear(2, num_classes)

    arguments = ["--data", str(class_folders(tmp_path / "folders", "amber", "blue"))]
    if command == "train-detector":
        path = coco(tmp_path / "coco", "amber", "blue")
        arguments = ["--data", str(path), "--images", str(path.parent)]
    output = tmp_path / "run"
    assert run([command, *arguments, "--model", model, "--output", str(output)]) == 2
    err = capsys.readouterr().err
    assert lacking in err
    assert err.count("\n") == 1
    assert not output.exists()


def test_the_kit_runs_the_commands(families: None) -> None:
    for name, names in (("pebble", ["commands"]), ("lantern", ["detector", "commands"])):
        subject = ModelUnderTest(name)
        registered = checks_of_task(subject.info.task)
        assert list(registered) == names
        for check in registered.values():
            check(subject)


class Dim(Lantern):
    """Fails in prediction."""

    def detect(self, features: Tensor, batch: ImageBatch) -> list[Detections]:
        raise RuntimeError("no light")


class Loud(Lantern):
    """Names a layer in its head that does not depend on the number of classes."""

    head_prefixes = ("glow.", "reach.")


class Mute(nn.Module):
    """Has no member of a detector."""


@pytest.mark.parametrize(
    ("cls", "name", "problem"),
    [
        (Dim, "commands", "lucid train-detector ended with code 1 and said: .*no light"),
        (Loud, "detector", "the parameters that change are glow.bias, glow.weight"),
        (Mute, "detector", "the model wrong of class Mute, which lacks num_classes, backbone, h"),
    ],
)
def test_the_kit_names_what_a_detector_lacks(families: None, cls, name: str, problem: str) -> None:
    @register_model(task="object-detection", input_shape=(1, 3, 32, 32))
    def wrong(num_classes: int = 4) -> nn.Module:
        return cls() if cls is Mute else cls(num_classes, Pebble(4))

    with pytest.raises(CheckError) as caught:
        checks_of_task("object-detection")[name](ModelUnderTest("wrong"))
    assert re.search(problem, caught.value.problem)
    assert caught.value.advice


def test_the_kit_starts_a_detector_from_a_classifier(families: None) -> None:
    class Unstaged(Pebble):
        stages = None  # type: ignore[assignment]

    @register_model(task="object-detection", input_shape=(1, 3, 32, 32))
    def unstaged(num_classes: int = 4) -> Lantern:
        return Lantern(num_classes, Unstaged(4))

    with pytest.raises(CheckError, match=r"a Unstaged, which lacks stages\(\)") as caught:
        checks_of_task("object-detection")["commands"](ModelUnderTest("unstaged"))
    assert "--backbone-weights" in caught.value.advice


def test_the_kit_refuses_a_classifier_of_gray_images(families: None) -> None:
    @register_model(task="image-classification", input_shape=(1, 1, 28, 28))
    def gray(num_classes: int = 4) -> Pebble:
        return Pebble(num_classes)

    with pytest.raises(CheckError, match=r"square RGB images, and input_shape is \(1, 1, 28, 28\)"):
        checks_of_task("image-classification")["commands"](ModelUnderTest("gray"))


@pytest.mark.parametrize("headless", [False, True])
def test_bare_weights_of_another_family_start_a_classifier(
    families: None, tmp_path: Path, headless: bool
) -> None:
    before = create_model("pebble", num_classes=4).state_dict()
    path = tmp_path / "weights.safetensors"
    lucid.save({k: v for k, v in before.items() if not (headless and "verdict" in k)}, path)
    started = start_from(path, ("amber", "blue"), "pebblenet")
    assert "the last layer starts anew" in str(started.note)
    after = started.model.state_dict()
    assert after["verdict.weight"].shape == (2, 12)
    for key in before.keys() - {"verdict.weight", "verdict.bias"}:
        np.testing.assert_array_equal(after[key].numpy(), before[key].numpy())


def test_bare_weights_with_another_body_are_refused(families: None, tmp_path: Path) -> None:
    state = create_model("pebble", num_classes=2).state_dict()
    state["reef.conv.weight"] = lucid.zeros(12, 5, 3, 3)
    path = tmp_path / "weights.safetensors"
    lucid.save(state, path)
    with pytest.raises(lucid.WeightFileError, match=r"reef\.conv\.weight: expected shape"):
        start_from(path, ("amber", "blue"), "pebble")
