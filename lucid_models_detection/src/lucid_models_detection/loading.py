"""From a weight file to a detector, whoever wrote the file.

A file of :func:`lucid.save_model` says everything itself.  torchvision's
``fasterrcnn_resnet50_fpn_coco-258fb6c6.pth`` and ``retinanet_resnet50_fpn_coco-eeacb38b.pth``,
and what others trained with torchvision, hold weights alone; the model follows from names and
shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lucid
from lucid import StateDictError, WeightFileError
from lucid.weights import StateDictFile, find_saved_model, has_model_metadata, model_metadata

__all__ = ["load_detector"]

_TASK = "object-detection"
_CLASSIFICATION = "image-classification"
_USE = "use lucid classify, or train a detector on it by lucid train-detector --backbone-weights"


def load_detector(
    path: Path, norm_eps: float | None = None, ema: bool | None = None
) -> tuple[Any, tuple[str, ...] | None]:
    """Open the detector in a weight file, with the names of its classes.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    norm_eps : float, optional
        What is added to the variance in the backbone's normalizations, for weights of
        another library, which do not say it.  Default: as the weight converter says for this
        file, else the builder's own.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as of
        :func:`lucid.load`.

    Returns
    -------
    model : lucid.nn.Module
        With a method ``predict``.
    class_names : tuple of str or None
        As the weight converter says, such as COCO's for torchvision's 91 classes.

    Raises
    ------
    lucid.WeightFileError
        If the file is damaged or holds no detector.
    lucid.UnknownModelError
        If the model or its backbone is of a plugin that is missing or disabled; names it.
    ValueError
        If ``norm_eps`` is given for a file that says it itself.
    """
    if has_model_metadata(path):
        metadata = model_metadata(path)
        if norm_eps is not None:
            raise ValueError(f"{path}: holds {metadata}; its norm_eps cannot be chosen")
        task = find_saved_model(path, metadata).task
        if task != _TASK:
            remark = f"; {_USE}" if task == _CLASSIFICATION else ""
            raise WeightFileError(
                f"{path}: expected a detector, got {metadata.name}, a model for {task}{remark}"
            )
        model: Any = lucid.load_model(path, ema=ema)
        if not hasattr(model, "predict"):
            raise WeightFileError(
                f"{path} holds {metadata.name}, which is no detector: it has no predict()"
            )
        return model, metadata.class_names
    weights = StateDictFile.read(path, ema=ema)
    found = weights.identified
    if found is None or found.task != _TASK:
        remark = "" if found is None else _classifier(found.name)
        said = "it holds no detector"
        if found is None:
            said = (
                f"{weights.unrecognized_message()}; give a file of lucid.save_model, or train a "
                "model from this one by lucid train-detector --weights FILE --model NAME"
            )
        raise WeightFileError(f"{path}: the file does not name its model, and {said}{remark}")
    model = found.build(**({} if norm_eps is None else {"norm_eps": norm_eps}))
    try:
        weights.load_into(model)
    except StateDictError as error:
        raise WeightFileError(f"{path}: its weights do not fit {found.name}: {error}") from error
    return model, found.class_names


def _classifier(name: str) -> str:
    """A remark on weights that are those of a classifier."""
    return f". They are those of the classifier {name}: {_USE}"
