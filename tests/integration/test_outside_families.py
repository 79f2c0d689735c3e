"""All commands work on models without class, layer or stage names of Lucid."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside_families import Lantern, Pebble, class_folders, coco
from PIL import Image

import lucid
from lucid import Tensor, nn
from lucid.cli.entry_point import run
from lucid.models import create_model, register_model
from lucid.testing.plugin_checks import CheckError, ModelUnderTest, checks_for_task
from lucid.weights import model_metadata
from lucid_models_classification.loading import load_for_fine_tuning
from lucid_models_detection.detections import Detections
from lucid_models_detection.training.fine_tuning import from_detector
from lucid_models_detection.transform import ImageList

Command = Callable[..., str]


def state(path: Path) -> dict[str, Any]:
    return {key: value.numpy() for key, value in lucid.load(path).items()}


def test_classifier_train_resume_predict_and_fine_tune(call: Command, tmp_path: Path) -> None:
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


def test_detector_train_resume_predict_and_fine_tune(call: Command, tmp_path: Path) -> None:
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
        ("train-classifier", "lantern", "image-classification, got lantern"),
        ("train-detector", "pebble", "object-detection, got pebble"),
    ],
)
def test_untrainable_model_is_rejected_in_one_line(
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


def test_plugin_checks_run_the_commands(families: None) -> None:
    for name, names in (("pebble", ["commands"]), ("lantern", ["detector", "commands"])):
        tested = ModelUnderTest(name)
        registered = checks_for_task(tested.info.task)
        assert list(registered) == names
        for check in registered.values():
            check(tested)


class Dim(Lantern):
    """Raises in ``predict``."""

    def detect(self, features: Tensor, batch: ImageList) -> list[Detections]:
        raise RuntimeError("no light")


class Loud(Lantern):
    """``head_prefixes`` includes a layer that does not depend on the number of classes."""

    head_prefixes = ("glow.", "reach.")


class Mute(nn.Module):
    """Has none of the detector members."""


@pytest.mark.parametrize(
    ("cls", "name", "problem"),
    [
        (Dim, "commands", "lucid train-detector .*no light"),
        (Loud, "detector", "num_classes are glow.bias, glow.weight"),
        (Mute, "detector", "the model wrong of class Mute, which lacks num_classes, backbone, h"),
    ],
)
def test_plugin_checks_report_missing_detector_members(
    families: None, cls, name: str, problem: str
) -> None:
    @register_model(task="object-detection", input_shape=(1, 3, 32, 32))
    def wrong(num_classes: int = 4) -> nn.Module:
        return cls() if cls is Mute else cls(num_classes, Pebble(4))

    with pytest.raises(CheckError) as caught:
        checks_for_task("object-detection")[name](ModelUnderTest("wrong"))
    assert re.search(problem, caught.value.problem)
    assert caught.value.advice


def test_plugin_checks_start_a_detector_from_a_classifier(families: None) -> None:
    class Unstaged(Pebble):
        stages = None  # type: ignore[assignment]

    @register_model(task="object-detection", input_shape=(1, 3, 32, 32))
    def unstaged(num_classes: int = 4) -> Lantern:
        return Lantern(num_classes, Unstaged(4))

    with pytest.raises(CheckError, match=r"a Unstaged, which lacks stages\(\)") as caught:
        checks_for_task("object-detection")["commands"](ModelUnderTest("unstaged"))
    assert "--backbone-weights" in caught.value.advice


def test_plugin_checks_reject_a_classifier_of_gray_images(families: None) -> None:
    @register_model(task="image-classification", input_shape=(1, 1, 28, 28))
    def gray(num_classes: int = 4) -> Pebble:
        return Pebble(num_classes)

    with pytest.raises(CheckError, match=r"square RGB images, and input_shape is \(1, 1, 28, 28\)"):
        checks_for_task("image-classification")["commands"](ModelUnderTest("gray"))


@pytest.mark.parametrize("headless", [False, True])
def test_state_dict_of_another_family_starts_a_classifier(
    families: None, tmp_path: Path, headless: bool
) -> None:
    before = create_model("pebble", num_classes=4).state_dict()
    path = tmp_path / "weights.safetensors"
    lucid.save({k: v for k, v in before.items() if not (headless and "verdict" in k)}, path)
    started = load_for_fine_tuning(path, ("amber", "blue"), "pebblenet")
    assert "the last layer is reinitialized" in str(started.note)
    after = started.model.state_dict()
    assert after["verdict.weight"].shape == (2, 12)
    for key in before.keys() - {"verdict.weight", "verdict.bias"}:
        np.testing.assert_array_equal(after[key].numpy(), before[key].numpy())


def test_state_dict_with_other_layers_is_rejected(families: None, tmp_path: Path) -> None:
    state = create_model("pebble", num_classes=2).state_dict()
    state["reef.conv.weight"] = lucid.zeros(12, 5, 3, 3)
    path = tmp_path / "weights.safetensors"
    lucid.save(state, path)
    with pytest.raises(lucid.WeightFileError, match=r"reef\.conv\.weight: expected shape"):
        load_for_fine_tuning(path, ("amber", "blue"), "pebble")


@pytest.mark.parametrize(
    ("num_classes", "headless", "note"),
    [(3, False, "2 classes, too, but no class names"), (5, False, "none for 2 classes"),
     (3, True, "none for 2 classes")],
)  # fmt: skip
def test_state_dict_of_another_family_starts_a_detector(
    call: Command, tmp_path: Path, num_classes: int, headless: bool, note: str
) -> None:
    before = create_model("lantern", num_classes=num_classes).state_dict()
    path = tmp_path / "weights.safetensors"
    lucid.save({k: v for k, v in before.items() if not (headless and "glow" in k)}, path)
    data = coco(tmp_path / "scenes", "amber", "blue")
    out = call("train-detector", "--data", data, "--images", data.parent, "--model", "lantern",
               "--output", tmp_path / "run", "--weights", path, "--frozen-stages", 2,
               "--epochs", 1, "--lr", 1e-9, "--samples", 0, "--batch-size", 2)  # fmt: skip
    assert note in " ".join(out.split())
    after = state(tmp_path / "run" / "best.safetensors")
    kept = num_classes == 3 and not headless
    assert after["glow.weight"].shape[0] == 3
    for name, value in before.items():
        if kept or not name.startswith("glow."):
            np.testing.assert_allclose(after[name], value.numpy(), atol=1e-6)


def test_state_dict_that_does_not_fit_a_detector_is_rejected(
    families: None, tmp_path: Path
) -> None:
    names = ("background", "amber", "blue")
    path = tmp_path / "weights.safetensors"
    weights = create_model("lantern", num_classes=3).state_dict()
    weights["reach.weight"] = lucid.zeros(4, 5, 1, 1)
    lucid.save(weights, path)
    with pytest.raises(lucid.WeightFileError, match=r"do not fit lantern: .*(\n.*)*reach\.weight"):
        from_detector(path, names, "lantern", {})
    with pytest.raises(lucid.WeightFileError, match="--weights FILE --model NAME"):
        from_detector(path, names, None, {})
