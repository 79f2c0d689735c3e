"""What a loss function gives: checked, summed, and refused when it is not finite."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any, NamedTuple

from lucid.tensor import Tensor
from lucid.training.history import PROGRESS_COLUMNS

__all__ = ["TOTAL_LOSS", "Loss", "WeightedLoss", "check_finite", "compute_losses", "sum_losses"]

#: What a user can do about a training that has diverged.
REMEDY = "Start a new run with a lower learning rate (lr, --lr) or a smaller max_grad_norm"

#: The name of the sum of all losses.
TOTAL_LOSS = "loss"


class WeightedLoss(NamedTuple):
    """A loss that is a mean, and of how much: what it counts beside those of other ranks.

    Attributes
    ----------
    value : Tensor
        The loss, a scalar.
    weight : float or None
        The number, or the sum of the weights, of what it is a mean of; None counts the
        samples of the batch.
    """

    value: Tensor
    weight: float | None = None


Given = Tensor | WeightedLoss
Loss = Callable[[Any, Any], "Given | Mapping[str, Given]"]


def compute_losses(loss: Loss, model: Any, batch: Any) -> dict[str, WeightedLoss]:
    """The losses of a batch by name; a single one is called ``"loss"``.

    Raises
    ------
    TypeError
        If ``loss(model, batch)`` gives anything but scalar tensors.
    ValueError
        If a loss has a name that the log needs otherwise.
    """
    given = loss(model, batch)
    losses = {TOTAL_LOSS: given} if isinstance(given, Given) else given
    if not isinstance(losses, Mapping) or not losses:
        raise TypeError(
            f"loss(model, batch) must give a Tensor or a dict of them, got {given!r:.80}"
        )
    checked = {
        name: v if isinstance(v, WeightedLoss) else WeightedLoss(v) for name, v in losses.items()
    }
    for name, (value, _) in checked.items():
        if not isinstance(value, Tensor) or value.size != 1:
            raise TypeError(
                f"loss(model, batch) must give scalar Tensors, got {value!r:.80} as {name!r}"
            )
    if (TOTAL_LOSS in losses and len(losses) > 1) or not losses.keys().isdisjoint(PROGRESS_COLUMNS):
        raise ValueError(
            f"several losses are summed as {TOTAL_LOSS!r}, and the log has the columns "
            f"{', '.join(PROGRESS_COLUMNS)}; losses need other names, got {', '.join(losses)}"
        )
    return checked


def sum_losses(losses: Mapping[str, WeightedLoss]) -> tuple[Tensor, dict[str, float]]:
    """The sum of the losses, and every one by name with the sum as ``"loss"``."""
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
