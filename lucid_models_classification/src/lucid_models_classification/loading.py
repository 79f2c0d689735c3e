"""From a weight file to a classifier, whoever wrote the file.

A file of :func:`lucid.save_model` names its model and arguments.  Any other, such as
torchvision's ``resnet50-0676ba61.pth``, holds weights alone: the model follows from
their names and shapes, or from the caller.
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
from lucid.models import check_classifier, create_model, model_info
from lucid.models.structure import find_matching_model
from lucid.training.class_mapping import ClassMapping, head_keys
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
    "LoadedClassifier",
    "check_task",
    "default_preprocessing",
    "load_classifier",
    "load_for_fine_tuning",
]

TASK = "image-classification"

_SHOWN = 4
#: How other libraries begin the names of a classifier, for an error.
_HEADS = ("head.", "classifier.")


@dataclass(frozen=True)
class LoadedClassifier:
    """A classifier and what belongs to it.

    Attributes
    ----------
    model : lucid.nn.Module
        The network.
    class_names : tuple of str or None
        One name for each class.
    preprocessing : dict
        What :func:`~lucid.vision.transforms.build_transform` takes.
    has_preprocessing : bool
        Whether the file says ``preprocessing``; else it is the default.
    note : str or None
        What was done with the last layer of the file that it starts from.
    """

    model: nn.Module
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] = field(default_factory=preprocessing)
    has_preprocessing: bool = False
    note: str | None = None


def load_classifier(
    path: Path, model_name: str | None = None, ema: bool | None = None
) -> LoadedClassifier:
    """Open the classifier in a weight file.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    model_name : str, optional
        The model's registered name, for a file that does not name it.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as of
        :func:`lucid.load`.

    Raises
    ------
    lucid.WeightFileError
        If the file is damaged, holds no classifier, or another one than ``model_name``.
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
    """Build a classifier with the weights of a file, its last layer fitted to the classes.

    The last layer keeps the rows of classes whose names the file has, in whatever order; new
    classes start with fresh weights.  A file that names no classes keeps its last layer if it
    has as many classes.  Everything else has to fit.

    Parameters
    ----------
    path, model_name, ema
        As for :func:`load_classifier`.
    class_names : sequence of str
        Classes of the data.
    model_options : mapping, optional
        Arguments of the builder that replace those of the file.

    Raises
    ------
    lucid.WeightFileError
        As for :func:`load_classifier`; also if layers other than the last do not fit
        ``model_options``.
    """
    model_name = None if model_name is None else model_info(model_name).name
    saved_names: tuple[str, ...] | None = None
    if has_model_metadata(path):
        metadata = _metadata(path, model_name)
        weights = StateDictFile(path, dict(lucid.load(path, ema=ema)))
        name, arguments = metadata.name, dict(metadata.kwargs)
        saved_names, described = metadata.class_names, metadata.preprocessing
    else:
        weights = StateDictFile.read(path, task=TASK, model=model_name, ema=ema)
        name = _name_of(weights, model_name)
        arguments = weights.arguments(name)
        found = _found(weights, name)
        described = None if found is None else found.preprocessing
    arguments |= {**(model_options or {}), "num_classes": len(class_names)}
    model = create_model(name, **arguments)
    head = head_keys(model)
    fresh = {key: model.state_dict()[key].numpy().copy() for key in head}
    if headless := weights.has_none_of(head):
        weights = weights.with_entries({key: model.state_dict()[key] for key in head})
    report = _load(weights, model, skip_mismatched=True, options=model_options)
    if not set(report.skipped) <= set(head):  # says which other layers do not fit
        _load(weights, model, skip_mismatched=False, options=model_options)
    if saved_names is None:
        note: str | None = _unnamed(head if headless else report.skipped, class_names)
    else:
        note = _order_rows(model, weights.state, fresh, ClassMapping(saved_names, class_names))
    return LoadedClassifier(
        model, preprocessing=described or default_preprocessing(arguments, path), note=note
    )


def _order_rows(
    model: nn.Module, saved: Mapping[str, Any], fresh: Mapping[str, Any], mapping: ClassMapping
) -> str | None:
    """Set each row of the last layer to that of its class in a file, or to a fresh one.

    Returns what was done; None if the classes are the same.
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
    """What was done with the last layer of a file that does not name its classes."""
    if skipped:
        return (
            "the last layer is reinitialized: the file has none under the model's name, or one of "
            f"another number of classes than {len(class_names)}"
        )
    return (
        f"the last layer is kept: the file has {len(class_names)} classes, too, but does not name "
        "them; check that they are the same, in this order"
    )


def default_preprocessing(arguments: Mapping[str, Any], path: Path | None = None) -> dict[str, Any]:
    """Return ImageNet's preprocessing; for gray images with its mean over channels.

    Parameters
    ----------
    arguments : mapping
        Arguments of the model's builder, of which ``in_channels`` counts.
    path : path, optional
        File of the weights, for messages; of a model for gray images it warns.

    Raises
    ------
    lucid.WeightFileError
        If the model of a file takes images of neither 3 channels nor 1.
    ValueError
        The same without a file.
    """
    channels = arguments.get("in_channels", 3)
    if channels == 3:
        return preprocessing()
    if channels != 1:
        error, source = (ValueError, "") if path is None else (WeightFileError, f"{path}: ")
        raise error(
            f"{source}expected a model for images of 3 channels or 1, got one for {channels}"
        )
    mean, std = (sum(values) / 3 for values in (IMAGENET_MEAN, IMAGENET_STD))
    if path is not None:
        warnings.warn(
            f"{path}: the model takes images of one channel; images are converted to gray",
            WeightFileWarning,
            stacklevel=3,
        )
    return preprocessing(mean=(mean,), std=(std,))


def check_task(name: str) -> None:
    """Refuse a model that is no classifier.

    Raises
    ------
    ValueError
        If it is for another task.
    lucid.UnknownModelError
        If there is no such model.
    """
    task = model_info(name).task
    if task != TASK:
        raise ValueError(
            f"expected a model for {TASK}, got {name}, a model for {task}; lucid models --task "
            f"{TASK} lists the models"
        )


def _metadata(path: Path, model_name: str | None) -> ModelMetadata:
    metadata = model_metadata(path)
    saved = find_saved_model(path, metadata)
    try:
        check_task(metadata.name)
    except ValueError as error:
        raise WeightFileError(f"{path}: {error}") from None
    if model_name is not None and model_name != saved.name:
        raise WeightFileError(f"{path}: expected {model_name}, it holds {metadata}")
    return metadata


def _name_of(weights: StateDictFile, model_name: str | None) -> str:
    """The registered name of the model of weights without a name."""
    if model_name is not None:
        check_task(model_name)
        return model_name
    if weights.identified is not None:
        return weights.identified.name
    fitting = find_matching_model({key: np.shape(value) for key, value in weights.state.items()})
    remedy = "if there is a model for it, give it by --model"
    if fitting is not None:
        remedy = f"it fits {fitting}: give --model {fitting}"
    raise WeightFileError(
        f"{weights.path}: the file does not name its model, and {weights.unrecognized_message()}; "
        f"{remedy}"
    )


def _without_classifier(found: IdentifiedWeights, model: nn.Module) -> str | None:
    """Say what the file of a known network has in place of its classifier; None if it has that.

    Parameters
    ----------
    found : IdentifiedWeights
        What a converter recognizes.
    model : lucid.nn.Module
        The network.
    """
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
            f"holds a {found.name} with another classifier: expected {expected}, got {shown}. "
            "What else is in that classifier the file does not say; if it computes the same as "
            f"the expected one, rename its entries to {expected}"
        )
    others = ""
    if found.other_entries:
        shown = ", ".join(list(found.other_entries)[:_SHOWN])
        others = f"; beside its names are {len(found.other_entries)} other tensors, such as {shown}"
    return (
        f"holds a {found.name} without its classifier: expected {expected}{others}; if it is part "
        "of a detector, use lucid detect"
    )


def _found(weights: StateDictFile, name: str) -> IdentifiedWeights | None:
    """What a converter recognizes, if it is the model `name`."""
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
        remedy = f", they are those of {other} (give --model {other})" if other else ""
        chosen = f" with {dict(options)}" if options else ""
        raise WeightFileError(
            f"{weights.path}: its weights do not fit {model.model_name}{chosen}{remedy}: {error}"
        ) from error
