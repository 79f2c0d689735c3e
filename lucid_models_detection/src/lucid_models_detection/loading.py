"""Load detectors from weight files.

Files of :func:`lucid.save_model` name their model.  For others, such as torchvision's
``fasterrcnn_resnet50_fpn_coco-258fb6c6.pth``, the model is identified by tensor names and shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lucid
from lucid import StateDictError, WeightFileError
from lucid.weights import StateDictFile, find_saved_model, has_model_metadata, model_metadata

__all__ = ["TASK", "load_detector"]

#: Task of detectors.
TASK = "object-detection"
_CLASSIFICATION = "image-classification"
_USE = "use lucid classify, or train a detector: lucid train-detector --backbone-weights FILE"


def load_detector(
    path: Path,
    norm_eps: float | None = None,
    ema: bool | None = None,
    model_name: str | None = None,
) -> tuple[Any, tuple[str, ...] | None]:
    """Load the detector in a weight file, and the names of its classes.

    Parameters
    ----------
    path : path
        A file that :func:`lucid.load` reads.
    norm_eps : float, optional
        Epsilon of the backbone's normalizations, for files without model metadata.  Default: that
        of the published weights that the file is a copy of, else that of the builder.
    ema : bool, optional
        Whether to use an exponential moving average of the weights, as for :func:`lucid.load`.
    model_name : str, optional
        Registered name that the model must have.

    Returns
    -------
    model : lucid.nn.Module
        Has ``predict``.
    class_names : tuple of str or None
        From the file or the weight converter, such as COCO's for torchvision's 91 classes.

    Raises
    ------
    lucid.WeightFileError
        If the file is corrupt or has no detector, or another than ``model_name``.
    lucid.UnknownModelError
        If the plugin of the model or of its backbone is missing or disabled; names it.
    ValueError
        If ``norm_eps`` is given for a file with model metadata.
    """
    if has_model_metadata(path):
        metadata = model_metadata(path)
        if norm_eps is not None:
            raise ValueError(
                f"{path}: expected no norm_eps for a saved model ({metadata}), got {norm_eps:g}; "
                "leave it out"
            )
        saved = find_saved_model(path, metadata)
        _check_name(path, saved.name, model_name)
        if (task := saved.task) != TASK:
            remark = f"; {_USE}" if task == _CLASSIFICATION else ""
            raise WeightFileError(
                f"{path}: expected a detector, got {metadata.name}, a model for {task}{remark}"
            )
        model: Any = lucid.load_model(path, ema=ema)
        if not hasattr(model, "predict"):
            raise WeightFileError(
                f"{path}: expected a detector, got {metadata.name} without predict()"
            )
        return model, metadata.class_names
    weights = StateDictFile.read(path, model=model_name, ema=ema)
    if model_name is not None and weights.identified is None:
        weights = StateDictFile.read(path, ema=ema)  # raises the reason, if a converter has one
    found = weights.identified
    if found is None or found.task != TASK:
        if found is None:
            problem = (
                f"a file without model metadata; {weights.unrecognized_message()}; pass a file of "
                "lucid.save_model, or train from this one: lucid train-detector --weights FILE "
                "--model NAME"
            )
        else:
            problem = f"the weights of the classifier {found.name}; {_USE}"
        raise WeightFileError(f"{path}: expected a detector, got {problem}")
    _check_name(path, found.name, model_name)
    model = found.build(**({} if norm_eps is None else {"norm_eps": norm_eps}))
    try:
        weights.load_into(model)
    except StateDictError as error:
        raise WeightFileError(f"{path}: the weights do not fit {found.name}: {error}") from error
    return model, found.class_names


def _check_name(path: Path, found: str, expected: str | None) -> None:
    if expected not in (None, found):
        raise WeightFileError(f"{path}: expected weights of {expected}, got those of {found}")
