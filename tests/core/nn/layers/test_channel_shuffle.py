"""Channel shuffle: order of the channels and wrong arguments."""

import pytest

import lucid
from lucid import kernels, nn


def test_groups_are_interleaved_and_the_layout_is_kept():
    image = lucid.arange(6).reshape(1, 6, 1, 1) + lucid.zeros(2, 6, 3, 4)
    x = lucid.Tensor(kernels.channels_last(image.numpy()))
    y = nn.ChannelShuffle(2)(x)
    assert y[1, :, 2, 3].tolist() == [0, 3, 1, 4, 2, 5]
    assert kernels.is_channels_last(y.numpy())


def test_wrong_arguments():
    with pytest.raises(ValueError, match="groups >= 1, got 0"):
        nn.ChannelShuffle(0)
    with pytest.raises(ValueError, match=r"divisible by groups, got \(1, 5, 2\) and groups=2"):
        nn.ChannelShuffle(2)(lucid.zeros(1, 5, 2))
    with pytest.raises(ValueError, match=r"\(N, C, ...\)"):
        nn.ChannelShuffle(2)(lucid.zeros(4))


def test_repr():
    assert repr(nn.ChannelShuffle(3)) == "ChannelShuffle(groups=3)"
