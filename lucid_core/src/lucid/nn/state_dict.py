"""Loading of state dicts: all values are checked before any tensor is changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lucid.autograd import Variable, no_grad
from lucid.autograd.mutation import base_array
from lucid.errors import StateDictError
from lucid.tensor import Tensor

__all__ = ["LoadResult", "load_into"]

Array = np.ndarray[Any, np.dtype[Any]]

_MAX_LISTED = 10


@dataclass(frozen=True, repr=False)
class LoadResult:
    """Result of ``load_state_dict``, by key.

    Attributes
    ----------
    loaded : list of str
        Keys whose values were copied.
    missing : list of str
        Names of the module without a value.  A tensor with several names is missing only if
        all of them are.
    unexpected : list of str
        Keys that are no name of the module.
    skipped : list of str
        Keys skipped because of their shape (``skip_mismatched=True``) or because the layer
        ignores them (``num_batches_tracked`` of frozen norms).
    """

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        return (
            f"LoadResult({len(self.loaded)} loaded, missing={self.missing}, "
            f"unexpected={self.unexpected}, skipped={self.skipped})"
        )


class _MismatchError(Exception):
    """A value that cannot be converted to the tensor's dtype, whatever the options."""


class _ShapeMismatchError(Exception):
    """A value with another shape than the tensor; ``skip_mismatched`` skips it."""


def load_into(
    kind: str,
    entries: Iterable[tuple[str, Tensor]],
    ignored: set[str],
    state_dict: Mapping[str, Any],
    strict: bool,
    skip_mismatched: bool,
    head: tuple[tuple[str, ...], int | None] = ((), None),
) -> LoadResult:
    """Copy values of ``state_dict`` into tensors: all of them, or none.

    Parameters
    ----------
    kind : str
        Owner of the tensors, for the error message.
    entries : iterable of (str, Tensor)
        Names with tensors; one tensor may have several names.
    ignored : set of str
        Keys that may occur without a tensor.
    state_dict : mapping of str to Tensor or array
        Values.
    strict, skip_mismatched : bool
        See :meth:`lucid.nn.Module.load_state_dict`.
    head : (tuple of str, int or None)
        ``head_prefixes`` and ``num_classes`` of a classifier, for the error message.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict: expected a mapping of names to tensors, got "
            f"{type(state_dict).__name__}; read a file with lucid.load(path)"
        )
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, tensor in entries:
        names.setdefault(id(tensor), []).append(name)
        tensors[id(tensor)] = tensor

    result = LoadResult()
    known = {name for group in names.values() for name in group}
    for key in state_dict:
        if key not in known:
            (result.skipped if key in ignored else result.unexpected).append(str(key))
    wrong_shapes: list[str] = []
    class_counts: set[int] = set()
    mismatches: list[str] = []
    conflicts: list[str] = []
    bases = {id(base_array(tensor._data)) for tensor in tensors.values()}
    copies: list[tuple[Tensor, Array]] = []
    for identity, tensor in tensors.items():
        given = [name for name in names[identity] if name in state_dict]
        if not given:
            result.missing.extend(names[identity])
        values: list[tuple[str, Array]] = []
        for name in given:
            try:
                values.append((name, _converted(state_dict[name], tensor._data, bases)))
            except _ShapeMismatchError as error:
                result.skipped.append(name)
                wrong_shapes.append(f"{name}: {error}")
                prefixes, num_classes = head
                if name.startswith(prefixes) and tensor.shape[:1] == (num_classes,):
                    class_counts.update(np.shape(state_dict[name])[:1])
            except _MismatchError as error:
                mismatches.append(f"{name}: {error}")
        result.loaded.extend(name for name, _ in values)
        for name, value in values[1:]:
            if not np.array_equal(value, values[0][1], equal_nan=True):
                conflicts.append(f"{values[0][0]} and {name}: one tensor, different values")
        if values:
            copies.append((tensor, values[0][1]))

    problems = {"cannot be loaded": mismatches, "conflicting": conflicts}
    if not skip_mismatched:
        problems = {"wrong shape": wrong_shapes, **problems}
    if strict:
        problems = {"missing": result.missing, "unexpected": result.unexpected, **problems}
    if any(problems.values()):
        report = _report(kind, problems)
        if len(class_counts) == 1 and not skip_mismatched:
            report += (
                "\n  the head has another number of classes: build the model with "
                f"num_classes={class_counts.pop()}, or pass skip_mismatched=True"
            )
        raise StateDictError(report)
    with no_grad():
        for tensor, value in copies:
            tensor.copy_(value)
    return result


def _converted(value: Any, target: Array, bases: set[int]) -> Array:
    """Convert a value to an array that can be copied into ``target``."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise _MismatchError("expected an array, got a masked one; fill it: value.filled()")
    try:
        source = value._data if isinstance(value, Variable) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # of lists and other libraries
        raise _MismatchError(
            f"expected an array, got {type(value).__name__}, which NumPy cannot convert: {error}"
        ) from None
    _check_dtype(source.dtype, target.dtype)
    if source.shape != target.shape:
        raise _ShapeMismatchError(f"expected shape {target.shape}, got {source.shape}")
    if not target.flags.writeable:
        raise _MismatchError("the array of the module is read-only")
    if source.dtype != target.dtype:
        return _cast(source, target.dtype)
    if id(base_array(source)) in bases and _layout(source) != _layout(target):
        # A view of another tensor of this module, which may be overwritten before it is read.
        return source.copy(order="K")
    return source


def _check_dtype(found: np.dtype[Any], expected: np.dtype[Any]) -> None:
    """Raise unless both dtypes are floating-point, integer (signed or not) or bool.

    Integers for a floating-point parameter may be quantized weights, wrong without their scale.
    """
    kinds = ["i" if dtype.kind == "u" else dtype.kind for dtype in (found, expected)]
    if kinds[0] == kinds[1]:
        return
    remedy = ""
    if expected.kind == "f" and found.kind in "iub":
        remedy = (
            "; dequantize quantized weights before saving, convert other values: "
            f"state_dict[key] = lucid.tensor(value, dtype={expected.name!r})"
        )
    raise _MismatchError(f"expected {expected}, got {found}{remedy}")


def _cast(source: Array, dtype: np.dtype[Any]) -> Array:
    """Cast to another dtype of the same kind; raise if a value is out of range."""
    try:
        with np.errstate(over="raise"):
            values = source.astype(dtype, order="K")
    except FloatingPointError:
        values = None
    if values is None or (dtype.kind in "iu" and not np.array_equal(values, source)):
        raise _MismatchError(f"expected {dtype}, got {source.dtype} values out of its range")
    return values


def _layout(array: Array) -> tuple[int, tuple[int, ...]]:
    return array.__array_interface__["data"][0], array.strides


def _report(kind: str, problems: dict[str, list[str]]) -> str:
    lines = [f"the state dict does not match {kind}; nothing was loaded"]
    for title, entries in problems.items():
        if entries:
            lines.append(f"  {title} ({len(entries)}):")
            lines.extend(f"    {entry}" for entry in entries[:_MAX_LISTED])
            if len(entries) > _MAX_LISTED:
                lines.append(f"    ... and {len(entries) - _MAX_LISTED} more")
    prefix = _common_prefix(problems.get("unexpected", []))
    if prefix and any(prefix + key in problems["unexpected"] for key in problems["missing"]):
        lines.append(
            f"  all keys start with {prefix!r}: lucid.weights.load_weights(model, path) strips it"
        )
    return "\n".join(lines)


def _common_prefix(keys: list[str]) -> str:
    """Return the common prefix of all keys up to a dot."""
    if len(keys) < 2:
        return ""
    first, last = min(keys), max(keys)
    count = next((i for i, c in enumerate(first) if c != last[i : i + 1]), len(first))
    return first[: first.rfind(".", 0, count) + 1]
