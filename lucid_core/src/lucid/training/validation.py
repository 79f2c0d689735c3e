"""Validation after each epoch: metrics, finite weights, best model."""

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
    """Call ``validate(model)`` in evaluation mode without gradients; restore the modes."""
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
        Return value of ``validate``.
    losses : collection of str
        Names of the training losses.
    monitor : str or None
        Metric that selects the best model.
    where : str
        Step and epoch, for error messages.

    Raises
    ------
    TypeError
        If it is no mapping, or a metric is no number.
    ValueError
        If a name is reserved, or the monitored metric is missing.
    FloatingPointError
        If a metric with "loss" in its name is NaN or infinite.
    """
    if not isinstance(metrics, Mapping):
        raise TypeError(f"validate: expected a dict of metrics, got {metrics!r:.80}")
    if taken := sorted({*PROGRESS_COLUMNS, *losses} & metrics.keys()):
        raise ValueError(
            f"validate: expected names that the log does not have yet, got {taken}; rename them, "
            "for example to val_loss"
        )
    if monitor is not None and monitor not in metrics:
        raise ValueError(
            f"validate: expected the monitored metric {monitor!r}, got {sorted(metrics)}"
        )
    values = {name: _number(name, value) for name, value in metrics.items()}
    for name, value in values.items():
        if "loss" in name and not math.isfinite(value):
            raise FloatingPointError(
                f"expected a finite {name}, got {value} (validation after {where}): the run has "
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
        Model to check.
    step : int
        Number of steps done; 0 for the initial weights.
    where : str
        Step and epoch, for error messages.
    """
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    not_finite = [
        name
        for name, value in state.items()
        if value.dtype.kind == "f" and not np.isfinite(value).all()
    ]
    if not_finite:
        count = f"{len(not_finite)} of the model's {len(state)} tensors are not finite"
        if step == 0:
            raise FloatingPointError(
                f"{count} before the first step (the first is {not_finite[0]}); start from other "
                "weights"
            )
        raise FloatingPointError(
            f"{count} after {where} (the first is {not_finite[0]}): the run has diverged; these "
            f"weights were not saved. {REMEDY}"
        )


def improves(value: float, best: float | None, mode: str) -> bool:
    """Whether a metric is strictly better than the best so far; NaN and infinity never are."""
    if best is None or not math.isfinite(value):
        return math.isfinite(value)
    return value > best if mode == "max" else value < best


def save_best(
    model: Module,
    path: Path,
    class_names: Sequence[str] | None,
    preprocessing: Mapping[str, Any] | None,
) -> None:
    """Save a registered model as a model file, any other model as a state dict."""
    if model.model_name is None:
        save(model.state_dict(), path)
    else:
        save_model(model, path, class_names=class_names, preprocessing=preprocessing)
