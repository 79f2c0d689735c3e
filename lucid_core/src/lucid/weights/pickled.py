"""What a pickle is read into: values that hold what it says, and can do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lucid.weights.entries import MalformedError

__all__ = ["Named", "Opaque", "PickledDict", "World", "kind_of"]


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that a pickle names.  It is its name and nothing else."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Opaque:
    """Something that was passed over: nothing is known of it, and whatever is put in is lost."""

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


class World(Protocol):
    """What the names in a pickle mean.  Each method may refuse by MalformedError."""

    def named(self, name: Named) -> None:
        """Take note of a name."""

    def called(self, function: Named, arguments: tuple[Any, ...]) -> Any:
        """The value that stands for the result of a call."""

    def stored(self, identity: Any) -> Any:
        """The value that stands for what is stored outside of the pickle."""


def kind_of(value: Any) -> str:
    """A value in a word or two for messages, without a look inside: it may hold itself."""
    if isinstance(value, PickledDict):
        return "a dict"
    if isinstance(value, Opaque):
        return "an object that is passed over"
    return f"a value of type {type(value).__name__}"
