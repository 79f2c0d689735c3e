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

__all__ = ["SCHEDULES", "warm_up_then"]

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


def warm_up_then(
    optimizer: Optimizer, steps: int, *, then: str = "cosine", warm_up: int | None = None
) -> LRScheduler:
    """A schedule for ``steps`` steps: a linear rise, and what comes then.

    Parameters
    ----------
    optimizer : lucid.optim.Optimizer
        Each of its groups has its own highest learning rate.
    steps : int
        Of the whole training.
    then : {"cosine", "step", "constant"}, default "cosine"
        Down to 0 along half a cosine; by a factor of 10 after 2/3 and after 8/9 of the
        steps that are left; or as it is.
    warm_up : int, optional
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
        If ``then`` is none of these, or the warm-up leaves no step.

    Examples
    --------
    >>> import lucid
    >>> from lucid import optim
    >>> from lucid.training import warm_up_then
    >>> optimizer = optim.SGD([lucid.zeros(1, requires_grad=True)], lr=1.0)
    >>> schedule = warm_up_then(optimizer, 4, warm_up=2, then="constant")
    >>> rates = []
    >>> for _ in range(4):
    ...     rates.append(round(optimizer.param_groups[0]["lr"], 2))
    ...     schedule.step()
    >>> rates
    [0.1, 0.55, 1.0, 1.0]
    """
    if then not in _AFTER:
        raise ValueError(f"the schedule must be one of {', '.join(SCHEDULES)}, got {then!r}")
    if warm_up is None:
        warm_up = min(steps // 10, _LONGEST_WARM_UP)
    if not 0 <= warm_up < max(steps, 1):
        raise ValueError(
            f"the warm-up must be shorter than the training of {steps} steps, got {warm_up}"
        )
    if warm_up == 0:
        return _AFTER[then](optimizer, max(steps, 1))
    rise = LinearLR(optimizer, start_factor=_FIRST_SHARE, total_iters=warm_up)
    return SequentialLR(
        optimizer, [rise, _AFTER[then](optimizer, steps - warm_up)], milestones=[warm_up]
    )
