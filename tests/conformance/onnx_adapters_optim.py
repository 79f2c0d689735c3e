"""Adapters of optimizers: one step from the state in the node's inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx_registry import node

from lucid import Tensor, nn, optim

#: A number of steps after which Adam's corrections for the first ones are 1.
FAR = 10**6


def step_from(
    optimizer: optim.Optimizer, parameters: list[Any], gradients: Any, states: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Update the parameters and return the new state of each."""
    loaded = optimizer.state_dict()
    loaded["state"] = dict(enumerate(states))
    optimizer.load_state_dict(loaded)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
    after = optimizer.state_dict()["state"]
    return [after[i] for i in range(len(parameters))]


def grouped(tensors: tuple[Tensor, ...], kinds: int) -> list[tuple[Tensor, ...]]:
    """Split inputs into ``kinds`` groups of equal length: parameters, gradients, and so on."""
    n = len(tensors) // kinds
    return [tensors[i * n : (i + 1) * n] for i in range(kinds)]


@node("Momentum")
def momentum(
    rate: Tensor,
    count: Tensor,
    *tensors: Tensor,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> list[Tensor]:
    """The first gradient has weight one, later ones ``beta``."""
    starts, gradients, velocities = grouped(tensors, 3)
    parameters = [nn.Parameter(x.numpy().copy()) for x in starts]
    sgd = optim.SGD(
        parameters,
        lr=rate.item(),
        momentum=alpha,
        dampening=1 - beta if count.item() else 0.0,
        weight_decay=norm_coefficient,
        nesterov=mode == "nesterov",
    )
    states = [{"momentum_buffer": v} for v in velocities]
    after = step_from(sgd, parameters, gradients, states)
    return [*parameters, *(state["momentum_buffer"] for state in after)]


@node("Adam")
def adam(
    rate: Tensor,
    count: Tensor,
    *tensors: Tensor,
    alpha: float,
    beta: float,
    epsilon: float,
    norm_coefficient: float,
) -> list[Tensor]:
    """Epsilon is added before bias correction; step 0 is not corrected."""
    starts, gradients, means, squares = grouped(tensors, 4)
    parameters = [nn.Parameter(x.numpy().copy()) for x in starts]
    done = int(count.item())
    root = np.sqrt(1 - beta**done) if done else 1.0
    optimizer = optim.Adam(
        parameters,
        lr=rate.item(),
        betas=(alpha, beta),
        eps=float(epsilon / root),
        weight_decay=norm_coefficient,
    )
    states = [
        {"step": done - 1 if done else FAR, "exp_avg": v, "exp_avg_sq": h}
        for v, h in zip(means, squares, strict=True)
    ]
    after = step_from(optimizer, parameters, gradients, states)
    kept = [state[name] for name in ("exp_avg", "exp_avg_sq") for state in after]
    return [*parameters, *kept]
