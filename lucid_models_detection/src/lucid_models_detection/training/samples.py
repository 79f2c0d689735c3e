"""Sample images with drawn detections, saved after each epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lucid.training import Callback, Trainer
from lucid.weights import atomic_write
from lucid_models_detection.data.types import Sample
from lucid_models_detection.draw import draw_boxes

__all__ = ["SampleDetections", "make_grid"]

#: Longer side of the images in the grid, in pixels.
_SIDE = 320
_COLUMNS = 4
_GAP = 4


class SampleDetections(Callback):
    """Draw the detections in a few images as a grid ``epoch_001.png``, ... after each epoch.

    The ``count`` images are spread evenly over ``samples``.
    """

    def __init__(
        self,
        samples: Sequence[Sample] | Any,
        count: int,
        class_names: Sequence[str],
        folder: Path,
        score_threshold: float = 0.5,
    ) -> None:
        count = min(count, len(samples))
        self.samples = samples
        self.indices = [len(samples) * i // count for i in range(count)]
        self.class_names = class_names
        self.folder = folder
        self.score_threshold = score_threshold

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Draw and save the grid of this epoch."""
        if not self.indices:
            return
        images = [self.samples[i][0] for i in self.indices]
        # One at a time, to save memory.
        found = [trainer.model.predict([image])[0] for image in images]
        drawn = [
            draw_boxes(
                image,
                **detections,
                class_names=self.class_names,
                score_threshold=self.score_threshold,
                scale=_SIDE / max(image.shape),
            )
            for image, detections in zip(images, found, strict=True)
        ]
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.folder / f"epoch_{row['epoch']:03d}.png") as file:
            make_grid(drawn).save(file, format="PNG")


def make_grid(images: Sequence[Image.Image], columns: int = _COLUMNS) -> Image.Image:
    """Arrange images in rows, in cells of the size of the largest."""
    if not images:
        raise ValueError("expected at least one image, got none")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    width = max(image.width for image in images) + _GAP
    height = max(image.height for image in images) + _GAP
    grid = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), "white")
    for i, image in enumerate(images):
        grid.paste(image, (i % columns * width, i // columns * height))
    return grid
