"""The inverted residual block of MobileNetV2 and MobileNetV3.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks",
arXiv:1801.04381; Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lucid import Tensor, nn

__all__ = ["BlockConfig", "InvertedResidual", "make_divisible"]

#: ``nn.ConvNormAct`` with the normalization of the network already chosen.
ConvUnit = Callable[..., nn.ConvNormAct]


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round a number of channels to a multiple of ``divisor``, by no more than 10 % down.

    Parameters
    ----------
    value : float
        Number of channels, as a rule scaled by ``width_mult``.
    divisor : int, default 8
        The result is a multiple of it, and at least as large.

    Returns
    -------
    int
        The nearest multiple, or the next larger one if that is less than ``0.9 * value``.

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
    """Arguments of one inverted residual block (Howard et al. 2019, tables 1 and 2).

    Attributes
    ----------
    kernel_size : int
        Of the depthwise convolution.
    expanded_channels : int
        Channels of the depthwise convolution.
    out_channels : int
        Channels of the output.
    activation : str
        Activation of the first two convolutions, by its name in
        :class:`lucid.nn.ConvNormAct`.
    stride : int, default 1
        Stride of the depthwise convolution; a block with stride 2 begins a stage.
    squeeze : bool, default False
        Whether the depthwise convolution is followed by squeeze-and-excitation.
    dilation : int, default 1
        Dilation of the depthwise convolution; above 1 it takes the place of the stride.
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
        """Stride of the output."""
        return 1 if self.dilation > 1 else self.stride


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise convolution, squeeze-and-excitation, linear 1x1 projection.

    The input is added to the output if both have the same shape (Sandler et al. 2018,
    arXiv:1801.04381, section 3.3; with squeeze-and-excitation Howard et al. 2019,
    arXiv:1905.02244, figure 4).

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    config : BlockConfig
        Everything else about the block.
    conv : callable, default lucid.nn.ConvNormAct
        Makes the convolutions.

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

    def __init__(
        self, in_channels: int, config: BlockConfig, conv: ConvUnit = nn.ConvNormAct
    ) -> None:
        super().__init__()
        hidden, stride = config.expanded_channels, config.effective_stride
        conv_act = partial(conv, activation=config.activation)
        self.has_shortcut = config.stride == 1 and in_channels == config.out_channels
        self.expand = None if hidden == in_channels else conv_act(in_channels, hidden, 1)
        self.depthwise = conv_act(
            hidden,
            hidden,
            config.kernel_size,
            stride=stride,
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
