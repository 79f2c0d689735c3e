"""Objects with a state: saved in a checkpoint by name and restored together."""

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
    """Protocol of objects that a checkpoint saves and restores.

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
            Dicts and lists of tensors, arrays, numbers, strings, booleans and None.  Checkpoints
            store keys as strings and tuples as lists.
        """

    def load_state_dict(self, state: Any, /) -> object:
        """Restore a state returned by :meth:`state_dict`; raise if it does not match.

        Parameters
        ----------
        state : mapping
            The state.
        """


class RandomState:
    """State of the global generator of :mod:`lucid.random`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator."""
        return random.get_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of the generator."""
        random.set_state(state)


def check_checkpointables(
    objects: Mapping[str, Checkpointable], reserved: Iterable[str]
) -> dict[str, Checkpointable]:
    """Validate and copy the ``checkpointables`` argument of a trainer.

    Raises
    ------
    TypeError
        If it is no mapping, a name is no string, or an object lacks a method.
    ValueError
        If a name is in ``reserved``.
    """
    if not isinstance(objects, Mapping):
        raise TypeError(f"checkpointables: expected a dict of objects by name, got {objects!r:.80}")
    names = frozenset(reserved)
    for name, part in objects.items():
        if not isinstance(name, str):
            raise TypeError(f"checkpointables: expected names of type str, got {name!r}")
        if name in names:
            raise ValueError(
                f"checkpointables: {name!r} is a name of the trainer "
                f"({', '.join(sorted(names))}); choose another"
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
    """Return each callback's name in checkpoints, None for one without state.

    It is the name in ``registered``, else the class name.

    Raises
    ------
    ValueError
        If two callbacks with state have the same name, or one is in ``reserved``.
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
                    f"callbacks: two objects are named {name!r} in the checkpoint; pass one as "
                    f"checkpointables={{'{name}_2': callback}}"
                )
        names.append(name)
    return names


def _has_state(callback: Callback) -> bool:
    return type(callback).state_dict is not Callback.state_dict


def restore(objects: Mapping[str, Checkpointable], saved: Mapping[str, Any]) -> None:
    """Restore the states of all objects in order, or of none.

    Raises
    ------
    ValueError
        If the names differ, or a state does not match its object.  All objects get their earlier
        state back; the message names those that refuse it.
    """
    if objects.keys() != saved.keys():
        missing, unknown = (
            ", ".join(sorted(one.keys() - other.keys())) or "none"
            for one, other in ((objects, saved), (saved, objects))
        )
        raise ValueError(
            f"expected states of {', '.join(objects)}, got {', '.join(saved)} (missing: {missing}; "
            f"unknown: {unknown}); pass the scheduler, loader, callbacks and checkpointables with "
            "which the file was saved"
        )
    before: list[tuple[str, Checkpointable, Any]] = []
    try:
        for name, part in objects.items():
            before.append((name, part, copy.deepcopy(part.state_dict())))
            try:
                part.load_state_dict(saved[name])
            except Exception as error:
                kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                raise ValueError(f"the state of {name} does not match: {kind}{error}") from error
    except BaseException as error:
        failed = _roll_back(before)
        if failed and isinstance(error, ValueError):
            raise ValueError(
                f"{error}; {', '.join(failed)} could not be restored to the earlier state and may "
                "have changed"
            ) from error
        raise


def _roll_back(before: Sequence[tuple[str, Checkpointable, Any]]) -> list[str]:
    """Restore earlier states in reverse order; return the names of objects that fail."""
    failed = []
    for name, part, state in reversed(before):
        try:
            part.load_state_dict(state)
        except Exception:  # the original error is raised
            failed.append(name)
    return failed
