"""ConvNormAct equals its separate layers."""

import itertools

import numpy as np
import pytest

import lucid
from lucid import kernels, nn
from lucid.ops.activation import activate
from lucid.testing import gradcheck

EITHER = (False, True)
ACTIVATIONS = (None, *kernels.ACTIVATIONS)
UNITS = list(itertools.product(("batch", "frozen", None), ACTIVATIONS, EITHER, EITHER))


@pytest.mark.parametrize(("norm", "activation", "with_residual", "training"), UNITS)
def test_output_equals_separate_layers(norm, activation, with_residual, training):
    unit = nn.ConvNormAct(3, 5, 3, 2, norm=norm, activation=activation).train(training)
    x = lucid.random.randn(2, 3, 7, 7)
    residual = lucid.random.randn(2, 5, 4, 4) if with_residual else None
    expected = unit.conv(x)
    if norm is not None:
        expected = unit.norm(expected)
    if residual is not None:
        expected = expected + residual
    expected = activate(expected, activation)
    np.testing.assert_allclose(unit(x, residual).numpy(), expected.numpy(), atol=1e-5)


def test_bias_and_parameter_names():
    assert [name for name, _ in nn.ConvNormAct(3, 5, 3).named_parameters()] == [
        "conv.weight", "norm.weight", "norm.bias",
    ]  # fmt: skip
    assert [name for name, _ in nn.ConvNormAct(3, 5, 3, norm="frozen").named_parameters()] == [
        "conv.weight"
    ]
    plain = nn.ConvNormAct(3, 5, 3, norm=None)
    assert [name for name, _ in plain.named_parameters()] == ["conv.weight", "conv.bias"]
    assert plain.norm is None
    unit = nn.ConvNormAct(3, 5, 3, norm_eps=0.5, norm_momentum=0.01)
    assert (unit.norm.eps, unit.norm.momentum) == (0.5, 0.01)
    assert nn.ConvNormAct(3, 5, 3, norm_momentum=None).norm.momentum is None


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 2), ((1, 5), 1), (7, 1)])
def test_default_padding_keeps_the_image_size(kernel, dilation):
    unit = nn.ConvNormAct(2, 2, kernel, dilation=dilation)
    assert unit(lucid.zeros(1, 2, 9, 8)).shape == (1, 2, 9, 8)
    assert nn.ConvNormAct(2, 2, 3, padding=0)(lucid.zeros(1, 2, 9, 8)).shape == (1, 2, 7, 6)


@pytest.mark.parametrize("norm", ["batch", "frozen", None])
@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish", "silu"])
def test_gradients(norm, activation):
    unit = nn.ConvNormAct(2, 2, 3, norm=norm, activation=activation).to("float64")
    x, residual = (lucid.random.randn(2, 2, 3, 3, dtype="float64") for _ in range(2))
    gradcheck(unit, [x.requires_grad_(), residual.requires_grad_()])


def test_submodule_hooks_are_called():
    unit, seen = nn.ConvNormAct(2, 2, 3), []
    for part in (unit.conv, unit.norm):
        part.register_forward_hook(lambda module, args, output: seen.append(type(module)))
    unit(lucid.zeros(1, 2, 4, 4))
    assert seen == [nn.Conv2d, nn.BatchNorm2d]


def test_repr():
    assert repr(nn.ConvNormAct(3, 5, 1, norm=None, activation=None)) == (
        "ConvNormAct(\n"
        "  activation=None\n"
        "  (conv): Conv2d(3, 5, kernel_size=(1, 1), stride=(1, 1))\n"
        ")"
    )


def test_invalid_arguments_are_rejected():
    with pytest.raises(ValueError, match=r"norm .*got 'group'"):
        nn.ConvNormAct(2, 2, 3, norm="group")
    with pytest.raises(ValueError, match=r"got 'mish'"):
        nn.ConvNormAct(2, 2, 3, activation="mish")


def test_residual_shape_is_checked():
    with pytest.raises(ValueError, match=r"residual.* got \(1, 2, 2, 2\)"):
        nn.ConvNormAct(2, 2, 3)(lucid.zeros(1, 2, 4, 4), lucid.zeros(1, 2, 2, 2))
