"""Checks of the options of a run and the arguments of a trainer."""

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

#: Callback methods of PyTorch Lightning, Keras and others.
_FOREIGN_HOOK = re.compile(
    r"on_(?:train|training|fit|val|validation|test|batch|before|after|epoch|step)_\w+"
)


def check_integers(options: Any, names: Sequence[str], minimum: int) -> None:
    """Raise ValueError unless options are integers of at least ``minimum`` or None.

    Parameters
    ----------
    options : object
        Object with the options as attributes.
    names : sequence of str
        Names of the options.
    minimum : int
        Minimum value.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        try:
            fits = operator.index(value) >= minimum
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name}: expected an integer >= {minimum}, got {value!r}")


def check_floats(options: Any, names: Sequence[str], *, zero: bool = False) -> None:
    """Raise ValueError unless options are finite positive numbers or None.

    Parameters
    ----------
    options : object
        Object with the options as attributes.
    names : sequence of str
        Names of the options.
    zero : bool, default False
        Whether 0 is allowed.
    """
    for name in names:
        value = getattr(options, name)
        if value is None:
            continue
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not zero):
            raise ValueError(
                f"{name}: expected a finite number {'>=' if zero else '>'} 0, got {value!r}"
            )


def check_components(
    model: Any, optimizer: Any, loader: Any, scheduler: Any, validate: Any
) -> None:
    """Check the arguments of :class:`lucid.training.Trainer`.

    Raises
    ------
    TypeError
        If one of them has the wrong type.
    ValueError
        If no parameter of the optimizer is one of the model.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model: expected a lucid.nn.Module, got {model!r:.80}")
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected a lucid.optim.Optimizer, got {optimizer!r:.80}")
    if not hasattr(loader, "__len__") or not hasattr(loader, "__iter__"):
        raise TypeError(
            f"loader: expected a DataLoader or a sequence of batches, got {loader!r:.80}"
        )
    if scheduler is not None and not callable(getattr(scheduler, "step", None)):
        raise TypeError(
            f"scheduler: expected an object with a step() method, got {scheduler!r:.80}"
        )
    if validate is not None and not callable(validate):
        raise TypeError(f"validate: expected a callable, got {validate!r:.80}")
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if trained.isdisjoint(map(id, model.parameters())):
        raise ValueError(
            "optimizer: expected parameters of the model, got none of them; create the optimizer "
            "with model.parameters()"
        )


def check_callbacks(callbacks: Any) -> None:
    """Raise TypeError unless ``callbacks`` is a sequence of callbacks that will be called.

    Methods of other libraries' callbacks, such as ``on_epoch_end``, are errors.
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
                    f"callbacks: {type(callback).__name__}.{name} is never called; rename it to "
                    "on_step(trainer, losses) or on_epoch(trainer, row)"
                )
