"""Clipping the gradients of a model by their common norm."""

import math

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn.utils import clip_grad_norm_


def parameters(*gradients):
    result = [nn.Parameter(np.zeros(np.shape(g), np.float32)) for g in gradients]
    for p, g in zip(result, gradients, strict=True):
        p.grad = lucid.Tensor(np.array(g, np.float32))
    return result


def test_clips_to_the_norm_over_all_parameters():
    a, b = parameters([3.0], [[0.0, 4.0]])
    norm = clip_grad_norm_([a, b], 1.0)
    assert norm.item() == 5
    np.testing.assert_allclose(a.grad.numpy(), [0.6], rtol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), [[0, 0.8]], rtol=1e-6)


def test_leaves_small_gradients_alone():
    (p,) = parameters([3.0, 4.0])
    assert clip_grad_norm_(p, 5.1).item() == 5
    np.testing.assert_array_equal(p.grad.numpy(), [3, 4])


@pytest.mark.parametrize(("order", "norm"), [(1, 7), (2, 5), (3, 91 ** (1 / 3)), (math.inf, 4)])
def test_orders_of_the_norm(order, norm):
    ps = parameters([-3.0], [4.0])
    assert clip_grad_norm_(ps, 100.0, order).item() == pytest.approx(norm)


def test_a_parameter_listed_twice_is_scaled_once():
    (p,) = parameters([4.0])
    assert clip_grad_norm_([p, p], 1.0).item() == 4
    np.testing.assert_allclose(p.grad.numpy(), [1], rtol=1e-6)


def test_squares_beyond_the_range_of_float32():
    for size in (1e30, 1e-30):
        (p,) = parameters([3 * size, 4 * size])
        assert clip_grad_norm_(p, 1e38).item() == pytest.approx(5 * size)


def test_without_gradients_the_norm_is_0():
    assert clip_grad_norm_([nn.Parameter([1.0])], 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0


def test_a_norm_that_is_not_finite():
    ps = parameters([np.nan], [1.0])
    with pytest.raises(RuntimeError, match="a norm of nan; they were not clipped"):
        clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert ps[1].grad.item() == 1
    assert math.isnan(clip_grad_norm_(ps, 1.0).item())
    assert math.isnan(ps[1].grad.item())


def test_wrong_limits():
    with pytest.raises(ValueError, match="max_norm >= 0 and norm_type > 0, got -1, 2"):
        clip_grad_norm_([], -1)
