"""Pairs of torchvision's and Lucid's Faster R-CNN with the same weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torchvision_cpu import torchvision

import lucid
from lucid_models_detection import boxes as box_ops
from lucid_models_detection import torchvision_config
from lucid_models_detection.torchvision import load_torchvision_weights

NUM_CLASSES = 91


def pictures(sizes: Sequence[tuple[int, int]], seed: int = 0) -> list[np.ndarray]:
    """Smooth noise with structure at several scales."""
    rng = np.random.default_rng(seed)
    result = []
    for height, width in sizes:
        image = np.zeros((1, 3, height, width))
        for cells in (3, 7, 20):
            coarse = torch.as_tensor(rng.random((1, 3, cells, cells)))
            image += torch.nn.functional.interpolate(
                coarse, (height, width), mode="bicubic"
            ).numpy()
        result.append(np.clip(image[0] / 3, 0, 1).astype(np.float32))
    return result


def sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    return ", ".join(f"{height} x {width}" for height, width in sizes)


def torchvisions(depth: int) -> Any:
    """Random weights with normalizations that fit the activations, as after training."""
    torch.manual_seed(0)
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=f"resnet{depth}",
        weights=None,
        norm_layer=torch.nn.BatchNorm2d,
        trainable_layers=5,
    )
    model = torchvision.models.detection.FasterRCNN(backbone, NUM_CLASSES)
    for norm in model.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = None
    with torch.no_grad():
        model.backbone.train()
        model.backbone(torch.as_tensor(np.stack(pictures([(128, 128)] * 4, seed=9))) * 4 - 2)
        model.rpn.head.cls_logits.weight *= 4  # fewer near ties between proposals
    return model.eval()


def ours(depth: int, weights: Any, **options: Any) -> Any:
    """Build Lucid's network of the same architecture and weights."""
    model = lucid.models.create_model(
        f"faster_rcnn_resnet_{depth}_fpn",
        num_classes=NUM_CLASSES,
        backbone_num_classes=2,
        **(torchvision_config() | options),
    )
    report = load_torchvision_weights(model, weights)
    assert not report.missing
    assert not report.unexpected
    return model.eval()


def set_sizes(model: Any, min_size: int, max_size: int) -> None:
    """Attributes with the same meaning in both."""
    model.transform.min_size = (min_size,)
    model.transform.max_size = max_size


@dataclass(frozen=True)
class Agreement:
    """Agreement of detections with those expected.

    ``matched`` counts the expected detections with a detection of equal label and
    an IoU of at least 0.5, one to one; ``close`` those of them whose score
    is within ``tolerance`` and whose edges are within ``tolerance`` of the image's longer
    side; ``box`` (pixels) and ``score`` are the largest differences of all matched.
    ``rest`` says of each that is not close what became of it.
    """

    expected: int
    matched: int
    close: int
    box: float
    score: float
    rest: tuple[str, ...]


def compare(
    found: Sequence[Any],
    expected: Sequence[Any],
    images: Sequence[np.ndarray],
    tolerance: float = 1e-3,
) -> Agreement:
    """Match detections with expected ones, best first."""
    differences, total, rest = [], 0, []
    for ours_of_image, theirs, image in zip(found, expected, images, strict=True):
        theirs = {key: value.numpy() for key, value in theirs.items()}
        total += total_of(theirs)
        overlap = box_ops.iou(ours_of_image["boxes"], theirs["boxes"].astype(np.float32))
        overlap[ours_of_image["labels"][:, None] != theirs["labels"]] = 0
        free = np.ones(len(overlap), bool)
        for j in range(total_of(theirs)):
            candidates = np.where(free, overlap[:, j], 0)
            i = int(candidates.argmax()) if len(candidates) else -1
            if i < 0 or candidates[i] < 0.5:
                rest.append(f"{named(theirs, j)} is missing: {rival(ours_of_image, overlap[:, j])}")
                continue
            free[i] = False
            box = np.abs(ours_of_image["boxes"][i] - theirs["boxes"][j]).max()
            score = abs(ours_of_image["scores"][i] - theirs["scores"][j])
            differences.append((box, score, box / max(image.shape[1:])))
            if max(differences[-1][1:]) > tolerance:
                rest.append(f"{named(theirs, j)} is {named(ours_of_image, i)} of ours")
    table = np.array(differences, float).reshape(-1, 3)
    close = (table[:, 1:] <= tolerance).all(axis=1).sum()
    box, score = table[:, :2].max(axis=0, initial=0.0).tolist()
    assert len(rest) == total - close
    return Agreement(total, len(table), int(close), box, score, tuple(rest))


def total_of(detections: Any) -> int:
    return len(detections["labels"])


def named(detections: Any, i: int) -> str:
    """Describe a detection."""
    box = ", ".join(f"{edge:.1f}" for edge in detections["boxes"][i].tolist())
    return (
        f"label {detections['labels'][i]} at ({box}), score {detections['scores'][i]:.6f}, "
        f"number {i % total_of(detections) + 1} of {total_of(detections)},"
    )


def rival(ours: Any, overlap: np.ndarray) -> str:
    """Describe the closest detection to a missing one, by IoU with those of its label."""
    if not (overlap > 0.1).any():
        last = f"the last of ours is {named(ours, -1)}" if total_of(ours) else "ours has none"
        return f"ours has nothing of its label there, and {last}".rstrip(",")
    i = int(overlap.argmax())
    return f"ours has {named(ours, i)} whose IoU with it is {overlap[i]:.3f}"


def spread(count: int, fraction: float) -> Any:
    """Deterministic sampler: evenly spaced positives and negatives from every level."""

    def some(of: np.ndarray, limit: int) -> np.ndarray:
        return of[np.linspace(0, len(of) - 1, min(limit, len(of))).astype(int)]

    def sample(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positive = some(np.flatnonzero(labels >= 1), int(count * fraction))
        return positive, some(np.flatnonzero(labels == 0), count - len(positive))

    return sample


def for_torch(sample: Any) -> Any:
    """The same for torchvision, which expects masks per image."""

    def sampled(labels: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        masks: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
        for of_image in labels:
            for into, chosen in zip(masks, sample(of_image.numpy()), strict=True):
                mask = torch.zeros(of_image.shape, dtype=torch.uint8)
                mask[chosen] = 1
                into.append(mask)
        return masks

    return sampled
