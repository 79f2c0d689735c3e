"""Transfer of classification heads to data with other classes or another class order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.text import pluralize

__all__ = ["ClassMapping"]

_MAX_LISTED = 5


@dataclass(frozen=True)
class ClassMapping:
    """Map the classes of new data to rows of a saved classification head.

    Names match exactly, else without regard to case and surrounding spaces if that is
    unambiguous.

    Parameters
    ----------
    saved_classes : sequence of str
        Classes of the saved model, in row order.
    classes : sequence of str
        Classes of the new data.
    common : collection of str, default ()
        Names that occur in most class lists, such as the background.  They match only if
        another class matches too.
    """

    saved_classes: Sequence[str]
    classes: Sequence[str]
    common: Sequence[str] = ()

    @property
    def source_rows(self) -> list[int | None]:
        """Saved row of each class of the new data, None for a new class."""
        exact = _unique_positions(self.saved_classes)
        loose = _unique_positions(map(_normalize, self.saved_classes))
        unambiguous = _unique_positions(map(_normalize, self.classes))
        rows = []
        for name in self.classes:
            key = _normalize(name)
            fallback = loose.get(key) if unambiguous.get(key) is not None else None
            rows.append(exact.get(name, fallback))
        pairs = zip(self.classes, rows, strict=True)
        if all(row is None for name, row in pairs if name not in self.common):
            return [None] * len(rows)
        return rows

    @property
    def is_identity(self) -> bool:
        """Whether the classes and their order are those of the saved model."""
        return self.source_rows == list(range(len(self.saved_classes)))

    def apply(self, saved: Any, fresh: Any, class_axis: int = 0) -> Any:
        """Copy the saved rows of known classes into a freshly initialized array.

        Parameters
        ----------
        saved, fresh : numpy.ndarray
            Weight or bias of the head in the file and in the new model, with ``C * K`` rows for
            C classes.
        class_axis : {0, 1}, default 0
            Order of the rows: 0 for (C, K), all rows of a class together; 1 for (K, C), such as
            K anchors with one row for each class.

        Returns
        -------
        numpy.ndarray
            New array with the shape of ``fresh``.
        """
        result = np.array(fresh)
        target = _split_classes(result, len(self.classes), class_axis)
        source = _split_classes(saved, len(self.saved_classes), class_axis)
        for index, row in enumerate(self.source_rows):
            if row is not None:
                target[index] = source[row]
        return result

    def fits(self, saved: Any, fresh: Any) -> bool:
        """Whether both arrays have the same number and shape of rows for each class."""
        per_class = [
            (array.shape[0] / len(names), array.shape[1:])
            for array, names in ((saved, self.saved_classes), (fresh, self.classes))
            if array.ndim
        ]
        return len(per_class) == 2 and per_class[0] == per_class[1] and per_class[0][0] % 1 == 0

    def __str__(self) -> str:
        rows = [
            (name, row)
            for name, row in zip(self.classes, self.source_rows, strict=True)
            if name not in self.common
        ]
        kept = [row for _, row in rows if row is not None]
        if not kept:
            return "the last layer is reinitialized: none of the classes in the data is in the file"
        new = [name for name, row in rows if row is None]
        unused = [
            name
            for row, name in enumerate(self.saved_classes)
            if row not in kept and name not in self.common
        ]
        text = f"the last layer keeps {len(kept)} of {pluralize(len(rows), 'class', 'classes')}"
        text += " by name"
        if kept != sorted(kept):
            text += ", in the order of the data"
        if new:
            text += f"; new: {_join(new)}"
        if unused:
            text += f"; left out: {_join(unused)}"
        return text


def _split_classes(array: Any, num_classes: int, class_axis: int) -> Any:
    """View an array of C * K rows as (C, K, ...)."""
    rest = array.shape[1:]
    if class_axis == 0:
        return array.reshape(num_classes, -1, *rest)
    return array.reshape(-1, num_classes, *rest).swapaxes(0, 1)


def _normalize(name: str) -> str:
    return " ".join(name.casefold().split())


def _unique_positions(names: Iterable[str]) -> dict[str, int | None]:
    """Return the position of each name, None for a name that repeats."""
    positions: dict[str, int | None] = {}
    for position, name in enumerate(names):
        positions[name] = None if name in positions else position
    return positions


def _join(names: Sequence[str]) -> str:
    more = len(names) - _MAX_LISTED
    return ", ".join(names[:_MAX_LISTED]) + (f" and {more} more" if more > 0 else "")
