"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
from lucid.optim.optimizer import Optimizer, Parameters, check_not_negative, check_number

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay.

    For parameter p with gradient g and momentum buffer b::

        g = g + weight_decay * p
        b = momentum * b + (1 - dampening) * g    # b = g at the first step
        p = p - lr * b                            # nesterov: p - lr * (g + momentum * b)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters to optimize, or parameter groups with options of their own.
    lr : float, default 1e-3
        Learning rate.
    momentum : float, default 0
        Momentum factor.
    dampening : float, default 0
        Dampening of the gradient in the momentum buffer.
    weight_decay : float, default 0
        L2 penalty, added to the gradient.
    nesterov : bool, default False
        Whether to use Nesterov momentum; needs momentum above 0 and no dampening.
    maximize : bool, default False
        Maximize the objective instead of minimizing it.

    Raises
    ------
    ValueError
        If an option is out of range or a parameter is given twice.

    References
    ----------
    Sutskever et al., *On the importance of initialization and momentum in deep
    learning*, 2013, section 2.

    Examples
    --------
    >>> from lucid import nn, optim
    >>> model = nn.Linear(4, 2)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    """

    _state_keys = ("momentum_buffer",)

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
            },
        )

    def _check(self, options: Mapping[str, Any]) -> None:
        check_not_negative("SGD", options, "lr", "momentum", "weight_decay")
        check_number("SGD", "dampening", options["dampening"])
        if options["nesterov"] and not (options["momentum"] > 0 and options["dampening"] == 0):
            raise ValueError(
                "SGD: expected momentum above 0 and dampening=0 with nesterov=True, "
                f"got momentum={options['momentum']} and dampening={options['dampening']}"
            )

    def _update(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        states: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        is_first = ["momentum_buffer" not in state for state in states]
        buffers: list[Array] = []
        if options["momentum"]:
            buffers = [
                np.empty_like(p) if new else state["momentum_buffer"]
                for p, state, new in zip(parameters, states, is_first, strict=True)
            ]
        kernels.sgd(
            parameters,
            gradients,
            buffers,
            is_first,
            float(options["lr"]),
            float(options["momentum"]),
            float(options["dampening"]),
            float(options["weight_decay"]),
            bool(options["nesterov"]),
            bool(options["maximize"]),
        )
        for buffer, state in zip(buffers, states, strict=False):  # none without momentum
            state["momentum_buffer"] = buffer
