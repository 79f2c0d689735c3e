"""Named objects whose states are saved in one checkpoint and restored together."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from lucid import random
from lucid.training.callback import Callback

__all__ = [
    "Checkpointable",
    "RandomState",
    "check_checkpointables",
    "named_callbacks",
    "restore",
]


@runtime_checkable
class Checkpointable(Protocol):
    """Object that a checkpoint can save and restore: a model, an optimizer, one of your own.

    Examples
    --------
    >>> from lucid.training import Checkpointable
    >>> class Curriculum:
    ...     def __init__(self):
    ...         self.level = 1
    ...     def state_dict(self):
    ...         return {"level": self.level}
    ...     def load_state_dict(self, state):
    ...         self.level = state["level"]
    >>> isinstance(Curriculum(), Checkpointable)
    True
    """

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state.

        Returns
        -------
        mapping
            Tensors, arrays, numbers, strings, booleans and None, in dicts and lists.  From a
            file, the keys of dicts come back as strings and tuples as lists.
        """

    def load_state_dict(self, state: Any, /) -> object:
        """Restore a state that :meth:`state_dict` returned; raise an exception if it does not fit.

        Parameters
        ----------
        state : mapping
            The state.
        """


class RandomState:
    """State of :mod:`lucid.random`, as a checkpointable."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        return random.get_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the generator."""
        random.set_state(state)


def check_checkpointables(
    objects: Mapping[str, Checkpointable], reserved: Iterable[str]
) -> dict[str, Checkpointable]:
    """Return a user's checkpointables after a check of their names and methods.

    Parameters
    ----------
    objects : mapping of str to Checkpointable
        The objects by name.
    reserved : iterable of str
        Names that cannot be chosen.

    Raises
    ------
    TypeError
        If it is no mapping, a name is no text, or an object lacks a method.
    ValueError
        If a name is reserved.
    """
    if not isinstance(objects, Mapping):
        raise TypeError(f"checkpointables: expected a dict of objects by name, got {objects!r:.80}")
    taken = frozenset(reserved)
    for name, part in objects.items():
        if not isinstance(name, str):
            raise TypeError(f"checkpointables: expected names of type str, got {name!r}")
        if name in taken:
            raise ValueError(
                f"checkpointables: the name {name!r} is one of the trainer's own "
                f"({', '.join(sorted(taken))}); choose another"
            )
        if isinstance(part, type) or not isinstance(part, Checkpointable):
            raise TypeError(
                f"checkpointables: expected an object with state_dict() and load_state_dict(state) "
                f"as {name!r}, got {part!r:.80}"
            )
    return dict(objects)


def named_callbacks(
    callbacks: Sequence[Callback],
    registered: Mapping[str, Checkpointable],
    reserved: Iterable[str],
) -> list[str | None]:
    """Return the name of each callback in a checkpoint, None for a callback without state.

    The name is the one that the callback is registered under, else that of its class.

    Parameters
    ----------
    callbacks : sequence of Callback
        The callbacks.
    registered : mapping of str to Checkpointable
        Checkpointables, which may be callbacks.
    reserved : iterable of str
        Names that cannot be chosen.

    Raises
    ------
    ValueError
        If two callbacks with state have one name.
    """
    own = {id(part): name for name, part in registered.items()}
    taken: dict[str, object] = {**dict.fromkeys(reserved), **registered}
    names: list[str | None] = []
    for callback in callbacks:
        name = own.get(id(callback))
        if name is None and _has_state(callback):
            name = type(callback).__name__
            if taken.setdefault(name, callback) is not callback:
                raise ValueError(
                    f"callbacks: two objects would be saved in the checkpoint as {name!r}; give "
                    f"them different names, such as checkpointables={{'{name}_2': callback}}"
                )
        names.append(name)
    return names


def _has_state(callback: Callback) -> bool:
    return type(callback).state_dict is not Callback.state_dict


def restore(objects: Mapping[str, Checkpointable], saved: Mapping[str, Any]) -> None:
    """Restore the states of all objects, or of none.

    Parameters
    ----------
    objects : mapping of str to Checkpointable
        The objects, restored in this order.
    saved : mapping of str to state
        A state for each name.

    Raises
    ------
    ValueError
        If the names differ, or a state does not fit its object; all objects have the state
        that they had before, except those that the message names.
    """
    if objects.keys() != saved.keys():
        missing, unknown = (
            ", ".join(sorted(one.keys() - other.keys())) or "none"
            for one, other in ((objects, saved), (saved, objects))
        )
        raise ValueError(
            f"expected the states of {', '.join(objects)}, got those of {', '.join(saved)} "
            f"(missing: {missing}; unknown: {unknown}); pass the trainer what it had when the "
            "file was saved: scheduler, loader, callbacks and checkpointables"
        )
    before: list[tuple[str, Checkpointable, Any]] = []
    try:
        for name, part in objects.items():
            before.append((name, part, copy.deepcopy(part.state_dict())))
            try:
                part.load_state_dict(saved[name])
            except Exception as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                raise ValueError(f"the state of {name} does not fit: {kind}{error}") from error
    except BaseException as error:
        refused = _roll_back(before)
        if refused and isinstance(error, ValueError):
            raise ValueError(
                f"{error}; {', '.join(refused)} refused also the state from before, and may have "
                "changed"
            ) from error
        raise


def _roll_back(before: Sequence[tuple[str, Checkpointable, Any]]) -> list[str]:
    """Restore states in reverse order; return the names of objects that refuse theirs."""
    refused = []
    for name, part, state in reversed(before):
        try:
            part.load_state_dict(state)
        except Exception:  # the error that this follows from is raised
            refused.append(name)
    return refused
