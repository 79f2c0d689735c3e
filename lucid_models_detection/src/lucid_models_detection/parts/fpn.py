"""Feature pyramid network.

Lin et al. 2017, "Feature Pyramid Networks for Object Detection" (arXiv:1612.03144).

C2-C5 are the stages of a backbone at strides 4 to 32, P2-P5 the levels of the pyramid at the
same strides, P6 and P7 extra levels at strides 64 and 128.
"""

from __future__ import annotations

from collections.abc import Sequence

from lucid import Tensor, kernels, nn
from lucid.autograd import array_of, record
from lucid.nn import functional as F

__all__ = ["ExtraFPNBlock", "FeaturePyramidNetwork", "LastLevelMaxPool", "LastLevelP6P7"]


class ExtraFPNBlock(nn.Module):
    """Base class of blocks that add coarser levels to a feature pyramid.

    Attributes
    ----------
    num_levels : int
        Number of added levels, each at half the resolution of the one before.
    """

    num_levels: int

    def forward(self, levels: Sequence[Tensor], stages: Sequence[Tensor]) -> list[Tensor]:
        """Compute the added levels.

        Parameters
        ----------
        levels : sequence of Tensor
            Levels of the pyramid (N, out_channels, H_i, W_i), finest first.
        stages : sequence of Tensor
            Stages of the backbone, finest first.

        Returns
        -------
        list of Tensor
            ``num_levels`` maps, finest first.
        """
        raise NotImplementedError(f"{type(self).__name__} does not implement forward")


class LastLevelMaxPool(ExtraFPNBlock):
    """Compute P6 by max pooling of P5 with kernel 1 and stride 2, as in Faster R-CNN.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import LastLevelMaxPool
    >>> (p6,) = LastLevelMaxPool()([lucid.zeros(1, 256, 7, 7)], [])
    >>> p6.shape
    (1, 256, 4, 4)
    """

    replayable = "part"

    num_levels = 1

    def forward(self, levels: Sequence[Tensor], stages: Sequence[Tensor]) -> list[Tensor]:
        """Compute P6 (N, out_channels, ceil(H / 2), ceil(W / 2)) from the last level."""
        return [F.max_pool2d(levels[-1], 1, stride=2)]


class LastLevelP6P7(ExtraFPNBlock):
    """Compute P6 and P7 by 3x3 convolutions with stride 2, as in RetinaNet.

    P6 is computed from C5 or P5, P7 from ``relu(P6)`` (Lin et al. 2017, arXiv:1708.02002,
    section 4).

    Parameters
    ----------
    in_channels : int
        Channels of C5, or of P5.
    out_channels : int, default 256
        Channels of P6 and P7.
    use_p5 : bool, optional
        Compute P6 from P5 instead of C5.  Default: whether ``in_channels`` equals
        ``out_channels``, as in torchvision.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import FeaturePyramidNetwork, LastLevelP6P7
    >>> fpn = FeaturePyramidNetwork((8, 16), 4, extra_blocks=LastLevelP6P7(16, 4))
    >>> [level.shape for level in fpn([lucid.zeros(1, 8, 16, 16), lucid.zeros(1, 16, 8, 8)])]
    [(1, 4, 16, 16), (1, 4, 8, 8), (1, 4, 4, 4), (1, 4, 2, 2)]
    """

    replayable = "part"

    num_levels = 2

    def __init__(
        self, in_channels: int, out_channels: int = 256, use_p5: bool | None = None
    ) -> None:
        super().__init__()
        self.use_p5 = in_channels == out_channels if use_p5 is None else use_p5
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, stride=2, padding=1)
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_uniform_(parameter, a=1)
            else:
                nn.init.zeros_(parameter)

    def forward(self, levels: Sequence[Tensor], stages: Sequence[Tensor]) -> list[Tensor]:
        """Compute P6 and P7 from the last level or the last stage."""
        p6 = self.p6(levels[-1] if self.use_p5 else stages[-1])
        return [p6, self.p7(F.relu(p6))]


class FeaturePyramidNetwork(nn.Module):
    """Feature pyramid: lateral connections, a top-down pathway and, optionally, extra levels.

    Parameters
    ----------
    in_channels : sequence of int
        Channels of the backbone's stages, finest first.
    out_channels : int, default 256
        Channels of every level.
    extra_blocks : ExtraFPNBlock, optional
        Adds coarser levels, such as :class:`LastLevelMaxPool` or :class:`LastLevelP6P7`.

    Raises
    ------
    TypeError
        If ``extra_blocks`` is not an :class:`ExtraFPNBlock`.
    ValueError
        If there is no stage, or a number of channels is not positive.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import FeaturePyramidNetwork
    >>> fpn = FeaturePyramidNetwork((8, 16), out_channels=4)
    >>> [level.shape for level in fpn([lucid.zeros(1, 8, 16, 16), lucid.zeros(1, 16, 8, 8)])]
    [(1, 4, 16, 16), (1, 4, 8, 8)]
    """

    replayable = "part"

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        extra_blocks: ExtraFPNBlock | None = None,
    ) -> None:
        super().__init__()
        if not in_channels or not all(c > 0 for c in (*in_channels, out_channels)):
            raise ValueError(
                "expected positive in_channels (one per stage) and out_channels, got "
                f"in_channels={tuple(in_channels)} and out_channels={out_channels}"
            )
        if extra_blocks is not None and not isinstance(extra_blocks, ExtraFPNBlock):
            raise TypeError(
                "extra_blocks: expected an ExtraFPNBlock such as LastLevelP6P7(in_channels, "
                f"out_channels), got {type(extra_blocks).__name__}"
            )
        self.out_channels = out_channels
        self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.output = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels
        )
        for conv in (*self.lateral, *self.output):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)
        self.extra_blocks = extra_blocks

    @property
    def num_extra_levels(self) -> int:
        """Number of extra levels."""
        return 0 if self.extra_blocks is None else self.extra_blocks.num_levels

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Compute the levels of the pyramid.

        Parameters
        ----------
        stages : sequence of Tensor
            (N, in_channels[i], H_i, W_i), finest first.

        Returns
        -------
        list of Tensor
            One level (N, out_channels, H_i, W_i) per stage, finest first, then the extra levels.
        """
        if len(stages) != len(self.lateral):
            raise ValueError(f"expected {len(self.lateral)} stages, got {len(stages)}")
        laterals = [conv(stage) for conv, stage in zip(self.lateral, stages, strict=True)]
        merged = laterals[-1]
        levels = [self.output[-1](merged)]
        for i in range(len(laterals) - 2, -1, -1):
            merged = _add_upsampled(laterals[i], merged)
            levels.insert(0, self.output[i](merged))
        if self.extra_blocks is not None:
            extra = self.extra_blocks(levels, stages)
            if len(extra) != self.extra_blocks.num_levels:
                raise ValueError(
                    f"{type(self.extra_blocks).__name__}: expected {self.extra_blocks.num_levels} "
                    f"levels (num_levels), got {len(extra)}"
                )
            levels.extend(extra)
        return levels


def _add_upsampled(fine: Tensor, coarse: Tensor) -> Tensor:
    """Add ``coarse``, upsampled by nearest neighbor, to ``fine``.

    One operation: the sum reuses the memory of the upsampled map.
    """
    shape = coarse.shape
    total = kernels.resize_nearest(array_of(coarse), fine.shape[2:])
    kernels.add_into(total, array_of(fine))
    return record(
        total, (fine, lambda g: g), (coarse, lambda g: kernels.resize_nearest_backward(g, shape))
    )
