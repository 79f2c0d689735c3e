from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pth_files as pth
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import lucid
from lucid import nn
from lucid.errors import UnknownWeightsError
from lucid.training.checkpoint import save_checkpoint
from lucid.vision.transforms import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    preprocessing,
)
from lucid.weights import model_metadata
from lucid.weights.serialization import write_file
from lucid_models_classification.commands import classify
from lucid_models_classification.torchvision import torchvision_state_dict

pytestmark = pytest.mark.slow  # each command opens a whole model

COLORS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that is sure of the image's color: mean red, green and blue are its logits."""
    model = lucid.models.create_model("resnet_18", num_classes=3).eval()
    for unit in model.modules():
        if isinstance(unit, nn.ConvNormAct):
            nn.init.zeros_(unit.conv.weight)
    # Input of the classifier: channel c holds the mean of color c, by the stem's center
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
        # Logits (10, 0, 0), but for the stem's normalization by sqrt(1 + eps).
        assert best["probability"] == pytest.approx(np.exp(10) / (np.exp(10) + 2), rel=1e-3)
        assert len(others) == 2


def test_text_output_has_one_line_per_class(weights: Path, images: list[Path]) -> None:
    output = run(images[1], "--weights", weights, "--top", "2").output
    lines = output.splitlines()
    assert lines[0] == str(images[1])
    assert lines[1] == "  0.9999  green"
    assert lines[2] == "  0.0000  red"  # a tie with blue: the smaller class number
    assert len(lines) == 3


def test_corrupt_image_does_not_stop_the_others(
    weights: Path, images: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff garbage")
    result = run(images[0], bad, images[1], "--weights", weights, "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith(f"lucid: warning: {bad}: expected a whole image")
    first, failed, last = json.loads(result.stdout)
    assert [r["predictions"][0]["label"] for r in (first, last)] == ["red", "green"]
    assert failed["image"] == str(bad)
    assert "expected a whole image" in failed["error"]
    result = run(images[0], bad, "--weights", weights, "--top", 1)
    assert result.stdout.splitlines() == [str(images[0]), "  0.9999  red"]
    with pytest.raises(ValueError, match=r"bad\.jpg: expected a whole image"):
        run(bad, "--weights", weights)
    with pytest.raises(FileNotFoundError, match=r"absent\.png"):
        run(tmp_path / "absent.png", "--weights", weights)


def test_folders_patterns_and_lists(weights: Path, images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("3.png")
    (tmp_path / "list.txt").write_bytes(f"\ufeff{images[4]}\r\n\r\n{images[2]}\r\n".encode())
    result = run(tmp_path, f"@{tmp_path}/list.txt", "--weights", weights, "--json")
    assert [entry["image"] for entry in json.loads(result.stdout)] == [str(i) for i in images]
    assert "skipped 2 files" in result.stderr
    result = run(f"@{tmp_path}/list.txt", tmp_path / "[3].png", "--weights", weights, "--top", 1)
    assert result.stdout.splitlines()[::2] == [str(images[i]) for i in (4, 2, 3)]
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"list\.txt: expected a list with one path"):
        run(f"@{tmp_path}/list.txt", "--weights", weights, "--json")


def test_a_report(weights: Path, images: list[Path], tmp_path: Path) -> None:
    images[3].write_bytes(b"")
    report = tmp_path / "new" / "report.jsonl"
    result = run(*images, "--weights", weights, "--output", report, "--batch-size", 4)
    assert result.stdout == f"9 images in {report}, 1 failed\n"
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [Path(line["image"]).stem for line in lines] == list("0123456789")
    assert lines[1]["predictions"][0]["label"] == "green"
    whole = tmp_path / "report.json"
    result = run(*images, "--weights", weights, "--output", whole, "--json", "--top", 1)
    assert json.loads(result.stdout) == {"output": str(whole), "images": 9, "failed": 1}
    found = json.loads(whole.read_text())
    assert (found["model"], found["top"]) == ("resnet_18", 1)
    assert [Path(record["image"]).stem for record in found["failed"]] == ["3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "r.csv"), "expected a file that ends in .json, .jsonl"),
        (("--output", "folder/"), "expected a file that ends in .json, .jsonl"),
        (("--output", "folder.json"), "expected a file, got the directory"),
        (("--top", 0), "x>=1"),
        (("--batch-size", 0), "x>=1"),
        (("--resume",), ".json or .jsonl"),
        (("--imgsz", 64), "No such option"),
    ],
)
def test_bad_options(
    weights: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch, arguments, message
) -> None:
    monkeypatch.chdir(images[0].parent)
    Path("folder.json").mkdir()
    result = run(images[0], "--weights", weights, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.replace("\n", " ")


def test_top_exceeds_number_of_classes(weights: Path, images: list[Path]) -> None:
    (entry,) = json.loads(run(images[0], "--weights", weights, "--json", "--top", 99).output)
    assert len(entry["predictions"]) == 3


def test_a_file_without_a_model_is_an_error(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    lucid.save({"x": lucid.zeros(2)}, path)
    with pytest.raises(lucid.WeightFileError, match=r"plain\.safetensors"):
        run(images[0], "--weights", path)


def test_wrong_number_of_class_names_is_rejected(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "two.safetensors"
    described = {
        "name": "resnet_18",
        "kwargs": {"num_classes": 3},
        "class_names": ["a", "b"],
        "preprocessing": preprocessing(resize_size=32, crop_size=32),
    }
    model = lucid.models.create_model("resnet_18", num_classes=3)
    write_file(path, model.state_dict(), {"lucid.model": json.dumps(described)})
    with pytest.raises(ValueError, match=r"two\.safetensors: expected 3 class names, got 2"):
        run(images[0], "--weights", path)


def test_class_names_may_repeat(weights: Path, images: list[Path], tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("crane\ngreen\ncrane\n")
    result = run(images[0], "--weights", weights, "--json", "--class-names", names)
    (entry,) = json.loads(result.output)
    labels = {best["class"]: best["label"] for best in entry["predictions"]}
    assert labels == {0: "crane", 1: "green", 2: "crane"}


def test_training_state_is_not_a_classifier(images: list[Path], tmp_path: Path) -> None:
    last = tmp_path / "last.safetensors"
    save_checkpoint(last, {"model": {"w": lucid.zeros(2)}, "epoch": 1})
    with pytest.raises(lucid.WeightFileError, match=r"the best\.safetensors that the run saves"):
        run(images[0], "--weights", last)
    (tmp_path / "best.safetensors").touch()
    with pytest.raises(lucid.WeightFileError) as caught:
        run(images[0], "--weights", last)
    assert f"give {tmp_path / 'best.safetensors'}, or continue the run" in str(caught.value)
    assert "--resume" in str(caught.value)


def test_invalid_preprocessing_names_the_file(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "odd.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=3)
    lucid.save_model(model, path, preprocessing={"side": 3})
    with pytest.raises(ValueError, match=r"odd\.safetensors: preprocessing: expected the entries"):
        run(images[0], "--weights", path)


def test_non_finite_weights_are_rejected(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "nan.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=3)
    model.fc.bias.data[1] = np.nan
    lucid.save_model(model, path, preprocessing=preprocessing(resize_size=32, crop_size=32))
    with pytest.raises(lucid.WeightFileError, match=r"nan\.safetensors.*finite"):
        run(images[0], "--weights", path)


def test_a_detector_is_refused(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "detector.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=2)
    model.model_name = "faster_rcnn_resnet_18_fpn"
    lucid.save_model(model, path)
    with pytest.raises(lucid.WeightFileError, match="got faster_rcnn_resnet_18_fpn"):
        run(images[0], "--weights", path)


# --- weights that do not say what they are --------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same classifier as torchvision would save it: its names, PyTorch's format."""
    model = lucid.load_model(weights)
    state = {key: value.numpy() for key, value in torchvision_state_dict(model).items()}
    value = pth.ordered({k: pth.of(str(i), v) for i, (k, v) in enumerate(state.items())})
    path = tmp_path_factory.mktemp("theirs") / "resnet18-0676ba61.pth"
    return pth.write_archive(
        path, value, {str(i): v.tobytes() for i, v in enumerate(state.values())}
    )


def test_a_torchvision_checkpoint_just_works(
    theirs: Path, images: list[Path], tmp_path: Path
) -> None:
    (entry,) = json.loads(run(images[2], "--weights", theirs, "--json").stdout)
    best = entry["predictions"][0]
    assert (best["class"], best["label"]) == (2, "2")
    # Logits (0, 0, 10) of a blue image, which ImageNet's mean and deviation move and scale.
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    logits = 10 * np.maximum((np.array([0, 0, 1]) - mean) / std, 0)
    expected = np.exp(logits - logits.max())
    assert best["probability"] == pytest.approx(expected[2] / expected.sum(), rel=1e-3)

    names = tmp_path / "names.txt"
    names.write_text("rot\ngrün\nblau\n\n", encoding="utf-8")
    output = run(images[2], "--weights", theirs, "--class-names", names, "--top", 1).stdout
    assert output.splitlines()[1].endswith("  blau")
    assert run(images[2], "--weights", theirs, "--model", "resnet_18", "--top", 1).output


def test_weights_alone_under_lucids_names_work_too(
    weights: Path, images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "alone.npz"
    lucid.save(lucid.load(weights), path)
    output = run(images[1], "--weights", path, "--top", 1).stdout
    assert output.splitlines()[1].endswith("  1")


def test_names_in_a_file_are_checked(theirs: Path, images: list[Path], tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("one\ntwo\n")
    with pytest.raises(ValueError, match=r"names\.txt: expected 3 class names, got 2"):
        run(images[0], "--weights", theirs, "--class-names", names)
    names.write_bytes(b"caf\xe9\n")
    with pytest.raises(ValueError, match=r"names\.txt: expected UTF-8 text"):
        run(images[0], "--weights", theirs, "--class-names", names)


def test_wrong_model_name_is_rejected(theirs: Path, weights: Path, images: list[Path]) -> None:
    with pytest.raises(lucid.WeightFileError, match=r"0676ba61\.pth: the weights do not fit resn"):
        run(images[0], "--weights", theirs, "--model", "resnet_34")
    with pytest.raises(lucid.WeightFileError, match=r"colors.*: expected resnet_34, got resn"):
        run(images[0], "--weights", weights, "--model", "resnet_34")
    with pytest.raises(ValueError, match="got faster_rcnn_resnet_18_fpn for object-det"):
        run(images[0], "--weights", theirs, "--model", "faster_rcnn_resnet_18_fpn")
    with pytest.raises(lucid.UnknownModelError, match="did you mean 'resnet_18'"):
        run(images[0], "--weights", theirs, "--model", "resnet_81")


def test_unknown_weights_give_a_remedy(images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    w = np.zeros(3, "<f4")
    pth.write_archive(path, pth.dict_({"features.0.weight": pth.of("0", w)}), {"0": w.tobytes()})
    with pytest.raises(lucid.WeightFileError, match=r"plain\.pth: .*'features\.0.*--model"):
        run(images[0], "--weights", path)


def test_a_backbone_without_its_classifier_is_an_error(
    weights: Path, images: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "backbone.safetensors"
    lucid.save({k: v for k, v in lucid.load(weights).items() if not k.startswith("fc.")}, path)
    with pytest.raises(lucid.WeightFileError, match=r"backbone.*expected the classif.*got none"):
        run(images[0], "--weights", path)


def test_pixel_limit_applies_to_one_call(
    weights: Path, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 40 - 1)
    run(images[0], "--weights", weights, "--max-pixels", 2000)
    assert "LUCID_MAX_PIXELS" not in os.environ
    with pytest.raises(ValueError, match=r"2000 pixels.*--max-pixels"):
        run(images[0], "--weights", weights)
    monkeypatch.setenv("LUCID_MAX_PIXELS", "3000")
    with pytest.raises(ValueError, match="limit of 100;"):
        run(images[0], "--weights", weights, "--max-pixels", 100)
    assert os.environ["LUCID_MAX_PIXELS"] == "3000"


# Preprocessing


@pytest.fixture(scope="module")
def bare(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights without a word on the model and its images."""
    path = tmp_path_factory.mktemp("bare") / "bare.safetensors"
    lucid.save(lucid.load_model(weights).state_dict(), path)
    return path


PLAIN = ("--resize", 32, "--crop", 32, "--mean", "0,0,0", "--std", "1,1,1")


def test_assumed_preprocessing_is_printed(weights: Path, bare: Path, images: list[Path]) -> None:
    assert run(images[0], "--weights", weights).stderr == ""
    result = run(images[0], "--weights", bare, "--json")
    assert json.loads(result.stdout)[0]["predictions"][0]["label"] == "0"
    (line,) = result.stderr.splitlines()
    assert "bare.safetensors" in line
    for text in ("--resize 256", "--crop 224", "bilinear", "--mean 0.485,", "--std 0.229,"):
        assert text in line
    result = run(images[0], "--weights", bare, *PLAIN)
    assert result.stderr.splitlines()[0].endswith("assumed --interpolation bilinear")
    result = run(images[0], "--weights", bare, *PLAIN, "--interpolation", "bicubic")
    assert result.stderr == ""


def test_options_take_the_place_of_the_files_preprocessing(
    weights: Path, bare: Path, tmp_path: Path
) -> None:
    image = tmp_path / "halves.png"
    pixels = np.zeros((96, 96, 3), np.uint8)
    pixels[..., 1], pixels[32:64, 32:64] = 255, (255, 0, 0)  # red in the middle of green
    Image.fromarray(pixels).save(image)

    def probabilities(*arguments: object) -> dict[str, float]:
        (report,) = json.loads(run(image, "--json", *arguments).stdout)
        return {str(p["class"]): p["probability"] for p in report["predictions"]}

    whole = probabilities("--weights", weights)
    assert probabilities("--weights", bare, *PLAIN) == pytest.approx(whole, abs=1e-6)
    assert max(whole, key=whole.__getitem__) == "1"
    middle = probabilities("--weights", weights, "--resize", 96)  # the file's crop of 32
    assert middle["0"] > 0.99
    assert probabilities("--weights", bare, *PLAIN, "--resize", 96) == pytest.approx(middle)


def test_one_mean_applies_to_all_channels(bare: Path, images: list[Path]) -> None:
    def output(*options: object) -> str:
        return run(images[0], "--weights", bare, "--json", *options).stdout

    assert output("--mean", 0.5, "--std", 2) == output("--mean", "0.5,0.5,0.5", "--std", "2,2,2")
    assert output("--mean", 0.5) != output()


def test_three_means_for_gray_images_are_refused(images: list[Path], tmp_path: Path) -> None:
    weights = tmp_path / "gray.safetensors"
    model = lucid.models.create_model("resnet_18", num_classes=2, in_channels=1)
    lucid.save_model(model, weights)
    with pytest.warns(lucid.WeightFileWarning, match="converted to gray"):
        result = run(images[0], "--weights", weights, "--mean", "0.5,0.5,0.5")
    assert result.exit_code == 2
    assert "--mean: expected 1 value" in result.stderr
    assert result.stderr.rstrip().endswith("got 3")
    with pytest.warns(lucid.WeightFileWarning, match="converted to gray"):
        assert run(images[0], "--weights", weights, "--mean", 0.5, "--std", 1).exit_code == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--crop", 288), "--crop: expected at most 256 (--resize), got 288"),
        (("--mean", "0.5,0.5"), "expected 1 or 3 numbers"),
        (("--std", "a,b,c"), "expected 1 or 3 numbers"),
        (("--interpolation", "nearest"), "bicubic"),
        (("--resize", 0), "--resize"),
    ],
)
def test_invalid_preprocessing_is_rejected(
    bare: Path, images: list[Path], options: tuple[object, ...], text: str
) -> None:
    result = run(images[0], "--weights", bare, *options)
    assert result.exit_code == 2
    assert text in result.stderr


def test_model_without_weights_fetches_the_default(
    weights: Path, images: list[Path], publish: Any
) -> None:
    saved = model_metadata(weights)
    published = publish(
        "resnet_18",
        torchvision_state_dict(lucid.load_model(weights)),
        arguments={"num_classes": 3},
        classes=f"{__name__}:COLORS",
        preprocessing=saved.preprocessing,
        converter="torchvision-resnet",
        default=True,
    )
    first = run(images[2], "--model", "resnet18", "--json")
    (record,) = json.loads(first.stdout)
    assert record["predictions"][0]["label"] == "blue"
    for shown in (published.filename, published.license):
        assert shown in first.stderr
    assert "assumed" not in first.stderr
    again = run(images[2], "--model", "resnet_18", "--weights", "test_v1", "--json")
    assert again.stdout == first.stdout
    assert published.license not in again.stderr  # cached
    assert run(images[2]).exit_code == 2
    assert run(images[2], "--weights", "test_v1").exit_code == 2
    with pytest.raises(UnknownWeightsError, match="mobilenet_v2"):
        run(images[2], "--model", "mobilenet_v2", "--weights", "test_v1")
