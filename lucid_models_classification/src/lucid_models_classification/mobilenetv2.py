"""MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lucid import nn
from lucid.models import register_model
from lucid_models_classification.builder_docs import documented
from lucid_models_classification.checks import check_count
from lucid_models_classification.mobilenet import (
    PARAMETERS,
    BlockConfig,
    MobileNet,
    check_width_mult,
    make_divisible,
)

__all__ = ["MobileNetV2", "mobilenet_v2", "v2_layers"]

# Expansion factor, channels, number of blocks, stride of the first (arXiv:1801.04381, table 2).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(MobileNet):
    """MobileNetV2 (arXiv:1801.04381, table 2).

    Parameters
    ----------
    stem_channels, blocks, last_channels : int, sequence of BlockConfig, int
        See :class:`MobileNet`.
    num_classes : int, default 1000
        Number of logits.
    dropout : float, default 0.2
        Dropout probability before the linear layer.
    norm_eps : float, default 1e-5
        Added to the variance in every normalization.
    norm_momentum : float or None, default 0.1
        Momentum of every batch normalization.
    **options
        ``in_channels``, ``norm`` and ``out_indices`` of :class:`MobileNet`.
    """

    replayable = True

    head_prefixes = ("classifier.1.",)

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        num_classes: int = 1000,
        *,
        dropout: float = 0.2,
        norm_eps: float = 1e-5,
        norm_momentum: float | None = 0.1,
        **options: Any,
    ) -> None:
        check_count("num_classes", num_classes)
        super().__init__(
            stem_channels,
            blocks,
            last_channels,
            nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channels, num_classes)),
            num_classes,
            activation="relu6",
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            **options,
        )


def v2_layers(width_mult: float, round_nearest: int = 8) -> tuple[int, list[BlockConfig], int]:
    """Return the stem's channels, the blocks and the last convolution's channels."""
    stem = channels = make_divisible(32 * width_mult, round_nearest)
    blocks = []
    for expansion, out, depth, stride in _STAGES:
        out_channels = make_divisible(out * width_mult, round_nearest)
        for i in range(depth):
            hidden = channels * expansion
            blocks.append(BlockConfig(3, hidden, out_channels, "relu6", 1 if i else stride))
            channels = out_channels
    return stem, blocks, make_divisible(1280 * max(1.0, width_mult), round_nearest)


_FAMILY = """
MobileNetV2 (`Sandler et al. 2018 <https://arxiv.org/abs/1801.04381>`__): inverted residual blocks
of a 1x1 expansion, a depthwise 3x3 convolution and a linear 1x1 projection, with shortcuts
between the narrow ends.
"""


@register_model
@documented(
    cls="MobileNetV2",
    family=_FAMILY,
    channels="24, 32, 96 and 1280",
    parameters=PARAMETERS.format(
        multiple="``round_nearest``",
        own="round_nearest : int, default 8\n    Divisor of every number of channels.",
        eps="1e-5",
        momentum="0.1",
        indices="(3, 6, 13, 18)",
    ),
    training="The paper trains\nwith RMSProp, momentum 0.9, weight decay 4e-5 and a learning rate "
    "of 0.045, multiplied by\n0.98 each epoch (section 6.1).",
)
def mobilenet_v2(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    round_nearest: int = 8,
    in_channels: int = 3,
    norm: str = "batch",
    norm_eps: float = 1e-5,
    norm_momentum: float | None = 0.1,
    out_indices: Sequence[int] | None = None,
) -> MobileNetV2:
    """MobileNetV2 (arXiv:1801.04381, table 2).

    A sixth of the multiply-adds of ResNet-18, and a third of its parameters.
    """
    check_width_mult(width_mult)
    check_count("round_nearest", round_nearest)
    return MobileNetV2(
        *v2_layers(width_mult, round_nearest),
        num_classes,
        dropout=dropout,
        in_channels=in_channels,
        norm=norm,
        norm_eps=norm_eps,
        norm_momentum=norm_momentum,
        out_indices=out_indices,
    )
