"""Pictures of handwritten digits: small patches for the classifier, canvases for the detector.

The digits are the 1,797 scans of 8 x 8 pixels that come with scikit-learn (the test part
of Alpaydin and Kaynak's "Optical Recognition of Handwritten Digits", UCI).  They are split
once, by their number, before anything else happens; no picture mixes the two halves.
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

MASTER = 96  # pixels: every digit is first enlarged to this, then reduced to its place
INK = 0.35  # a pixel that is covered more than this belongs to the digit's box
MARGIN = 0.15  # faint ink around the box that is drawn too, in parts of the longer side


@dataclass(frozen=True)
class Digits:
    """Scans ``(n, 8, 8)`` with ink from 0 to 1, and the digits ``(n,)`` they show."""

    scans: Array
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.classes)


def split_digits(scans: Array, classes: NDArray[np.int64], seed: int) -> tuple[Digits, Digits]:
    """Split into 80 % for training and 20 % held out, each digit in the same proportion."""
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
    """Enlarge a scan until its ink is ``length`` pixels long, slightly turned and stretched.

    Returns
    -------
    ink : (h, w) array
        How much of each pixel the digit covers, with its faint margin.
    box : (4,) array
        xyxy of the digit itself in ``ink``.
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
    # The reduced picture has whole pixels, so its scale differs a little between the axes.
    across, down = width / cut.width, height / cut.height
    inner = [margin, margin, margin + x2 - x1, margin + y2 - y1]
    return ink, np.array(inner, np.float32) * np.array([across, down] * 2, np.float32)


def background(rng: np.random.Generator, size: int) -> Array:
    """A coloured ground ``(3, size, size)`` with soft shadows."""
    color = rng.uniform(0.1, 0.9) + rng.uniform(-0.08, 0.08, (3, 1, 1))
    shadow = Image.fromarray(rng.normal(0, 0.06, (4, 4)).astype(np.float32))
    soft = np.asarray(shadow.resize((size, size), Image.Resampling.BICUBIC))
    return np.asarray(color + soft, np.float32)


def paint(rng: np.random.Generator, canvas: Array, ink: Array, left: int, top: int) -> None:
    """Lay one digit on the canvas, lighter or darker than its ground; cut off at the border."""
    size = canvas.shape[1]
    x1, y1 = max(left, 0), max(top, 0)
    x2, y2 = min(left + ink.shape[1], size), min(top + ink.shape[0], size)
    part = canvas[:, y1:y2, x1:x2]
    ground = float(part.mean())
    # Where both are possible, lighter and darker are equally likely.
    lighter = ground < 0.65 and (ground < 0.35 or rng.random() < 0.5)
    contrast = rng.uniform(0.35, max(0.4, 1 - ground if lighter else ground))
    shade = ground + (contrast if lighter else -contrast)
    color = np.float32(shade) + rng.uniform(-0.06, 0.06, (3, 1, 1)).astype(np.float32)
    part += ink[y1 - top : y2 - top, x1 - left : x2 - left] * (color - part)


def finish(rng: np.random.Generator, canvas: Array) -> Array:
    """Add the noise of a camera and keep to [0, 1]."""
    noise = rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(
        rng.uniform(0.01, 0.06)
    )
    return np.clip(canvas + noise, 0, 1)


def overlap(box: Array, others: list[Array]) -> float:
    """The largest share of the smaller box that ``box`` and one of ``others`` have in common."""
    worst = 0.0
    for other in others:
        common = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
        if (common > 0).all():
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
            worst = max(worst, float(common.prod() / min(areas)))
    return worst


class DigitPictures(Dataset[T], Generic[T]):
    """What both datasets share.

    Parameters
    ----------
    digits : Digits
        The half of the scans that may be shown.
    count : int
        Number of pictures.
    size : int
        Width and height in pixels.
    seed : int, optional
        With a seed, picture i is always the same one: for evaluation.  Without, it is
        drawn from ``lucid.random``, which the loader seeds by epoch and number: every
        epoch shows new pictures, and they do not depend on what ran before.
    """

    def __init__(self, digits: Digits, count: int, size: int, seed: int | None = None) -> None:
        self.digits = digits
        self.count = count
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return self.count

    def generator(self, index: int) -> np.random.Generator:
        """The randomness of one picture."""
        if not 0 <= index < self.count:
            raise IndexError(f"picture {index} of {self.count}")
        if self.seed is None:
            return lucid.random.default_generator.numpy
        return np.random.default_rng([self.seed, index])

    def draw_digit(
        self, rng: np.random.Generator, which: int, shortest: float, longest: float
    ) -> tuple[Array, Array]:
        """Ink and box of one digit of some length in between (short ones more often)."""
        length = float(np.exp(rng.uniform(np.log(shortest), np.log(longest))))
        return enlarge(
            self.digits.scans[which], length, rng.uniform(-10, 10), rng.uniform(0.9, 1.15)
        )


class DigitPatches(DigitPictures[tuple[Array, int]]):
    """One digit somewhere on each patch: ``(image, class)``, for the classifier.

    Patch i shows digit ``i % len(digits)``, so that an epoch sees each equally often.
    """

    def __getitem__(self, index: int) -> tuple[Array, int]:
        rng = self.generator(index)
        which = index % len(self.digits)
        canvas = background(rng, self.size)
        ink, box = self.draw_digit(rng, which, 0.6 * self.size, self.size)
        left, top = (
            int(rng.integers(-round(box[k]), max(self.size - round(box[k + 2]), 0) + 1))
            for k in (0, 1)
        )
        paint(rng, canvas, ink, left, top)
        return finish(rng, canvas), int(self.digits.classes[which])


class PlainPatches(Dataset[tuple[Array, int]]):
    """Each digit once, dark on light paper, upright and in the middle: to examine a classifier."""

    def __init__(self, digits: Digits, size: int) -> None:
        self.digits = digits
        self.size = size

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[Array, int]:
        ink, box = enlarge(self.digits.scans[index], 0.8 * self.size, angle=0, stretch=1)
        x, y = (round(float(self.size - box[k] - box[k + 2]) / 2) for k in (0, 1))
        page = Image.new("F", (self.size, self.size))
        page.paste(Image.fromarray(ink), (x, y))  # what reaches over the border is cut off
        paper = np.float32(0.85) - np.float32(0.7) * np.asarray(page)
        return np.repeat(paper[None], 3, axis=0), int(self.digits.classes[index])


class DigitCanvases(DigitPictures[tuple[Array, dict[str, Any]]]):
    """Three to six digits on each canvas: ``(image, target)``, for the detector.

    Digits are 16 to 48 pixels long; two of them share at most a tenth of the smaller one.
    """

    def __getitem__(self, index: int) -> tuple[Array, dict[str, Any]]:
        rng = self.generator(index)
        canvas = background(rng, self.size)
        boxes: list[Array] = []
        labels: list[int] = []
        for _ in range(int(rng.integers(3, 7))):
            which = int(rng.integers(len(self.digits)))
            ink, box, left, top = self._place(rng, which, boxes)
            paint(rng, canvas, ink, left, top)
            boxes.append(box)
            labels.append(int(self.digits.classes[which]) + 1)
        target = {
            "boxes": np.stack(boxes),
            "labels": np.array(labels, np.int64),
            "image_id": index,
        }
        return finish(rng, canvas), target

    def _place(
        self, rng: np.random.Generator, which: int, boxes: list[Array]
    ) -> tuple[Array, Array, int, int]:
        """A size and a place where the digit covers little of the others."""
        longest = 48.0
        while True:
            ink, box = self.draw_digit(rng, which, 16.0, longest)
            for _ in range(20):
                left = int(rng.integers(-round(box[0]), self.size - int(np.ceil(box[2])) + 1))
                top = int(rng.integers(-round(box[1]), self.size - int(np.ceil(box[3])) + 1))
                moved = box + np.array([left, top, left, top], np.float32)
                moved = moved.clip(0, self.size)
                if overlap(moved, boxes) <= 0.1:
                    return ink, moved, left, top
            longest = max(16.0, 0.8 * longest)  # a crowded canvas: try smaller ones
