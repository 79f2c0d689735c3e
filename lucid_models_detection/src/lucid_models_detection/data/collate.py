"""Batch collation of samples whose images may differ in size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lucid_models_detection.data.types import Sample, Target

__all__ = ["collate"]


def collate(samples: Sequence[Sample]) -> tuple[list[NDArray[np.float32]], list[Target]]:
    """Collate samples into a list of images and a list of targets.

    The images may differ in size; detectors pad them to a common size in
    ``model(images, targets)`` and ``model.predict(images)``.  Pass it as ``collate`` to
    :class:`lucid.data.DataLoader`.

    Parameters
    ----------
    samples : sequence of (image, target)
        Images ``(3, H, W)``; targets as in :mod:`lucid_models_detection.data`.

    Raises
    ------
    ValueError
        If a sample is not a pair, an image is not ``(3, H, W)``, or the numbers of boxes and
        labels differ; names the position in the batch.
    """
    images: list[NDArray[np.float32]] = []
    targets: list[Target] = []
    for position, sample in enumerate(samples):
        if not isinstance(sample, tuple | list) or len(sample) != 2:
            raise ValueError(
                f"sample {position}: expected (image, target), got {type(sample).__name__}"
            )
        image, target = sample
        if np.ndim(image) != 3 or np.shape(image)[0] != 3:
            raise ValueError(
                f"sample {position}: expected an image of shape (3, H, W), got {np.shape(image)}"
            )
        if not isinstance(target, dict) or not {"boxes", "labels"} <= target.keys():
            raise ValueError(
                f"sample {position}: expected a target with 'boxes' and 'labels', got "
                f"{sorted(target) if isinstance(target, dict) else type(target).__name__}"
            )
        if len(target["boxes"]) != len(target["labels"]):
            raise ValueError(
                f"sample {position}: expected one label per box, got {len(target['boxes'])} boxes "
                f"and {len(target['labels'])} labels"
            )
        images.append(image)
        targets.append(target)
    return images, targets
