"""From samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lucid_models_detection.data.targets import Sample, Target

__all__ = ["collate"]


def collate(samples: Sequence[Sample]) -> tuple[list[NDArray[np.float32]], list[Target]]:
    """Batch samples whose images may differ in size: a list of images, a list of targets.

    This is what ``model(images, targets)`` and ``model.predict(images)`` of the
    detectors take; padding to a common size is theirs.  Give it to a
    :class:`lucid.data.DataLoader` as ``collate``.

    Parameters
    ----------
    samples : sequence of (image, target)
        Images ``(3, H, W)``; targets as in :mod:`lucid_models_detection.data`.

    Raises
    ------
    ValueError
        A sample is no pair, an image is not ``(3, H, W)``, or a target's boxes and
        labels disagree in number; names the sample's position in the batch.
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
                f"sample {position}: {len(target['boxes'])} boxes but "
                f"{len(target['labels'])} labels"
            )
        images.append(image)
        targets.append(target)
    return images, targets
