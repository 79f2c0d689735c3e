"""Find the state dict in a PyTorch checkpoint.

Training scripts save it at the top level, or under a key next to optimizer state and options;
many save a second one with an exponential moving average (EMA) of the weights.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from lucid.text import list_some
from lucid.weights.format_checks import MalformedError
from lucid.weights.key_prefixes import is_ema_key
from lucid.weights.pickle_objects import (
    GlobalName,
    OpaqueObject,
    PickledDict,
    TensorLike,
    describe_value,
)
from lucid.weights.torch_pickle import TensorRecord, UnsupportedTensor

__all__ = ["find_state_dict"]

_PLAIN = (
    *("state_dict", "model_state_dict", "model", "model_state", "current_model_state", "net"),
    *("net_state_dict", "network", "weights", "params", "module", "student"),
)
_EMA = (
    *("ema", "model_ema", "ema_model", "state_dict_ema", "ema_state_dict", "model_ema_state_dict"),
    *("model_state_dict_ema", "ema_model_state_dict", "ema_state", "ema_weights", "params_ema"),
    *("averaged_model", "swa_model", "swa_state_dict", "shadow", "teacher"),
)
#: Affix that marks a key as the EMA of another.
_EMA_PART = re.compile(r"^(?:ema|swa|teacher)_|_(?:ema|swa|teacher)(?=_|$)", re.IGNORECASE)
#: Key of callback states, which may contain an EMA.
_CALLBACKS = "callbacks"
#: Keys of an optimizer state.
_OPTIMIZER = frozenset(("state", "param_groups"))
_MAX_DEPTH = 4
#: Minimum fraction of the tensors in an EMA, which may lack the buffers.
_MIN_FRACTION = 0.25
_MAX_LISTED = 10
_SAVE_WEIGHTS = "Save the weights instead: torch.save(model.state_dict(), path)"
_NUMPY = {
    GlobalName(module, "_reconstruct")
    for module in ("numpy._core.multiarray", "numpy.core.multiarray")
}


@dataclass
class _Search:
    """Candidate state dicts by path, such as ``"ema/module"``."""

    plain: dict[str, PickledDict] = field(default_factory=dict)
    ema: dict[str, PickledDict] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)

    def search(self, value: PickledDict, path: str, ema: bool, depth: int = 0) -> None:
        """Search the usual keys; if nothing is found, ``value`` itself is a candidate."""
        if id(value) in self.seen or depth > _MAX_DEPTH:
            return
        self.seen.add(id(value))
        before = len(self.plain) + len(self.ema)
        averaged = {_without_ema(name) for name in value.entries if is_ema_key(name)}
        for name, found in value.entries.items():
            entry = _dict(found)
            if entry is None:
                continue
            inner = f"{path}/{name}" if path else name
            if name == _CALLBACKS:
                self._search_callbacks(entry, inner)
            elif name in _PLAIN or name in _EMA or name in averaged or is_ema_key(name):
                self.search(entry, inner, _is_ema(value, name, ema), depth + 1)
        if len(self.plain) + len(self.ema) == before and path and _has_tensors(value):
            (self.ema if ema else self.plain)[path] = value

    def drop_small_averages(self) -> None:
        """Drop EMA candidates with far fewer tensors, such as EMA settings."""
        largest = max(map(_count_tensors, self.plain.values()), default=0)
        self.ema = {
            path: entry
            for path, entry in self.ema.items()
            if _MIN_FRACTION * largest <= _count_tensors(entry)
        }

    def _search_callbacks(self, callbacks: PickledDict, path: str) -> None:
        for name, callback in callbacks.entries.items():
            if (inside := _dict(callback)) is not None:
                for key in inside.entries.keys() & set(_EMA):
                    if (entry := _dict(inside.entries[key])) is not None:
                        self.search(entry, f"{path}/{name}/{key}", True, _MAX_DEPTH)


def find_state_dict(
    value: Any, ema: bool | None = None
) -> tuple[dict[str, TensorRecord], list[str]]:
    """Return the tensor records of the state dict in an unpickled object, and warnings.

    ``ema`` selects the EMA or the raw weights; default: the EMA if there is one.
    """
    if isinstance(value, OpaqueObject):
        if value.entries is None or value.is_module:
            raise MalformedError(_unsupported_object(value, "has"))
        value = value.entries
    if not isinstance(value, PickledDict):
        raise MalformedError(f"expected a state dict, got {describe_value(value)}")
    search = _Search()
    search.search(value, "", False)
    search.drop_small_averages()
    if not search.plain and _has_tensors(value):
        search.plain[""] = value
    if not search.plain and not search.ema:
        search.plain = _under_unknown_keys(value)
    notes: list[str] = []
    chosen = _chosen(search, ema, notes)
    if not search.ema and (unread := _unsupported_emas(value)):
        notes.append(f"the EMA of the weights, {_quoted(unread)}, is an unsupported object")
    if len(chosen) > 1:
        raise MalformedError(
            f"has several state dicts, {_quoted(chosen)}; save one of "
            f"them: torch.save(torch.load(path)[{next(iter(chosen)).split('/')[0]!r}], path)"
        )
    if not chosen:
        if not value.entries and not value.others:
            return {}, []
        raise MalformedError(_no_state_dict(value))
    return _tensors(next(iter(chosen.values())), notes), notes


def _chosen(search: _Search, ema: bool | None, notes: list[str]) -> dict[str, PickledDict]:
    """Return the raw or the EMA candidates."""
    chosen = search.plain
    if ema is None and search.ema:
        chosen = search.ema
        other = f"; {_quoted(search.plain)} has the raw weights (ema=False or --no-ema)"
        notes.append(
            f"using the EMA of the weights, {_quoted(chosen)}"
            + (other if search.plain else ", the only weights in the file")
        )
    elif ema is False and not search.plain and search.ema:
        raise MalformedError(
            f"has only an EMA of the weights, {_quoted(search.ema)}; remove ema=False (--no-ema)"
        )
    elif ema and search.ema:
        chosen = search.ema
    elif ema and not any(is_ema_key(key) for d in chosen.values() for key in d.entries):
        raise MalformedError(
            f"has no EMA of the weights, expected one under a name such as {_quoted(_EMA[:5])}; "
            "remove ema=True (--ema)"
        )
    return chosen


def _dict(value: Any) -> PickledDict | None:
    """Return a dict or the items of a dict subclass; None for other values."""
    if isinstance(value, OpaqueObject) and not value.is_module:
        return value.entries
    return value if isinstance(value, PickledDict) else None


def _is_ema(parent: PickledDict, name: str, inside: bool) -> bool:
    """Whether a dict is an EMA, by its key and the keys next to it."""
    if name == "state_dict" and "current_model_state" in parent.entries:
        return True  # Lightning's WeightAveraging swaps the two
    pair = ("state_dict", "ema_state_dict")
    if name in pair and {"message_hub", *pair} <= parent.entries.keys():
        return name == "state_dict"  # so does mmengine's EMAHook
    return inside or name in _EMA or is_ema_key(name)


def _without_ema(name: str) -> str:
    """Return the key of the raw weights: ``"netG"`` for ``"netG_ema"``."""
    return _EMA_PART.sub("", name)


def _under_unknown_keys(value: PickledDict) -> dict[str, PickledDict]:
    return {
        name: entry
        for name, found in value.entries.items()
        if (entry := _dict(found)) is not None
        and "optim" not in name.lower()
        and "rng" not in name.lower()
        and _has_tensors(entry)
    }


def _has_tensors(value: PickledDict) -> bool:
    return _count_tensors(value) > 0


def _count_tensors(value: PickledDict) -> int:
    return sum(isinstance(entry, TensorLike) for entry in value.entries.values())


def _tensors(value: PickledDict, notes: list[str]) -> dict[str, TensorRecord]:
    """Return the tensors in a dict; numbers, text and objects without tensors are skipped."""
    found: dict[str, TensorRecord] = {}
    arrays = []
    for key, entry in value.entries.items():
        if isinstance(entry, TensorRecord):
            found[key] = entry
        elif isinstance(entry, UnsupportedTensor):
            raise MalformedError(f"entry {key!r:.80} is {entry.what}")
        elif isinstance(entry, OpaqueObject) and (entry.holds_tensors or entry.is_module):
            raise MalformedError(_unsupported_object(entry, f"entry {key!r:.80} is"))
        elif isinstance(entry, OpaqueObject) and entry.constructor in _NUMPY:
            arrays.append(key)
    if arrays:
        notes.append(
            f"NumPy arrays among the tensors are skipped: {_quoted(arrays)}; save tensors instead"
        )
    return found


def _unsupported_object(value: OpaqueObject, verb: str) -> str:
    kind = f"{str(value.constructor)!r:.120}"
    if value.is_module:
        return f"{verb} a pickled module of class {kind}, expected its weights. {_SAVE_WEIGHTS}"
    return f"{verb} an object of class {kind}, which is not supported. {_SAVE_WEIGHTS}"


def _no_state_dict(value: PickledDict) -> str:
    objects = [(n, entry) for n, entry in value.entries.items() if isinstance(entry, OpaqueObject)]
    # A module explains more than other objects.
    for name, entry in sorted(objects, key=lambda item: not item[1].is_module):
        if entry.is_module or entry.holds_tensors or name in (*_PLAIN, *_EMA):
            return _unsupported_object(entry, f"entry {name!r:.80} is")
    if value.entries.keys() >= _OPTIMIZER:
        return f"expected a state dict, got the state of an optimizer. {_SAVE_WEIGHTS}"
    empty = [
        name
        for name, entry in value.entries.items()
        if name in (*_PLAIN, *_EMA) and (inner := _dict(entry)) is not None and not inner.entries
    ]
    if empty:
        return f"expected a state dict, {_quoted(empty)} is empty. {_SAVE_WEIGHTS}"
    keys = _quoted(value.entries) or "no text"
    return (
        f"expected a state dict at the top level or under a key such as {_quoted(_PLAIN[:3])}, "
        f"got the keys {keys}"
    )


def _unsupported_emas(value: PickledDict) -> list[str]:
    return [
        name
        for name, entry in value.entries.items()
        if (name in _EMA or is_ema_key(name)) and _has_unsupported_tensors(entry)
    ]


def _has_unsupported_tensors(value: Any, depth: int = 0) -> bool:
    """Whether a value is an object that cannot be read, or holds tensors without names."""
    if isinstance(value, OpaqueObject):
        return value.entries is None
    if depth > _MAX_DEPTH:
        return False
    if isinstance(value, list | tuple):
        return any(isinstance(entry, TensorLike) for entry in value)
    if isinstance(value, PickledDict):
        return any(_has_unsupported_tensors(entry, depth + 1) for entry in value.entries.values())
    return False


def _quoted(names: Collection[str]) -> str:
    return list_some((name for name in names if name), _MAX_LISTED) or "the top" * bool(names)
