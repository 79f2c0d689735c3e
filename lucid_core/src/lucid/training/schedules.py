"""Learning-rate schedules with warm-up."""

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

#: Maximum default warm-up, in steps.
_MAX_WARMUP_STEPS = 1000
#: Factor of the learning rate at the first warm-up step.
_START_FACTOR = 0.1

_DECAY: dict[str, Callable[[Any, int], LRScheduler]] = {
    "cosine": CosineAnnealingLR,
    # Detectron's 1x schedule.
    "step": lambda optimizer, steps: MultiStepLR(optimizer, [steps * 2 // 3, steps * 8 // 9]),
    "constant": lambda optimizer, steps: MultiStepLR(optimizer, []),
}

#: Names of the schedules after the warm-up.
SCHEDULES = tuple(_DECAY)


def schedule_with_warmup(
    optimizer: Optimizer, steps: int, *, schedule: str = "cosine", warmup_steps: int | None = None
) -> LRScheduler:
    """Return a schedule of ``steps`` steps: linear warm-up, then decay.

    Parameters
    ----------
    optimizer : lucid.optim.Optimizer
        The optimizer; the learning rates of its groups are the maxima.
    steps : int
        Total number of steps of the run.
    schedule : {"cosine", "step", "constant"}, default "cosine"
        After the warm-up: cosine annealing to 0; division by 10 after 2/3 and 8/9 of the
        remaining steps; or a constant learning rate.
    warmup_steps : int, optional
        Number of steps of the warm-up, which starts at a tenth of the learning rate.  Default:
        ``steps // 10``, at most 1000.

    Returns
    -------
    lucid.optim.lr_scheduler.LRScheduler
        Scheduler to step after every optimizer step.

    Raises
    ------
    ValueError
        If ``schedule`` is unknown, or the warm-up is not shorter than ``steps``.

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
    if schedule not in _DECAY:
        raise ValueError(f"schedule: expected {', '.join(SCHEDULES)}, got {schedule!r}")
    if warmup_steps is None:
        warmup_steps = min(steps // 10, _MAX_WARMUP_STEPS)
    if not 0 <= warmup_steps < max(steps, 1):
        raise ValueError(
            f"warmup_steps: expected 0 to {steps - 1} of {steps} steps, got {warmup_steps}"
        )
    if warmup_steps == 0:
        return _DECAY[schedule](optimizer, max(steps, 1))
    warmup = LinearLR(optimizer, start_factor=_START_FACTOR, total_iters=warmup_steps)
    return SequentialLR(
        optimizer,
        [warmup, _DECAY[schedule](optimizer, steps - warmup_steps)],
        milestones=[warmup_steps],
    )
