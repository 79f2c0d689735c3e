"""Checks of what a run or a trainer is started with."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from typing import Any

from lucid.nn import Module
from lucid.optim import Optimizer
from lucid.training.callback import Callback

__all__ = ["check_callbacks", "check_components", "check_floats", "check_integers"]

#: Hooks of PyTorch Lightning, Keras and others.
_FOREIGN_HOOK = re.compile(
    r"on_(?:train|training|fit|val|validation|test|batch|before|after|epoch|step)_\w+"
)


def check_integers(options: Any, names: Sequence[str], least: int) -> None:
    """Refuse options that are no whole numbers of at least ``least``; None is allowed.

    Parameters
    ----------
    options : object
        With an attribute for each name.
    names : sequence of str
        The options.
    least : int
        The smallest number allowed.

    Raises
    ------
    ValueError
        If one of them is another value.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        try:
            fits = operator.index(value) >= least
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {value!r}")


def check_floats(options: Any, names: Sequence[str], *, zero: bool = False) -> None:
    """Refuse options that are no finite numbers above 0; None is allowed.

    Parameters
    ----------
    options : object
        With an attribute for each name.
    names : sequence of str
        The options.
    zero : bool, default False
        Whether 0 is allowed.

    Raises
    ------
    ValueError
        If one of them is another value.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not zero):
            least = "at least 0" if zero else "above 0"
            raise ValueError(f"{name}: expected a finite number {least}, got {value!r}")


def check_components(
    model: Any, optimizer: Any, loader: Any, scheduler: Any, validate: Any
) -> None:
    """Refuse what is no part of a training, and an optimizer that would not train the model.

    Parameters
    ----------
    model, optimizer, loader, scheduler, validate : object
        As given to :class:`lucid.training.Trainer`.

    Raises
    ------
    TypeError
        If one of them is of another kind.
    ValueError
        If no parameter of the optimizer is one of the model.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model: expected a lucid.nn.Module, got {model!r:.80}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected one of lucid.optim, got {optimizer!r:.80}")
    if not hasattr(loader, "__len__") or not hasattr(loader, "__iter__"):
        raise TypeError(
            f"loader: expected a DataLoader or a sequence of batches, got {loader!r:.80}"
        )
    if scheduler is not None and not callable(getattr(scheduler, "step", None)):
        raise TypeError(
            f"scheduler: expected one of lucid.optim.lr_scheduler, got {scheduler!r:.80}"
        )
    if validate is not None and not callable(validate):
        raise TypeError(f"validate: expected a function of the model, got {validate!r:.80}")
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if trained.isdisjoint(map(id, model.parameters())):
        raise ValueError(
            "optimizer: expected parameters of the model, got none of them, so that the model "
            "would not change; build the optimizer on model.parameters()"
        )


def check_callbacks(callbacks: Any) -> None:
    """Refuse callbacks that would not be called.

    Parameters
    ----------
    callbacks : object
        Sequence of :class:`~lucid.training.Callback`.

    Raises
    ------
    TypeError
        If it is no sequence of instances, or one has a method of another library's callbacks,
        such as ``on_epoch_end``.
    """
    if not isinstance(callbacks, Sequence):
        raise TypeError(f"callbacks: expected a list of callbacks, got {callbacks!r:.80}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks: expected instances of lucid.training.Callback, got {callback!r:.80}"
            )
        for name in dir(callback):
            if _FOREIGN_HOOK.fullmatch(name) and callable(getattr(callback, name)):
                raise TypeError(
                    f"callbacks: {type(callback).__name__}.{name} is never called; name it "
                    "on_step(trainer, losses) or on_epoch(trainer, row)"
                )
