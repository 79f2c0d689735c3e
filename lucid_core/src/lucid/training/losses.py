"""Loss values of a batch: validated, summed and checked to be finite."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple

from lucid.tensor import Tensor
from lucid.training.history import PROGRESS_COLUMNS

__all__ = ["TOTAL_LOSS", "Loss", "WeightedLoss", "check_finite", "compute_losses", "sum_losses"]

#: Advice for a run that has diverged.
REMEDY = "Start a new run with a lower learning rate (lr, --lr) or a smaller max_grad_norm"

#: Name of the sum of all losses.
TOTAL_LOSS = "loss"


class WeightedLoss(NamedTuple):
    """A loss that is a mean, with its weight in the average over ranks.

    Attributes
    ----------
    value : Tensor
        The loss, a scalar.
    weight : float or None
        Number of items, or sum of their weights, that the mean is over.  Default: the number of
        samples.
    """

    value: Tensor
    weight: float | None = None


LossValue = Tensor | WeightedLoss
Loss = Callable[[Any, Any], "LossValue | Mapping[str, LossValue]"]


def compute_losses(loss: Loss, model: Any, batch: Any) -> dict[str, WeightedLoss]:
    """Return the losses of a batch by name; a single one is named ``"loss"``.

    Raises
    ------
    TypeError
        If ``loss(model, batch)`` returns other values than scalar tensors.
    ValueError
        If the name of a loss is reserved.
    """
    returned = loss(model, batch)
    losses = {TOTAL_LOSS: returned} if isinstance(returned, LossValue) else returned
    if not isinstance(losses, Mapping) or not losses:
        raise TypeError(
            f"loss(model, batch): expected a Tensor or a dict of Tensors, got {returned!r:.80}"
        )
    weighted = {
        name: value if isinstance(value, WeightedLoss) else WeightedLoss(value)
        for name, value in losses.items()
    }
    for name, (value, _) in weighted.items():
        if not isinstance(value, Tensor) or value.size != 1:
            raise TypeError(
                f"loss(model, batch): expected scalar Tensors, got {value!r:.80} as {name!r}"
            )
    if (TOTAL_LOSS in losses and len(losses) > 1) or not losses.keys().isdisjoint(PROGRESS_COLUMNS):
        raise ValueError(
            f"loss(model, batch): expected names other than {TOTAL_LOSS!r} (the sum), "
            f"{', '.join(PROGRESS_COLUMNS)}, got {', '.join(losses)}"
        )
    return weighted


def sum_losses(losses: Mapping[str, WeightedLoss]) -> tuple[Tensor, dict[str, float]]:
    """Return the sum of the losses, and all values by name with the sum as ``"loss"``."""
    total = reduce(operator.add, [loss.value for loss in losses.values()])
    values = {name: float(loss.value.item()) for name, loss in losses.items()}
    return total, {**values, TOTAL_LOSS: float(total.item())}


def check_finite(values: Mapping[str, float], where: str) -> None:
    """Raise FloatingPointError for the first value that is NaN or infinite."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is {value} at {where}; the update was not made. {REMEDY}"
            )
