"""Batches of images that differ in size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid_models_detection.data import collate


def sample(height: int, width: int, objects: int) -> tuple[Any, Any]:
    target = {"boxes": np.ones((objects, 4)), "labels": np.ones(objects, int), "image_id": 3}
    return np.zeros((3, height, width), np.float32), target


def test_collate_keeps_order() -> None:
    samples = [sample(8, 9, 2), sample(5, 4, 0)]
    images, targets = collate(samples)
    assert [image.shape for image in images] == [(3, 8, 9), (3, 5, 4)]
    assert images[0] is samples[0][0]
    assert [len(target["labels"]) for target in targets] == [2, 0]
    assert targets[0]["image_id"] == 3


def test_collate_empty_batch() -> None:
    assert collate([]) == ([], [])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((3, 4, 5)), r"sample 1: expected \(image, target\), got ndarray"),
        ((np.zeros((4, 5)), {}), r"sample 1: .*shape \(3, H, W\), got \(4, 5\)"),
        ((np.zeros((1, 4, 5)), {}), r"sample 1: .*got \(1, 4, 5\)"),
        ((np.zeros((3, 4, 5)), {"boxes": []}), r"'labels', got \['boxes'\]"),
        ((np.zeros((3, 4, 5)), [1]), "got list"),
        ((np.zeros((3, 4, 5)), {"boxes": [[0, 0, 1, 1]], "labels": []}), "1 boxes and 0 labels"),
    ],
)
def test_collate_rejects_invalid_samples(bad: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collate([sample(8, 9, 1), bad])
