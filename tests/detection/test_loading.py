"""Weights as other programs save them, opened as detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pth_files as pth
import pytest

import lucid
from lucid import WeightFileError, WeightFileWarning
from lucid.models import create_model, zoo
from lucid.models.registry import ModelRegistry
from lucid_models_classification.torchvision import torchvision_state_dict as resnet_state_dict
from lucid_models_detection.loading import load_detector
from lucid_models_detection.torchvision import torchvision_config, torchvision_state_dict

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def theirs() -> Arrays:
    config = torchvision_config()
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8, **config)
    return {key: value.numpy() for key, value in torchvision_state_dict(model).items()}


def save(path: Path, **parts: Arrays) -> Path:
    """A checkpoint with a state dict under each name."""
    stored: dict[str, bytes] = {}
    values = {}
    for name, arrays in parts.items():
        entries = {}
        for key, array in arrays.items():
            stored[number := str(len(stored))] = array.tobytes()
            entries[key] = pth.of(number, array)
        values[name] = pth.ordered(entries)
    return pth.write_archive(path, pth.dict_(values), stored)


def score_bias(path: Path, ema: bool | None = None) -> list[float]:
    model, _ = load_detector(path, ema=ema)
    values: list[float] = model.state_dict()["roi_heads.box_predictor.cls_score.bias"].tolist()
    return values


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["_orig_mod.module.", "detector.net."])
def test_wrapped_weights(theirs: Arrays, tmp_path: Path, prefix: str) -> None:
    state = {prefix + key: value for key, value in theirs.items()}
    path = save(tmp_path / "w.pth", model=state)
    model, _ = load_detector(path)
    own = model.state_dict()
    for theirs_key, key in (
        ("backbone.body.layer2.0.conv1.weight", "backbone.net.layer2.0.conv1.conv.weight"),
        ("rpn.head.cls_logits.weight", "rpn.head.cls_logits.weight"),
        ("backbone.fpn.layer_blocks.1.0.weight", "backbone.fpn.output.1.weight"),
    ):
        np.testing.assert_array_equal(own[key].numpy(), theirs[theirs_key])


def test_the_average_is_used_and_said(theirs: Arrays, tmp_path: Path) -> None:
    key = "roi_heads.box_predictor.cls_score.bias"
    averaged = {**theirs, key: np.full(3, 7, "<f4")}
    path = save(tmp_path / "w.pth", model={**theirs, key: np.zeros(3, "<f4")}, model_ema=averaged)
    with pytest.warns(WeightFileWarning, match="'model_ema'; 'model' has the raw weights"):
        assert score_bias(path) == [7, 7, 7]
    assert score_bias(path, ema=False) == [0, 0, 0]
    assert score_bias(path, ema=True) == [7, 7, 7]


def test_a_classifier_is_named(tmp_path: Path) -> None:
    model = create_model("resnet_18", num_classes=3)
    lucid.save(resnet_state_dict(model), tmp_path / "w.safetensors")
    with pytest.raises(WeightFileError, match="the classifier resnet_18; use lucid clas"):
        load_detector(tmp_path / "w.safetensors")


@pytest.mark.parametrize("dtype", ["<i8", "|b1"])
def test_non_floating_weights_are_rejected(theirs: Arrays, tmp_path: Path, dtype: str) -> None:
    key = "roi_heads.box_predictor.cls_score.weight"
    path = save(tmp_path / "w.pth", model={**theirs, key: theirs[key].astype(dtype)})
    with pytest.raises(
        WeightFileError, match=r"cls_score\.weight: expected float32, got (int64|bool)"
    ):
        load_detector(path)


def test_disabled_plugin_of_the_backbone_is_named(
    theirs: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = torchvision_config()
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8, **config)
    own, foreign = tmp_path / "own.safetensors", tmp_path / "w.pth"
    lucid.save_model(model, own)
    save(foreign, model=theirs)
    monkeypatch.setenv("LUCID_DISABLE_PLUGINS", "lucid-models-classification")
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))
    for path, error, message in (
        (own, lucid.UnknownModelError, r"faster_rcnn_.*'resnet_18'; lucid-models-cl.*disabled"),
        (foreign, WeightFileError, r"backbone .* lucid-models-classification is dis"),
    ):
        with pytest.raises(error, match=message) as caught:
            load_detector(path)
        assert str(caught.value).startswith(str(path))
        assert "LUCID_DISABLE_PLUGINS" in str(caught.value)


def test_a_file_without_tensors_is_named(tmp_path: Path) -> None:
    lucid.save({}, tmp_path / "w.safetensors")
    with pytest.raises(WeightFileError, match="it has no tensors"):
        load_detector(tmp_path / "w.safetensors")
