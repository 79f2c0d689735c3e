"""Changes of an image that take its boxes along."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid_models_detection.data import RandomHorizontalFlip, horizontal_flip


def painted(boxes: np.ndarray, height: int = 20, width: int = 33) -> np.ndarray:
    """An image that is bright inside the boxes."""
    image = np.zeros((3, height, width), np.float32)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[:, y1:y2, x1:x2] = 1
    return image


def test_boxes_follow_the_pixels() -> None:
    boxes = np.array([[2, 3, 10, 8], [20, 10, 33, 20]], np.float32)
    image = painted(boxes)
    target = {"boxes": boxes, "ignored_boxes": boxes[:1], "labels": np.array([1, 2])}
    flipped, mirrored = horizontal_flip(image, target)
    assert mirrored["boxes"].tolist() == [[23, 3, 31, 8], [0, 10, 13, 20]]
    assert mirrored["ignored_boxes"].tolist() == [[23, 3, 31, 8]]
    assert mirrored["labels"] is target["labels"]
    np.testing.assert_array_equal(flipped, painted(mirrored["boxes"]))
    assert flipped.flags.c_contiguous


def test_twice_is_not_at_all_and_arguments_stay() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((3, 7, 12), dtype=np.float32)
    boxes = np.array([[1.5, 2, 7.25, 6]], np.float32)
    before = image.copy(), boxes.copy()
    again = horizontal_flip(*horizontal_flip(image, {"boxes": boxes}))
    np.testing.assert_array_equal(again[0], before[0])
    np.testing.assert_array_equal(again[1]["boxes"], before[1])
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(boxes, before[1])


@pytest.mark.parametrize("empty", [np.zeros((0, 4), np.float32), np.zeros(0, np.float32)])
def test_no_boxes(empty: np.ndarray) -> None:
    _, target = horizontal_flip(np.zeros((3, 4, 5), np.float32), {"boxes": empty})
    assert target["boxes"].shape == (0, 4)


def test_probability_and_seed() -> None:
    image = np.arange(6, dtype=np.float32).reshape(1, 2, 3).repeat(3, axis=0)
    boxes = np.array([[0, 0, 1, 1]], np.float32)

    def flips(transform: RandomHorizontalFlip, count: int) -> list[bool]:
        results = (transform(image, {"boxes": boxes})[1]["boxes"][0, 0] for _ in range(count))
        return [bool(left) for left in results]

    assert not any(flips(RandomHorizontalFlip(p=0.0), 20))
    assert all(flips(RandomHorizontalFlip(p=1.0), 20))
    lucid.random.seed(4)
    first = flips(RandomHorizontalFlip(), 400)
    assert 150 < sum(first) < 250
    lucid.random.seed(4)
    assert flips(RandomHorizontalFlip(), 400) == first
    own = RandomHorizontalFlip(generator=lucid.random.Generator(9))
    assert flips(own, 50) == flips(RandomHorizontalFlip(generator=lucid.random.Generator(9)), 50)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_probability_is_checked(p: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        RandomHorizontalFlip(p=p)
