"""A training run of any task: started from options, interrupted, resumed.

:class:`Run` holds what every command that trains has in common: the folder and its lock, the
record of options and data, the check that a resumed run continues with the same ones, and the
loop over epochs.  A :class:`~lucid.training.Task` adds what differs.
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

# With more of the initial mean 0 and variance 1, evaluation can differ from training by far.
_MAX_INITIAL_SHARE = 0.05
_USUAL_MOMENTUM = 0.1


@dataclass(frozen=True)
class Run(Generic[Options]):
    """A training run, ready to start or to resume.

    Attributes
    ----------
    task : Task
        What is trained, and how.
    folder : RunFolder
        Folder of the run and its lock.
    options : object
        Options of the run.
    trainer : Trainer
        The loop; after :meth:`fit` with its ``history``.
    summary : str
        Model and data in a line, and in a second one what else is to be known.
    reports : tuple of lucid.data.report.DataReport
        What was found in the data, to train on and to validate on.
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
        """Prepare a new run, on one rank or on several; its folder is locked until it ends.

        Parameters
        ----------
        task : Task
            What is trained, and how.
        folder : path
            Folder of the run; may not contain one yet.
        options : object
            Options of the run, of the class ``task.options``.
        workers : int, default 0
            As for :class:`lucid.data.DataLoader`.
        communicator : Communicator, optional
            Ranks that train together.  Default: those that ``mpiexec`` has started, else this
            process alone.
        check_data : bool, default True
            Whether every image is opened first, by rank 0 for all.

        Returns
        -------
        Run
            Ready for :meth:`fit`.

        Raises
        ------
        ValueError
            If the folder contains a run or another process trains in it, or if data and
            options do not fit.
        lucid.WeightFileError
            If the file to start from does not hold what it should.
        lucid.MissingPackageError
            If a package is missing that the task needs.
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
            raise ValueError("the model does not know its name in lucid.models")
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
        """Prepare to continue a run after the last state that was saved.

        Parameters
        ----------
        task : Task
            The task that the run was started with.
        folder : path
            Folder of the run.
        given : mapping
            Options that were given again.  Paths may differ, for data that have moved, as
            long as the data are the same; all else must be what it was.
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
            If there is no run, another process trains in the folder, or options or data
            differ from those that the run started with.
        FileNotFoundError
            If it was interrupted before its first state was saved, and the file that it was
            to start from has gone.
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
        """Lines on the data, and the summary."""
        return [*(line for report in self.reports for line in brief_lines(report)), self.summary]

    @property
    def has_plots(self) -> bool:
        """Whether losses and metrics are drawn: whether matplotlib is installed."""
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
            Called besides the task's own.  Those with a state are saved under the names of
            their classes; pass them again when the run is resumed.

        Returns
        -------
        float or None
            The best value of the metric that decides which model is best; None if it was NaN
            after every epoch.
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
        """Say where a new model had too few batches for batch norms of a small momentum."""
        if any(getattr(self.options, name) is not None for name in self.task.start_files):
            return []  # files may not say how many batches their statistics are of
        shares = {}
        for norm in self.trainer.model.modules():
            if isinstance(norm, BatchNorm2d) and norm.num_batches_tracked is not None:
                batches = int(norm.num_batches_tracked.item())
                if batches and norm.momentum is not None and norm.momentum < _USUAL_MOMENTUM:
                    shares[(1 - norm.momentum) ** batches] = batches, norm.momentum
        share = max(shares, default=0.0)
        if share <= _MAX_INITIAL_SHARE:
            return []
        batches, momentum = shares[share]
        return [
            f"after {pluralize(batches, 'batch', 'batches')}, running statistics of batch norms "
            f"with a momentum of {momentum:g} are still {share:.0%} initial values. Validation and "
            "prediction use them: train for longer, or build the model with a greater momentum, by "
            f"--model-option norm_momentum={_USUAL_MOMENTUM} if it takes that argument"
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
    """Identity of the data, and of some of the files that the weights are from."""
    return DataFingerprint.compute(_files(task, options, start_files), data.folders, contents=check)


def _ignore(line: str) -> None:
    """Drop a line; checkpoints of Lucid 0.1.0 count the callback that reports."""
