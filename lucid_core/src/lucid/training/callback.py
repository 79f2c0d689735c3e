"""What a training lets others do between its steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lucid.training.trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Base class of what runs between the steps of a training; every method may be left out.

    A callback with a state overrides :meth:`state_dict` and :meth:`load_state_dict`.  The
    checkpoint saves the state under the name of the class, or under the name that the callback
    has in ``Trainer(checkpointables=...)``, and a resumed training restores it.
    ``trainer.stop()`` ends the training.  Of several ranks only rank 0 calls its
    callbacks, unless their class says ``on_every_rank = True``.

    Attributes
    ----------
    on_every_rank : bool
        Whether every rank calls it, as it must where it changes what is trained.

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
        """Called after every optimizer step.

        Parameters
        ----------
        trainer : Trainer
            With ``step`` and ``epoch`` counting this step.
        losses : mapping of str to float
            The losses of the step by name, and their sum as ``"loss"``.
        """

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Called after every epoch, when it has been validated and before it is saved.

        Parameters
        ----------
        trainer : Trainer
            With ``epoch`` counting this epoch.
        row : mapping
            What the history says of it.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as of :meth:`Checkpointable.state_dict`."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned.

        Parameters
        ----------
        state : mapping
            The state.
        """
