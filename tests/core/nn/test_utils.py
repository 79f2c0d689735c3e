"""Clipping of gradients by their total norm."""

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


def test_gradients_are_clipped_to_the_total_norm():
    a, b = parameters([3.0], [[0.0, 4.0]])
    norm = clip_grad_norm_([a, b], 1.0)
    assert norm.item() == 5
    np.testing.assert_allclose(a.grad.numpy(), [0.6], rtol=1e-6)
    np.testing.assert_allclose(b.grad.numpy(), [[0, 0.8]], rtol=1e-6)


def test_small_gradients_are_unchanged():
    (p,) = parameters([3.0, 4.0])
    assert clip_grad_norm_(p, 5.1).item() == 5
    np.testing.assert_array_equal(p.grad.numpy(), [3, 4])


@pytest.mark.parametrize(("order", "norm"), [(1, 7), (2, 5), (3, 91 ** (1 / 3)), (math.inf, 4)])
def test_norm_types(order, norm):
    ps = parameters([-3.0], [4.0])
    assert clip_grad_norm_(ps, 100.0, order).item() == pytest.approx(norm)


def test_parameter_listed_twice_is_scaled_once():
    (p,) = parameters([4.0])
    assert clip_grad_norm_([p, p], 1.0).item() == 4
    np.testing.assert_allclose(p.grad.numpy(), [1], rtol=1e-6)


def test_norm_does_not_overflow_float32():
    for size in (1e30, 1e-30):
        (p,) = parameters([3 * size, 4 * size])
        assert clip_grad_norm_(p, 1e38).item() == pytest.approx(5 * size)


def test_norm_is_0_without_gradients():
    assert clip_grad_norm_([nn.Parameter([1.0])], 1.0).item() == 0
    assert clip_grad_norm_([], 1.0).item() == 0


def test_non_finite_norm():
    ps = parameters([np.nan], [1.0])
    with pytest.raises(RuntimeError, match=r"finite .*got nan"):
        clip_grad_norm_(ps, 1.0, error_if_nonfinite=True)
    assert ps[1].grad.item() == 1
    assert math.isnan(clip_grad_norm_(ps, 1.0).item())
    assert math.isnan(ps[1].grad.item())


def test_invalid_max_norm_is_rejected():
    with pytest.raises(ValueError, match=r"max_norm .*norm_type .*got -1 and 2"):
        clip_grad_norm_([], -1)
