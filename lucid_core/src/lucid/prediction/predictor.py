"""Picklable predictors: a weights file and options, opened in each process."""

from __future__ import annotations

import abc
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lucid.data.fingerprint import file_sha256
from lucid.errors import WeightFileError
from lucid.special_files import special_kind

__all__ = ["Predictor"]

#: Models cached per process for unpickled predictors.
_MAX_CACHED = 2

_opened: OrderedDict[tuple[Hashable, ...], Any] = OrderedDict()
_opening = threading.Lock()


class Predictor(abc.ABC):
    """Base class: map images to JSON records with a model that is opened on first use.

    A pickled predictor holds the path of the weights and options.  The model is opened once per
    process and shared by all copies, so a predictor works in a loop, a process pool, Dask or Ray.

    Parameters
    ----------
    weights : path
        Model file.  Relative paths are resolved against the current directory at construction,
        in other processes too; other machines need the file at the same path.

    Attributes
    ----------
    weights : str
        Path as given.
    digest : str
        SHA-256 of the file; every process checks it.

    Raises
    ------
    OSError
        If the file cannot be read.
    """

    def __init__(self, weights: str | os.PathLike[str]) -> None:
        self._folder = os.getcwd()
        self.weights = os.fspath(weights)
        self.digest = _digest_of(self.absolute_path(self.weights))
        self._model: Any = None
        self._is_copy = False

    # --- to override ------------------------------------------------------------------------

    @abc.abstractmethod
    def open_model(self, path: str) -> Any:
        """Open the model in the file at ``path``."""

    @abc.abstractmethod
    def read(self, path: str) -> np.ndarray[Any, Any]:
        """Read the image at ``path``."""

    @abc.abstractmethod
    def predict(
        self, images: Sequence[np.ndarray[Any, Any]], names: Sequence[str | None]
    ) -> list[dict[str, Any]]:
        """Predict one batch of equal shape; return a JSON-serializable record per image.

        ``names`` has the path of each image as given, None for arrays.
        """

    def model_options(self) -> tuple[Hashable, ...]:
        """Return the options that :meth:`open_model` depends on."""
        return ()

    def description(self) -> dict[str, Any]:
        """Return the settings that results depend on, JSON-serializable.

        They are the header of a report and must match to resume it; the path ``weights`` may
        differ if ``sha256`` is equal.
        """
        return {"weights": self.weights, "sha256": self.digest}

    # --- shared -----------------------------------------------------------------------------

    @property
    def model(self) -> Any:
        """Model, opened on first access if the file is readable and unchanged."""
        if self._model is None:
            with _opening:
                self._model = self._shared() if self._is_copy else self._open()
        return self._model

    def _shared(self) -> Any:
        key = (type(self), self.digest, *self.model_options())
        if key not in _opened:
            _opened[key] = self._open()
        _opened.move_to_end(key)
        while len(_opened) > _MAX_CACHED:
            _opened.popitem(last=False)
        return _opened[key]

    def _open(self) -> Any:
        path = self.absolute_path(self.weights)
        try:
            found = _digest_of(path)
        except OSError as error:
            raise WeightFileError(
                f"{path} cannot be read on {socket.gethostname()} ({error.strerror or error}); "
                "copy the file to that path on every worker"
            ) from None
        if found != self.digest:
            raise WeightFileError(
                f"{path} on {socket.gethostname()}: expected SHA-256 {self.digest[:12]}..., got "
                f"{found[:12]}...; use the same weights on every worker"
            )
        return self.open_model(path)

    def absolute_path(self, path: str) -> str:
        """Resolve a path against the directory where the predictor was created."""
        return os.path.join(self._folder, path)

    def __call__(self, images: Sequence[Any]) -> list[dict[str, Any]]:
        """Predict for one batch of files, or arrays as :meth:`read` returns them.

        All images are in memory at once, grouped by shape: a result does not depend on the other
        images.  Returns a record per image, in order: the path ``image`` (for files) and the
        prediction, or ``error`` with the reason of a failure.

        Raises
        ------
        lucid.WeightFileError
            If the weights file cannot be read, or has changed.
        """
        _ = self.model  # a model error is not an image error
        names = [_name_of(image) for image in images]
        records: list[dict[str, Any]] = [{} for _ in images]
        arrays: dict[int, np.ndarray[Any, Any]] = {}
        shapes: dict[tuple[int, ...], list[int]] = {}
        for i, (image, name) in enumerate(zip(images, names, strict=True)):
            try:
                arrays[i] = (
                    np.asarray(image) if name is None else self.read(self.absolute_path(name))
                )
            except Exception as error:
                records[i] = {"error": self._reason(error, name)}
            else:
                shapes.setdefault(arrays[i].shape, []).append(i)
        for members in shapes.values():
            group = [arrays.pop(i) for i in members]
            found = self._attempt(group, [names[i] for i in members])
            for i, record in zip(members, found, strict=True):
                records[i] = record
        return [
            record if name is None else {"image": name, **record}
            for name, record in zip(names, records, strict=True)
        ]

    def _attempt(
        self, images: list[np.ndarray[Any, Any]], names: list[str | None]
    ) -> list[dict[str, Any]]:
        """Predict for all images; after an error for each alone, to find the cause."""
        try:
            return self.predict(images, names)
        except WeightFileError:  # not an image error
            raise
        except Exception as error:
            if len(images) == 1:
                return [{"error": self._reason(error, names[0])}]
        return [
            record
            for image, name in zip(images, names, strict=True)
            for record in self._attempt([image], [name])
        ]

    def _reason(self, error: Exception, name: str | None) -> str:
        """Format an error as one line, without the path that the record has."""
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if name is not None:
            text = text.removeprefix(f"{self.absolute_path(name)}: ")
        return " ".join(text.split()) or type(error).__name__

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_model": None, "_is_copy": True}


def _name_of(image: Any) -> str | None:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else None


def _digest_of(path: str) -> str:
    if (kind := special_kind(os.stat(path).st_mode)) is not None:
        raise WeightFileError(f"{path}: expected a weights file, got {kind}")
    return file_sha256(path)
