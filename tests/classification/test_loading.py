"""Weights as other programs save them, opened as classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pth_files as pth
import pytest
from click.testing import CliRunner
from PIL import Image

import lucid
from lucid import WeightFileError, WeightFileWarning, nn
from lucid.models import create_model, register_model, zoo
from lucid.models.registry import ModelRegistry
from lucid.weights import fetch
from lucid_models_classification.commands import classify
from lucid_models_classification.imagenet import CLASS_NAMES
from lucid_models_classification.loading import load_classifier, load_for_fine_tuning
from lucid_models_classification.torchvision import torchvision_state_dict

Arrays = dict[str, np.ndarray]


def resnet(**kwargs: Any) -> Arrays:
    """The weights of a small ResNet under torchvision's names."""
    model = create_model("resnet_18", **{"num_classes": 3, **kwargs})
    return {key: value.numpy() for key, value in torchvision_state_dict(model).items()}


@pytest.fixture(scope="module")
def theirs() -> Arrays:
    lucid.random.seed(3)
    return resnet()


def under(prefix: str, arrays: Arrays) -> Arrays:
    return {prefix + key: value for key, value in arrays.items()}


def save(path: Path, **parts: Arrays) -> Path:
    """A checkpoint with a state dict under each name; alone at the top if it is called top."""
    stored: dict[str, bytes] = {}

    def state_dict(arrays: Arrays) -> bytes:
        entries = {}
        for key, array in arrays.items():
            number = str(len(stored))
            stored[number] = array.tobytes()
            entries[key] = pth.of(number, array)
        return pth.ordered(entries)

    values = {name: state_dict(arrays) for name, arrays in parts.items()}
    value = values["top"] if "top" in values else pth.dict_(values)
    return pth.write_archive(path, value, stored)


def assert_has(model: nn.Module, arrays: Arrays) -> None:
    for key, value in torchvision_state_dict(model).items():
        np.testing.assert_array_equal(value.numpy(), arrays[key], key)


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["module._orig_mod.", "module.encoder_q."])
def test_wrapped_weights(theirs: Arrays, tmp_path: Path, prefix: str) -> None:
    path = save(tmp_path / "w.pth", state_dict=under(prefix, theirs))
    assert_has(load_classifier(path).model, theirs)
    assert_has(load_classifier(path, "resnet_18").model, theirs)
    model = load_for_fine_tuning(path, ["a", "b"]).model
    np.testing.assert_array_equal(
        model.layer1[0].conv1.conv.weight, theirs["layer1.0.conv1.weight"]
    )
    assert model.fc.weight.shape == (2, 512)


def test_lightning_checkpoint_warns_of_other_entries(theirs: Arrays, tmp_path: Path) -> None:
    state = under("model.", theirs) | {"criterion.weight": np.ones(3, "<f4")}
    path = save(tmp_path / "w.ckpt", state_dict=state)
    with pytest.warns(WeightFileWarning, match=r"skipped other entries \(1\): 'criterion\.weight'"):
        assert_has(load_classifier(path).model, theirs)


def test_classifier_under_another_prefix(theirs: Arrays, tmp_path: Path) -> None:
    state = {("head." if k[:3] == "fc." else "backbone.") + k: v for k, v in theirs.items()}
    path = save(tmp_path / "w.pth", state_dict=state)
    with pytest.warns(WeightFileWarning, match=r"'backbone\.' and 'head\.fc\.weight'"):
        assert_has(load_classifier(path).model, theirs)


@pytest.mark.slow
def test_the_average_is_used_and_said(theirs: Arrays, tmp_path: Path) -> None:
    averaged = {key: value + 1 for key, value in theirs.items()}
    path = save(tmp_path / "w.pth", model=theirs, model_ema=under("module.", averaged))
    with pytest.warns(WeightFileWarning, match="using the EMA of the weights, 'model_ema'"):
        assert_has(load_classifier(path).model, averaged)
    assert_has(load_classifier(path, ema=True).model, averaged)
    assert_has(load_classifier(path, ema=False).model, theirs)
    assert_has(load_for_fine_tuning(path, ["a", "b", "c"], ema=False).model, theirs)
    Image.new("RGB", (40, 30)).save(tmp_path / "1.png")

    def report(*options: str) -> Any:
        arguments = [str(tmp_path / "1.png"), "--weights", str(path), "--json", *options]
        result = CliRunner().invoke(classify, arguments, catch_exceptions=False)
        return json.loads(result.stdout)[0]["predictions"]

    assert report("--ema") != report("--no-ema")
    alone = save(tmp_path / "alone.pth", top=averaged)
    assert (
        report("--ema")
        == json.loads(
            CliRunner()
            .invoke(classify, [str(tmp_path / "1.png"), "--weights", str(alone), "--json"])
            .stdout
        )[0]["predictions"]
    )


def test_a_file_without_an_average(theirs: Arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", top=theirs)
    with pytest.raises(WeightFileError, match="has no EMA"):
        load_classifier(path, ema=True)
    model = create_model("resnet_18", num_classes=3)
    lucid.save_model(model, tmp_path / "m.safetensors")
    with pytest.raises(WeightFileError, match="has no EMA"):
        load_classifier(tmp_path / "m.safetensors", ema=True)


def changed(theirs: Arrays, change: str) -> Arrays:
    arrays = dict(theirs)
    if change == "fc is a sequence":
        arrays["fc.1.weight"], arrays["fc.1.bias"] = arrays.pop("fc.weight"), arrays.pop("fc.bias")
    elif change == "no fc":
        del arrays["fc.weight"], arrays["fc.bias"]
    elif change == "stem of 3 x 3":
        arrays["conv1.weight"] = arrays["conv1.weight"][:, :, 2:5, 2:5]
    elif change == "another head":
        arrays["aux.weight"] = np.ones((2, 512), "<f4")
    elif change == "group norms":
        arrays = {k: v for k, v in arrays.items() if "running" not in k and "num_b" not in k}
    elif change == "five channels":
        arrays["conv1.weight"] = np.repeat(arrays["conv1.weight"], 5, 1)[:, :5]
    elif change == "a name twice":
        arrays["stem.conv.weight"] = arrays["conv1.weight"]
    return arrays


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("fc is a sequence", r"got another: fc\.1\.weight, fc\.1\.bias"),
        ("no fc", r"expected the classifier fc\.weight .*got none"),
        ("stem of 3 x 3", r"stem\.conv\.weight: expected shape \(64, 3, 7, 7\), got \(64, 3, 3, 3"),
        ("another head", r"unexpected \(1\):\s+aux\.weight"),
        ("group norms", r"missing \(40\):(\n.*){10}\n +\.\.\. and 30 more"),
        ("five channels", "3 or 1 in_channels, got 5"),
        ("a name twice", r"'conv1\.weight' and 'stem\.conv\.weight' both map to"),
    ],
)
def test_modified_networks_are_rejected(
    theirs: Arrays, tmp_path: Path, change: str, message: str
) -> None:
    path = save(tmp_path / "w.pth", top=changed(theirs, change))
    with pytest.raises(WeightFileError, match=message) as caught:
        load_classifier(path)
    assert str(path) in str(caught.value)


def test_a_file_without_tensors_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", top={})
    with pytest.raises(WeightFileError, match="it has no tensors"):
        load_classifier(path)


def test_classifier_outside_the_prefix_is_named(theirs: Arrays, tmp_path: Path) -> None:
    parts = under("backbone.", changed(theirs, "no fc"))
    head = {"head.weight": theirs["fc.weight"], "head.bias": theirs["fc.bias"]}
    path = save(tmp_path / "w.pth", top=parts | head)
    with (
        pytest.raises(WeightFileError, match=r"fc\.bias .*: head\.weight, head\.bias.*rename"),
        pytest.warns(WeightFileWarning, match=r"skipped other entries"),
    ):
        load_classifier(path)
    with pytest.warns(WeightFileWarning, match=r"skipped other entries"):
        assert "none under the model's name" in str(
            load_for_fine_tuning(path, ["a", "b", "c"]).note
        )
    others = {f"projector.{i}.weight": np.zeros((2, 2), "<f4") for i in range(3)}
    path = save(tmp_path / "w.pth", top=parts | others)
    with (
        pytest.raises(WeightFileError, match=r"got none but 3 other tensors, such as projector\.0"),
        pytest.warns(WeightFileWarning, match=r"skipped other entries"),
    ):
        load_classifier(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "suffix"),
    [("fc.weight", ".pth"), ("layer1.0.conv1.weight", ".npz"), ("bn1.running_var", ".npz")],
)
def test_quantized_weights_are_refused(
    theirs: Arrays, tmp_path: Path, key: str, suffix: str
) -> None:
    wrong = {**theirs, key: theirs[key].astype(np.int8)}
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        save(path, top=wrong)
    else:
        lucid.save(wrong, path)
    with pytest.raises(WeightFileError, match=r"expected float32, got int8"):
        load_classifier(path)
    for names in (["a", "b"], ["a", "b", "c"]):
        with pytest.raises(WeightFileError, match=r"expected float32, got int8"):
            load_for_fine_tuning(path, names)


def test_another_network_is_not_called_the_given_model(theirs: Arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", top={"features.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(WeightFileError, match=r"do not fit resnet_18: .*\n  missing \(102\)"):
        load_classifier(path, "resnet_18")
    path = save(tmp_path / "w.pth", top=changed(theirs, "no fc"))
    with pytest.raises(WeightFileError, match=r"fit resnet_50; .*--model resnet_18"):
        load_classifier(path, "resnet_50")


def test_only_the_last_layer_may_be_another(theirs: Arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", top=changed(theirs, "stem of 3 x 3"))
    with pytest.raises(WeightFileError, match=r"stem\.conv\.weight: expected shape"):
        load_for_fine_tuning(path, ["a", "b"])


@pytest.mark.parametrize("class_names", [None, ("a", "b")])
def test_options_beside_a_saved_model(tmp_path: Path, class_names: tuple[str, ...] | None) -> None:
    """Options that change shapes are refused; others keep all weights, the last layer too."""
    saved = lucid.models.create_model("mobilenet_v3_small", num_classes=2, width_mult=0.25)
    path = tmp_path / "w.safetensors"
    lucid.save_model(saved, path, class_names=class_names)
    for option in ({"in_channels": 1}, {"width_mult": 0.5}):
        with pytest.raises(WeightFileError, match=r"layers\.\S+\.conv\.weight: exp") as caught:
            load_for_fine_tuning(path, ["a", "b"], model_options=option)
        assert f"mobilenet_v3_small with {option}" in str(caught.value)
    started = load_for_fine_tuning(path, ["a", "b"], model_options={"norm": "frozen"})
    for key, value in started.model.state_dict().items():
        np.testing.assert_array_equal(value, saved.state_dict()[key], key)
    assert class_names is not None or "is kept" in str(started.note)


def test_a_network_of_gray_images(tmp_path: Path) -> None:
    arrays = resnet(in_channels=1)
    path = save(tmp_path / "w.pth", top=arrays)
    with pytest.warns(WeightFileWarning, match="one channel; images are converted to gray"):
        classifier = load_classifier(path)
    assert_has(classifier.model, arrays)
    # The means of ImageNet's three.
    assert classifier.preprocessing["mean"] == pytest.approx([0.449], abs=1e-9)
    assert classifier.preprocessing["std"] == pytest.approx([0.226], abs=1e-9)


def test_matching_model_is_suggested(theirs: Arrays, tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", top=theirs)
    message = r"do not fit resnet_34; .*--model resnet_18"
    with pytest.raises(WeightFileError, match=message):
        load_classifier(path, "resnet_34")


class Stranger(nn.Module):
    """A network whose layers have the names of torchvision's ResNet."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x: lucid.Tensor) -> lucid.Tensor:
        return self.fc(self.bn1(self.conv1(x)).mean(axis=(2, 3)))


def test_keys_of_a_user_model_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @register_model(task="image-classification", family="stranger", total_parameters=133)
    def stranger(num_classes: int = 3) -> Stranger:
        return Stranger(num_classes)

    model = create_model("stranger")
    state = {key: value.numpy() for key, value in model.state_dict().items()}
    for arrays in (state, under("module.", state)):
        path = save(tmp_path / "w.pth", top=arrays)
        opened = load_classifier(path, "stranger").model
        for key, value in opened.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), state[key])
    path = save(tmp_path / "w.pth", top=state)
    with pytest.raises(WeightFileError, match="it fits stranger: pass --model stranger"):
        load_classifier(path)
    with pytest.raises(WeightFileError, match="they fit stranger"):
        load_classifier(path, "resnet_18")


def test_published_rows_are_kept_by_name_without_builder_arguments(publish: Any) -> None:
    source = create_model("resnet_18")
    classes = "lucid_models_classification.imagenet:CLASS_NAMES"
    entry = publish("resnet_18", source.state_dict(), classes=classes)
    path = fetch("resnet_18", entry.tag)
    loaded = load_for_fine_tuning(path, [CLASS_NAMES[5], "new", CLASS_NAMES[2]])
    kept = loaded.model.fc.weight.numpy()[[0, 2]]
    assert np.array_equal(kept, source.fc.weight.numpy()[[5, 2]])
