"""Overfit the default detector on eight images: ``python -m nox -s overfit``.

Trains ``faster_rcnn_resnet_50_fpn(num_classes=21)`` from scratch on images of 256 x 256 pixels
with shapes of up to twenty classes, until the mAP@0.5 on these images is 1.0.  A detector that
cannot overfit has a bug between images and losses.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

import lucid
from lucid import optim
from lucid.data import DataLoader, Dataset, Subset
from lucid.models import faster_rcnn_resnet_50_fpn
from lucid.training import Callback, LogEpochs, Trainer, schedule_with_warmup
from lucid_models_detection.data import VOC_CLASSES, collate
from lucid_models_detection.data.types import Sample
from lucid_models_detection.training.validation import Validation

CLASS_NAMES = ("background", *VOC_CLASSES)
IMAGES, SIDE = 8, 256
#: Passes through the images per epoch; validation follows each epoch.
REPEATS = 4
STEPS_AT_MOST = 4000


class Shapes(Dataset[Sample]):
    """Eight images of one to three shapes, with class given by form and color."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.samples = [self._sample(rng, number) for number in range(IMAGES)]

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, index: int) -> Sample:
        image, target = self.samples[index]
        return image, dict(target)

    @staticmethod
    def _sample(rng: np.random.Generator, number: int) -> Sample:
        noise = rng.integers(90, 150, (SIDE, SIDE, 3)).astype(np.uint8)
        picture = Image.fromarray(noise)
        draw = ImageDraw.Draw(picture)
        boxes, labels = [], []
        # One quadrant each, so that shapes do not overlap.
        for cell in rng.permutation(4)[: 1 + number % 3].tolist():
            label = int(rng.integers(1, len(CLASS_NAMES)))
            width, height = rng.integers(40, 110, 2).tolist()
            x = cell % 2 * SIDE // 2 + int(rng.integers(4, 14))
            y = cell // 2 * SIDE // 2 + int(rng.integers(4, 14))
            color = tuple(int(255 * ((label // 3**k) % 3) / 2) for k in range(3))
            shape = draw.ellipse if label % 2 else draw.rectangle
            shape((x, y, x + width - 1, y + height - 1), fill=color, outline=(0, 0, 0))
            boxes.append([x, y, x + width, y + height])
            labels.append(label)
        image = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
        target = {
            "boxes": np.array(boxes, np.float32),
            "labels": np.array(labels, np.int64),
            "image_id": number,
        }
        return np.ascontiguousarray(image), target


class Until(Callback):
    """Stop training when everything is detected or time is up."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Check the epoch's mAP and the time."""
        if row["mAP@0.5"] > 1 - 1e-9 or time.monotonic() > self.end:
            trainer.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0, help="time limit (20)")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--lr", type=float, default=2e-4)
    given = parser.parse_args()

    lucid.random.seed(given.seed)
    shapes = Shapes(given.seed)
    model = faster_rcnn_resnet_50_fpn(num_classes=len(CLASS_NAMES))
    optimizer = optim.AdamW(model.parameters(), lr=given.lr)
    repeated = Subset(shapes, list(range(IMAGES)) * REPEATS)
    loader = DataLoader(repeated, given.batch_size, shuffle=True, collate=collate, seed=given.seed)
    trainer = Trainer(
        model,
        optimizer,
        loader,
        lambda detector, batch: detector(*batch),
        epochs=STEPS_AT_MOST // len(loader),
        scheduler=schedule_with_warmup(
            optimizer, STEPS_AT_MOST, warmup_steps=20, schedule="constant"
        ),
        max_grad_norm=5.0,
        validate=Validation(DataLoader(shapes, 4, collate=collate, seed=0), CLASS_NAMES),
        callbacks=[
            LogEpochs(lambda line: print(line, flush=True), ("loss", "val_loss", "mAP", "mAP@0.5")),
            Until(given.minutes),
        ],
    )
    began = time.monotonic()
    last = trainer.fit()[-1]
    minutes = (time.monotonic() - began) / 60
    print(
        f"{trainer.step} steps of {given.batch_size} images, {minutes:.1f} minutes: "
        f"mAP {last['mAP']:.3f}, mAP@0.5 {last['mAP@0.5']:.3f}"
    )
    return 0 if last["mAP@0.5"] > 1 - 1e-9 else 1


if __name__ == "__main__":
    sys.exit(main())
