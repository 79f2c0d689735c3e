"""Learning-rate schedulers.

Call ``scheduler.step()`` once per epoch (or iteration), after ``optimizer.step()``.  Schedulers
use the chainable form, which multiplies the current learning rate, so that several can act on one
optimizer; :class:`SequentialLR` uses the closed form to start a scheduler at a milestone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lucid.hints import add_class_hints, add_hints
from lucid.optim.optimizer import Optimizer, check_number

__all__ = [
    "CosineAnnealingLR",
    "LRScheduler",
    "LinearLR",
    "MultiStepLR",
    "SequentialLR",
    "StepLR",
]


class LRScheduler:
    """Base class of schedulers.  The constructor sets the learning rates of epoch 0.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer; ``"lr"`` of its groups is scheduled.
    last_epoch : int, default -1
        Last completed epoch, -1 for none.  Otherwise the groups need ``"initial_lr"``.

    Attributes
    ----------
    base_lrs : list of float
        Initial learning rates of the groups.
    last_epoch : int
        Current epoch.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}"
            )
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: expected 'initial_lr' in group {i} of the optimizer "
                    f"to continue from epoch {last_epoch}"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def _chainable_lr(self, lr: float, base: float) -> float:
        """Return the learning rate of epoch ``last_epoch`` from that of the previous epoch."""
        raise NotImplementedError(f"{type(self).__name__} defines no _chainable_lr()")

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        """Return the learning rate of an epoch from the initial one."""
        raise NotImplementedError(f"{type(self).__name__} defines no _closed_form_lr()")

    def step(self) -> None:
        """Advance to the next epoch."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise RuntimeError(
                f"{type(self).__name__}: expected {len(self.base_lrs)} parameter groups, got "
                f"{len(groups)}; add groups before creating the scheduler"
            )
        self.last_epoch += 1
        self._set(
            [self._chainable_lr(g["lr"], b) for g, b in zip(groups, self.base_lrs, strict=True)]
        )

    def _jump(self, epoch: int) -> None:
        """Set the learning rates of an epoch by the closed form."""
        self.last_epoch = epoch
        self._set([self._closed_form_lr(epoch, base) for base in self.base_lrs])

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """Return the learning rates set by the last step, one per group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Return the state without the optimizer, as numbers, strings and lists."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if name != "optimizer"
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a state; the learning rates are part of the optimizer's state dict.

        Raises
        ------
        ValueError
            If it is the state of another kind of scheduler or number of groups; nothing is
            changed.
        """
        self._check_state(state_dict)
        self.__dict__.update(
            {k: list(v) if isinstance(v, list) else v for k, v in state_dict.items()}
        )

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        expected = set(self.state_dict())
        if not isinstance(state_dict, Mapping) or set(state_dict) != expected:
            raise ValueError(
                f"{type(self).__name__}: expected a state with the keys {sorted(expected)}, "
                f"got {sorted(state_dict) if isinstance(state_dict, Mapping) else state_dict!r}"
            )
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__}: expected {len(self.base_lrs)} parameter groups, got "
                f"{len(state_dict['base_lrs'])} in the state"
            )


class StepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` every ``step_size`` epochs.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer.
    step_size : int
        Number of epochs between changes.
    gamma : float, default 0.1
        Multiplicative factor.
    last_epoch : int, default -1
        See :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        check_number("StepLR", "step_size", step_size)
        check_number("StepLR", "gamma", gamma)
        if step_size < 1:
            raise ValueError(f"StepLR: expected step_size >= 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _chainable_lr(self, lr: float, base: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return lr * self.gamma if due else lr

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return float(base * self.gamma ** (epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` at each milestone.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer.
    milestones : sequence of int
        Epochs at which the learning rate changes; a repeated one counts twice.
    gamma : float, default 0.1
        Multiplicative factor.
    last_epoch : int, default -1
        See :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(milestones, Iterable) or isinstance(milestones, str):
            raise TypeError(
                f"MultiStepLR: expected a list of epochs for milestones, got {milestones!r}; "
                "pass for example milestones=[30, 60]"
            )
        check_number("MultiStepLR", "gamma", gamma)
        self.milestones = sorted(int(m) for m in milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _chainable_lr(self, lr: float, base: float) -> float:
        return float(lr * self.gamma ** self.milestones.count(self.last_epoch))

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return float(base * self.gamma ** bisect_right(self.milestones, epoch))


class LinearLR(LRScheduler):
    """Change a factor of the learning rate linearly, for example as a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer.
    start_factor : float, default 1/3
        Factor at epoch 0, in (0, 1].
    end_factor : float, default 1.0
        Factor from epoch ``total_iters`` on, in [0, 1].
    total_iters : int, default 5
        Number of epochs from ``start_factor`` to ``end_factor``.
    last_epoch : int, default -1
        See :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (
            ("start_factor", start_factor),
            ("end_factor", end_factor),
            ("total_iters", total_iters),
        ):
            check_number("LinearLR", name, value)
        if not 0 < start_factor <= 1 or not 0 <= end_factor <= 1 or total_iters < 1:
            raise ValueError(
                "LinearLR: expected start_factor in (0, 1], end_factor in [0, 1] and "
                f"total_iters >= 1, got {start_factor}, {end_factor} and {total_iters}"
            )
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _factor(self, epoch: int) -> float:
        done = min(epoch, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done

    def _chainable_lr(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr * self.start_factor
        if self.last_epoch > self.total_iters:
            return lr
        return lr * (self._factor(self.last_epoch) / self._factor(self.last_epoch - 1))

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return base * self._factor(epoch)


class CosineAnnealingLR(LRScheduler):
    """Cosine annealing, ``eta_min + (lr - eta_min) * (1 + cos(pi * epoch / T_max)) / 2``.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer.
    T_max : int
        Number of epochs from the initial learning rate to ``eta_min``; it rises again after.
    eta_min : float, default 0.0
        Minimum learning rate.
    last_epoch : int, default -1
        See :class:`LRScheduler`.

    References
    ----------
    Loshchilov and Hutter, *SGDR: Stochastic Gradient Descent with Warm
    Restarts*, 2017, equation 5, without the restarts.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_max: int,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        check_number("CosineAnnealingLR", "T_max", T_max)
        check_number("CosineAnnealingLR", "eta_min", eta_min)
        if T_max < 1:
            raise ValueError(f"CosineAnnealingLR: expected T_max >= 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _cosine(self, epoch: int) -> float:
        return 1 + math.cos(math.pi * epoch / self.T_max)

    def _chainable_lr(self, lr: float, base: float) -> float:
        if self.last_epoch == 0:
            return lr
        before = self.last_epoch - 1
        if before % (2 * self.T_max) == self.T_max:
            # At the minimum the factor below is 0 / 0.
            return lr + (base - self.eta_min) * self._cosine(self.last_epoch) / 2
        ratio = self._cosine(self.last_epoch) / self._cosine(before)
        return ratio * (lr - self.eta_min) + self.eta_min

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return self.eta_min + (base - self.eta_min) * self._cosine(epoch) / 2


class SequentialLR(LRScheduler):
    """Run schedulers one after another, each from its epoch 0 at its milestone.

    Parameters
    ----------
    optimizer : Optimizer
        Wrapped optimizer.
    schedulers : sequence of LRScheduler
        Schedulers of this optimizer, in order.
    milestones : sequence of int
        Epochs at which the second, third, ... scheduler starts; increasing.
    last_epoch : int, default -1
        See :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ValueError(
                f"SequentialLR: expected one milestone fewer than schedulers, got "
                f"{len(milestones)} for {len(schedulers)} schedulers"
            )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: expected schedulers of the given optimizer, got others")
        if list(milestones) != sorted(set(milestones)) or any(m < 1 for m in milestones):
            raise ValueError(f"SequentialLR: expected increasing milestones >= 1, got {milestones}")
        self.milestones = [int(m) for m in milestones]
        self._schedulers = list(schedulers)
        super().__init__(optimizer, last_epoch)

    def _active_at(self, epoch: int) -> tuple[LRScheduler, int]:
        """Return the scheduler that is active in an epoch, and its first epoch."""
        i = bisect_right(self.milestones, epoch)
        return self._schedulers[i], ([0, *self.milestones])[i]

    def step(self) -> None:
        """Advance to the next epoch."""
        self.last_epoch += 1
        scheduler, begin = self._active_at(self.last_epoch)
        if self.last_epoch == begin:
            # Constructing the schedulers changed the rates; each starts from the initial ones.
            scheduler._jump(0)
        else:
            scheduler.step()
        self._last_lr = scheduler.get_last_lr()

    def _jump(self, epoch: int) -> None:
        self.last_epoch = epoch
        scheduler, begin = self._active_at(epoch)
        scheduler._jump(epoch - begin)
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return the state with that of every scheduler, as numbers, strings and lists."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a state; see :meth:`LRScheduler.load_state_dict`."""
        self._check_state(state_dict)
        own = dict(state_dict)
        for scheduler, state in zip(self._schedulers, own.pop("_schedulers"), strict=True):
            scheduler.load_state_dict(state)
        self.__dict__.update({k: list(v) if isinstance(v, list) else v for k, v in own.items()})

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        super()._check_state(state_dict)
        states = state_dict["_schedulers"]
        if len(states) != len(self._schedulers):
            raise ValueError(
                f"SequentialLR: expected the state of {len(self._schedulers)} schedulers, got "
                f"{len(states)}"
            )
        for scheduler, state in zip(self._schedulers, states, strict=True):
            scheduler._check_state(state)


for _scheduler in (LRScheduler, SequentialLR):
    add_class_hints(_scheduler)
add_hints(globals())
