"""Synthetic images of handwritten digits: patches for the classifier, images for the detector.

The digits are the 1,797 scans of 8 x 8 pixels that come with scikit-learn (the test part
of Alpaydin and Kaynak's "Optical Recognition of Handwritten Digits", UCI).  They are split
into training and test digits once; no image mixes the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import lucid
from lucid.data import Dataset

Array = NDArray[np.float32]
T = TypeVar("T")

#: The digit class c is the detector's label c + 1; label 0 is the background.
CLASS_NAMES = ("background", *(str(digit) for digit in range(10)))

MASTER = 96  # pixels: every digit is enlarged to this size first, then reduced
INK = 0.35  # coverage above which a pixel belongs to the digit's box
MARGIN = 0.15  # margin of faint ink around the box, as a fraction of the longer side


@dataclass(frozen=True)
class Digits:
    """Scans ``(n, 8, 8)`` with ink in [0, 1], and their classes ``(n,)``."""

    scans: Array
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def split_digits(scans: Array, classes: NDArray[np.int64], seed: int) -> tuple[Digits, Digits]:
    """Split into 80 % training and 20 % test digits, stratified by class."""
    rng = np.random.default_rng([seed, 0])
    held_out = np.zeros(len(classes), bool)
    for digit in range(10):
        members = rng.permutation(np.nonzero(classes == digit)[0])
        held_out[members[: round(0.2 * len(members))]] = True
    return (
        Digits(scans[~held_out], classes[~held_out]),
        Digits(scans[held_out], classes[held_out]),
    )


def enlarge(scan: Array, length: float, angle: float, stretch: float) -> tuple[Array, Array]:
    """Enlarge a scan until its ink is ``length`` pixels long, then rotate and stretch it.

    Returns
    -------
    ink : (h, w) array
        Coverage of each pixel by the digit, including the faint margin.
    box : (4,) array
        xyxy box of the digit within ``ink``.
    """
    padded = Image.fromarray(np.pad(scan, 2).astype(np.float32))
    master = padded.resize((round(MASTER * stretch), MASTER), Image.Resampling.BICUBIC)
    master = master.rotate(angle, Image.Resampling.BILINEAR)
    covered = np.asarray(master).clip(0, 1) > INK
    rows, columns = np.nonzero(covered.any(axis=1))[0], np.nonzero(covered.any(axis=0))[0]
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    longer = max(x2 - x1, y2 - y1)
    margin = round(MARGIN * longer)
    cut = master.crop((x1 - margin, y1 - margin, x2 + margin, y2 + margin))
    scale = length / longer
    width, height = max(1, round(cut.width * scale)), max(1, round(cut.height * scale))
    ink = np.asarray(cut.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
    # The reduced image has whole pixels, so its scale differs slightly between the axes.
    across, down = width / cut.width, height / cut.height
    inner = [margin, margin, margin + x2 - x1, margin + y2 - y1]
    return ink, np.array(inner, np.float32) * np.array([across, down] * 2, np.float32)


def background(rng: np.random.Generator, size: int) -> Array:
    """Draw a colored background ``(3, size, size)`` with soft shadows."""
    color = rng.uniform(0.1, 0.9) + rng.uniform(-0.08, 0.08, (3, 1, 1))
    shadow = Image.fromarray(rng.normal(0, 0.06, (4, 4)).astype(np.float32))
    soft = np.asarray(shadow.resize((size, size), Image.Resampling.BICUBIC))
    return np.asarray(color + soft, np.float32)


def paint(rng: np.random.Generator, image: Array, ink: Array, left: int, top: int) -> None:
    """Blend one digit into the image, lighter or darker than the background there."""
    size = image.shape[1]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + ink.shape[1], size), min(top + ink.shape[0], size)
    part = image[:, y1:y2, x1:x2]
    ground = float(part.mean())
    # Where both fit, lighter and darker are equally likely.
    lighter = ground < 0.65 and (ground < 0.35 or rng.random() < 0.5)
    contrast = rng.uniform(0.35, max(0.4, 1 - ground if lighter else ground))
    shade = ground + (contrast if lighter else -contrast)
    color = np.float32(shade) + rng.uniform(-0.06, 0.06, (3, 1, 1)).astype(np.float32)
    part += ink[y1 - top : y2 - top, x1 - left : x2 - left] * (color - part)


def finish(rng: np.random.Generator, image: Array) -> Array:
    """Add camera noise and clip to [0, 1]."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.01, 0.06))
    return np.clip(image + noise, 0, 1)


def overlap(box: Array, others: list[Array]) -> float:
    """Largest intersection of ``box`` with one of ``others``, as a fraction of the smaller box."""
    worst = 0.0
    for other in others:
        common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        if (common > 0).all():
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
            worst = max(worst, float(common.prod() / min(areas)))
    return worst


class RandomDigits(Dataset[T], Generic[T]):
    """Base class of the random data sets.

    Parameters
    ----------
    digits : Digits
        Scans to draw from.
    count : int
        Number of images.
    size : int
        Width and height in pixels.
    seed : int, optional
        With a seed, image i is always the same, for evaluation.  Without, images are drawn
        from ``lucid.random``, which the loader seeds by epoch and index: every epoch has
        new images, reproducibly.
    """

    def __init__(self, digits: Digits, count: int, size: int, seed: int | None = None) -> None:
        self.digits = digits
        self.count = count
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def generator(self, index: int) -> np.random.Generator:
        """Random generator of one image."""
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of {self.count}")
        if self.seed is None:
            return lucid.random.default_generator.numpy
        return np.random.default_rng([self.seed, index])

    def draw_digit(
        self, rng: np.random.Generator, digit: int, shortest: float, longest: float
    ) -> tuple[Array, Array]:
        """Draw ink and box of one digit with a log-uniform length in [shortest, longest]."""
        length = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
        return enlarge(
            self.digits.scans[digit], length, rng.uniform(-10, 10), rng.uniform(0.9, 1.15)
        )


class DigitPatches(RandomDigits[tuple[Array, int]]):
    """One digit at a random position in each patch: ``(image, class)``, for the classifier.

    Patch i shows digit ``i % len(digits)``, so an epoch shows each digit equally often.
    """

    def __getitem__(self, index: int) -> tuple[Array, int]:
        rng = self.generator(index)
        digit = index % len(self.digits)
        image = background(rng, self.size)
        ink, box = self.draw_digit(rng, digit, 0.6 * self.size, self.size)
        left, top = (
            int(rng.integers(-round(box[k]), max(self.size - round(box[k + 2]), 0) + 1))
            for k in (0, 1)
        )
        paint(rng, image, ink, left, top)
        return finish(rng, image), int(self.digits.classes[digit])


class PlainPatches(Dataset[tuple[Array, int]]):
    """Each digit once, dark on light, upright and centered, to evaluate the classifier."""

    def __init__(self, digits: Digits, size: int) -> None:
        self.digits = digits
        self.size = size

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        ink, box = enlarge(self.digits.scans[index], 0.8 * self.size, angle=0, stretch=1)
        x, y = (round(float(self.size - box[k] - box[k + 2]) / 2) for k in (0, 1))
        page = Image.new("F", (self.size, self.size))
        page.paste(Image.fromarray(ink), (x, y))  # cropped at the border
        paper = np.float32(0.85) - np.float32(0.7) * np.asarray(page)
        return np.repeat(paper[None], 3, axis=0), int(self.digits.classes[index])


class DigitImages(RandomDigits[tuple[Array, dict[str, Any]]]):
    """Three to six digits in each image: ``(image, target)``, for the detector.

    Digits are 16 to 48 pixels long; two overlap by at most a tenth of the smaller box.
    """

    def __getitem__(self, index: int) -> tuple[Array, dict[str, Any]]:
        rng = self.generator(index)
        image = background(rng, self.size)
        boxes: list[Array] = []
        labels: list[int] = []
        for _ in range(int(rng.integers(3, 7))):
            digit = int(rng.integers(len(self.digits)))
            ink, box, left, top = self._place(rng, digit, boxes)
            paint(rng, image, ink, left, top)
            boxes.append(box)
            labels.append(int(self.digits.classes[digit]) + 1)
        target = {
            "boxes": np.stack(boxes),
            "labels": np.array(labels, np.int64),
            "image_id": index,
        }
        return finish(rng, image), target

    def _place(
        self, rng: np.random.Generator, digit: int, boxes: list[Array]
    ) -> tuple[Array, Array, int, int]:
        """Choose a size and a position with little overlap."""
        longest = 48.0
        while True:
            ink, box = self.draw_digit(rng, digit, 16.0, longest)
            for _ in range(20):
                left = int(rng.integers(-round(box[0]), self.size - int(np.ceil(box[2])) + 1))
                top = int(rng.integers(-round(box[1]), self.size - int(np.ceil(box[3])) + 1))
                moved = box + np.array([left, top, left, top], np.float32)
                moved = moved.clip(0, self.size)
                if overlap(moved, boxes) <= 0.1:
                    return ink, moved, left, top
            longest = max(16.0, 0.8 * longest)  # crowded: try smaller digits
