"""The figures of models beside torchvision's, as a page: rows come from the tests."""

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
    """One prediction: a batch of images, and how the detections compare."""

    depth: int
    images: str
    min_size: int
    max_size: int
    precision: str
    agreement: Any


@dataclass(frozen=True)
class LossRow:
    """One training step: how losses and gradients compare."""

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

INTRODUCTION = """# Models beside torchvision

torchvision's Faster R-CNN and RetinaNet and ours, built with `torchvision_config()`, with the
same weights (random, with normalizations that fit the activations) and 91 classes, on images of
smooth noise. torchvision {torchvision} runs on PyTorch {torch}; its compiled NMS and
RoIAlign, which a CPU build of PyTorch lacks, are replaced by plain ones in PyTorch. This
page is what `python -m nox -s conformance` prints at its end; figures of rounding differ
from processor to processor.

## Faster R-CNN: detections

A detection of torchvision's is *matched* if one of ours has its label and an IoU of at
least 0.5 with it, each of ours taken once, and *within 1e-3* if moreover the scores differ
by at most 0.001 and every edge of the boxes by at most 0.001 of the image's longer side.
The largest differences are those of all matched detections, edges in pixels; images are
given by height x width, and resized as `min_size` and `max_size` say. Where there are several,
torchvision sees each alone: it pads images of a batch to one size, which changes what it
finds, where ours finds the same in any batch. In float32 the two
round differently, and a network of random weights is deep enough to enlarge that. Where a
detection is missing, or is pixels off, two regions of almost equal scores overlap, and
rounding decides which of them suppresses the other; or it is the last that there is room for, and
one of almost its score is in its place. In float64 all agree to the last
digits of the float32 that detections are given in. What is not within 1e-3 is named below
the table.

| ResNet | Images | Min / max | Precision | Detections | Matched | Within 1e-3 | Edge | Score |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

TRAINING = """
## Faster R-CNN: losses and gradients

One step with the same sampled anchors and regions, taken at even steps from all that could
be. The largest relative difference of the four losses; of how many parameters the gradient
differs by at most 1e-3 of its largest element; and the largest such difference. In float64
all agree. In float32 some of the millions of activations fall on different sides of the
corner of ReLU, which moves gradients by parts of a hundred however small the difference
was: the last column is how far torchvision's own gradients in float32 are from those in
float64, where the regions are the same. Ours are held to no more than twice that in the
median and three times at most with direct sums (`LUCID_WINOGRAD=0`), and to four times as they
come: Winograd's filtering, which 3x3 convolutions are trained by, rounds more.

| ResNet | Norms | Images | Precision | Losses | Gradients | Within 1e-3 | Largest | Own |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

RETINANET = """
## RetinaNet: detections

Compared as Faster R-CNN's. Detections without area, which have no IoU, are left out on both
sides. The background, which ours never detects, has low logits, as training makes them.

| ResNet | Images | Min / max | Precision | Detections | Matched | Within 1e-3 | Edge | Score |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

RETINANET_TRAINING = """
## RetinaNet: losses and gradients

One step, with the two losses and the gradients of all parameters. In float64 all agree; in
float32 gradients differ for the reason that Faster R-CNN's do.

| ResNet | Norms | Images | Precision | Losses | Gradients | Within 1e-3 | Largest | Own |
|---:|---|---|---|---:|---:|---:|---:|---:|
"""

COLUMNS = ("evaluation", "training", "statistics")

CLASSIFICATION = """
## Classifiers

Images of 224 x 224, float32, 50 classes, and the same random weights. The largest difference
of the logits from torchvision's in evaluation and in training mode, and of the running
statistics after a step, each relative to the largest value; the tests allow 1e-4. In float64
every gradient agrees to 1e-8, and to 1e-7 in the MobileNetV3s, where PyTorch rounds the
derivative of hardsigmoid to float32.

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
    """Lines of the table, and below it what is not within 1e-3."""
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
