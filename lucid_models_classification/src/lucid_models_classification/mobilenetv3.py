"""MobileNetV3-Large and MobileNetV3-Small (Howard et al. 2019, arXiv:1905.02244)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lucid import nn
from lucid.models import register_model
from lucid_models_classification.builder_docs import Builder, documented
from lucid_models_classification.checks import check_count
from lucid_models_classification.mobilenet import (
    PARAMETERS,
    BlockConfig,
    MobileNet,
    check_width_mult,
    make_divisible,
)

__all__ = ["MobileNetV3", "mobilenet_v3_large", "mobilenet_v3_small", "v3_layers"]

# Kernel size, expanded channels, channels, squeeze-and-excitation, activation, stride
# (arXiv:1905.02244, tables 1 and 2).
_LARGE = (
    (3, 16, 16, False, "relu", 1),
    (3, 64, 24, False, "relu", 2),
    (3, 72, 24, False, "relu", 1),
    (5, 72, 40, True, "relu", 2),
    (5, 120, 40, True, "relu", 1),
    (5, 120, 40, True, "relu", 1),
    (3, 240, 80, False, "hardswish", 2),
    (3, 200, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 184, 80, False, "hardswish", 1),
    (3, 480, 112, True, "hardswish", 1),
    (3, 672, 112, True, "hardswish", 1),
    (5, 672, 160, True, "hardswish", 2),
    (5, 960, 160, True, "hardswish", 1),
    (5, 960, 160, True, "hardswish", 1),
)
_SMALL = (
    (3, 16, 16, True, "relu", 2),
    (3, 72, 24, False, "relu", 2),
    (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hardswish", 2),
    (5, 240, 40, True, "hardswish", 1),
    (5, 240, 40, True, "hardswish", 1),
    (5, 120, 48, True, "hardswish", 1),
    (5, 144, 48, True, "hardswish", 1),
    (5, 288, 96, True, "hardswish", 2),
    (5, 576, 96, True, "hardswish", 1),
    (5, 576, 96, True, "hardswish", 1),
)

#: Blocks and hidden features of the classifier, by registered name.
_ARCHITECTURES = {"mobilenet_v3_large": (_LARGE, 1280), "mobilenet_v3_small": (_SMALL, 1024)}

#: Blocks of the last stage, which ``reduced_tail`` and ``dilated`` change.
_TAIL = 3


class MobileNetV3(MobileNet):
    """MobileNetV3 (arXiv:1905.02244, tables 1 and 2).

    Parameters
    ----------
    stem_channels, blocks, last_channels : int, sequence of BlockConfig, int
        See :class:`MobileNet`.
    hidden_features : int
        Features between the two linear layers of the classifier.
    num_classes : int, default 1000
        Number of logits.
    dropout : float, default 0.2
        Dropout probability before the last linear layer.
    norm_eps : float, default 1e-3
        Added to the variance in every normalization.
    norm_momentum : float or None, default 0.01
        Momentum of every batch normalization.
    **options
        ``in_channels``, ``norm`` and ``out_indices`` of :class:`MobileNet`.
    """

    replayable = True

    head_prefixes = ("classifier.3.",)

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        hidden_features: int,
        num_classes: int = 1000,
        *,
        dropout: float = 0.2,
        norm_eps: float = 1e-3,
        norm_momentum: float | None = 0.01,
        **options: Any,
    ) -> None:
        check_count("num_classes", num_classes)
        super().__init__(
            stem_channels,
            blocks,
            last_channels,
            nn.Sequential(
                nn.Linear(last_channels, hidden_features),
                nn.Hardswish(),
                nn.Dropout(dropout),
                nn.Linear(hidden_features, num_classes),
            ),
            num_classes,
            activation="hardswish",
            norm_eps=norm_eps,
            norm_momentum=norm_momentum,
            **options,
        )


def v3_layers(
    name: str, width_mult: float, reduced_tail: bool = False, dilated: bool = False
) -> tuple[int, list[BlockConfig], int, int]:
    """Return the stem's channels, blocks, the last convolution's channels and hidden features."""

    def scaled(channels: int) -> int:
        return make_divisible(channels * width_mult)

    table, hidden_features = _ARCHITECTURES[name]
    divisor = 2 if reduced_tail else 1
    first_of_tail = len(table) - _TAIL
    blocks = []
    for i, (kernel, hidden, out, squeeze, activation, stride) in enumerate(table):
        if i > first_of_tail:
            hidden //= divisor
        if i >= first_of_tail:
            out //= divisor
        dilation = 2 if dilated and i >= first_of_tail else 1
        blocks.append(
            BlockConfig(kernel, scaled(hidden), scaled(out), activation, stride, squeeze, dilation)
        )
    return scaled(16), blocks, 6 * blocks[-1].out_channels, scaled(hidden_features // divisor)


_OWN_PARAMETERS = """reduced_tail : bool, default False
    Halve the channels of the last stage and of the layers after it (Howard et al. 2019,
    section 6.4).
dilated : bool, default False
    Replace the stride of the last stage by dilation: its stride is then 16."""


_FAMILY = """
MobileNetV3 (`Howard et al. 2019 <https://arxiv.org/abs/1905.02244>`__): inverted residual blocks
with squeeze-and-excitation and hardswish, found by architecture search, and a classifier with a
hidden layer after the pooling (section 5).
"""


def _documented(channels: str, indices: str) -> Callable[[Builder], Builder]:
    return documented(
        cls="MobileNetV3",
        family=_FAMILY,
        channels=channels,
        parameters=PARAMETERS.format(
            multiple="8", own=_OWN_PARAMETERS, eps="1e-3", momentum="0.01", indices=indices
        ),
        training="The paper trains\nwith RMSProp, momentum 0.9, weight decay 1e-5 and an "
        "exponential moving average of the\nweights (section 6.1.1).  In a training of fewer "
        "than a thousand steps, pass\n``norm_momentum=0.1``.",
    )


@register_model
@_documented("24, 40, 112 and 960", "(3, 6, 12, 16)")
def mobilenet_v3_large(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    reduced_tail: bool = False,
    dilated: bool = False,
    in_channels: int = 3,
    norm: str = "batch",
    norm_eps: float = 1e-3,
    norm_momentum: float | None = 0.01,
    out_indices: Sequence[int] | None = None,
) -> MobileNetV3:
    """MobileNetV3-Large: fifteen blocks (arXiv:1905.02244, table 1).

    The usual small backbone of detectors.
    """
    return _mobilenet_v3(
        "mobilenet_v3_large",
        num_classes,
        width_mult,
        reduced_tail,
        dilated,
        dropout=dropout,
        in_channels=in_channels,
        norm=norm,
        norm_eps=norm_eps,
        norm_momentum=norm_momentum,
        out_indices=out_indices,
    )


@register_model
@_documented("16, 24, 48 and 576", "(1, 3, 8, 12)")
def mobilenet_v3_small(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    dropout: float = 0.2,
    reduced_tail: bool = False,
    dilated: bool = False,
    in_channels: int = 3,
    norm: str = "batch",
    norm_eps: float = 1e-3,
    norm_momentum: float | None = 0.01,
    out_indices: Sequence[int] | None = None,
) -> MobileNetV3:
    """MobileNetV3-Small: eleven blocks (arXiv:1905.02244, table 2).

    A quarter of the multiply-adds of MobileNetV3-Large.
    """
    return _mobilenet_v3(
        "mobilenet_v3_small",
        num_classes,
        width_mult,
        reduced_tail,
        dilated,
        dropout=dropout,
        in_channels=in_channels,
        norm=norm,
        norm_eps=norm_eps,
        norm_momentum=norm_momentum,
        out_indices=out_indices,
    )


def _mobilenet_v3(
    name: str,
    num_classes: int,
    width_mult: float,
    reduced_tail: bool,
    dilated: bool,
    **options: Any,
) -> MobileNetV3:
    check_width_mult(width_mult)
    for argument, flag in (("reduced_tail", reduced_tail), ("dilated", dilated)):
        if not isinstance(flag, bool):
            raise TypeError(f"{argument}: expected True or False, got {flag!r}")
    layers = v3_layers(name, width_mult, reduced_tail, dilated)
    return MobileNetV3(*layers, num_classes, **options)
