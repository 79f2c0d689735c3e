from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
import small_detection
from threaded_ranks import on_ranks

import lucid
from lucid.data import DataLoader, Subset
from lucid.training import Communicator
from lucid_models_detection.data import CocoDetection, collate
from lucid_models_detection.evaluation import CocoEvaluator
from lucid_models_detection.training.validation import Validation


def validation(folder: Path, batch_size: int, **options) -> Validation:
    dataset = CocoDetection(small_detection.write_coco(folder, **options), folder)
    loader = DataLoader(dataset, batch_size, collate=collate, seed=0)
    return Validation(loader, dataset.class_names)


def test_losses_are_means_and_keep_the_random_state(tmp_path: Path) -> None:
    lucid.random.seed(5)
    model = small_detection.tiny_detector().eval()
    measure = validation(tmp_path, 2, count=5, empty=(1,), sizes=((64, 64), (80, 48)))
    before = lucid.random.get_state()
    first = measure(model)
    assert lucid.random.get_state() == before
    lucid.random.rand(3)
    assert measure(model) == first
    assert first["val_loss"] == pytest.approx(
        sum(value for name, value in first.items() if name.startswith("val_loss_"))
    )
    lucid.random.seed(0)
    with lucid.no_grad():
        by_hand = sum(
            float(model(images, targets)["loss_objectness"].item()) * len(images)
            for images, targets in measure.loader
        )
    assert math.isfinite(first["val_loss"])
    # Tolerance: the random regions differ, because losses and detections alternate here.
    assert first["val_loss_objectness"] == pytest.approx(by_hand / 5, rel=0.2)


def test_map_matches_predict(tmp_path: Path) -> None:
    model = small_detection.tiny_detector().eval()
    measure = validation(tmp_path, 3, count=4)
    targets = [measure.loader.dataset.target(i) for i in range(4)]
    given = iter(targets)

    def losses_and_detections(images, batch):
        losses = {"loss_objectness": lucid.tensor(1.0)}
        found = [next(given) for _ in images]
        return losses, [{**t, "scores": np.ones(len(t["labels"]))} for t in found]

    model.losses_and_detections = losses_and_detections
    measured = measure(model)
    assert measured["val_loss"] == 1
    assert (measured["mAP"], measured["mAP@0.5"]) == pytest.approx((1, 1))


def test_more_than_100_detections_are_noted(tmp_path: Path) -> None:
    model = small_detection.tiny_detector().eval()
    measure = validation(tmp_path, 3, count=2)
    assert measure.notes == ()

    def losses_and_detections(images, batch):
        boxes = np.array([[i % 60, 0, i % 60 + 3.0, 9] for i in range(120)])
        one = {"boxes": boxes, "labels": np.ones(120, int), "scores": np.linspace(0, 1, 120)}
        return {"loss_objectness": lucid.tensor(1.0)}, [one for _ in images]

    model.losses_and_detections = losses_and_detections
    measure(model)
    assert any("120 detections" in note for note in measure.notes)


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute one at a time: threads share the ``sys.stdout`` that is redirected meanwhile."""
    compute, lock = CocoEvaluator.compute, threading.Lock()

    def alone(self):
        with lock:
            return compute(self)

    monkeypatch.setattr(CocoEvaluator, "compute", alone)


@pytest.mark.usefixtures("one_at_a_time")
@pytest.mark.parametrize("ranks", [2, 6])
def test_ranks_validate_like_one_process(tmp_path: Path, ranks: int) -> None:
    """Four images on six ranks; two ranks have none."""
    dataset = CocoDetection(small_detection.write_coco(tmp_path, 4, empty=(2,)), tmp_path)

    class Detector:
        """Detect all objects except those of the first image; the loss depends on the images."""

        def losses_and_detections(self, images, targets):
            found = [
                {**t, "scores": np.full(len(t["labels"]), 0.5 if t["image_id"] % 2 else 0.9)}
                for t in targets
            ]
            for detections in found:
                if detections["image_id"] == 100:
                    detections["boxes"] = detections["boxes"] + 30
            mean = np.mean([t["image_id"] for t in targets])
            return {"loss_objectness": lucid.tensor(float(mean))}, found

    def measured(communicator):
        part = Subset(dataset, communicator.shard(len(dataset)))
        loader = DataLoader(part, 3, collate=collate, seed=0)
        return Validation(loader, dataset.class_names, communicator)(Detector())

    alone = measured(Communicator())
    assert alone["val_loss"] == pytest.approx(101.5)
    assert 0 < alone["mAP"] < 1
    for metrics in on_ranks(ranks, measured):
        assert metrics == pytest.approx(alone)
