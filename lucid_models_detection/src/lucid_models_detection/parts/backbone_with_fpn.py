"""Backbone of a detector: a classification network with a feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lucid import ProtocolError, Tensor, nn, zeros
from lucid.models import Backbone, missing_members
from lucid_models_detection.parts.checks import apply_part, check_members, check_shape
from lucid_models_detection.parts.fpn import ExtraFPNBlock, FeaturePyramidNetwork

__all__ = ["BackboneWithFPN", "stage_strides"]


class BackboneWithFPN(nn.Module):
    """Classification network with a feature pyramid on its stages.

    Parameters
    ----------
    net : lucid.nn.Module
        A :class:`lucid.models.Backbone`.  ``features(x)`` and ``feature_channels`` suffice if the
        strides are 4, 8, 16, ...  Each stride is a multiple of the one before.  The network is
        kept whole, classifier included, so that it can be trained and saved alone.
    out_channels : int, default 256
        Channels of every level of the pyramid.
    extra_blocks : ExtraFPNBlock, optional
        Adds coarser levels to the pyramid.
    stages : sequence of int, optional
        Ascending indices of the stages to build the pyramid on; RetinaNet uses (1, 2, 3) of a
        ResNet.  Default: all.
    fpn : lucid.nn.Module, optional
        Maps the stages, finest first, to levels of ``out_channels`` channels: one per stage at
        its resolution, then ``num_extra_levels`` more, each at half the resolution of the one
        before.  Default: ``FeaturePyramidNetwork(channels, out_channels, extra_blocks)``.

    Attributes
    ----------
    net : lucid.nn.Module
        The network as given.
    stem : lucid.nn.Module
        ``net.stem`` registered a second time, if the network has a stem.
    fpn : FeaturePyramidNetwork
        The feature pyramid.
    channels : tuple of int
        Channels of the stages in use.
    stride : int
        Stride of the last of these stages; images are padded to a multiple of it.

    Raises
    ------
    lucid.ProtocolError
        If ``net`` lacks ``features`` or ``feature_channels``.
    TypeError
        If ``fpn`` lacks ``out_channels`` or ``num_extra_levels``.
    ValueError
        If channels, strides or ``stages`` are invalid, or ``fpn`` does not map the stages to the
        levels described above.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import BackboneWithFPN, LastLevelP6P7
    >>> net = lucid.models.create_model("resnet_18")
    >>> backbone = BackboneWithFPN(net, 64, LastLevelP6P7(512, 64), stages=(1, 2, 3))
    >>> backbone.strides
    (8, 16, 32, 64, 128)
    """

    replayable = True

    def __init__(
        self,
        net: nn.Module,
        out_channels: int = 256,
        extra_blocks: ExtraFPNBlock | None = None,
        stages: Sequence[int] | None = None,
        fpn: nn.Module | None = None,
    ) -> None:
        super().__init__()
        channels, strides = _channels_and_strides(net)
        chosen = _check_stages(stages, len(channels), type(net).__name__)
        self.net = net
        if isinstance(getattr(net, "stem", None), nn.Module):
            self.stem = net.stem
        self.stages = chosen
        self.channels = tuple(channels[i] for i in chosen)
        self._all_channels = channels
        self._stage_strides = tuple(strides[i] for i in chosen)
        self.stride = self._stage_strides[-1]
        if fpn is None:
            self.fpn: Any = FeaturePyramidNetwork(self.channels, out_channels, extra_blocks)
        else:
            _check_pyramid(fpn, self.channels, self._stage_strides)
            self.fpn = fpn

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level in pixels, extra levels included."""
        extra = self.fpn.num_extra_levels
        return (*self._stage_strides, *(self.stride << i for i in range(1, extra + 1)))

    @property
    def level_names(self) -> tuple[str, ...]:
        """Names such as P2 for stride 4, or "stride 6" if it is not a power of 2."""
        return tuple(
            f"stride {s}" if s & (s - 1) else f"P{s.bit_length() - 1}" for s in self.strides
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the levels of the pyramid, finest first, of images (N, 3, H, W)."""
        maps = self.net.features(x)
        found = tuple(m.shape[1] for m in maps)
        if found != self._all_channels:
            raise ValueError(
                f"{type(self.net).__name__}.features(): expected maps of {self._all_channels} "
                f"channels (feature_channels), got {found}"
            )
        for i, stride in zip(self.stages, self._stage_strides, strict=True):
            self._check_stride(i, stride, maps[i].shape[2:], x.shape[2:])
        levels: list[Tensor] = self.fpn([maps[i] for i in self.stages])
        return levels

    def _check_stride(
        self, stage: int, stride: int, found: Sequence[int], size: Sequence[int]
    ) -> None:
        """Check the size of a stage's map: on another size, anchors would be misplaced."""
        if any(abs(f * stride - s) >= 2 * stride for f, s in zip(found, size, strict=True)):
            expected = " x ".join(str(-(-s // stride)) for s in size)
            raise ValueError(
                f"{type(self.net).__name__}.features(): expected a map of {expected} for stage "
                f"{stage} (stride {stride} in feature_strides, images of "
                f"{' x '.join(map(str, size))} pixels), got {' x '.join(map(str, found))}"
            )


def _check_pyramid(fpn: Any, channels: Sequence[int], strides: Sequence[int]) -> None:
    """Check that a given pyramid maps these stages to its levels."""
    check_members("fpn", fpn, "out_channels", "num_extra_levels")
    extra = fpn.num_extra_levels
    size = strides[-1] << extra
    stages = [zeros(1, c, size // s, size // s) for c, s in zip(channels, strides, strict=True)]
    levels = apply_part("fpn", fpn, f"stages of {tuple(channels)} channels", stages)
    sizes = [size // s for s in strides] + [1 << i for i in range(extra - 1, -1, -1)]
    if len(levels) != len(sizes):
        raise ValueError(
            f"fpn: expected {len(strides)} levels (strides {tuple(strides)}) and {extra} extra "
            f"levels (num_extra_levels), got {len(levels)}"
        )
    for level, side in zip(levels, sizes, strict=True):
        check_shape("fpn", fpn, level, (1, fpn.out_channels, side, side), "(N, C, H, W) levels")


def stage_strides(net: nn.Module) -> tuple[int, ...]:
    """Return the validated strides of a backbone's stages, finest first."""
    return _channels_and_strides(net)[1]


def _channels_and_strides(net: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    name = type(net).__name__
    needed = ("feature_channels", "features()")
    if missing := [part for part in missing_members(net, Backbone) if part in needed]:
        by_name = isinstance(net, str)
        remedy = f"call from_backbone({net!r})" if by_name else "see lucid.models.Backbone"
        raise ProtocolError(
            f"expected a backbone, got a {name}, which lacks {', '.join(missing)}; {remedy}"
        )
    channels: Any = net.feature_channels
    channels = tuple(channels)
    if not channels or not all(isinstance(c, int) and c > 0 for c in channels):
        raise ValueError(
            f"{name}.feature_channels: expected a positive integer per stage, got {channels}"
        )
    strides: Any = tuple(getattr(net, "feature_strides", [4 << i for i in range(len(channels))]))
    where = f"{name}.feature_strides {strides}"
    if len(strides) != len(channels):
        raise ValueError(f"{where}: expected {len(channels)} strides (one per feature_channels)")
    for stride in strides:
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"{where}: expected positive integers, got {stride!r}")
    for fine, coarse in pairwise(strides):
        if coarse % fine:
            raise ValueError(
                f"{where}: expected each stride to be a multiple of the one before, got "
                f"{coarse} after {fine}"
            )
    return channels, strides


def _check_stages(stages: Sequence[int] | None, count: int, name: str) -> tuple[int, ...]:
    if stages is None:
        return tuple(range(count))
    chosen = tuple(stages)
    if not chosen or any(b <= a for a, b in pairwise((-1, *chosen))) or chosen[-1] >= count:
        raise ValueError(
            f"stages: expected ascending indices from 0 to {count - 1} (stages of {name}), got "
            f"{chosen}"
        )
    return chosen
