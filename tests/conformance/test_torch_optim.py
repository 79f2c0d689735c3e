"""Optimizers and schedules beside PyTorch's: equal trajectories with random options."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch_compare import CONFIGURATIONS, TOLERANCE, same

import lucid
from lucid import nn, optim

Rng = np.random.Generator
STEPS = 20
SEEDS = pytest.mark.parametrize("seed", range(CONFIGURATIONS))


def sgd(rng: Rng) -> dict[str, Any]:
    momentum = float(rng.choice([0.0, 0.5, 0.9]))
    nesterov = momentum > 0 and rng.random() < 0.4
    return {
        "lr": float(rng.uniform(0.001, 0.3)),
        "momentum": momentum,
        "dampening": 0.0 if nesterov else float(rng.choice([0.0, 0.3])),
        "weight_decay": float(rng.choice([0.0, 1e-4, 0.1])),
        "nesterov": bool(nesterov),
        "maximize": bool(rng.integers(2)),
    }


def adam(rng: Rng) -> dict[str, Any]:
    return {
        "lr": float(rng.uniform(0.001, 0.1)),
        "betas": (float(rng.uniform(0, 0.95)), float(rng.uniform(0.5, 0.9999))),
        "eps": float(rng.choice([1e-8, 1e-6, 1e-3])),
        "weight_decay": float(rng.choice([0.0, 1e-2, 0.3])),
        "amsgrad": bool(rng.integers(2)),
        "maximize": bool(rng.integers(2)),
    }


OPTIMIZERS = {"SGD": sgd, "Adam": adam, "AdamW": adam}


def groups(rng: Rng, parameters: list[Any], lr: float) -> list[dict[str, Any]]:
    """Two groups, the second with a learning rate of its own."""
    return [{"params": parameters[:1]}, {"params": parameters[1:], "lr": lr}]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", OPTIMIZERS)
@SEEDS
def test_optimizer(name: str, seed: int, dtype: str) -> None:
    """Sometimes a parameter has no gradient, and now and then the state is saved and loaded."""
    rng = np.random.default_rng(seed)
    options = OPTIMIZERS[name](rng)
    shapes = [(3, 2), (5,), (2, 3, 3, 3), ()]
    starts = [np.asarray(rng.standard_normal(s)).astype(dtype) for s in shapes]
    here = [nn.Parameter(a.copy()) for a in starts]
    there = [torch.nn.Parameter(torch.tensor(a)) for a in starts]
    lr = float(rng.uniform(0.001, 0.1))
    ours = getattr(optim, name)(groups(rng, here, lr), **options)
    theirs = getattr(torch.optim, name)(groups(rng, there, lr), **options)
    for step in range(STEPS):
        for a, b in zip(here, there, strict=True):
            if rng.random() < 0.1:
                a.grad, b.grad = None, None
                continue
            gradient = np.asarray(rng.standard_normal(a.shape)).astype(dtype)
            a.grad, b.grad = lucid.Tensor(gradient.copy()), torch.tensor(gradient)
        ours.step()
        theirs.step()
        for i, (a, b) in enumerate(zip(here, there, strict=True)):
            same(a.numpy(), b.detach().numpy(), dtype, f"{options}: parameter {i}, step {step}")
        if step == STEPS // 2:
            state = ours.state_dict()
            ours = getattr(optim, name)(groups(rng, here, 1.0), lr=1.0)
            ours.load_state_dict(state)


@pytest.mark.parametrize("name", OPTIMIZERS)
@SEEDS
def test_steps_with_a_closure(name: str, seed: int) -> None:
    """A least-squares fit whose loss the closure computes, and the step returns."""
    rng = np.random.default_rng(seed)
    options = OPTIMIZERS[name](rng)
    start, a, b = rng.standard_normal(3), rng.standard_normal((5, 3)), rng.standard_normal(5)
    here, there = nn.Parameter(start.copy()), torch.nn.Parameter(torch.tensor(start))
    ours = getattr(optim, name)([here], **options)
    theirs = getattr(torch.optim, name)([there], **options)

    def my_loss() -> lucid.Tensor:
        ours.zero_grad()
        loss = lucid.mean(lucid.square(lucid.Tensor(a) @ here - lucid.Tensor(b)))
        loss.backward()
        return loss

    def their_loss() -> torch.Tensor:
        theirs.zero_grad()
        loss = torch.mean(torch.square(torch.tensor(a) @ there - torch.tensor(b)))
        loss.backward()
        return loss

    for step in range(STEPS):
        mine, expected = ours.step(my_loss), theirs.step(their_loss)
        np.testing.assert_allclose(mine.item(), expected.item(), rtol=1e-9)
        same(here.numpy(), there.detach().numpy(), "float64", f"{options}: step {step}")


# --- schedules ----------------------------------------------------------------------------------

Make = Callable[[Any, Any], Any]


def step_lr(rng: Rng) -> Make:
    size, gamma = int(rng.integers(1, 8)), float(rng.uniform(0.1, 0.9))
    return lambda module, o: module.StepLR(o, size, gamma)


def multi_step_lr(rng: Rng) -> Make:
    milestones = sorted(int(m) for m in rng.integers(1, STEPS, 3))
    gamma = float(rng.uniform(0.1, 0.9))
    return lambda module, o: module.MultiStepLR(o, milestones, gamma)


def cosine(rng: Rng) -> Make:
    period, least = int(rng.integers(1, 25)), float(rng.choice([0.0, 1e-3]))
    return lambda module, o: module.CosineAnnealingLR(o, period, least)


def linear(rng: Rng) -> Make:
    start, end = float(rng.uniform(0.01, 1)), float(rng.uniform(0, 1))
    total = int(rng.integers(1, 12))
    return lambda module, o: module.LinearLR(o, start, end, total)


def sequential(rng: Rng) -> Make:
    kinds = [linear, step_lr, cosine, multi_step_lr]
    made = [kinds[int(i)](rng) for i in rng.integers(0, len(kinds), int(rng.integers(1, 4)))]
    milestones = sorted(int(m) for m in rng.choice(np.arange(1, STEPS), len(made) - 1, False))
    return lambda module, o: module.SequentialLR(o, [make(module, o) for make in made], milestones)


SCHEDULES = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "CosineAnnealingLR": cosine,
    "LinearLR": linear,
    "SequentialLR": sequential,
}


@pytest.mark.parametrize("name", SCHEDULES)
@SEEDS
def test_schedule(name: str, seed: int) -> None:
    make = SCHEDULES[name](np.random.default_rng(seed))
    here = [nn.Parameter(np.zeros(2, np.float32)) for _ in range(2)]
    there = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    ours = optim.SGD([{"params": here[:1], "lr": 0.1}, {"params": here[1:], "lr": 0.02}])
    theirs = torch.optim.SGD([{"params": there[:1], "lr": 0.1}, {"params": there[1:], "lr": 0.02}])
    with warnings.catch_warnings():
        # PyTorch warns of its own SequentialLR, which steps the others before the optimizer.
        warnings.filterwarnings("ignore", module="torch")
        mine, expected = make(optim.lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
        for step in range(STEPS):
            rates = [[group["lr"] for group in o.param_groups] for o in (ours, theirs)]
            np.testing.assert_allclose(*rates, rtol=1e-12, atol=1e-18, err_msg=f"step {step}")
            for o in (ours, theirs, mine, expected):
                o.step()


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0, float("inf")])
@SEEDS
def test_clipping_gradients(order: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gradients = [np.asarray(rng.standard_normal(s)).astype(np.float32) for s in ((3, 4), (7,), ())]
    here = [nn.Parameter(np.zeros(g.shape, np.float32)) for g in gradients]
    there = [torch.nn.Parameter(torch.zeros(g.shape)) for g in gradients]
    for a, b, g in zip(here, there, gradients, strict=True):
        a.grad, b.grad = lucid.Tensor(g.copy()), torch.tensor(g)
    most = float(rng.choice([0.0, 0.5, 100.0]))
    size = nn.utils.clip_grad_norm_(here, most, order)
    expected = torch.nn.utils.clip_grad_norm_(there, most, order)
    np.testing.assert_allclose(size.item(), expected.item(), rtol=1e-5)
    for a, b in zip(here, there, strict=True):
        same(a.grad.numpy(), b.grad.numpy(), "float32", "clipped gradient")
