"""State of a trainer: progress, and the states of its named objects."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lucid.errors import WeightFileError
from lucid.training.callback import Callback
from lucid.training.checkpoint import check_storable, load_checkpoint
from lucid.training.checkpointables import (
    Checkpointable,
    RandomState,
    check_checkpointables,
    named_callbacks,
    restore,
)
from lucid.training.communicator import Communicator

if TYPE_CHECKING:
    from lucid.data import DataLoader
    from lucid.nn import Module
    from lucid.optim import Optimizer
    from lucid.optim.lr_scheduler import LRScheduler

__all__ = ["TrainerState"]

_PROGRESS = ("epoch", "step", "batch", "best", "sums", "history")
_MODEL_NAME, _CALLBACKS = "model_name", "callbacks"
_ENTRIES = {*_PROGRESS, _MODEL_NAME, _CALLBACKS}
_OWN_NAMES = frozenset({*_ENTRIES, "random", "model", "optimizer", "scheduler", "loader"})


class TrainerState:
    """State that :class:`~lucid.training.Trainer` saves and restores.

    Parameters
    ----------
    model, optimizer, loader, scheduler : object
        As for :class:`~lucid.training.Trainer`.
    callbacks : sequence of Callback
        As for :class:`~lucid.training.Trainer`.
    checkpointables : mapping of str to Checkpointable
        As for :class:`~lucid.training.Trainer`.

    Attributes
    ----------
    epoch, step, batch : int
        Number of completed epochs, optimizer steps, and batches of the current epoch.
    sums : dict
        Sums of the losses over the batches of the current epoch.
    history : list of dict
        One row per epoch.
    best : float or None
        Best value of the monitored metric.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loader: DataLoader | Sequence[Any],
        scheduler: LRScheduler | None,
        callbacks: Sequence[Callback],
        checkpointables: Mapping[str, Checkpointable],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loader = loader
        self.scheduler = scheduler
        self.callbacks = list(callbacks)
        self.checkpointables = check_checkpointables(checkpointables, _OWN_NAMES)
        self._fit_callbacks: tuple[Callback, ...] = ()

        self.epoch = 0
        self.step = 0
        self.batch = 0
        self.sums: dict[str, float] = {}
        self.history: list[dict[str, Any]] = []
        self.best: float | None = None
        self._take_snapshot()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the rest of the run depends on.

        Returns
        -------
        dict
            Progress (``epoch``, ``step``, ``batch``, ``best``, ``sums``, ``history``),
            ``model_name``, and states by name: ``random``, ``model``, ``optimizer``,
            ``scheduler`` and ``loader`` if they have a state, callbacks with a state, and
            ``checkpointables``.
        """
        states = {name: part.state_dict() for name, part in self._named_checkpointables().items()}
        progress = {name: getattr(self, name) for name in _PROGRESS}
        return {_MODEL_NAME: self.model.model_name, **progress, **states, **self._snapshot}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by :meth:`state_dict`: all of it, or nothing.

        Parameters
        ----------
        state : mapping
            The state.

        Raises
        ------
        ValueError
            If names are missing or unknown, or a state does not match its object.
        """
        progress = _progress(state)
        restore(self._named_checkpointables(), _named_states(state, self._callback_names()))
        for name, value in progress.items():
            setattr(self, name, value)
        self._take_snapshot()

    @property
    def _all_callbacks(self) -> list[Callback]:
        return [*self.callbacks, *self._fit_callbacks]

    def _callback_names(self) -> list[str | None]:
        return named_callbacks(self._all_callbacks, self.checkpointables, _OWN_NAMES)

    def _named_checkpointables(self) -> dict[str, Checkpointable]:
        """Return all checkpointables by name, in restore order."""
        optional = {"scheduler": self.scheduler, "loader": self.loader}
        names = zip(self._callback_names(), self._all_callbacks, strict=True)
        return {
            "random": RandomState(),
            "model": self.model,
            "optimizer": self.optimizer,
            **{name: one for name, one in optional.items() if isinstance(one, Checkpointable)},
            **{name: callback for name, callback in names if name is not None},
            **self.checkpointables,
        }

    def _take_snapshot(self) -> None:
        """Save random state and loader position between steps.

        When a checkpoint is written, the next batch may already be loaded.
        """
        self._snapshot = {"random": RandomState().state_dict()}
        if isinstance(self.loader, Checkpointable):
            self._snapshot["loader"] = dict(self.loader.state_dict())

    def _check_storable(self) -> None:
        """Raise TypeError before the first step if a checkpoint cannot store a state."""
        for name, part in self._named_checkpointables().items():
            if name not in _OWN_NAMES:
                check_storable(name, part.state_dict())

    def _resume(self, path: str | os.PathLike[str], communicator: Communicator) -> None:
        """Restore a checkpoint file, read by rank 0."""
        state = communicator.call_on_main(lambda: load_checkpoint(path))
        try:
            self.load_state_dict(state)
        except (ValueError, TypeError) as error:
            saved = state.get(_MODEL_NAME) or "a model without a name"
            model = self.model.model_name or type(self.model).__name__
            raise WeightFileError(
                f"{os.fspath(path)}: cannot resume the run of {saved} with {model}: {error}"
            ) from error


def _progress(state: Mapping[str, Any]) -> dict[str, Any]:
    if missing := [name for name in _PROGRESS if name not in state]:
        raise ValueError(f"the state lacks {', '.join(missing)}")
    progress = {name: state[name] for name in _PROGRESS}
    progress["sums"] = dict(progress["sums"])
    progress["history"] = [dict(row) for row in progress["history"]]
    return progress


def _named_states(state: Mapping[str, Any], callbacks: Sequence[str | None]) -> dict[str, Any]:
    """Return the states of a checkpoint by name.

    Lucid 0.1.0 saved a list with the states of all callbacks, including empty ones, and None for
    a missing scheduler or loader; the list gets the names in ``callbacks``.
    """
    named = {name: kept for name, kept in state.items() if name not in _ENTRIES}
    if _CALLBACKS not in state:
        return named
    before = list(state[_CALLBACKS])
    had = [i for i, kept in enumerate(before) if kept]
    if len(before) != len(callbacks) or any(callbacks[i] is None for i in had):
        raise ValueError(
            f"expected states of {len(callbacks)} callbacks, got {len(before)}, {len(had)} of them "
            "not empty; pass the callbacks with which the file was saved"
        )
    return {
        **{name: kept for name, kept in named.items() if kept is not None},
        **{name: kept for name, kept in zip(callbacks, before, strict=True) if name is not None},
    }
