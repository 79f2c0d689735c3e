"""Example batch of a detector for the checks of plugins."""

from __future__ import annotations

from typing import TypeAlias

import lucid
from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import ExampleBatch
from lucid_models_detection.detector import Detector, backbone_net

__all__ = ["example_batch"]

Batch: TypeAlias = tuple[Tensor, list[dict[str, object]], Tensor]


def example_batch() -> ExampleBatch:
    """Two random images with one object each, and the loss of both training stages.

    The backbone's classifier is not used in detection.  So that every parameter receives a
    gradient, its classification loss is added to the detector's losses.

    Returns
    -------
    lucid.testing.ExampleBatch
        Images (2, 3, 96, 96) in [0, 1], targets, and labels (2,) for the backbone.
    """
    images = lucid.random.rand(2, 3, 96, 96)
    targets: list[dict[str, object]] = [
        {"boxes": [[10.0, 20.0, 70.0, 80.0]], "labels": [1]},
        {"boxes": [[30.0, 5.0, 90.0, 60.0]], "labels": [2]},
    ]
    return ExampleBatch((images, targets, lucid.arange(2)), _both_stages)


def _both_stages(model: Detector, batch: Batch) -> dict[str, Tensor]:
    images, targets, labels = batch
    logits = backbone_net(model)(images)
    return {**model(images, targets), "loss_pretraining": F.cross_entropy(logits, labels)}
