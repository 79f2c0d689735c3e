"""Mapping between a detector's labels and the category ids of COCO files.

COCO files number their categories freely, and two files may number them differently.  Saved
detectors therefore record id and name of each category they were trained on; a file with other
categories is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucid.data.report import MAX_LISTED
from lucid.weights import has_model_metadata, model_metadata
from lucid_models_detection.data import CocoDetection
from lucid_models_detection.data.field_parsing import Id, id_sort_key

__all__ = ["Categories", "Category", "raise_problems"]

#: Key of the categories in the preprocessing metadata of a saved model.
KEY = "categories"


@dataclass(frozen=True)
class Category:
    """A category of a COCO file; ``label`` (from 1) is None if its objects are left out."""

    id: Id
    name: str
    label: int | None


class Categories:
    """Categories that a detector was trained on.

    ``unmatched`` has the names of detector classes without a known category.
    """

    def __init__(self, entries: Sequence[Category], unmatched: Sequence[str] = ()) -> None:
        self.entries = tuple(entries)
        self.unmatched = tuple(unmatched)

    @classmethod
    def from_dataset(cls, dataset: CocoDetection) -> Categories:
        """Create the categories of a dataset."""
        names, labels = dataset.category_names, dataset.category_ids
        return cls(
            [Category(id, names[id], labels.get(id)) for id in sorted(names, key=id_sort_key)]
        )

    @classmethod
    def from_preprocessing(cls, preprocessing: Mapping[str, Any] | None) -> Categories | None:
        """Read the categories from the metadata of a saved model; None if it has none."""
        if not preprocessing or KEY not in preprocessing:
            return None
        try:
            entries = [Category(**entry) for entry in preprocessing[KEY]]
        except TypeError as error:
            raise ValueError(f"its categories are damaged: {error}") from None
        for entry in entries:
            types = (type(entry.id), type(entry.name), type(entry.label))
            valid = types[0] in (int, str) and types[1] is str and types[2] in (int, type(None))
            if not valid:
                raise ValueError(
                    "its categories are damaged: expected id of int or str, name of str and label "
                    f"of int or None, got {', '.join(type.__name__ for type in types)}"
                )
        return cls(entries)

    @classmethod
    def from_names(cls, class_names: Sequence[str], found: Mapping[Id, str]) -> Categories:
        """Match the categories of a file, names by id, to the classes of a detector by name.

        For a detector without recorded category ids.  Unknown categories are left to :meth:`check`.
        """
        named = list(class_names)[1:]
        labels = {name: label for label, name in enumerate(named, start=1)}
        for name in found.values():
            if (count := named.count(name)) > 1:
                raise ValueError(
                    f"expected distinct class names of the detector, got {count} classes named "
                    f"{name!r}; pass --class-names FILE"
                )
        entries = [Category(id, name, labels[name]) for id, name in found.items() if name in labels]
        # Repeated names, such as "N/A" in COCO_CLASSES, are not classes.
        unmatched = [n for n in named if named.count(n) == 1 and n not in found.values()]
        return cls(entries, unmatched)

    @classmethod
    def from_weights(
        cls, path: Path, class_names: Sequence[str] | None, found: Mapping[Id, str]
    ) -> Categories | None:
        """Return the categories recorded in a weight file, else match by class name.

        ``class_names`` has the background first.  None if neither is known.  Without class names in
        the file, its last layer was added to other weights, whose categories it records.
        """
        if has_model_metadata(path):
            metadata = model_metadata(path)
            try:
                known = cls.from_preprocessing(metadata.preprocessing)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            if known is not None and metadata.class_names is not None:
                return known
        return None if class_names is None else cls.from_names(class_names, found)

    def as_preprocessing(self) -> dict[str, Any]:
        """Return the categories as preprocessing metadata of a saved model."""
        return {KEY: [asdict(entry) for entry in self.entries]}

    @property
    def ids(self) -> dict[Id, int | None]:
        """Label of each id: ``category_ids`` of a CocoDetection."""
        return {entry.id: entry.label for entry in self.entries}

    def check(self, path: Path | str, found: Mapping[Id, str]) -> None:
        """Raise if categories of a file, names by id, are unknown or have another name here."""
        names = {entry.id: entry.name for entry in self.entries}
        problems = []
        for id, name in sorted(found.items(), key=lambda item: id_sort_key(item[0])):
            if id not in names:
                problems.append(f"category {id} is {name!r}: the detector has no such category")
            elif names[id] != name:
                problems.append(f"category {id} is {name!r}: in the detector it is {names[id]!r}")
        spelled = [f"{name!r} (id {id})" for id, name in names.items()]
        spelled += map(repr, self.unmatched)
        known = ", ".join(spelled[:20])
        rest = len(spelled) - 20
        more = f" and {rest} more" if rest > 0 else ""
        raise_problems(
            str(path), problems, f"\nCategories of the detector: {known or 'none'}{more}."
        )


def raise_problems(where: str, problems: Sequence[str], hint: str = "") -> None:
    """Raise one ``ValueError`` that lists the problems, if there are any."""
    if not problems:
        return
    listed = "\n".join(f"  {problem}" for problem in problems[:MAX_LISTED])
    more = len(problems) - MAX_LISTED
    rest = f"\n  ... and {more} more" if more > 0 else ""
    noun = "problem" if len(problems) == 1 else "problems"
    raise ValueError(f"{where}: {len(problems)} {noun}:\n{listed}{rest}{hint}")
