"""Task: what a run trains, with its options, data, model, losses and metrics."""

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
    """Data of a run, returned by :meth:`Task.read_data`."""

    @property
    def summary(self) -> str:
        """One line on classes and images, such as "2 classes, 8 images to train on"."""

    @property
    def reports(self) -> Sequence[DataReport]:
        """Reports of the data checks, one per data set."""

    @property
    def folders(self) -> Mapping[str, tuple[Sequence[Path], Path]]:
        """Images and the folder that contains them, by the option name of the folder."""


Options = TypeVar("Options", bound=Any)
Data = TypeVar("Data", bound=RunData)


@dataclass(frozen=True)
class InitialModel:
    """Model of a new run.

    Attributes
    ----------
    model : lucid.nn.Module
        Model built by :func:`lucid.models.create_model`, with initial weights.
    metadata : dict
        Plain data to record besides name and arguments of the model; see ``metadata_keys`` of
        :class:`Task`.
    note : str or None
        Remark on how the weights were loaded.
    """

    model: Module
    metadata: Mapping[str, Any]
    note: str | None = None


@dataclass(frozen=True)
class TrainerSetup(Generic[Options]):
    """Arguments of :meth:`Task.make_trainer`.

    Attributes
    ----------
    folder : RunFolder
        Folder of the run.
    options : object
        Options of the run.
    model : lucid.nn.Module
        Model to train.
    metadata : mapping
        Metadata recorded at the start of the run.
    workers : int
        Number of data loading processes.
    communicator : Communicator
        Ranks of the run.
    """

    folder: RunFolder
    options: Options
    model: Module
    metadata: Mapping[str, Any]
    workers: int
    communicator: Communicator


class Task(ABC, Generic[Options, Data]):
    """Base class of tasks: the part of a :class:`~lucid.training.Run` that depends on the data.

    Attributes
    ----------
    options : type
        Dataclass of the options, with a field ``seed`` and the fields named below.
    data_options : tuple of str
        Options that are paths of data, which may change when a run is resumed.
    start_files : tuple of str
        Options that are paths of initial weights.
    metadata_keys : tuple of str
        Keys of the metadata besides ``model`` and ``kwargs``.
    logged : tuple of str
        Losses and metrics to log after each epoch.
    """

    options: ClassVar[type[Any]]
    data_options: ClassVar[tuple[str, ...]]
    start_files: ClassVar[tuple[str, ...]]
    metadata_keys: ClassVar[tuple[str, ...]] = ()
    logged: ClassVar[tuple[str, ...]]

    def check_start(self, folder: RunFolder, options: Options) -> None:
        """Check the options of a new run before anything is read or written.

        Parameters
        ----------
        folder : RunFolder
            Folder of the run.
        options : object
            Options of the run.

        Raises
        ------
        ValueError
            If the run would write into its data, or an option is invalid.
        """
        for name in self.data_options:
            folder.check_not_data_folder(name, getattr(options, name))

    def check_packages(self) -> None:
        """Raise :class:`lucid.MissingPackageError` if a required package is missing."""

    def files(self, options: Options) -> dict[str, str | None]:
        """Return the single files among the data by option name.

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
            Whether to open and check every image.

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
        """Build the model of a resumed run, without its weights.

        Parameters
        ----------
        name : str
            Name in the registry.
        kwargs : mapping
            Arguments of the builder.
        """
        return create_model(name, **kwargs)

    @abstractmethod
    def make_trainer(self, setup: TrainerSetup[Options], data: Data) -> Trainer:
        """Build the trainer, with the task's loss, validation and callbacks.

        Parameters
        ----------
        setup : TrainerSetup
            Model, options, metadata, workers and ranks.
        data : RunData
            Data of the run.
        """

    def notes(self, trainer: Trainer) -> Sequence[str]:
        """Return remarks on the results to log after the last epoch.

        Parameters
        ----------
        trainer : Trainer
            Trainer of :meth:`make_trainer`.
        """
        return ()

    def recorded_data(self, record: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return the recorded fingerprint of the data, None for a run without.

        Parameters
        ----------
        record : mapping
            Metadata recorded at the start of the run.
        """
        data: Mapping[str, Any] | None = record["data"]
        return data

    def compare_unrecorded(
        self, folder: RunFolder, options: Options, record: Mapping[str, Any], data: Data
    ) -> None:
        """Compare data with a run whose fingerprint was not recorded.

        Parameters
        ----------
        folder : RunFolder
            Folder of the run.
        options : object
            Options of the run.
        record : mapping
            Metadata recorded at the start of the run.
        data : RunData
            Current data.

        Raises
        ------
        ValueError
            If the data differ.
        """
