"""Tests of inputs, output checks and stopwatch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from agreement import check_detections, check_logits
from inputs import crowd, pictures, regions, targets
from stopwatch import Stopwatch

from lucid_models_detection import boxes as box_ops


def test_inputs_are_reproducible_and_in_range() -> None:
    images = pictures(2, 64)
    assert images.shape == (2, 3, 64, 64)
    assert images.dtype == np.float32
    assert 0 <= images.min() < 0.35 < 0.65 < images.max() <= 1
    np.testing.assert_array_equal(images, pictures(2, 64))
    boxes = regions(1000, 800)
    assert boxes.min() >= 0
    assert boxes.max() <= 800
    sides = boxes[:, 2:] - boxes[:, :2]
    assert 15.9 < sides.min() < 17
    assert 250 < sides.max() < 256.1
    for target in targets(2, 512):
        assert np.all(target["boxes"][:, 2:] > target["boxes"][:, :2] + 30)
        assert target["boxes"].max() < 512


def test_crowd_has_overlaps_and_one_result() -> None:
    boxes, scores = crowd(2000, 800, objects=100)
    assert len(np.unique(scores)) == 2000
    kept = box_ops.nms(boxes, scores, 0.5)
    assert 100 < len(kept) < 1000


def test_logits_must_agree(tmp_path: Path) -> None:
    expected = np.linspace(-4, 4, 20, dtype=np.float32).reshape(2, 10)
    np.save(tmp_path / "resnet_50_expected.npy", expected)
    check_logits(expected[:1] + 1e-3, "resnet_50", tmp_path)
    with pytest.raises(ValueError, match=r"differ from PyTorch's by 2\.5e-03 of their largest"):
        check_logits(expected + 1e-2, "resnet_50", tmp_path)
    with pytest.raises(ValueError, match="differ"):
        check_logits(np.full_like(expected, np.nan), "resnet_50", tmp_path)
    with pytest.raises(ValueError, match=r"expected \(2, 10\), got \(2, 9\)"):
        check_logits(expected[:, :9], "resnet_50", tmp_path)


def test_detections_must_agree(tmp_path: Path) -> None:
    boxes = np.arange(80, dtype=np.float32).reshape(20, 4)
    labels, scores = np.arange(20), np.linspace(1, 0.1, 20)
    np.savez(tmp_path / "faster_rcnn_expected.npz", boxes=boxes, labels=labels, scores=scores)
    shuffled = np.arange(20)[::-1]
    near = [boxes[shuffled] + 0.01, labels[shuffled], scores[shuffled]]
    check_detections(near, "faster_rcnn", tmp_path)
    with pytest.raises(ValueError, match="10 of 20 detections of PyTorch are among the 20 found"):
        check_detections([boxes, np.where(labels < 10, labels, 0), scores], "faster_rcnn", tmp_path)
    twice = [np.tile(boxes, (2, 1)), np.tile(labels, 2), np.tile(scores, 2)]
    with pytest.raises(ValueError, match="20 of 20 detections of PyTorch are among the 40 found"):
        check_detections(twice, "faster_rcnn", tmp_path)


def test_stopwatch_sums_seconds() -> None:
    watch = Stopwatch()
    nap = watch.timed("nap", lambda seconds: time.sleep(seconds) or "slept")
    assert nap(0.02) == nap(0.03) == "slept"
    assert 0.05 <= watch.take("nap") < 5
    assert watch.take() == 0


def test_stopwatch_without_calls_raises() -> None:
    watch = Stopwatch()
    watch.timed("nap", lambda: None)()
    with pytest.raises(RuntimeError, match="not called, so not timed: sleep"):
        watch.take("nap", "sleep")
