"""Model metadata in a weight file: builder, arguments, class names, preprocessing."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.class_names import check_repeated_names
from lucid.errors import LucidError, UnknownModelError, WeightFileError
from lucid.text import list_some
from lucid.weights.catalog import entry_of_file
from lucid.weights.serialization import StrPath, read_metadata

if TYPE_CHECKING:
    from lucid.models.info import ModelInfo
    from lucid.nn import Module

__all__ = [
    "CHECKPOINT_KEY",
    "MODEL_KEY",
    "PUBLISHED_FIELDS",
    "ModelMetadata",
    "decode_metadata",
    "encode_metadata",
    "find_saved_model",
    "has_model_metadata",
    "metadata_from_model",
    "model_metadata",
    "refuse_training_checkpoint",
]

#: Metadata key of the model.
MODEL_KEY = "lucid.model"
#: Metadata key of a training checkpoint, see :mod:`lucid.training.checkpoint`.
CHECKPOINT_KEY = "lucid.checkpoint"
#: Fields of published weights in a file, in addition to class names and preprocessing.
PUBLISHED_FIELDS = ("tag", "url", "sha256", "license", "source", "metrics")
_REMEDY = (
    ". Save the weights with lucid.save(model.state_dict(), path), or register a builder that "
    "creates the object"
)


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a model file.

    Attributes
    ----------
    name : str
        Registered model name.
    kwargs : dict
        Keyword arguments of the builder; sequences are tuples.
    class_names : tuple of str or None
        Class names by index.
    preprocessing : dict or None
        Preprocessing of images, in the format of the plugin.
    lucid_version : str or None
        Lucid version that saved the file.
    distribution, distribution_version : str or None
        Package that registered the model when it was saved; None for a model registered by a
        script, and in files of Lucid 0.1.0.
    weights : dict or None
        Published weights that the model was loaded from: tag, url, sha256, license, source and
        metrics as in :class:`lucid.weights.WeightsInfo`; None for others.
    """

    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None
    lucid_version: str | None = None
    distribution: str | None = None
    distribution_version: str | None = None
    weights: dict[str, Any] | None = None

    def __str__(self) -> str:
        given = ", ".join(f"{key}={value!r}" for key, value in self.kwargs.items())
        return f"{self.name}({given})"

    @property
    def num_classes(self) -> int | None:
        """Number of classes, from the arguments or the builder's default; None if unknown."""
        value = self.kwargs.get("num_classes")
        if value is None:
            from lucid.models import get_builder

            try:
                parameters = inspect.signature(get_builder(self.name)).parameters
            except (LucidError, ImportError):
                return None
            value = parameters["num_classes"].default if "num_classes" in parameters else None
        if isinstance(value, int | np.integer) and not isinstance(value, bool):
            return int(value)
        return None


def model_metadata(path: StrPath) -> ModelMetadata:
    """Read the metadata of a file of :func:`save_model`.

    Parameters
    ----------
    path : path-like
        The file; tensors are not read.

    Returns
    -------
    ModelMetadata
        Name, arguments, class names and preprocessing.

    Raises
    ------
    WeightFileError
        If the file is damaged, or has a plain state dict or a training checkpoint.
    FileNotFoundError
        If the file does not exist.
    """
    return decode_metadata(path, _read_model_file(path))


def has_model_metadata(path: StrPath) -> bool:
    """Whether a file has model metadata, as files of :func:`save_model` have.

    Parameters
    ----------
    path : path-like
        File that :func:`lucid.load` reads; tensors are not read.

    Returns
    -------
    bool
        Whether :func:`model_metadata` can read it.

    Raises
    ------
    WeightFileError
        If the file is damaged, or is a training checkpoint.
    FileNotFoundError
        If the file does not exist.
    """
    return MODEL_KEY in _read_model_file(path)


def _read_model_file(path: StrPath) -> dict[str, str]:
    metadata = read_metadata(path)
    refuse_training_checkpoint(path, metadata)
    return metadata


def refuse_training_checkpoint(path: StrPath, metadata: Mapping[str, str]) -> None:
    """Raise ``WeightFileError`` if a file is a training checkpoint, not a model."""
    if CHECKPOINT_KEY not in metadata:
        return
    best = Path(path).with_name("best.safetensors")
    model = f"give {best}" if best.is_file() else "give the best.safetensors that the run saves"
    raise WeightFileError(
        f"{os.fspath(path)}: expected a model or weights, got the state that a training run "
        f"continues from; {model}, or continue the run in {best.parent} by --resume"
    )


def find_saved_model(path: StrPath, saved: ModelMetadata) -> ModelInfo:
    """Look up the registered model of a file.

    Parameters
    ----------
    path : path-like
        The file, for errors.
    saved : ModelMetadata
        Its metadata.

    Returns
    -------
    lucid.models.ModelInfo
        The registered model.

    Raises
    ------
    UnknownModelError
        If no plugin has the model; names the distribution that saved the file.
    """
    from lucid.models import model_info
    from lucid.models.discovery import disabled_distributions
    from lucid.models.info import canonicalize_name
    from lucid.models.suggestions import pip_install

    try:
        return model_info(saved.name)
    except UnknownModelError as error:
        if saved.distribution is None:
            origin = (
                "the file does not say which package has it; if a script registers it, import "
                "that script first"
            )
        else:
            version = f" {saved.distribution_version}" if saved.distribution_version else ""
            remedy = pip_install(saved.distribution)
            if canonicalize_name(saved.distribution) in disabled_distributions():
                remedy = "remove it from the environment variable LUCID_DISABLE_PLUGINS"
            origin = f"it was saved with {saved.distribution}{version}: {remedy}"
        raise UnknownModelError(f"{os.fspath(path)} holds {saved}; {origin}; {error}") from None


def metadata_from_model(model: Module) -> ModelMetadata | None:
    """Return name and arguments of a model from a registered builder, else None."""
    name = getattr(model, "model_name", None)
    if name is None:
        return None
    return ModelMetadata(name, dict(getattr(model, "model_kwargs", None) or {}))


def encode_metadata(
    model: Module,
    class_names: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> str:
    """Return the metadata text of a model; see :func:`save_model`."""
    described = metadata_from_model(model)
    if described is None:
        raise ValueError(
            f"this {type(model).__name__} has no name in lucid.models, so a file "
            "cannot rebuild it; create it with lucid.models.create_model, or save its weights with "
            "lucid.save(model.state_dict(), path)"
        )
    from lucid import __version__
    from lucid.models.structure import structure_changes

    if changes := structure_changes(model):
        shown = list_some(changes, 5, quote=False)
        raise ValueError(
            f"this {described.name} was changed after it was built: {shown}, so a file "
            "cannot rebuild it; register a builder of the changed model, or save its weights with "
            "lucid.save(model.state_dict(), path)"
        )
    loaded = model.weights_info
    if loaded is not None:
        class_names = loaded.class_names if class_names is None else class_names
        preprocessing = loaded.preprocessing if preprocessing is None else preprocessing
    names = None if class_names is None else _checked_names(class_names, described)
    origin = _origin(described.name)
    fields = {
        "name": described.name,
        "kwargs": _plain(described.kwargs, f"{described.name}: argument", _REMEDY),
        "class_names": names,
        "preprocessing": None if preprocessing is None else _plain(preprocessing, "preprocessing"),
        "lucid_version": __version__,
        "distribution": origin and origin.distribution,
        "distribution_version": origin and origin.version,
        "weights": None if loaded is None else loaded.record(model),
    }
    return json.dumps(fields, ensure_ascii=False)


def _origin(name: str) -> ModelInfo | None:
    """Return the registered model; None if unknown or ambiguous."""
    from lucid.models import model_info

    try:
        return model_info(name)
    except LucidError:
        return None


def _checked_names(class_names: Any, described: ModelMetadata) -> list[str]:
    unordered = isinstance(class_names, str | bytes | Mapping | set | frozenset)
    names = [] if unordered else list(class_names)
    if unordered or not all(isinstance(name, str) for name in names):
        raise TypeError(f"class_names: expected a list of str, got {class_names!r:.80}")
    expected = described.num_classes
    if expected is not None and len(names) != expected:
        raise ValueError(
            f"class_names: expected {expected} names for {described}, got {len(names)}"
        )
    check_repeated_names(names, "class_names")
    if any(not name.strip() for name in names):
        raise ValueError(f"class_names: expected names, got an empty one in {names!r:.80}")
    return names


def _plain(value: Any, where: str, remedy: str = "") -> Any:
    """Return a copy of ``value`` in JSON types; raise TypeError with the location."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item(), where, remedy)
    if isinstance(value, float) and np.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", remedy) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where} {key!r}", remedy) for key, item in value.items()}
    from lucid.nn import Module

    is_module = isinstance(value, Module)
    shown = f"a module, {type(value).__name__}" if is_module else " ".join(repr(value).split())
    raise TypeError(
        f"{where} must be numbers, strings, booleans, None, or lists and dicts of them "
        f"to be saved, got {shown:.80}{remedy}"
    )


def decode_metadata(path: StrPath, metadata: Mapping[str, str]) -> ModelMetadata:
    """Decode the model metadata of a file.

    If the file is published, what its catalog entry says has precedence.
    """
    if MODEL_KEY not in metadata:
        raise WeightFileError(
            f"{os.fspath(path)}: has weights but no model metadata; create the model "
            "and use model.load_state_dict(lucid.load(path)), or save it with lucid.save_model"
        )
    damaged = f"{os.fspath(path)}: its model metadata is damaged"
    try:
        fields = json.loads(metadata[MODEL_KEY])
    except (ValueError, RecursionError) as error:
        raise WeightFileError(f"{damaged}: {error}") from None
    if not isinstance(fields, dict):
        raise WeightFileError(damaged)
    name, kwargs = fields.get("name"), fields.get("kwargs")
    class_names, preprocessing = fields.get("class_names"), fields.get("preprocessing")
    texts = {
        key: fields.get(key) for key in ("lucid_version", "distribution", "distribution_version")
    }
    names = class_names or []
    if (
        not isinstance(name, str)
        or not isinstance(kwargs, dict)
        or not (isinstance(names, list) and all(isinstance(entry, str) for entry in names))
        or not isinstance(preprocessing, dict | None)
        or not all(isinstance(text, str | None) for text in texts.values())
        or not _is_weights_record(weights := fields.get("weights"))
    ):
        raise WeightFileError(damaged)
    try:
        arguments = {key: _with_tuples(value) for key, value in kwargs.items()}
    except RecursionError:
        raise WeightFileError(f"{damaged}: lists within lists without end") from None
    class_names = None if class_names is None else tuple(names)
    saved = ModelMetadata(name, arguments, class_names, preprocessing, **texts, weights=weights)
    return _with_entry(saved, path)


def _with_entry(saved: ModelMetadata, path: StrPath) -> ModelMetadata:
    """Return the metadata of a file with those of its catalog entry, if it is published."""
    entry = entry_of_file(path, saved.name)
    if entry is None or entry.model != saved.name:
        return saved
    described = replace(
        saved,
        kwargs={**saved.kwargs, **entry.arguments},
        weights={key: getattr(entry, key) for key in PUBLISHED_FIELDS},
    )
    names = entry.class_names_of(described.num_classes)
    return replace(
        described,
        class_names=saved.class_names if names is None else names,
        preprocessing=entry.preprocessing or saved.preprocessing,
    )


def _is_weights_record(record: Any) -> bool:
    if record is None:
        return True
    if not isinstance(record, dict) or record.keys() != set(PUBLISHED_FIELDS):
        return False
    metrics = record["metrics"]
    texts = [value for key, value in record.items() if key != "metrics"]
    return all(isinstance(text, str) for text in texts) and (
        isinstance(metrics, dict) and all(isinstance(v, int | float) for v in metrics.values())
    )


def _with_tuples(value: Any) -> Any:
    """Convert JSON lists to tuples, the convention for builder arguments."""
    if isinstance(value, list):
        return tuple(_with_tuples(item) for item in value)
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return value
