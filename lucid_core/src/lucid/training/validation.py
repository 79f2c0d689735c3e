"""Validation after an epoch: metrics that can be trusted, and the best model."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.autograd import no_grad
from lucid.training.history import PROGRESS_COLUMNS
from lucid.training.losses import REMEDY
from lucid.weights import save
from lucid.weights.model_file import save_model

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = ["check_metrics", "check_weights", "improves", "run_validation", "save_best"]


def run_validation(
    model: Module, validate: Callable[[Any], Mapping[str, float]]
) -> Mapping[str, float]:
    """Call ``validate(model)`` in evaluation mode without recording; restore the modes."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            return validate(model)
    finally:
        for module, training in modes:
            module.training = training


def check_metrics(
    metrics: Mapping[str, float], losses: Collection[str], monitor: str | None, where: str
) -> dict[str, float]:
    """Return the metrics as floats.

    Parameters
    ----------
    metrics : mapping of str to float
        What a validation gave.
    losses : collection of str
        Names that the log uses for the training losses.
    monitor : str or None
        The metric that decides which model is the best.
    where : str
        The step and epoch, for error messages.

    Raises
    ------
    TypeError
        If it gave no mapping, or a metric is no number.
    ValueError
        If a name is taken, or the monitored metric is missing.
    FloatingPointError
        If a loss, a metric with "loss" in its name, is NaN or infinite.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"validate: expected metrics by name in a dict, got {metrics!r:.80}")
    if taken := sorted({*PROGRESS_COLUMNS, *losses} & metrics.keys()):
        raise ValueError(
            f"validate gave metrics named {taken}, which the log has already; call them "
            "otherwise, for example val_loss"
        )
    if monitor is not None and monitor not in metrics:
        raise ValueError(f"validate gave {sorted(metrics)}, not the monitored {monitor!r}")
    values = {name: _number(name, value) for name, value in metrics.items()}
    for name, value in values.items():
        if "loss" in name and not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value}, not finite, in the validation after {where}: the training has "
                f"diverged. {REMEDY}"
            )
    return values


def _number(name: str, value: Any) -> float:
    if isinstance(value, str | bytes) or not hasattr(value, "__float__"):
        raise TypeError(f"validate: expected a number as metric {name!r}, got {value!r:.80}")
    return float(value)


def check_weights(model: Module, step: int, where: str) -> None:
    """Raise FloatingPointError if a parameter or buffer of the model is NaN or infinite.

    Parameters
    ----------
    model : Module
        What is trained.
    step : int
        How many steps were made; before the first the weights are those that were given.
    where : str
        The step and its epoch.
    """
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    broken = [
        name
        for name, value in state.items()
        if value.dtype.kind == "f" and not np.isfinite(value).all()
    ]
    if broken:
        count = f"{len(broken)} of the model's {len(state)} tensors are not finite"
        if step == 0:
            raise FloatingPointError(
                f"{count} before the first step (the first is {broken[0]}): give other weights "
                "to start from"
            )
        raise FloatingPointError(
            f"{count} after {where} (the first is {broken[0]}): the training has diverged, and "
            f"they were not saved. {REMEDY}"
        )


def improves(value: float, best: float | None, mode: str) -> bool:
    """Whether a metric is better than the best so far; of equal ones the first stays."""
    if best is None or not math.isfinite(value):
        return math.isfinite(value)
    return value > best if mode == "max" else value < best


def save_best(
    model: Module,
    path: Path,
    class_names: Sequence[str] | None,
    preprocessing: Mapping[str, Any] | None,
) -> None:
    """Save a model of the registry as a whole, and any other as its state dict."""
    if model.model_name is None:
        save(model.state_dict(), path)
    else:
        save_model(model, path, class_names=class_names, preprocessing=preprocessing)
