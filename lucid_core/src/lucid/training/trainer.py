"""Trainer: training loop that can be stopped at any step and resumed bit for bit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lucid.nn.utils import clip_grad_norm_
from lucid.training.callback import Callback
from lucid.training.checkpoint import save_checkpoint
from lucid.training.checkpointables import Checkpointable
from lucid.training.communicator import Communicator
from lucid.training.data_parallel import DataParallel
from lucid.training.history import write_csv
from lucid.training.interrupts import DeferredInterrupt, Terminated
from lucid.training.losses import Loss, check_finite, compute_losses
from lucid.training.mpi import default_communicator
from lucid.training.option_checks import check_callbacks, check_components
from lucid.training.progress import progress_bar
from lucid.training.run_files import (
    BEST_MODEL,
    LAST_CHECKPOINT,
    METRICS_LOG,
    hold_on_main,
    run_lock,
)
from lucid.training.state import TrainerState
from lucid.training.validation import (
    check_metrics,
    check_weights,
    improves,
    run_validation,
    save_best,
)
from lucid.weights.model_metadata import encode_metadata

if TYPE_CHECKING:
    from lucid.data import DataLoader
    from lucid.locks import FileLock
    from lucid.nn import Module
    from lucid.optim import Optimizer
    from lucid.optim.lr_scheduler import LRScheduler

__all__ = ["Trainer"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Trainer(TrainerState):
    """Train a model, with checkpoints, validation and data-parallel ranks.

    A step averages the loss over ``accumulate`` batches, computes and clips gradients, and steps
    optimizer and scheduler.  A run can be stopped at any step and resumed bit for bit.

    Parameters
    ----------
    model : lucid.nn.Module
        Model to train.
    optimizer : lucid.optim.Optimizer
        Optimizer of its parameters.
    loader : DataLoader or sequence of batches
        Batches of an epoch.
    loss : callable
        ``loss(model, batch)`` returns a scalar Tensor, or a dict of them, which are summed.
        Return a :class:`WeightedLoss` for a mean over other items than the samples, so that ranks
        average it correctly.
    epochs : int
        Total number of epochs, including those before a resume.
    scheduler : LRScheduler, optional
        Learning-rate scheduler, stepped after every optimizer step.
    accumulate : int, default 1
        Number of batches per step; the last step of an epoch may have fewer.
    max_grad_norm : float, optional
        Maximum norm of the gradients; see :func:`lucid.nn.utils.clip_grad_norm_`.
    validate : callable, optional
        ``validate(model)`` returns a dict of metrics.  Called after each epoch in evaluation mode
        without gradients.
    monitor : str, optional
        Metric of `validate` that selects the best model.
    mode : {"max", "min"}, default "max"
        Whether a larger or a smaller `monitor` is better.
    directory : path-like, optional
        Folder for ``last.safetensors`` (checkpoint, saved before each validation and after each
        epoch), ``best.safetensors`` (best model by `monitor`, saved by :func:`lucid.save_model` if
        the model is registered, else as a state dict) and ``metrics.csv``.  Created if missing,
        and locked against other processes during :meth:`fit`.
    checkpoint_every : int, optional
        Number of steps between further checkpoints.
    callbacks : sequence of Callback, default ()
        Callbacks, called in order after steps and epochs.  Checkpoints save the state of a callback
        under its class name or its name in `checkpointables`.
    checkpointables : mapping of str to Checkpointable, optional
        Further objects with a state, such as a weight average, by their names in checkpoints.
        Resume with the same names.  Rank 0 saves the states, all ranks restore them.
    progress : bool, optional
        Whether to show a progress bar.  Default: if stderr is a terminal.
    class_names, preprocessing : optional
        Metadata of ``best.safetensors``; see :func:`lucid.save_model`.
    communicator : Communicator, optional
        Ranks of the run.  Each trains on its slice of every batch of ``loader``, a
        :class:`DataLoader` whose ``batch_size`` is global (summed over ranks).  Their number
        changes rounding only, and batch norm statistics without `synchronize_norms`.  Default:
        :func:`default_communicator`; pass ``Communicator()`` for one rank under ``mpiexec``.
    synchronize_norms : bool, default False
        Whether :class:`~lucid.nn.BatchNorm2d` uses the statistics of the global batch instead of
        this rank's slice.

    Attributes
    ----------
    epoch, step, batch : int
        Number of completed epochs, optimizer steps, and batches of the current epoch.
    sums : dict
        Sums of the losses over the batches of the current epoch.
    history : list of dict
        Row of each epoch: ``epoch``, ``step``, ``seconds``, ``lr`` (of the first group), the mean
        of every loss, their sum ``loss``, and the metrics.
    best : float or None
        Best value of `monitor` so far.

    Examples
    --------
    >>> import lucid
    >>> from lucid import nn, optim
    >>> from lucid.training import Trainer
    >>> model = nn.Linear(1, 1, bias=False)
    >>> batches = [(lucid.tensor([[x]]), lucid.tensor([[3 * x]])) for x in (1.0, 2.0)]
    >>> def squared_error(model, batch):
    ...     x, y = batch
    ...     return nn.functional.mse_loss(model(x), y)
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> history = Trainer(model, optimizer, batches, squared_error, epochs=9).fit()
    >>> history[-1]["loss"] < 0.01
    True
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loader: DataLoader | Sequence[Any],
        loss: Loss,
        *,
        epochs: int,
        scheduler: LRScheduler | None = None,
        accumulate: int = 1,
        max_grad_norm: float | None = None,
        validate: Callable[[Any], Mapping[str, float]] | None = None,
        monitor: str | None = None,
        mode: Literal["max", "min"] = "max",
        directory: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        callbacks: Sequence[Callback] = (),
        checkpointables: Mapping[str, Checkpointable] | None = None,
        progress: bool | None = None,
        class_names: Sequence[str] | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        communicator: Communicator | None = None,
        synchronize_norms: bool = False,
    ) -> None:
        counts = {"epochs": epochs, "accumulate": accumulate}
        if checkpoint_every is not None:
            counts["checkpoint_every"] = checkpoint_every
        for name, count in counts.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name}: expected an integer >= 1, got {count!r}")
        check_components(model, optimizer, loader, scheduler, validate)
        check_callbacks(callbacks)
        if len(loader) == 0:
            raise ValueError(
                "loader: expected at least one batch, got none; check the dataset and drop_last"
            )
        if mode not in ("max", "min"):
            raise ValueError(f"mode: expected 'max' or 'min', got {mode!r}")
        if monitor is not None and (validate is None or directory is None):
            raise ValueError(f"monitor={monitor!r} needs validate and directory; pass both")
        if monitor is not None and model.model_name is not None:
            encode_metadata(model, class_names, preprocessing)  # raise now, not after an epoch
        super().__init__(model, optimizer, loader, scheduler, callbacks, checkpointables or {})
        self.loss = loss
        self.epochs = epochs
        self.accumulate = accumulate
        self.max_grad_norm = max_grad_norm
        self.validate = validate
        self.monitor = monitor
        self.mode = mode
        self.directory = None if directory is None else Path(directory)
        self.checkpoint_every = checkpoint_every
        self.progress = progress
        self.class_names = class_names
        self.preprocessing = preprocessing
        self.communicator = default_communicator() if communicator is None else communicator
        self._lock = None if self.directory is None else run_lock(self.directory)
        self._stopping = False
        self._unfinished = False  # within a step or a validation, where no checkpoint is saved
        self._parallel = DataParallel(self.communicator, model, loader, synchronize_norms)
        self._interrupt = DeferredInterrupt()

    def fit(
        self,
        *,
        resume: bool | str | os.PathLike[str] = False,
        callbacks: Sequence[Callback] = (),
        lock: FileLock | None = None,
        save_initial: bool = False,
    ) -> list[dict[str, Any]]:
        """Train until ``epochs`` are done.

        On Ctrl-C or SIGTERM, it finishes the current step, saves ``last.safetensors`` and raises
        KeyboardInterrupt or SystemExit(143), on all ranks.  A second Ctrl-C interrupts at once
        without a checkpoint.

        Parameters
        ----------
        resume : bool or path-like, default False
            Continue from ``last.safetensors`` in the directory, or from another checkpoint, bit for
            bit as without interruption.  The number of ranks may change.
        callbacks : sequence of Callback, default ()
            Further callbacks of this call, called after the trainer's own.
        lock : FileLock, optional
            Lock of the directory held by the caller; released at the end.
        save_initial : bool, default False
            Whether to save ``last.safetensors`` before the first step.

        Returns
        -------
        list of dict
            History, one row per epoch.

        Raises
        ------
        FloatingPointError
            If a training loss, the gradient norm, a validation loss or a weight is NaN or
            infinite.  The step is not applied, and such weights are never saved.
        ValueError
            If another process uses the directory.
        WeightFileError
            If the checkpoint is damaged or does not match model, optimizer or checkpointables;
            nothing is changed.
        FileNotFoundError
            If there is no checkpoint to resume from.
        """
        check_callbacks(callbacks)
        self._fit_callbacks = tuple(callbacks)
        try:
            with hold_on_main(lock or self._lock, self.communicator):
                self._prepare(resume)
                if save_initial:
                    self.save()
                return self._fit()
        finally:
            self._fit_callbacks = ()

    def _fit(self) -> list[dict[str, Any]]:
        try:
            with self._interrupt, self._parallel, self._defer_if_distributed():
                while self.epoch < self.epochs and not self._stopping:
                    began = time.monotonic()
                    self._train()
                    if self.batch == len(self.loader):
                        self._finish_epoch(began)
                        self._synchronize_stop()
        except (KeyboardInterrupt, Terminated):
            # Ranks that stopped together save; a rank interrupted at once does not wait.
            if not self._unfinished and (self._stopping or not self._parallel.is_distributed):
                self._save_last()
            raise
        if self._stopping:
            self._save_last()
        return self.history

    def _defer_if_distributed(self) -> AbstractContextManager[None]:
        """Defer signals in a distributed run until all ranks stop after the same step."""
        return self._interrupt.deferred() if self._parallel.is_distributed else nullcontext()

    def _synchronize_stop(self) -> None:
        """Stop on all ranks if any rank stops or received a signal."""
        if not self._parallel.is_distributed:
            return
        pending = self._interrupt.pending
        flags = [self._stopping, *(pending == number for number in _SIGNALS)]
        stopping, *signals = self._parallel.any_rank(flags)
        if any(signals):  # a signal received during the reduction is kept for the next time
            self._interrupt.pending = _SIGNALS[signals.index(True)]
        self._stopping = stopping or any(signals)

    def stop(self) -> None:
        """Stop after the current step and save a checkpoint; for callbacks."""
        self._stopping = True

    def save(self) -> None:
        """Save ``last.safetensors`` and ``metrics.csv`` on rank 0, if there is a directory.

        Raise FloatingPointError, and keep the files, if a weight is NaN or infinite.
        """
        if self.directory is None:
            return
        check_weights(self.model, self.step, self._location)
        if self.communicator.is_main:
            save_checkpoint(self.directory / LAST_CHECKPOINT, self.state_dict())
            if self.history:
                write_csv(self.history, self.directory / METRICS_LOG)

    def _save_last(self) -> None:
        """Average buffers and save; the other ranks wait for rank 0."""
        self._parallel.average_buffers()
        self.save()
        self._parallel.any_rank([False])

    def close(self) -> None:
        """Close `loader` and `validate`, if they have ``close()``, ending their workers."""
        for part in (self.loader, self.validate):
            if (close := getattr(part, "close", None)) is not None:
                close()

    def _prepare(self, checkpoint: bool | str | os.PathLike[str]) -> None:
        if checkpoint is True:
            if self.directory is None:
                raise ValueError(
                    "resume=True needs a directory; pass directory, or a checkpoint path"
                )
            checkpoint = self.directory / LAST_CHECKPOINT
        if self.directory is not None:
            self._check_storable()
        if checkpoint is not False:
            self._resume(checkpoint, self.communicator)
        if not self.model.training:  # keep submodules in evaluation mode
            self.model.train()
        self._stopping = self._unfinished = False
        self._take_snapshot()

    # --- steps ------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Train on the remaining batches of the epoch."""
        batches = len(self.loader)
        if self.batch == batches:  # interrupted during validation
            return
        iterator = self._remaining_batches()
        title = f"epoch {self.epoch + 1}/{self.epochs}"
        enabled = self.progress if self.communicator.is_main else False
        with progress_bar(enabled, title, self.batch, batches) as show:
            while self.batch < batches and not self._stopping:
                with self._interrupt.deferred():
                    losses = self._step(iterator, min(self.accumulate, batches - self.batch))
                    self._after_step(losses)
                    self._synchronize_stop()
                show(self.batch, losses)

    def _remaining_batches(self) -> Iterator[Any]:
        if not self.batch:
            return iter(self.loader)
        if isinstance(self.loader, Checkpointable):
            self.loader.load_state_dict(self._snapshot["loader"])
            return iter(self.loader)
        iterator = iter(self.loader)
        for _ in range(self.batch):  # a sequence has no position to restore
            next(iterator)
        return iterator

    def _step(self, iterator: Iterator[Any], batches: int) -> dict[str, float]:
        """Perform one optimizer step over some batches; return their mean losses."""
        self._unfinished = True
        location = f"step {self.step + 1} (epoch {self.epoch + 1})"
        sums: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number, batch in enumerate(self._take(iterator, batches), 1):
            self._parallel.begin_batch(self.epoch, self.batch + number - 1)
            try:
                losses = compute_losses(self.loss, self.model, batch)
            except FloatingPointError as error:  # of a model that checks its losses
                message = f"{error}; at {location}; the update was not made"
                raise FloatingPointError(message) from None
            total, values = self._parallel.average_losses(losses)
            check_finite(values, location)
            self._parallel.backward(total if batches == 1 else total / batches, number == batches)
            _add(sums, values)
        if self.max_grad_norm is not None:
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            norm = clip_grad_norm_(parameters, self.max_grad_norm)
            check_finite({"the gradient norm": float(norm.item())}, location)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        _add(self.sums, sums)
        self.step += 1
        self.batch += batches
        self._take_snapshot()
        self._unfinished = False
        return {name: value / batches for name, value in sums.items()}

    def _take(self, iterator: Iterator[Any], batches: int) -> Iterator[Any]:
        for _ in range(batches):
            try:
                yield next(iterator)
            except StopIteration:
                raise ValueError(
                    f"loader: expected {len(self.loader)} batches (its length), got fewer"
                ) from None

    def _after_step(self, losses: dict[str, float]) -> None:
        for callback in self._active_callbacks():
            callback.on_step(self, losses)
            self._take_snapshot()
        # Validation may take longer than the grace period of a preempted run.
        validates = self.validate is not None and self.batch == len(self.loader)
        if validates or (self.checkpoint_every and self.step % self.checkpoint_every == 0):
            self._parallel.average_buffers()
            self.save()

    def _active_callbacks(self) -> list[Callback]:
        """Return the callbacks that this rank calls."""
        main = self.communicator.is_main
        return [callback for callback in self._all_callbacks if main or callback.on_every_rank]

    # --- end of an epoch --------------------------------------------------------------------------

    def _finish_epoch(self, began: float) -> None:
        self._unfinished = True  # a resumed run repeats an interrupted validation
        metrics = self._validate()
        self._unfinished = False
        with self._interrupt.deferred():
            row = {
                "epoch": self.epoch + 1,
                "step": self.step,
                "seconds": round(time.monotonic() - began, 3),
                "lr": self.optimizer.param_groups[0]["lr"],
                **{name: total / self.batch for name, total in self.sums.items()},
                **metrics,
            }
            if self.monitor is not None and improves(row[self.monitor], self.best, self.mode):
                if self.directory is not None and self.communicator.is_main:
                    best = self.directory / BEST_MODEL
                    save_best(self.model, best, self.class_names, self.preprocessing)
                self.best = row[self.monitor]
            self.history.append(row)
            self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}
            self._take_snapshot()
            for callback in self._active_callbacks():
                callback.on_epoch(self, row)
                self._take_snapshot()
            self.save()

    def _validate(self) -> dict[str, float]:
        self._parallel.average_buffers()
        check_weights(self.model, self.step, self._location)
        if self.validate is None:
            return {}
        metrics = run_validation(self.model, self.validate)
        metrics = self.communicator.broadcast(metrics)  # equal on all ranks
        return check_metrics(metrics, self.sums, self.monitor, self._location)

    @property
    def _location(self) -> str:
        """Last step and its epoch, for error messages."""
        return f"step {self.step} (epoch {self.epoch + (self.batch > 0)})"


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
