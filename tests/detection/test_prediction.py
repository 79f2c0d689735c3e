"""Predictor of a saved detector."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.prediction import predict_files
from lucid_models_detection import DetectionPredictor


@pytest.fixture
def weights(tmp_path: Path, tiny_model: str) -> Path:
    lucid.random.seed(0)
    model = lucid.models.create_model(tiny_model, box_score_threshold=0.0)
    path = tmp_path / "w.safetensors"
    lucid.save_model(model, path, class_names=["background", "disc", "square"])
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for path, width in zip(paths, (64, 48, 64, 64), strict=True):
        Image.fromarray(rng.integers(0, 255, (64, width, 3)).astype(np.uint8)).save(path)
    paths[2].write_bytes(paths[0].read_bytes()[:900])  # truncated
    return [str(path) for path in paths]


def test_records_match_the_model(weights: Path, photos: list[str]) -> None:
    records = DetectionPredictor(weights, score_threshold=0.2)(photos)
    assert [record["image"] for record in records] == photos
    assert "cannot be decoded" in records[2]["error"]
    assert photos[2] not in records[2]["error"]  # the record has it as "image"
    model = lucid.load_model(weights)
    for i in (0, 1, 3):
        pixels = np.asarray(Image.open(photos[i]), np.float32).transpose(2, 0, 1) / 255
        (expected,) = model.predict([pixels])
        kept = expected["scores"] >= 0.2
        found = records[i]["detections"]
        assert len(found) == kept.sum() > 0
        np.testing.assert_allclose([d["score"] for d in found], expected["scores"][kept], atol=1e-3)
        np.testing.assert_allclose([d["box"] for d in found], expected["boxes"][kept], atol=0.02)
        names = ("background", "disc", "square")
        assert [d["class"] for d in found] == [names[label] for label in expected["labels"][kept]]
        assert (records[i]["width"], records[i]["height"]) == (48 if i == 1 else 64, 64)


def test_pickled_predictor_gives_the_same_records(weights: Path, photos: list[str]) -> None:
    predictor = DetectionPredictor(weights, score_threshold=0.2, class_names=("-", "a", "b"))
    expected = predictor(photos)
    assert {d["class"] for d in expected[0]["detections"]} <= {"a", "b"}
    sent = pickle.dumps(predictor)
    assert len(sent) < 1000
    assert pickle.loads(sent)(photos) == expected


def test_description(weights: Path) -> None:
    predictor = DetectionPredictor(weights, class_names=["-", "a", "b"])
    about = predictor.description()
    assert about.pop("sha256") == predictor.digest
    assert about == {
        "weights": str(weights),
        "model": "tiny_detector",
        "score_threshold": 0.5,
        "class_names": ["-", "a", "b"],
        "norm_eps": None,
        "category_ids": None,
    }


def test_drawings(
    weights: Path, photos: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    predictor = DetectionPredictor(weights, drawings="drawn")
    monkeypatch.chdir("/")  # as in a worker with another working directory
    records = predictor(photos)
    assert [record.get("picture") for record in records] == [
        "drawn/0_detections.png", "drawn/1_detections.png", None, "drawn/3_detections.png",
    ]  # fmt: skip
    with Image.open(tmp_path / "drawn" / "1_detections.png") as picture:
        assert picture.size == (48, 64)
    assert predictor([np.zeros((3, 64, 64), np.float32)])[0]["picture"] is None


def test_report_file(weights: Path, photos: list[str], tmp_path: Path) -> None:
    outcome = predict_files(DetectionPredictor(weights), photos, tmp_path / "r.json", batch_size=3)
    assert (outcome.images, outcome.failed) == (3, 1)
