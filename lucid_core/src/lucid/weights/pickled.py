"""What a pickle is read into: values that hold what it says, and can do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from lucid.weights.entries import MalformedError

__all__ = ["Named", "Opaque", "PickledDict", "Tensorlike", "World", "kind_of"]

# Values that are looked at when attributes are set: a file could set a long dict many times.
_LOOKED_AT = 64


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function that a pickle names.  It is its name and nothing else."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Opaque:
    """Placeholder for an object that is not read; its contents are dropped.

    Parameters
    ----------
    made_by : Named
        Class or function that would have made the object.
    contents : tuple
        Arguments of that call.

    Attributes
    ----------
    made_by : Named
        As given; not its text, which may be long and shared by many objects.
    holds_tensors : bool
        Whether a tensor is among the contents.
    is_module : bool
        Whether the attributes are those of a PyTorch module.
    entries : PickledDict or None
        What was put in by key, as into a subclass of dict; the only contents that are kept.
    """

    __slots__ = ("entries", "holds_tensors", "is_module", "made_by")

    def __init__(self, made_by: Named, contents: tuple[Any, ...] = ()) -> None:
        self.made_by = made_by
        self.entries: PickledDict | None = None
        self.is_module = False
        self.holds_tensors = False
        self.put(contents)

    def put(self, contents: Any) -> None:
        """Drop contents, after a shallow look for tensors and for a module's attributes."""
        if isinstance(contents, PickledDict):
            self.is_module |= {"_parameters", "_modules"} <= contents.entries.keys()
            contents = contents.entries.values()
        elif isinstance(contents, Tensorlike):
            contents = (contents,)
        elif not isinstance(contents, tuple | list):
            return
        for value in islice(contents, _LOOKED_AT):
            if isinstance(value, Tensorlike) or (isinstance(value, Opaque) and value.holds_tensors):
                self.holds_tensors = True


class Tensorlike:
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


class World(Protocol):
    """What the names in a pickle mean.  Each method may refuse by MalformedError."""

    def named(self, name: Named) -> None:
        """Take note of a name."""

    def called(self, function: Named, arguments: tuple[Any, ...], keywords: bool) -> Any:
        """The value that stands for the result of a call; ``keywords`` if it has any."""

    def stored(self, identity: Any) -> Any:
        """The value that stands for what is stored outside of the pickle."""


def kind_of(value: Any) -> str:
    """A value in a word or two for messages, without a look inside: it may hold itself."""
    if isinstance(value, PickledDict):
        return "a dict"
    if isinstance(value, Tensorlike):
        return "one tensor"
    if isinstance(value, Opaque):
        return f"an object of {str(value.made_by)!r:.80}"
    return f"a value of type {type(value).__name__}"
