"""The two residual blocks of the ResNet family.

Both compute ``relu(F(x) + shortcut(x))``.  The last convolution of ``F`` receives
the shortcut as its ``residual``, so that normalising, adding and rectifying are
one pass over the memory; :class:`lucid.nn.ConvNormAct` knows how.

Shapes: N images, C channels, H x W pixels; stride s gives ``ceil(H / s)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from lucid import Tensor, nn

__all__ = ["BasicBlock", "Bottleneck"]

#: ``nn.ConvNormAct`` with the normalisation of the network already chosen.
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
