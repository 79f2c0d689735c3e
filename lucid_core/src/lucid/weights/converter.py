"""Weights of other libraries: the base class of converters, and loading by one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
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
    """How the weights that another library writes map onto a family of registered models.

    Subclass it, override :meth:`identify` and :meth:`rename`, and register an instance by the
    hook ``lucid_register_weight_converters``.

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
        """Find the model that weights are of.

        Parameters
        ----------
        shapes : mapping of str to tuple of int
            Shapes by the names of the other library, without a wrapper's prefix.

        Returns
        -------
        tuple of (str, dict) or None
            Registered name and keyword arguments of its builder; None for other weights.

        Raises
        ------
        lucid.StateDictError
            If the weights are of this family, but no registered model has them; says why.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override identify()")

    def rename(self, key: str) -> str:
        """Return the model's name of the entry `key`, a name that it does not know unchanged."""
        raise NotImplementedError(f"{type(self).__name__} does not override rename()")

    def export_key(self, key: str) -> str | None:
        """Return the other library's name of the model's entry `key`, the inverse of `rename`.

        None if the other library has no such entry.  Override it to let users save weights for
        the other library; see :func:`lucid.weights.export_state_dict`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not override export_key()")

    def for_model(self, model: Module) -> WeightConverter:
        """Return the converter for one model, by default this one.

        Override it if names depend on the model, as those of a detector on its backbone.
        """
        return self

    def has_key(self, key: str) -> bool:
        """Whether the family has an entry `key`, to find and strip a wrapper's prefix.

        By default: whether :meth:`rename` changes it.  It must be False for a name that still
        has a prefix, so match whole names.
        """
        return self.rename(key) != key

    def prepare(self, state: dict[str, Tensor], model: Module) -> dict[str, Tensor]:
        """Change renamed entries before they are loaded, by default not at all.

        Parameters
        ----------
        state : dict of str to Tensor
            Entries by the model's names.  Counters ``num_batches_tracked`` are already added
            and removed as the model needs.
        model : lucid.nn.Module
            The model, for shapes, and for entries that the other library does not have.

        Returns
        -------
        dict of str to Tensor
            Entries to load.
        """
        return state

    def file_arguments(self, path: Path, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Builder arguments of a known published file that names and shapes do not show.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        arguments : mapping
            What :meth:`identify` returned.

        Returns
        -------
        dict
            Empty by default.
        """
        return {}

    def class_names(self, arguments: Mapping[str, Any]) -> Sequence[str] | None:
        """Names of the classes of a model with these arguments; None (the default) if unknown."""
        return None

    def preprocessing(self, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
        """What is done to images before the model sees them; None for the task's default."""
        return None


def rename_key(key: str, rules: Sequence[tuple[re.Pattern[str], str]]) -> str:
    r"""Rename by the first rule whose pattern matches the whole name.

    Parameters
    ----------
    key : str
        Name in a state dict.
    rules : sequence of (re.Pattern, str)
        Patterns, and the new names with references to groups.

    Returns
    -------
    str
        The new name; ``key`` if no rule matches.

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
    """Load weights under another library's names, or the model's own, into a model.

    Parameters
    ----------
    model : lucid.nn.Module
        Unchanged if the weights do not fit.
    path_or_state_dict : path-like or mapping
        File that :func:`lucid.load` reads, or a state dict.  A wrapper's prefix is stripped;
        see :func:`lucid.weights.strip_prefix`.  ``num_batches_tracked`` is dropped where the
        model has none, and keeps the model's value where the weights have none.
    converter : WeightConverter, optional
        Renames entries; those that the model has keep their names.  Default: no other names.
    strict, skip_mismatched : bool
        As for :meth:`lucid.nn.Module.load_state_dict`.
    ema : bool, optional
        As for :func:`lucid.load`.

    Returns
    -------
    LoadResult
        Loaded, missing, unexpected and skipped keys, under the model's names.

    Raises
    ------
    lucid.WeightFileError
        If the file cannot be read.
    lucid.StateDictError
        If the weights do not fit.
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
    """Drop counters that a model does not have, and add those of its own that are missing.

    No result depends on ``num_batches_tracked``, which frozen normalizations and older
    checkpoints lack.  A counter with two names is added only if neither is there.
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
