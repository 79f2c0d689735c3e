"""Inverted residual blocks and the base class of MobileNetV2 and MobileNetV3.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381; Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244.

Shapes: N images, C channels, H x W pixels; stride s gives ``ceil(H / s)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from operator import mul
from typing import Any, Literal

from lucid import Tensor, nn
from lucid_models_classification.checks import check_count, check_images, check_norm

__all__ = [
    "PARAMETERS",
    "BlockConfig",
    "InvertedResidual",
    "MobileNet",
    "check_width_mult",
    "make_divisible",
    "stage_bounds",
]

#: ``nn.ConvNormAct`` with the network's normalization.
ConvLayer = Callable[..., nn.ConvNormAct]

#: Docstring of the parameters that all MobileNets share.
PARAMETERS = """
width_mult : float, default 1.0
    Multiplier of the channels of every layer, rounded to multiples of {multiple}.
dropout : float, default 0.2
    Dropout probability before the last linear layer.
{own}
in_channels : int, default 3
    Channels of the image.
norm : {{"batch", "frozen"}}, default "batch"
    Batch normalization, or frozen batch normalization with fixed statistics and affine
    parameters.
norm_eps : float, default {eps}
    Added to the variance in every normalization.
norm_momentum : float or None, default {momentum}
    Weight of a batch in the running statistics; None for a cumulative average.
out_indices : sequence of int, optional
    Indices of the layers that ``features`` returns, ascending, as in torchvision's
    ``features``: 0 is the stem, then the blocks and the last convolution.  Default: the last
    layer of each stage from stride 4 on, {indices}.
"""


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a number of channels to a multiple of ``divisor``, at most 10 % down.

    Parameters
    ----------
    value : float
        Number of channels, usually scaled by ``width_mult``.
    divisor : int, default 8
        Divisor of the result, and its minimum.

    Returns
    -------
    int
        The nearest multiple, or the next one up if that is less than ``0.9 * value``.

    Examples
    --------
    >>> from lucid_models_classification import make_divisible
    >>> make_divisible(33), make_divisible(11), make_divisible(2)
    (32, 16, 8)
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass(frozen=True)
class BlockConfig:
    """Configuration of an inverted residual block (arXiv:1905.02244, tables 1 and 2).

    Attributes
    ----------
    kernel_size : int
        Kernel size of the depthwise convolution.
    expanded_channels : int
        Channels of the depthwise convolution.
    out_channels : int
        Channels of the output.
    activation : str
        Activation of the first two convolutions, as for :class:`lucid.nn.ConvNormAct`.
    stride : int, default 1
        Stride of the depthwise convolution; a block with stride 2 begins a stage.
    squeeze : bool, default False
        Whether squeeze-and-excitation follows the depthwise convolution.
    dilation : int, default 1
        Dilation of the depthwise convolution; above 1 it replaces the stride.
    """

    kernel_size: int
    expanded_channels: int
    out_channels: int
    activation: str
    stride: int = 1
    squeeze: bool = False
    dilation: int = 1

    @property
    def effective_stride(self) -> int:
        """Stride of the output: 1 if dilated."""
        return 1 if self.dilation > 1 else self.stride


class InvertedResidual(nn.Module):
    """Inverted residual block: 1x1 expansion, depthwise convolution, linear 1x1 projection.

    The input is added if the output has the same shape (arXiv:1801.04381, section 3.3;
    with squeeze-and-excitation arXiv:1905.02244, figure 4).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    config : BlockConfig
        Configuration of the block.
    conv : callable, default lucid.nn.ConvNormAct
        Builds the convolutions.

    Attributes
    ----------
    expand : lucid.nn.ConvNormAct or None
        None if ``expanded_channels`` equals ``in_channels``.
    depthwise, project : lucid.nn.ConvNormAct
        The other convolutions.
    se : lucid.nn.SqueezeExcitation or None
        None without ``squeeze``.
    has_shortcut : bool
        Whether the input is added.
    """

    replayable = "part"

    def __init__(
        self, in_channels: int, config: BlockConfig, conv: ConvLayer = nn.ConvNormAct
    ) -> None:
        super().__init__()
        hidden = config.expanded_channels
        conv_act = partial(conv, activation=config.activation)
        self.has_shortcut = config.stride == 1 and in_channels == config.out_channels
        self.expand = None if hidden == in_channels else conv_act(in_channels, hidden, 1)
        self.depthwise = conv_act(
            hidden,
            hidden,
            config.kernel_size,
            stride=config.effective_stride,
            dilation=config.dilation,
            groups=hidden,
        )
        self.se = None
        if config.squeeze:
            self.se = nn.SqueezeExcitation(hidden, make_divisible(hidden // 4))
        self.project = conv(hidden, config.out_channels, 1, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H', W')."""
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.se is not None:
            y = self.se(y)
        projected: Tensor = self.project(y, residual=x if self.has_shortcut else None)
        return projected


class MobileNet(nn.Module):
    """Base class: stem, inverted residual blocks, 1x1 convolution, pooling and classifier.

    Maps images (N, in_channels, H, W) of at least one pixel to logits (N, num_classes).

    Parameters
    ----------
    stem_channels : int
        Channels of the first convolution, 3x3 with stride 2.
    blocks : sequence of BlockConfig
        The inverted residual blocks.
    last_channels : int
        Channels of the last convolution, 1x1.
    classifier : lucid.nn.Module
        Maps (N, last_channels) to logits (N, num_classes).
    num_classes : int
        Number of logits.
    activation : str
        Activation of the first and of the last convolution.
    norm_eps : float
        Added to the variance in every normalization.
    norm_momentum : float or None
        Momentum of every batch normalization.
    in_channels : int, default 3
        Channels of the image.
    norm : {"batch", "frozen"}, default "batch"
        Batch normalization, or frozen batch normalization.
    out_indices : sequence of int, optional
        Indices of the layers that :meth:`features` returns, ascending, as in torchvision's
        ``features``: 0 is the stem, then the blocks and the last convolution.  Default: the
        last layer of each stage from stride 4 on.

    Attributes
    ----------
    layers : lucid.nn.Sequential
        The stages, each a ``Sequential``: the stem with the blocks at stride 2, the blocks at
        each further stride, the last convolution.
    classifier : lucid.nn.Module
        As given.
    head_prefixes : tuple of str
        State-dict prefixes of the parameters whose shape depends on ``num_classes``.
    feature_channels : tuple of int
        Channels of each map of :meth:`features`.
    feature_strides : tuple of int
        Stride of each map, in pixels of the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid.
    """

    head_prefixes: tuple[str, ...]

    def __init__(
        self,
        stem_channels: int,
        blocks: Sequence[BlockConfig],
        last_channels: int,
        classifier: nn.Module,
        num_classes: int,
        *,
        activation: str,
        norm_eps: float,
        norm_momentum: float | None,
        in_channels: int = 3,
        norm: Literal["batch", "frozen"] = "batch",
        out_indices: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            check_count(name, count)
        check_norm(norm, norm_eps)
        _check_momentum(norm_momentum)
        conv = partial(
            nn.ConvNormAct, norm=norm, norm_eps=float(norm_eps), norm_momentum=norm_momentum
        )
        self.num_classes = int(num_classes)
        self.in_channels = int(in_channels)
        channels = [stem_channels, *(block.out_channels for block in blocks), last_channels]
        layers = [
            conv(self.in_channels, stem_channels, 3, stride=2, activation=activation),
            *(InvertedResidual(*each, conv) for each in zip(channels, blocks, strict=False)),
            conv(channels[-2], last_channels, 1, activation=activation),
        ]
        self._bounds = stage_bounds(blocks)
        stages = (nn.Sequential(*layers[start:stop]) for start, stop in pairwise(self._bounds))
        self.layers = nn.Sequential(*stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = classifier

        strides = [*accumulate((block.effective_stride for block in blocks), mul, initial=2)]
        strides.append(strides[-1])
        if out_indices is None:  # the last convolution replaces the last block's map
            ends = (*(start - 1 for start in self._bounds[1:-2]), len(layers) - 1)
            out_indices = [end for end in ends if strides[end] >= 4]
        self.out_indices = _check_indices(out_indices, len(layers))
        self.feature_channels = tuple(channels[i] for i in self.out_indices)
        self.feature_strides = tuple(strides[i] for i in self.out_indices)
        self._initialize()

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute the feature maps of the layers ``out_indices``.

        Parameters
        ----------
        x : Tensor
            Images (N, in_channels, H, W).

        Returns
        -------
        tuple of Tensor
            Maps (N, feature_channels[i], ceil(H / s), ceil(W / s)) with
            s = feature_strides[i], finest first.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels, or no pixels.
        """
        check_images(x, self.in_channels)
        maps: list[Tensor] = []
        for stage, (start, stop) in zip(self.layers, pairwise(self._bounds), strict=True):
            inner = [i for i in self.out_indices if start <= i < stop - 1]
            if not inner:
                x = stage(x)
            else:
                for i, layer in enumerate(stage, start):
                    x = layer(x)
                    if i in inner:
                        maps.append(x)
                    if len(maps) == len(self.out_indices):
                        return tuple(maps)
            if stop - 1 in self.out_indices:
                maps.append(x)
            if len(maps) == len(self.out_indices):
                break
        return tuple(maps)

    def stages(self) -> tuple[nn.Module, ...]:
        """List the stages in the order in which fine-tuning freezes them."""
        return tuple(self.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits (N, num_classes) of images (N, in_channels, H, W)."""
        check_images(x, self.in_channels)
        logits: Tensor = self.classifier(self.avgpool(self.layers(x)).flatten(1))
        return logits


def stage_bounds(blocks: Sequence[BlockConfig]) -> tuple[int, ...]:
    """Return the index of the first layer of each stage, and the number of layers.

    Stages begin with the stem (layer 0), each block of stride 2 and the last convolution.
    """
    strided = (i for i, block in enumerate(blocks, 1) if block.stride > 1)
    return (0, *strided, len(blocks) + 1, len(blocks) + 2)


def check_width_mult(width_mult: Any) -> None:
    """Raise ``ValueError`` unless ``width_mult`` is a finite positive number."""
    is_number = isinstance(width_mult, int | float) and not isinstance(width_mult, bool)
    if not is_number or not 0 < width_mult < float("inf"):
        raise ValueError(f"width_mult: expected a finite number above 0, got {width_mult!r}")


def _check_momentum(momentum: Any) -> None:
    is_number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
    if momentum is not None and not (is_number and 0 <= momentum <= 1):
        raise ValueError(f"norm_momentum: expected a number from 0 to 1, or None, got {momentum!r}")


def _check_indices(indices: Any, count: int) -> tuple[int, ...]:
    is_valid = (
        isinstance(indices, Sequence)
        and len(indices) > 0
        and all(type(i) is int and 0 <= i < count for i in indices)
        and all(a < b for a, b in pairwise(indices))
    )
    if not is_valid:
        raise ValueError(
            f"out_indices: expected ascending indices of layers, from 0 to {count - 1}, "
            f"got {indices!r}"
        )
    return tuple(indices)
