"""Learning rates over a whole training: up in its first steps, then down."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lucid.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    SequentialLR,
)

if TYPE_CHECKING:
    from lucid.optim import Optimizer

__all__ = ["SCHEDULES", "schedule_with_warmup"]

#: Longest warm-up that is chosen for the user, in steps.
_LONGEST_WARM_UP = 1000
#: Share of the highest learning rate that a warm-up begins with.
_FIRST_SHARE = 0.1

_AFTER: dict[str, Callable[[Any, int], LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    # Detectron's "1x": a tenth after two thirds of the way, a hundredth after eight ninths.
    "step": lambda optimizer, steps: MultiStepLR(optimizer, [steps * 2 // 3, steps * 8 // 9]),
    "constant": lambda optimizer, steps: MultiStepLR(optimizer, []),
}

#: What can follow the warm-up.
SCHEDULES = tuple(_AFTER)


def schedule_with_warmup(
    optimizer: Optimizer, steps: int, *, schedule: str = "cosine", warmup_steps: int | None = None
) -> LRScheduler:
    """A schedule for ``steps`` steps: a linear rise, and what comes then.

    Parameters
    ----------
    optimizer : lucid.optim.Optimizer
        Each of its groups has its own highest learning rate.
    steps : int
        Of the whole training.
    schedule : {"cosine", "step", "constant"}, default "cosine"
        Down to 0 along half a cosine; by a factor of 10 after 2/3 and after 8/9 of the
        steps that are left; or as it is.
    warmup_steps : int, optional
        Steps of the rise, which begins at a tenth; 0 for none.  Default: a tenth of the
        steps, at most 1000.

    Returns
    -------
    lucid.optim.lr_scheduler.LRScheduler
        The optimizer has the rate of its first step already; ``step()`` after every step
        sets the next.

    Raises
    ------
    ValueError
        If ``schedule`` is none of these, or the warm-up leaves no step.

    Examples
    --------
    >>> import lucid
    >>> from lucid import optim
    >>> from lucid.training import schedule_with_warmup
    >>> optimizer = optim.SGD([lucid.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = schedule_with_warmup(optimizer, 4, warmup_steps=2, schedule="constant")
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 2))
    ...     schedule.step()
    >>> rates
    [0.1, 0.55, 1.0, 1.0]
    """
    if schedule not in _AFTER:
        raise ValueError(f"the schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}")
    if warmup_steps is None:
        warmup_steps = min(steps // 10, _LONGEST_WARM_UP)
    if not 0 <= warmup_steps < max(steps, 1):
        raise ValueError(
            f"the warm-up must be shorter than the training of {steps} steps, got {warmup_steps}"
        )
    if warmup_steps == 0:
        return _AFTER[schedule](optimizer, max(steps, 1))
    rise = LinearLR(optimizer, start_factor=_FIRST_SHARE, total_iters=warmup_steps)
    return SequentialLR(
        optimizer,
        [rise, _AFTER[schedule](optimizer, steps - warmup_steps)],
        milestones=[warmup_steps],
    )
