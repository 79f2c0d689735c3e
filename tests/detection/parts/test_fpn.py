from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor, nn
from lucid.testing import gradcheck
from lucid_models_detection.parts.fpn import FeaturePyramid, PyramidBackbone, _add_enlarged


def stages(channels: tuple[int, ...] = (2, 3, 4)) -> list[Tensor]:
    return [lucid.random.randn(1, c, 8 >> i, 12 >> i) for i, c in enumerate(channels)]


def test_shapes_and_one_more_level_at_half_the_size() -> None:
    fpn = FeaturePyramid((2, 3, 4), 5)
    shapes = [level.shape for level in fpn(stages())]
    assert shapes == [(1, 5, 8, 12), (1, 5, 4, 6), (1, 5, 2, 3), (1, 5, 1, 2)]


def test_the_last_level_is_every_other_pixel_of_the_one_before() -> None:
    levels = FeaturePyramid((2, 3, 4), 5)(stages())
    np.testing.assert_array_equal(levels[-1].data, levels[-2].data[:, :, ::2, ::2])


def test_merging_by_hand() -> None:
    fpn = FeaturePyramid((1, 1), 1)
    for conv, scale in zip(fpn.lateral, (1.0, 10.0), strict=True):
        conv.weight.data[...] = scale
    for conv in fpn.output:  # the identity
        conv.weight.data[...] = 0
        conv.weight.data[0, 0, 1, 1] = 1
    fine = Tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    coarse = Tensor(np.array([[[[1, 2], [3, 4]]]], np.float32))
    levels = fpn([fine, coarse])
    expected = fine.data + 10 * coarse.data.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_allclose(levels[0].data, expected)
    np.testing.assert_allclose(levels[1].data, 10 * coarse.data)


def test_odd_sizes_meet_by_the_nearest_pixel() -> None:
    fpn = FeaturePyramid((1, 1), 1)
    levels = fpn([lucid.zeros(1, 1, 5, 7), lucid.zeros(1, 1, 3, 4)])
    assert [level.shape[2:] for level in levels] == [(5, 7), (3, 4), (2, 2)]


def test_gradient_of_merging() -> None:
    fine = lucid.random.randn(2, 3, 5, 7, dtype=lucid.float64).requires_grad_()
    coarse = lucid.random.randn(2, 3, 3, 4, dtype=lucid.float64).requires_grad_()
    gradcheck(_add_enlarged, [fine, coarse])


def test_merging_a_map_of_the_same_size_leaves_it_alone() -> None:
    coarse = lucid.ones(1, 1, 2, 2)
    total = _add_enlarged(lucid.ones(1, 1, 2, 2), coarse)
    np.testing.assert_array_equal(total.data, np.full((1, 1, 2, 2), 2))
    np.testing.assert_array_equal(coarse.data, np.ones((1, 1, 2, 2)))


def test_initial_values() -> None:
    fpn = FeaturePyramid((64, 128), 256)
    # Kaiming uniform with a = 1: bound sqrt(3 / fan_in).
    bound = np.sqrt(3 / 64)
    assert 0.99 * bound < np.abs(fpn.lateral[0].weight.data).max() <= bound
    assert not any(conv.bias.data.any() for conv in (*fpn.lateral, *fpn.output))


class Net(nn.Module):
    feature_channels = (4, 8)

    def __init__(self, **attributes: Any) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.second = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        for name, value in attributes.items():
            setattr(self, name, value)

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.first(x)
        return x, self.second(x)


def test_any_network_with_features_will_do() -> None:
    backbone = PyramidBackbone(Net())
    assert not hasattr(backbone, "stem")
    assert backbone.stride == 8
    assert [level.shape for level in backbone(lucid.zeros(2, 3, 16, 32))] == [
        (2, 256, 4, 8),
        (2, 256, 2, 4),
        (2, 256, 1, 2),
    ]


def test_the_stem_is_registered_a_second_time() -> None:
    net = Net(stem=nn.Conv2d(3, 3, 1))
    backbone = PyramidBackbone(net)
    assert backbone.stem is net.stem
    assert backbone.parameter_size - backbone.distinct_parameter_size == 12
    assert {"net.stem.weight", "stem.weight"} <= backbone.state_dict().keys()


def test_what_is_no_backbone() -> None:
    lacking = r"got a Linear, which lacks feature_channels, features\(\); see lucid.models.Backb"
    with pytest.raises(lucid.ProtocolError, match=lacking):
        PyramidBackbone(nn.Linear(2, 2))
    net = Net()
    net.features = None
    with pytest.raises(lucid.ProtocolError, match=r"got a Net, which lacks features\(\);"):
        PyramidBackbone(net)


def test_stages_must_halve() -> None:
    with pytest.raises(ValueError, match=r"Net has 2 stages at strides \(8, 8\)"):
        PyramidBackbone(Net(feature_strides=(8, 8)))


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"feature_strides": (3, 6)}, r"power of two; Net has 2 stages at strides \(3, 6\)"),
        ({"feature_strides": (4, 8, 16)}, "2 stages at strides"),
        ({"feature_channels": ()}, r"Net.feature_channels is \(\)"),
        ({"feature_channels": (4, 0)}, r"Net.feature_channels is \(4, 0\)"),
    ],
)
def test_what_a_backbone_says_of_itself_is_checked(
    attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidBackbone(Net(**attributes))


def test_levels_are_called_by_their_strides() -> None:
    assert PyramidBackbone(Net()).level_names == ("P2", "P3", "P4")
    assert PyramidBackbone(Net(feature_strides=(8, 16))).level_names == ("P3", "P4", "P5")
