"""Fitting a state dict to a module: everything is checked before anything is changed."""

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

#: Keys of each kind that an error lists.
_SHOWN = 10
_FEW = 2


@dataclass(frozen=True, repr=False)
class LoadResult:
    """What ``load_state_dict`` did, key by key.

    Attributes
    ----------
    loaded : list of str
        Keys whose values the module now has.
    missing : list of str
        Names of the module that the state dict had no value for.  A tensor
        registered under several names is missing only if none of them is there.
    unexpected : list of str
        Keys that the module has no name for.
    skipped : list of str
        Keys passed over: for a wrong shape (``skip_mismatched=True``),
        or because the layer has no use for them (batch counts of frozen norms).
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


class _MisfitError(Exception):
    """Why one value cannot become the value of one tensor, whatever the options."""


class _WrongShapeError(Exception):
    """A value of another shape than its tensor, which ``skip_mismatched`` passes over."""


def load_into(
    kind: str,
    entries: Iterable[tuple[str, Tensor]],
    useless: set[str],
    state_dict: Mapping[str, Any],
    strict: bool,
    skip_mismatched: bool,
) -> LoadResult:
    """Copy the values of ``state_dict`` into tensors, all of them or none.

    Parameters
    ----------
    kind : str
        What the tensors belong to, for the error message.
    entries : iterable of (str, Tensor)
        Every name with its tensor; one tensor may come under several names.
    useless : set of str
        Names that may come but stand for nothing, to be passed over.
    state_dict : mapping of str to Tensor or array
        The values.
    strict, skip_mismatched : bool
        See :meth:`lucid.nn.Module.load_state_dict`.

    Raises
    ------
    StateDictError
        With the number of keys that do not fit and ten of each kind; no tensor was changed.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"load_state_dict expected a mapping of names to tensors, got "
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
            (result.skipped if key in useless else result.unexpected).append(str(key))
    misfits: list[str] = []
    misshaped: list[str] = []
    conflicts: list[str] = []
    roots = {id(base_array(tensor._data)) for tensor in tensors.values()}
    copies: list[tuple[Tensor, Array]] = []
    for identity, tensor in tensors.items():
        given = [name for name in names[identity] if name in state_dict]
        if not given:
            result.missing.extend(names[identity])
        fitting: list[tuple[str, Array]] = []
        for name in given:
            try:
                fitting.append((name, _fitted(state_dict[name], tensor._data, roots)))
            except _WrongShapeError as error:
                result.skipped.append(name)
                misshaped.append(f"{name}: {error}")
            except _MisfitError as error:
                misfits.append(f"{name}: {error}")
        result.loaded.extend(name for name, _ in fitting)
        for name, value in fitting[1:]:
            if not np.array_equal(value, fitting[0][1], equal_nan=True):
                conflicts.append(
                    f"{fitting[0][0]} and {name} name the same tensor and hold different values"
                )
        if fitting:
            copies.append((tensor, fitting[0][1]))

    problems = {"cannot be loaded": misfits, "conflicting": conflicts}
    if not skip_mismatched:
        problems = {"wrong shape": misshaped, **problems}
    if strict:
        problems = {"missing": result.missing, "unexpected": result.unexpected, **problems}
    if any(problems.values()):
        raise StateDictError(_report(kind, problems))
    with no_grad():
        for tensor, value in copies:
            tensor.copy_(value)
    return result


def _fitted(value: Any, target: Array, roots: set[int]) -> Array:
    """The value as an array that can be copied into ``target`` without fail."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise _MisfitError("expected an array, got a masked one; fill it: value.filled()")
    try:
        source = value._data if isinstance(value, Variable) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # as lists and other libraries raise
        raise _MisfitError(
            f"expected an array, got {type(value).__name__} that NumPy does not convert: {error}"
        ) from None
    _check_dtype(source.dtype, target.dtype)
    if source.shape != target.shape:
        raise _WrongShapeError(f"expected shape {target.shape}, got {source.shape}")
    if not target.flags.writeable:
        raise _MisfitError("the module's own array is read-only")
    if source.dtype != target.dtype:
        return _cast(source, target.dtype)
    if id(base_array(source)) in roots and _place(source) != _place(target):
        # A view of another tensor of this module: it may be overwritten before it is read.
        return source.copy(order="K")
    return source


def _check_dtype(found: np.dtype[Any], expected: np.dtype[Any]) -> None:
    """Refuse a dtype of another kind: floating, integer (signed or not) and bool do not mix.

    Integers for a floating parameter are quantized weights (their scale stands elsewhere) or
    masks; converted without that scale, they would give wrong predictions.
    """
    kinds = ["i" if dtype.kind == "u" else dtype.kind for dtype in (found, expected)]
    if kinds[0] == kinds[1]:
        return
    remedy = ""
    if expected.kind == "f" and found.kind in "iub":
        remedy = (
            "; quantized weights have to be dequantized where they were saved, other values "
            f"converted by hand: state_dict[key] = lucid.tensor(value, dtype={expected.name!r})"
        )
    raise _MisfitError(f"expected {expected}, got {found}{remedy}")


def _cast(source: Array, dtype: np.dtype[Any]) -> Array:
    """The values in another dtype of the same kind, none of them beyond its range."""
    try:
        with np.errstate(over="raise"):
            values = source.astype(dtype, order="K")
    except FloatingPointError:
        values = None
    if values is None or (dtype.kind in "iu" and not np.array_equal(values, source)):
        raise _MisfitError(f"expected {dtype}, got {source.dtype} beyond its range")
    return values


def _place(array: Array) -> tuple[int, tuple[int, ...]]:
    return array.__array_interface__["data"][0], array.strides


def _report(kind: str, problems: dict[str, list[str]]) -> str:
    lines = [f"the state dict does not fit {kind}; nothing was loaded"]
    for title, entries in problems.items():
        if entries:
            lines.append(f"  {title} ({len(entries)}):")
            lines.extend(f"    {entry}" for entry in entries[:_SHOWN])
            if len(entries) > _SHOWN:
                lines.append(f"    ... and {len(entries) - _SHOWN} more")
    prefix = _common_prefix(problems.get("unexpected", []))
    if prefix and any(prefix + key in problems["unexpected"] for key in problems["missing"]):
        lines.append(
            f"  all keys begin with {prefix!r}: lucid.weights.load_weights(model, path) strips it"
        )
    return "\n".join(lines)


def _common_prefix(keys: list[str]) -> str:
    """What all keys begin with, up to a dot."""
    if len(keys) < _FEW:
        return ""
    first, last = min(keys), max(keys)
    count = next((i for i, c in enumerate(first) if c != last[i : i + 1]), len(first))
    return first[: first.rfind(".", 0, count) + 1]
