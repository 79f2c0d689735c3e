"""Adam and AdamW against their definitions."""

import numpy as np
import pytest

import lucid
from lucid import nn, optim


def reference(p, gradients, lr, betas, eps, weight_decay, decoupled, amsgrad, maximize):
    m, v = np.zeros_like(p), np.zeros_like(p)
    largest = v
    for t, g in enumerate(gradients, 1):
        if maximize:
            g = -g
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        largest = np.maximum(largest, v) if amsgrad else v
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(largest / (1 - betas[1] ** t)) + eps)
    return p


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", [optim.Adam, optim.AdamW])
@pytest.mark.parametrize("shape", [(3, 4), (70, 1001)])
@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("maximize", [False, True])
def test_steps_equal_the_reference(kind, decay, shape, amsgrad, maximize):
    rng = np.random.default_rng(3)
    start, gradients = rng.standard_normal(shape), rng.standard_normal((5, *shape))
    p = nn.Parameter(start.copy())
    adam = kind([p], 0.02, (0.8, 0.5), 1e-6, decay, amsgrad, maximize=maximize)
    for g in gradients:
        p.grad = lucid.Tensor(g)
        adam.step()
    options = (kind is optim.AdamW, amsgrad, maximize)
    expected = reference(start, gradients, 0.02, (0.8, 0.5), 1e-6, decay, *options)
    np.testing.assert_allclose(p.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_first_step_has_the_size_of_lr():
    p = nn.Parameter(np.zeros(3))
    p.grad = lucid.Tensor(np.array([5.0, -0.01, 3e5]))
    optim.Adam([p], lr=0.1).step()
    np.testing.assert_allclose(p.numpy(), [-0.1, 0.1, -0.1], rtol=1e-5)


def test_amsgrad_enabled_late_starts_from_the_current_average():
    p = nn.Parameter(np.zeros(1))
    adam = optim.Adam([p], lr=1.0, betas=(0.0, 0.5), eps=0.0)
    p.grad = lucid.Tensor(np.full(1, 4.0))
    adam.step()
    adam.param_groups[0]["amsgrad"] = True
    assert "max_exp_avg_sq" not in adam.state[p]
    p.grad = lucid.Tensor(np.full(1, 1.0))
    adam.step()
    # v was 8 and is 4.5 now.
    assert adam.state[p]["max_exp_avg_sq"].item() == 8
    assert adam.state[p]["exp_avg_sq"].item() == 4.5


def test_float32_stays_float32():
    p = nn.Parameter([1.0, 2.0])
    p.grad = lucid.ones(2)
    adam = optim.AdamW([p])
    adam.step()
    assert p.dtype == np.float32
    assert adam.state[p]["exp_avg_sq"].dtype == np.float32
    assert optim.AdamW([p]).param_groups[0]["weight_decay"] == 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"betas": (0.9, 1.0)}, r"betas .*got \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, "betas .*got"),
        ({"eps": -1e-8}, "eps.* got -1e-08"),
        ({"weight_decay": -1}, "AdamW: .*weight_decay.* got -1"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        optim.AdamW([nn.Parameter([1.0])], **options)
