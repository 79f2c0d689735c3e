"""A model in a file, as something small that can be sent to wherever the images are."""

from __future__ import annotations

import abc
import hashlib
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from lucid.errors import WeightFileError
from lucid.special_files import special_kind

__all__ = ["Predictor"]

#: Models that a process keeps open for copies that come and go, as they do in workers.
_KEPT = 2

_opened: OrderedDict[tuple[Hashable, ...], Any] = OrderedDict()
_opening = threading.Lock()


class Predictor(abc.ABC):
    """Images in, plain records out, by a model that is opened where it is needed.

    Pickled, a predictor is the path of its weights and some options.  The first call
    opens the model, once in a process: copies that arrive later find it open.  So the
    same object serves a loop, Dask, Ray or a pool of processes.

    Subclasses say how to open the model, how to read an image and how to predict.

    Parameters
    ----------
    weights : path
        The file with the model.  Relative paths, here and later, are relative to the
        current directory of this moment, in other processes too; on other machines
        the file must have the same path.

    Attributes
    ----------
    weights : str
        As given.
    digest : str
        SHA-256 of the file.  A process that finds another file there refuses it, so
        that results are of one model.

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

    # --- what a subclass says ---------------------------------------------------------------

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
        """Predict by ``self.model``.

        Parameters
        ----------
        images : sequence of numpy.ndarray
            Of one shape.
        names : sequence of str or None
            The path that each was given as; None for one that was an array.

        Returns
        -------
        list of dict
            For each image a record that JSON can hold.
        """

    def model_options(self) -> tuple[Hashable, ...]:
        """What :meth:`open_model` depends on besides the file."""
        return ()

    def description(self) -> dict[str, Any]:
        """What results depend on, as JSON can hold it; heads reports, and must not change in one.

        ``weights`` stands first; where the file lies does not matter, ``sha256`` does.
        """
        return {"weights": self.weights, "sha256": self.digest}

    # --- what there is for all --------------------------------------------------------------

    @property
    def model(self) -> Any:
        """The model, opened when it is first asked for.

        Raises
        ------
        lucid.WeightFileError
            If the file cannot be read here, or is not the one it was.
        """
        if self._model is None:
            with _opening:
                self._model = self._shared() if self._is_copy else self._open()
        return self._model

    def _shared(self) -> Any:
        key = (type(self), self.digest, *self.model_options())
        if key not in _opened:
            _opened[key] = self._open()
        _opened.move_to_end(key)
        while len(_opened) > _KEPT:
            _opened.popitem(last=False)
        return _opened[key]

    def _open(self) -> Any:
        path = self.absolute_path(self.weights)
        try:
            found = _digest_of(path)
        except OSError as error:
            raise WeightFileError(
                f"{path} cannot be read on {socket.gethostname()} ({error.strerror or error}); "
                "every worker needs the file at that path"
            ) from None
        if found != self.digest:
            raise WeightFileError(
                f"{path} on {socket.gethostname()} is another file than the one that predictions "
                f"began with: SHA-256 {found[:12]}..., expected {self.digest[:12]}..."
            )
        return self.open_model(path)

    def absolute_path(self, path: str) -> str:
        """The absolute path of what was given as ``path`` where the predictor was made."""
        return os.path.join(self._folder, path)

    def __call__(self, images: Sequence[Any]) -> list[dict[str, Any]]:
        """Predict for one batch.

        Images of one shape go through the model together, others apart, so that what
        comes out for an image does not depend on which others are with it.

        Parameters
        ----------
        images : sequence of path or array
            Each a file or what :meth:`read` would make of one.  All are in memory at
            once.

        Returns
        -------
        list of dict
            A record for each image, in their order: ``image``, the path, where it was
            one, and what the model says; or ``error``, the reason, if this image
            could not be read or predicted for.

        Raises
        ------
        lucid.WeightFileError
            If the model cannot be opened.
        """
        _ = self.model  # a fault of the model is no fault of an image
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
        """Predict for all together; after a fault for each alone, to find whose it is."""
        try:
            return self.predict(images, names)
        except WeightFileError:  # no fault of an image
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
        """One line on what went wrong, without the name that stands beside it anyway."""
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
        raise WeightFileError(f"{path}: expected a file of weights, got {kind}")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
