"""Runs: training of any task from options, interrupted and resumed.

:class:`Run` is the part that all training commands share: the locked folder, the recorded options
and data, their comparison on resume, and the trainer.  A :class:`~lucid.training.Task` adds the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from lucid import random
from lucid.data.report_text import brief_lines
from lucid.nn import BatchNorm2d
from lucid.text import pluralize
from lucid.training.callback import Callback
from lucid.training.communicator import Communicator
from lucid.training.data_fingerprint import DataFingerprint
from lucid.training.epoch_callbacks import LogEpochs, PlotEpochs
from lucid.training.mpi import default_communicator
from lucid.training.run_folder import RunFolder, comparison_note
from lucid.training.task import Options, RunData, Task, TrainerSetup
from lucid.training.trainer import Trainer

if TYPE_CHECKING:
    from lucid.data.report import DataReport

__all__ = ["Run"]

# Above it, the initial mean 0 and variance 1 make evaluation differ much from training.
_MAX_INITIAL_SHARE = 0.05
_USUAL_MOMENTUM = 0.1


@dataclass(frozen=True)
class Run(Generic[Options]):
    """A training run, ready to start or to resume.

    Attributes
    ----------
    task : Task
        Task of the run.
    folder : RunFolder
        Folder of the run.
    options : object
        Options of the run.
    trainer : Trainer
        Trainer; has the ``history`` after :meth:`fit`.
    summary : str
        One line on model and data, and a second one with a note, if any.
    reports : tuple of lucid.data.report.DataReport
        Reports of the checks of training and validation data.
    """

    task: Task[Options, Any]
    folder: RunFolder
    options: Options
    trainer: Trainer
    summary: str
    reports: tuple[DataReport, ...]

    @classmethod
    def start(
        cls,
        task: Task[Options, Any],
        folder: Path,
        options: Options,
        workers: int = 0,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> Run[Options]:
        """Prepare a new run and lock its folder until the run ends.

        Parameters
        ----------
        task : Task
            Task of the run.
        folder : path
            Folder of the run, without an earlier run.
        options : object
            Options, an instance of ``task.options``.
        workers : int, default 0
            As for :class:`lucid.data.DataLoader`.
        communicator : Communicator, optional
            Ranks of the run.  Default: those started by ``mpiexec``, else a single rank.
        check_data : bool, default True
            Whether rank 0 first opens and checks every image.

        Returns
        -------
        Run
            Ready for :meth:`fit`.

        Raises
        ------
        ValueError
            If the folder contains a run or is used by another process, or data or options are
            invalid.
        lucid.WeightFileError
            If the file of initial weights is invalid.
        lucid.MissingPackageError
            If a package that the task needs is missing.
        """
        run_folder, ranks = RunFolder(folder), communicator or default_communicator()
        task.check_start(run_folder, options)
        with run_folder.locked(ranks, resume=False):
            task.check_packages()
            data = task.read_data(options, ranks, check_data)
            return cls._started(task, run_folder, options, data, workers, ranks, check_data)

    @classmethod
    def _started(
        cls,
        task: Task[Options, Any],
        run_folder: RunFolder,
        options: Options,
        data: RunData,
        workers: int,
        ranks: Communicator,
        check_data: bool,
    ) -> Run[Options]:
        random.seed(options.seed)
        first = task.build_model(options, data)
        name, kwargs = first.model.model_name, first.model.model_kwargs
        if name is None:
            raise ValueError(
                "expected a model built by lucid.models.create_model, got one without name"
            )
        metadata = {"model": name, "kwargs": dict(kwargs or {}), **first.metadata}
        setup = TrainerSetup(run_folder, options, first.model, metadata, workers, ranks)
        run = cls._prepared(task, setup, data, first.note)
        ranks.call_on_main(
            lambda: run_folder.start(
                options, metadata, _record(task, options, data, task.start_files, check_data)
            )
        )
        return run

    @classmethod
    def resume(
        cls,
        task: Task[Options, Any],
        folder: Path,
        given: Mapping[str, Any],
        workers: int = 0,
        communicator: Communicator | None = None,
        check_data: bool = True,
    ) -> Run[Options]:
        """Prepare to continue a run from its last checkpoint.

        Parameters
        ----------
        task : Task
            Task with which the run was started.
        folder : path
            Folder of the run.
        given : mapping
            Options given again.  Paths of data may change if the data are the same; other options
            must be unchanged.
        workers : int, default 0
            As for :class:`lucid.data.DataLoader`; may differ.
        communicator : Communicator, optional
            As for :meth:`start`; the number of ranks may differ.
        check_data : bool, default True
            As for :meth:`start`.

        Returns
        -------
        Run
            Ready for :meth:`fit`.

        Raises
        ------
        ValueError
            If there is no run, another process uses the folder, or options or data differ from
            those at the start.
        FileNotFoundError
            If there is no checkpoint yet and the file of initial weights is missing.
        """
        run_folder, ranks = RunFolder(folder), communicator or default_communicator()
        with run_folder.locked(ranks, resume=True):
            options, record = run_folder.load_options(
                task.options,
                ("model", "kwargs", *task.metadata_keys),
                given,
                task.data_options,
                task.start_files,
            )
            task.check_packages()
            before = task.recorded_data(record)
            started_from = [name for name in task.start_files if name in given]
            files = DataFingerprint.compute(_files(task, options, started_from), {}, contents=False)
            # Before the data are read, which takes longer.
            ranks.call_on_main(lambda: run_folder.compare_data(files, before))
            data = task.read_data(options, ranks, check_data)
            if before is None:
                task.compare_unrecorded(run_folder, options, record, data)
            ranks.call_on_main(
                lambda: run_folder.check_data(
                    options, _record(task, options, data, started_from, check_data), before
                )
            )
            if not ranks.call_on_main(lambda: run_folder.has_checkpoint):
                return cls._started(task, run_folder, options, data, workers, ranks, check_data)
            random.seed(options.seed)
            model = task.rebuild_model(record["model"], record["kwargs"])
            setup = TrainerSetup(run_folder, options, model, record, workers, ranks)
            return cls._prepared(task, setup, data, comparison_note(before, check_data))

    @classmethod
    def _prepared(
        cls, task: Task[Options, Any], setup: TrainerSetup[Options], data: RunData, note: str | None
    ) -> Run[Options]:
        trainer = task.make_trainer(setup, data)
        summary = f"{setup.model.model_name}: {data.summary}"
        if note is not None:
            summary += f"\n{note}"
        reports = tuple(data.reports)
        return cls(task, setup.folder, setup.options, trainer, summary, reports)

    @property
    def introduction(self) -> list[str]:
        """Lines on the data reports, and the summary."""
        return [*(line for report in self.reports for line in brief_lines(report)), self.summary]

    @property
    def has_plots(self) -> bool:
        """Whether losses and metrics are plotted, which needs matplotlib."""
        return any(isinstance(c, PlotEpochs) and c.available for c in self.trainer.callbacks)

    def fit(
        self, log: Callable[[str], object] | None = None, callbacks: Sequence[Callback] = ()
    ) -> float | None:
        """Train to the end.

        Parameters
        ----------
        log : callable, optional
            Called with a line of text after each epoch.
        callbacks : sequence of Callback, default ()
            Callbacks besides the task's own.  Pass those with a state again when resuming.

        Returns
        -------
        float or None
            Best value of the metric that selects the best model; None if it was never finite.
        """
        trainer = self.trainer
        report = LogEpochs(log or _ignore, self.task.logged)
        with closing(trainer):
            self.folder.train(trainer, [report, *callbacks])
        if log is not None and trainer.communicator.is_main:
            for note in (*self.task.notes(trainer), *self._statistics_note()):
                log(f"note: {note}")
        report.log_if_finished(trainer)
        return trainer.best

    def _statistics_note(self) -> list[str]:
        """Return a note if running statistics are still dominated by their initial values."""
        if any(getattr(self.options, name) is not None for name in self.task.start_files):
            return []  # unknown number of earlier batches
        initial_shares = {}
        for norm in self.trainer.model.modules():
            if isinstance(norm, BatchNorm2d) and norm.num_batches_tracked is not None:
                batches = int(norm.num_batches_tracked.item())
                if batches and norm.momentum is not None and norm.momentum < _USUAL_MOMENTUM:
                    initial_shares[(1 - norm.momentum) ** batches] = batches, norm.momentum
        share = max(initial_shares, default=0.0)
        if share <= _MAX_INITIAL_SHARE:
            return []
        batches, momentum = initial_shares[share]
        return [
            f"after {pluralize(batches, 'batch', 'batches')}, running statistics of batch norms "
            f"with momentum {momentum:g} are still {share:.0%} initial values; validation and "
            "prediction use them. Train for more epochs, or increase the momentum with "
            f"--model-option norm_momentum={_USUAL_MOMENTUM} if the model has that argument"
        ]


def _files(
    task: Task[Options, Any], options: Options, start_files: Collection[str]
) -> dict[str, str | None]:
    return {**task.files(options), **{name: getattr(options, name) for name in start_files}}


def _record(
    task: Task[Options, Any],
    options: Options,
    data: RunData,
    start_files: Collection[str],
    check: bool,
) -> DataFingerprint:
    """Compute the fingerprint of the data and of some files of initial weights."""
    return DataFingerprint.compute(_files(task, options, start_files), data.folders, contents=check)


def _ignore(line: str) -> None:
    """Ignore a line, so that LogEpochs, which checkpoints of Lucid 0.1.0 count, has a log."""
