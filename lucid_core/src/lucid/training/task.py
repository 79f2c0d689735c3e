"""What one kind of training adds to a run: its options, data, models, losses and results."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from lucid.models import create_model
from lucid.training.communicator import Communicator
from lucid.training.run_folder import RunFolder
from lucid.training.trainer import Trainer

if TYPE_CHECKING:
    from lucid.data.report import DataReport
    from lucid.nn import Module

__all__ = ["InitialModel", "RunData", "Task", "TrainerSetup"]


class RunData(Protocol):
    """Data of a run, as :meth:`Task.read_data` returns them."""

    @property
    def summary(self) -> str:
        """Classes and images in a line, such as "2 classes, 8 images to train on"."""

    @property
    def reports(self) -> Sequence[DataReport]:
        """Findings, one report for each data set."""

    @property
    def folders(self) -> Mapping[str, tuple[Sequence[Path], Path]]:
        """Images and the folder that contains them, by the option that names the folder."""


Options = TypeVar("Options", bound=Any)
Data = TypeVar("Data", bound=RunData)


@dataclass(frozen=True)
class InitialModel:
    """Model that a new run starts from.

    Attributes
    ----------
    model : lucid.nn.Module
        Built by :func:`lucid.models.create_model`, with its first weights.
    metadata : dict
        Plain data that follow from options and data and must stay, besides name and
        arguments of the model; see ``metadata_keys`` of :class:`Task`.
    note : str or None
        What was done with the file that the weights are from.
    """

    model: Module
    metadata: Mapping[str, Any]
    note: str | None = None


@dataclass(frozen=True)
class TrainerSetup(Generic[Options]):
    """Everything that a trainer is made from.

    Attributes
    ----------
    folder : RunFolder
        Folder of the run.
    options : object
        Options of the run.
    model : lucid.nn.Module
        Model to train.
    metadata : mapping
        What the run recorded when it started.
    workers : int
        Processes that load data.
    communicator : Communicator
        Ranks that train together.
    """

    folder: RunFolder
    options: Options
    model: Module
    metadata: Mapping[str, Any]
    workers: int
    communicator: Communicator


class Task(ABC, Generic[Options, Data]):
    """What one kind of training adds to a :class:`~lucid.training.Run`.

    Attributes
    ----------
    options : type
        Dataclass of the options, with a field ``seed`` and the fields named below.
    data_options : tuple of str
        Options that name data; a resumed run may find the same data elsewhere.
    start_files : tuple of str
        Options that name a file whose weights the run starts from.
    metadata_keys : tuple of str
        Names of what a run records besides ``model`` and ``kwargs``.
    logged : tuple of str
        Losses and metrics that are logged after each epoch.
    """

    options: ClassVar[type[Any]]
    data_options: ClassVar[tuple[str, ...]]
    start_files: ClassVar[tuple[str, ...]]
    metadata_keys: ClassVar[tuple[str, ...]] = ()
    logged: ClassVar[tuple[str, ...]]

    def check_start(self, folder: RunFolder, options: Options) -> None:
        """Refuse options that no new run can follow from, before anything is read or made.

        Parameters
        ----------
        folder : RunFolder
            Folder of the run.
        options : object
            Options of the run.

        Raises
        ------
        ValueError
            If the run would write into its data, or an option cannot be used.
        """
        for name in self.data_options:
            folder.check_not_data_folder(name, getattr(options, name))

    def check_packages(self) -> None:
        """Raise :class:`lucid.MissingPackageError` if a package that the task needs is missing."""

    def files(self, options: Options) -> dict[str, str | None]:
        """Return the single files among the data, by the option that names each.

        Parameters
        ----------
        options : object
            Options of the run.
        """
        return {}

    @abstractmethod
    def read_data(self, options: Options, communicator: Communicator, check: bool) -> Data:
        """Read the data on rank 0 for all ranks.

        Parameters
        ----------
        options : object
            Options of the run.
        communicator : Communicator
            The ranks.
        check : bool
            Whether to open every image.

        Raises
        ------
        ValueError
            If the data cannot be trained on.
        """

    @abstractmethod
    def build_model(self, options: Options, data: Data) -> InitialModel:
        """Build the model of a new run.

        Parameters
        ----------
        options : object
            Options of the run.
        data : RunData
            Data of the run.
        """

    def rebuild_model(self, name: str, kwargs: Mapping[str, Any]) -> Module:
        """Build the model of a run that is resumed; its weights are loaded later.

        Parameters
        ----------
        name : str
            Registered name.
        kwargs : mapping
            Arguments of its builder.
        """
        return create_model(name, **kwargs)

    @abstractmethod
    def make_trainer(self, setup: TrainerSetup[Options], data: Data) -> Trainer:
        """Make the trainer, whose ``validate`` and callbacks are the task's.

        Parameters
        ----------
        setup : TrainerSetup
            Model, options and what else there is.
        data : RunData
            Data of the run.
        """

    def notes(self, trainer: Trainer) -> Sequence[str]:
        """Return remarks on the results, to be logged after the last epoch.

        Parameters
        ----------
        trainer : Trainer
            The trainer of :meth:`make_trainer`.
        """
        return ()

    def recorded_data(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the record of the data that a run started with, None if it has none.

        Parameters
        ----------
        record : mapping
            All that the run recorded.
        """
        data: Mapping[str, Any] | None = record["data"]
        return data

    def compare_unrecorded(
        self, folder: RunFolder, options: Options, record: Mapping[str, Any], data: Data
    ) -> None:
        """Compare data with what a run recorded that has no record of its data.

        Parameters
        ----------
        folder : RunFolder
            Folder of the run.
        options : object
            Options of the run.
        record : mapping
            All that the run recorded.
        data : RunData
            The present data.

        Raises
        ------
        ValueError
            If the data differ.
        """
