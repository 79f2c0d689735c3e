"""From files to a report, in this process."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys

import pytest

import lucid
from lucid.prediction import predict_files


def test_predict_files_writes_a_report(toy, weights, images, tmp_path):
    report = tmp_path / "r.json"
    outcome = predict_files(toy.ToyPredictor(weights), [*images, images[0]], report, batch_size=2)
    assert (outcome.images, outcome.failed) == (5, 2)
    found = json.loads(report.read_text())
    assert [result["image"] for result in found["images"]] == [
        image for i, image in enumerate(images) if i not in (2, 4)
    ]
    assert [failure["image"] for failure in found["failed"]] == [images[2], images[4]]


def test_missing_folder_is_made_and_a_directory_refused(toy, weights, images, tmp_path):
    report = tmp_path / "new" / "deep" / "r.jsonl"
    assert predict_files(toy.ToyPredictor(weights), images[:2], report).images == 2
    assert len(report.read_text().splitlines()) == 2
    with pytest.raises(IsADirectoryError, match="got a directory"):
        predict_files(toy.ToyPredictor(weights), images, tmp_path / "new")
    with pytest.raises(OSError, match=r"r\.jsonl"):
        predict_files(toy.ToyPredictor(weights), images, report / "below.json")
    assert not (report.parent / "r.jsonl.partial").exists()


def test_stopped_and_resumed(toy, weights, images, tmp_path):
    report = tmp_path / "r.json"
    whole = tmp_path / "whole.json"
    predictor = toy.ToyPredictor(weights)
    predict_files(predictor, images, whole)
    calls = []

    def until_the_fourth(batch):
        calls.append(batch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return toy.ToyPredictor.__call__(predictor, batch)

    interrupted = type(
        "Interrupted", (toy.ToyPredictor,), {"__call__": lambda _, b: until_the_fourth(b)}
    )
    with pytest.raises(KeyboardInterrupt):
        predict_files(interrupted(weights), images, report)
    assert not report.exists()
    predicted = []
    watched = type(
        "Watched",
        (toy.ToyPredictor,),
        {"__call__": lambda self, b: predicted.extend(b) or toy.ToyPredictor.__call__(self, b)},
    )
    predict_files(watched(weights), images, report, resume=True)
    assert predicted == [images[2], *images[3:]]  # the failed one again, and the rest
    assert report.read_text() == whole.read_text()


def test_finished_report_is_completed(toy, weights, images, tmp_path):
    report = tmp_path / "r.json"
    predict_files(toy.ToyPredictor(weights), images[:4], report)
    predicted = []
    watched = type(
        "Watched",
        (toy.ToyPredictor,),
        {"__call__": lambda self, b: predicted.extend(b) or toy.ToyPredictor.__call__(self, b)},
    )
    outcome = predict_files(watched(weights), images, report, resume=True)
    assert predicted == [images[2], *images[4:]]
    assert (outcome.images, outcome.failed) == (5, 2)


def test_no_progress_bar_without_terminal(toy, weights, images, tmp_path, capsys):
    predict_files(toy.ToyPredictor(weights), images, tmp_path / "r.json")
    assert capsys.readouterr() == ("", "")
    predict_files(toy.ToyPredictor(weights), images, tmp_path / "r.json", progress=True)
    assert "7/7" in (shown := capsys.readouterr().err)
    assert "failed=2" in shown


def test_batch_size_must_be_positive(toy, weights, images, tmp_path):
    with pytest.raises(ValueError, match=r"batch_size.* got 0"):
        predict_files(toy.ToyPredictor(weights), images, tmp_path / "r.json", batch_size=0)


def test_without_dask_the_error_says_how_to_get_it(toy, weights, images, tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.partition(".")[0] in ("dask", "distributed"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(lucid.MissingPackageError, match=r"lucid-models-detection\[dask\]"):
        predict_files(toy.ToyPredictor(weights), images, tmp_path / "r.json", dask="local")
    assert not (tmp_path / "r.json.partial").exists()


@pytest.mark.slow
def test_importing_imports_no_dask():
    script = (
        "import sys, lucid.prediction, lucid.prediction.dask_cluster; "
        "print(sorted({'dask', 'distributed', 'tqdm', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
