"""Feature pyramid: strong features at every scale.

Lin et al. 2017, "Feature Pyramid Networks for Object Detection" (arXiv:1612.03144).

C2-C5 are the stages of the backbone at strides 4 to 32, P2-P5 what the pyramid
makes of them, each with the same number of channels, and P6 is P5 at half the
resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lucid import ProtocolError, Tensor, kernels, nn
from lucid.autograd import record
from lucid.models import Backbone, missing_parts
from lucid.nn import functional as F

__all__ = ["FeaturePyramid", "PyramidBackbone"]


class FeaturePyramid(nn.Module):
    """Lateral connections, a top-down pathway and one coarser level.

    Parameters
    ----------
    in_channels : sequence of int
        Channels of the backbone's stages, finest first.
    out_channels : int, default 256
        Channels of every level.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.lateral = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels)
        self.output = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels
        )
        for conv in (*self.lateral, *self.output):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """Build the pyramid.

        Parameters
        ----------
        stages : sequence of Tensor
            (N, in_channels[i], H_i, W_i), finest first.

        Returns
        -------
        list of Tensor
            One (N, out_channels, H_i, W_i) for each stage, finest first, and one of
            half the last one's size.
        """
        laterals = [conv(stage) for conv, stage in zip(self.lateral, stages, strict=True)]
        merged = laterals[-1]
        levels = [self.output[-1](merged)]
        for i in range(len(laterals) - 2, -1, -1):
            merged = _add_enlarged(laterals[i], merged)
            levels.insert(0, self.output[i](merged))
        levels.append(F.max_pool2d(levels[-1], 1, stride=2))
        return levels


def _add_enlarged(fine: Tensor, coarse: Tensor) -> Tensor:
    """``fine`` plus ``coarse`` at the size of ``fine``, by the nearest pixel.

    One operation, because the sum can take the memory of the enlarged map: on P2
    of a large image another map is as long in the making as the sum.
    """
    shape = coarse.shape
    total = kernels.resize_nearest(coarse.data, fine.shape[2:])
    kernels.add_into(total, fine.data)
    return record(
        total, (fine, lambda g: g), (coarse, lambda g: kernels.resize_nearest_backward(g, shape))
    )


class PyramidBackbone(nn.Module):
    """A classification network and the pyramid on its stages.

    Parameters
    ----------
    net : lucid.nn.Module
        Has ``features(x)`` and ``feature_channels`` of :class:`lucid.models.Backbone`, and
        ``feature_strides`` unless they are 4, 8, 16, ...  It is kept whole, classifier
        included, so that ``net`` can be trained by itself and its ``state_dict()`` moved in
        and out.
    out_channels : int, default 256
        Channels of every level of the pyramid.

    Attributes
    ----------
    net : lucid.nn.Module
        The network as given.
    stem : lucid.nn.Module
        ``net.stem`` under a second name, where the network has one: the same
        object, so the same parameters.
    fpn : FeaturePyramid
    stride : int
        Of the network's last stage: images are padded to a multiple of it.
    """

    def __init__(self, net: nn.Module, out_channels: int = 256) -> None:
        super().__init__()
        name = type(net).__name__
        needed = ("feature_channels", "features()")
        if missing := [part for part in missing_parts(net, Backbone) if part in needed]:
            raise ProtocolError(
                f"expected a backbone, got a {name}, which lacks {', '.join(missing)}; "
                "see lucid.models.Backbone"
            )
        channels: Any = net.feature_channels
        self.channels = tuple(channels)
        if not self.channels or not all(isinstance(c, int) and c > 0 for c in self.channels):
            raise ValueError(
                f"a pyramid needs a positive number of channels for each stage; "
                f"{name}.feature_channels is {channels!r}"
            )
        self.net = net
        if isinstance(getattr(net, "stem", None), nn.Module):
            self.stem = net.stem
        self.fpn = FeaturePyramid(self.channels, out_channels)
        usual = tuple(4 * 2**i for i in range(len(self.channels)))
        strides = tuple(getattr(net, "feature_strides", usual))
        finest = strides[0] if strides else 0
        doubling = tuple(finest * 2**i for i in range(len(self.channels)))
        if strides != doubling or finest < 1 or finest & (finest - 1):
            raise ValueError(
                "a pyramid needs stages at half the resolution each of the one before, the first "
                f"at a power of two; {name} has {len(self.channels)} stages at strides {strides}"
            )
        self.stride = int(strides[-1])

    @property
    def level_names(self) -> tuple[str, ...]:
        """P2 for stride 4, P3 for stride 8, and so on; the coarsest has no stage of its own."""
        last = self.stride.bit_length() - 1
        return tuple(f"P{last - len(self.channels) + i}" for i in range(1, len(self.channels) + 2))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Levels of the pyramid, finest first, of images (N, 3, H, W)."""
        stages = self.net.features(x)
        found = tuple(stage.shape[1] for stage in stages)
        if found != self.channels:
            raise ValueError(
                f"{type(self.net).__name__}: feature_channels says {self.channels}, but features() "
                f"gave maps of {found} channels"
            )
        levels: list[Tensor] = self.fpn(stages)
        return levels
