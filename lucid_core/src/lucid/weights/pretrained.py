"""Models with published or saved weights: ``create_model(name, weights=...)``."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucid.errors import StateDictError, WeightFileError, WeightFileWarning, find_stack_level
from lucid.models import get_builder, head_keys, model_info
from lucid.text import list_some
from lucid.weights.catalog import catalog_entry, is_weight_path
from lucid.weights.download import fetch_entry
from lucid.weights.model_metadata import find_saved_model, has_model_metadata, model_metadata
from lucid.weights.serialization import StrPath, load
from lucid.weights.state_dict_file import StateDictFile
from lucid.weights.weights_info import info_of_identified, info_of_saved, set_weights_info

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = ["create_pretrained", "resolve_weights"]

_NUM_CLASSES = "num_classes"


def resolve_weights(weights: StrPath, model: str) -> Path:
    """Return the path of a model's weights; published ones are fetched.

    Parameters
    ----------
    weights : str or path-like
        ``"default"``, a tag of the catalog, or a path.  A string is a path if it has a separator
        or ends in a suffix of weight files, such as ``.pth``.
    model : str
        Registered name of the model.

    Returns
    -------
    pathlib.Path
        The path itself, or the verified file in the cache.

    Raises
    ------
    UnknownWeightsError
        If the model has no weights of this tag; lists those that exist.
    WeightsDownloadError
        If the file cannot be fetched.
    TypeError
        If `weights` is neither text nor path-like.
    """
    if not isinstance(weights, str | os.PathLike):
        raise TypeError(f"weights: expected 'default', a tag or a path, got {weights!r}")
    if is_weight_path(weights):
        return Path(weights)
    return fetch_entry(catalog_entry(model, str(weights)))


def create_pretrained(name: str, weights: StrPath, kwargs: Mapping[str, Any]) -> Module:
    """Build a model and load weights; see :func:`lucid.models.create_model`."""
    info = model_info(name)
    path = resolve_weights(weights, info.name)
    saved = None
    if has_model_metadata(path):
        saved = model_metadata(path)
        if (registered := find_saved_model(path, saved)).name != info.name:
            raise WeightFileError(f"{path}: expected weights of {info.name}, got {registered.name}")
        file, arguments = StateDictFile(path, load(path)), dict(saved.kwargs)
    else:
        file = StateDictFile.read(path, model=info.name)
        if file.identified is not None and file.identified.name != info.name:
            raise WeightFileError(
                f"{path}: expected weights of {info.name}, got those of {file.identified.name}"
            )
        arguments = file.arguments()
    _check_arguments(path, arguments, kwargs)
    model: Module = get_builder(info.name)(**{**arguments, **kwargs})
    replaced = _load(file, model, _num_classes(info.name, arguments), kwargs)
    if saved is None:
        set_weights_info(model, info_of_identified(path, file.identified, replaced=replaced))
    else:
        set_weights_info(model, info_of_saved(path, saved, replaced=replaced))
    return model


def _check_arguments(path: Path, arguments: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    """Raise ValueError if the caller's builder arguments contradict those of the file."""
    wrong = [
        f"{key}={arguments[key]!r}, got {key}={value!r}"
        for key, value in kwargs.items()
        if key != _NUM_CLASSES and key in arguments and not _same(arguments[key], value)
    ]
    if wrong:
        raise ValueError(
            f"{path}: the weights need other arguments: expected "
            f"{list_some(wrong, quote=False)}; leave them out, or build the model without weights "
            "and with all arguments, and call lucid.weights.load_weights"
        )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _num_classes(name: str, arguments: Mapping[str, Any]) -> Any:
    """Return the number of classes of the weights; None if unknown."""
    if _NUM_CLASSES in arguments:
        return arguments[_NUM_CLASSES]
    parameter = inspect.signature(get_builder(name)).parameters.get(_NUM_CLASSES)
    return None if parameter is None else parameter.default


def _load(file: StateDictFile, model: Module, num_classes: Any, kwargs: Mapping[str, Any]) -> bool:
    """Load the weights; return whether the last layer keeps its initial values."""
    replace = _NUM_CLASSES in kwargs and kwargs[_NUM_CLASSES] != num_classes
    head = head_keys(model) if replace else []
    try:
        report = file.load_into(model, skip_mismatched=replace)
        if not set(report.skipped) <= set(head):
            file.load_into(model)  # raises, and names the other layers
    except StateDictError as error:
        raise WeightFileError(
            f"{file.path}: the weights do not fit {model.model_name}: {error}"
        ) from error
    if replace:
        warnings.warn(
            f"{file.path}: the last layer ({list_some(head, quote=False)}) is randomly "
            f"initialized: the weights have {num_classes} classes, num_classes is "
            f"{kwargs[_NUM_CLASSES]}",
            WeightFileWarning,
            stacklevel=find_stack_level(),
        )
    return replace
