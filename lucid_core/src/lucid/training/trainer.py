"""The training loop: epochs of steps, stopped anywhere, resumed bit for bit."""

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
from lucid.weights.model_metadata import describe

if TYPE_CHECKING:
    from lucid.data import DataLoader
    from lucid.locks import FileLock
    from lucid.nn import Module
    from lucid.optim import Optimizer
    from lucid.optim.lr_scheduler import LRScheduler

__all__ = ["Trainer"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Trainer(TrainerState):
    """Train a model, with everything needed to stop at any moment and go on later.

    A step takes ``accumulate`` batches from the loader, adds up the gradients
    of their mean loss, clips them, and steps optimizer and scheduler.

    Parameters
    ----------
    model : lucid.nn.Module
        What is trained.
    optimizer : lucid.optim.Optimizer
        Over its parameters.
    loader : DataLoader or sequence of batches
        Gives the batches of an epoch each time it is iterated over.
    loss : callable
        ``loss(model, batch)`` gives a scalar Tensor, or several by name in a
        dict, which are summed.  One that is no mean over the samples of the batch is
        given as :class:`WeightedLoss`, so that several ranks average it rightly.
    epochs : int
        How often to go through the loader, resumed epochs included.
    scheduler : LRScheduler, optional
        Stepped after every optimizer step.
    accumulate : int, default 1
        Batches for one step; the last step of an epoch may have fewer.
    max_grad_norm : float, optional
        Limit of the gradients' norm.
    validate : callable, optional
        ``validate(model)`` gives numbers by name.  Called after each epoch,
        with the model in evaluation mode and without recording.
    monitor : str, optional
        The metric of `validate` that decides which model is the best.
    mode : {"max", "min"}, default "max"
        Whether a larger or a smaller `monitor` is better.
    directory : path-like, optional
        Where to keep ``last.safetensors`` (the state to resume from, before each
        validation and after each epoch), ``best.safetensors`` (the best model by `monitor`: as of
        :func:`lucid.save_model` if it comes from the registry, else its state
        dict) and ``metrics.csv``.  Made if it is missing.  While :meth:`fit` runs, a lock
        keeps other trainings out.
    checkpoint_every : int, optional
        Save ``last.safetensors`` after this many steps, too.
    callbacks : sequence of Callback, default ()
        Called after steps and epochs, in this order.  The state of a callback that has one is
        saved under the name of its class, or the one given in `checkpointables`.
    checkpointables : mapping of str to Checkpointable, optional
        Objects of your own, such as a curriculum or an average of the weights, by the names
        under which checkpoints save their states.  Resume with the same names.  Of several
        ranks, rank 0 saves the states, and all restore them.
    progress : bool, optional
        Whether to show a progress bar; by default where stderr is a terminal.
    class_names, preprocessing : optional
        Stored in ``best.safetensors``; see :func:`lucid.save_model`.
    communicator : Communicator, optional
        The ranks that train together; by default those that ``mpiexec`` has started
        (:func:`default_communicator`), else this process alone, which ``Communicator()``
        is in any case.  They share the batches of ``loader``, a :class:`DataLoader`, so the
        training is the same whatever their number.
    synchronize_norms : bool, default False
        Whether :class:`~lucid.nn.BatchNorm2d` normalises by the batch of all ranks
        instead of each by its part.

    Attributes
    ----------
    epoch, step, batch : int
        Epochs and optimizer steps done so far, and batches in the present epoch.
    sums : dict
        Sums of the losses over those batches.
    history : list of dict
        For each epoch: ``epoch``, ``step``, ``seconds``, ``lr`` (of the first
        group), the mean of every loss, their sum ``loss``, and the metrics.
    best : float or None
        The best value of `monitor` so far.

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
                raise ValueError(f"{name} must be an integer of at least 1, got {count!r}")
        check_components(model, optimizer, loader, scheduler, validate)
        check_callbacks(callbacks)
        if len(loader) == 0:
            raise ValueError("the loader has no batches: an empty dataset, or drop_last?")
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', got {mode!r}")
        if monitor is not None and (validate is None or directory is None):
            raise ValueError(f"to keep the model of the best {monitor!r}, give validate, directory")
        if monitor is not None and model.model_name is not None:
            describe(model, class_names, preprocessing)  # a fault shows now, not after an epoch
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
        self._unfinished = False  # within a step or a validation, where nothing is saved
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

        On Ctrl-C or SIGTERM the step that is under way is finished,
        ``last.safetensors`` is saved, and KeyboardInterrupt or SystemExit(143) goes on
        to the caller; a second Ctrl-C breaks off at once and leaves the last checkpoint
        as it is.  Several ranks do so together, whichever of them got the signal.

        Parameters
        ----------
        resume : bool or path-like, default False
            Continue from ``last.safetensors`` of the directory, or from another
            checkpoint: bit for bit as if the training had not been interrupted.  The
            number of ranks may be another one.
        callbacks : sequence of Callback, default ()
            Called in this call only, after the trainer's own.
        lock : FileLock, optional
            Lock of the directory that the caller has taken already; released at the end.
        save_initial : bool, default False
            Save ``last.safetensors`` before the first step, too.

        Returns
        -------
        list of dict
            The history, one row for each epoch.

        Raises
        ------
        FloatingPointError
            If a loss or the gradients' norm is not finite: names it and the step, whose
            update is not made.  If a loss of the validation, or after an update a weight, is
            not finite: such weights are never saved.
        ValueError
            If another training writes to the directory.
        WeightFileError
            If the checkpoint is damaged or was saved with another model, optimizer or other
            names of checkpointables; nothing is changed then.
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
            # Several ranks save what they have agreed on; one that breaks off does not wait.
            if not self._unfinished and (self._stopping or not self._parallel.is_distributed):
                self._save_last()
            raise
        if self._stopping:
            self._save_last()
        return self.history

    def _defer_if_distributed(self) -> AbstractContextManager[None]:
        """Several ranks stop after the same step, whichever of them is told to."""
        return self._interrupt.deferred() if self._parallel.is_distributed else nullcontext()

    def _synchronize_stop(self) -> None:
        """Stop, or break off by a signal, where any rank is about to."""
        if not self._parallel.is_distributed:
            return
        pending = self._interrupt.pending
        flags = [self._stopping, *(pending == number for number in _SIGNALS)]
        stopping, *signals = self._parallel.any_rank(flags)
        if any(signals):  # else one that came while the ranks agreed stays for the next time
            self._interrupt.pending = _SIGNALS[signals.index(True)]
        self._stopping = stopping or any(signals)

    def stop(self) -> None:
        """End the training after the present step, with a checkpoint; for callbacks."""
        self._stopping = True

    def save(self) -> None:
        """Save ``last.safetensors`` and ``metrics.csv``, if there is a directory, on rank 0.

        Weights that are not finite raise FloatingPointError, and the files stay.
        """
        if self.directory is None:
            return
        check_weights(self.model, self.step, self._location)
        if self.communicator.is_main:
            save_checkpoint(self.directory / LAST_CHECKPOINT, self.state_dict())
            if self.history:
                write_csv(self.history, self.directory / METRICS_LOG)

    def _save_last(self) -> None:
        """Save what the ranks have together; the others wait until it is there."""
        self._parallel.average_buffers()
        self.save()
        self._parallel.any_rank([False])

    def close(self) -> None:
        """End the worker processes of `loader` and `validate`, where these have a ``close()``."""
        for part in (self.loader, self.validate):
            if (close := getattr(part, "close", None)) is not None:
                close()

    def _prepare(self, checkpoint: bool | str | os.PathLike[str]) -> None:
        if checkpoint is True:
            if self.directory is None:
                raise ValueError("to resume, give a directory, or the path of a checkpoint")
            checkpoint = self.directory / LAST_CHECKPOINT
        if self.directory is not None:
            self._check_storable()
        if checkpoint is not False:
            self._resume(checkpoint, self.communicator)
        if not self.model.training:  # else leave alone what its user has put into evaluation mode
            self.model.train()
        self._stopping = self._unfinished = False
        self._take_snapshot()

    # --- steps ------------------------------------------------------------------------------------

    def _train(self) -> None:
        """Train on the rest of the epoch."""
        batches = len(self.loader)
        if self.batch == batches:  # it was interrupted when it was validated
            return
        iterator = self._remaining_batches()
        title = f"epoch {self.epoch + 1}/{self.epochs}"
        wanted = self.progress if self.communicator.is_main else False
        with progress_bar(wanted, title, self.batch, batches) as show:
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
        for _ in range(self.batch):  # a plain sequence begins at its beginning
            next(iterator)
        return iterator

    def _step(self, iterator: Iterator[Any], batches: int) -> dict[str, float]:
        """Make one step over some batches and return their mean losses."""
        self._unfinished = True
        here = f"step {self.step + 1} (epoch {self.epoch + 1})"
        sums: dict[str, float] = {}
        self.optimizer.zero_grad()
        for number, batch in enumerate(self._take(iterator, batches), 1):
            self._parallel.begin_batch(self.epoch, self.batch + number - 1)
            try:
                losses = compute_losses(self.loss, self.model, batch)
            except FloatingPointError as error:  # of a model that looks at its losses itself
                raise FloatingPointError(f"{error}; at {here}, whose update was not made") from None
            total, values = self._parallel.average_losses(losses)
            check_finite(values, here)
            self._parallel.backward(total if batches == 1 else total / batches, number == batches)
            _add(sums, values)
        if self.max_grad_norm is not None:
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            norm = clip_grad_norm_(held, self.max_grad_norm)
            check_finite({"the norm of the gradients": float(norm.item())}, here)
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
                    f"the loader has a length of {len(self.loader)} batches but gave fewer"
                ) from None

    def _after_step(self, losses: dict[str, float]) -> None:
        for callback in self._active_callbacks():
            callback.on_step(self, losses)
            self._take_snapshot()
        # A validation may take longer than one who ends the training waits.
        validates = self.validate is not None and self.batch == len(self.loader)
        if validates or (self.checkpoint_every and self.step % self.checkpoint_every == 0):
            self._parallel.average_buffers()
            self.save()

    def _active_callbacks(self) -> list[Callback]:
        """The callbacks of this rank: rank 0's all of them, for they tell and write."""
        main = self.communicator.is_main
        return [callback for callback in self._all_callbacks if main or callback.on_every_rank]

    # --- the end of an epoch ----------------------------------------------------------------------

    def _finish_epoch(self, began: float) -> None:
        self._unfinished = True  # interrupted here, the epoch is validated again
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
        metrics = self.communicator.broadcast(metrics)  # all go on by the same ones
        return check_metrics(metrics, self.sums, self.monitor, self._location)

    @property
    def _location(self) -> str:
        """The last step and its epoch, for messages."""
        return f"step {self.step} (epoch {self.epoch + (self.batch > 0)})"


def _add(sums: dict[str, float], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value
