"""What every engine is given: made by NumPy from a fixed seed, the same everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

#: Images of detection, square.
PREDICTION_SIZE, TRAINING_SIZE = 800, 512
NUM_CLASSES = 91


def noise(*shape: int) -> Array:
    """Standard normal, as the input of a classifier or of a layer."""
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def pictures(count: int, size: int, seed: int = 0) -> Array:
    """(count, 3, size, size) in [0, 1]: smooth noise, which has structure at several scales."""
    rng = np.random.default_rng(seed)
    result = np.zeros((count, 3, size, size), np.float32)
    for cells in (3, 7, 20, 60):
        place = np.linspace(0, cells - 1, size)
        low = np.minimum(place.astype(int), cells - 2)
        share = (place - low).astype(np.float32)
        coarse = rng.random((count, 3, cells, cells), dtype=np.float32)
        rows = coarse[:, :, low] * (1 - share[:, None]) + coarse[:, :, low + 1] * share[:, None]
        result += rows[..., low] * (1 - share) + rows[..., low + 1] * share
    return result / 4


def targets(count: int, size: int, objects: int = 8) -> list[dict[str, Array]]:
    """For each picture the boxes (objects, 4) and the labels (objects,) to train on."""
    rng = np.random.default_rng(1)
    result = []
    for _ in range(count):
        corner = rng.uniform(0, size * 0.6, (objects, 2))
        side = rng.uniform(size * 0.06, size * 0.39, (objects, 2))
        boxes = np.concatenate([corner, corner + side], axis=1).astype(np.float32)
        result.append({"boxes": boxes, "labels": rng.integers(1, NUM_CLASSES, objects)})
    return result


def regions(count: int, size: int) -> Array:
    """(count, 4) xyxy inside a square image, with sides of 16 to 256 pixels, small ones often."""
    rng = np.random.default_rng(2)
    side = np.exp(rng.uniform(np.log(16), np.log(256), (count, 2)))
    corner = rng.random((count, 2)) * (size - side)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def crowd(count: int, size: int, objects: int = 500) -> tuple[Array, Array]:
    """Boxes (count, 4) jittered about some objects, as a detector gives them, and scores (count,).

    No two scores are equal, so that there is one right answer.
    """
    rng = np.random.default_rng(3)
    middle = regions(objects, size)[rng.integers(objects, size=count)]
    side = np.tile(middle[:, 2:] - middle[:, :2], 2)
    boxes = middle + side * rng.normal(0, 0.1, (count, 4)).astype(np.float32)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    scores = (rng.permutation(count) + 1) / (count + 1)
    return np.concatenate([low, high], axis=1), scores.astype(np.float32)
