"""Fused convolution, normalization, residual addition and activation."""

from __future__ import annotations

from collections.abc import Sequence

from lucid.autograd import array_of
from lucid.nn.layers.argument_checks import check_channels
from lucid.nn.layers.conv import Conv2d
from lucid.nn.layers.folding import Foldable
from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d
from lucid.ops.activation import activate, check_activation
from lucid.ops.operands import pair
from lucid.tensor import Tensor

__all__ = ["ConvNormAct"]


class ConvNormAct(Foldable):
    """Convolution, normalization and activation, ``act(norm(conv(x)) + residual)``.

    In training, normalization, residual addition and activation run in one pass.  In inference,
    the normalization is folded into the convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Number of channels of the input and the output.
    kernel_size : int or (int, int)
        Height and width of the kernel.
    stride : int or (int, int), default 1
        Stride of the kernel.
    padding : int or (int, int), optional
        Zero padding of both sides.  Default: ``dilation * (kernel_size - 1) // 2``, which keeps
        the image size at stride 1.
    dilation : int or (int, int), default 1
        Spacing between kernel elements.
    groups : int, default 1
        Number of blocked connections from input to output channels.
    norm : {"batch", "frozen", None}
        :class:`BatchNorm2d`, :class:`FrozenBatchNorm2d` or none.  The convolution has a bias
        only without normalization.
    norm_eps : float, default 1e-5
        Added to the variance for numerical stability.
    norm_momentum : float or None, default 0.1
        Momentum of :class:`BatchNorm2d`.
    activation : str or None
        Activation after the residual addition: "relu", "relu6", "hardsigmoid", "hardswish",
        "sigmoid", "silu", "gelu" or "gelu_tanh".

    Attributes
    ----------
    conv : Conv2d
        The convolution.
    norm : BatchNorm2d, FrozenBatchNorm2d or None
        The normalization; its output, as hooks see it, includes residual and activation.

    Examples
    --------
    >>> import lucid
    >>> unit = lucid.nn.ConvNormAct(3, 8, 3, stride=2)
    >>> unit(lucid.zeros(2, 3, 8, 8)).shape
    (2, 8, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | None = None,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        *,
        norm: str | None = "batch",
        norm_eps: float = 1e-5,
        norm_momentum: float | None = 0.1,
        activation: str | None = "relu",
    ) -> None:
        super().__init__()
        if norm not in ("batch", "frozen", None):
            raise ValueError(f"ConvNormAct: expected norm 'batch', 'frozen' or None, got {norm!r}")
        check_activation("ConvNormAct", activation)
        if padding is None:
            (kh, kw), (dh, dw) = pair(kernel_size, "kernel_size", 1), pair(dilation, "dilation", 1)
            padding = (dh * (kh - 1) // 2, dw * (kw - 1) // 2)
        self.activation = activation
        self.conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias=norm is None,
        )
        layer: BatchNorm2d | FrozenBatchNorm2d | None = None
        if norm == "batch":
            layer = BatchNorm2d(out_channels, norm_eps, norm_momentum)
        elif norm == "frozen":
            layer = FrozenBatchNorm2d(out_channels, norm_eps)
        self.norm = layer

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map (N, in_channels, H, W) to (N, out_channels, H_out, W_out).

        Parameters
        ----------
        x : Tensor
            Shape (N, in_channels, H, W).
        residual : Tensor, optional
            Added before the activation; shape (N, out_channels, H_out, W_out).
        """
        a = array_of(x)
        folded = self._fold(a)
        if folded is not None:
            if not folded.run.fits(a):
                check_channels(self.conv, a, self.conv.in_channels)
            return folded.run(a, None if residual is None else array_of(residual))
        y: Tensor = self.conv(x)
        if self.norm is not None:
            fused: Tensor = self.norm(y, residual=residual, activation=self.activation)
            return fused
        if residual is not None:
            y = y + residual
        return activate(y, self.activation)

    def _to_fold(self) -> tuple[Conv2d, BatchNorm2d | FrozenBatchNorm2d | None, str | None]:
        return self.conv, self.norm, self.activation

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
