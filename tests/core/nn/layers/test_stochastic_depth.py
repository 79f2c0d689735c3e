"""Stochastic depth: drop rate, scale, modes, evaluation."""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F
from lucid.testing import gradcheck


def test_row_mode_drops_whole_samples_and_scales_the_rest():
    x = lucid.ones(20_000, 2, 3)
    y = F.stochastic_depth(x, 0.25, generator=lucid.random.Generator(1)).numpy()
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.75])
    assert abs((y[:, 0, 0] == 0).mean() - 0.25) < 0.01


def test_batch_mode_drops_the_whole_batch():
    generator = lucid.random.Generator(1)
    x = lucid.ones(3, 2)
    draws = [F.stochastic_depth(x, 0.5, "batch", generator=generator).numpy() for _ in range(400)]
    assert {tuple(np.unique(y)) for y in draws} == {(0.0,), (2.0,)}
    assert 150 < sum(y[0, 0] == 0 for y in draws) < 250


def test_evaluation_and_p_0_return_the_input():
    x = lucid.ones(3, 2)
    assert nn.StochasticDepth(0.5).eval()(x) is x
    assert F.stochastic_depth(x, 0.5, training=False) is x
    assert nn.StochasticDepth(0.0)(x) is x
    np.testing.assert_array_equal(nn.StochasticDepth(1.0)(x).numpy(), np.zeros((3, 2)))


def test_layer_uses_the_default_generator():
    layer, x = nn.StochasticDepth(0.5), lucid.ones(64, 1)
    assert repr(layer) == "StochasticDepth(p=0.5, mode='row')"
    lucid.random.seed(3)
    first = layer(x).numpy()
    second = layer(x).numpy()
    lucid.random.seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert (first != second).any()


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_gradient_follows_the_mask(mode):
    x = lucid.random.randn(5, 2, dtype="float64").requires_grad_()
    gradcheck(lambda x: F.stochastic_depth(x, 0.4, mode, generator=lucid.random.Generator(2)), [x])


def test_invalid_arguments_are_rejected():
    x = lucid.ones(2, 2)
    for wrong in (nn.StochasticDepth, lambda p: F.stochastic_depth(x, p)):
        with pytest.raises(ValueError, match=r"got 1\.5"):
            wrong(1.5)
    with pytest.raises(TypeError, match=r"p, got '0\.5'"):
        nn.StochasticDepth("0.5")
    for wrong in (nn.StochasticDepth, lambda p, mode: F.stochastic_depth(x, p, mode)):
        with pytest.raises(ValueError, match=r"mode .*'row' or 'batch', got 'sample'"):
            wrong(0.5, "sample")
    with pytest.raises(ValueError, match=r"\(N, \.\.\.\), got"):
        F.stochastic_depth(lucid.tensor(1.0), 0.5)
