"""Convolution layers: shapes, layout, initial values, errors."""

import math

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, 3), (2, 6, 7, 6)),
        (nn.Conv2d(4, 6, 3, 2, 1), (2, 6, 5, 4)),
        (nn.Conv2d(4, 6, (3, 1), (1, 2), (1, 0), dilation=1, groups=2), (2, 6, 9, 4)),
        (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (2, 6, 9, 8)),
        (nn.Conv2d(4, 6, 3, padding="valid", bias=False), (2, 6, 7, 6)),
        (nn.ConvTranspose2d(4, 6, 2, 2), (2, 6, 18, 16)),
        (nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2, False, 2), (2, 6, 20, 18)),
    ],
)
def test_shapes_and_layout(layer, shape):
    x = lucid.random.randn(2, 4, 9, 8)
    assert layer(x).shape == shape
    assert layer.weight.data.transpose(0, 2, 3, 1).flags.c_contiguous
    layer(x).sum().backward()
    assert layer.weight.grad.shape == layer.weight.shape


def test_conv2d_equals_functional():
    layer = nn.Conv2d(4, 6, 3, 2, 1, 2, 2)
    x = lucid.random.randn(1, 4, 8, 8)
    expected = F.conv2d(x, layer.weight, layer.bias, 2, 1, 2, 2)
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())
    assert layer.weight.shape == (6, 2, 3, 3)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(2, 1), "same"])
def test_padding_modes_equal_explicit_padding(mode, padding):
    layer = nn.Conv2d(2, 3, (3, 2), padding=padding, padding_mode=mode)
    x = lucid.random.randn(2, 2, 5, 6)
    widths = (0, 1, 1, 1) if padding == "same" else (1, 1, 2, 2)
    expected = F.conv2d(F.pad(x, widths, mode), layer.weight, layer.bias)
    np.testing.assert_array_equal(layer(x).numpy(), expected.numpy())
    with lucid.no_grad():
        np.testing.assert_allclose(layer(x).numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
        unit = nn.ConvNormAct(2, 3, 3, norm=None, activation=None)
        unit.conv = layer
        np.testing.assert_allclose(unit(x).numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_conv_transpose2d_weight_shape():
    assert nn.ConvTranspose2d(4, 6, 3, groups=2).weight.shape == (4, 3, 3, 3)


def test_initial_values_are_bounded_by_fan_in():
    layer = nn.Conv2d(50, 60, 3)
    bound = 1 / math.sqrt(50 * 9)
    for p in (layer.weight, layer.bias):
        assert 0.9 * bound < np.abs(p.numpy()).max() <= bound


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_wrong_input_shape_is_rejected(kind):
    layer = kind(4, 6, 3, padding=1)
    message = rf"{kind.__name__}\(4, 6, kernel_size=\(3, 3\), stride=\(1, 1\), padding=\(1, 1\)\)"
    message += r".*\(N, 4, H, W\), got \(1, 3, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        layer(lucid.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"got \(4, 8, 8\)"):
        layer(lucid.zeros(4, 8, 8))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Conv2d(0, 1, 1), "Conv2d: .*in_channels.* got 0"),
        (lambda: nn.Conv2d(4, 6, 3, groups=3), "groups=3, .*in_channels=4"),
        (lambda: nn.Conv2d(4, 6, 0), "kernel_size"),
        (lambda: nn.Conv2d(4, 6, 3, padding="full"), "padding .*got 'full'"),
        (lambda: nn.Conv2d(4, 6, 3, 2, "same"), r"'same'.*stride 1, got \(2, 2\)"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="same"), "padding_mode .*got 'same'"),
        (lambda: nn.Conv2d(4, 6, 3, stride=(1, 1, 1)), "stride"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, padding=-1), "padding"),
    ],
)
def test_invalid_arguments_are_rejected(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_repr_shows_non_default_options():
    assert repr(nn.Conv2d(4, 6, 3, dilation=2, groups=2, bias=False)) == (
        "Conv2d(4, 6, kernel_size=(3, 3), stride=(1, 1), dilation=(2, 2), groups=2, bias=False)"
    )
    assert repr(nn.Conv2d(1, 1, 1, padding_mode="circular")) == (
        "Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1), padding_mode='circular')"
    )
    assert repr(nn.Conv2d(1, 1, 1, padding="same")) == (
        "Conv2d(1, 1, kernel_size=(1, 1), stride=(1, 1), padding=same)"
    )


@pytest.mark.parametrize("option", ["stride", "padding", "dilation"])
def test_fractional_sizes_are_rejected(option):
    with pytest.raises(ValueError, match=option):
        F.conv2d(lucid.ones(1, 1, 5, 5), lucid.ones(1, 1, 3, 3), **{option: 1.5})
    with pytest.raises(TypeError, match="in_channels"):
        nn.Conv2d(3.0, 4, 1)
