"""Normalization against its definition, and gradients against finite differences."""

import itertools

import numpy as np
import pytest

from lucid import Tensor, kernels
from lucid.autograd.mutation import track
from lucid.nn import functional as F
from lucid.ops.activation import activate
from lucid.testing import gradcheck

rng = np.random.default_rng(7)
FUSED = list(itertools.product((None, *kernels.ACTIVATIONS), (False, True)))


def t(*shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def activated(x, activation):
    return activate(Tensor(x), activation).numpy()


def channels(vector):
    return vector[:, None, None]


@pytest.mark.parametrize(("activation", "with_residual"), FUSED)
def test_batch_norm_in_training_matches_its_definition(activation, with_residual):
    x, residual = rng.standard_normal((2, 3, 4, 5)) * 3 + 1, rng.standard_normal((2, 3, 4, 5))
    w, b = rng.standard_normal(3), rng.standard_normal(3)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    expected = (x - channels(mean)) / np.sqrt(channels(var) + 1e-3) * channels(w) + channels(b)
    expected += residual if with_residual else 0
    expected = activated(expected, activation)
    running_mean, running_var = Tensor(np.ones(3)), Tensor(np.full(3, 2.0))
    y = F.batch_norm(
        x,
        running_mean,
        running_var,
        w,
        b,
        True,
        0.3,
        1e-3,
        residual=residual if with_residual else None,
        activation=activation,
    )
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(running_mean.numpy(), 0.7 + 0.3 * mean)
    np.testing.assert_allclose(running_var.numpy(), 1.4 + 0.3 * var * 40 / 39)
    assert track(running_mean._data).written > 0
    assert track(running_var._data).written > 0


@pytest.mark.parametrize(("activation", "with_residual"), FUSED)
def test_batch_norm_in_evaluation_matches_its_definition(activation, with_residual):
    x, residual = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((2, 3, 4, 5))
    w, b, mean, var = rng.standard_normal((4, 3))
    var = var**2
    before = mean.copy(), var.copy()
    expected = (x - channels(mean)) / np.sqrt(channels(var) + 1e-5) * channels(w) + channels(b)
    expected += residual if with_residual else 0
    y = F.batch_norm(
        x, mean, var, w, b, residual=residual if with_residual else None, activation=activation
    ).numpy()
    np.testing.assert_allclose(y, activated(expected, activation), atol=1e-9)
    np.testing.assert_array_equal((mean, var), before)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("activation", "with_residual"), FUSED)
def test_derivatives_of_batch_norm(training, activation, with_residual):
    mean, var = rng.standard_normal(3), rng.random(3) + 0.5

    def function(x, w, b, *residual):
        return F.batch_norm(
            x,
            None if training else mean,
            None if training else var,
            w,
            b,
            training,
            residual=residual[0] if residual else None,
            activation=activation,
        )

    inputs = [t(2, 3, 3, 2), t(3), t(3)] + ([t(2, 3, 3, 2)] if with_residual else [])
    gradcheck(function, inputs)


@pytest.mark.parametrize("training", [False, True])
def test_derivatives_of_batch_norm_without_weight(training):
    mean, var = np.zeros(3), np.ones(3)
    gradcheck(lambda x: F.batch_norm(x, mean, var, training=training), [t(2, 3, 3, 2)])


def test_evaluation_does_not_save_the_input():
    import weakref

    x = Tensor(rng.standard_normal((2, 3, 4, 4)), requires_grad=True)
    hidden = x * 2
    watched = weakref.ref(hidden.numpy())
    y = F.batch_norm(hidden, np.zeros(3), np.ones(3), np.ones(3), np.zeros(3), activation="relu")
    del hidden
    # Multiplication saves its operands, not its result.
    assert watched() is None
    y.sum().backward()
    assert x.grad.shape == x.shape


def test_affine_act():
    x, scale, shift = rng.standard_normal((2, 3, 2, 2)), *rng.standard_normal((2, 3))
    expected = np.maximum(x * channels(scale) + channels(shift) + x, 0)
    np.testing.assert_allclose(F.affine_act(x, scale, shift, x, "relu").numpy(), expected)
    gradcheck(lambda *a: F.affine_act(*a, "relu"), [t(2, 3, 2, 2), t(3), t(3), t(2, 3, 2, 2)])
    gradcheck(F.affine_act, [t(2, 3, 2, 2), scale, shift])


def test_float32_with_a_large_mean_keeps_its_precision():
    x = (rng.standard_normal((4, 2, 8, 8)) + 1000).astype(np.float32)
    y = F.batch_norm(x, None, None, training=True).numpy()
    assert y.dtype == np.float32
    wide = x.astype(np.float64)
    mean, std = wide.mean((0, 2, 3), keepdims=True), wide.std((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, (wide - mean) / std, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: F.batch_norm(x[0], None, None), r"shape \(N, C, H, W\), got \(3, 4, 4\)"),
        (lambda x: F.batch_norm(x, None, np.ones(3)), "running_mean and running_var"),
        (lambda x: F.batch_norm(x, np.zeros(2), np.ones(3)), r"running_mean of shape \(3,\)"),
        (lambda x: F.batch_norm(x, None, None, np.ones(4), training=True), r"weight of shape"),
        (
            lambda x: F.batch_norm(x[:1, :, :1, :1], None, None, training=True),
            r"two values per channel.* got an input of shape \(1, 3, 1, 1\)",
        ),
        (lambda x: F.batch_norm(x[:0], None, None, training=True), r"shape \(0, 3, 4, 4\)"),
        (
            lambda x: F.batch_norm(x, np.zeros(3), np.ones(3), residual=x[:1]),
            r"residual.*\(2, 3, 4, 4\), got \(1, 3, 4, 4\)",
        ),
        (lambda x: F.affine_act(x, np.ones(3), np.ones(2)), r"shift of shape \(3,\)"),
        (lambda x: F.group_norm(x, 2), r"got \(2, 3, 4, 4\) and num_groups=2"),
        (lambda x: F.group_norm(x, 3, np.ones(4)), r"weight of shape \(3,\), got \(4,\)"),
        (lambda x: F.layer_norm(x, (4, 3)), r"\(4, 3\).* got \(2, 3, 4, 4\)"),
        (lambda x: F.layer_norm(x, 4, bias=np.ones(3)), r"bias of shape \(4,\), got \(3,\)"),
    ],
)
def test_invalid_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.zeros((2, 3, 4, 4)))


def test_failing_batch_norm_keeps_running_statistics():
    x, mean, var = np.ones((2, 3, 4, 4)), np.zeros(3), np.ones(3)
    with pytest.raises(ValueError, match="residual"):
        F.batch_norm(x, mean, var, training=True, residual=x[:1])
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_array_equal(var, 1)


@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (3, 6), (2, 6, 5)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_matches_its_definition(shape, groups):
    x, w, b = rng.standard_normal(shape) * 2 + 1, *rng.standard_normal((2, 6))
    lined = x.reshape(shape[0], groups, -1)
    normal = (lined - lined.mean(2, keepdims=True)) / np.sqrt(lined.var(2, keepdims=True) + 1e-3)
    vector = (6, *[1] * (len(shape) - 2))
    expected = normal.reshape(shape) * w.reshape(vector) + b.reshape(vector)
    np.testing.assert_allclose(F.group_norm(x, groups, w, b, 1e-3).numpy(), expected, atol=1e-9)


def test_layer_norm_matches_its_definition():
    x, w, b = rng.standard_normal((2, 3, 4, 5)), *rng.standard_normal((2, 4, 5))
    normal = x - x.mean((2, 3), keepdims=True)
    normal /= np.sqrt(x.var((2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(F.layer_norm(x, (4, 5), w, b).numpy(), normal * w + b, atol=1e-9)
    assert F.layer_norm(x.astype(np.float32), 5).dtype == np.float32


@pytest.mark.parametrize(
    ("function", "inputs"),
    [
        (lambda x, w, b: F.group_norm(x, 2, w, b), [t(2, 4, 3, 2), t(4), t(4)]),
        (lambda x: F.group_norm(x, 2), [t(2, 4)]),
        (lambda x, w, b: F.layer_norm(x, (3, 2), w, b), [t(2, 4, 3, 2), t(3, 2), t(3, 2)]),
        (lambda x: F.layer_norm(x, 5), [t(3, 5)]),
    ],
)
def test_derivatives_of_group_and_layer_norm(function, inputs):
    gradcheck(function, inputs, rtol=1e-4)


def test_empty_batch():
    assert F.group_norm(np.zeros((0, 4, 3, 3)), 2).shape == (0, 4, 3, 3)
    assert F.layer_norm(np.zeros((0, 4)), 4).shape == (0, 4)
    assert F.batch_norm(np.zeros((0, 4, 3, 3)), np.zeros(4), np.ones(4)).shape == (0, 4, 3, 3)


def test_layer_norm_over_channels_keeps_channels_last():
    x = np.random.default_rng(0).standard_normal((2, 8, 3, 4))
    image = kernels.channels_last(x)
    y = F.layer_norm(Tensor(image).permute(0, 2, 3, 1), 8).permute(0, 3, 1, 2)
    assert kernels.is_channels_last(y.numpy())
    expected = (image - image.mean(axis=1, keepdims=True)) / image.std(axis=1, keepdims=True)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-3)
