"""Activations, softmax and dropout: values, and gradients against finite differences."""

import math

import numpy as np
import pytest

from lucid import Tensor
from lucid.nn import functional as F
from lucid.ops.activation import dropout
from lucid.testing import gradcheck

rng = np.random.default_rng(3)


def t(*shape, scale=1.0):
    return Tensor(rng.standard_normal(shape) * scale, requires_grad=True)


def test_relu_keeps_dtype_memory_order_and_nan():
    x = np.array([[-1.0, 2.0], [np.nan, -0.5]], np.float32)
    y = F.relu(x).numpy()
    np.testing.assert_array_equal(y, [[0, 2], [np.nan, 0]])
    assert y.dtype == np.float32
    images = np.zeros((2, 4, 4, 3), np.float32).transpose(0, 3, 1, 2)
    assert F.relu(images).numpy().strides == images.strides


def test_relu_has_derivative_0_at_0():
    x = Tensor(np.array([-1.0, 0.0, 1.0]), requires_grad=True)
    F.relu(x).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 1])


def test_leaky_relu():
    np.testing.assert_allclose(F.leaky_relu(np.array([-2.0, 3.0]), 0.1).numpy(), [-0.2, 3.0])


def test_gelu_matches_its_definition():
    x = np.array([-1.5, 0.0, 0.3, 2.0])
    phi = np.array([0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x])
    np.testing.assert_allclose(F.gelu(x).numpy(), x * phi, rtol=1e-12)
    np.testing.assert_allclose(F.gelu(x, "tanh").numpy(), x * phi, atol=1e-3)
    with pytest.raises(ValueError, match="'none' or 'tanh', got 'erf'"):
        F.gelu(x, "erf")


def test_silu_of_large_values_does_not_overflow():
    y = F.silu(np.array([-1000.0, -1.0, 0.0, 1000.0])).numpy()
    np.testing.assert_allclose(y, [0, -1 / (1 + math.e), 0, 1000], atol=1e-12)


CORNERS = [-np.inf, -4.0, -3.0, -1.5, 0.0, 3.0, 5.0, 6.0, 7.0, np.inf, np.nan]


@pytest.mark.parametrize("copies", [1, 3000], ids=["small", "large"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "values", "slopes"),
    [
        (
            F.relu6,
            [0, 0, 0, 0, 0, 3, 5, 6, 6, 6, np.nan],
            [0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0],
        ),
        (
            F.hardsigmoid,
            [0, 0, 0, 1 / 4, 1 / 2, 1, 1, 1, 1, 1, np.nan],
            [0, 0, 0, 1 / 6, 1 / 6, 0, 0, 0, 0, 0, 0],
        ),
        (
            F.hardswish,
            [np.nan, 0, 0, -3 / 8, 0, 3, 5, 6, 7, np.inf, np.nan],
            [0, 0, 0, 0, 1 / 2, 1, 1, 1, 1, 1, np.nan],
        ),
    ],
)
def test_piecewise_activations_at_their_breakpoints(function, values, slopes, dtype, copies):
    x = Tensor(np.tile(np.array(CORNERS, dtype), copies), requires_grad=True)
    y = function(x)
    y.backward(np.ones(x.shape, dtype))
    assert y.dtype == x.grad.dtype == dtype
    np.testing.assert_allclose(y.numpy(), np.tile(values, copies), rtol=1e-6)
    np.testing.assert_allclose(x.grad.numpy(), np.tile(slopes, copies), atol=1e-7)


@pytest.mark.parametrize("function", [F.relu6, F.hardsigmoid, F.hardswish, F.silu])
def test_activations_of_integers_are_float32(function):
    y = function(np.array([-6, 0, 6]))
    assert y.dtype == np.float32
    assert y.numpy()[2] == pytest.approx(1 if function is F.hardsigmoid else 6, rel=1e-2)


def test_softmax_values_and_large_logits():
    y = F.softmax(np.array([[0.0, math.log(3)], [1000.0, 1000.0]])).numpy()
    np.testing.assert_allclose(y, [[0.25, 0.75], [0.5, 0.5]])
    np.testing.assert_allclose(F.softmax(np.zeros((2, 5)), axis=0).numpy(), np.full((2, 5), 0.5))


def test_log_softmax_does_not_underflow():
    y = F.log_softmax(np.array([0.0, -2000.0], np.float32)).numpy()
    np.testing.assert_array_equal(y, np.array([0, -2000], np.float32))


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax_of_an_empty_axis(function):
    assert function(np.zeros((0, 4), np.float32)).shape == (0, 4)
    with pytest.raises(np.exceptions.AxisError):
        function(np.zeros(3), axis=1)


@pytest.mark.parametrize(
    "function",
    [
        F.relu,
        F.relu6,
        F.hardsigmoid,
        F.hardswish,
        F.leaky_relu,
        F.gelu,
        lambda x: F.gelu(x, "tanh"),
        F.silu,
        F.sigmoid,
        lambda x: F.softmax(x, 1),
        lambda x: F.log_softmax(x, 0),
    ],
    ids=[
        *("relu", "relu6", "hardsigmoid", "hardswish", "leaky_relu", "gelu", "gelu tanh"),
        *("silu", "sigmoid", "softmax", "log_softmax"),
    ],
)
def test_derivatives(function):
    gradcheck(function, [t(3, 4, scale=2)])


def test_dropout_zeroes_and_scales():
    x = np.ones((200, 100), np.float32)
    y = dropout(x, 0.25, np.random.default_rng(0)).numpy()
    assert y.dtype == np.float32
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75])
    assert abs((y == 0).mean() - 0.25) < 0.01


def test_dropout_gradient_uses_the_mask():
    gradcheck(lambda x: dropout(x, 0.4, np.random.default_rng(5)), [t(4, 3)])


def test_dropout_with_probability_1_is_zero():
    np.testing.assert_array_equal(
        dropout(np.ones(5), 1.0, np.random.default_rng(0)).numpy(), np.zeros(5)
    )
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1\.5"):
        dropout(np.ones(5), 1.5, np.random.default_rng(0))
