"""One file that rebuilds a model: its weights, what built it, and how to use it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.errors import LucidError, StateDictError, WeightFileError
from lucid.weights.files import StrPath, read_file, read_metadata, write_file

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = [
    "ModelMetadata",
    "load_model",
    "load_weights",
    "model_metadata",
    "names_model",
    "save_model",
]

_KEY = "lucid.model"


@dataclass(frozen=True)
class ModelMetadata:
    """What a whole-model file says besides the weights.

    Attributes
    ----------
    name : str
        The model's name in the registry.
    kwargs : dict
        Keyword arguments it was built with; sequences are tuples.
    class_names : tuple of str or None
        One name for each class, in the order of the class numbers.
    preprocessing : dict or None
        What is done to an image before the model sees it, in the terms of the
        plugin that wrote it.
    lucid_version : str or None
        The version of Lucid that saved the file.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None
    lucid_version: str | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.kwargs.items())
        return f"{self.name}({given})"


def save_model(
    model: Module,
    path: StrPath,
    *,
    class_names: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> None:
    """Save a model so that its file alone rebuilds it.

    Parameters
    ----------
    model : lucid.nn.Module
        Built by a registered builder, so that it knows its name and arguments.
    path : path-like
        As for :func:`lucid.save`; replaced in one step.
    class_names : sequence of str, optional
        One name for each class, in the order of the class numbers.
    preprocessing : mapping, optional
        What is done to an image before the model sees it.  Numbers, strings,
        booleans, None, and lists and dicts of them.

    Raises
    ------
    ValueError
        If the model does not know its registry name.
    TypeError
        If an argument it was built with, or the preprocessing, is more than
        plain data.
    WeightFileError
        If the file name belongs to a format that is not written.
    """
    text = describe(model, class_names, preprocessing)
    write_file(path, model.state_dict(), {_KEY: text})


def describe(
    model: Module,
    class_names: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> str:
    """What :func:`save_model` writes beside the weights; raises what it raises."""
    described = _described(model)
    if described is None:
        raise ValueError(
            f"this {type(model).__name__} does not know its name in lucid.models, so no file "
            "could rebuild it: build it by lucid.models.create_model, or save its weights alone "
            "by lucid.save(model.state_dict(), path)"
        )
    from lucid import __version__

    if class_names is not None:
        if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
            raise TypeError(f"class_names must be a sequence of str, got {class_names!r:.80}")
        class_names = list(class_names)
    fields = {
        "name": described.name,
        "kwargs": _plain(described.kwargs, f"{described.name}: argument"),
        "class_names": class_names,
        "preprocessing": None if preprocessing is None else _plain(preprocessing, "preprocessing"),
        "lucid_version": __version__,
    }
    return json.dumps(fields, ensure_ascii=False)


def load_model(path: StrPath) -> Module:
    """Rebuild a model from a file of :func:`save_model`.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    lucid.nn.Module
        In training mode, as a builder gives it.

    Raises
    ------
    WeightFileError
        If the file is damaged, holds no model, or its weights do not fit the
        model that it names.
    UnknownModelError
        If no installed plugin has that model.
    FileNotFoundError
        If there is no such file.
    """
    from lucid.models import create_model

    arrays, metadata = read_file(path)
    saved = _parsed(path, metadata)
    try:
        model = create_model(saved.name, **saved.kwargs)
    except (LucidError, ImportError):
        raise  # the fault of what is installed here, not of the file
    except Exception as error:  # a builder may fail in any way at arguments that are nonsense
        raise WeightFileError(f"{os.fspath(path)}: {saved} cannot be built: {error}") from error
    try:
        model.load_state_dict(arrays)
    except StateDictError as error:
        raise WeightFileError(
            f"{os.fspath(path)}: the weights in it do not fit {saved}, which it names: {error}"
        ) from error
    return model


def load_weights(
    model: Module, path: StrPath, *, strict: bool = True, skip_mismatched: bool = False
) -> LoadResult:
    """Load the weights in a file into a model that is already built.

    Parameters
    ----------
    model : lucid.nn.Module
        Unchanged if the weights do not fit.
    path : path-like
        A file of :func:`save_model`, :func:`lucid.save` or another library.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.

    Returns
    -------
    LoadResult
        Loaded, missing, unexpected and skipped keys.

    Raises
    ------
    WeightFileError
        If the file is damaged or its weights do not fit; then the message names
        what the file holds and what the model is.
    FileNotFoundError
        If there is no such file.
    """
    arrays, metadata = read_file(path)
    try:
        return model.load_state_dict(arrays, strict=strict, skip_mismatched=skip_mismatched)
    except StateDictError as error:
        holds = _parsed(path, metadata) if _KEY in metadata else "weights of an unnamed model"
        wanted = _described(model) or type(model).__name__
        raise WeightFileError(
            f"{os.fspath(path)} holds {holds}; the model is {wanted}: {error}"
        ) from error


def model_metadata(path: StrPath) -> ModelMetadata:
    """Read what a file of :func:`save_model` says besides the weights.

    Parameters
    ----------
    path : path-like
        The file.  Its tensors are not read.

    Returns
    -------
    ModelMetadata
        Name, arguments, class names and preprocessing.

    Raises
    ------
    WeightFileError
        If the file is damaged or holds no model.
    FileNotFoundError
        If there is no such file.
    """
    return _parsed(path, read_metadata(path))


def names_model(path: StrPath) -> bool:
    """Whether a file says which model its weights are of, as files of :func:`save_model` do.

    Parameters
    ----------
    path : path-like
        A file that :func:`lucid.load` reads.  Its tensors are not read.

    Returns
    -------
    bool
        Whether :func:`load_model` and :func:`model_metadata` find a model in it.

    Raises
    ------
    WeightFileError
        If the file is damaged.
    FileNotFoundError
        If there is no such file.
    """
    return _KEY in read_metadata(path)


def _described(model: Module) -> ModelMetadata | None:
    """Name and arguments of a model that a registered builder built."""
    name = getattr(model, "model_name", None)
    if name is None:
        return None
    return ModelMetadata(name, dict(getattr(model, "model_kwargs", None) or {}))


def _plain(value: Any, where: str) -> Any:
    """A copy of ``value`` in the types of JSON; says where something else stands."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), where)
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where} {key!r}") for key, item in value.items()}
    raise TypeError(
        f"{where} must be numbers, strings, booleans, None, or lists and dicts of them "
        f"to be saved, got {value!r:.80}"
    )


def _parsed(path: StrPath, metadata: Mapping[str, str]) -> ModelMetadata:
    if _KEY not in metadata:
        raise WeightFileError(
            f"{os.fspath(path)}: holds weights but names no model; build the model and use "
            "model.load_state_dict(lucid.load(path)), or save it by lucid.save_model"
        )
    try:
        fields = json.loads(metadata[_KEY])
    except (ValueError, RecursionError) as error:
        raise WeightFileError(f"{os.fspath(path)}: its model data are damaged: {error}") from None
    name, kwargs, class_names, preprocessing, version = (
        fields.get(key) if isinstance(fields, dict) else None
        for key in ("name", "kwargs", "class_names", "preprocessing", "lucid_version")
    )
    names = class_names or []
    if (
        not isinstance(name, str)
        or not isinstance(kwargs, dict)
        or not (isinstance(names, list) and all(isinstance(entry, str) for entry in names))
        or not isinstance(preprocessing, dict | None)
        or not isinstance(version, str | None)
    ):
        raise WeightFileError(f"{os.fspath(path)}: its model data are damaged")
    try:
        arguments = {key: _with_tuples(value) for key, value in kwargs.items()}
    except RecursionError:
        raise WeightFileError(
            f"{os.fspath(path)}: its model data are damaged: lists within lists without end"
        ) from None
    return ModelMetadata(
        name,
        arguments,
        None if class_names is None else tuple(names),
        preprocessing,
        version,
    )


def _with_tuples(value: Any) -> Any:
    """JSON knows lists only; arguments of builders are tuples by custom."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return value
