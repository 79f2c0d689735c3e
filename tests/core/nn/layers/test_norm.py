"""Normalization layers: running statistics, evaluation, frozen norms."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.testing import gradcheck


def images(*shape):
    return lucid.random.randn(*shape, dtype="float64")


def test_running_statistics_are_updated_with_momentum():
    norm = nn.BatchNorm2d(3, momentum=0.25).to("float64")
    x = images(4, 3, 5, 5) * 2 + 1
    norm(x)
    data = x.numpy()
    np.testing.assert_allclose(norm.running_mean.numpy(), 0.25 * data.mean((0, 2, 3)))
    unbiased = data.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_var.numpy(), 0.75 + 0.25 * unbiased)
    assert norm.num_batches_tracked.item() == 1
    norm.eval()
    norm(x)
    assert norm.num_batches_tracked.item() == 1


def test_momentum_none_is_the_cumulative_average():
    norm = nn.BatchNorm2d(2, momentum=None).to("float64")
    batches = [images(2, 2, 3, 3) for _ in range(3)]
    for x in batches:
        norm(x)
    means = [x.numpy().mean((0, 2, 3)) for x in batches]
    np.testing.assert_allclose(norm.running_mean.numpy(), np.mean(means, axis=0))
    assert norm.num_batches_tracked.item() == 3


def test_evaluation_uses_the_running_statistics():
    norm = nn.BatchNorm2d(1, eps=0.0).eval()
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    np.testing.assert_allclose(norm(lucid.full((1, 1, 1, 1), 8.0)).numpy(), [[[[3]]]])


def test_evaluation_without_running_statistics_uses_the_batch():
    norm = nn.BatchNorm2d(2, track_running_stats=False, affine=False).to("float64").eval()
    y = norm(images(3, 2, 4, 4)).numpy()
    np.testing.assert_allclose(y.mean((0, 2, 3)), 0, atol=1e-12)
    assert norm.state_dict() == {}
    assert list(norm.parameters()) == []


def test_state_dict_keys_are_pytorchs():
    assert list(nn.BatchNorm2d(2).state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip
    assert list(nn.FrozenBatchNorm2d(2).state_dict()) == [
        "weight", "bias", "running_mean", "running_var",
    ]  # fmt: skip


def test_failing_call_counts_no_batch():
    norm = nn.BatchNorm2d(2)
    with pytest.raises(ValueError, match="two values per channel"):
        norm(lucid.zeros(1, 2, 1, 1))
    assert norm.num_batches_tracked.item() == 0
    with pytest.raises(ValueError, match=r"BatchNorm2d\(2, eps=1e-05, momentum=0.1\): expected"):
        norm(lucid.zeros(1, 3, 4, 4))


def test_frozen_norm_equals_batch_norm_in_evaluation_and_has_no_parameters():
    norm, frozen = nn.BatchNorm2d(3).to("float64"), nn.FrozenBatchNorm2d(3).to("float64")
    for _ in range(3):
        norm(images(2, 3, 4, 4))
    with lucid.no_grad():
        norm.weight.copy_([0.5, 2.0, -1.0])
        norm.bias.copy_([0.1, 0.2, 0.3])
    frozen.load_state_dict(norm.state_dict())
    norm.eval()
    x, residual = images(2, 3, 4, 4), images(2, 3, 4, 4)
    for options in ({}, {"residual": residual}, {"activation": "relu"}):
        np.testing.assert_allclose(frozen(x, **options).numpy(), norm(x, **options).numpy())
    assert frozen.parameter_size == 0
    assert frozen.train()(x).numpy().tobytes() == frozen.eval()(x).numpy().tobytes()


def test_gradients_pass_through_a_frozen_norm():
    frozen = nn.FrozenBatchNorm2d(3).to("float64")
    x = images(2, 3, 3, 3).requires_grad_()
    gradcheck(lambda v: frozen(v, activation="relu"), [x])


def test_group_and_layer_norm():
    x = images(2, 6, 3, 3)
    group, layer = nn.GroupNorm(2, 6).to("float64"), nn.LayerNorm((3, 3)).to("float64")
    lined = group(x).numpy().reshape(2, 2, -1)
    np.testing.assert_allclose(lined.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose(lined.std(2), 1, atol=1e-3)
    np.testing.assert_allclose(layer(x).numpy().mean((2, 3)), 0, atol=1e-12)
    assert nn.LayerNorm(4).weight.shape == (4,)
    assert nn.LayerNorm(4, bias=False).bias is None
    assert nn.LayerNorm(4, elementwise_affine=False).parameter_size == 0
    assert nn.GroupNorm(2, 6, affine=False).parameter_size == 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.BatchNorm2d(0), "num_features.* got 0"),
        (lambda: nn.FrozenBatchNorm2d(0), "num_features.* got 0"),
        (lambda: nn.GroupNorm(4, 6), "num_groups=4, .*num_channels=6"),
    ],
)
def test_invalid_arguments_are_rejected(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_repr():
    assert repr(nn.BatchNorm2d(3, affine=False, track_running_stats=False)) == (
        "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=False, track_running_stats=False)"
    )
    assert repr(nn.FrozenBatchNorm2d(3, eps=0.0)) == "FrozenBatchNorm2d(3, eps=0.0)"
    assert repr(nn.GroupNorm(1, 3, affine=False)) == "GroupNorm(1, 3, eps=1e-05, affine=False)"
    assert repr(nn.LayerNorm(3)) == "LayerNorm((3,), eps=1e-05)"


@pytest.mark.parametrize(
    "layer",
    [
        lambda eps: nn.BatchNorm2d(2, eps=eps),
        lambda eps: nn.FrozenBatchNorm2d(2, eps=eps),
        lambda eps: nn.GroupNorm(1, 2, eps=eps),
        lambda eps: nn.LayerNorm(2, eps=eps),
    ],
)
def test_negative_eps_is_rejected(layer):
    assert layer(0.0).eps == 0
    for eps in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="eps"):
            layer(eps)
