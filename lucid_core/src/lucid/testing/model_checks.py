"""Checks of one model: that it builds, is what it was registered as, runs and can be stored."""

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
from lucid import Tensor, no_grad, random
from lucid.models.builders import check_builder as check_signature
from lucid.models.protocols import predict_function
from lucid.testing.model_under_test import CheckError, ModelUnderTest, seeded, wrap_errors

__all__ = [
    "check_builder",
    "check_forward",
    "check_parameters",
    "check_pickle",
    "check_seed",
    "check_state_dict",
]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True


def check_builder(tested: ModelUnderTest) -> None:
    """The builder is annotated, documented, and builds a module without arguments.

    Documented means a docstring that begins with a line about the model and says
    something of every parameter that the builder has by name.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If its signature is not one of a builder, its docstring is missing or leaves a
        parameter out, or it fails.
    CheckNotRunError
        If the model could not be built before.
    """
    builder = tested.builder
    try:
        check_signature(builder)
    except TypeError as error:
        raise CheckError(str(error), "correct the signature of the builder as this says") from error
    text = inspect.getdoc(inspect.unwrap(builder)) or ""
    if not text.strip():
        raise CheckError(
            f"the builder {tested.info.builder} has no docstring",
            "give it one in numpydoc's form: the page of the model is made from it",
        )
    missing = [
        parameter.name
        for parameter in inspect.signature(builder).parameters.values()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and not re.search(rf"\b{re.escape(parameter.name)}\b", text)
    ]
    if missing:
        raise CheckError(
            f"the docstring of {tested.info.builder} says nothing of {', '.join(missing)}",
            "describe every parameter in its section 'Parameters'",
        )
    _ = tested.model


def check_parameters(tested: ModelUnderTest) -> None:
    """The model has as many parameters as it was registered with, counted under every name.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If it has more or fewer, or ``total_parameters`` was not registered.
    CheckNotRunError
        If the model could not be built before.
    """
    built, registered = tested.model.parameter_size, tested.info.total_parameters
    if built != registered:
        said = "no total_parameters" if registered is None else f"total_parameters={registered:,}"
        raise CheckError(
            f"registered with {said}, but the model built without arguments has {built:,}",
            f"write total_parameters={built:_} in lucid_register_models",
        )


def check_seed(tested: ModelUnderTest) -> None:
    """Built twice from the same seed, the model has the same weights.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If a name, a dtype or a value differs.
    CheckNotRunError
        If the model could not be built before.
    """
    different = _differences(tested.model.state_dict(), tested.build(seed=0).state_dict())
    if different:
        raise CheckError(
            f"built twice after lucid.random.seed(0), it differs in {_some(different)}",
            "draw initial weights from lucid.nn.init or lucid.random, not from numpy.random, "
            "random or anything that another run does not repeat",
        )


def check_forward(tested: ModelUnderTest) -> None:
    """In evaluation mode the model takes an input of the declared shape and gives finite numbers.

    A classifier of images gives logits of shape (N, num_classes).  Where ``forward()`` needs
    more than the input, as a detector's, ``predict()`` is called.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If the call raises, or gives no tensor, a NaN, an infinity, or what are not logits
        of shape (N, num_classes) though the task is ``"image-classification"``.
    CheckNotRunError
        If the model could not be built before.
    """
    model, shape = tested.model, tested.info.input_shape
    predict = predict_function(model)
    draw = random.randn if predict is model else random.rand  # predict() takes images in [0, 1]
    dtype = next((parameter.dtype for parameter in model.parameters()), lucid.float32)
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        with (
            seeded(),
            no_grad(),
            wrap_errors(
                f"the model called with a tensor of shape {shape}",
                "accept that shape in forward(), or register with the input_shape that it takes",
            ),
        ):
            output = predict(draw(*shape, dtype=dtype))
    finally:
        for module, training in modes:
            module.training = training
    tensors = list(_tensors(output))
    if not tensors:
        raise CheckError(
            f"forward() gave a {type(output).__name__} without any Tensor in it",
            "return a Tensor from forward(), or a tuple, list or dict with some",
        )
    if not all(np.isfinite(tensor.numpy()).all() for tensor in tensors if _is_float(tensor)):
        raise CheckError(
            f"an input of random numbers of shape {shape} gave NaN or infinity",
            "look at the initial weights, and for a division or logarithm of 0",
        )
    if tested.info.task == "image-classification":
        logits = tensors[0]
        if len(tensors) > 1 or logits.ndim != 2 or logits.shape[0] != shape[0]:
            shapes = ", ".join(str(tensor.shape) for tensor in tensors)
            raise CheckError(
                f"an image classifier gives logits (N, num_classes), this one {shapes} "
                f"for an input of shape {shape}",
                "return logits from forward(), or register another task",
            )


def check_state_dict(tested: ModelUnderTest) -> None:
    """Its state dict, saved to a file, makes another of its kind equal to it.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If saving or loading raises, or a name, a dtype or a value differs afterwards.
    CheckNotRunError
        If the model could not be built before.
    """
    state = tested.model.state_dict()
    other = tested.build(seed=1)
    advice = (
        "keep everything that is learned in parameters and buffers, under the same names in "
        "every model that the builder makes"
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        wrap_errors("saving and loading its state dict", advice),
    ):
        path = Path(folder) / "model.safetensors"
        lucid.save(state, path)
        other.load_state_dict(lucid.load(path))
    if different := _differences(state, other.state_dict()):
        raise CheckError(
            f"after its state dict went through a file it differs in {_some(different)}", advice
        )


def check_pickle(tested: ModelUnderTest) -> None:
    """The model survives pickling, as a worker process needs it to.

    Parameters
    ----------
    tested : ModelUnderTest
        The model.

    Raises
    ------
    CheckError
        If pickling raises, or the copy has another type, or another name, dtype or value in
        its state dict.
    CheckNotRunError
        If the model could not be built before.
    """
    model = tested.model
    advice = (
        "define the model's classes at the top level of a module, and keep lambdas, open files "
        "and generators out of its attributes"
    )
    with wrap_errors("pickling the model", advice):
        copy = pickle.loads(pickle.dumps(model))
    if type(copy) is not type(model):
        raise CheckError(f"unpickled, it is a {type(copy).__name__}", advice)
    if different := _differences(model.state_dict(), copy.state_dict()):
        raise CheckError(f"unpickled, it differs in {_some(different)}", advice)


def _differences(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """The names that only one of two state dicts has, or with other values."""
    return [
        name
        for name in sorted({*one, *other})
        if name not in one
        or name not in other
        or one[name].dtype != other[name].dtype
        or not np.array_equal(one[name].numpy(), other[name].numpy())
    ]


def _some(names: list[str]) -> str:
    """A few names, and how many more there are."""
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
