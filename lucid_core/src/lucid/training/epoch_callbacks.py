"""What a training tells while it runs: a line, and a picture, after each epoch."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucid.text import pluralize
from lucid.training.callback import Callback
from lucid.training.history import PROGRESS_COLUMNS, plot_history

if TYPE_CHECKING:
    from lucid.training.trainer import Trainer

__all__ = ["LogEpochs", "PlotEpochs"]


class LogEpochs(Callback):
    """Tells in a line what each epoch has brought.

    Parameters
    ----------
    log : callable, default print
        Called with the line.
    names : sequence of str, optional
        The losses and metrics to tell; all of them by default.
    """

    def __init__(
        self, log: Callable[[str], object] = print, names: Sequence[str] | None = None
    ) -> None:
        self.log = log
        self.names = names
        self.reported = 0

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Log the numbers of the epoch and the time that it took."""
        names = (
            [name for name in row if name not in PROGRESS_COLUMNS]
            if self.names is None
            else self.names
        )
        numbers = "".join(f"{name} {row[name]:.4f}  " for name in names)
        self.log(f"epoch {row['epoch']}/{trainer.epochs}  {numbers}{row['seconds']:.1f} s")
        self.reported += 1

    def log_if_finished(self, trainer: Trainer) -> None:
        """After training: say so if all epochs had been done before, so nothing was."""
        if trainer.communicator.is_main and not self.reported and trainer.epoch == trainer.epochs:
            epochs = pluralize(trainer.epochs, "epoch")
            self.log(f"{trainer.epoch} of {epochs} done already; nothing to do")


class PlotEpochs(Callback):
    """Draws losses and metrics so far after each epoch, where matplotlib is installed.

    Parameters
    ----------
    path : path-like
        The picture, as of :func:`~lucid.training.plot_history`; it is written over.

    Attributes
    ----------
    path : pathlib.Path
        The same path.
    able : bool
        Whether matplotlib is installed; if not, nothing is drawn.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.available = importlib.util.find_spec("matplotlib") is not None

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Draw the history with this epoch."""
        if self.available:
            plot_history(trainer.history, self.path)
