"""Base class of weight converters, which rename the keys of other libraries."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.tensor import Tensor
from lucid.weights.key_prefixes import rename_state_dict, strip_prefix
from lucid.weights.serialization import StrPath, load

if TYPE_CHECKING:
    from lucid.nn import Module
    from lucid.nn.state_dict import LoadResult

__all__ = ["WeightConverter", "load_converted", "rename_key"]

_COUNTER = ".num_batches_tracked"


class WeightConverter:
    """Base class: key mapping from another library to a family of registered models.

    Override :meth:`identify` and :meth:`rename`, and register an instance with the hook
    ``lucid_register_weight_converters``.

    Examples
    --------
    >>> from lucid.weights import WeightConverter
    >>> class TinyConverter(WeightConverter):
    ...     def identify(self, shapes):
    ...         head = shapes.get("head.weight", ())
    ...         return ("tiny_net", {"num_classes": head[0]}) if len(head) == 2 else None
    ...
    ...     def rename(self, key):
    ...         return key.replace("head.", "fc.") if key.startswith("head.") else key
    >>> TinyConverter().identify({"head.weight": (10, 8)})
    ('tiny_net', {'num_classes': 10})
    """

    def identify(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[str, dict[str, Any]] | None:
        """Return the registered name and builder arguments of a state dict.

        `shapes` are by key of the other library, without a wrapper's prefix.  Return None for
        weights of other families; raise :class:`lucid.StateDictError` for weights of this family,
        but of no registered model.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override identify()")

    def rename(self, key: str) -> str:
        """Return the model's key for `key`; unknown keys are returned unchanged."""
        raise NotImplementedError(f"{type(self).__name__} does not override rename()")

    def export_key(self, key: str) -> str | None:
        """Return the other library's key for the model's `key`, the inverse of `rename`.

        None if the other library has no such entry.  Needed for
        :func:`lucid.weights.export_state_dict`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override export_key()")

    def for_model(self, model: Module) -> WeightConverter:
        """Return the converter for one model; default ``self``.

        Override it if keys depend on the model, such as on the backbone of a detector.
        """
        return self

    def has_key(self, key: str) -> bool:
        """Whether the family has `key`; used to detect a wrapper's prefix.

        Default: whether :meth:`rename` changes it.  Must be False for a key with a prefix, so
        match whole keys.
        """
        return self.rename(key) != key

    def prepare(self, state: dict[str, Tensor], model: Module) -> dict[str, Tensor]:
        """Transform renamed entries before they are loaded; default: return them.

        `state` has the model's keys, and ``num_batches_tracked`` already matches `model`, which
        is given for its shapes and for entries that the other library lacks.
        """
        return state

    def class_names(self, arguments: Mapping[str, Any]) -> Sequence[str] | None:
        """Return the class names of a model with these arguments; default None (unknown)."""
        return None

    def preprocessing(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the preprocessing of images; None for the default of the task."""
        return None


def rename_key(key: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    r"""Rename a key with the first rule whose pattern matches all of it.

    Parameters
    ----------
    key : str
        State dict key.
    rules : sequence of (re.Pattern, str)
        Patterns and replacements with group references.

    Returns
    -------
    str
        New key; ``key`` if no rule matches.

    Examples
    --------
    >>> import re
    >>> from lucid.weights import rename_key
    >>> rename_key("bn1.bias", [(re.compile(r"bn(\d)\.(\w+)"), r"norm\1.\2")])
    'norm1.bias'
    """
    for pattern, name in rules:
        if match := pattern.fullmatch(key):
            return match.expand(name)
    return key


def load_converted(
    model: Module,
    path_or_state_dict: StrPath | Mapping[str, Any],
    converter: WeightConverter | None = None,
    *,
    strict: bool = True,
    skip_mismatched: bool = False,
    ema: bool | None = None,
) -> LoadResult:
    """Load weights with the keys of another library, or of the model, into a model.

    Parameters
    ----------
    model : lucid.nn.Module
        The model; unchanged on errors.
    path_or_state_dict : path-like or mapping
        File that :func:`lucid.load` reads, or a state dict.  A wrapper's prefix is stripped;
        see :func:`lucid.weights.strip_prefix`.  ``num_batches_tracked`` is dropped where the
        model has none, and keeps the model's value where the weights have none.
    converter : WeightConverter, optional
        Renames keys that the model does not have.  Default: no renaming.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    LoadResult
        Loaded, missing, unexpected and skipped keys of the model.

    Raises
    ------
    lucid.WeightFileError
        If the file cannot be read.
    lucid.StateDictError
        If the weights do not match.
    """
    if isinstance(path_or_state_dict, Mapping):
        state, source = dict(path_or_state_dict), "the state dict"
    else:
        state, source = load(path_or_state_dict, ema=ema), os.fspath(path_or_state_dict)
    own = model.state_dict()
    if converter is not None:
        converter = converter.for_model(model)
    convert: Callable[[str], str] = (lambda key: key) if converter is None else converter.rename
    state = strip_prefix(
        state, lambda key: key in own or convert(key) in own, ema=ema, source=source
    )
    renamed = align_batch_counters(rename_state_dict(state, own, convert), own)
    if converter is not None:
        renamed = converter.prepare(renamed, model)
    return model.load_state_dict(renamed, strict=strict, skip_mismatched=skip_mismatched)


def align_batch_counters(state: Mapping[str, Any], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Match ``num_batches_tracked`` to a model: drop extra counters, add missing ones.

    A shared counter is added only if none of its keys is given.  No result depends on them.
    """
    result = {
        key: value if isinstance(value, Tensor) else Tensor(np.asarray(value))
        for key, value in state.items()
        if key in own or not key.endswith(_COUNTER)
    }
    counters = {key: _address(value) for key, value in own.items() if key.endswith(_COUNTER)}
    given = {address for key, address in counters.items() if key in result}
    return result | {key: own[key] for key, address in counters.items() if address not in given}


def _address(tensor: Tensor) -> int:
    address: int = tensor.numpy().__array_interface__["data"][0]
    return address
