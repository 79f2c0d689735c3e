"""Checks of one model: builder, parameters, seeding, forward pass, saving, pickling."""

from __future__ import annotations

import inspect
import pickle
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import Tensor, random
from lucid.models.builders import check_builder as check_signature
from lucid.models.protocols import predict_function
from lucid.testing.tested_model import (
    CheckError,
    ModelUnderTest,
    prediction_errors,
    wrap_errors,
)

__all__ = [
    "check_builder",
    "check_forward",
    "check_parameters",
    "check_pickle",
    "check_seed",
    "check_state_dict",
]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True


def check_builder(tested: ModelUnderTest) -> None:
    """Check that the builder is annotated, documents its parameters and builds the model.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    builder = tested.builder
    try:
        check_signature(builder)
    except TypeError as error:
        raise CheckError(str(error), "correct the signature of the builder") from error
    text = inspect.getdoc(inspect.unwrap(builder)) or ""
    if not text.strip():
        raise CheckError(
            f"the builder {tested.info.builder} has no docstring",
            "write a numpydoc docstring; the model's documentation page is generated from it",
        )
    missing = [
        parameter.name
        for parameter in inspect.signature(builder).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and not re.search(rf"\b{re.escape(parameter.name)}\b", text)
    ]
    if missing:
        raise CheckError(
            f"the docstring of {tested.info.builder} does not describe {', '.join(missing)}",
            "describe all parameters in its section 'Parameters'",
        )
    _ = tested.model


def check_parameters(tested: ModelUnderTest) -> None:
    """Check that ``parameter_size`` of the model is the registered ``total_parameters``.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    built, registered = tested.model.parameter_size, tested.info.total_parameters
    if built != registered:
        total = "no total_parameters" if registered is None else f"total_parameters={registered:,}"
        raise CheckError(
            f"registered with {total}, but the model built without arguments has {built:,}",
            f"write total_parameters={built:_} in lucid_register_models",
        )


def check_seed(tested: ModelUnderTest) -> None:
    """Check that the same seed gives the same initial weights.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    different = _differences(tested.model.state_dict(), tested.build(seed=0).state_dict())
    if different:
        raise CheckError(
            f"two builds after lucid.random.seed(0) differ in {_some(different)}",
            "draw initial weights from lucid.nn.init or lucid.random, not from numpy.random or "
            "random",
        )


def check_forward(tested: ModelUnderTest) -> None:
    """Check that an input of the registered shape gives finite outputs in evaluation mode.

    An image classifier must return logits of shape (N, num_classes).  If ``forward()`` requires
    targets, as for detectors, ``predict()`` is called.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    model, shape = tested.model, tested.info.input_shape
    predict = predict_function(model)
    draw = random.randn if predict is model else random.rand  # predict() takes images in [0, 1]
    dtype = next((parameter.dtype for parameter in model.parameters()), lucid.float32)
    with prediction_errors(
        model,
        f"the model called with a tensor of shape {shape}",
        "accept this shape in forward(), or register another input_shape",
    ):
        output = predict(draw(*shape, dtype=dtype))
    tensors = list(_tensors(output))
    if not tensors:
        raise CheckError(
            f"expected a Tensor from forward(), got a {type(output).__name__} without any",
            "return a Tensor, or a tuple, list or dict of Tensors",
        )
    if not all(np.isfinite(tensor.numpy()).all() for tensor in tensors if _is_float(tensor)):
        raise CheckError(
            f"a random input of shape {shape} gave NaN or infinity",
            "check the initial weights, and divisions by and logarithms of 0",
        )
    if tested.info.task == "image-classification":
        logits = tensors[0]
        if len(tensors) > 1 or logits.ndim != 2 or logits.shape[0] != shape[0]:
            shapes = ", ".join(str(tensor.shape) for tensor in tensors)
            raise CheckError(
                f"expected logits (N, num_classes) from an image classifier, got {shapes} "
                f"for an input of shape {shape}",
                "return logits from forward(), or register another task",
            )


def check_state_dict(tested: ModelUnderTest) -> None:
    """Check that a saved state dict, loaded into another instance, restores the model.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    state = tested.model.state_dict()
    other = tested.build(seed=1)
    advice = (
        "keep all learned values in parameters and buffers, with the same names in every model "
        "that the builder returns"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        wrap_errors("saving and loading its state dict", advice),
    ):
        path = Path(folder) / "model.safetensors"
        lucid.save(state, path)
        other.load_state_dict(lucid.load(path))
    if different := _differences(state, other.state_dict()):
        raise CheckError(f"the loaded state dict differs in {_some(different)}", advice)


def check_pickle(tested: ModelUnderTest) -> None:
    """Check that the model can be pickled, as worker processes require.

    Parameters
    ----------
    tested : ModelUnderTest
        Model under test.
    """
    model = tested.model
    advice = (
        "define the model's classes at the top level of a module, and keep lambdas, open files "
        "and generators out of its attributes"
    )
    with wrap_errors("pickling the model", advice):
        copy = pickle.loads(pickle.dumps(model))
    if type(copy) is not type(model):
        raise CheckError(
            f"expected a {type(model).__name__} from pickle, got a {type(copy).__name__}", advice
        )
    if different := _differences(model.state_dict(), copy.state_dict()):
        raise CheckError(f"the unpickled state dict differs in {_some(different)}", advice)


def _differences(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Return the keys that are missing in a state dict or have other values."""
    return [
        name
        for name in sorted({*one, *other})
        if name not in one
        or name not in other
        or one[name].dtype != other[name].dtype
        or not np.array_equal(one[name].numpy(), other[name].numpy())
    ]


def _some(names: list[str]) -> str:
    """Format up to three names and the number of others."""
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype.kind == "f"


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor | np.ndarray):
        yield value if isinstance(value, Tensor) else Tensor(value)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
