"""Focal loss against its definition, and gradients against finite differences."""

import numpy as np
import pytest

from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck

rng = np.random.default_rng(11)
REDUCTIONS = ("mean", "sum", "none")
OPTIONS = [(0.25, 2.0), (0.9, 0.0), (-1.0, 0.5), (0.5, 1.0), (0.0, 3.0), (1.0, 1.3)]


def defined(x, t, alpha, gamma):
    p = 1 / (1 + np.exp(-x))
    entropy = -t * np.log(p) - (1 - t) * np.log(1 - p)
    weight = 1 if alpha < 0 else alpha * t + (1 - alpha) * (1 - t)
    return weight * (1 - p * t - (1 - p) * (1 - t)) ** gamma * entropy


@pytest.mark.parametrize(("alpha", "gamma"), OPTIONS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_values_match_the_definition(alpha, gamma, reduction):
    x = rng.standard_normal((3, 4)) * 3
    for t in (rng.random((3, 4)), (rng.random((3, 4)) > 0.5).astype(float)):
        losses = defined(x, t, alpha, gamma)
        expected = {"mean": losses.mean(), "sum": losses.sum(), "none": losses}[reduction]
        found = F.sigmoid_focal_loss(x, t, alpha, gamma, reduction)
        # 1 - p cancels in the definition where p is near 1.
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-15)


def test_default_reduction_is_none():
    assert F.sigmoid_focal_loss(np.zeros((2, 3)), np.zeros((2, 3))).shape == (2, 3)


@pytest.mark.parametrize(("alpha", "gamma"), OPTIONS)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_derivatives(alpha, gamma, reduction):
    x = Tensor(rng.standard_normal((3, 4)) * 2, requires_grad=True)
    soft = Tensor(rng.uniform(0.1, 0.9, (3, 4)), requires_grad=True)
    gradcheck(lambda a, b: F.sigmoid_focal_loss(a, b, alpha, gamma, reduction), [x, soft])
    hard = (rng.random((3, 4)) > 0.5).astype(float)
    gradcheck(lambda a: F.sigmoid_focal_loss(a, hard, alpha, gamma, reduction), [x])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_logits_are_stable(gamma, dtype):
    x = Tensor(np.array([-800, -90, -40, 40, 90, 800], dtype), requires_grad=True)
    for target in (0, 1):
        x.grad = None
        losses = F.sigmoid_focal_loss(x, np.full(6, target, dtype), -1, gamma)
        losses.sum().backward()
        assert losses.dtype == x.grad.dtype == dtype
        sign = 1 if target == 0 else -1  # of logits of wrong predictions
        wrong = sign * x.data > 0
        np.testing.assert_allclose(losses.data[wrong], np.abs(x.data[wrong]), rtol=1e-6)
        np.testing.assert_allclose(x.grad.data[wrong], sign, rtol=1e-6)
        # For correct predictions q = 1 - p_t = exp(-|x|), and the loss is q**(gamma + 1).
        q = np.exp(-np.abs(x.data[~wrong]).astype(np.float64))
        expected = q ** (gamma + 1)
        tiny = np.finfo(dtype).tiny
        np.testing.assert_allclose(losses.data[~wrong], expected, rtol=2e-5, atol=tiny)
        slopes = sign * (gamma + 1) * expected
        np.testing.assert_allclose(x.grad.data[~wrong], slopes, rtol=2e-5, atol=3 * tiny)


def test_easy_examples_have_less_weight():
    easy, hard = F.sigmoid_focal_loss(np.array([3.0, -3.0]), np.ones(2), -1).numpy()
    plain = F.binary_cross_entropy_with_logits([3.0, -3.0], np.ones(2), reduction="none").numpy()
    assert easy / hard < 0.01 * plain[0] / plain[1]


def test_invalid_arguments():
    x = np.zeros((2, 1), np.float32)
    with pytest.raises(ValueError, match=r"equal shapes, got \(2, 1\) and \(2,\)"):
        F.sigmoid_focal_loss(x, np.zeros(2, np.float32))
    for target in (np.array([[3], [0]]), [[-1], [1]], [[0], [float("nan")]]):
        with pytest.raises(ValueError, match=r"targets in \[0, 1\], got"):
            F.sigmoid_focal_loss(x, np.array(target, np.float32))
    assert F.sigmoid_focal_loss(x, np.array([[1], [0]])).dtype == np.float32
    for alpha in (-0.5, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"alpha in \[0, 1\]"):
            F.sigmoid_focal_loss(x, x, alpha=alpha)
    for gamma in (-1, float("nan")):
        with pytest.raises(ValueError, match="gamma >= 0, got"):
            F.sigmoid_focal_loss(x, x, gamma=gamma)
    with pytest.raises(ValueError, match="got 'avg'"):
        F.sigmoid_focal_loss(x, x, reduction="avg")
