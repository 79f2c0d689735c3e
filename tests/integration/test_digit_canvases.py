"""The pictures of the digit tutorial: nothing held out is trained on, boxes fit the ink."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader


@pytest.fixture
def digit_canvases(tutorials: dict[str, ModuleType]) -> ModuleType:
    return tutorials["digit_canvases"]


@pytest.fixture
def digits(tutorials: dict[str, ModuleType]) -> tuple:
    """Training and held-out digits."""
    scans = tutorials["digit_detector"].load_scans()
    return tutorials["digit_canvases"].split_digits(*scans, seed=0)


def test_the_split_is_whole_stratified_and_by_number(digit_canvases: ModuleType) -> None:
    numbers = np.arange(200)
    scans = np.broadcast_to(numbers[:, None, None], (200, 8, 8)).astype(np.float32)
    train, test = digit_canvases.split_digits(scans, numbers % 10, seed=3)
    halves = [{int(scan[0, 0]) for scan in half.scans} for half in (train, test)]
    assert halves[0] | halves[1] == set(range(200))
    assert not halves[0] & halves[1]
    assert np.bincount(test.classes).tolist() == [4] * 10
    assert all(int(s[0, 0]) % 10 == c for s, c in zip(test.scans, test.classes, strict=True))
    again = digit_canvases.split_digits(scans, numbers % 10, seed=3)[1]
    other = digit_canvases.split_digits(scans, numbers % 10, seed=4)[1]
    np.testing.assert_array_equal(again.scans, test.scans)
    assert not np.array_equal(other.scans, test.scans)


@pytest.mark.parametrize("length", [16.0, 30.5, 48.0])
def test_the_box_fits_the_ink(digit_canvases: ModuleType, digits: tuple, length: float) -> None:
    for scan in digits[0].scans[:20]:
        ink, box = digit_canvases.enlarge(scan, length, angle=8, stretch=1.1)
        rows, columns = (np.nonzero((ink > digit_canvases.INK).any(axis=k))[0] for k in (1, 0))
        tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_allclose(box, tight, atol=1.6)
        assert max(box[2:] - box[:2]) == pytest.approx(length, abs=1.0)


def test_canvases_keep_what_they_promise(digit_canvases: ModuleType, digits: tuple) -> None:
    canvases = digit_canvases.DigitCanvases(digits[0], 40, 128, seed=1)
    counts = set()
    for i in range(len(canvases)):
        image, target = canvases[i]
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
            assert digit_canvases.overlap(boxes[k], list(boxes[:k])) <= 0.1
        counts.add(len(boxes))
    assert counts == {3, 4, 5, 6}


def test_overlap_is_a_share_of_the_smaller_box(digit_canvases: ModuleType) -> None:
    box = np.array([0, 0, 10, 10], np.float32)
    others = [np.array(b, np.float32) for b in ([20, 20, 30, 30], [8, 5, 28, 25])]
    assert digit_canvases.overlap(box, others) == pytest.approx(2 * 5 / 100)
    assert digit_canvases.overlap(box, []) == 0


def test_the_digits_are_seen(digit_canvases: ModuleType, digits: tuple) -> None:
    """Inside a box the picture varies more than the noise that is all around it."""
    image, target = digit_canvases.DigitCanvases(digits[0], 1, 128, seed=2)[0]
    for x1, y1, x2, y2 in target["boxes"].astype(int):
        assert image[:, y1:y2, x1:x2].std() > 0.1


def test_seeded_pictures_are_always_the_same(digit_canvases: ModuleType, digits: tuple) -> None:
    def picture(seed: int, index: int) -> np.ndarray:
        return digit_canvases.DigitCanvases(digits[1], 5, 128, seed)[index][0]

    np.testing.assert_array_equal(picture(1, 3), picture(1, 3))
    assert not np.array_equal(picture(1, 3), picture(1, 4))
    assert not np.array_equal(picture(1, 3), picture(2, 3))
    with pytest.raises(IndexError, match="picture 5 of 5"):
        picture(1, 5)


def test_pictures_to_train_on_are_new_in_every_epoch(
    digit_canvases: ModuleType, digits: tuple
) -> None:
    patches = digit_canvases.DigitPatches(digits[0], 6, 40)
    loader = DataLoader(patches, 6, seed=5)
    first, second = (next(iter(loader)) for _ in range(2))
    assert not np.array_equal(first[0].numpy(), second[0].numpy())
    assert first[1].numpy().tolist() == digits[0].classes[:6].tolist()
    lucid.random.seed(99)  # whatever ran before
    again = next(iter(DataLoader(patches, 6, seed=5)))
    np.testing.assert_array_equal(again[0].numpy(), first[0].numpy())


def test_plain_patches_show_the_digit_in_the_middle(
    digit_canvases: ModuleType, digits: tuple
) -> None:
    patches = digit_canvases.PlainPatches(digits[1], 40)
    assert len(patches) == len(digits[1])
    image, digit = patches[3]
    assert digit == digits[1].classes[3]
    assert image.shape == (3, 40, 40)
    dark = image[0] < 0.6
    rows, columns = np.nonzero(dark.any(axis=1))[0], np.nonzero(dark.any(axis=0))[0]
    assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(20, abs=1.5)
    assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(20, abs=1.5)
    assert image[0, 0, 0] == pytest.approx(0.85)
