"""Layers that wrap a function equal that function."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F

X = lucid.random.randn(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("layer", "function", "settings"),
    [
        (nn.ReLU(), F.relu, ""),
        (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2), "negative_slope=0.2"),
        (nn.GELU("tanh"), lambda x: F.gelu(x, "tanh"), "approximate='tanh'"),
        (nn.SiLU(), F.silu, ""),
        (nn.ReLU6(), F.relu6, ""),
        (nn.Hardsigmoid(), F.hardsigmoid, ""),
        (nn.Hardswish(), F.hardswish, ""),
        (nn.Sigmoid(), F.sigmoid, ""),
        (nn.Tanh(), F.tanh, ""),
        (nn.Softmax(1), lambda x: F.softmax(x, 1), "axis=1"),
        (nn.LogSoftmax(1), lambda x: F.log_softmax(x, 1), "axis=1"),
        (nn.Identity(), lambda x: x, ""),
        (nn.Identity(3, kernel_size=2), lambda x: x, ""),
        (nn.Flatten(), lambda x: x.reshape(2, 48), "start_axis=1, end_axis=-1"),
        (nn.Flatten(0, 1), lambda x: x.reshape(6, 4, 4), "start_axis=0, end_axis=1"),
        (
            nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            lambda x: F.max_pool2d(x, 3, 2, 1, 1, True),
            "kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1), ceil_mode=True",
        ),
        (
            nn.AvgPool2d(2, count_include_pad=False),
            lambda x: F.avg_pool2d(x, 2),
            "kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=False, "
            "count_include_pad=False",
        ),
        (
            nn.AvgPool2d(2, divisor_override=3),
            lambda x: F.avg_pool2d(x, 2, divisor_override=3),
            "kernel_size=(2, 2), stride=(2, 2), padding=(0, 0), ceil_mode=False, "
            "count_include_pad=True",
        ),
        (nn.AdaptiveAvgPool2d(2), lambda x: F.adaptive_avg_pool2d(x, 2), "output_size=2"),
        (
            nn.Upsample(scale_factor=2, mode="bilinear"),
            lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
            "scale_factor=2, mode='bilinear'",
        ),
        (
            nn.Upsample(scale_factor=1.4, recompute_scale_factor=True),
            lambda x: F.interpolate(x, scale_factor=1.4, recompute_scale_factor=True),
            "scale_factor=1.4, mode='nearest'",
        ),
        (nn.Upsample(7), lambda x: F.interpolate(x, 7), "size=7, mode='nearest'"),
    ],
)
def test_layer_equals_functional(layer, function, settings):
    np.testing.assert_array_equal(layer(X).numpy(), function(X).numpy())
    assert repr(layer) == f"{type(layer).__name__}({settings})"


def test_max_pool_returns_indices():
    values, indices = nn.MaxPool2d(2, return_indices=True)(X)
    expected, places = F.max_pool2d(X, 2, return_indices=True)
    np.testing.assert_array_equal(values.numpy(), expected.numpy())
    np.testing.assert_array_equal(indices.numpy(), places.numpy())


def test_dropout_is_active_in_training_only():
    layer = nn.Dropout(0.5)
    assert (layer(X).numpy() == 0).any()
    assert layer.eval()(X) is X
    assert repr(layer) == "Dropout(p=0.5)"


def test_linear():
    layer = nn.Linear(4, 2)
    expected = X.numpy() @ layer.weight.numpy().T + layer.bias.numpy()
    np.testing.assert_allclose(layer(X).numpy(), expected, rtol=1e-5, atol=1e-6)
    assert np.abs(layer.weight.numpy()).max() <= 0.5
    assert nn.Linear(4, 2, bias=False).bias is None
    assert layer(lucid.zeros(0, 4)).shape == (0, 2)
    with pytest.raises(
        ValueError,
        match=r"Linear\(in_features=4, out_features=2\): .* \(\.\.\., 4\), got \(2, 3\)",
    ):
        layer(lucid.zeros(2, 3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.Linear(3, 0), "Linear: .*out_features.* got 0"),
        (lambda: nn.Dropout(-0.1), "p .*got -0.1"),
        (lambda: nn.GELU("fast"), "'none' or 'tanh', got 'fast'"),
        (lambda: nn.Upsample(), "either size or scale_factor"),
        (lambda: nn.MaxPool2d(0), "kernel_size"),
    ],
)
def test_invalid_arguments_are_rejected(build, message):
    with pytest.raises(ValueError, match=message):
        build()
