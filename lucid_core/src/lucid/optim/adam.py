"""Adam, with the weight decay in the gradient or apart from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lucid import kernels
from lucid.autograd.variable import Array
from lucid.optim.optimizer import Optimizer, Parameters, check_not_negative, check_number

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Steps scaled by running means of the gradient m and of its square v.

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``;
    ``p -= lr * m' / (sqrt(v') + eps)`` with ``m' = m / (1 - b1^t)`` and
    ``v' = v / (1 - b2^t)`` at step t.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them with options of their own.
    lr : float, default 1e-3
        Learning rate.
    betas : (float, float), default (0.9, 0.999)
        The numbers b1 and b2, each from 0 to below 1.
    eps : float, default 1e-8
        Added to the root of v'.
    weight_decay : float, default 0
        Factor of the L2 penalty, which becomes part of the gradient.
    amsgrad : bool, default False
        Take for v in v' the largest that it has been.
    maximize : bool, default False
        Climb: take the gradient with the opposite sign.

    Raises
    ------
    ValueError
        If an option is out of range or a parameter comes twice.

    References
    ----------
    Kingma and Ba, *Adam: A Method for Stochastic Optimization*, 2015,
    algorithm 1.

    Reddi, Kale and Kumar, *On the Convergence of Adam and Beyond*, 2018,
    algorithm 2, for ``amsgrad``.
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
            raise ValueError(f"{kind}: betas must be two numbers from 0 to below 1, got {betas}")

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
    """Adam whose weight decay shrinks the parameter and leaves the gradient alone.

    ``p *= 1 - lr * weight_decay`` before each step of :class:`Adam`.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Parameters, or groups of them with options of their own.
    lr : float, default 1e-3
        Learning rate.
    betas : (float, float), default (0.9, 0.999)
        Shares of the running means that are kept.
    eps : float, default 1e-8
        Added to the root of the second mean.
    weight_decay : float, default 0.01
        Share of the parameter, times ``lr``, that a step takes away.
    amsgrad : bool, default False
        Scale by the largest that the second mean has been.
    maximize : bool, default False
        Climb: take the gradient with the opposite sign.

    Raises
    ------
    ValueError
        If an option is out of range or a parameter comes twice.

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
