from __future__ import annotations

from typing import Any

import pytest

import lucid
from lucid import Tensor, nn
from lucid_models_detection.parts import BackboneWithFPN, LastLevelMaxPool, LastLevelP6P7


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
    backbone = BackboneWithFPN(Net())
    assert not hasattr(backbone, "stem")
    assert backbone.stride == 8
    assert [level.shape for level in backbone(lucid.zeros(2, 3, 16, 32))] == [
        (2, 256, 4, 8),
        (2, 256, 2, 4),
    ]


def test_the_stem_is_registered_a_second_time() -> None:
    net = Net(stem=nn.Conv2d(3, 3, 1))
    backbone = BackboneWithFPN(net)
    assert backbone.stem is net.stem
    assert backbone.parameter_size - backbone.distinct_parameter_size == 12
    assert {"net.stem.weight", "stem.weight"} <= backbone.state_dict().keys()


def test_non_backbones_are_rejected() -> None:
    lacking = r"Linear, which lacks feature_channels, features\(\); see lucid.models.Backb"
    with pytest.raises(lucid.ProtocolError, match=lacking):
        BackboneWithFPN(nn.Linear(2, 2))
    with pytest.raises(lucid.ProtocolError, match=r"call from_backbone\('resnet_18'\)$"):
        BackboneWithFPN("resnet_18")
    net = Net()
    net.features = None
    with pytest.raises(lucid.ProtocolError, match=r"got a Net, which lacks features\(\);"):
        BackboneWithFPN(net)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"feature_strides": (8, 12)},
            r"Net.feature_strides \(8, 12\): .*got 12 after 8",
        ),
        ({"feature_strides": (8, 4)}, r"feature_strides \(8, 4\): .*got 4 after 8"),
        ({"feature_strides": (0, 4)}, "expected positive integers, got 0"),
        ({"feature_strides": (4, 8, 16)}, "expected 2 strides"),
        ({"feature_channels": ()}, r"Net.feature_channels: .* got \(\)"),
        ({"feature_channels": (4, 0)}, r"Net.feature_channels: .* got \(4, 0\)"),
    ],
)
def test_channels_and_strides_of_a_backbone_are_checked(
    attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        BackboneWithFPN(Net(**attributes))


@pytest.mark.parametrize("size", [(64, 96), (65, 99), (8, 8)])
def test_wrong_feature_strides_are_rejected(size: tuple[int, int]) -> None:
    images = lucid.zeros(1, 3, *size)
    BackboneWithFPN(Net(feature_strides=(4, 8)))(images)
    with pytest.raises(ValueError, match=r"Net.*stage 0 .*stride 2"):
        BackboneWithFPN(Net(feature_strides=(2, 4)))(lucid.zeros(1, 3, 64, 96))
    with pytest.raises(ValueError, match=r"map of 4 x 6 for stage 1 \(stride 16 .*got 8 x 12$"):
        BackboneWithFPN(Net(feature_strides=(8, 16)), stages=(1,))(lucid.zeros(1, 3, 64, 96))


def test_channels_of_the_maps_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\(4, 9\).*feature_channels.*got \(4, 8\)"):
        BackboneWithFPN(Net(feature_channels=(4, 9)))(lucid.zeros(1, 3, 16, 16))


@pytest.mark.parametrize("strides", [(4, 8), (8, 8), (2, 6), (3, 12)])
def test_strides_may_be_any_multiples(strides: tuple[int, int]) -> None:
    net = Net(feature_strides=strides)
    net.first = nn.Conv2d(3, 4, 1, stride=strides[0])
    net.second = nn.Conv2d(4, 8, 1, stride=strides[1] // strides[0])
    backbone = BackboneWithFPN(net, 5, LastLevelMaxPool())
    assert backbone.strides == (*strides, 2 * strides[1])
    assert backbone.stride == strides[1]
    image = lucid.zeros(1, 3, 2 * strides[1], 4 * strides[1])
    assert [level.shape[2:] for level in backbone(image)] == [
        (image.shape[2] // stride, image.shape[3] // stride) for stride in backbone.strides
    ]


def test_level_names() -> None:
    assert BackboneWithFPN(Net(), 5).level_names == ("P2", "P3")
    extended = BackboneWithFPN(Net(feature_strides=(8, 16)), 5, LastLevelP6P7(8, 5))
    assert extended.level_names == ("P3", "P4", "P5", "P6")
    assert BackboneWithFPN(Net(feature_strides=(4, 12)), 5).level_names == ("P2", "stride 12")


def test_a_pyramid_on_some_of_the_stages() -> None:
    backbone = BackboneWithFPN(Net(), 5, LastLevelP6P7(8, 5), stages=[1])
    assert (backbone.channels, backbone.strides) == ((8,), (8, 16, 32))
    shapes = [level.shape for level in backbone(lucid.zeros(1, 3, 32, 32))]
    assert shapes == [(1, 5, 4, 4), (1, 5, 2, 2), (1, 5, 1, 1)]


@pytest.mark.parametrize("stages", [(), (2,), (1, 0), (0, 0), (-1, 1)])
def test_stages_are_ascending_indices(stages: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"stages: .*from 0 to 1"):
        BackboneWithFPN(Net(), 5, stages=stages)
