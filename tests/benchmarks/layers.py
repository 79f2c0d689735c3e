"""Single layers with shapes of ResNet-50, and attention of ViT-B/16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Layer:
    """A layer by its name in PyTorch and Lucid, and its input.

    Attributes
    ----------
    kind
        Class of ``nn``.
    arguments, options
        Of its constructor.
    shape
        Of its input, (N, C, H, W).
    trains
        Forward with the gradients of everything after it; otherwise prediction.
    """

    kind: str
    arguments: tuple[int, ...]
    options: dict[str, Any]
    shape: tuple[int, int, int, int]
    trains: bool = False


def conv(
    channels: tuple[int, int],
    size: int,
    batch: int,
    side: int,
    stride: int = 1,
    trains: bool = False,
) -> Layer:
    options = {"stride": stride, "padding": size // 2, "bias": False}
    shape = (batch, channels[0], side, side)
    return Layer("Conv2d", (*channels, size), options, shape, trains)


LAYERS = {
    "conv 7 x 7 / 2, 3 to 64, of 8 x 224 x 224": conv((3, 64), 7, 8, 224, stride=2),
    "conv 1 x 1, 256 to 64, of 8 x 56 x 56": conv((256, 64), 1, 8, 56),
    "conv 3 x 3, 64 to 64, of 8 x 56 x 56": conv((64, 64), 3, 8, 56),
    "conv 3 x 3 / 2, 128 to 128, of 8 x 56 x 56": conv((128, 128), 3, 8, 56, stride=2),
    "conv 3 x 3, 512 to 512, of 1 x 7 x 7": conv((512, 512), 3, 1, 7),
    "conv 3 x 3, 64 to 64, of 8 x 56 x 56, forward and backward": conv(
        (64, 64), 3, 8, 56, trains=True
    ),
    "conv 1 x 1, 256 to 64, of 8 x 56 x 56, forward and backward": conv(
        (256, 64), 1, 8, 56, trains=True
    ),
    "batch norm, 256, of 8 x 56 x 56, forward and backward": Layer(
        "BatchNorm2d", (256,), {}, (8, 256, 56, 56), trains=True
    ),
    "max pool 3 x 3 / 2, 64, of 8 x 112 x 112": Layer(
        "MaxPool2d", (3, 2, 1), {}, (8, 64, 112, 112)
    ),
    "average pool, 2048, of 8 x 7 x 7": Layer("AdaptiveAvgPool2d", (1,), {}, (8, 2048, 7, 7)),
}

#: Queries, keys and values (N, heads, L, E), and whether gradients are computed.
ATTENTION = {
    f"attention of 12 heads, {count} x 197 x 64{suffix}": ((count, 12, 197, 64), trains)
    for count in (1, 8)
    for suffix, trains in (("", False), (", forward and backward", True))
}
