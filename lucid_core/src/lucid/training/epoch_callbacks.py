"""Callbacks that log and plot the metrics of each epoch."""

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
    """Log one line of losses and metrics after each epoch.

    Parameters
    ----------
    log : callable, default print
        Called with the line.
    names : sequence of str, optional
        Losses and metrics to log.  Default: all.
    """

    def __init__(
        self, log: Callable[[str], object] = print, names: Sequence[str] | None = None
    ) -> None:
        self.log = log
        self.names = names
        self.logged = 0

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Log losses, metrics and duration of the epoch."""
        names = self.names
        if names is None:
            names = [name for name in row if name not in PROGRESS_COLUMNS]
        values = "".join(f"{name} {row[name]:.4f}  " for name in names)
        self.log(f"epoch {row['epoch']}/{trainer.epochs}  {values}{row['seconds']:.1f} s")
        self.logged += 1

    def log_if_finished(self, trainer: Trainer) -> None:
        """Log that a resumed run had no epochs left."""
        if trainer.communicator.is_main and not self.logged and trainer.epoch == trainer.epochs:
            epochs = pluralize(trainer.epochs, "epoch")
            self.log(f"{trainer.epoch} of {epochs} done already; nothing to do")


class PlotEpochs(Callback):
    """Plot losses and metrics after each epoch, if matplotlib is installed.

    Parameters
    ----------
    path : path-like
        Image file, overwritten each time; see :func:`~lucid.training.plot_history`.

    Attributes
    ----------
    path : pathlib.Path
        The image file.
    available : bool
        Whether matplotlib is installed; otherwise nothing is plotted.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.available = importlib.util.find_spec("matplotlib") is not None

    def on_epoch(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        """Plot the history up to this epoch."""
        if self.available:
            plot_history(trainer.history, self.path)
