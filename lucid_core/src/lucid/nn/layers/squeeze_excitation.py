"""Squeeze-and-excitation: channel attention computed from channel means."""

from __future__ import annotations

from lucid import kernels
from lucid.autograd import array_of, is_grad_enabled
from lucid.autograd.variable import new_tensor
from lucid.nn import functional as F
from lucid.nn.layers.argument_checks import check_channels, check_positive
from lucid.nn.layers.conv import Conv2d
from lucid.nn.layers.folding import Array, is_unmodified
from lucid.nn.module import Module
from lucid.ops.activation import activate, check_activation
from lucid.tensor import Tensor

__all__ = ["SqueezeExcitation"]


class SqueezeExcitation(Module):
    """Squeeze-and-excitation, ``x * scale_act(fc2(act(fc1(mean(x)))))``.

    The mean is over height and width: each channel of an image is scaled by one factor.
    Parameters have torchvision's names.

    Parameters
    ----------
    channels : int
        Number of channels of the input and the output.
    squeeze_channels : int
        Number of channels between ``fc1`` and ``fc2``.
    activation : str or None, default "relu"
        Activation after ``fc1``; names as for :class:`ConvNormAct`.
    scale_activation : str or None, default "hardsigmoid"
        Activation after ``fc2``: ``"hardsigmoid"`` in MobileNetV3, ``"sigmoid"`` in the paper
        and in EfficientNet.

    Attributes
    ----------
    fc1, fc2 : Conv2d
        1x1 convolutions with bias.

    References
    ----------
    Hu, Shen and Sun, *Squeeze-and-Excitation Networks*, 2018, section 3.

    Examples
    --------
    >>> import lucid
    >>> layer = lucid.nn.SqueezeExcitation(16, 8)
    >>> layer(lucid.zeros(2, 16, 7, 7)).shape
    (2, 16, 7, 7)
    """

    def __init__(
        self,
        channels: int,
        squeeze_channels: int,
        activation: str | None = "relu",
        scale_activation: str | None = "hardsigmoid",
    ) -> None:
        super().__init__()
        check_positive("SqueezeExcitation", channels=channels, squeeze_channels=squeeze_channels)
        check_activation("SqueezeExcitation", activation)
        check_activation("SqueezeExcitation", scale_activation, "scale_activation")
        self.activation = activation
        self.scale_activation = scale_activation
        self.fc1 = Conv2d(channels, squeeze_channels, 1)
        self.fc2 = Conv2d(squeeze_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        check_channels(self, x, self.fc1.in_channels)
        a = array_of(x)
        if not is_grad_enabled() and a.size and self._is_unmodified(a):
            first = self._product(self.fc1, self.activation)
            second = self._product(self.fc2, self.scale_activation)
            return new_tensor(kernels.squeeze_excitation(a, first, second))
        hidden = activate(self.fc1(F.adaptive_avg_pool2d(x, 1)), self.activation)
        return x * activate(self.fc2(hidden), self.scale_activation)

    def _is_unmodified(self, a: Array) -> bool:
        """Whether both layers are plain matrix products in the input's dtype."""
        return all(
            type(layer) is Conv2d
            and is_unmodified(layer)
            and layer.weight.dtype == a.dtype
            and layer.kernel_size == (1, 1)
            and layer.padding == (0, 0)
            and layer.groups == 1
            for layer in (self.fc1, self.fc2)
        )

    @staticmethod
    def _product(layer: Conv2d, activation: str | None) -> tuple[Array, Array | None, str | None]:
        """Return a 1x1 convolution as a linear layer, which is faster on images of one pixel."""
        weight = layer.weight._data
        bias = None if layer.bias is None else layer.bias._data
        return weight.reshape(weight.shape[:2]), bias, activation

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}, scale_activation={self.scale_activation!r}"
