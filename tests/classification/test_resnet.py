from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid_models_classification import BasicBlock, Bottleneck, ResNet, resnet_18, resnet_50

# torchvision's tables; every count is that of its model of the same name at 1000 classes.
PARAMETERS = {
    "resnet_18": 11_689_512,
    "resnet_34": 21_797_672,
    "resnet_50": 25_557_032,
    "resnet_101": 44_549_160,
    "resnet_152": 60_192_808,
    "resnext_50_32x4d": 25_028_904,
    "resnext_101_32x8d": 88_791_336,
    "resnext_101_64x4d": 83_455_272,
    "wide_resnet_50_2": 68_883_240,
    "wide_resnet_101_2": 126_886_696,
}


def small(**options: Any) -> ResNet:
    """Four bottlenecks, which is all that most questions need."""
    return ResNet(Bottleneck, (1, 1, 1, 1), num_classes=10, **options)


def images(*shape: int) -> lucid.Tensor:
    return lucid.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Random initialization is slow, and does not change the counts.
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda tensor, **_: tensor)
    monkeypatch.setattr(nn.init, "kaiming_uniform_", lambda tensor, *_, **__: tensor)
    model = lucid.models.create_model(name)
    assert isinstance(model, ResNet)
    assert model.parameter_size == model.distinct_parameter_size == PARAMETERS[name]
    assert lucid.models.model_info(name).total_parameters == PARAMETERS[name]
    assert model.model_name == name


def test_feature_channels_and_strides() -> None:
    for model, channels in (
        (resnet_18().eval(), (64, 128, 256, 512)),
        (small().eval(), (256, 512, 1024, 2048)),
    ):
        assert model.feature_channels == channels
        assert model.feature_strides == (4, 8, 16, 32)
        with lucid.no_grad():
            maps = model.features(images(2, 3, 64, 96))
        assert [m.shape for m in maps] == [
            (2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
        ]


def test_dilation_keeps_the_resolution_and_the_weights() -> None:
    plain, dilated = small(), small(dilate=(False, True, True))
    assert dilated.feature_strides == (4, 8, 8, 8)
    dilated.load_state_dict(plain.state_dict())
    with lucid.no_grad():
        maps = dilated.eval().features(images(1, 3, 64, 64))
    assert [m.shape[2] for m in maps] == [16, 8, 8, 8]


def test_basic_blocks_dilate_too() -> None:
    model = resnet_18(num_classes=2, dilate=(True, False, True)).eval()
    assert model.feature_strides == (4, 4, 8, 8)
    with lucid.no_grad():
        assert [m.shape[2] for m in model.features(images(1, 3, 32, 32))] == [8, 8, 4, 4]


def test_forward_pools_and_classifies_the_last_features() -> None:
    model = small().eval()
    x = images(2, 3, 40, 40)
    with lucid.no_grad():
        last = model.features(x)[-1].numpy()
        logits = model(x).numpy()
    weight, bias = model.fc.weight.numpy(), model.fc.bias.numpy()
    np.testing.assert_allclose(logits, last.mean((2, 3)) @ weight.T + bias, rtol=1e-4, atol=1e-5)


def test_a_block_adds_its_shortcut_before_the_last_relu() -> None:
    block = BasicBlock(4, 4).eval()
    for unit in (block.conv1, block.conv2):
        nn.init.zeros_(unit.conv.weight)
    x = images(1, 4, 3, 3)
    with lucid.no_grad():
        np.testing.assert_allclose(block(x).numpy(), np.maximum(x.numpy(), 0), atol=1e-7)
        unit.norm.bias.copy_(lucid.full((4,), -0.5))
        expected = np.maximum(x.numpy() - 0.5, 0)
        np.testing.assert_allclose(block(x).numpy(), expected, atol=1e-6)


def test_the_stride_of_a_bottleneck_is_on_its_3x3_convolution() -> None:
    block = Bottleneck(8, 4, stride=2)
    strides = [unit.conv.stride for unit in (block.conv1, block.conv2, block.conv3)]
    assert [s if isinstance(s, int) else s[0] for s in strides] == [1, 2, 1]
    assert block(images(1, 8, 6, 6)).shape == (1, 16, 3, 3)


def test_the_shortcut_is_projected_only_where_shapes_differ() -> None:
    assert BasicBlock(4, 4).downsample is None
    assert BasicBlock(4, 8).downsample is not None
    assert BasicBlock(4, 4, stride=2).downsample is not None
    assert Bottleneck(16, 4).downsample is None


def test_zero_init_residual_starts_every_block_at_its_shortcut() -> None:
    model = resnet_18(num_classes=3, zero_init_residual=True)
    second = model.layer1[1]
    x = images(2, 64, 5, 5)
    np.testing.assert_allclose(second(x).numpy(), np.maximum(x.numpy(), 0), atol=1e-7)


def test_frozen_norms_do_not_change() -> None:
    batch, frozen = small(), small(norm="frozen").train()
    assert batch.parameter_size - frozen.parameter_size == sum(
        p.size for name, p in batch.named_parameters() if ".norm." in name
    )
    before = {key: value.numpy().copy() for key, value in frozen.state_dict().items()}
    frozen(images(2, 3, 32, 32)).sum().backward()
    for key, value in frozen.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key])


def test_norm_eps_reaches_every_norm() -> None:
    model = small(norm_eps=0.25)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 17
    assert {m.eps for m in norms} == {0.25}


def test_convolutions_are_initialized_by_fan_out() -> None:
    weight = resnet_50(num_classes=2).layer4[0].conv2.conv.weight.numpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / (512 * 9)), rel=0.01)
    assert abs(weight.mean()) < 1e-4


def test_every_parameter_receives_a_gradient() -> None:
    model = small()
    model(images(2, 3, 32, 32)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert np.isfinite(parameter.grad.numpy()).all(), name


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (33, 31)])
def test_any_image_size(size: tuple[int, int]) -> None:
    model = small(in_channels=1).eval()
    with lucid.no_grad():
        logits = model(images(1, 1, *size))
    assert logits.shape == (1, 10)
    assert np.isfinite(logits.numpy()).all()


def test_empty_batch_gives_empty_logits() -> None:
    with lucid.no_grad():
        assert small().eval()(lucid.zeros(0, 3, 32, 32)).shape == (0, 10)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 0, 8)])
def test_non_batches_are_rejected(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, 3, H, W\).*got \(" + str(shape[0])):
        small()(lucid.zeros(*shape))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_classes": 0}, ValueError, "num_classes: expected an integer of at least 1, got 0"),
        ({"num_classes": 2.5}, TypeError, "num_classes.*2.5"),
        ({"num_classes": True}, TypeError, "num_classes.*True"),
        ({"in_channels": -3}, ValueError, "in_channels.*-3"),
        ({"norm": "group"}, ValueError, 'expected "batch" or "frozen", got \'group\''),
        ({"norm_eps": -1e-5}, ValueError, "norm_eps"),
        ({"norm_eps": float("nan")}, ValueError, "norm_eps"),
        ({"zero_init_residual": 1}, TypeError, "zero_init_residual"),
        ({"zero_init_residual": True, "norm": "frozen"}, ValueError, "zero_init_residual.*frozen"),
        ({"dilate": (True, False)}, ValueError, "three booleans"),
        ({"dilate": True}, ValueError, "three booleans"),
        ({"dilate": (1, 0, 0)}, ValueError, "three booleans"),
    ],
)
def test_bad_options_are_refused(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        resnet_18(**options)


def test_unknown_option_lists_valid_ones() -> None:
    with pytest.raises(TypeError, match=r"resnet_50\(\).*'groups', 'pretrained'.*in_channels"):
        resnet_50(pretrained=True, groups=2)


def test_basic_blocks_refuse_groups_and_width() -> None:
    with pytest.raises(ValueError, match="groups=2"):
        ResNet(BasicBlock, (1, 1, 1, 1), groups=2)
    with pytest.raises(ValueError, match="four numbers of blocks"):
        ResNet(BasicBlock, (1, 1, 1))


def test_builder_docstrings() -> None:
    introductions = set()
    for name in PARAMETERS:
        doc = lucid.models.get_builder(name).__doc__ or ""
        for section in ("Parameters", "Returns", "Raises", "Examples", "Training Notes"):
            assert f"\n{section}\n{'-' * len(section)}\n" in doc
        assert f">>> model = {name}(num_classes=10).eval()" in doc
        assert "arXiv:1" in doc
        introductions.add(doc.split("\nParameters")[0])
    assert len(introductions) == len(PARAMETERS)
