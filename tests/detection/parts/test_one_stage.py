"""A one-stage detector from public names only: the parts fit together, and it learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from small_detection import TinyBackbone

import lucid
from lucid import Tensor, concatenate, nn, optim
from lucid.nn import functional as F
from lucid_models_detection import Detector, boxes
from lucid_models_detection.parts import (
    AnchorGenerator,
    BackboneWithFPN,
    BoxCoder,
    Detections,
    GeneralizedRCNNTransform,
    GroundTruth,
    ImageList,
    LastLevelP6P7,
    Matcher,
    giou_loss,
    postprocess_detections,
    sigmoid_focal_loss,
)

Array = np.ndarray[Any, np.dtype[Any]]


class OneStage(Detector):
    """A class and four offsets at each location of C3, C4, C5, P6 and P7."""

    head_prefixes = ("classes.",)

    def __init__(self, num_classes: int, channels: int = 16) -> None:
        extra = LastLevelP6P7(8, channels)
        backbone = BackboneWithFPN(TinyBackbone(5), channels, extra, stages=(1, 2, 3))
        super().__init__(
            backbone,
            GeneralizedRCNNTransform((0.5,) * 3, (0.5,) * 3, size_divisible=backbone.stride),
        )
        self.num_classes = num_classes
        self.score_threshold = 0.3
        self.anchors = AnchorGenerator([(3.0 * s,) for s in backbone.strides], [(1.0,)] * 5)
        self.matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
        self.box_coder = BoxCoder()
        self.tower = nn.Conv2d(channels, channels, 3, padding=1)
        self.classes = nn.Conv2d(channels, num_classes - 1, 3, padding=1)
        self.offsets = nn.Conv2d(channels, 4, 3, padding=1)
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.constant_(self.classes.bias, -3.0)

    def predictions(self, levels: list[Tensor]) -> list[list[Tensor]]:
        """Logits (N, T, C - 1) and offsets (N, T, 4) of each level."""
        outputs: list[list[Tensor]] = [[], []]
        for level in levels:
            hidden = F.relu(self.tower(level))
            for kept, head in zip(outputs, (self.classes, self.offsets), strict=True):
                output = head(hidden)
                n, channels = output.shape[:2]
                kept.append(output.permute(0, 2, 3, 1).reshape(n, -1, channels))
        return outputs

    def anchors_of(self, levels: list[Tensor], batch: ImageList) -> list[Array]:
        sizes = [(level.shape[2], level.shape[3]) for level in levels]
        return self.anchors(sizes, batch.padded_size)

    def compute_losses(
        self, features: list[Tensor], batch: ImageList, targets: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        logits, deltas = (concatenate(maps, axis=1) for maps in self.predictions(features))
        anchors = np.concatenate(self.anchors_of(features, batch))
        losses = {"loss_classifier": lucid.zeros(()), "loss_box_reg": lucid.zeros(())}
        for i, target in enumerate(targets):
            matches = self.matcher(boxes.iou(target.boxes, anchors))
            positive, used = np.flatnonzero(matches >= 0), matches != Matcher.IGNORED
            wanted = np.zeros((len(anchors), self.num_classes - 1), np.float32)
            wanted[positive, target.labels[matches[positive]] - 1] = 1
            count = max(1, len(positive))
            focal = sigmoid_focal_loss(logits[i][used], wanted[used], reduction="sum")
            predicted = self.box_coder.decode_tensor(deltas[i][positive], anchors[positive])
            overlap = giou_loss(predicted, target.boxes[matches[positive]], "sum")
            losses["loss_classifier"] = losses["loss_classifier"] + focal / count
            losses["loss_box_reg"] = losses["loss_box_reg"] + overlap / count
        return losses

    def detect(self, features: list[Tensor], batch: ImageList) -> list[Detections]:
        logits, deltas = self.predictions(features)
        anchors = self.anchors_of(features, batch)
        return [
            postprocess_detections(
                [lucid.sigmoid(level[i]) for level in logits],
                [level[i] for level in deltas],
                anchors,
                size,
                box_coder=self.box_coder,
                score_threshold=self.score_threshold,
                first_label=1,
            )
            for i, size in enumerate(batch.sizes)
        ]


def scene(x: int, y: int, label: int) -> tuple[Array, dict[str, Array]]:
    """A bright square of 24 pixels whose color is its class."""
    image = np.full((3, 64, 64), 0.3, np.float32)
    image[label - 1, y : y + 24, x : x + 24] = 1
    target = {"boxes": np.float32([[x, y, x + 24, y + 24]]), "labels": np.array([label])}
    return image, target


@pytest.mark.slow
def test_it_learns_to_find_objects() -> None:
    lucid.random.seed(0)
    model = OneStage(num_classes=3)
    scenes = [scene(4, 4, 1), scene(32, 28, 2), scene(28, 6, 1), scene(6, 34, 2)]
    images, targets = [s[0] for s in scenes], [s[1] for s in scenes]
    optimizer = optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model(images, targets).values(), lucid.zeros(())).backward()
        optimizer.step()
    for x, y, label in ((4, 4, 1), (32, 28, 2), (28, 6, 1), (6, 34, 2)):
        image, target = scene(x, y, label)
        (found,) = model.predict([image])
        assert found["labels"][0] == label
        assert boxes.iou(found["boxes"][:1], target["boxes"])[0, 0] > 0.6


def test_an_image_without_objects_has_losses() -> None:
    model = OneStage(num_classes=3)
    empty = {"boxes": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)}
    losses = model([scene(4, 4, 1)[0]], [empty])
    assert losses["loss_box_reg"].item() == 0
    assert losses["loss_classifier"].item() > 0
