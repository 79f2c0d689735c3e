"""The comparison page with torchvision; the tests add its rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CLASSIFIERS",
    "DETECTIONS",
    "LOSSES",
    "RETINANET_DETECTIONS",
    "RETINANET_LOSSES",
    "DetectionRow",
    "LossRow",
    "page",
]


@dataclass(frozen=True)
class DetectionRow:
    """Comparison of the detections in a batch of images."""

    depth: int
    images: str
    min_size: int
    max_size: int
    precision: str
    agreement: Any


@dataclass(frozen=True)
class LossRow:
    """Comparison of losses and gradients of a training step."""

    depth: int
    norm: str
    images: str
    precision: str
    loss: float
    parameters: int
    within: int
    gradient: float
    own: float | None


#: By model and then by column of the table; filled by ``test_resnet.py`` and ``test_mobilenet.py``.
CLASSIFIERS: dict[str, dict[str, float]] = defaultdict(dict)

#: Filled by ``test_faster_rcnn.py``.
DETECTIONS: list[DetectionRow] = []
LOSSES: list[LossRow] = []
#: Filled by ``test_retinanet.py``.
RETINANET_DETECTIONS: list[DetectionRow] = []
RETINANET_LOSSES: list[LossRow] = []

INTRODUCTION = """# Comparison with torchvision

Differences between Lucid's and torchvision's models with the same weights.
`python -m nox -s conformance` prints this page. Lucid's detectors are built with
`torchvision_config()` and 91 classes; weights are random, with normalizations that fit the
activations, and images are smooth noise. torchvision {torchvision} runs on PyTorch {torch}; its
compiled NMS and RoIAlign, which a CPU build of PyTorch lacks, are replaced by implementations in
PyTorch. Rounding differs between processors.

## Faster R-CNN: detections

A detection of torchvision is *matched* if a detection of Lucid, used once, has the same label and
an IoU of at least 0.5. It is *within 1e-3* if scores also differ by at most 0.001 and box edges by
at most 0.001 of the image's longer side. *Edge* (in pixels) and *Score* are the largest differences
of matched detections. Image sizes are height x width, resized to `min_size` and `max_size`. Of
several images, torchvision receives each alone, because it pads a batch to one size, which changes
its detections.

In float32, rounding differences grow through a deep network with random weights. A missing or
shifted detection is one of two overlapping regions with almost equal scores, and NMS keeps the
other, or the last detection within the limit per image. In float64, all detections agree to float32
precision. Detections that are not within 1e-3 are listed below the table.

| ResNet | Images | Min / max | Precision | Detections | Matched | Within 1e-3 | Edge | Score |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

TRAINING = """
## Faster R-CNN: losses and gradients

One step with the same sampled anchors and regions. *Losses* is the largest relative difference of
the four losses, *Gradients* the number of parameters, *Within 1e-3* the fraction of parameters
whose gradients differ by at most 1e-3 of their largest element, and *Largest* the largest such
difference. *Own* is the difference between torchvision's gradients in float32 and float64, if both
select the same regions.

In float64 all gradients agree. In float32 some activations fall on different sides of ReLU's kink,
which changes gradients by up to some percent. The tests allow twice torchvision's own difference in
the median and three times at most with direct convolution (`LUCID_WINOGRAD=0`), and four times with
Winograd convolution, which rounds more.

| ResNet | Norms | Images | Precision | Losses | Gradients | Within 1e-3 | Largest | Own |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

RETINANET = """
## RetinaNet: detections

Compared like Faster R-CNN. Detections without area, which have no IoU, are excluded. Lucid never
detects the background, so its logits are set low, as training would.

| ResNet | Images | Min / max | Precision | Detections | Matched | Within 1e-3 | Edge | Score |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

RETINANET_TRAINING = """
## RetinaNet: losses and gradients

One step, with the two losses and the gradients of all parameters. In float64 all agree; in float32
gradients differ for the same reason as those of Faster R-CNN.

| ResNet | Norms | Images | Precision | Losses | Gradients | Within 1e-3 | Largest | Own |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

COLUMNS = ("evaluation", "training", "statistics")

CLASSIFICATION = """
## Classifiers

Largest difference of the logits in evaluation and training mode, and of the running statistics
after a step, relative to the largest value, for images of 224 x 224, float32, 50 classes and the
same random weights. The tests allow 1e-4. In float64, gradients agree to 1e-8, and to 1e-7 in
MobileNetV3, where PyTorch rounds the derivative of hardsigmoid to float32.

| Model | Evaluation | Training | Statistics |
|---|---:|---:|---:|
"""


def page(versions: dict[str, str]) -> str:
    """The page, in Markdown."""
    classifiers = "".join(
        f"| `{name}` | {' | '.join(f'{figures[column]:.1e}' for column in COLUMNS)} |\n"
        for name, figures in CLASSIFIERS.items()
        if figures.keys() >= set(COLUMNS)
    )
    return (
        INTRODUCTION.format(**versions)
        + detection_rows(DETECTIONS)
        + TRAINING
        + loss_rows(LOSSES)
        + RETINANET
        + detection_rows(RETINANET_DETECTIONS)
        + RETINANET_TRAINING
        + loss_rows(RETINANET_LOSSES)
        + (CLASSIFICATION + classifiers) * bool(classifiers)
    )


def detection_rows(rows: Iterable[DetectionRow]) -> str:
    """Lines of the table, and detections that are not within 1e-3."""
    lines, rest = "", ""
    for row in sorted(rows, key=lambda r: (r.depth, r.precision)):
        a = row.agreement
        lines += (
            f"| {row.depth} | {row.images} | {row.min_size} / {row.max_size} | {row.precision} | "
            f"{a.expected} | {percent(a.matched, a.expected)} | {percent(a.close, a.expected)} | "
            f"{a.box:.1e} | {a.score:.1e} |\n"
        )
        rest += "".join(
            f"- ResNet-{row.depth}, {row.images}, {row.precision}: {one}.\n" for one in a.rest
        )
    return lines + f"\n{rest}" * bool(rest)


def loss_rows(rows: Iterable[LossRow]) -> str:
    lines = ""
    for r in sorted(rows, key=lambda r: (r.depth, r.norm, r.precision)):
        lines += (
            f"| {r.depth} | {r.norm} | {r.images} | {r.precision} | {r.loss:.1e} | "
            f"{r.parameters} | {percent(r.within, r.parameters)} | {r.gradient:.1e} | "
            f"{'' if r.own is None else f'{r.own:.1e}'} |\n"
        )
    return lines


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
