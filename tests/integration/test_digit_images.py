"""Images of the digit tutorial: the split, boxes, overlap and seeds."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader


@pytest.fixture
def digit_images(tutorials: dict[str, ModuleType]) -> ModuleType:
    return tutorials["digit_images"]


@pytest.fixture
def digits(tutorials: dict[str, ModuleType]) -> tuple:
    """Training and held-out digits."""
    scans = tutorials["digit_detector"].load_scans()
    return tutorials["digit_images"].split_digits(*scans, seed=0)


def test_split_is_complete_stratified_and_disjoint(digit_images: ModuleType) -> None:
    numbers = np.arange(200)
    scans = np.broadcast_to(numbers[:, None, None], (200, 8, 8)).astype(np.float32)
    train, test = digit_images.split_digits(scans, numbers % 10, seed=3)
    halves = [{int(scan[0, 0]) for scan in half.scans} for half in (train, test)]
    assert halves[0] | halves[1] == set(range(200))
    assert not halves[0] & halves[1]
    assert np.bincount(test.classes).tolist() == [4] * 10
    assert all(int(s[0, 0]) % 10 == c for s, c in zip(test.scans, test.classes, strict=True))
    again = digit_images.split_digits(scans, numbers % 10, seed=3)[1]
    other = digit_images.split_digits(scans, numbers % 10, seed=4)[1]
    np.testing.assert_array_equal(again.scans, test.scans)
    assert not np.array_equal(other.scans, test.scans)


@pytest.mark.parametrize("length", [16.0, 30.5, 48.0])
def test_box_fits_the_ink(digit_images: ModuleType, digits: tuple, length: float) -> None:
    for scan in digits[0].scans[:20]:
        ink, box = digit_images.enlarge(scan, length, angle=8, stretch=1.1)
        rows, columns = (np.nonzero((ink > digit_images.INK).any(axis=k))[0] for k in (1, 0))
        tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(box, tight, atol=1.6)
        assert max(box[2:] - box[:2]) == pytest.approx(length, abs=1.0)


def test_images_have_digits_with_little_overlap(digit_images: ModuleType, digits: tuple) -> None:
    dataset = digit_images.DigitImages(digits[0], 40, 128, seed=1)
    counts = set()
    for i in range(len(dataset)):
        image, target = dataset[i]
        boxes, labels = target["boxes"], target["labels"]
        assert image.shape == (3, 128, 128)
        assert image.dtype == boxes.dtype == np.float32
        assert 0 <= image.min() < image.max() <= 1
        assert boxes.min() >= 0
        assert boxes.max() <= 128
        longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
        assert longer.min() > 15
        assert longer.max() < 49
        assert labels.min() >= 1
        assert labels.max() <= 10
        for k in range(1, len(boxes)):
            assert digit_images.overlap(boxes[k], list(boxes[:k])) <= 0.1
        counts.add(len(boxes))
    assert counts == {3, 4, 5, 6}


def test_overlap_is_relative_to_the_smaller_box(digit_images: ModuleType) -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    others = [np.array(b, np.float32) for b in ([20, 20, 30, 30], [8, 5, 28, 25])]
    assert digit_images.overlap(box, others) == pytest.approx(2 * 5 / 100)
    assert digit_images.overlap(box, []) == 0


def test_digits_are_visible(digit_images: ModuleType, digits: tuple) -> None:
    """Pixels in a box vary more than the background noise."""
    image, target = digit_images.DigitImages(digits[0], 1, 128, seed=2)[0]
    for x1, y1, x2, y2 in target["boxes"].astype(int):
        assert image[:, y1:y2, x1:x2].std() > 0.1


def test_seeded_images_are_reproducible(digit_images: ModuleType, digits: tuple) -> None:
    def draw(seed: int, index: int) -> np.ndarray:
        return digit_images.DigitImages(digits[1], 5, 128, seed)[index][0]

    np.testing.assert_array_equal(draw(1, 3), draw(1, 3))
    assert not np.array_equal(draw(1, 3), draw(1, 4))
    assert not np.array_equal(draw(1, 3), draw(2, 3))
    with pytest.raises(IndexError, match="image 5 of 5"):
        draw(1, 5)


def test_training_images_are_new_in_every_epoch(digit_images: ModuleType, digits: tuple) -> None:
    patches = digit_images.DigitPatches(digits[0], 6, 40)
    loader = DataLoader(patches, 6, seed=5)
    first, second = (next(iter(loader)) for _ in range(2))
    assert not np.array_equal(first[0].numpy(), second[0].numpy())
    assert first[1].numpy().tolist() == digits[0].classes[:6].tolist()
    lucid.random.seed(99)  # must not matter
    again = next(iter(DataLoader(patches, 6, seed=5)))
    np.testing.assert_array_equal(again[0].numpy(), first[0].numpy())


def test_plain_patches_are_centered(digit_images: ModuleType, digits: tuple) -> None:
    patches = digit_images.PlainPatches(digits[1], 40)
    assert len(patches) == len(digits[1])
    image, digit = patches[3]
    assert digit == digits[1].classes[3]
    assert image.shape == (3, 40, 40)
    dark = image[0] < 0.6
    rows, columns = np.nonzero(dark.any(axis=1))[0], np.nonzero(dark.any(axis=0))[0]
    assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(20, abs=1.5)
    assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(20, abs=1.5)
    assert image[0, 0, 0] == pytest.approx(0.85)
