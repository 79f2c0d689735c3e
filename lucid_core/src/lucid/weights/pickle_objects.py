"""Inert values that the safe unpickler returns."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from lucid.weights.format_checks import MalformedError

__all__ = [
    "GlobalName",
    "OpaqueObject",
    "PickleResolver",
    "PickledDict",
    "TensorLike",
    "describe_value",
]

# Limit per call: a file could set a long dict as attributes many times.
_MAX_INSPECTED = 64


@dataclass(frozen=True, slots=True)
class GlobalName:
    """Name of a class or function in a pickle (GLOBAL opcode); never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class OpaqueObject:
    """Placeholder for an unsupported object; its contents are dropped.

    ``entries`` are the items set by key (a dict subclass).  ``is_module``: the attributes are those
    of an ``nn.Module``.
    """

    __slots__ = ("constructor", "entries", "holds_tensors", "is_module")

    def __init__(self, constructor: GlobalName, contents: tuple[Any, ...] = ()) -> None:
        self.constructor = constructor
        self.entries: PickledDict | None = None
        self.is_module = False
        self.holds_tensors = False
        self.note_contents(contents)

    def note_contents(self, contents: Any) -> None:
        """Update the flags from contents, without keeping them."""
        if isinstance(contents, PickledDict):
            self.is_module |= {"_parameters", "_modules"} <= contents.entries.keys()
            contents = contents.entries.values()
        elif isinstance(contents, TensorLike):
            contents = (contents,)
        elif not isinstance(contents, tuple | list):
            return
        for value in islice(contents, _MAX_INSPECTED):
            if isinstance(value, TensorLike) or (
                isinstance(value, OpaqueObject) and value.holds_tensors
            ):
                self.holds_tensors = True


class TensorLike:
    """Base class of tensor records."""

    __slots__ = ()


class PickledDict:
    """Items with str keys; ``others`` counts the other keys.

    Those are dropped: hashing them would let a file choose the cost.
    """

    __slots__ = ("entries", "others")

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.others = 0

    def add(self, key: Any, value: Any) -> None:
        """Add one item."""
        if not isinstance(key, str):
            self.others += 1
        elif key in self.entries:
            raise MalformedError(f"the key {key!r:.80} is twice in one dict")
        else:
            self.entries[key] = value


class PickleResolver(Protocol):
    """Callbacks of the unpickler; each may raise MalformedError."""

    def check_global(self, name: GlobalName) -> None:
        """Check a global name."""

    def call(self, function: GlobalName, arguments: tuple[Any, ...], keywords: bool) -> Any:
        """Return the value for a call (REDUCE); ``keywords`` if it has keyword arguments."""

    def persistent_load(self, identity: Any) -> Any:
        """Return the value for a persistent id."""


def describe_value(value: Any) -> str:
    """Describe a value for messages, without recursion: it may contain itself."""
    if isinstance(value, PickledDict):
        return "a dict"
    if isinstance(value, TensorLike):
        return "one tensor"
    if isinstance(value, OpaqueObject):
        return f"an object of {str(value.constructor)!r:.80}"
    return f"a value of type {type(value).__name__}"
