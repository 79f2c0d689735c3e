"""``lucid detect``: tables, JSON, drawings, resuming, errors."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pth_files as pth
import pytest
from PIL import Image

import lucid
from lucid.cli.entry_point import run
from lucid.models import create_model
from lucid_models_detection import FasterRCNN, torchvision_config
from lucid_models_detection.data import COCO_CLASSES
from lucid_models_detection.draw import label_color
from lucid_models_detection.torchvision import torchvision_state_dict

pytestmark = pytest.mark.slow  # each command loads a full model

Run = Callable[..., tuple[int, str, str]]

FOUND = {
    "boxes": np.array([[4, 6, 24, 20], [1, 1, 9.25, 30], [0, 0, 5, 5]], np.float32),
    "labels": np.array([2, 1, 1]),
    "scores": np.array([0.97, 0.61234, 0.2], np.float32),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a small detector of cats and dogs."""
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    lucid.random.seed(0)
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8)
    lucid.save_model(model, path, class_names=["background", "cat", "dog"])
    return path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (40, 32), (90, 90, 90)).save(path)
    return path


@pytest.fixture
def lucid_detect(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``lucid detect``; return exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run(["detect", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def known_detections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace ``predict`` by fixed detections."""

    def predict(self: FasterRCNN, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        assert all(image.shape == (3, 32, 40) for image in images)
        return [dict(FOUND) for _ in images]

    monkeypatch.setattr(FasterRCNN, "predict", predict)


@pytest.mark.usefixtures("known_detections")
def test_table(lucid_detect: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    code, out, err = lucid_detect(image, "--weights", weights)
    name = str(image)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{'image':<{len(name)}}  class  score       x1       y1       x2       y2",
        f"{name}  dog    0.970      4.0      6.0     24.0     20.0",
        f"{name}  cat    0.612      1.0      1.0      9.2     30.0",
    ]
    assert sorted(tmp_path.iterdir()) == [image]  # no files are written without --output


@pytest.mark.usefixtures("known_detections")
def test_json(lucid_detect: Run, weights: Path, image: Path) -> None:
    code, out, _ = lucid_detect(image, "--weights", weights, "--json", "--score-threshold", 0.1)
    assert code == 0
    report = json.loads(out)
    assert report["model"] == "faster_rcnn_resnet_18_fpn"
    (result,) = report["images"]
    assert (result["image"], result["width"], result["height"]) == (str(image), 40, 32)
    assert result["picture"] is None
    assert result["detections"] == [
        {"label": 2, "class": "dog", "score": 0.97, "box": [4.0, 6.0, 24.0, 20.0]},
        {"label": 1, "class": "cat", "score": 0.6123, "box": [1.0, 1.0, 9.25, 30.0]},
        {"label": 1, "class": "cat", "score": 0.2, "box": [0.0, 0.0, 5.0, 5.0]},
    ]


@pytest.mark.usefixtures("known_detections")
def test_nothing_found(lucid_detect: Run, weights: Path, image: Path) -> None:
    code, out, _ = lucid_detect(image, "--weights", weights, "--score-threshold", 0.99)
    assert code == 0
    assert out.splitlines()[1:] == [f"{image}  nothing found"]


@pytest.mark.usefixtures("known_detections")
def test_draw_to_a_file(lucid_detect: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "boxes.png"
    code, out, _ = lucid_detect(image, "--weights", weights, "--output", target, "--scale", 2)
    assert code == 0
    assert f"drawn: {target}" in out
    picture = Image.open(target)
    assert picture.size == (80, 64)
    assert picture.getpixel((8, 20)) == label_color(2)


@pytest.mark.usefixtures("known_detections")
def test_draw_to_a_directory(lucid_detect: Run, weights: Path, image: Path, tmp_path: Path) -> None:
    other = image.rename(tmp_path / "other.png")
    Image.open(other).save(image)
    target = tmp_path / "drawn"
    code, _, _ = lucid_detect(image, other, "--weights", weights, "--output", target)
    assert code == 0
    names = sorted(path.name for path in target.iterdir())
    assert names == ["other_detections.png", "photo_detections.png"]


@pytest.mark.usefixtures("known_detections")
@pytest.mark.parametrize("output", ["new/x.json", "new/deep/x.jsonl", "new/x.tiff", "new.dir/"])
def test_missing_directories_are_created(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path, output: str
) -> None:
    code, _, err = lucid_detect(image, "--weights", weights, "--output", f"{tmp_path}/{output}")
    assert (code, err) == (0, "")
    written = tmp_path / output
    assert (written / "photo_detections.png" if output.endswith("/") else written).is_file()


@pytest.mark.usefixtures("known_detections")
def test_drawings_mirror_image_directories(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x.png", "x.bmp", "a/x.png", "a/b/x.png", "c/y.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.open(image).save(tmp_path / "in" / name)

    def drawn(*sources: str) -> list[str]:
        target = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        code, out, err = lucid_detect(*sources, "--weights", weights, "--output", target, "--json")
        assert (code, err) == (0, "")
        pictures = [result["picture"] for result in json.loads(out)["images"]]
        files = sorted(str(path) for path in target.rglob("*.png"))
        assert sorted(pictures) == files
        return [str(Path(file).relative_to(target)) for file in files]

    everything = [
        "a/b/x_detections.png",
        "a/x_detections.png",
        "c/y_detections.png",
        "x.bmp_detections.png",
        "x.png_detections.png",
    ]
    assert drawn("in") == everything
    assert drawn("in/**/*.*") == everything
    assert drawn("in/a") == ["b/x_detections.png", "x_detections.png"]
    assert drawn("in/c") == ["y_detections.png"]
    assert drawn("in/a/x.png", "in/c") == ["a/x_detections.png", "c/y_detections.png"]
    assert drawn("in/c/y.png", "./in/c/../c/y.png", f"{tmp_path}/in/c/y.png") == [
        "y_detections.png"
    ]


def test_unwritable_drawing_is_reported(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "out" / "photo_detections.png").mkdir(parents=True)
    code, _, err = lucid_detect(image, "--weights", weights, "--output", tmp_path / "out")
    assert code == 2
    assert "photo_detections.png cannot be written (Is a directory)" in err


def test_threshold_below_the_detectors_own(lucid_detect: Run, image: Path, tmp_path: Path) -> None:
    path = tmp_path / "strict.safetensors"
    model = create_model(
        "faster_rcnn_resnet_18_fpn", num_classes=3, hidden_dim=8, box_score_threshold=0.9
    )
    lucid.save_model(model, path, class_names=["background", "cat", "dog"])
    model.score_threshold = 0.2
    (expected,) = model.eval().predict([np.full((3, 32, 40), 90 / 255, np.float32)])
    assert len(expected["scores"]) > 0
    assert float(expected["scores"].max()) < 0.9
    for threshold, count in ((0.95, 0), (0.2, len(expected["scores"]))):
        arguments = ("--weights", path, "--json", "--score-threshold", threshold)
        _, out, _ = lucid_detect(image, *arguments)
        assert len(json.loads(out)["images"][0]["detections"]) == count


@pytest.mark.usefixtures("known_detections")
def test_names_with_newlines_and_undecodable_bytes(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    os.mkdir(tmp_path / "odd")
    names = ["a\nb.png", "-x.png", "\N{GRINNING FACE} [1].png", os.fsdecode(b"\xff.png")]
    for name in names:
        (tmp_path / "odd" / name).write_bytes(image.read_bytes())
    code, out, err = lucid_detect(tmp_path / "odd", "--weights", weights)
    assert (code, err, out.count("\n")) == (0, "", 9)
    assert "a\\nb.png" in out
    assert "\\udcff.png" in out
    code, out, _ = lucid_detect(
        tmp_path / "odd", "--weights", weights, "--json", "--output", tmp_path / "drawn"
    )
    assert code == 0
    found = json.loads(out)["images"]
    assert {Path(result["image"]).name for result in found} == set(names)
    assert all(Path(result["picture"]).is_file() for result in found)


@pytest.mark.parametrize(
    ("option", "advice"),
    [
        ("--conf", "--score-threshold"),
        ("--imgsz", "--model-option min_size=N"),
        ("--iou-thres", "--model-option box_nms_threshold="),
        ("--source", "arguments"),
        ("--device", "CPU"),
        ("--save-txt", "--output"),
    ],
)
def test_options_of_other_tools(
    lucid_detect: Run, weights: Path, image: Path, option: str, advice: str
) -> None:
    code, out, err = lucid_detect(image, "--weights", weights, option, 1)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"No such option: {option}" in err
    assert advice in err


def test_detections_match_the_model(lucid_detect: Run, weights: Path, image: Path) -> None:
    """The command prints the predictions of the saved model."""
    code, out, _ = lucid_detect(image, "--weights", weights, "--json", "--score-threshold", 0)
    assert code == 0
    pixels = np.full((3, 32, 40), 90 / 255, np.float32)
    (expected,) = lucid.load_model(weights).predict([pixels])
    detections = json.loads(out)["images"][0]["detections"]
    assert len(detections) == len(expected["scores"])
    for found, box, score in zip(detections, expected["boxes"], expected["scores"], strict=True):
        assert found["box"] == pytest.approx(box.tolist(), abs=0.02)
        assert found["score"] == pytest.approx(float(score), abs=1e-3)


def bad_call(tmp_path: Path, image: Path, weights: Path) -> dict[str, tuple[list[Any], str]]:
    """Invalid arguments and a part of the error message, by case."""
    truncated = tmp_path / "half.safetensors"
    truncated.write_bytes(weights.read_bytes()[:10_000])
    no_image = tmp_path / "text.png"
    no_image.write_text("no pixels here")
    twin = tmp_path / "twin" / image.name
    twin.parent.mkdir()
    Image.open(image).save(twin)
    results = tmp_path / "results.json"
    results.mkdir()
    empty = tmp_path / "empty.txt"
    empty.write_text("\n\n")
    names = tmp_path / "names.txt"
    names.write_text("cat\ncat\n")
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    w = ["--weights", weights]
    return {
        "missing image": ([tmp_path / "no.png", *w], "no.png"),
        "missing weights": ([image, "--weights", tmp_path / "none"], "none"),
        "truncated weights": ([image, "--weights", truncated], "half.safetensors"),
        "no image": ([no_image, *w], "text.png"),
        "no arguments": ([], "IMAGE"),
        "threshold": ([image, *w, "--score-threshold", 2], "0<=x<=1"),
        "two into one": ([image, twin, *w, "--output", tmp_path / "a.png"], "one file"),
        "nan": ([image, *w, "--score-threshold", "nan"], "finite"),
        "infinite scale": ([image, *w, "--scale", "inf"], "inf is not"),
        "a csv report": ([image, *w, "--output", tmp_path / "r.csv"], ".json, .jsonl, .png"),
        "a file above": (
            [image, *w, "--output", truncated / "a" / "r.json"],
            "expected a directory",
        ),
        "no coco folder": (
            [image, *w, "--coco-results", truncated / "x" / "r.json", "--data", weights],
            "expected a directory",
        ),
        "over itself": ([image, *w, "--output", image], "would be overwritten"),
        "not a directory": ([image, *w, "--output", f"{truncated}/"], "expected a directory"),
        "a folder as report": ([image, *w, "--output", results], "expected a file"),
        "an empty list": ([f"@{empty}", *w, "--json"], "empty.txt: expected a list"),
        "an empty folder": ([results, *w, "--json", "--output", tmp_path / "o.json"], "no files"),
        "an empty output": ([image, *w, "--output", ""], "'--output': expected a value"),
        "an empty image": ([image, "", *w], "'IMAGE...': expected a value"),
        "a text file as coco results": (
            [image, *w, "--coco-results", tmp_path / "r.txt", "--data", empty],
            "expected a file that ends in .json",
        ),
        "one file for two results": (
            [
                *(image, *w, "--output", tmp_path / "r.json", "--data", empty),
                *("--coco-results", tmp_path / "twin" / ".." / "r.json"),
            ],
            "is also given as --coco-results",
        ),
        "a pipe": ([pipe, *w], "pipe.png: expected an image file, got a named pipe"),
        "a pipe of weights": (
            [image, "--weights", pipe],
            "pipe.png: expected a weights file, got a named pipe",
        ),
        "repeated names": (
            [image, *w, "--class-names", names],
            "names.txt: expected a different name for each class, got 'cat' for classes 0, 1",
        ),
    }


@pytest.mark.parametrize(
    "case",
    [
        "missing image",
        "missing weights",
        "truncated weights",
        "no image",
        "no arguments",
        "threshold",
        "two into one",
        "nan",
        "infinite scale",
        "a csv report",
        "a folder as report",
        "a file above",
        "no coco folder",
        "an empty list",
        "an empty folder",
        "over itself",
        "not a directory",
        "an empty output",
        "an empty image",
        "a text file as coco results",
        "one file for two results",
        "a pipe",
        "a pipe of weights",
        "repeated names",
    ],
)
def test_bad_input_exits_with_one_line_and_code_2(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path, case: str
) -> None:
    arguments, message = bad_call(tmp_path, image, weights)[case]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code, out, err = lucid_detect(*arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_classifier_weights_are_rejected(lucid_detect: Run, image: Path, tmp_path: Path) -> None:
    path = tmp_path / "classifier.safetensors"
    lucid.save_model(create_model("resnet_18", num_classes=3), path)
    code, _, err = lucid_detect(image, "--weights", path)
    assert code == 2
    assert "classifier.safetensors: expected a detector, got resnet_18, a model for image-" in err
    assert "use lucid classify, or train a detector" in err


# --- many images --------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images, one truncated and one a broken link."""
    path = tmp_path / "photos"
    path.mkdir()
    for name in "abcd":
        Image.new("RGB", (40, 32), (90, 90, ord(name))).save(path / f"{name}.png")
    (path / "b.png").write_bytes((path / "a.png").read_bytes()[:60])
    (path / "e.png").symlink_to("nowhere.png")
    return path


@pytest.mark.usefixtures("known_detections")
def test_results_file(lucid_detect: Run, weights: Path, folder: Path, tmp_path: Path) -> None:
    report = tmp_path / "results.json"
    code, out, err = lucid_detect(folder, "--weights", weights, "--output", report)
    assert (code, out) == (0, f"3 images in {report}, 2 failed\n")
    broken, missing = err.splitlines()
    assert broken.startswith(f"lucid: warning: {folder}/b.png: expected a whole image")
    assert missing == f"lucid: warning: {folder}/e.png: No such file or directory"
    found = json.loads(report.read_text())
    assert found["model"] == "faster_rcnn_resnet_18_fpn"
    assert [Path(result["image"]).name for result in found["images"]] == ["a.png", "c.png", "d.png"]
    assert [Path(result["image"]).name for result in found["failed"]] == ["b.png", "e.png"]
    assert [d["class"] for d in found["images"][0]["detections"]] == ["dog", "cat"]
    assert not list(tmp_path.glob("*.partial*"))

    lines = report.with_suffix(".jsonl")
    arguments = ("--weights", weights, "--output", lines, "--json")
    code, out, _ = lucid_detect(folder / "*.png", *arguments)
    assert (code, json.loads(out)) == (0, {"output": str(lines), "images": 3, "failed": 2})
    in_lines = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [Path(result["image"]).stem for result in in_lines] == list("abcde")
    assert in_lines[0] == found["images"][0]


@pytest.mark.usefixtures("known_detections")
def test_failed_images_without_results_file(lucid_detect: Run, weights: Path, folder: Path) -> None:
    code, out, err = lucid_detect(folder, "--weights", weights, "--json")
    assert (code, err.count("\n")) == (0, 2)
    report = json.loads(out)
    assert (len(report["images"]), len(report["failed"])) == (3, 2)
    code, _, err = lucid_detect(folder / "b.png", folder / "e.png", "--weights", weights)
    assert (code, err.count("\n")) == (2, 1)
    assert "all 2 images failed" in err


def test_ctrl_c_and_resume(
    lucid_detect: Run,
    weights: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []

    def predict(self: FasterRCNN, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        calls.append(round(float(images[0][2, 0, 0]) * 255))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return [dict(FOUND)]

    monkeypatch.setattr(FasterRCNN, "predict", predict)
    report = tmp_path / "results.json"
    arguments = (folder, "--weights", weights, "--output", report)
    code, out, err = lucid_detect(*arguments)
    assert (code, out, report.exists()) == (130, "", False)
    assert "stopped after 2 of 5 images" in err
    code, _, err = lucid_detect(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "results.json.partial contains an unfinished run; continue it with --resume" in err
    code, out, _ = lucid_detect(*arguments, "--resume", "--score-threshold", 0.3)
    assert code == 2  # the threshold differs from the first run
    code, out, _ = lucid_detect(*arguments, "--resume")
    assert (code, out) == (0, f"3 images in {report}, 2 failed\n")
    assert calls == [ord("a"), ord("c"), ord("c"), ord("d")]
    assert [Path(r["image"]).stem for r in json.loads(report.read_text())["images"]] == list("acd")
    code, out, err = lucid_detect(*arguments, "--resume")
    assert (code, out) == (0, f"3 images in {report}, 2 failed\n")
    assert f"{report} has results for 3 images; remaining: 2 failed before" in err


def test_resume_of_a_finished_report(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(image, folder / f"{name}.png")
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights.read_bytes())
    for suffix in ("json", "jsonl"):
        report = tmp_path / f"r.{suffix}"
        arguments = (folder, "--weights", weights, "--output", report)
        assert lucid_detect(*arguments)[0] == 0
        before = report.read_bytes()
        code, out, err = lucid_detect(*arguments, "--resume")
        assert (code, out, err) == (0, "", f"{report} is complete\n")
        code, out, _ = lucid_detect(*arguments, "--resume", "--json")
        assert json.loads(out) == {"output": str(report), "images": 2, "failed": 0}
        code, _, err = lucid_detect(*arguments, "--resume", "--score-threshold", 0.25)
        assert (code, err.count("\n")) == (2, 1)
        assert "expected score_threshold 0.5, got 0.25" in err
        moved = (folder, "--weights", other, "--output", report, "--resume")
        assert lucid_detect(*moved)[0] == 0  # the same weights at another path
        assert report.read_bytes() == before


def test_resume_rejects_report_of_other_weights(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    report = tmp_path / "r.json"
    arguments = (image, "--weights", weights, "--output", report)
    assert lucid_detect(*arguments)[0] == 0
    content = json.loads(report.read_text())
    report.write_text(json.dumps({**content, "sha256": "0" * 64, "model": "another"}))
    code, _, err = lucid_detect(*arguments, "--resume")
    assert code == 2
    assert "expected weights with SHA-256 '0000" in err
    assert "; model 'another', got " in err
    report.write_text('{"something": "else"}')
    code, _, err = lucid_detect(*arguments, "--resume")
    assert (code, err.count("\n")) == (2, 1)
    assert "expected a report to resume, got another file" in err
    assert report.read_text() == '{"something": "else"}'


def test_options_without_effect_are_rejected(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path
) -> None:
    for options, message in {
        ("--resume",): ".json or .jsonl",
        ("--workers", 2): "--dask local",
        ("--threads", 2): "--dask",
        ("--batch-size", 0): "x>=1",
    }.items():
        code, out, err = lucid_detect(image, "--weights", weights, *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert message in err
    code, _, err = lucid_detect(tmp_path / "*.gif", "--weights", weights)
    assert code == 2
    assert "found no file that matches" in err


# --- weights of torchvision -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector of COCO classes in torchvision's checkpoint format."""
    model = create_model(
        "faster_rcnn_resnet_18_fpn", num_classes=91, **torchvision_config() | {"hidden_dim": 8}
    )
    state = {key: value.numpy() for key, value in torchvision_state_dict(model).items()}
    value = pth.ordered({k: pth.of(str(i), v, True) for i, (k, v) in enumerate(state.items())})
    path = tmp_path_factory.mktemp("theirs") / "fasterrcnn_resnet18_fpn_coco-258fb6c6.pth"
    stored = {str(i): (v.size, v.tobytes()) for i, v in enumerate(state.values())}
    return pth.write_legacy(path, value, stored)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[FasterRCNN]:
    """Return a list that gets the detectors that predict, with fixed detections."""
    found: list[FasterRCNN] = []

    def predict(self: FasterRCNN, images: list[np.ndarray]) -> list[dict[str, np.ndarray]]:
        found.append(self)
        return [dict(FOUND)]

    monkeypatch.setattr(FasterRCNN, "predict", predict)
    return found


def test_torchvision_checkpoint(
    lucid_detect: Run, theirs: Path, image: Path, models: list[FasterRCNN]
) -> None:
    code, out, err = lucid_detect(image, "--weights", theirs)
    assert (code, err) == (0, "")
    assert [line.split("  ")[1] for line in out.splitlines()[1:]] == ["bicycle", "person"]
    (model,) = models
    assert model.num_classes == 91
    assert model.transform.min_size == (800,)
    assert model.backbone.net.layer1[0].conv1.norm.eps == 1e-5

    lucid_detect(image, "--weights", theirs, "--norm-eps", 0)
    assert models[-1].backbone.net.layer1[0].conv1.norm.eps == 0
    lucid_detect(image, "--weights", theirs, "--norm-eps", 1e-5)
    assert models[-1].backbone.net.layer1[0].conv1.norm.eps == 1e-5


def test_model_without_weights_fetches_the_default(
    lucid_detect: Run, theirs: Path, image: Path, models: list[FasterRCNN], publish: Any
) -> None:
    published = publish(
        "faster_rcnn_resnet_18_fpn",
        lucid.load(theirs),
        arguments={"norm_eps": 0.0},
        classes="lucid_models_detection.data.coco:COCO_CLASSES",
        converter="torchvision-faster_rcnn",
        default=True,
    )
    code, out, err = lucid_detect(image, "--model", "fasterrcnn_resnet18_fpn")
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()[1:]] == ["bicycle", "person"]
    for shown in (published.filename, published.license):
        assert shown in err
    (model,) = models
    assert model.num_classes == 91
    assert model.transform.min_size == (800,)
    assert model.backbone.net.layer1[0].conv1.norm.eps == 0

    code, _, err = lucid_detect(image, "--model", "faster_rcnn_resnet_18_fpn")
    assert code == 0
    assert published.license not in err  # cached
    code, _, err = lucid_detect(image, "--model", "faster_rcnn_resnet_34_fpn")
    assert (code, "faster_rcnn_resnet_18_fpn" in err) == (2, True)  # has weights
    code, _, err = lucid_detect(image)
    assert (code, "--model NAME" in err) == (2, True)
    code, _, err = lucid_detect(image, "--weights", theirs, "--model", "faster_rcnn_resnet_34_fpn")
    assert (code, "got those of faster_rcnn_resnet_18_fpn" in err) == (2, True)


@pytest.mark.usefixtures("known_detections")
@pytest.mark.parametrize("names", ["Katze\nHund\n", "nichts\nKatze\nHund\n\n"])
def test_class_names_from_a_file(
    lucid_detect: Run, weights: Path, image: Path, tmp_path: Path, names: str
) -> None:
    path = tmp_path / "names.txt"
    path.write_text(names)
    code, out, _ = lucid_detect(image, "--weights", weights, "--class-names", path)
    assert code == 0
    assert [line.split("  ")[1] for line in out.splitlines()[1:]] == ["Hund", "Katze"]


def test_unrecognized_weights_are_rejected(
    lucid_detect: Run, theirs: Path, weights: Path, image: Path, tmp_path: Path
) -> None:
    def refused(*arguments: object) -> str:
        code, out, err = lucid_detect(image, *arguments)
        assert (code, out, err.count("lucid: error: ")) == (2, "", 1)
        return err

    path = tmp_path / "w.safetensors"
    lucid.save(lucid.load(weights), path)
    err = refused("--weights", path)
    assert "w.safetensors: expected torchvision's names or model metadata" in err
    lucid.save({k: v for k, v in lucid.load(theirs).items() if "fc7.bias" not in k}, path)
    assert "the weights do not fit faster_rcnn_resnet_18_fpn: " in refused("--weights", path)
    assert "expected no norm_eps" in refused("--weights", weights, "--norm-eps", 0)
    names = tmp_path / "names.txt"
    names.write_text("one\n")
    err = refused("--weights", weights, "--class-names", names)
    assert "expected 2 class names, or 3 with the background first, got 1" in err
    names.write_bytes(b"\xff")
    assert "expected UTF-8 text" in refused("--weights", weights, "--class-names", names)


def test_coco_classes() -> None:
    assert len(COCO_CLASSES) == 91
    assert [i for i, name in enumerate(COCO_CLASSES) if name == "N/A"] == [
        12, 26, 29, 30, 45, 66, 68, 69, 71, 83,
    ]  # fmt: skip
    named = [name for name in COCO_CLASSES[1:] if name != "N/A"]
    assert len(set(named)) == 80
    assert (named[0], COCO_CLASSES[18], named[-1]) == ("person", "dog", "toothbrush")
