"""Pictures of what a detector finds, after each epoch of its training."""

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

#: Length that the longer side of an image in the grid is brought to, if it is longer or
#: so much shorter that text would be illegible.
_SIDE = 320
_COLUMNS = 4
_GAP = 4


class SampleDetections(Callback):
    """Draws what is found in a few images, as one grid per epoch.

    Parameters
    ----------
    samples : sequence of (image, target)
        Where the images are taken from.
    count : int
        How many; they are spread over the samples.
    class_names : sequence of str
        The name of each label, the background's first.
    folder : path
        Gets ``epoch_001.png``, ...; made if it is not there.
    score_threshold : float, default 0.5
        Detections that score less are left out.
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
        # One by one, which takes the least memory.
        found = [trainer.model.predict([image])[0] for image in images]
        pictures = [
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
            make_grid(pictures).save(file, format="PNG")


def make_grid(pictures: Sequence[Image.Image], columns: int = _COLUMNS) -> Image.Image:
    """Pictures side by side, row by row, each in a cell that fits the largest.

    Raises
    ------
    ValueError
        If there is no picture.
    """
    if not pictures:
        raise ValueError("a grid needs at least one image")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    width = max(picture.width for picture in pictures) + _GAP
    height = max(picture.height for picture in pictures) + _GAP
    whole = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), "white")
    for i, picture in enumerate(pictures):
        whole.paste(picture, (i % columns * width, i // columns * height))
    return whole
