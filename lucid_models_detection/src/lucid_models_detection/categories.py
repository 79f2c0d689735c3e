"""What the category ids of COCO files mean to a detector, kept with its weights.

A COCO file may number its categories as it likes, and two files may number them
differently.  A detector therefore remembers id and name of what each of its labels was
trained on, and a file that says otherwise is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucid.weights import has_model_metadata, model_metadata
from lucid_models_detection.data import CocoDetection
from lucid_models_detection.data.targets import raise_problems
from lucid_models_detection.data.values import Id, id_order

__all__ = ["Categories", "Category"]

#: Under which name the preprocessing of a whole-model file holds them.
KEY = "categories"


@dataclass(frozen=True)
class Category:
    """A category of a COCO file.

    Attributes
    ----------
    id : int or str
        Its ``category_id``.
    name : str
    label : int or None
        The detector's label of it, from 1; None where its objects are left out.
    """

    id: Id
    name: str
    label: int | None


class Categories:
    """The categories that a detector was trained on.

    Parameters
    ----------
    entries : sequence of Category
    others : sequence of str, default ()
        Names of further classes of the detector, whose categories are unknown.
    """

    def __init__(self, entries: Sequence[Category], others: Sequence[str] = ()) -> None:
        self.entries = tuple(entries)
        self.others = tuple(others)

    @classmethod
    def of(cls, dataset: CocoDetection) -> Categories:
        """Those of a data set."""
        names, labels = dataset.category_names, dataset.category_ids
        return cls([Category(id, names[id], labels.get(id)) for id in sorted(names, key=id_order)])

    @classmethod
    def from_preprocessing(cls, preprocessing: Mapping[str, Any] | None) -> Categories | None:
        """Those that a whole-model file says, if it does.

        Raises
        ------
        ValueError
            If what it says is damaged.
        """
        if not preprocessing or KEY not in preprocessing:
            return None
        try:
            entries = [Category(**entry) for entry in preprocessing[KEY]]
        except TypeError as error:
            raise ValueError(f"its categories are damaged: {error}") from None
        for entry in entries:
            kinds = (type(entry.id), type(entry.name), type(entry.label))
            known = kinds[0] in (int, str) and kinds[1] is str and kinds[2] in (int, type(None))
            if not known:
                raise ValueError(
                    "its categories are damaged: expected a whole number or text as id, text as "
                    f"name and a whole number as label, got {', '.join(k.__name__ for k in kinds)}"
                )
        return cls(entries)

    @classmethod
    def by_name(cls, class_names: Sequence[str], found: Mapping[Id, str]) -> Categories:
        """Match the categories of a file to a detector's classes by name.

        For a detector that knows no category ids.

        Parameters
        ----------
        class_names : sequence of str
            Of the detector, the background's first.
        found : mapping of (int or str) to str
            The names of the file's categories by id; others than the detector's are left
            for :meth:`check` to refuse.

        Raises
        ------
        ValueError
            If two classes of the detector have the name of one category.
        """
        named = list(class_names)[1:]
        labels = {name: label for label, name in enumerate(named, start=1)}
        for name in found.values():
            if named.count(name) > 1:
                raise ValueError(
                    f"{named.count(name)} classes of the detector are called {name!r}, so the "
                    "category of that name cannot be matched; give each class a name of its own "
                    "(--class-names FILE)"
                )
        entries = [Category(id, name, labels[name]) for id, name in found.items() if name in labels]
        # A name that repeats, as "N/A" does in COCO's classes, is no class to look for.
        others = [n for n in named if named.count(n) == 1 and n not in found.values()]
        return cls(entries, others)

    @classmethod
    def of_weights(
        cls, path: Path, class_names: Sequence[str] | None, found: Mapping[Id, str]
    ) -> Categories | None:
        """Those of the detector in a file: as it says, else by the names of its classes.

        Parameters
        ----------
        path : path
            A file that :func:`lucid.load` reads.
        class_names : sequence of str or None
            Of the detector, the background's first.
        found : mapping of (int or str) to str
            As :meth:`by_name` takes it.

        Returns
        -------
        Categories or None
            None where nobody knows the names of its classes.

        Raises
        ------
        ValueError
            If what the file says is damaged.
        """
        if has_model_metadata(path):
            try:
                known = cls.from_preprocessing(model_metadata(path).preprocessing)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            if known is not None:
                return known
        return None if class_names is None else cls.by_name(class_names, found)

    def as_preprocessing(self) -> dict[str, Any]:
        """What a whole-model file is given to say."""
        return {KEY: [asdict(entry) for entry in self.entries]}

    @property
    def ids(self) -> dict[Id, int | None]:
        """The label of each id, as :class:`~lucid_models_detection.data.CocoDetection` takes it."""
        return {entry.id: entry.label for entry in self.entries}

    def check(self, path: Path | str, found: Mapping[Id, str]) -> None:
        """Refuse a file whose categories are not these.

        Parameters
        ----------
        path : path
            The file.
        found : mapping of (int or str) to str
            The names of its categories by id.  Some of these may be missing there.

        Raises
        ------
        ValueError
            If an id is unknown or stands for something else; lists up to ten.
        """
        names = {entry.id: entry.name for entry in self.entries}
        problems = []
        for id, name in sorted(found.items(), key=lambda item: id_order(item[0])):
            if id not in names:
                problems.append(f"category {id} is {name!r}: the detector has no such category")
            elif names[id] != name:
                problems.append(f"category {id} is {name!r}: in the detector it is {names[id]!r}")
        spelled = [f"{name!r} (id {id})" for id, name in names.items()]
        spelled += map(repr, self.others)
        known = ", ".join(spelled[:20])
        rest = len(spelled) - 20
        more = f" and {rest} more" if rest > 0 else ""
        raise_problems(
            str(path), problems, f"\nCategories of the detector: {known or 'none'}{more}."
        )
