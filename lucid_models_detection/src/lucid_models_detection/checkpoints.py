"""From a weight file to a detector, whoever wrote the file.

A file of :func:`lucid.save_model` says everything itself.  torchvision's
``fasterrcnn_resnet50_fpn_coco-258fb6c6.pth`` and ``retinanet_resnet50_fpn_coco-eeacb38b.pth``,
and what others trained with torchvision, hold weights alone; the model follows from names and
shapes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lucid
from lucid import StateDictError, UnknownModelError, WeightFileError
from lucid.models import create_model
from lucid.weights import model_metadata, names_model, unwrap
from lucid_models_classification import torchvision as resnet
from lucid_models_detection.data.coco_classes import COCO_CLASSES
from lucid_models_detection.torchvision import (
    infer_detector,
    is_detector_key,
    load_torchvision_weights,
)

__all__ = ["open_detector"]

#: First digits of the SHA-256 of torchvision's published COCO_V1 weights, as in their files'
#: names: fasterrcnn_resnet50_fpn and retinanet_resnet50_fpn.
_COCO_V1 = ("258fb6c6", "eeacb38b")


def open_detector(
    path: Path, norm_eps: float | None = None, ema: bool | None = None
) -> tuple[Any, tuple[str, ...] | None]:
    """Open the detector in a weight file, with the names of its classes.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    norm_eps : float, optional
        What is added to the variance in the backbone's normalisations, for weights of
        torchvision, which do not say it.  Default: 0 for the published COCO_V1 weights,
        known by the digest of their file, and torchvision's 1e-5 for any other.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as of
        :func:`lucid.load`.

    Returns
    -------
    model : lucid.nn.Module
        With a method ``predict``.
    class_names : tuple of str or None
        COCO's for weights of torchvision with 91 classes.

    Raises
    ------
    lucid.WeightFileError
        If the file is damaged or holds no detector.
    lucid.UnknownModelError
        If the model or its backbone is of a plugin that is missing or disabled; names it.
    ValueError
        If ``norm_eps`` is given for a file that says it itself.
    """
    if names_model(path):
        metadata = model_metadata(path)
        if norm_eps is not None:
            raise ValueError(f"{path}: holds {metadata}; its norm_eps cannot be chosen")
        model: Any = lucid.load_model(path, ema=ema)
        if not hasattr(model, "predict"):
            raise WeightFileError(
                f"{path} holds {metadata.name}, which is no detector: it has no predict()"
            )
        return model, metadata.class_names
    try:
        state = unwrap(lucid.load(path, ema=ema), is_detector_key, ema=ema, source=path)
    except StateDictError as error:
        raise WeightFileError(str(error)) from None
    try:
        name, options = infer_detector(state)
    except ValueError as error:
        raise WeightFileError(
            f"{path}: the file does not name its model, and {error}{_classifier_in(state)}"
        ) from None
    is_coco = options["num_classes"] == len(COCO_CLASSES)
    if norm_eps is None:
        norm_eps = 0.0 if is_coco and _digest_of(path).startswith(_COCO_V1) else 1e-5
    try:
        model = create_model(name, **{**options, "norm_eps": norm_eps})
    except UnknownModelError as error:
        raise UnknownModelError(
            f"{path} holds weights of {name}, which needs another model: {error}"
        ) from None
    try:
        load_torchvision_weights(model, state)
    except StateDictError as error:
        raise WeightFileError(f"{path}: its weights do not fit {name}: {error}") from error
    return model, COCO_CLASSES if is_coco else None


def _classifier_in(state: Mapping[str, Any]) -> str:
    """A remark on weights that are those of a classifier."""
    try:
        name, _ = resnet.infer_model(state)
    except ValueError:
        return ""
    return (
        f". They are those of the classifier {name}: use lucid classify, or train a detector on "
        "them by lucid train-detector --backbone-weights"
    )


def _digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
