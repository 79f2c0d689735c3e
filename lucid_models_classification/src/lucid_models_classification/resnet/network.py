"""Residual networks for image classification, and as backbones.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv:1512.03385.

Both blocks compute ``relu(F(x) + shortcut(x))``.  The last convolution of ``F`` takes the
shortcut as its ``residual``: :class:`lucid.nn.ConvNormAct` normalizes, adds and rectifies in
one pass over the memory.

Shapes: N images, C channels, H x W pixels; stride s gives ``ceil(H / s)``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

from lucid import Tensor, nn
from lucid_models_classification.checks import check_count, check_images, check_norm

__all__ = ["BasicBlock", "Bottleneck", "ResNet"]

_STAGE_PLANES = (64, 128, 256, 512)

#: ``nn.ConvNormAct`` with the normalization of the network already chosen.
ConvUnit = Callable[..., nn.ConvNormAct]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (He et al. 2015, arXiv:1512.03385, figure 5, left).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    planes : int
        Channels of both convolutions and of the output.
    stride : int, default 1
        Stride of the first convolution and of the shortcut.
    dilation : tuple of int, default (1, 1)
        Dilation of the first and of the second convolution.
    groups, width_per_group : int, default 1 and 64
        Only these values: the block has no bottleneck to widen or to group.
    conv : callable, default lucid.nn.ConvNormAct
        Makes the convolutions.

    Raises
    ------
    ValueError
        If ``groups`` or ``width_per_group`` is not the default.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        width_per_group: int = 64,
        conv: ConvUnit = nn.ConvNormAct,
    ) -> None:
        super().__init__()
        if groups != 1 or width_per_group != 64:
            raise ValueError(
                "BasicBlock has no bottleneck: expected groups=1 and width_per_group=64, "
                f"got groups={groups} and width_per_group={width_per_group}"
            )
        self.conv1 = conv(in_channels, planes, 3, stride=stride, dilation=dilation[0])
        self.conv2 = conv(planes, planes, 3, dilation=dilation[1])
        self.downsample = _projection(in_channels, planes, stride, conv)

    @property
    def last(self) -> nn.ConvNormAct:
        """The convolution whose output is added to the shortcut."""
        return self.conv2

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, planes, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.conv2(self.conv1(x), residual=shortcut)
        return y


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions (He et al. 2015, arXiv:1512.03385, figure 5, right).

    The stride sits on the 3x3 convolution and not on the first 1x1 as in the
    paper ("version 1.5"), which is a little more accurate and what published
    weights are trained with.  ``width_per_group`` other than 64 gives the wide
    ResNet (Zagoruyko and Komodakis 2016, arXiv:1605.07146), ``groups`` other
    than 1 ResNeXt (Xie et al. 2016, arXiv:1611.05431).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    planes : int
        Nominal width; the output has ``4 * planes`` channels and the 3x3
        convolution ``groups * (planes * width_per_group // 64)``.
    stride : int, default 1
        Stride of the 3x3 convolution and of the shortcut.
    dilation : tuple of int, default (1, 1)
        Only the first is used, by the 3x3 convolution; a pair because
        :class:`BasicBlock` has two such convolutions.
    groups : int, default 1
        Groups of the 3x3 convolution.
    width_per_group : int, default 64
        Channels of each group of a block with 64 planes.
    conv : callable, default lucid.nn.ConvNormAct
        Makes the convolutions.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        planes: int,
        stride: int = 1,
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
        width_per_group: int = 64,
        conv: ConvUnit = nn.ConvNormAct,
    ) -> None:
        super().__init__()
        width = groups * (planes * width_per_group // 64)
        out_channels = planes * self.expansion
        self.conv1 = conv(in_channels, width, 1)
        self.conv2 = conv(width, width, 3, stride=stride, dilation=dilation[0], groups=groups)
        self.conv3 = conv(width, out_channels, 1)
        self.downsample = _projection(in_channels, out_channels, stride, conv)

    @property
    def last(self) -> nn.ConvNormAct:
        """The convolution whose output is added to the shortcut."""
        return self.conv3

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in_channels, H, W) to (N, 4 * planes, H', W')."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y: Tensor = self.conv3(self.conv2(self.conv1(x)), residual=shortcut)
        return y


def _projection(
    in_channels: int, out_channels: int, stride: int, conv: ConvUnit
) -> nn.ConvNormAct | None:
    """A 1x1 convolution where input and output differ in shape (the paper's option B)."""
    if stride == 1 and in_channels == out_channels:
        return None
    return conv(in_channels, out_channels, 1, stride=stride, activation=None)


class ResNet(nn.Module):
    """A stem, four stages of residual blocks, global average pooling and a linear classifier.

    Input (N, in_channels, H, W), normalized as in training; output (N, num_classes)
    logits.  Any H and W from 1 pixel up will do, since the pooling is global.

    Parameters
    ----------
    block : type
        :class:`BasicBlock` or :class:`Bottleneck`.
    depths : sequence of int
        Number of blocks of each of the four stages.
    num_classes : int, default 1000
        Number of logits.
    in_channels : int, default 3
        Channels of the image.
    groups : int, default 1
        Groups of the 3x3 convolutions (ResNeXt's cardinality).
    width_per_group : int, default 64
        Width of each group in the first stage.
    norm : {"batch", "frozen"}, default "batch"
        Batch normalization, or the same with statistics and affine parameters
        fixed as buffers, for fine-tuning with few images in a batch.
    norm_eps : float, default 1e-5
        Added to the variance in every normalization.
    zero_init_residual : bool, default False
        Start every block as the identity, by a last normalization whose weight
        is zero (Goyal et al. 2017, arXiv:1706.02677, section 5.1).
    dilate : sequence of three bool, default (False, False, False)
        For each of stages two to four, whether dilation takes the place of its
        stride, for dense prediction; the pre-trained weights stay valid.

    Attributes
    ----------
    stem : lucid.nn.ConvNormAct
        7x7 convolution with stride 2.
    layer1, layer2, layer3, layer4 : lucid.nn.Sequential
        The stages.
    head_prefixes : tuple of str
        Prefixes in the state dict of the parameters whose shape depends on ``num_classes``.
    feature_channels : tuple of int
        Channels of what :meth:`features` gives for each stage.
    feature_strides : tuple of int
        Pixels of the image to one pixel of each of those.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of the kinds above.
    """

    head_prefixes = ("fc.",)

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        groups: int = 1,
        width_per_group: int = 64,
        norm: Literal["batch", "frozen"] = "batch",
        norm_eps: float = 1e-5,
        zero_init_residual: bool = False,
        dilate: Sequence[bool] = (False, False, False),
    ) -> None:
        super().__init__()
        if len(depths) != len(_STAGE_PLANES):
            raise ValueError(f"depths: expected four numbers of blocks, got {tuple(depths)!r}")
        for name, count in (("num_classes", num_classes), ("in_channels", in_channels)):
            check_count(name, count)
        _check_options(norm, norm_eps, zero_init_residual, dilate)

        conv: ConvUnit = partial(nn.ConvNormAct, norm=norm, norm_eps=float(norm_eps))
        self.num_classes = int(num_classes)
        self.in_channels = int(in_channels)
        self.feature_channels = tuple(planes * block.expansion for planes in _STAGE_PLANES)
        self.feature_strides = _strides(dilate)

        self.stem = conv(self.in_channels, 64, 7, stride=2)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        make = partial(block, groups=groups, width_per_group=width_per_group, conv=conv)
        stages = []
        channels, dilation = 64, 1
        for planes, depth, dilated in zip(_STAGE_PLANES, depths, (None, *dilate), strict=True):
            stride = 1 if dilated is None or dilated else 2
            before, dilation = dilation, dilation * (2 if dilated else 1)
            # The convolution that lost its stride still reads the input at the old spacing;
            # everything behind it reads an output twice as dense, hence its dilation.
            blocks = [make(channels, planes, stride, (before, dilation))]
            channels = planes * block.expansion
            blocks += [make(channels, planes, 1, (dilation, dilation)) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, self.num_classes)
        self._initialize(zero_init_residual)

    def _initialize(self, zero_init_residual: bool) -> None:
        """Draw the convolutions as He et al. 2015, arXiv:1502.01852, section 2.2.

        Normalizations begin as the identity and the classifier as every
        ``nn.Linear``, so nothing is left to do for them.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(dict(module.last.named_parameters())["norm.weight"])

    def features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What each of the four stages makes of a batch of images.

        Parameters
        ----------
        x : Tensor
            (N, in_channels, H, W).

        Returns
        -------
        tuple of Tensor
            Four maps (N, feature_channels[i], ceil(H / s), ceil(W / s)) with
            s = feature_strides[i], finest first.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels, or no pixels.
        """
        check_images(x, self.in_channels)
        x = self.maxpool(self.stem(x))
        first = self.layer1(x)
        second = self.layer2(first)
        third = self.layer3(second)
        return first, second, third, self.layer4(third)

    def stages(self) -> tuple[nn.Module, ...]:
        """The stem and the four stages, in the order in which fine-tuning freezes them."""
        return self.stem, self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of images (N, in_channels, H, W)."""
        last = self.features(x)[-1]
        logits: Tensor = self.fc(self.avgpool(last).flatten(1))
        return logits


def _strides(dilate: Sequence[bool]) -> tuple[int, ...]:
    strides = [4]
    for dilated in dilate:
        strides.append(strides[-1] * (1 if dilated else 2))
    return tuple(strides)


def _check_options(norm: object, norm_eps: Any, zero_init_residual: object, dilate: Any) -> None:
    check_norm(norm, norm_eps)
    if not isinstance(zero_init_residual, bool):
        raise TypeError(f"zero_init_residual: expected True or False, got {zero_init_residual!r}")
    if zero_init_residual and norm == "frozen":
        raise ValueError(
            'zero_init_residual=True with norm="frozen" would hold every residual branch at '
            "zero for good; use one or the other"
        )
    is_three_bools = (
        isinstance(dilate, Sequence)
        and len(dilate) == 3
        and all(isinstance(flag, bool) for flag in dilate)
    )
    if not is_three_bools:
        raise ValueError(
            "dilate: expected three booleans, for layer2, layer3 and layer4 in this order, "
            f"got {dilate!r}"
        )
