from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.models import check_backbone, check_classifier
from lucid_models_classification import (
    BlockConfig,
    InvertedResidual,
    MobileNet,
    MobileNetV2,
    MobileNetV3,
    make_divisible,
    mobilenet_v2,
    mobilenet_v3_large,
    mobilenet_v3_small,
)

BUILDERS = (mobilenet_v2, mobilenet_v3_large, mobilenet_v3_small)


@functools.cache
def default(builder: Any) -> MobileNet:
    """The network with default arguments, in eval mode; tests do not change it."""
    model: MobileNet = builder(num_classes=10)
    return model.eval()


def layers(model: MobileNet) -> list[nn.Module]:
    """Stem, blocks and last convolution, as torchvision numbers them."""
    return [layer for stage in model.layers for layer in stage]


def images(*shape: int) -> lucid.Tensor:
    return lucid.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


# torchvision's tables: parameters at 1000 classes, multiply-adds at 224 x 224.
@pytest.mark.parametrize(
    ("name", "cls", "parameters", "multiply_adds"),
    [
        ("mobilenet_v2", MobileNetV2, 3_504_872, 300_774_272),
        ("mobilenet_v3_large", MobileNetV3, 5_483_032, 216_589_760),
        ("mobilenet_v3_small", MobileNetV3, 2_542_856, 56_510_400),
    ],
)
def test_parameter_and_multiply_add_counts(
    name: str, cls: type, parameters: int, multiply_adds: int
) -> None:
    model = lucid.models.create_model(name)
    assert type(model) is cls
    assert model.model_name == name
    assert model.parameter_size == model.distinct_parameter_size == parameters
    assert lucid.models.model_info(name).total_parameters == parameters
    summary = lucid.models.summarize(model, (1, 3, 224, 224))
    assert summary.multiply_adds == multiply_adds


@pytest.mark.parametrize(
    ("value", "divisor", "expected"),
    [(32, 8, 32), (33, 8, 32), (36, 8, 40), (11, 8, 16), (2, 8, 8), (42.5, 8, 40), (19, 16, 32)],
)
def test_channels_are_rounded_to_multiples(value: float, divisor: int, expected: int) -> None:
    """11 would become 8 and 19 would become 16, which is less than 90 %."""
    assert make_divisible(value, divisor) == expected


@pytest.mark.parametrize(
    ("builder", "channels"),
    [
        (mobilenet_v2, (24, 32, 96, 1280)),
        (mobilenet_v3_large, (24, 40, 112, 960)),
        (mobilenet_v3_small, (16, 24, 48, 576)),
    ],
)
def test_features_are_the_last_layers_of_each_stride(
    builder: Any, channels: tuple[int, ...]
) -> None:
    model = default(builder)
    assert model.feature_channels == channels
    assert model.feature_strides == (4, 8, 16, 32)
    x = images(2, 3, 64, 96)
    with lucid.no_grad():
        maps = model.features(x)
        last = model.layers(x)
    assert [m.shape for m in maps] == [
        (2, c, 64 // s, 96 // s) for c, s in zip(channels, (4, 8, 16, 32), strict=True)
    ]
    np.testing.assert_array_equal(maps[-1].numpy(), last.numpy())


@pytest.mark.parametrize("builder", BUILDERS)
def test_protocols(builder: Any) -> None:
    model = default(builder)
    check_backbone(model)
    assert check_classifier(model).num_classes == 10
    other = builder(num_classes=3).state_dict()
    changed = {key for key, value in model.state_dict().items() if value.shape != other[key].shape}
    (prefix,) = model.head_prefixes
    assert changed == {f"{prefix}weight", f"{prefix}bias"}


@pytest.mark.parametrize(
    ("builder", "lengths"),
    [
        (mobilenet_v2, [2, 2, 3, 7, 4, 1]),
        (mobilenet_v3_large, [2, 2, 3, 6, 3, 1]),
        (mobilenet_v3_small, [1, 1, 2, 5, 3, 1]),
    ],
)
def test_stages_begin_where_the_stride_changes(builder: Any, lengths: list[int]) -> None:
    model = default(builder)
    stages = model.stages()
    assert [len(stage) for stage in stages] == lengths
    assert all(stage[0].depthwise.conv.stride == (2, 2) for stage in stages[1:-1])


def test_features_at_other_layers() -> None:
    """The maps of torchvision's Faster R-CNN on MobileNetV3-Large."""
    model = mobilenet_v3_large(num_classes=2, out_indices=(0, 13, 16)).eval()
    assert model.feature_channels == (16, 160, 960)
    assert model.feature_strides == (2, 32, 32)
    x = images(1, 3, 64, 64)
    with lucid.no_grad():
        maps = model.features(x)
        expected = nn.Sequential(*layers(model)[:14])(x)
    assert [m.shape for m in maps] == [(1, 16, 32, 32), (1, 160, 2, 2), (1, 960, 2, 2)]
    np.testing.assert_array_equal(maps[1].numpy(), expected.numpy())


def test_layers_behind_the_last_map_are_not_computed() -> None:
    model = mobilenet_v3_small(num_classes=2, out_indices=(1,)).eval()
    calls = []
    layers(model)[1].register_forward_hook(lambda *_: calls.append(1))
    layers(model)[2].register_forward_hook(lambda *_: calls.append(2))
    with lucid.no_grad():
        model.features(images(1, 3, 16, 16))
    assert calls == [1]


def test_features_call_the_stages() -> None:
    model = mobilenet_v3_small(num_classes=2).eval()
    calls = []
    for i, stage in enumerate(model.stages()):
        stage.register_forward_hook(lambda *_, i=i: calls.append(i))
    with lucid.no_grad():
        model.features(images(1, 3, 16, 16))
        model(images(1, 3, 16, 16))
    assert calls == [0, 1, 2, 3, 4, 5] * 2


@pytest.mark.parametrize("builder", BUILDERS)
def test_forward_pools_and_classifies_the_last_map(builder: Any) -> None:
    model = default(builder)
    x = images(2, 3, 40, 40)
    with lucid.no_grad():
        values = model.features(x)[-1].numpy().mean((2, 3)).astype(np.float64)
        logits = model(x).numpy()
    for layer in model.classifier:
        if isinstance(layer, nn.Linear):
            values = values @ layer.weight.numpy().T + layer.bias.numpy()
        elif isinstance(layer, nn.Hardswish):
            values *= np.clip(values + 3, 0, 6) / 6
    np.testing.assert_allclose(logits, values, rtol=1e-4, atol=1e-5)


def test_a_block_adds_its_input_after_the_linear_projection() -> None:
    block = InvertedResidual(4, BlockConfig(3, 8, 4, "relu6")).eval()
    assert block.has_shortcut
    nn.init.zeros_(block.project.conv.weight)
    x = images(1, 4, 5, 5)
    with lucid.no_grad():
        np.testing.assert_allclose(block(x).numpy(), x.numpy(), atol=1e-7)
        block.project.norm.bias.copy_(lucid.full((4,), -5.0))
        np.testing.assert_allclose(block(x).numpy(), x.numpy() - 5, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "shortcut", "shape"),
    [
        (BlockConfig(3, 8, 4, "relu"), True, (1, 4, 6, 6)),
        (BlockConfig(3, 8, 6, "relu"), False, (1, 6, 6, 6)),
        (BlockConfig(5, 8, 4, "relu", stride=2), False, (1, 4, 3, 3)),
        (BlockConfig(5, 8, 4, "relu", stride=2, dilation=2), False, (1, 4, 6, 6)),
        (BlockConfig(5, 8, 4, "relu", dilation=2), True, (1, 4, 6, 6)),
    ],
)
def test_blocks_with_and_without_shortcut(
    config: BlockConfig, shortcut: bool, shape: tuple[int, ...]
) -> None:
    block = InvertedResidual(4, config)
    assert block.has_shortcut is shortcut
    assert block(images(1, 4, 6, 6)).shape == shape


def test_block_expands_and_squeezes_as_configured() -> None:
    plain = InvertedResidual(8, BlockConfig(3, 8, 4, "relu"))
    assert plain.expand is None
    assert plain.se is None
    squeezed = InvertedResidual(16, BlockConfig(3, 72, 16, "hardswish", squeeze=True))
    assert squeezed.expand.conv.weight.shape == (72, 16, 1, 1)
    assert squeezed.se.fc1.weight.shape == (24, 72, 1, 1)  # 18, rounded to a multiple of 8
    assert squeezed.se.scale_activation == "hardsigmoid"
    assert [c.activation for c in (squeezed.expand, squeezed.depthwise, squeezed.project)] == [
        "hardswish",
        "hardswish",
        None,
    ]


def test_prediction_folds_the_normalizations_and_gives_the_same() -> None:
    model = default(mobilenet_v3_large)
    x = images(1, 3, 64, 64)
    recorded = model(x).numpy()  # with gradients nothing is folded
    with lucid.no_grad():
        np.testing.assert_allclose(model(x).numpy(), recorded, rtol=1e-3, atol=1e-6)
    units = [module for module in model.modules() if isinstance(module, nn.ConvNormAct)]
    assert len(units) == 2 + 15 + 15 + 14
    assert all(unit._folded is not None for unit in units)


@pytest.mark.parametrize("builder", BUILDERS)
def test_initial_weights(builder: Any) -> None:
    model = default(builder)
    weight = layers(model)[-1].conv.weight.numpy()
    assert weight.std() == pytest.approx(np.sqrt(2 / weight.shape[0]), rel=0.02)
    depthwise = layers(model)[-2].depthwise.conv.weight.numpy()
    expected = np.sqrt(2 / (depthwise.shape[0] * depthwise.shape[2] ** 2))
    assert depthwise.std() == pytest.approx(expected, rel=0.05)
    for layer in model.classifier:
        if isinstance(layer, nn.Linear):
            assert layer.weight.numpy().std() == pytest.approx(0.01, rel=0.05)
            assert not layer.bias.numpy().any()
    for module in model.modules():
        if isinstance(module, nn.SqueezeExcitation):
            assert not module.fc1.bias.numpy().any()
            assert not module.fc2.bias.numpy().any()


@pytest.mark.parametrize(
    ("builder", "eps", "momentum"),
    [(mobilenet_v2, 1e-5, 0.1), (mobilenet_v3_large, 1e-3, 0.01), (mobilenet_v3_small, 1e-3, 0.01)],
)
def test_norms(builder: Any, eps: float, momentum: float) -> None:
    def norms(model: nn.Module) -> set[tuple[float, Any]]:
        batch = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        return {(m.eps, m.momentum) for m in batch}

    assert norms(default(builder)) == {(eps, momentum)}
    assert norms(builder(num_classes=1, norm_eps=0.5, norm_momentum=None)) == {(0.5, None)}


def test_frozen_norms_have_no_parameters() -> None:
    batch, frozen = default(mobilenet_v3_small), mobilenet_v3_small(num_classes=10, norm="frozen")
    assert {key for key, _ in frozen.named_parameters()} == {
        key for key, _ in batch.named_parameters() if ".norm." not in key
    }


def test_width_scales_every_layer_but_not_the_last_ones_of_v2_below_1() -> None:
    half = mobilenet_v2(num_classes=2, width_mult=0.5)
    assert half.feature_channels == (16, 16, 48, 1280)
    assert layers(half)[0].conv.out_channels == 16
    assert mobilenet_v2(num_classes=2, width_mult=0.5, round_nearest=4).feature_channels == (
        *(12, 16, 48),
        1280,
    )
    assert mobilenet_v2(num_classes=2, width_mult=1.4).feature_channels[-1] == 1792
    small = mobilenet_v3_small(num_classes=2, width_mult=0.5)
    assert small.feature_channels == (8, 16, 24, 288)
    assert small.classifier[0].weight.shape == (512, 288)


def test_reduced_tail_and_dilation_of_v3() -> None:
    model = mobilenet_v3_large(num_classes=2, reduced_tail=True, dilated=True)
    assert model.feature_channels == (24, 40, 112, 480)
    assert model.feature_strides == (4, 8, 16, 16)
    assert model.classifier[0].weight.shape == (640, 480)
    tail = [layer.depthwise.conv for layer in layers(model)[13:16]]
    assert [(c.out_channels, c.stride, c.dilation) for c in tail] == [
        (672, (1, 1), (2, 2)),
        (480, (1, 1), (2, 2)),
        (480, (1, 1), (2, 2)),
    ]
    with lucid.no_grad():
        maps = model.eval().features(images(1, 3, 64, 64))
    assert [m.shape[2] for m in maps] == [16, 8, 4, 4]


def test_dropout_acts_before_the_last_layer_in_training_only() -> None:
    for builder, position in ((mobilenet_v2, 0), (mobilenet_v3_small, 2)):
        assert default(builder).classifier[position].p == 0.2
        model = builder(num_classes=4, dropout=1.0, norm="frozen")
        x = images(1, 3, 32, 32)
        with lucid.no_grad():
            np.testing.assert_array_equal(model.train()(x).numpy(), np.zeros((1, 4)))
            assert model.eval()(x).numpy().any()


@pytest.mark.parametrize("builder", BUILDERS)
def test_every_parameter_receives_a_gradient(builder: Any) -> None:
    model = builder(num_classes=3, dropout=0.0)
    model(images(2, 3, 32, 32)).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


@pytest.mark.parametrize("builder", BUILDERS)
def test_one_pixel_image(builder: Any) -> None:
    with lucid.no_grad():
        assert default(builder)(images(1, 3, 1, 1)).shape == (1, 10)


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8), (1, 3, 0, 8)])
def test_wrong_images_are_refused(shape: tuple[int, ...]) -> None:
    for call in (default(mobilenet_v2), default(mobilenet_v2).features):
        with pytest.raises(ValueError, match=r"expected images of shape \(N, 3, H, W\)"):
            call(lucid.zeros(*shape))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"num_classes": 0}, ValueError, "num_classes: expected an integer of at least 1, got 0"),
        ({"num_classes": 2.5}, TypeError, "num_classes"),
        ({"in_channels": True}, TypeError, "in_channels"),
        ({"width_mult": 0}, ValueError, "width_mult: expected a finite number above 0, got 0"),
        ({"width_mult": "1"}, ValueError, "width_mult"),
        ({"dropout": 1.5}, ValueError, "1.5"),
        ({"norm": "layer"}, ValueError, "norm: expected"),
        ({"norm_eps": -1}, ValueError, "norm_eps"),
        ({"norm_momentum": 2}, ValueError, "norm_momentum: expected a number from 0 to 1, or None"),
        ({"out_indices": ()}, ValueError, "out_indices"),
        ({"out_indices": (3, 3)}, ValueError, "out_indices: expected ascending indices"),
        ({"out_indices": (3, 13)}, ValueError, "from 0 to 12"),
        ({"out_indices": 3}, ValueError, "out_indices"),
        ({"reduced_tail": 1}, TypeError, "reduced_tail: expected True or False, got 1"),
        ({"dilated": None}, TypeError, "dilated"),
        ({"depth": 3}, TypeError, "depth"),
    ],
)
def test_wrong_options_are_refused(
    options: dict[str, Any], error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        mobilenet_v3_small(**options)


def test_v2_refuses_a_multiple_of_0() -> None:
    with pytest.raises(ValueError, match="round_nearest: expected an integer of at least 1"):
        mobilenet_v2(round_nearest=0)


def test_timm_alias_of_v2() -> None:
    assert lucid.models.get_builder("mobilenetv2_100") is mobilenet_v2
