"""Augmentation of images with boxes, checked by hand and by the pixels of drawn squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid_models_detection.data import (
    Compose,
    RandomCrop,
    RandomHorizontalFlip,
    Sample,
    ScaleJitter,
    crop,
    horizontal_flip,
    resize,
)

BOXES = np.array([[2, 3, 10, 8], [20, 10, 33, 20]], np.float32)


def painted(boxes: np.ndarray, height: int = 20, width: int = 33) -> np.ndarray:
    """Return an image that is bright inside the boxes."""
    image = np.zeros((3, height, width), np.float32)
    for x1, y1, x2, y2 in boxes.astype(int):
        image[:, y1:y2, x1:x2] = 1
    return image


def bright(image: np.ndarray) -> list[int]:
    """Return the bounding box of the bright pixels."""
    ys, xs = np.nonzero(image[0] > 0.5)
    return [int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)]


def whole_target() -> dict[str, Any]:
    return {
        "boxes": BOXES.copy(),
        "labels": np.array([1, 2]),
        "area": np.array([40, 100], np.float32),
        "ignored_boxes": BOXES[:1].copy(),
        "ignored_labels": np.array([3]),
        "image_id": "seven",
    }


def test_horizontal_flip_moves_boxes_with_the_pixels() -> None:
    target = whole_target()
    flipped, mirrored = horizontal_flip(painted(BOXES), target)
    assert mirrored["boxes"].tolist() == [[23, 3, 31, 8], [0, 10, 13, 20]]
    assert mirrored["ignored_boxes"].tolist() == [[23, 3, 31, 8]]
    assert mirrored["labels"] is target["labels"]
    assert mirrored["image_id"] == "seven"
    np.testing.assert_array_equal(flipped, painted(mirrored["boxes"]))
    assert flipped.flags.c_contiguous


def test_two_flips_restore_the_input() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((3, 7, 12), dtype=np.float32)
    boxes = np.array([[1.5, 2, 7.25, 6]], np.float32)
    again = horizontal_flip(*horizontal_flip(image, {"boxes": boxes}))
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1]["boxes"], boxes)


def test_resizing_scales_boxes_and_areas() -> None:
    image, target = resize(painted(BOXES), whole_target(), (40, 99))
    assert image.shape == (3, 40, 99)
    # Twice as high and three times as wide.
    assert target["boxes"].tolist() == [[6, 6, 30, 16], [60, 20, 99, 40]]
    assert target["ignored_boxes"].tolist() == [[6, 6, 30, 16]]
    assert target["area"].tolist() == [240, 600]
    alone, of_one = resize(painted(BOXES[:1]), {"boxes": BOXES[:1]}, (40, 99))
    assert bright(alone) == of_one["boxes"][0].tolist()


def test_crop_clips_boxes_and_removes_those_outside() -> None:
    target = whole_target()
    image, cut = crop(painted(BOXES), target, (5, 4, 18, 20))
    assert image.shape == (3, 16, 13)
    assert cut["boxes"].tolist() == [[0, 0, 5, 4]]
    assert bright(image) == [0, 0, 5, 4]
    assert cut["labels"].tolist() == [1]
    assert cut["area"].tolist() == [20]  # area 40, half of the 8 x 5 box (5 x 4) is visible
    assert cut["ignored_boxes"].tolist() == [[0, 0, 5, 4]]
    assert cut["ignored_labels"].tolist() == [3]
    assert cut["image_id"] == "seven"


@pytest.mark.parametrize(("min_visible", "left"), [(0.49, 1), (0.5, 0), (1.0, 0)])
def test_crop_removes_boxes_below_min_visible(min_visible: float, left: int) -> None:
    """Half of the first box is in the window."""
    _, cut = crop(painted(BOXES), whole_target(), (5, 4, 18, 20), min_visible)
    assert len(cut["boxes"]) == len(cut["labels"]) == len(cut["area"]) == left
    assert len(cut["ignored_boxes"]) == len(cut["ignored_labels"]) == left


def test_crop_removes_slivers() -> None:
    """A window that ends at 18 keeps 0.005 pixels of a box that begins at 17.995."""
    target = {
        "boxes": np.array([[17.995, 1, 24, 9], [12, 1, 17.5, 9]], np.float32),
        "labels": [1, 2],
    }
    image, cut = crop(painted(BOXES), target, (0, 0, 18, 20))
    assert cut["labels"].tolist() == [2]
    assert (np.diff(horizontal_flip(image, cut)[1]["boxes"][:, ::2]) > 0).all()


def test_crop_of_the_whole_image_is_the_identity() -> None:
    image, cut = crop(painted(BOXES), whole_target(), (0, 0, 33, 20), 0.99)
    np.testing.assert_array_equal(image, painted(BOXES))
    for key, value in whole_target().items():
        np.testing.assert_array_equal(cut[key], value)


@pytest.mark.parametrize("window", [(-1, 0, 5, 5), (0, 0, 34, 5), (5, 5, 5, 9), (0, 9, 4, 3)])
def test_crop_rejects_windows_outside_the_image(window: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"an image 33 wide and 20 high, got \("):
        crop(painted(BOXES), whole_target(), window)


EVERY: list[Callable[..., Any]] = [
    RandomHorizontalFlip,
    ScaleJitter,
    RandomCrop,
    lambda generator: Compose(
        [RandomHorizontalFlip(generator=generator), ScaleJitter((0.5, 2.0), generator=generator)]
    ),
]


@pytest.mark.parametrize("make", EVERY)
def test_transforms_keep_a_square_in_its_box(make: Callable[..., Any]) -> None:
    transform = make(generator=lucid.random.Generator(5))
    seen = set()
    for _ in range(40):
        boxes = np.array([[20, 30, 60, 70]], np.float32)
        image, target = transform(painted(boxes, 100, 90), {"boxes": boxes, "labels": [1]})
        assert image.dtype == np.float32
        np.testing.assert_allclose(bright(image), target["boxes"][0], atol=0.51)
        assert (target["boxes"][0] <= [image.shape[2], image.shape[1]] * 2).all()
        seen.add((image.shape, *target["boxes"][0].tolist()))
    assert len(seen) > 1, "chance must do something"


@pytest.mark.parametrize("make", EVERY)
@pytest.mark.parametrize("empty", [np.zeros((0, 4), np.float32), np.zeros(0, np.float32), []])
def test_transforms_accept_images_without_boxes(make: Callable[..., Any], empty: Any) -> None:
    transform = make(generator=lucid.random.Generator(1))
    for _ in range(5):
        _, target = transform(np.zeros((3, 24, 25), np.float32), {"boxes": empty, "labels": []})
        assert len(target["boxes"]) == len(target["labels"]) == 0
    _, flipped = horizontal_flip(np.zeros((3, 4, 5), np.float32), {"boxes": empty})
    assert flipped["boxes"].shape == (0, 4)


@pytest.mark.parametrize("make", EVERY)
def test_transforms_do_not_modify_inputs_and_follow_the_seed(make: Callable[..., Any]) -> None:
    image, target = painted(BOXES), whole_target()

    def run(transform: Any, count: int = 12) -> list[Any]:
        results: list[Sample] = [transform(image, target) for _ in range(count)]
        return [(shown.tobytes(), seen["boxes"].tolist()) for shown, seen in results]

    own = run(make(generator=lucid.random.Generator(9)))
    assert run(make(generator=lucid.random.Generator(9))) == own
    assert run(make(generator=lucid.random.Generator(8))) != own
    lucid.random.seed(4)
    shared = run(make(generator=None))
    lucid.random.seed(4)
    assert run(make(generator=None)) == shared
    np.testing.assert_array_equal(image, painted(BOXES))
    for key, value in whole_target().items():
        np.testing.assert_array_equal(target[key], value)


def test_flip_probability() -> None:
    def flips(transform: RandomHorizontalFlip, count: int) -> int:
        target = {"boxes": np.array([[0, 0, 1, 1]], np.float32)}
        image = np.zeros((3, 2, 3), np.float32)
        return sum(transform(image, target)[1]["boxes"][0, 0] == 2 for _ in range(count))

    assert flips(RandomHorizontalFlip(p=0.0), 20) == 0
    assert flips(RandomHorizontalFlip(p=1.0), 20) == 20
    assert 150 < flips(RandomHorizontalFlip(generator=lucid.random.Generator(4)), 400) < 250


def test_scale_jitter_is_log_uniform() -> None:
    jitter = ScaleJitter((0.5, 2.0), generator=lucid.random.Generator(2))
    image = np.zeros((3, 50, 20), np.float32)
    heights = np.array([jitter(image, {})[0].shape[1] for _ in range(300)])
    assert heights.min() >= 25
    assert heights.max() <= 100
    assert 120 < (heights < 50).sum() < 180
    thin, _ = ScaleJitter((0.1, 0.1))(np.zeros((3, 2, 30), np.float32), {})
    assert thin.shape == (3, 1, 3)


def test_random_crop_keeps_at_least_one_object() -> None:
    transform = RandomCrop(scale=(0.3, 0.6), generator=lucid.random.Generator(3))
    corner = np.array([[0, 0, 8, 8]], np.float32)
    kept = whole = 0
    for _ in range(60):
        image, target = transform(
            painted(corner, 60, 60), {"boxes": corner, "labels": np.array([4])}
        )
        kept += len(target["boxes"])
        whole += image.shape == (3, 60, 60)
        if image.shape != (3, 60, 60):
            assert 18 <= min(image.shape[1:]) <= max(image.shape[1:]) <= 36
    assert kept == 60
    assert 0 < whole < 60, "a square in the corner is missed by ten windows now and then"
    never = RandomCrop(scale=(0.3, 0.3), p=0.0)(painted(corner), {"boxes": corner})
    assert never[0].shape == (3, 20, 33)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomHorizontalFlip(p=-0.1), r"p: expected a number in \[0, 1\], got -0.1"),
        (lambda: RandomHorizontalFlip(p=1.1), r"p: .* got 1.1"),
        (lambda: RandomHorizontalFlip(p=float("nan")), "p: .* got nan"),
        (lambda: ScaleJitter((0.0, 1.0)), r"scale: expected 0 < low <= high, got \(0.0, 1.0\)"),
        (lambda: ScaleJitter((2.0, 1.0)), r"low <= high, got \(2.0, 1.0\)"),
        (lambda: ScaleJitter((1.0, float("inf"))), "scale: "),
        (lambda: ScaleJitter(0.5), "scale: expected two numbers, low and high, got 0.5"),  # type: ignore[arg-type]
        (lambda: RandomCrop((0.5, 1.5)), r"scale: expected 0 < low <= high <= 1, got"),
        (lambda: RandomCrop(min_visible=2), r"min_visible: .* \[0, 1\], got 2"),
        (lambda: RandomCrop(p=-1), "p: .* got -1"),
    ],
)
def test_arguments_are_checked(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
