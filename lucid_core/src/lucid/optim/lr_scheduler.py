"""Learning rates over time.

A scheduler is stepped once an epoch (or iteration), after the optimizer.  Most
steps change the present learning rate by a factor, so that two schedulers may
act on one optimizer; their rule from the initial rate, the closed form, serves
where a schedule begins in the middle of another.
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
    """Base class of schedulers; sets the learning rates of epoch 0 when it is built.

    Parameters
    ----------
    optimizer : Optimizer
        Whose groups' ``"lr"`` it changes.
    last_epoch : int, default -1
        Number of the last epoch that is done; -1 to begin.  Otherwise the
        groups must have their ``"initial_lr"``.

    Attributes
    ----------
    base_lrs : list of float
        The learning rates of the groups at first.
    last_epoch : int
        How often it has been stepped.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__} takes an optimizer, got {type(optimizer).__name__}"
            )
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{type(self).__name__}: to go on from epoch {last_epoch}, group {i} "
                    "of the optimizer needs its 'initial_lr'"
                )
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def _chainable_lr(self, lr: float, base: float) -> float:
        """The learning rate of epoch ``last_epoch``, from that of the epoch before."""
        raise NotImplementedError(f"{type(self).__name__} defines no _chainable_lr()")

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        """The learning rate of an epoch, from the initial one."""
        raise NotImplementedError(f"{type(self).__name__} defines no _closed_form_lr()")

    def step(self) -> None:
        """Go on to the next epoch."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise RuntimeError(
                f"{type(self).__name__} was built over {len(self.base_lrs)} parameter groups, "
                f"the optimizer has {len(groups)} by now"
            )
        self.last_epoch += 1
        self._set(
            [self._chainable_lr(g["lr"], b) for g, b in zip(groups, self.base_lrs, strict=True)]
        )

    def _jump(self, epoch: int) -> None:
        """Go to an epoch, whatever the learning rates are now."""
        self.last_epoch = epoch
        self._set([self._closed_form_lr(epoch, base) for base in self.base_lrs])

    def _set(self, rates: Sequence[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def get_last_lr(self) -> list[float]:
        """The learning rates that the last step set, one for each group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, as numbers, strings and lists."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if name != "optimizer"
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; the optimizer's learning rates come with its own state dict.

        Raises
        ------
        ValueError
            If it is not the state of such a scheduler over as many groups;
            nothing is changed then.
        """
        self._check_state(state_dict)
        self.__dict__.update(
            {k: list(v) if isinstance(v, list) else v for k, v in state_dict.items()}
        )

    def _check_state(self, state_dict: Mapping[str, Any]) -> None:
        expected = set(self.state_dict())
        if not isinstance(state_dict, Mapping) or set(state_dict) != expected:
            raise ValueError(
                f"the state of a {type(self).__name__} has the keys {sorted(expected)}, "
                f"got {sorted(state_dict) if isinstance(state_dict, Mapping) else state_dict!r}"
            )
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(
                f"{type(self).__name__} has {len(self.base_lrs)} parameter groups, "
                f"the state has {len(state_dict['base_lrs'])}"
            )


class StepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` every ``step_size`` epochs.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates it changes.
    step_size : int
        Epochs from one change to the next.
    gamma : float, default 0.1
        The factor.
    last_epoch : int, default -1
        See :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        check_number("StepLR", "step_size", step_size)
        check_number("StepLR", "gamma", gamma)
        if step_size < 1:
            raise ValueError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _chainable_lr(self, lr: float, base: float) -> float:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return lr * self.gamma if due else lr

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return float(base * self.gamma ** (epoch // self.step_size))


class MultiStepLR(LRScheduler):
    """Multiply the learning rate by ``gamma`` at each of several epochs.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates it changes.
    milestones : sequence of int
        The epochs; one that comes twice counts twice.
    gamma : float, default 0.1
        The factor.
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
                "pass milestones=[30, 60], for example"
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
    """Let a factor of the learning rate grow (or fall) evenly: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates it changes.
    start_factor : float, default 1/3
        The factor at epoch 0; above 0, at most 1.
    end_factor : float, default 1.0
        The factor from epoch ``total_iters`` on; from 0 to 1.
    total_iters : int, default 5
        Epochs on the way.
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
                "LinearLR needs 0 < start_factor <= 1, 0 <= end_factor <= 1 and total_iters >= 1, "
                f"got {start_factor}, {end_factor} and {total_iters}"
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
    """Take the learning rate down to ``eta_min`` along half a cosine.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates it changes.
    T_max : int
        Epochs from the initial rate to ``eta_min``; it rises again afterwards.
    eta_min : float, default 0.0
        The lowest learning rate.
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
            raise ValueError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
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
            # At the bottom the factor below would be 0 / 0.
            return lr + (base - self.eta_min) * self._cosine(self.last_epoch) / 2
        ratio = self._cosine(self.last_epoch) / self._cosine(before)
        return ratio * (lr - self.eta_min) + self.eta_min

    def _closed_form_lr(self, epoch: int, base: float) -> float:
        return self.eta_min + (base - self.eta_min) * self._cosine(epoch) / 2


class SequentialLR(LRScheduler):
    """One scheduler after the other, each beginning at a milestone with its epoch 0.

    Parameters
    ----------
    optimizer : Optimizer
        Whose learning rates they change.
    schedulers : sequence of LRScheduler
        In the order in which they take their turns; all over this optimizer.
    milestones : sequence of int
        The epochs at which the second, third, ... scheduler begins; increasing.
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
                "SequentialLR needs one milestone less than schedulers, "
                f"got {len(milestones)} for {len(schedulers)} schedulers"
            )
        if any(scheduler.optimizer is not optimizer for scheduler in schedulers):
            raise ValueError("SequentialLR: every scheduler must be built over the same optimizer")
        if list(milestones) != sorted(set(milestones)) or any(m < 1 for m in milestones):
            raise ValueError(f"SequentialLR: milestones must increase from 1, got {milestones}")
        self.milestones = [int(m) for m in milestones]
        self._schedulers = list(schedulers)
        super().__init__(optimizer, last_epoch)

    def _active_at(self, epoch: int) -> tuple[LRScheduler, int]:
        """Whose turn an epoch is, and the epoch at which that turn began."""
        i = bisect_right(self.milestones, epoch)
        return self._schedulers[i], ([0, *self.milestones])[i]

    def step(self) -> None:
        """Go on to the next epoch."""
        self.last_epoch += 1
        scheduler, begin = self._active_at(self.last_epoch)
        if self.last_epoch == begin:
            # Building the schedulers has changed the rates; each begins from the initial ones.
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
        """Its own state and that of every scheduler, as numbers, strings and lists."""
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a state; see :meth:`LRScheduler.load_state_dict`."""
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
                f"SequentialLR has {len(self._schedulers)} schedulers, the state has {len(states)}"
            )
        for scheduler, state in zip(self._schedulers, states, strict=True):
            scheduler._check_state(state)


for _scheduler in (LRScheduler, SequentialLR):
    add_class_hints(_scheduler)
add_hints(globals())
