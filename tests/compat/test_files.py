"""Files that Lucid 0.1.0 wrote (``write.py``) open here and give the same results."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.cli import main
from lucid.models import create_model, model_info
from lucid.weights import model_metadata

FILES = Path(os.environ["LUCID_COMPAT_FILES"])

#: Float32 rounding of other kernels, after a few steps of training.
RUN = {"rtol": 2e-3, "atol": 2e-4}


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    with np.load(FILES / "results.npz") as file:
        return dict(file)


def test_classifier(results) -> None:
    model = lucid.load_model(FILES / "classifier.safetensors").eval()
    with lucid.no_grad():
        logits = model(lucid.tensor(results["batch"])).numpy()
    np.testing.assert_allclose(logits, results["logits"], rtol=1e-4, atol=1e-5)
    said = model_metadata(FILES / "classifier.safetensors")
    assert said.class_names == ("disc", "square")
    assert said.preprocessing is not None
    assert (said.preprocessing["crop_size"], said.preprocessing["mean"][0]) == (32, 0.485)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_weights(suffix: str, results) -> None:
    model = create_model("resnet_18", num_classes=2)
    model.load_state_dict(lucid.load(FILES / f"weights.{suffix}"))
    with lucid.no_grad():
        logits = model.eval()(lucid.tensor(results["batch"])).numpy()
    np.testing.assert_allclose(logits, results["logits"], rtol=1e-4, atol=1e-5)


def test_detector(results) -> None:
    (found,) = lucid.load_model(FILES / "detector.safetensors").predict([results["image"]])
    np.testing.assert_array_equal(found["labels"], results["labels"])
    np.testing.assert_allclose(found["scores"], results["scores"], rtol=1e-4)
    np.testing.assert_allclose(found["boxes"], results["boxes"], atol=1e-2)
    assert len(found["labels"]) > 0


LAYOUTS = json.loads((FILES / "layouts.json").read_text())


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_model_has_the_entries_that_its_files_have(name: str) -> None:
    model = create_model(name)
    now = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert now == LAYOUTS[name]
    assert model.parameter_size == model_info(name).total_parameters


@pytest.mark.parametrize(("command", "monitor"), [("classifier", "accuracy"), ("detector", "mAP")])
def test_interrupted_run_resumes(command: str, monitor: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FILES / f"{command}-part", tmp_path / "run")
    assert main([f"train-{command}", "--output", str(folder), "--resume"]) == 0
    whole = FILES / f"{command}-whole"
    now, before = (lucid.load(path / "last.safetensors") for path in (folder, whole))
    assert now.keys() == before.keys()
    rows = [
        list(csv.DictReader((path / "metrics.csv").read_text().splitlines()))
        for path in (folder, whole)
    ]
    assert [row["epoch"] for row in rows[0]] == ["1", "2"]
    for name in ("loss", "val_loss", monitor):
        values = [[float(row[name]) for row in table] for table in rows]
        np.testing.assert_allclose(*values, **RUN, err_msg=name)
    assert lucid.load_model(folder / "best.safetensors").model_name is not None


@pytest.mark.parametrize("command", ["classifier", "detector"])
def test_finished_run_starts_another(command: str, tmp_path: Path) -> None:
    data = {"classifier": ["--data", str(FILES / "classes"), "--image-size", "32"],
            "detector": ["--data", str(FILES / "scenes.json"), "--images", str(FILES / "scenes"),
                         "--samples", "0"]}  # fmt: skip
    options = ["--weights", str(FILES / f"{command}-whole" / "best.safetensors"), "--epochs", "1"]
    output = ["--output", str(tmp_path / "run"), "--batch-size", "4"]
    assert main([f"train-{command}", *data[command], *options, *output]) == 0
    assert (tmp_path / "run" / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "suffix"), [("part", "json"), ("part", "jsonl"), ("whole", "json")]
)  # a finished .jsonl of 0.1.0 does not record what it was made with
def test_report_resumes(name: str, suffix: str, tmp_path: Path) -> None:
    output = tmp_path / f"{name}.{suffix}"
    for path in FILES.glob(f"{name}.{suffix}*"):
        shutil.copy(path, tmp_path)
    arguments = [
        "detect", str(FILES / "scenes"), "--weights", str(FILES / "detector.safetensors"),
        "--score-threshold", "0.05", "--output", str(output), "--resume",
    ]  # fmt: skip
    assert main(arguments) == 0
    now, before = (records(path) for path in (output, FILES / f"whole.{suffix}"))
    assert [record["image"] for record in now] == [record["image"] for record in before]
    for record, other in zip(now, before, strict=True):
        assert [d["class"] for d in record["detections"]] == [
            d["class"] for d in other["detections"]
        ]
        boxes = [[d["box"] for d in each["detections"]] for each in (record, other)]
        np.testing.assert_allclose(*boxes, atol=0.02)


def records(path: Path) -> list[Any]:
    text = path.read_text()
    if path.suffix == ".json":
        return list(json.loads(text)["images"])
    return [json.loads(line) for line in text.splitlines()]
