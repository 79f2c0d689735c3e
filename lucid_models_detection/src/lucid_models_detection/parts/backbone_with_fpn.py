"""Backbone of a detector: a classification network and a feature pyramid on its stages."""

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
        Has ``features(x)`` and ``feature_channels`` of :class:`lucid.models.Backbone`, and
        ``feature_strides`` unless they are 4, 8, 16, ...  Each stride is a multiple of the
        one before.  The network is kept whole, classifier included, so that it can be trained
        alone and its ``state_dict()`` saved and loaded.
    out_channels : int, default 256
        Channels of every level of the pyramid.
    extra_blocks : ExtraFPNBlock, optional
        Adds coarser levels to the pyramid.
    stages : sequence of int, optional
        Indices of the stages that the pyramid is built on, ascending; RetinaNet uses
        (1, 2, 3) of a ResNet.  Default: all.
    fpn : lucid.nn.Module, optional
        Feature pyramid to use.  Maps the stages, finest first, to levels of ``out_channels``
        channels: one at the resolution of each stage, then ``num_extra_levels`` more, each at
        half the resolution of the one before.  Default:
        ``FeaturePyramidNetwork(channels, out_channels, extra_blocks)``.

    Attributes
    ----------
    net : lucid.nn.Module
        The network as given.
    stem : lucid.nn.Module
        ``net.stem`` under a second name, where the network has one: the same object, so the
        same parameters.
    fpn : FeaturePyramidNetwork
        Its ``extra_blocks`` can be exchanged.
    channels : tuple of int
        Channels of the stages that the pyramid is built on.
    stride : int
        Stride of the last of these stages: images are padded to a multiple of it.

    Raises
    ------
    lucid.ProtocolError
        If ``net`` lacks ``features`` or ``feature_channels``.
    TypeError
        If ``fpn`` lacks one of its two attributes.
    ValueError
        If its channels or strides do not fit a pyramid, or ``stages`` its stages; names the
        stride.  If ``fpn`` does not take the stages, or gives other levels.

    Examples
    --------
    >>> import lucid
    >>> from lucid_models_detection.parts import LastLevelP6P7, BackboneWithFPN
    >>> net = lucid.models.create_model("resnet_18")
    >>> backbone = BackboneWithFPN(net, 64, LastLevelP6P7(512, 64), stages=(1, 2, 3))
    >>> backbone.strides
    (8, 16, 32, 64, 128)
    """

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
        chosen = _chosen(stages, len(channels), type(net).__name__)
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
        """Stride of each level of the pyramid, extra levels included, in pixels."""
        extra = self.fpn.num_extra_levels
        return (*self._stage_strides, *(self.stride << i for i in range(1, extra + 1)))

    @property
    def level_names(self) -> tuple[str, ...]:
        """P2 for stride 4, P3 for stride 8, and so on; "stride 6" where it is no power of 2."""
        return tuple(
            f"stride {s}" if s & (s - 1) else f"P{s.bit_length() - 1}" for s in self.strides
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Compute the levels of the pyramid, finest first, of images (N, 3, H, W)."""
        maps = self.net.features(x)
        found = tuple(m.shape[1] for m in maps)
        if found != self._all_channels:
            raise ValueError(
                f"{type(self.net).__name__}: feature_channels says {self._all_channels}, but "
                f"features() gave maps of {found} channels"
            )
        for i, stride in zip(self.stages, self._stage_strides, strict=True):
            self._check_stride(i, stride, maps[i].shape[2:], x.shape[2:])
        levels: list[Tensor] = self.fpn([maps[i] for i in self.stages])
        return levels

    def _check_stride(
        self, stage: int, stride: int, found: Sequence[int], size: Sequence[int]
    ) -> None:
        """Raise unless the map of a stage has about the size that its stride gives.

        Anchors and regions lie at the wrong place on a map of another size.
        """
        if any(abs(f * stride - s) >= 2 * stride for f, s in zip(found, size, strict=True)):
            expected = " x ".join(str(-(-s // stride)) for s in size)
            raise ValueError(
                f"{type(self.net).__name__}: feature_strides says {stride} for stage {stage}, a "
                f"map of {expected} for images of {' x '.join(map(str, size))} pixels, but "
                f"features() gave one of {' x '.join(map(str, found))}"
            )


def _check_pyramid(fpn: Any, channels: Sequence[int], strides: Sequence[int]) -> None:
    """Raise unless a given pyramid takes stages of these channels and gives its levels."""
    check_members("fpn", fpn, "out_channels", "num_extra_levels")
    extra = fpn.num_extra_levels
    size = strides[-1] << extra
    stages = [zeros(1, c, size // s, size // s) for c, s in zip(channels, strides, strict=True)]
    what = f"stages of {tuple(channels)} channels"
    levels = apply_part("fpn", fpn, what, stages)
    sizes = [size // s for s in strides] + [1 << i for i in range(extra - 1, -1, -1)]
    if len(levels) != len(sizes):
        raise ValueError(
            f"fpn: expected {len(strides)} levels for the stages at strides {tuple(strides)} and "
            f"{extra} more (num_extra_levels), got {len(levels)}"
        )
    for level, side in zip(levels, sizes, strict=True):
        check_shape("fpn", fpn, level, (1, fpn.out_channels, side, side), "(N, C, H, W) levels")


def stage_strides(net: nn.Module) -> tuple[int, ...]:
    """Strides of a backbone's stages, finest first, checked as :class:`BackboneWithFPN` does.

    Parameters
    ----------
    net : lucid.nn.Module
        Has ``features(x)`` and ``feature_channels``, and ``feature_strides`` unless they are
        4, 8, 16, ...
    """
    return _channels_and_strides(net)[1]


def _channels_and_strides(net: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]]:
    name = type(net).__name__
    needed = ("feature_channels", "features()")
    if missing := [part for part in missing_members(net, Backbone) if part in needed]:
        by_name = f"; {net!r} by name is from_backbone({net!r})" if isinstance(net, str) else ""
        raise ProtocolError(
            f"expected a backbone, got a {name}, which lacks {', '.join(missing)}; "
            f"see lucid.models.Backbone{by_name}"
        )
    channels: Any = net.feature_channels
    channels = tuple(channels)
    if not channels or not all(isinstance(c, int) and c > 0 for c in channels):
        raise ValueError(
            f"{name}.feature_channels: expected a positive number of channels for each stage, "
            f"got {channels}"
        )
    strides: Any = tuple(getattr(net, "feature_strides", [4 << i for i in range(len(channels))]))
    what = f"{name}.feature_strides {strides}"
    if len(strides) != len(channels):
        raise ValueError(f"{what}: expected {len(channels)} strides, as many as feature_channels")
    for stride in strides:
        if not isinstance(stride, int) or stride < 1:
            raise ValueError(f"{what}: expected positive integers, got {stride!r}")
    for fine, coarse in pairwise(strides):
        if coarse % fine:
            raise ValueError(
                f"{what}: stride {coarse} does not fit a pyramid, expected a multiple of {fine}, "
                "the stride of the stage before"
            )
    return channels, strides


def _chosen(stages: Sequence[int] | None, count: int, name: str) -> tuple[int, ...]:
    if stages is None:
        return tuple(range(count))
    chosen = tuple(stages)
    if not chosen or any(b <= a for a, b in pairwise((-1, *chosen))) or chosen[-1] >= count:
        raise ValueError(
            f"stages: expected ascending indices from 0 to {count - 1}, the stages of {name}, "
            f"got {chosen}"
        )
    return chosen
