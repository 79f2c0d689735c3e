"""Losses against their definitions, and gradients against finite differences."""

import itertools
import math

import numpy as np
import pytest

from lucid import Tensor
from lucid.nn import functional as F
from lucid.testing import gradcheck

rng = np.random.default_rng(4)
REDUCTIONS = ("mean", "sum", "none")


def t(*shape):
    return Tensor(rng.standard_normal(shape), requires_grad=True)


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def reduced(losses, reduction, total):
    return {"mean": losses.sum() / total, "sum": losses.sum(), "none": losses}[reduction]


def test_cross_entropy_values():
    # Even logits over four classes: -log(1/4).
    loss = F.cross_entropy(np.zeros((2, 4), np.float32), np.array([1, 3]))
    assert loss.item() == pytest.approx(math.log(4))
    assert loss.dtype == np.float32
    assert loss.shape == ()


@pytest.mark.parametrize(
    ("reduction", "smoothing", "weighted"), list(itertools.product(REDUCTIONS, (0, 0.2), (0, 1)))
)
def test_cross_entropy_matches_its_definition(reduction, smoothing, weighted):
    logits = rng.standard_normal((6, 3))
    labels = np.array([0, 2, -100, 1, 1, 2])
    weight = np.array([0.5, 2.0, 1.5]) if weighted else np.ones(3)
    logp = log_softmax(logits)
    expected, total = np.zeros(6), 0.0
    for i, label in enumerate(labels):
        if label == -100:
            continue
        expected[i] = -(1 - smoothing) * weight[label] * logp[i, label]
        expected[i] -= smoothing / 3 * (weight * logp[i]).sum()
        total += weight[label]
    loss = F.cross_entropy(
        logits, labels, weight if weighted else None, -100, reduction, smoothing
    ).numpy()
    np.testing.assert_allclose(loss, reduced(expected, reduction, total), rtol=1e-12)


def test_cross_entropy_with_probabilities():
    logits, target = rng.standard_normal((2, 3, 4)), rng.random((2, 3, 4))
    expected = -(target * log_softmax(logits)).sum(axis=1)
    np.testing.assert_allclose(
        F.cross_entropy(logits, target, reduction="none").numpy(), expected, rtol=1e-12
    )
    assert F.cross_entropy(logits, target).item() == pytest.approx(expected.mean())


def test_one_hot_probabilities_equal_class_indices():
    logits, labels = rng.standard_normal((5, 3)), np.array([0, 1, 2, 1, 0])
    for smoothing in (0.0, 0.3):
        assert F.cross_entropy(
            logits, np.eye(3)[labels], label_smoothing=smoothing
        ).item() == pytest.approx(F.cross_entropy(logits, labels, label_smoothing=smoothing).item())


def test_classes_are_on_axis_1():
    logits, labels = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    loss = F.cross_entropy(logits, labels, reduction="none").numpy()
    expected = -np.take_along_axis(log_softmax(logits), labels[:, None], 1)[:, 0]
    np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_cross_entropy_with_infinite_logits_is_finite():
    # -inf logits mask classes out; 0 * inf must not appear.
    x = Tensor(np.array([[0.0, -np.inf, 0.0]]), requires_grad=True)
    loss = F.cross_entropy(x, np.array([2]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    np.testing.assert_allclose(x.grad.numpy(), [[0.5, 0, -0.5]])


def test_cross_entropy_of_large_logits_does_not_overflow():
    assert F.cross_entropy(np.array([[1e4, 0.0]], np.float32), np.array([1])).item() == 1e4


def test_empty_mean_is_nan_and_empty_sum_is_0():
    logits = np.zeros((2, 3), np.float32)
    ignored = np.array([-100, -100])
    assert math.isnan(F.cross_entropy(logits, ignored).item())
    assert F.cross_entropy(logits, ignored, reduction="sum").item() == 0
    assert F.cross_entropy(logits[:0], ignored[:0], reduction="sum").item() == 0


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((2, 3), np.array([0, 3]), r"\[0, 2\], .*got 3 \(at index \(1,\)"),
        ((2, 3), np.array([-1, 0]), r"got -1 \(at index \(0,\)"),
        ((2, 3), np.array([0, 1, 2]), r"labels of shape \(2,\) for 3 classes, got \(3,\)"),
        ((2, 3), np.array([True, False]), "integer.* got bool"),
        ((), np.array(0), r"shape \(C,\), \(N, C\) or \(N, C, ...\), got \(\)"),
    ],
)
def test_invalid_labels(loss, shape, labels, message):
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(shape), labels)


def test_invalid_options():
    x, y = np.zeros((2, 3)), np.array([0, 1])
    with pytest.raises(ValueError, match=r"weight of shape \(3,\), got \(2,\)"):
        F.cross_entropy(x, y, np.ones(2))
    with pytest.raises(ValueError, match=r"label_smoothing .*got 2"):
        F.cross_entropy(x, y, label_smoothing=2)
    with pytest.raises(ValueError, match="'mean', 'sum' or 'none', got 'avg'"):
        F.cross_entropy(x, y, reduction="avg")
    with pytest.raises(ValueError, match=r"shape \(2, 3\), got .*\(3, 2\)"):
        F.cross_entropy(x, np.zeros((3, 2)))


def test_nll_loss_is_cross_entropy_without_softmax():
    logits, labels = rng.standard_normal((4, 3)), np.array([0, 2, 1, 1])
    weight = np.array([1.0, 2.0, 3.0])
    assert F.nll_loss(F.log_softmax(logits, 1), labels, weight, 1).item() == pytest.approx(
        F.cross_entropy(logits, labels, weight, 1).item()
    )


def test_binary_cross_entropy_matches_its_definition():
    x, target = rng.standard_normal((3, 2)) * 3, rng.random((3, 2))
    weight, pos = np.array([[1.0], [2.0], [0.5]]), np.array([3.0, 0.7])
    p = 1 / (1 + np.exp(-x))
    expected = -weight * (pos * target * np.log(p) + (1 - target) * np.log(1 - p))
    loss = F.binary_cross_entropy_with_logits(x, target, weight, "none", pos)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-12)


def test_binary_cross_entropy_of_large_logits_does_not_overflow():
    x = np.array([-1e4, 1e4, 1e4], np.float32)
    loss = F.binary_cross_entropy_with_logits(x, np.array([1.0, 1, 0], np.float32), None, "none")
    np.testing.assert_array_equal(loss.numpy(), np.array([1e4, 0, 1e4], np.float32))


def test_regression_loss_values():
    x, y = np.array([0.0, 1.0, -3.0]), np.array([0.5, 1.0, 1.0])  # differences -0.5, 0, -4
    for loss, expected in (
        (F.mse_loss, [0.25, 0, 16]),
        (F.l1_loss, [0.5, 0, 4]),
        (F.smooth_l1_loss, [0.125, 0, 3.5]),
        (F.huber_loss, [0.125, 0, 3.5]),
    ):
        np.testing.assert_allclose(loss(x, y, "none").numpy(), expected)
        assert loss(x, y).item() == pytest.approx(np.mean(expected))
        assert loss(x, y, "sum").item() == pytest.approx(np.sum(expected))
    np.testing.assert_allclose(F.smooth_l1_loss(x, y, "none", 2.0).numpy(), [0.0625, 0, 3])
    np.testing.assert_allclose(F.smooth_l1_loss(x, y, "none", 0.0).numpy(), [0.5, 0, 4])
    far = F.smooth_l1_loss(np.float32([1e30]), np.float32([0]))  # its square is infinite
    assert far.item() == np.float32(1e30)
    np.testing.assert_allclose(F.huber_loss(x, y, "none", 2.0).numpy(), [0.125, 0, 6])


@pytest.mark.parametrize(
    "loss",
    [F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits],
)
def test_shapes_are_not_broadcast(loss):
    with pytest.raises(ValueError, match=r"equal shapes, got \(4, 1\) and \(4,\)"):
        loss(np.zeros((4, 1)), np.zeros(4))


def test_beta_and_delta_are_checked():
    with pytest.raises(ValueError, match="beta >= 0, got -1"):
        F.smooth_l1_loss(np.zeros(1), np.zeros(1), beta=-1)
    with pytest.raises(ValueError, match="delta > 0, got 0"):
        F.huber_loss(np.zeros(1), np.zeros(1), delta=0)


LABELS = np.array([[0, 2], [-100, 1]])
WEIGHT = np.array([0.5, 2.0, 1.5])


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize(
    ("loss", "shapes"),
    [
        (lambda x, r: F.cross_entropy(x, LABELS, WEIGHT, -100, r, 0.1), [(2, 3, 2)]),
        (lambda x, r: F.cross_entropy(x, LABELS, reduction=r), [(2, 3, 2)]),
        (lambda x, y, r: F.cross_entropy(x, y, WEIGHT, -100, r, 0.1), [(4, 3), (4, 3)]),
        (lambda x, r: F.cross_entropy(x, np.array(1), reduction=r), [(3,)]),
        (lambda x, r: F.nll_loss(x, LABELS, WEIGHT, -100, r), [(2, 3, 2)]),
        (
            lambda x, y, r: F.binary_cross_entropy_with_logits(x, y, WEIGHT, r, 2 * WEIGHT),
            [(2, 3), (2, 3)],
        ),
        (lambda x, y, r: F.mse_loss(x, y, r), [(2, 3), (2, 3)]),
        (lambda x, y, r: F.l1_loss(x, y, r), [(2, 3), (2, 3)]),
        (lambda x, y, r: F.smooth_l1_loss(x, y, r, 0.7), [(2, 3), (2, 3)]),
        (lambda x, y, r: F.huber_loss(x, y, r, 0.7), [(2, 3), (2, 3)]),
    ],
    ids=[
        "cross_entropy weighted, smoothed",
        "cross_entropy",
        "cross_entropy probabilities",
        "cross_entropy one sample",
        "nll_loss",
        "binary_cross_entropy_with_logits",
        "mse_loss",
        "l1_loss",
        "smooth_l1_loss",
        "huber_loss",
    ],
)
def test_derivatives(loss, shapes, reduction):
    gradcheck(lambda *inputs: loss(*inputs, reduction), [t(*shape) for shape in shapes])


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_ignored_positions_have_zero_gradient(loss, reduction):
    logits = t(2, 3)
    y = loss(logits, np.array([-100, -100]), reduction=reduction)
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(logits.grad, np.zeros((2, 3)))


def test_scalar_losses_keep_their_dtype():
    x = Tensor(np.float32(1.5), requires_grad=True)
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
        assert loss(x, np.float64(2)).dtype == np.float32
