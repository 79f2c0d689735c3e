"""From a weight file to a classifier, whoever wrote the file.

A file of :func:`lucid.save_model` says everything itself.  Any other, such as
torchvision's ``resnet50-0676ba61.pth``, holds weights alone: which network they are
of is told by their names and shapes, or by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lucid
from lucid import StateDictError, WeightFileError, nn
from lucid.models import create_model, model_info
from lucid.weights import ModelMetadata, load_weights, model_metadata, names_model
from lucid_models_classification.architectures import ARCHITECTURES
from lucid_models_classification.torchvision import (
    infer_model,
    load_torchvision_weights,
    sizes_of,
)
from lucid_models_classification.transforms import preprocessing

__all__ = ["Classifier", "check_task", "open_classifier", "start_from"]

TASK = "image-classification"


@dataclass(frozen=True)
class Classifier:
    """A classifier and what belongs to it.

    Attributes
    ----------
    model : lucid.nn.Module
        The network.
    class_names : tuple of str or None
        One name for each class.
    preprocessing : dict
        What :func:`~lucid_models_classification.transforms.transform_of` takes.
    skipped : tuple of str
        Entries of the file that did not fit and were left out.
    says_preprocessing : bool
        Whether the file says ``preprocessing``; else it is the default.
    """

    model: nn.Module
    class_names: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] = field(default_factory=preprocessing)
    skipped: tuple[str, ...] = ()
    says_preprocessing: bool = False


def open_classifier(path: Path, model_name: str | None = None) -> Classifier:
    """The classifier in a weight file.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    model_name : str, optional
        The model's registered name, for a file that does not say it.

    Raises
    ------
    lucid.WeightFileError
        If the file is damaged, holds no classifier, or not the one that was asked for.
    """
    if names_model(path):
        metadata = _metadata(path, model_name)
        described = metadata.preprocessing or preprocessing()
        return Classifier(
            lucid.load_model(path),
            metadata.class_names,
            described,
            says_preprocessing=bool(metadata.preprocessing),
        )
    state = lucid.load(path)
    name, sizes = _identified(path, state, model_name)
    if "num_classes" not in sizes and name in ARCHITECTURES:
        raise WeightFileError(f"{path}: holds a {name} without its classifier, fc.weight")
    model = create_model(name, **sizes)
    _load(path, model, state, skip_mismatched=False)
    return Classifier(model)


def start_from(path: Path, num_classes: int, model_name: str | None = None) -> Classifier:
    """A classifier of ``num_classes`` classes that begins with the weights in a file.

    The last layer keeps its fresh weights where the file's is of another number of
    classes; everything else has to fit.

    Parameters
    ----------
    path, model_name
        As for :func:`open_classifier`.
    num_classes : int
        Of the new classifier.

    Raises
    ------
    lucid.WeightFileError
        As for :func:`open_classifier`.
    """
    if names_model(path):
        metadata = _metadata(path, model_name)
        model = create_model(metadata.name, **{**metadata.kwargs, "num_classes": num_classes})
        report = load_weights(model, path, skip_mismatched=True)
        described = metadata.preprocessing or preprocessing()
    else:
        state = lucid.load(path)
        name, sizes = _identified(path, state, model_name)
        model = create_model(name, **{**sizes, "num_classes": num_classes})
        if "num_classes" not in sizes and name in ARCHITECTURES:
            state |= {key: value for key, value in model.state_dict().items() if key[:3] == "fc."}
        report = _load(path, model, state, skip_mismatched=True)
        described = preprocessing()
    return Classifier(model, None, described, tuple(report.skipped))


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
    try:
        check_task(metadata.name)
    except ValueError as error:
        raise WeightFileError(f"{path}: {error}") from None
    if model_name is not None and model_name != metadata.name:
        raise WeightFileError(f"{path}: expected {model_name}, it holds {metadata}")
    return metadata


def _identified(
    path: Path, state: Mapping[str, Any], model_name: str | None
) -> tuple[str, dict[str, int]]:
    """Name and keyword arguments of the model that weights without a name are of."""
    if model_name is not None:
        check_task(model_name)
        return model_name, sizes_of(state) if model_name in ARCHITECTURES else {}
    try:
        return infer_model(state)
    except ValueError as error:
        raise WeightFileError(
            f"{path}: the file does not say which model it holds, and {error}; if there is a "
            "model for it, name it by --model"
        ) from None


def _load(path: Path, model: nn.Module, state: Mapping[str, Any], skip_mismatched: bool) -> Any:
    try:
        return load_torchvision_weights(model, state, skip_mismatched=skip_mismatched)
    except StateDictError as error:
        raise WeightFileError(
            f"{path}: its weights do not fit {model.model_name}: {error}"
        ) from error
