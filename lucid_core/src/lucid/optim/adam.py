"""Adam and AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
from lucid.optim.optimizer import Optimizer, Parameters, check_not_negative, check_number

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: adaptive moment estimation.

    For parameter p with gradient g at step t::

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters to optimize, or parameter groups with options of their own.
    lr : float, default 1e-3
        Learning rate.
    betas : (float, float), default (0.9, 0.999)
        Decay rates beta1 and beta2 of the running averages, in [0, 1).
    eps : float, default 1e-8
        Added to the denominator for numerical stability.
    weight_decay : float, default 0
        L2 penalty, added to the gradient.
    amsgrad : bool, default False
        Whether to use the maximum of v over all steps instead of v.
    maximize : bool, default False
        Maximize the objective instead of minimizing it.

    Raises
    ------
    ValueError
        If an option is out of range or a parameter is given twice.

    References
    ----------
    Kingma and Ba, *Adam: A Method for Stochastic Optimization*, 2015,
    algorithm 1.

    Reddi, Kale and Kumar, *On the Convergence of Adam and Beyond*, 2018,
    algorithm 2, for ``amsgrad``.

    Examples
    --------
    >>> from lucid import nn, optim
    >>> model = nn.Linear(4, 2)
    >>> optimizer = optim.Adam(model.parameters(), lr=1e-3)
    """

    _state_keys = ("step", "exp_avg", "exp_avg_sq")
    _optional_state_keys = ("max_exp_avg_sq",)
    _decoupled = False

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": tuple(betas) if isinstance(betas, Iterable) else betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
                "maximize": maximize,
            },
        )

    def _check(self, options: Mapping[str, Any]) -> None:
        kind = type(self).__name__
        check_not_negative(kind, options, "lr", "eps", "weight_decay")
        betas = options["betas"]
        if not isinstance(betas, tuple | list):
            raise TypeError(
                f"{kind}: expected two numbers for betas, got {betas!r}; pass betas=(0.9, 0.999)"
            )
        for beta in betas:
            check_number(kind, "betas", beta)
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{kind}: expected two betas in [0, 1), got {betas}")

    def _update(
        self,
        parameters: Sequence[Array],
        gradients: Sequence[Array],
        states: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
    ) -> None:
        for p, state in zip(parameters, states, strict=True):
            if not state:
                state["step"] = 0
                state["exp_avg"] = np.zeros_like(p)
                state["exp_avg_sq"] = np.zeros_like(p)
            if options["amsgrad"] and "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = state["exp_avg_sq"].copy(order="K")
            state["step"] += 1
        b1, b2 = options["betas"]
        kernels.adam(
            parameters,
            gradients,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["max_exp_avg_sq"] for state in states] if options["amsgrad"] else [],
            [state["step"] for state in states],
            float(options["lr"]),
            (float(b1), float(b2)),
            float(options["eps"]),
            float(options["weight_decay"]),
            self._decoupled,
            bool(options["maximize"]),
        )


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Each step first multiplies the parameter by ``1 - lr * weight_decay``, then applies the update
    of :class:`Adam` without weight decay.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters to optimize, or parameter groups with options of their own.
    lr : float, default 1e-3
        Learning rate.
    betas : (float, float), default (0.9, 0.999)
        Decay rates of the running averages, in [0, 1).
    eps : float, default 1e-8
        Added to the denominator for numerical stability.
    weight_decay : float, default 0.01
        Weight decay coefficient.
    amsgrad : bool, default False
        Whether to use the maximum of v over all steps instead of v.
    maximize : bool, default False
        Maximize the objective instead of minimizing it.

    Raises
    ------
    ValueError
        If an option is out of range or a parameter is given twice.

    References
    ----------
    Loshchilov and Hutter, *Decoupled Weight Decay Regularization*, 2019,
    algorithm 2.
    """

    _decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
