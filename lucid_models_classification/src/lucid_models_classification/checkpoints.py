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
from lucid.models import create_model, model_info
from lucid.models.structure import fitting_model
from lucid.training.class_rows import ClassRows, class_entries
from lucid.vision.transforms import IMAGENET_MEAN, IMAGENET_STD, preprocessing
from lucid.weights import (
    ModelMetadata,
    find_saved_model,
    load_weights,
    model_metadata,
    names_model,
    unwrap,
)
from lucid_models_classification.resnet.builders import ARCHITECTURES
from lucid_models_classification.torchvision import (
    infer_model,
    is_resnet_key,
    load_torchvision_weights,
    sizes_of,
)

__all__ = [
    "LoadedClassifier",
    "check_task",
    "open_classifier",
    "other_model",
    "read_weights",
    "start_from",
]

TASK = "image-classification"

_SHOWN = 4


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
        What :func:`~lucid.vision.transforms.transform_of` takes.
    says_preprocessing : bool
        Whether the file says ``preprocessing``; else it is the default.
    note : str or None
        What was done with the last layer of the file that it starts from.
    """

    model: nn.Module
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] = field(default_factory=preprocessing)
    says_preprocessing: bool = False
    note: str | None = None


def open_classifier(
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
    if names_model(path):
        metadata = _metadata(path, model_name)
        described = metadata.preprocessing or _preprocessing(path, metadata.kwargs)
        return LoadedClassifier(
            lucid.load_model(path, ema=ema),
            metadata.class_names,
            described,
            says_preprocessing=bool(metadata.preprocessing),
        )
    state, beside = _weights(path, model_name, ema)
    name, sizes = _identified(path, state, model_name)
    if "num_classes" not in sizes and (held := _resnet_in(state)) is not None:
        raise WeightFileError(f"{path}: {_without_classifier(held, state, beside)}")
    model = create_model(name, **sizes)
    _load(path, model, state, skip_mismatched=False)
    return LoadedClassifier(model, preprocessing=_preprocessing(path, sizes))


def start_from(
    path: Path,
    class_names: Sequence[str],
    model_name: str | None = None,
    ema: bool | None = None,
) -> LoadedClassifier:
    """Build a classifier with the weights of a file, its last layer fitted to the classes.

    The last layer keeps the rows of classes whose names the file has, in whatever order; new
    classes start with fresh weights.  A file that names no classes keeps its last layer if it
    has as many classes.  Everything else has to fit.

    Parameters
    ----------
    path, model_name, ema
        As for :func:`open_classifier`.
    class_names : sequence of str
        Classes of the data.

    Raises
    ------
    lucid.WeightFileError
        As for :func:`open_classifier`.
    """
    model_name = None if model_name is None else model_info(model_name).name
    if names_model(path):
        metadata = _metadata(path, model_name)
        kwargs = {**metadata.kwargs, "num_classes": len(class_names)}
        model = create_model(metadata.name, **kwargs)
        described = metadata.preprocessing or _preprocessing(path, metadata.kwargs)
        if metadata.class_names is not None:
            note = _load_by_class(model, path, ClassRows(metadata.class_names, class_names), ema)
        else:
            report = load_weights(model, path, skip_mismatched=True, ema=ema)
            note = _unnamed(report.skipped, class_names)
        return LoadedClassifier(model, preprocessing=described, note=note)
    state, _ = _weights(path, model_name, ema)
    name, sizes = _identified(path, state, model_name)
    model = create_model(name, **{**sizes, "num_classes": len(class_names)})
    head = class_entries(model)
    if headless := state.keys().isdisjoint(head):
        state |= {key: model.state_dict()[key] for key in head}
    report = _load(path, model, state, skip_mismatched=True)
    if not set(report.skipped) <= set(head):
        _load(path, model, state, skip_mismatched=False)  # says which other layers do not fit
    note = _unnamed(head if headless else report.skipped, class_names)
    return LoadedClassifier(model, preprocessing=_preprocessing(path, sizes), note=note)


def _load_by_class(model: nn.Module, path: Path, rows: ClassRows, ema: bool | None) -> str | None:
    """Load a whole-model file, the rows of its last layer by class; say if they moved."""
    entries = [] if rows.identical else class_entries(model)
    fresh = {key: model.state_dict()[key].numpy().copy() for key in entries}
    load_weights(model, path, skip_mismatched=True, ema=ema)
    if rows.identical:
        return None
    saved, state = lucid.load(path, ema=ema), model.state_dict()
    for key, values in fresh.items():
        if key in saved and rows.fits(saved[key].numpy(), values):
            values = rows.take(saved[key].numpy(), values)
        state[key] = lucid.tensor(values)
    model.load_state_dict(state)
    return str(rows)


def _unnamed(skipped: Sequence[str], class_names: Sequence[str]) -> str:
    """What was done with the last layer of a file that does not name its classes."""
    if skipped:
        return (
            "the last layer starts anew: the file has none under the model's name, or one of "
            f"another number of classes than {len(class_names)}"
        )
    return (
        f"the last layer is kept: the file has {len(class_names)} classes, too, but does not name "
        "them; check that they are the same, in this order"
    )


def read_weights(path: Path, ema: bool | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read a classifier's weights, and what the file shows of its model's arguments.

    Parameters
    ----------
    path, ema
        As for :func:`open_classifier`.

    Returns
    -------
    state : dict of str to Tensor
        By name, without a wrapper's prefix.
    arguments : dict
        Keyword arguments of the model's builder: those that the file names, or for weights
        alone ``num_classes`` and ``in_channels`` where their shapes show them.
    """
    if names_model(path):
        metadata = model_metadata(path)
        arguments = dict(metadata.kwargs)
        if (num_classes := metadata.num_classes) is not None:
            arguments["num_classes"] = num_classes
        return lucid.load(path, ema=ema), arguments
    state, _ = _weights(path, None, ema)
    return state, dict(sizes_of(state))


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
        raise ValueError(f"expected a model for {TASK}, got {name}, a model for {task}")


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


def _weights(
    path: Path, model_name: str | None, ema: bool | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tensors in a file that names no model, those of a ResNet without prefix; the rest."""
    state: dict[str, Any] = lucid.load(path, ema=ema)
    if model_name is not None and model_name not in ARCHITECTURES:
        return state, {}
    try:
        unwrapped = unwrap(state, is_resnet_key, ema=ema, source=path)
    except StateDictError as error:
        raise WeightFileError(str(error)) from None
    used = set(map(id, unwrapped.values()))
    return unwrapped, {key: value for key, value in state.items() if id(value) not in used}


def _identified(
    path: Path, state: Mapping[str, Any], model_name: str | None
) -> tuple[str, dict[str, int]]:
    """Name and keyword arguments of the model of weights without a name."""
    if model_name is not None:
        check_task(model_name)
        return model_name, sizes_of(state) if model_name in ARCHITECTURES else {}
    try:
        return infer_model(state)
    except ValueError as error:
        fitting = fitting_model({key: np.shape(value) for key, value in state.items()})
        remedy = "if there is a model for it, give it by --model"
        if fitting is not None:
            remedy = f"it fits {fitting}: give --model {fitting}"
        raise WeightFileError(
            f"{path}: the file does not name its model, and {error}; {remedy}"
        ) from None


def _resnet_in(state: Mapping[str, Any]) -> str | None:
    try:
        return infer_model(state)[0]
    except ValueError:
        return None


def _without_classifier(name: str, state: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """What the file of a ResNet has in place of the classifier ``fc``.

    Parameters
    ----------
    name : str
        The ResNet.
    state, beside : mapping of str to array-like
        Its tensors, and those that stood outside the prefix of its names.
    """
    expected = "fc.weight and fc.bias"
    heads = [key for key in state if key.startswith(("fc.", "head.", "classifier."))]
    if not heads and [np.ndim(value) for value in beside.values()].count(2) == 1:
        heads = list(beside)
    shown = ", ".join(heads[:_SHOWN])
    if heads:
        return (
            f"holds a {name} with another classifier: expected one linear layer, {expected}, got "
            f"{shown}. What else is in that classifier the file does not say; if it is one linear "
            "layer and nothing that changes its result, rename it to fc"
        )
    others = ""
    if beside:
        shown = ", ".join(list(beside)[:_SHOWN])
        others = f"; beside its names are {len(beside)} other tensors, such as {shown}"
    return (
        f"holds a {name} without its classifier: expected {expected}{others}; if it is part of a "
        "detector, use lucid detect"
    )


def _preprocessing(path: Path, sizes: Mapping[str, Any]) -> dict[str, Any]:
    """ImageNet's for weights that do not say theirs; its mean over channels for gray images."""
    channels = sizes.get("in_channels", 3)
    if channels == 3:
        return preprocessing()
    if channels != 1:
        raise WeightFileError(
            f"{path}: expected a model for images of 3 channels or 1, got one for {channels}"
        )
    mean, std = (sum(values) / 3 for values in (IMAGENET_MEAN, IMAGENET_STD))
    warnings.warn(
        f"{path}: the model takes images of one channel; images are converted to gray",
        WeightFileWarning,
        stacklevel=3,
    )
    return preprocessing(mean=(mean,), std=(std,))


def other_model(model: nn.Module, state: Mapping[str, Any]) -> str | None:
    """Find the other registered model that weights are of, for an error.

    Parameters
    ----------
    model : lucid.nn.Module
        The model that they do not fit.
    state : mapping of str to array-like
        The weights.

    Returns
    -------
    str or None
        Its name; None if no other model fits.
    """
    try:
        name: str | None = infer_model(state)[0]
    except ValueError:
        name = fitting_model({key: np.shape(value) for key, value in state.items()})
    return None if name == model.model_name else name


def _load(path: Path, model: nn.Module, state: Mapping[str, Any], skip_mismatched: bool) -> Any:
    try:
        return load_torchvision_weights(model, state, skip_mismatched=skip_mismatched)
    except StateDictError as error:
        other = other_model(model, state)
        remedy = f", they are those of {other} (give --model {other})" if other else ""
        raise WeightFileError(
            f"{path}: its weights do not fit {model.model_name}{remedy}: {error}"
        ) from error
