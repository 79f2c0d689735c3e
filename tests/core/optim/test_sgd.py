"""SGD against its definition, over arrays of more than one block and any layout."""

import numpy as np
import pytest

import lucid
from lucid import nn, optim


def reference(p, gradients, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False,
              maximize=False):  # fmt: skip
    buffer = None
    for g in gradients:
        g = (-g if maximize else g) + weight_decay * p
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if nesterov else buffer
        p = p - lr * g
    return p


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1},
        {"momentum": 0.8, "nesterov": True},
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1},
        {"maximize": True},
        {"maximize": True, "momentum": 0.9, "weight_decay": 0.1},
    ],
)
def test_ten_steps_equal_the_reference(options):
    rng = np.random.default_rng(1)
    start, gradients = rng.standard_normal((3, 4)), rng.standard_normal((10, 3, 4))
    p = nn.Parameter(start.copy())
    sgd = optim.SGD([p], lr=0.05, **options)
    for g in gradients:
        p.grad = lucid.Tensor(g)
        sgd.step()
    np.testing.assert_allclose(p.numpy(), reference(start, gradients, 0.05, **options), rtol=1e-12)


@pytest.mark.parametrize(
    "options", [{"weight_decay": 0.1}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}]
)
def test_memory_layout_and_size_do_not_matter(options):
    rng = np.random.default_rng(2)
    start = rng.standard_normal((40, 30, 11, 11))  # more than one block
    gradients = rng.standard_normal((3, *start.shape))
    layouts = {
        "channels last": lucid.kernels.channels_last(start.copy()),
        "C": start.copy(),
        "with gaps": np.repeat(start, 2, axis=0)[::2],
    }
    for name, array in layouts.items():
        p = nn.Parameter(array)
        sgd = optim.SGD([p], lr=0.05, **options)
        for g in gradients:
            p.grad = lucid.Tensor(g)
            sgd.step()
        np.testing.assert_allclose(
            p.numpy(), reference(start, gradients, 0.05, **options), atol=1e-12, err_msg=name
        )
        assert p.data is array


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": -0.1}, "momentum.* got -0.1"),
        ({"weight_decay": -1}, "weight_decay.* got -1"),
        ({"nesterov": True}, "momentum.* dampening=0 with nesterov=True"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "dampening=0.1"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        optim.SGD([nn.Parameter([1.0])], lr=0.1, **options)


def test_momentum_enabled_late_starts_with_the_gradient():
    p = nn.Parameter(np.zeros(1))
    sgd = optim.SGD([p], lr=1.0)
    p.grad = lucid.Tensor(np.ones(1))
    sgd.step()
    sgd.param_groups[0]["momentum"] = 0.5
    sgd.step()
    sgd.step()
    assert p.item() == -(1 + 1 + 1.5)
