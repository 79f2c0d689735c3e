"""Channel shuffle layer."""

from __future__ import annotations

from lucid.nn.layers.argument_checks import check_positive
from lucid.nn.module import Module
from lucid.ops.join import channel_shuffle
from lucid.tensor import Tensor

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Interleave the channels of groups, so that a grouped convolution sees all groups.

    Parameters
    ----------
    groups : int
        Number of groups; divides the number of channels.

    References
    ----------
    Zhang et al., *ShuffleNet*, 2018, section 3.1.

    Examples
    --------
    >>> import lucid
    >>> x = lucid.arange(6).reshape(1, 6, 1, 1)
    >>> lucid.nn.ChannelShuffle(2)(x).flatten().tolist()
    [0, 3, 1, 4, 2, 5]
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        check_positive("ChannelShuffle", groups=groups)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Shuffle the channels of (N, C, ...)."""
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
