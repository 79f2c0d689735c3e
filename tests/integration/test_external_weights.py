"""All commands accept weights of other libraries, by converters of any plugin."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside_families import class_folders, coco, install

import lucid
from lucid import WeightFileError, nn
from lucid.cli.entry_point import run
from lucid.models import create_model, zoo
from lucid.models.registry import ModelRegistry
from lucid.weights import export_state_dict
from lucid_models_classification.loading import load_classifier, load_for_fine_tuning
from lucid_models_detection.loading import load_detector
from lucid_models_detection.training.fine_tuning import from_backbone, from_detector

Command = Callable[..., str]
State = dict[str, Any]

WRAPPERS: dict[str, Callable[[State], State]] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: {f"module.{k}": v for k, v in state.items()},
    "compiled, in DistributedDataParallel": lambda state: {
        f"module._orig_mod.{k}": v for k, v in state.items()
    },
    "Lightning": lambda state: {
        **{f"net.{k}": v for k, v in state.items()},
        "criterion.scale": lucid.ones(2),
    },
    "EMA": lambda state: {
        **{f"model.{k}": v * 0 for k, v in state.items()},
        **{f"ema_model.{k}": v for k, v in state.items()},
    },
}
#: These leave something out, which a warning says.
WARN = ("Lightning", "EMA")


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the external models and their converters as a plugin."""
    monkeypatch.syspath_prepend(install(tmp_path / "site"))
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))


@pytest.fixture
def call(plugin: None, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*arguments: object) -> str:
        code = run([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    return call


def write(path: Path, model: nn.Module, source: str, wrapper: str = "bare") -> Path:
    """Save the weights of a model under another library's names."""
    lucid.save(WRAPPERS[wrapper](export_state_dict(model, source)), path)
    return path


def assert_same(found: Any, model: nn.Module, without: tuple[str, ...] = ()) -> None:
    state = found.state_dict() if isinstance(found, nn.Module) else lucid.load(found)
    for key, value in model.state_dict().items():
        if not key.startswith(without):
            np.testing.assert_allclose(state[key].numpy(), value.numpy(), atol=1e-6, err_msg=key)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore::lucid.WeightFileWarning")
def test_commands_accept_external_classifier_weights(
    call: Command, tmp_path: Path, wrapper: str
) -> None:
    model = create_model("pebble", num_classes=2)
    model.verdict.bias.data[:] = 0, 50
    path = write(tmp_path / "theirs.safetensors", model, "elsewhere", wrapper)
    assert_same(lucid.load_model(path), model)
    folders, scenes = class_folders(tmp_path / "folders", "amber", "blue"), tmp_path / "scenes"
    report = json.loads(call("classify", folders / "amber" / "0.png", "--weights", path, "--json"))
    assert report[0]["predictions"][0]["label"] == "blue"
    call("train-classifier", "--data", folders, "--output", tmp_path / "a", "--weights", path,
         "--image-size", 16, "--epochs", 1, "--lr", 1e-9)  # fmt: skip
    counters = "reef.norm.num", "shore.norm.num", "reef.norm.running", "shore.norm.running"
    assert_same(tmp_path / "a" / "best.safetensors", model, counters)
    data = coco(scenes, "amber", "blue")
    call("train-detector", "--data", data, "--images", scenes, "--output", tmp_path / "b",
         "--model", "lantern", "--backbone-weights", path, "--frozen-stages", 2, "--epochs", 1,
         "--samples", 0, "--lr", 1e-9)  # fmt: skip
    state = lucid.load(tmp_path / "b" / "best.safetensors")
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(state[f"backbone.net.{key}"].numpy(), value.numpy(), atol=1e-6)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.filterwarnings("ignore::lucid.WeightFileWarning")
def test_commands_accept_external_detector_weights(
    call: Command, tmp_path: Path, wrapper: str
) -> None:
    model = create_model("lantern", num_classes=3)
    model.glow.bias.data[:] = 0, 0, 50
    path = write(tmp_path / "theirs.safetensors", model, "elsewhere", wrapper)
    head = ("backbone.net.verdict.",)
    assert_same(lucid.load_model(path), model, head)
    scenes = tmp_path / "scenes"
    data = coco(scenes, "amber", "blue")
    report = json.loads(call("detect", scenes / "0.png", "--weights", path, "--json"))
    assert {each["class"] for each in report["images"][0]["detections"]} == {"blue"}
    call(
        "train-detector",
        "--data",
        data,
        "--images",
        scenes,
        "--output",
        tmp_path / "run",
        "--weights",
        path,
        "--frozen-stages",
        2,
        "--epochs",
        1,
        "--samples",
        0,
        "--lr",
        1e-9,
    )
    assert_same(tmp_path / "run" / "best.safetensors", model, head)


@pytest.mark.parametrize("wrapper", ["compiled, in DistributedDataParallel", "EMA"])
@pytest.mark.filterwarnings("ignore::lucid.WeightFileWarning")
def test_commands_accept_torchvision_weights(tmp_path: Path, wrapper: str) -> None:
    path = tmp_path / "theirs.safetensors"
    model = create_model("mobilenet_v3_small", num_classes=2)
    write(path, model, "torchvision", wrapper)
    assert_same(lucid.load_model(path), model)
    assert_same(load_classifier(path).model, model)
    assert_same(load_for_fine_tuning(path, ("a", "b")).model, model)
    detector = create_model("retinanet_resnet_18_fpn", num_classes=3, channels=8, norm="frozen")
    net = detector.backbone.net
    write(path, net, "torchvision", wrapper)
    options = {"num_classes": 3, "channels": 8}
    assert_same(from_backbone("retinanet_resnet_18_fpn", path, options).backbone.net, net)
    write(path, detector, "torchvision", wrapper)
    head = ("backbone.net.fc.",)
    assert_same(lucid.load_model(path), detector, head)
    assert_same(load_detector(path)[0], detector, head)
    assert_same(from_detector(path, ("background", "a", "b"), None, {})[0], detector, head)


def test_heads_with_another_number_of_classes_are_reinitialized(
    plugin: None, tmp_path: Path
) -> None:
    model = create_model("pebble", num_classes=5)
    path = write(tmp_path / "theirs.safetensors", model, "elsewhere")
    started = load_for_fine_tuning(path, ("a", "b"))
    assert "is reinitialized" in str(started.note)
    assert_same(started.model, model, ("verdict.",))
    detector = create_model("lantern", num_classes=5)
    write(path, detector, "elsewhere")
    tuned, note = from_detector(path, ("background", "a"), None, {})
    assert "the file has 4 classes, the data 1" in str(note)
    assert tuned.glow.weight.shape[0] == 2
    assert_same(tuned, detector, ("glow.", "backbone.net.verdict."))


def test_weights_of_the_other_task_are_rejected(plugin: None, tmp_path: Path) -> None:
    path = write(tmp_path / "theirs.safetensors", create_model("pebble"), "elsewhere")
    for refused in (
        lambda: load_detector(path),
        lambda: from_detector(path, ("background", "a"), None, {}),
    ):
        with pytest.raises(WeightFileError, match="the classifier pebble; use lucid"):
            refused()
    detector = create_model("lantern")
    write(path, detector, "elsewhere")
    message = "expected a classifier, got the weights of lantern, a model for object-detection"
    for name in (None, "pebble"):
        with pytest.raises(WeightFileError, match=message):
            load_classifier(path, name)
    # Trainings start from the classifier in it, and say what they left out.
    with pytest.warns(
        lucid.WeightFileWarning, match=r"'body\.'; skipped other entries .*'label\.weight'"
    ):
        started = load_for_fine_tuning(path, ("a", "b"))
    assert_same(started.model, detector.backbone.net, ("verdict.",))
    with pytest.warns(
        lucid.WeightFileWarning, match=r"'body\.'; skipped other entries .*'label\.weight'"
    ):
        tuned = from_backbone("lantern", path, {})
    assert_same(tuned.backbone.net, detector.backbone.net, ("verdict.",))
