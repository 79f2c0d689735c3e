from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import lucid
from lucid import nn
from lucid_models_classification.commands import classify
from lucid_models_classification.transforms import ImageError, preprocessing

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that is sure of the image's colour: mean red, green and blue are its logits."""
    model = lucid.models.create_model("resnet_18", num_classes=3).eval()
    for unit in model.modules():
        if isinstance(unit, nn.ConvNormAct):
            nn.init.zeros_(unit.conv.weight)
    # What reaches the classifier: channel c holds the mean of colour c, by the stem's centre
    # pixel, the pooling, and blocks that add nothing to their shortcuts.
    for c in range(3):
        model.stem.conv.weight.data[c, c, 3, 3] = 1
        for stage in (model.layer2, model.layer3, model.layer4):
            stage[0].downsample.conv.weight.data[c, c] = 1
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    for c in range(3):
        model.fc.weight.data[c, c] = 10
    path = tmp_path_factory.mktemp("weights") / "colors.safetensors"
    description = preprocessing(resize_size=32, crop_size=32, mean=(0, 0, 0), std=(1, 1, 1))
    lucid.save_model(model, path, class_names=COLORS, preprocessing=description)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for i, path in enumerate(paths):
        Image.new("RGB", (50, 40), ((255, 0, 0), (0, 255, 0), (0, 0, 255))[i % 3]).save(path)
    return paths


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(classify, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_images_are_classified_in_order(weights: Path, images: list[Path]) -> None:
    report = json.loads(run(*images, "--weights", weights, "--json").output)
    assert [entry["image"] for entry in report] == [str(path) for path in images]
    for i, entry in enumerate(report):
        best, *others = entry["predictions"]
        assert best["label"] == COLORS[i % 3]
        assert best["class"] == i % 3
        # Logits (10, 0, 0), but for the stem's normalisation by sqrt(1 + eps).
        assert best["probability"] == pytest.approx(np.exp(10) / (np.exp(10) + 2), rel=1e-3)
        assert len(others) == 2


def test_text_has_one_line_for_each_class(weights: Path, images: list[Path]) -> None:
    output = run(images[1], "--weights", weights, "--top", "2").output
    lines = output.splitlines()
    assert lines[0] == str(images[1])
    assert lines[1] == "  0.9999  green"
    assert lines[2] == "  0.0000  red"  # a tie with blue: the smaller class number
    assert len(lines) == 3


def test_a_damaged_image_is_an_error_that_names_it(
    weights: Path, images: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff garbage")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        run(*images, bad, "--weights", weights)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        run(tmp_path / "absent.png", "--weights", weights)


def test_a_file_without_a_model_is_an_error(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    lucid.save({"x": lucid.zeros(2)}, path)
    with pytest.raises(lucid.WeightFileError, match=r"plain\.safetensors"):
        run(images[0], "--weights", path)


def test_names_for_another_number_of_classes_are_an_error(
    images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "two.safetensors"
    lucid.save_model(
        lucid.models.create_model("resnet_18", num_classes=3),
        path,
        class_names=("a", "b"),
        preprocessing=preprocessing(resize_size=32, crop_size=32),
    )
    with pytest.raises(lucid.WeightFileError, match="names 2 classes, its model tells 3 apart"):
        run(images[0], "--weights", path)


def test_foreign_preprocessing_is_an_error_that_names_the_file(
    images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "odd.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=3)
    lucid.save_model(model, path, preprocessing={"side": 3})
    with pytest.raises(ValueError, match=r"odd\.safetensors: preprocessing: expected the entries"):
        run(images[0], "--weights", path)


def test_weights_that_are_not_finite_are_an_error(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=3)
    model.fc.bias.data[1] = np.nan
    lucid.save_model(model, path, preprocessing=preprocessing(resize_size=32, crop_size=32))
    with pytest.raises(lucid.WeightFileError, match=r"nan\.safetensors.*not finite"):
        run(images[0], "--weights", path)


def test_a_detector_is_refused(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=2)
    model.model_name = "faster_rcnn_resnet_18_fpn"
    lucid.save_model(model, path)
    with pytest.raises(lucid.WeightFileError, match="got faster_rcnn_resnet_18_fpn"):
        run(images[0], "--weights", path)
