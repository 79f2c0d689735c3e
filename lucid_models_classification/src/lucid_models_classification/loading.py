"""Load classifiers from weight files.

Files of :func:`lucid.save_model` name their model.  For others, such as torchvision's
``resnet50-0676ba61.pth``, the model is identified by tensor names and shapes, or given.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import StateDictError, WeightFileError, WeightFileWarning, nn
from lucid.models import check_classifier, create_model, head_keys, model_info
from lucid.models.structure import find_matching_model
from lucid.training.class_mapping import ClassMapping
from lucid.vision.transforms import IMAGENET_MEAN, IMAGENET_STD, preprocessing
from lucid.weights import (
    IdentifiedWeights,
    ModelMetadata,
    StateDictFile,
    find_saved_model,
    has_model_metadata,
    model_metadata,
    suggest_model,
)

__all__ = [
    "TASK",
    "LoadedClassifier",
    "check_task",
    "default_preprocessing",
    "load_classifier",
    "load_for_fine_tuning",
]

#: Task of classifiers.
TASK = "image-classification"

_SHOWN = 4
#: Prefixes of classifiers in other libraries, for an error.
_HEADS = ("head.", "classifier.")


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier with its metadata.

    Attributes
    ----------
    model : lucid.nn.Module
        The network.
    class_names : tuple of str or None
        One name per class.
    preprocessing : dict
        Arguments of :func:`~lucid.vision.transforms.build_transform`.
    has_preprocessing : bool
        Whether the file has ``preprocessing``; else it is the default.
    note : str or None
        Treatment of the last layer in fine-tuning.
    """

    model: nn.Module
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] = field(default_factory=preprocessing)
    has_preprocessing: bool = False
    note: str | None = None


def load_classifier(
    path: Path, model_name: str | None = None, ema: bool | None = None
) -> LoadedClassifier:
    """Load the classifier in a weight file.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    model_name : str, optional
        Registered name of the model, for files without model metadata.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as for :func:`lucid.load`.

    Raises
    ------
    lucid.WeightFileError
        If the file is corrupt, has no classifier, or another than ``model_name``.
    """
    model_name = None if model_name is None else model_info(model_name).name
    if has_model_metadata(path):
        metadata = _metadata(path, model_name)
        described = metadata.preprocessing or default_preprocessing(metadata.kwargs, path)
        return LoadedClassifier(
            lucid.load_model(path, ema=ema),
            metadata.class_names,
            described,
            has_preprocessing=bool(metadata.preprocessing),
        )
    weights = StateDictFile.read(path, model=model_name, ema=ema)
    if (found := weights.identified) is not None and found.task != TASK:
        raise WeightFileError(
            f"{path}: expected a classifier, got the weights of {found.name}, a model for "
            f"{found.task}; give it to a command for that, such as lucid detect for a detector"
        )
    name = _name_of(weights, model_name)
    arguments = weights.arguments(name)
    found = _found(weights, name)
    model = create_model(name) if found is None else found.build()
    if found is not None and (held := _without_classifier(found, model)) is not None:
        raise WeightFileError(f"{path}: {held}")
    _load(weights, model, skip_mismatched=False)
    said = None if found is None else found.preprocessing
    return LoadedClassifier(
        model,
        None if found is None else found.class_names,
        said or default_preprocessing(arguments, path),
        has_preprocessing=bool(said),
    )


def load_for_fine_tuning(
    path: Path,
    class_names: Sequence[str],
    model_name: str | None = None,
    ema: bool | None = None,
    model_options: Mapping[str, Any] | None = None,
) -> LoadedClassifier:
    """Build a classifier for new classes from the weights of a file.

    The last layer keeps the rows of classes that the file has by name; new classes are randomly
    initialized.  Without class names in the file, the last layer is kept if the number of classes
    is equal.  All other layers must fit.

    Parameters
    ----------
    path, model_name, ema
        As for :func:`load_classifier`.
    class_names : sequence of str
        Classes of the data.
    model_options : mapping, optional
        Arguments of the builder that override those of the file.

    Raises
    ------
    lucid.WeightFileError
        As for :func:`load_classifier`; also if other layers than the last do not fit
        ``model_options``.
    """
    model_name = None if model_name is None else model_info(model_name).name
    found: IdentifiedWeights | None = None
    saved_names: tuple[str, ...] | None = None
    if has_model_metadata(path):
        metadata = _metadata(path, model_name)
        weights = StateDictFile(path, dict(lucid.load(path, ema=ema)))
        name, arguments, rows = metadata.name, dict(metadata.kwargs), weights.state
        saved_names, described = metadata.class_names, metadata.preprocessing
    else:
        weights = StateDictFile.read(path, task=TASK, model=model_name, ema=ema)
        name = _name_of(weights, model_name)
        arguments = weights.arguments(name)
        found = _found(weights, name)
        described = None if found is None else found.preprocessing
        rows = {} if found is None else found.renamed()
    arguments |= {**(model_options or {}), "num_classes": len(class_names)}
    model = create_model(name, **arguments)
    head = head_keys(model)
    fresh = {key: model.state_dict()[key].numpy().copy() for key in head}
    if headless := weights.has_none_of(head):
        weights = weights.with_entries({key: model.state_dict()[key] for key in head})
    elif found is not None:
        saved_names = found.class_names
    report = _load(weights, model, skip_mismatched=True, options=model_options)
    if not set(report.skipped) <= set(head):  # raises, and names the other layers
        _load(weights, model, skip_mismatched=False, options=model_options)
    if saved_names is None:
        note: str | None = _unnamed(head if headless else report.skipped, class_names)
    else:
        note = _order_rows(model, rows, fresh, ClassMapping(saved_names, class_names))
    return LoadedClassifier(
        model, preprocessing=described or default_preprocessing(arguments, path), note=note
    )


def _order_rows(
    model: nn.Module, saved: Mapping[str, Any], fresh: Mapping[str, Any], mapping: ClassMapping
) -> str | None:
    """Set each row of the last layer to that of its class in the file, or to the initial one.

    Return a note for the user; None if the classes are equal.
    """
    if mapping.is_identity:
        return None
    state = model.state_dict()
    for key, values in fresh.items():
        if key in saved and mapping.fits(saved[key].numpy(), values):
            values = mapping.apply(saved[key].numpy(), values)
        state[key] = lucid.tensor(values)
    model.load_state_dict(state)
    return str(mapping)


def _unnamed(skipped: Sequence[str], class_names: Sequence[str]) -> str:
    """Note on the last layer of a file without class names."""
    if skipped:
        return (
            "the last layer is reinitialized: the file has none under the model's name, or one of "
            f"another number of classes than {len(class_names)}"
        )
    return (
        f"the last layer is kept: the file has {len(class_names)} classes too, without names; "
        "check that they are the same, in the same order"
    )


def default_preprocessing(arguments: Mapping[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Return ImageNet's preprocessing; for gray images, its mean over channels.

    Raise unless ``arguments`` of the builder have 3 or 1 ``in_channels``: ``WeightFileError`` for
    the file ``path``, else ``ValueError``.  Warn for gray images from a file.
    """
    channels = arguments.get("in_channels", 3)
    if channels == 3:
        return preprocessing()
    if channels != 1:
        error, source = (ValueError, "") if path is None else (WeightFileError, f"{path}: ")
        raise error(f"{source}expected a model with 3 or 1 in_channels, got {channels}")
    mean, std = (sum(values) / 3 for values in (IMAGENET_MEAN, IMAGENET_STD))
    if path is not None:
        warnings.warn(
            f"{path}: the model takes one channel; images are converted to gray",
            WeightFileWarning,
            stacklevel=3,
        )
    return preprocessing(mean=(mean,), std=(std,))


def check_task(name: str) -> None:
    """Raise ``ValueError`` unless the registered model is a classifier."""
    task = model_info(name).task
    if task != TASK:
        raise ValueError(
            f"expected a model for {TASK}, got {name} for {task}; list models with: lucid models "
            f"--task {TASK}"
        )


def _metadata(path: Path, model_name: str | None) -> ModelMetadata:
    metadata = model_metadata(path)
    saved = find_saved_model(path, metadata)
    try:
        check_task(metadata.name)
    except ValueError as error:
        raise WeightFileError(f"{path}: {error}") from None
    if model_name is not None and model_name != saved.name:
        raise WeightFileError(f"{path}: expected {model_name}, got {metadata}")
    return metadata


def _name_of(weights: StateDictFile, model_name: str | None) -> str:
    """Return the registered name of the model of weights without metadata."""
    if model_name is not None:
        check_task(model_name)
        return model_name
    if weights.identified is not None:
        return weights.identified.name
    fitting = find_matching_model({key: np.shape(value) for key, value in weights.state.items()})
    remedy = (
        "pass --model NAME" if fitting is None else f"it fits {fitting}: pass --model {fitting}"
    )
    raise WeightFileError(
        f"{weights.path}: expected model metadata, got none, and {weights.unrecognized_message()}; "
        f"{remedy}"
    )


def _without_classifier(found: IdentifiedWeights, model: nn.Module) -> str | None:
    """Describe what the file of a known network has instead of its classifier, if anything."""
    entries = head_keys(model)
    if not found.names().isdisjoint(entries):
        return None
    expected = " and ".join(entries)
    prefixes = (*check_classifier(model).head_prefixes, *_HEADS)
    heads = [key for key in found.state if key.startswith(prefixes)]
    if not heads and [np.ndim(value) for value in found.other_entries.values()].count(2) == 1:
        heads = list(found.other_entries)
    shown = ", ".join(heads[:_SHOWN])
    if heads:
        return (
            f"expected the classifier {expected} of {found.name}, got another: {shown}; if they "
            f"compute the same, rename its entries to {expected}"
        )
    others = ""
    if found.other_entries:
        shown = ", ".join(list(found.other_entries)[:_SHOWN])
        others = f" but {len(found.other_entries)} other tensors, such as {shown}"
    return (
        f"expected the classifier {expected} of {found.name}, got none{others}; if the file is "
        "part of a detector, use lucid detect"
    )


def _found(weights: StateDictFile, name: str) -> IdentifiedWeights | None:
    """Return what a converter identified, if it is the model ``name``."""
    found = weights.identified
    return found if found is not None and found.name == name else None


def _load(
    weights: StateDictFile,
    model: nn.Module,
    skip_mismatched: bool,
    options: Mapping[str, Any] | None = None,
) -> Any:
    try:
        return weights.load_into(model, skip_mismatched=skip_mismatched)
    except StateDictError as error:
        other = suggest_model(model, weights.state)
        reason = f"; they fit {other}: pass --model {other}" if other else f": {error}"
        chosen = f" with {dict(options)}" if options else ""
        raise WeightFileError(
            f"{weights.path}: the weights do not fit {model.model_name}{chosen}{reason}"
        ) from error
