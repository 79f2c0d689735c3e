"""Squeeze-and-excitation: values by hand, training, inference, changed weights."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F
from lucid.testing import gradcheck


def by_hand(layer, x, activation, scale_activation):
    means = x.numpy().mean((2, 3))
    for part, function in ((layer.fc1, activation), (layer.fc2, scale_activation)):
        means = function(means @ part.weight.numpy()[:, :, 0, 0].T + part.bias.numpy()).numpy()
    return x.numpy() * means[:, :, None, None]


@pytest.mark.parametrize("recording", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("options", "functions"),
    [
        ({}, (F.relu, F.hardsigmoid)),
        ({"activation": "silu", "scale_activation": "sigmoid"}, (F.silu, F.sigmoid)),
        ({"scale_activation": None}, (F.relu, lucid.Tensor)),
    ],
)
def test_output_equals_the_definition(options, functions, dtype, recording):
    layer = nn.SqueezeExcitation(6, 3, **options).to(dtype)
    x = lucid.random.randn(2, 6, 5, 4, dtype=dtype) + 1
    with lucid.set_grad_enabled(recording):
        y = layer(x)
    assert (y.requires_grad, y.dtype) == (recording, np.dtype(dtype))
    np.testing.assert_allclose(y.numpy(), by_hand(layer, x, *functions), rtol=1e-5, atol=1e-6)


def test_gradients():
    layer = nn.SqueezeExcitation(3, 2, "silu", "sigmoid").to("float64")
    x = lucid.random.randn(2, 3, 2, 3, dtype="float64").requires_grad_()
    gradcheck(lambda x, *_: layer(x), [x, *layer.parameters()])


def test_float32_gradients_equal_those_of_float64():
    """Channels last, where kernels of their own scale the channels."""
    images = np.random.default_rng(0).standard_normal((2, 5, 6, 20))
    found = []
    for dtype in ("float32", "float64"):
        lucid.random.seed(0)
        layer = nn.SqueezeExcitation(20, 4).to(dtype)
        x = lucid.tensor(images.astype(dtype).transpose(0, 3, 1, 2), requires_grad=True)
        y = layer(x)
        (y * y).sum().backward()
        found.append([leaf.grad.numpy() for leaf in (x, *layer.parameters())])
    for single, double in zip(*found, strict=True):
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, double, atol=1e-5 * np.abs(double).max())


def test_parameter_names_are_torchvisions():
    layer = nn.SqueezeExcitation(6, 3)
    shapes = {key: value.shape for key, value in layer.state_dict().items()}
    assert shapes == {
        "fc1.weight": (3, 6, 1, 1),
        "fc1.bias": (3,),
        "fc2.weight": (6, 3, 1, 1),
        "fc2.bias": (6,),
    }
    assert repr(layer).startswith(
        "SqueezeExcitation(\n  activation='relu', scale_activation='hardsigmoid'\n"
    )


def test_inference_uses_hooks_and_changed_weights():
    layer, seen = nn.SqueezeExcitation(4, 2), []
    x = lucid.random.randn(1, 4, 3, 3)
    with lucid.no_grad():
        layer(x)
        layer.fc2.weight.data[...] = 0
        layer.fc2.bias.data[...] = 3
        np.testing.assert_allclose(layer(x).numpy(), x.numpy())
        layer.fc1.register_forward_hook(lambda module, args, output: seen.append(output.shape))
        layer(x)
    assert seen == [(1, 2, 1, 1)]


def test_invalid_input_and_arguments_are_rejected():
    with pytest.raises(ValueError, match=r"\(N, 4, H, W\), got \(1, 3, 2, 2\)"):
        nn.SqueezeExcitation(4, 2)(lucid.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"got 'tanh'"):
        nn.SqueezeExcitation(4, 2, scale_activation="tanh")
    with pytest.raises(ValueError, match=r"squeeze_channels.* got 0"):
        nn.SqueezeExcitation(4, 0)
