"""``lucid train-detector`` and ``lucid evaluate``: results, interruption, errors."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_detection
from PIL import Image

import lucid
from lucid.cli.entry_point import run
from lucid.models import create_model
from lucid.training import load_checkpoint
from lucid_models_classification.torchvision import torchvision_state_dict
from lucid_models_detection.training.validation import Validation

pytestmark = pytest.mark.slow

Run = Callable[..., tuple[int, str, str]]

MODEL = "faster_rcnn_resnet_18_fpn"
SMALL = [
    *("--model", MODEL, "--batch-size", 1, "--epochs", 2, "--samples", 2, "--optimizer", "sgd"),
    *(
        f"--model-option={name}={json.dumps(value)}"
        for name, value in small_detection.SMALL.items()
    ),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images, one of them without objects."""
    folder = tmp_path_factory.mktemp("coco")
    return small_detection.write_coco(folder, 4, sizes=((64, 64), (72, 48)), empty=(2,))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a ``lucid`` command; return exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        code = run([*map(str, arguments)])
        return code, *capsys.readouterr()

    return call


def arguments_of(data: Path, output: Path) -> list[str]:
    given = ["--data", data, "--images", data.parent, "--output", output, *SMALL]
    return ["train-detector", *map(str, given)]


def begin(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lucid.cli", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def wait_until(there: Callable[[], bool], program: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not there():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.02)


def has_stepped(state: Path) -> Callable[[], bool]:
    """Return whether the checkpoint is later than the start."""
    return lambda: state.exists() and load_checkpoint(state)["step"] > 0


def weights_digest(folder: Path) -> str:
    state = load_checkpoint(folder / "last.safetensors")
    assert state["epoch"] == 2
    digest = hashlib.sha256()
    for name, value in sorted(state["model"].items()):
        digest.update(name.encode() + value.data.tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directory of an uninterrupted training."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(arguments_of(data, folder)) == 0
    return folder


def check_results_of_detect(
    call: Run, data: Path, weights: Path, rows: list[dict[str, object]], folder: Path
) -> None:
    """``lucid detect`` and ``lucid evaluate`` give the same detections."""
    path = folder / "new" / "detected.json"
    pictures = [data.parent / f"data_{number}.png" for number in (3, 1)]
    arguments = ["--weights", weights, "--coco-results", path, "--data", data]
    code, _, err = call("detect", *pictures, *arguments, "--score-threshold", 0.9)
    assert (code, err) == (0, "")
    detected = json.loads(path.read_text())
    assert detected == [r for image in (103, 101) for r in rows if r["image_id"] == image]


def test_trained_detector_works_with_other_commands(
    trained: Path, data: Path, call: Run, tmp_path: Path
) -> None:
    best = trained / "best.safetensors"
    assert {path.name for path in trained.iterdir()} == {
        "run.json",
        "run_images.json",
        "last.safetensors",
        "best.safetensors",
        "metrics.csv",
        "training.png",
        "samples",
    }
    assert sorted(path.name for path in (trained / "samples").iterdir()) == [
        "epoch_001.png",
        "epoch_002.png",
    ]
    with open(trained / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6"]
    assert {"loss", "val_loss", "val_loss_classifier", "mAP", "mAP@0.5", "lr"} <= rows[0].keys()

    code, out, _ = call(
        "detect", data.parent / "data_0.png", "--weights", best, "--score-threshold", 0, "--json"
    )
    assert code == 0
    found = {one["class"] for one in json.loads(out)["images"][0]["detections"]}
    assert found <= {"square", "disc"}

    results = tmp_path / "results.json"
    code, out, err = call(
        "evaluate", "--data", data, "--images", data.parent, "--weights", best,
        "--output", results, "--batch-size", 2,
    )  # fmt: skip
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "class   objects     AP   AP50   AP75     AR"
    assert [line.split()[0] for line in lines[2:4]] == ["square", "disc"]
    assert lines[-1].startswith("mAP 0.")
    assert lines[-1].endswith("on 4 images")
    rows = json.loads(results.read_text())
    assert {row["category_id"] for row in rows} <= {3, 7}
    assert {row["image_id"] for row in rows} <= {100, 101, 102, 103}

    code, out, _ = call(
        "evaluate", "--data", data, "--images", data.parent, "--weights", best,
        "--batch-size", 2, "--json",
    )  # fmt: skip
    measured = json.loads(out)
    assert (code, measured["images"], measured["objects"]) == (0, 4, 5)
    assert [c["name"] for c in measured["classes"]] == ["square", "disc"]
    assert measured["detections"] == len(rows)

    check_results_of_detect(call, data, best, rows, tmp_path)

    # Resuming a finished run does nothing; starting again would overwrite it.
    code, out, err = call("train-detector", "--output", trained, "--resume")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].endswith(str(best))
    code, _, err = call(*arguments_of(data, trained))
    assert (code, err.count("\n")) == (2, 1)
    assert "already contains a run; continue it with --resume" in err


@pytest.mark.slow
def test_published_weights_are_named(call: Run, data: Path, tmp_path: Path, publish: Any) -> None:
    state = torchvision_state_dict(create_model("resnet_18"))
    entry = publish("resnet_18", state, converter="torchvision-resnet")
    options = ["--frozen-stages", 9, "--backbone-weights", "test_v1"]  # 9 ends the command
    for _ in range(2):  # fetched, cached
        code, _, err = call(*arguments_of(data, tmp_path / "run"), *options)
        assert (code, f"backbone weights: {entry.filename}\n" in err) == (2, True)


def test_run_killed_before_first_step_keeps_backbone_weights(data: Path, tmp_path: Path) -> None:
    lucid.random.seed(5)
    source = create_model("resnet_18", num_classes=4)
    weights = tmp_path / "backbone.safetensors"
    lucid.save(source.state_dict(), weights)
    whole, half = tmp_path / "whole", tmp_path / "half"
    assert run([*arguments_of(data, whole), "--backbone-weights", str(weights)]) == 0

    state = half / "last.safetensors"
    program = begin(*arguments_of(data, half), "--backbone-weights", weights)
    try:
        wait_until(state.exists, program)
    finally:
        program.kill()
        program.communicate(timeout=60)
    assert program.returncode == -signal.SIGKILL
    reached = load_checkpoint(state)
    assert (reached["epoch"], reached["step"]) == (0, 0)
    for name, value in source.state_dict().items():
        if not name.endswith("num_batches_tracked"):  # frozen norms have no counter
            held = reached["model"][f"backbone.net.{name}"]
            np.testing.assert_array_equal(held.numpy(), value.numpy(), err_msg=name)

    weights.unlink()  # the run directory is sufficient
    program = begin("train-detector", "--output", half, "--resume")
    out, err = program.communicate(timeout=300)
    assert (program.returncode, err) == (0, "")
    assert "epoch 2/2" in out
    assert weights_digest(half) == weights_digest(whole)


@pytest.mark.slow
def test_ctrl_c_leaves_intact_checkpoint_and_exits_130(
    trained: Path, data: Path, tmp_path: Path, call: Run
) -> None:
    folder = tmp_path / "run"
    program = begin(*arguments_of(data, folder), "--checkpoint-every", "1")
    try:
        wait_until(has_stepped(folder / "last.safetensors"), program)
    finally:
        program.send_signal(signal.SIGINT)
        _, err = program.communicate(timeout=60)
    assert program.returncode == 130, err
    assert f"lucid train-detector --output {folder} --resume" in err
    assert err.splitlines()[-1] == "lucid: interrupted"
    assert load_checkpoint(folder / "last.safetensors")["step"] < 6
    code, _, err = call("train-detector", "--output", folder, "--resume")
    assert (code, err) == (0, "")
    assert weights_digest(folder) == weights_digest(trained)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--data JSON and --images DIR"),
        (("--data", "DATA"), "--data JSON and --images DIR"),
        (("--data", "absent", "--images", "IMAGES"), "absent"),
        (("--data", "DATA", "--images", "IMAGES", "--model", "resnet_18"), "image-classification"),
        (("--data", "DATA", "--images", "IMAGES", "--model", "rcnn"), "no model is called 'rcnn'"),
        (
            ("--data", "DATA", "--images", "IMAGES", "--val", "DATA", "--val-fraction", 0.5),
            "--val and --val-fraction",
        ),
        (("--data", "DATA", "--images", "IMAGES", "--val", "OTHER"), "category 3 is 'disc'"),
        (("--data", "DATA", "--images", "IMAGES", "--model-option", "x"), "expected NAME=VALUE"),
        (
            ("--data", "DATA", "--images", "IMAGES", "--model-option", "x=1"),
            "valid ones are num_classes, ",
        ),
        (
            ("--data", "DATA", "--images", "IMAGES", "--model-option", "minsize=600"),
            "'minsize': use min_size=",
        ),
        (
            ("--data", "DATA", "--images", "IMAGES", "--model-option", "anchor_sizes=8,16"),
            "in JSON it is anchor_sizes=[8,16]",
        ),
        (
            ("--data", "DATA", "--images", "IMAGES", "--model", MODEL, "--frozen-stages", 9),
            "(--frozen-stages): expected 0 to 5",
        ),
        (
            ("--data", "DATA", "--images", "IMAGES", "--weights", "CLASSIFIER"),
            "backbone_weights (--backbone-weights)",
        ),
        (("--imgsz", 600), "did you mean --model-option min_size=N?"),
        (("--lr0", 0.1), "did you mean --lr?"),
        (("--data", "DATA", "--images", "IMAGES", "--lr", "nan"), "finite"),
        (
            ("--data", "DATA", "--images", "IMAGES", "--lr", "abc"),
            "expected a number > 0, got 'abc'",
        ),
        (("--data", "DATA", "--images", "IMAGES", "--output", "twice"), "expected --output once"),
        (("--resume",), "contains no run to resume"),
    ],
)
def test_bad_input_exits_with_one_line_and_no_files(
    call: Run, data: Path, tmp_path: Path, arguments: tuple[object, ...], message: str
) -> None:
    other = small_detection.write_coco(
        data.parent, 2, name="other.json", categories={3: "disc", 7: "square"}
    )
    classifier = tmp_path / "classifier.safetensors"
    if "CLASSIFIER" in arguments:
        lucid.save_model(create_model("resnet_18", num_classes=2), classifier)
    files = {
        "DATA": data,
        "IMAGES": data.parent,
        "OTHER": other,
        "CLASSIFIER": classifier,
    }
    given = [files.get(str(argument), argument) for argument in arguments]
    code, out, err = call("train-detector", "--output", tmp_path / "run", *given)
    assert (code in (1, 2), out) == (True, "")
    assert err.startswith("lucid: error: ")
    assert "Traceback" not in err
    assert message in err
    assert not (tmp_path / "run").exists()


def test_missing_packages_are_reported(
    call: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [m for m in sys.modules if m.startswith("pycocotools")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    weights = tmp_path / "any"
    weights.touch()
    for arguments in (
        arguments_of(data, tmp_path / "run"),
        ["evaluate", "--data", data, "--images", data.parent, "--weights", weights],
    ):
        code, _, err = call(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert 'pip install "lucid-models-detection[coco]"' in err


@pytest.mark.usefixtures("tiny_model")
def test_missing_matplotlib_is_reported(
    call: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = call(
        "train-detector", "--data", data, "--images", data.parent, "--output", tmp_path / "run",
        "--model", "tiny_detector", "--epochs", 1,
    )  # fmt: skip
    assert code == 0
    assert err == 'no plots without matplotlib: pip install "lucid-models-detection[plot]"\n'


@pytest.mark.usefixtures("tiny_model")
def test_metric_that_is_always_nan_is_reported(
    call: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = {"val_loss": 1.0, "mAP": math.nan, "mAP@0.5": math.nan}
    monkeypatch.setattr(Validation, "__call__", lambda self, model: nowhere)
    code, out, err = call(
        "train-detector", "--data", data, "--images", data.parent, "--output", tmp_path / "run",
        "--model", "tiny_detector", "--epochs", 1,
    )  # fmt: skip
    assert (code, err) == (0, "")
    best = tmp_path / "run" / "best.safetensors"
    line = f"no best mAP, it was NaN after every epoch; {best} was not written"
    assert out.splitlines()[-1] == line
    assert not best.exists()


def test_evaluate_rejects_other_categories(trained: Path, call: Run, tmp_path: Path) -> None:
    other = small_detection.write_coco(tmp_path, 2, categories={3: "disc", 5: "star"})
    code, out, err = call(
        "evaluate", "--data", other, "--images", tmp_path,
        "--weights", trained / "best.safetensors",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert "category 3 is 'disc': in the detector it is 'square'" in err
    assert "category 5 is 'star': the detector has no such category" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "r.csv"), "'--output': expected a file that ends in .json, got"),
        (("--output", "r"), "'--output': expected a file that ends in .json, got"),
        (("--plot", "r.json"), "'--plot': expected a file that ends in "),
        (("--output", "a.json", "--plot", "./a.json"), "is also given as --plot"),
    ],
)
def test_output_of_another_type_is_rejected(
    call: Run, data: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    weights = tmp_path / "any"
    weights.touch()
    given = [text if text.startswith("--") else f"{tmp_path}/{text}" for text in arguments]
    code, _, err = call(
        "evaluate", "--data", data, "--images", data.parent, "--weights", weights, *given
    )
    assert (code, err.count("\n")) == (2, 1)
    assert message in err


@pytest.mark.usefixtures("tiny_model")
def test_precision_recall_plot(
    call: Run, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, plot = tmp_path / "w.safetensors", tmp_path / "new" / "curves.png"
    model = create_model("tiny_detector", num_classes=3)
    lucid.save_model(model, weights, class_names=("background", "square", "disc"))
    given = ("evaluate", "--data", data, "--images", data.parent, "--weights", weights, "--plot")
    code, out, _ = call(*given, plot, "--measure", "voc2012")
    assert code == 0
    assert out.splitlines()[0] == "class   objects     AP recall"
    assert any(line.startswith("VOC 2012 mAP@0.5 0.") for line in out.splitlines())
    with Image.open(plot) as picture:
        assert min(picture.size) > 300
    code, out, err = call(*given, tmp_path / "curves.txt")
    assert (code, out) == (2, "")
    assert ".svg" in err
    assert "curves.txt" in err
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = call(*given, plot)
    assert (code, out) == (2, "")
    assert 'pip install "lucid-models-detection[plot]"' in err


@pytest.mark.usefixtures("tiny_model")
def test_skip_invalid_leaves_out_boxes(call: Run, data: Path, tmp_path: Path) -> None:
    content = json.loads(data.read_text())
    content["annotations"][0]["bbox"] = [500, 3, 8, 8]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    train = ["--data", path, "--images", data.parent]
    train = ["train-detector", *train, "--model", "tiny_detector", "--epochs", 1, "--output"]
    code, _, err = call(*train, tmp_path / "a")
    assert (code, "no part of the box is inside" in err, "--skip-invalid" in err) == (2, True, True)
    code, out, _ = call(*train, tmp_path / "b", "--skip-invalid")
    assert code == 0
    assert "1 of 5 annotations (boxes outside of their image: 1)" in " ".join(out.split())
    weights = tmp_path / "b" / "best.safetensors"
    given = ("evaluate", "--data", path, "--images", data.parent, "--weights", weights)
    assert call(*given)[0] == 2
    code, out, _ = call(*given, "--skip-invalid")
    assert code == 0
    reason = "left out 1 of 5 annotations (boxes outside of their image: 1)"
    assert out.splitlines()[-1] == f"note: {reason}"
    content["annotations"] = []
    path.write_text(json.dumps(content))
    code, out, _ = call(*given)
    assert code == 0
    assert "note: the data has no objects, so nothing can be measured" in out
    assert call(*train, tmp_path / "c")[0] == 2


@pytest.mark.usefixtures("tiny_model")
def test_box_format_converts_boxes(call: Run, data: Path, tmp_path: Path) -> None:
    content = json.loads(data.read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for row in content["annotations"]:
        x, y, w, h = row["bbox"]
        width, height = sizes[row["image_id"]]
        row["bbox"] = [x / width, y / height, (x + w) / width, (y + h) / height]
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    given = ("--data", path, "--images", data.parent)
    weights = tmp_path / "w.safetensors"
    model = create_model("tiny_detector", num_classes=3)
    lucid.save_model(model, weights, class_names=("background", "disc", "square"))
    for command in (
        ("train-detector", "--model", "tiny_detector", "--epochs", 1, "--output", tmp_path / "a"),
        ("evaluate", "--weights", weights),
    ):
        code, _, err = call(*command, *given, "--skip-invalid")
        assert code == 2
        assert "5 of 5 boxes lie within 0..1" in " ".join(err.split())
        code, out, err = call(*command, *given, "--box-format", "normalized-xyxy")
        assert code == 0, err
    assert any(line.startswith("mean") and " 5 " in line for line in out.splitlines())


@pytest.mark.usefixtures("tiny_model")
def test_evaluate_matches_categories_by_name(call: Run, data: Path, tmp_path: Path) -> None:
    model = create_model("tiny_detector", num_classes=3)
    weights, names = tmp_path / "w.safetensors", tmp_path / "names.txt"
    given = ("evaluate", "--data", data, "--images", data.parent, "--weights", weights)
    lucid.save_model(model, weights)
    code, _, err = call(*given)
    assert (code, "--class-names FILE" in err) == (2, True)
    names.write_text("disc\nsquare\n")
    code, out, _ = call(*given, "--class-names", names, "--json")
    assert (code, json.loads(out)["objects"]) == (0, 5)
    code, out, _ = call(*given, "--class-names", names, "--json", "--measure", "voc2007")
    assert (code, json.loads(out)["year"], json.loads(out)["objects"]) == (0, 2007, 5)
    names.write_text("disc\nstar\n")
    code, _, err = call(*given, "--class-names", names)
    assert code == 2
    assert "category 3 is 'square': the detector has no such category" in err

    lucid.save_model(model, weights, class_names=("background", "square", "disc"))
    assert call(*given)[0] == 0
    lucid.save_model(
        model,
        weights,
        class_names=("background", "square", "disc"),
        preprocessing={"categories": [{"number": 1}]},
    )
    code, _, err = call(*given)
    assert (code, "its categories are damaged" in err) == (2, True)
