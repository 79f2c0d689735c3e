"""Callbacks of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucid.training.trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Base class of callbacks, which run after steps and epochs; all methods are optional.

    A callback with a state overrides :meth:`state_dict` and :meth:`load_state_dict`.  Checkpoints
    save the state under the class name, or the callback's name in
    ``Trainer(checkpointables=...)``.  Call ``trainer.stop()`` to end the run.  In a distributed
    run, only rank 0 calls its callbacks, unless their class sets ``on_every_rank = True``.

    Attributes
    ----------
    on_every_rank : bool
        Whether every rank calls it; needed if it changes the model or the optimizer.

    Examples
    --------
    >>> from lucid.training import Callback
    >>> class StopWhenGood(Callback):
    ...     def on_epoch(self, trainer, row):
    ...         if row["accuracy"] > 0.99:
    ...             trainer.stop()
    """

    on_every_rank: bool = False

    def on_step(self, trainer: Trainer, losses: Mapping[str, float]) -> None:
        """Run after every optimizer step.

        Parameters
        ----------
        trainer : Trainer
            The trainer; its ``step`` and ``epoch`` include this step.
        losses : mapping of str to float
            Losses of the step by name, and their sum as ``"loss"``.
        """

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Run after every epoch, between validation and checkpoint.

        Parameters
        ----------
        trainer : Trainer
            The trainer; its ``epoch`` includes this epoch.
        row : mapping
            Row of ``trainer.history``.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state; see :meth:`Checkpointable.state_dict`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state returned by :meth:`state_dict`.

        Parameters
        ----------
        state : mapping
            The state.
        """
