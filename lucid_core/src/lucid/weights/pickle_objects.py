"""What a pickle is read into: values that hold what it says, and can do nothing."""

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

# Values that are looked at when attributes are set: a file could set a long dict many times.
_MAX_INSPECTED = 64


@dataclass(frozen=True, slots=True)
class GlobalName:
    """A class or function that a pickle names.  It is its name and nothing else."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class OpaqueObject:
    """Placeholder for an object that is not read; its contents are dropped.

    Parameters
    ----------
    constructor : GlobalName
        Class or function that would have made the object.
    contents : tuple
        Arguments of that call.

    Attributes
    ----------
    constructor : GlobalName
        As given; not its text, which may be long and shared by many objects.
    holds_tensors : bool
        Whether a tensor is among the contents.
    is_module : bool
        Whether the attributes are those of a PyTorch module.
    entries : PickledDict or None
        What was put in by key, as into a subclass of dict; the only contents that are kept.
    """

    __slots__ = ("constructor", "entries", "holds_tensors", "is_module")

    def __init__(self, constructor: GlobalName, contents: tuple[Any, ...] = ()) -> None:
        self.constructor = constructor
        self.entries: PickledDict | None = None
        self.is_module = False
        self.holds_tensors = False
        self.note_contents(contents)

    def note_contents(self, contents: Any) -> None:
        """Drop contents, after a shallow look for tensors and for a module's attributes."""
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
    """Base class of the values that stand for tensors."""

    __slots__ = ()


class PickledDict:
    """A dict of a pickle.

    Attributes
    ----------
    entries : dict
        What stands under text.
    others : int
        How many other keys there were.  Nothing is kept of them: to hash what a
        file says would let it choose how deep and how long.
    """

    __slots__ = ("entries", "others")

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.others = 0

    def add(self, key: Any, value: Any) -> None:
        """Put in one more entry."""
        if not isinstance(key, str):
            self.others += 1
        elif key in self.entries:
            raise MalformedError(f"the key {key!r:.80} stands twice in one dict")
        else:
            self.entries[key] = value


class PickleResolver(Protocol):
    """What the names in a pickle mean.  Each method may refuse by MalformedError."""

    def check_global(self, name: GlobalName) -> None:
        """Take note of a name."""

    def call(self, function: GlobalName, arguments: tuple[Any, ...], keywords: bool) -> Any:
        """The value that stands for the result of a call; ``keywords`` if it has any."""

    def persistent_load(self, identity: Any) -> Any:
        """The value that stands for what is stored outside of the pickle."""


def describe_value(value: Any) -> str:
    """A value in a word or two for messages, without a look inside: it may hold itself."""
    if isinstance(value, PickledDict):
        return "a dict"
    if isinstance(value, TensorLike):
        return "one tensor"
    if isinstance(value, OpaqueObject):
        return f"an object of {str(value.constructor)!r:.80}"
    return f"a value of type {type(value).__name__}"
