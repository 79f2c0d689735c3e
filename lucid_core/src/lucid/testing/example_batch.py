"""Batches to take a training step on: what a plugin declares, or what its task implies.

A plugin names a function in ``register(..., example_batch="package.module:function")``.
It is called without arguments and returns the batch, a tuple:

``"image-classification"``
    ``(images, labels)``; the loss is the cross entropy of ``model(images)``.
any other task
    whatever ``model(*batch)`` takes to give its own loss, a scalar Tensor or a dict
    of them, as ``model(images, targets)`` does for ``"object-detection"``.

Where that is not how the model is trained it returns an :class:`ExampleBatch`, which
brings the loss along.  Small batches will do, and make for quick checks.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import lucid
from lucid import Tensor, nn, no_grad, random
from lucid.models import ModelInfo
from lucid.testing.model_under_test import CheckError, wrap_errors

__all__ = ["ExampleBatch", "example_batch_of"]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True

Loss = Callable[[Any, Any], "Tensor | Mapping[str, Tensor]"]

_IMAGES = 4  # enough for batch statistics
_DECLARE = "declare example_batch='package.module:function' in register()"


@dataclass(frozen=True)
class ExampleBatch:
    """A batch and the loss of a model on it, for models that are trained in their own way.

    Parameters
    ----------
    batch : object
        What the loss takes beside the model.
    loss : callable
        ``loss(model, batch)`` gives a scalar Tensor, or several by name in a dict,
        which are summed: the function that :class:`lucid.training.Trainer` takes.

    Examples
    --------
    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> from lucid.testing import ExampleBatch
    >>> def example_batch():
    ...     def reconstruction(model, images):
    ...         return F.mse_loss(model(images), images)
    ...     return ExampleBatch(lucid.random.rand(2, 1, 8, 8), reconstruction)
    >>> example_batch().batch.shape
    (2, 1, 8, 8)
    """

    batch: Any
    loss: Loss


def example_batch_of(info: ModelInfo, model: nn.Module) -> ExampleBatch:
    """Return the declared batch of a model, or the default of its task.

    Parameters
    ----------
    info : ModelInfo
        The model's registration.
    model : nn.Module
        The model, built without arguments; the default batch of a classifier asks it
        how many classes there are.

    Raises
    ------
    CheckError
        If there is no batch, or it is none.
    """
    declared = info.example_batch is not None
    if declared:
        batch = _declared(info)
    elif info.task == "image-classification":
        batch = _classification(info, model)
    elif info.task == "object-detection":
        batch = _detection(info)
    else:
        raise CheckError(f"there is no default training batch for the task {info.task!r}", _DECLARE)
    if isinstance(batch, ExampleBatch):
        return batch
    if not isinstance(batch, tuple):
        raise CheckError(
            f"{info.example_batch} returned {batch!r:.80}",
            "let it return a tuple such as (images, labels), or a lucid.testing.ExampleBatch",
        )
    if info.task == "image-classification":
        return ExampleBatch(batch, _cross_entropy)
    return ExampleBatch(batch, _own_loss)


def _declared(info: ModelInfo) -> Any:
    place = str(info.example_batch)
    with wrap_errors(
        f"example_batch {place!r}",
        "make it name a function that can be imported and called without arguments",
    ):
        module, _, qualname = place.partition(":")
        found: Any = importlib.import_module(module)
        for part in qualname.split("."):
            found = getattr(found, part)
        return found()


def _cross_entropy(model: Any, batch: Any) -> Tensor:
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def _own_loss(model: Any, batch: Any) -> Any:
    return model(*batch)


def _classification(info: ModelInfo, model: nn.Module) -> tuple[Tensor, Tensor]:
    """Random images of the declared size, and labels spread over the model's classes."""
    images = random.randn(_IMAGES, *info.input_shape[1:])
    with (
        no_grad(),
        wrap_errors(
            f"the model called with images of shape {images.shape}",
            f"accept batches of the declared input_shape, or {_DECLARE}",
        ),
    ):
        logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise CheckError(
            f"an image classifier gives logits (N, num_classes), this one {_kind(logits)}",
            f"return such a Tensor from forward(), or register another task and {_DECLARE}",
        )
    return images, lucid.tensor(np.arange(_IMAGES) % logits.shape[1])


def _detection(info: ModelInfo) -> tuple[Tensor, list[dict[str, Any]]]:
    """Two random images with two objects of class 1 each."""
    if len(info.input_shape) != 4:
        raise CheckError(
            f"input_shape {info.input_shape} is no batch of images (N, C, H, W)",
            f"register the shape of a batch of images, or {_DECLARE}",
        )
    _, channels, height, width = info.input_shape
    boxes = np.array([[0.1, 0.2, 0.6, 0.9], [0.5, 0.1, 0.9, 0.4]], dtype=np.float32)
    boxes *= np.array([width, height, width, height], dtype=np.float32)
    target = {"boxes": boxes, "labels": np.array([1, 1])}
    return random.rand(2, channels, height, width), [target, target]


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor of shape {value.shape}"
    return f"a {type(value).__name__}"
