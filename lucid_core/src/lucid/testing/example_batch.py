"""Training batches for the checks of models: declared by the plugin, or default of the task.

A plugin declares a function with ``register(..., example_batch="package.module:function")``.
Called without arguments, it returns a tuple:

``"image-classification"``
    ``(images, labels)``; the loss is the cross entropy of ``model(images)``.
other tasks
    Arguments of ``model(*batch)``, which returns the loss: a scalar Tensor or a dict of them,
    as ``model(images, targets)`` does for ``"object-detection"``.

For a model that is trained in another way it returns an :class:`ExampleBatch`, which includes
the loss function.  Small batches make the checks fast.
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
from lucid.testing.tested_model import CheckError, wrap_errors

__all__ = ["ExampleBatch", "example_batch_of"]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

Loss = Callable[[Any, Any], "Tensor | Mapping[str, Tensor]"]

_IMAGES = 4  # for batch statistics
_DECLARE = "pass example_batch='package.module:function' to register()"


@dataclass(frozen=True)
class ExampleBatch:
    """Batch and loss function for models with a loss of their own.

    Parameters
    ----------
    batch : object
        Second argument of the loss function.
    loss : callable
        ``loss(model, batch)`` returns a scalar Tensor or a dict of them, which are summed, as
        for :class:`lucid.training.Trainer`.

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
    """Return the declared batch of a model, else the default of its task.

    Raises CheckError if the task has no default or the declared function fails.
    """
    declared = info.example_batch is not None
    if declared:
        batch = _declared(info)
    elif info.task == "image-classification":
        batch = _classification(info, model)
    elif info.task == "object-detection":
        batch = _detection(info)
    else:
        raise CheckError(f"the task {info.task!r} has no default training batch", _DECLARE)
    if isinstance(batch, ExampleBatch):
        return batch
    if not isinstance(batch, tuple):
        raise CheckError(
            f"expected {info.example_batch} to return a tuple, got {batch!r:.80}",
            "return a tuple such as (images, labels), or a lucid.testing.ExampleBatch",
        )
    if info.task == "image-classification":
        return ExampleBatch(batch, _cross_entropy)
    return ExampleBatch(batch, _own_loss)


def _declared(info: ModelInfo) -> Any:
    function = str(info.example_batch)
    with wrap_errors(
        f"example_batch {function!r}",
        "name an importable function that can be called without arguments",
    ):
        module, _, qualname = function.partition(":")
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
    """Return random images of the registered size with labels of different classes."""
    images = random.randn(_IMAGES, *info.input_shape[1:])
    with (
        no_grad(),
        wrap_errors(
            f"the model called with images of shape {images.shape}",
            f"accept batches of the registered input_shape, or {_DECLARE}",
        ),
    ):
        logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise CheckError(
            f"expected logits (N, num_classes) from an image classifier, got {_describe(logits)}",
            f"return logits from forward(), or register another task and {_DECLARE}",
        )
    return images, lucid.tensor(np.arange(_IMAGES) % logits.shape[1])


def _detection(info: ModelInfo) -> tuple[Tensor, list[dict[str, Any]]]:
    """Return two random images with two objects of class 1 each."""
    if len(info.input_shape) != 4:
        raise CheckError(
            f"expected input_shape (N, C, H, W), got {info.input_shape}",
            f"register the shape of a batch of images, or {_DECLARE}",
        )
    _, channels, height, width = info.input_shape
    boxes = np.array([[0.1, 0.2, 0.6, 0.9], [0.5, 0.1, 0.9, 0.4]], dtype=np.float32)
    boxes *= np.array([width, height, width, height], dtype=np.float32)
    target = {"boxes": boxes, "labels": np.array([1, 1])}
    return random.rand(2, channels, height, width), [target, target]


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a Tensor of shape {value.shape}"
    return f"a {type(value).__name__}"
