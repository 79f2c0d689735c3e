"""Last layers of a saved model, for data with other classes or another order of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid.models.protocols import check_classifier
from lucid.text import counted as number_of

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = ["ClassRows", "class_entries"]

_SHOWN = 5


@dataclass(frozen=True)
class ClassRows:
    """Rows of a saved model's last layer that belong to the classes of new data.

    Names match exactly, else without regard to case and surrounding spaces if that is
    unambiguous.

    Parameters
    ----------
    before : sequence of str
        Classes of the saved model, in the order of its rows.
    now : sequence of str
        Classes of the data.
    common : collection of str, default ()
        Names that are no evidence of equal classes, such as the background's: matched only
        if others match too.
    """

    before: Sequence[str]
    now: Sequence[str]
    common: Sequence[str] = ()

    @property
    def rows(self) -> list[int | None]:
        """For each class of the data its row in the file, None for a new class."""
        exact, loose = _positions(self.before), _positions(map(_folded, self.before))
        once = _positions(map(_folded, self.now))
        found = [
            exact.get(
                name, loose.get(_folded(name)) if once.get(_folded(name)) is not None else None
            )
            for name in self.now
        ]
        if all(
            row is None
            for row, name in zip(found, self.now, strict=True)
            if name not in self.common
        ):
            return [None] * len(found)
        return found

    @property
    def identical(self) -> bool:
        """Whether the rows can stay as they are."""
        return self.rows == list(range(len(self.before)))

    def take(self, saved: Any, fresh: Any, class_axis: int = 0) -> Any:
        """Put saved rows in the places of their classes, and keep fresh ones for the others.

        Parameters
        ----------
        saved, fresh : numpy.ndarray
            Weights or biases of the last layer in the file and in the new model: C classes
            times the same number of rows for each, K.
        class_axis : {0, 1}, default 0
            Axis of the classes when the rows are split into two axes: 0 for (C, K), all rows
            of a class together; 1 for (K, C), as of K anchors that each have a row for every
            class.

        Returns
        -------
        numpy.ndarray
            Of the shape of ``fresh``.
        """
        result = np.array(fresh)
        to = _by_class(result, len(self.now), class_axis)
        source = _by_class(saved, len(self.before), class_axis)
        for place, row in enumerate(self.rows):
            if row is not None:
                to[place] = source[row]
        return result

    def fits(self, saved: Any, fresh: Any) -> bool:
        """Whether :meth:`take` applies: equally many rows for each class, of equal shape."""
        per_class = [
            (array.shape[0] / len(names), array.shape[1:])
            for array, names in ((saved, self.before), (fresh, self.now))
            if array.ndim
        ]
        return len(per_class) == 2 and per_class[0] == per_class[1] and per_class[0][0] % 1 == 0

    def __str__(self) -> str:
        counted = [
            (name, row)
            for name, row in zip(self.now, self.rows, strict=True)
            if name not in self.common
        ]
        kept = [row for _, row in counted if row is not None]
        if not kept:
            return "the last layer starts anew: none of the classes in the data is in the file"
        new = [name for name, row in counted if row is None]
        unused = [
            name
            for row, name in enumerate(self.before)
            if row not in kept and name not in self.common
        ]
        all_classes = number_of(len(counted), "class", "classes")
        text = f"the last layer keeps {len(kept)} of {all_classes} by name"
        if kept != sorted(kept):
            text += ", in the order of the data"
        if new:
            text += f"; new: {_listed(new)}"
        if unused:
            text += f"; left out: {_listed(unused)}"
        return text


def class_entries(model: Module) -> list[str]:
    """Names in the state dict whose shape depends on the number of classes.

    Parameters
    ----------
    model : lucid.nn.Module
        Satisfies :class:`lucid.models.Classifier`.
    """
    prefixes = check_classifier(model).head_prefixes
    return [key for key in model.state_dict() if key.startswith(prefixes)]


def _by_class(array: Any, count: int, class_axis: int) -> Any:
    """View (C, K, ...) of an array of C * K rows."""
    rest = array.shape[1:]
    if class_axis == 0:
        return array.reshape(count, -1, *rest)
    return array.reshape(-1, count, *rest).swapaxes(0, 1)


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _positions(names: Any) -> dict[str, int | None]:
    """The position of each name; None for one that repeats."""
    found: dict[str, int | None] = {}
    for position, name in enumerate(names):
        found[name] = None if name in found else position
    return found


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
