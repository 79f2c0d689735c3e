"""One builder for each registered MobileNet.

Their docstrings share sections, which :func:`_documented` appends.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from lucid.models import register_model
from lucid_models_classification.checks import check_count
from lucid_models_classification.mobilenet.block import BlockConfig, make_divisible
from lucid_models_classification.mobilenet.network import MobileNetV2, MobileNetV3

__all__ = ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "v2_layers", "v3_layers"]

# Expansion factor, channels, number of blocks, stride of the first (Sandler et al. 2018, table 2).
_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)

# Kernel size, expanded channels, channels, squeeze-and-excitation, activation, stride
# (Howard et al. 2019, tables 1 and 2).
_V3_LARGE = (
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
_V3_SMALL = (
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

#: By registered name: the table, and the features between the linear layers.
_V3 = {"mobilenet_v3_large": (_V3_LARGE, 1280), "mobilenet_v3_small": (_V3_SMALL, 1024)}

#: Blocks of the stage at stride 32, which ``reduced_tail`` and ``dilated`` change.
_TAIL = 3

_SHARED_SECTIONS = """
Parameters
----------
num_classes : int, default 1000
    Number of logits.
width_mult : float, default 1.0
    Factor of the channels of every layer, which are then rounded to multiples of
    {multiple}.
dropout : float, default 0.2
    Probability of dropout before the last linear layer.
{own}
in_channels : int, default 3
    Channels of the image.
norm : {{"batch", "frozen"}}, default "batch"
    Batch normalization, or the same with its statistics and affine parameters fixed.
norm_eps : float, default {eps}
    Added to the variance in every normalization.
norm_momentum : float or None, default {momentum}
    Share of a batch in the running statistics; None for the plain average of all batches.
    {momentum_note}
out_indices : sequence of int, optional
    Layers whose outputs ``features`` returns, ascending: 0 is the first convolution, then
    come the blocks and the last convolution, numbered as in torchvision's ``features``.
    Default: the last layer of each stage from stride 4 on, {indices}.

Returns
-------
{cls}
    With freshly drawn weights.  ``model(x)`` maps images (N, in_channels, H, W) to
    logits (N, num_classes); ``model.features(x)`` gives four maps with {channels}
    channels at strides 4, 8, 16 and 32.

Raises
------
TypeError, ValueError
    If an argument is not of the kinds above.

Examples
--------
>>> import lucid
>>> from lucid.models import {name}
>>> model = {name}(num_classes=10).eval()
>>> x = lucid.random.randn(1, 3, 224, 224)
>>> with lucid.no_grad():
...     logits = model(x)
>>> logits.shape
(1, 10)

Training Notes
--------------
No pretrained weights come with this package.  The network and its initial weights are
those of torchvision's model of the same name, whose checkpoints ``lucid.load_model`` and
``lucid classify --weights`` open.  {training}
"""

_V3_OWN = """reduced_tail : bool, default False
    Halve the channels of the last stage and of the layers behind it (Howard et al. 2019,
    section 6.4).
dilated : bool, default False
    Replace the stride of the last stage by dilation, for dense prediction: its stride is
    then 16."""

_V3_TRAINING = (
    "The paper trains\nwith RMSProp, momentum 0.9 and weight decay 1e-5, and an exponential "
    "moving average of the\nweights (section 6.1.1)."
)

Builder = TypeVar("Builder", bound=Callable[..., Any])


def _documented(**words: str) -> Callable[[Builder], Builder]:
    """Append the sections that all builders share to the builder's own introduction."""

    def document(builder: Builder) -> Builder:
        sections = _SHARED_SECTIONS.format(name=builder.__name__, **words)
        builder.__doc__ = f"{inspect.getdoc(builder)}\n{sections}"
        return builder

    return document


@register_model
@_documented(
    cls="MobileNetV2",
    multiple="``round_nearest``",
    own="round_nearest : int, default 8\n    Numbers of channels are multiples of it.",
    eps="1e-5",
    momentum="0.1",
    momentum_note="",
    indices="(3, 6, 13, 18)",
    channels="24, 32, 96 and 1280",
    training=(
        "The paper trains\nwith RMSProp, momentum 0.9, weight decay 4e-5 and a learning rate of "
        "0.045 that decays by\n0.98 each epoch (section 6.1)."
    ),
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
    """MobileNetV2, a small network of inverted residual blocks.

    Blocks expand their input by a 1x1 convolution, filter each channel by itself in a
    depthwise 3x3 convolution, and project the result to few channels without an activation;
    the shortcut connects the narrow ends (`Sandler et al. 2018
    <https://arxiv.org/abs/1801.04381>`__, section 3 and table 2).  A sixth of ResNet-18's
    arithmetic and a third of its parameters.
    """
    _check_width(width_mult)
    check_count("round_nearest", round_nearest)
    stem, blocks, last = v2_layers(width_mult, round_nearest)
    return MobileNetV2(
        stem,
        blocks,
        last,
        num_classes,
        dropout=dropout,
        in_channels=in_channels,
        norm=norm,
        norm_eps=norm_eps,
        norm_momentum=norm_momentum,
        out_indices=out_indices,
    )


_document_v3 = {
    "cls": "MobileNetV3",
    "multiple": "8",
    "own": _V3_OWN,
    "eps": "1e-3",
    "momentum": "0.01",
    "momentum_note": ("The default needs a thousand steps; give 0.1 for a short training."),
    "training": _V3_TRAINING,
}


@register_model
@_documented(**_document_v3, indices="(3, 6, 12, 16)", channels="24, 40, 112 and 960")
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
    """MobileNetV3-Large, for devices with more resources.

    Fifteen blocks, six of them at stride 16 (arXiv:1905.02244, table 1).  The usual small
    backbone of detectors.

    Inverted residual blocks of MobileNetV2 with squeeze-and-excitation and hardswish, found
    by architecture search, and a classifier whose last convolution comes after the pooling
    (`Howard et al. 2019 <https://arxiv.org/abs/1905.02244>`__, section 5).
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
@_documented(**_document_v3, indices="(1, 3, 8, 12)", channels="16, 24, 48 and 576")
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
    """MobileNetV3-Small, for devices with few resources.

    Eleven blocks, and a quarter of the arithmetic of MobileNetV3-Large (arXiv:1905.02244,
    table 2).

    Inverted residual blocks of MobileNetV2 with squeeze-and-excitation and hardswish, found
    by architecture search, and a classifier whose last convolution comes after the pooling
    (`Howard et al. 2019 <https://arxiv.org/abs/1905.02244>`__, section 5).
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
    _check_width(width_mult)
    for argument, flag in (("reduced_tail", reduced_tail), ("dilated", dilated)):
        if not isinstance(flag, bool):
            raise TypeError(f"{argument}: expected True or False, got {flag!r}")
    stem, blocks, last, hidden = v3_layers(name, width_mult, reduced_tail, dilated)
    return MobileNetV3(stem, blocks, last, hidden, num_classes, **options)


def v2_layers(width_mult: float, round_nearest: int = 8) -> tuple[int, list[BlockConfig], int]:
    """Compute the layers of MobileNetV2.

    Parameters
    ----------
    width_mult, round_nearest : float, int
        See :func:`mobilenet_v2`.

    Returns
    -------
    tuple of (int, list of BlockConfig, int)
        Channels of the first convolution, blocks, channels of the last convolution.
    """
    stem = channels = make_divisible(32 * width_mult, round_nearest)
    blocks = []
    for expansion, out, depth, stride in _V2:
        out_channels = make_divisible(out * width_mult, round_nearest)
        for i in range(depth):
            hidden = channels * expansion
            blocks.append(BlockConfig(3, hidden, out_channels, "relu6", 1 if i else stride))
            channels = out_channels
    return stem, blocks, make_divisible(1280 * max(1.0, width_mult), round_nearest)


def v3_layers(
    name: str, width_mult: float, reduced_tail: bool = False, dilated: bool = False
) -> tuple[int, list[BlockConfig], int, int]:
    """Compute the layers of a MobileNetV3.

    Parameters
    ----------
    name : {"mobilenet_v3_large", "mobilenet_v3_small"}
        Which one.
    width_mult, reduced_tail, dilated : float, bool, bool
        See :func:`mobilenet_v3_large`.

    Returns
    -------
    tuple of (int, list of BlockConfig, int, int)
        Channels of the first convolution, blocks, channels of the last convolution, features
        between the linear layers.
    """

    def scaled(channels: int) -> int:
        return make_divisible(channels * width_mult)

    table, hidden_features = _V3[name]
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


def _check_width(width_mult: Any) -> None:
    is_number = isinstance(width_mult, int | float) and not isinstance(width_mult, bool)
    if not is_number or not 0 < width_mult < float("inf"):
        raise ValueError(f"width_mult: expected a finite number above 0, got {width_mult!r}")
