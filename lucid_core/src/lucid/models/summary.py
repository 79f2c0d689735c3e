"""Model summary: layers, output shapes, parameters and multiply-adds.

The model runs once with forward hooks on all modules.  A layer that is applied to five feature
levels counts five times; a layer that is not called is marked as such.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lucid.autograd import no_grad
from lucid.creation import zeros
from lucid.dtypes import float32
from lucid.models.protocols import predict_function
from lucid.nn import Module
from lucid.tensor import Tensor

__all__ = ["LayerSummary", "ModelSummary", "summarize"]


@dataclass(frozen=True)
class LayerSummary:
    """One row of a :class:`ModelSummary`.

    Attributes
    ----------
    name : str
        Dotted name of the module.
    kind : str
        Class name of the module.
    output_shapes : tuple of tuple of int
        Shapes of the tensors returned by the first call; empty if it was not called.
    calls : int
        Number of calls.
    parameters : int
        Number of parameter values, excluding those of other rows.
    multiply_adds : int
        Number of multiply-adds, summed over all calls.
    """

    name: str
    kind: str
    output_shapes: tuple[tuple[int, ...], ...]
    calls: int
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class ModelSummary:
    """Result of :func:`summarize`; ``str()`` formats it as a table.

    Attributes
    ----------
    model_name : str
        Registered name of the model, else its class name.
    input_shape : tuple of int
        Shape of the input.
    layers : tuple of LayerSummary
        Rows in the order in which the model registers its modules.
    parameters : int
        Number of parameter values; shared parameters count once.
    parameter_size : int
        Number of parameter values summed over all names, as ``Module.parameter_size``.
    trainable_parameters : int
        Number of parameter values that require gradients.
    multiply_adds : int
        Multiply-adds of convolutions and linear layers for the whole input.
    """

    model_name: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]
    parameters: int
    parameter_size: int
    trainable_parameters: int
    multiply_adds: int

    def __str__(self) -> str:
        rows = [("layer", "type", "output", "parameters", "multiply-adds")]
        rows += [
            (
                layer.name or "(model)",
                layer.kind,
                _shapes_text(layer),
                f"{layer.parameters:,}" if layer.parameters else "-",
                f"{layer.multiply_adds:,}" if layer.multiply_adds else "-",
            )
            for layer in self.layers
        ]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = [
            "  ".join(
                cell.rjust(width) if column >= 3 else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        rule = "-" * max(len(line) for line in lines)
        return "\n".join([lines[0], rule, *lines[1:], rule, *self._totals()])

    def _totals(self) -> Iterator[str]:
        yield f"{self.model_name} on an input of shape {self.input_shape}"
        yield f"parameters:     {self.parameters:,} ({self.trainable_parameters:,} trainable)"
        if self.parameter_size != self.parameters:
            yield f"by name:        {self.parameter_size:,} (shared parameters under every name)"
        yield f"multiply-adds:  {self.multiply_adds:,}"


@dataclass
class _Record:
    """Calls of one module, recorded by its hook."""

    name: str
    module: Module
    output_shapes: tuple[tuple[int, ...], ...] = ()
    calls: int = 0
    multiply_adds: int = 0
    children: list[_Record] = field(default_factory=list)

    def children_ran(self) -> bool:
        return any(child.calls or child.children_ran() for child in self.children)


def summarize(model: Module, input_shape: Sequence[int]) -> ModelSummary:
    """Run a model once on zeros and summarize its layers.

    Parameters
    ----------
    model : nn.Module
        Model to run in evaluation mode without gradients.  Its mode, buffers and parameters
        are unchanged afterward.
    input_shape : sequence of int
        Shape of the input, batch axis first.

    Returns
    -------
    ModelSummary
        Layers and totals.  Multiply-adds count convolutions and linear layers, as is usual;
        operations outside of layers are not counted.

    Raises
    ------
    TypeError, ValueError
        If `model` is not a module or `input_shape` is not a shape.

    Examples
    --------
    >>> import lucid
    >>> from lucid import nn
    >>> summary = lucid.models.summarize(nn.Linear(4, 3), (2, 4))
    >>> summary.parameters, summary.multiply_adds
    (15, 24)
    """
    if not isinstance(model, Module):
        raise TypeError(f"summarize() expects a lucid.nn.Module, got {type(model).__name__}")
    shape = _check_shape(input_shape)
    root = _records(model, "", set())
    dtype = next((p.dtype for p in model.parameters()), float32)
    handles = [record.module.register_forward_hook(_recorder(record)) for record in _walk(root)]
    try:
        with evaluation_mode(model), no_grad():
            predict_function(model)(zeros(*shape, dtype=dtype))
    finally:
        for handle in handles:
            handle.remove()
    layers = tuple(_rows(root, set()))
    parameters = list(model.parameters())
    return ModelSummary(
        model_name=getattr(model, "model_name", None) or type(model).__name__,
        input_shape=shape,
        layers=layers,
        parameters=sum(p.size for p in parameters),
        parameter_size=model.parameter_size,
        trainable_parameters=sum(p.size for p in parameters if p.requires_grad),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


@contextmanager
def evaluation_mode(model: Module) -> Iterator[None]:
    """Context manager: evaluation mode; restores the mode of each module."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_shape(input_shape: Sequence[int]) -> tuple[int, ...]:
    try:
        shape = tuple(int(length) for length in input_shape)
        exact = all(a == b for a, b in zip(shape, input_shape, strict=True))
    except (TypeError, ValueError):
        shape, exact = (), False
    if not shape or not exact or min(shape) < 1:
        raise ValueError(
            f"input_shape must be positive ints such as (1, 3, 224, 224), got {input_shape!r}"
        )
    return shape


def _records(module: Module, name: str, seen: set[int]) -> _Record:
    """Return the tree of modules; a shared module appears under its first name only."""
    seen.add(id(module))
    record = _Record(name, module)
    for child_name, child in module.named_children():
        if id(child) not in seen:
            path = f"{name}.{child_name}" if name else child_name
            record.children.append(_records(child, path, seen))
    return record


def _walk(record: _Record) -> Iterator[_Record]:
    yield record
    for child in record.children:
        yield from _walk(child)


def _recorder(record: _Record) -> Any:
    def hook(module: Module, inputs: Any, output: Any) -> None:
        shapes = tuple(tensor.shape for tensor in _tensors(output))
        if not record.calls:
            record.output_shapes = shapes
        record.calls += 1
        if shapes:
            record.multiply_adds += _multiply_adds(module, inputs, shapes[0])

    return hook


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)


def _multiply_adds(module: Module, inputs: tuple[Any, ...], output: tuple[int, ...]) -> int:
    """Count the multiply-adds of one call of a layer.

    Convolution: ``C_in / groups * kh * kw`` per output value.  Transposed convolution:
    ``C_out / groups * kh * kw`` per input value.  Linear: ``C_in`` per output value.
    ``ConvNormAct`` counts its convolution, which the fused kernel does not call.
    """
    from lucid import nn

    if isinstance(module, nn.ConvNormAct):
        module = module.conv
    if isinstance(module, nn.ConvTranspose2d):
        x = next(_tensors(inputs), None)
        return 0 if x is None else x.size * math.prod(module.weight.shape[1:])
    if isinstance(module, nn.Conv2d | nn.Linear):
        return math.prod(output) * math.prod(module.weight.shape[1:])
    return 0


def _rows(record: _Record, counted: set[int]) -> Iterator[LayerSummary]:
    """Yield one row per innermost module that ran or could have run.

    A module whose children were not called is one row with all of their parameters.  A module
    with parameters of its own next to children that ran has a row for its own parameters.
    """
    split = record.children_ran() or (not record.calls and bool(record.children))
    module = record.module
    own = module.parameters(recurse=False) if split else module.parameters()
    size = 0
    for parameter in own:
        if id(parameter) not in counted:
            counted.add(id(parameter))
            size += parameter.size
    if size or (record.calls and not split):
        yield LayerSummary(
            name=record.name,
            kind=type(module).__name__,
            output_shapes=record.output_shapes,
            calls=record.calls,
            parameters=size,
            multiply_adds=0 if split else record.multiply_adds,
        )
    if split:
        for child in record.children:
            yield from _rows(child, counted)


def _shapes_text(layer: LayerSummary) -> str:
    if not layer.calls:
        return "(not called)"
    text = ", ".join(str(shape) for shape in layer.output_shapes) or "(no tensor)"
    return f"{text} x{layer.calls}" if layer.calls > 1 else text
