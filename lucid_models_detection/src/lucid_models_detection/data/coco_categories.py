"""Categories of a COCO file: which of them are classes, and under which labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport
from lucid_models_detection.data.coco_file import read_json
from lucid_models_detection.data.values import Id, as_id, id_order, own_id, shown

__all__ = ["FileCategories", "class_names_of", "read_categories"]


@dataclass(frozen=True)
class FileCategories:
    """The categories of one file.

    Attributes
    ----------
    names : dict of (int or str) to str
        Names by id, without ``roots``.  Ids that are whole numbers are integers, however the
        file spells them.
    own_ids : dict of (int or str) to (int or str)
        Each id as the file spells it.
    roots : dict of (int or str) to str
        Categories without annotations that only group others, as their ``supercategory``, or
        that are called background.  They are no classes.
    """

    names: dict[Id, str]
    own_ids: dict[Id, Id]
    roots: dict[Id, str]

    def names_for(self, class_names: Sequence[str] | None) -> dict[Id, str]:
        """The names, and those of roots that are classes of a detector all the same."""
        known = {key: name for key, name in self.roots.items() if name in (class_names or ())}
        return {**self.names, **known}

    @classmethod
    def found(
        cls, rows: list[dict[str, Any]], used: Iterable[object] | None, report: DataReport
    ) -> FileCategories:
        """Read the rows of a file.

        Parameters
        ----------
        rows : list of dict
            The file's ``categories``.
        used : iterable, optional
            The ``category_id`` of every annotation; None if the file has no annotations.
        report : DataReport
            Gets what is wrong.
        """
        names: dict[Id, str] = {}
        own: dict[Id, Id] = {}
        children: dict[str, set[Id]] = {}
        for position, raw in enumerate(rows):
            key, name = as_id(raw.get("id")), _name(raw.get("name"))
            if key is None or name is None:
                report.add(
                    "bad-category",
                    f"category number {position}: expected id and name, got {shown(raw)}",
                )
            elif names.get(key) == name:
                report.add("repeated-category", f"category {shown(key)} ({shown(name)})")
            elif key in names:
                report.add(
                    "bad-category",
                    f"category {shown(key)} ({shown(name)}): another category has the same id",
                )
            else:
                names[key], own[key] = name, own_id(raw["id"])
                if (parent := _name(raw.get("supercategory"))) is not None:
                    children.setdefault(parent, set()).add(key)
        busy = None if used is None else {as_id(value) for value in used}
        roots = {
            key: name
            for key, name in names.items()
            if busy is not None
            and key not in busy
            and (children.get(name, set()) - {key} or is_background(name))
        }
        for key in roots:
            del names[key]
        return cls(names, own, roots)

    def check(self, report: DataReport, labels: Mapping[Id, int | None], used: Set[object]) -> None:
        """Report names that cannot be told apart, and categories that have no effect.

        Parameters
        ----------
        report : DataReport
            Gets the findings.
        labels : mapping
            The label of each category; None leaves its objects out.
        used : set
            Ids of the categories that have annotations.
        """
        same: dict[str, list[Id]] = {}
        similar: dict[str, list[Id]] = {}
        for key in sorted(self.names, key=id_order):
            name, label = self.names[key], labels.get(key)
            if label is None:
                continue
            if is_background(name):
                report.add(
                    "bad-category",
                    f"category {shown(key)} is called {shown(name)}, but label 0 is the "
                    "background: rename it in the file, or leave its objects out "
                    f"(category_ids={{..., {key!r}: None}})",
                )
            if key not in used:
                report.add("unused-category", f"category {shown(key)} ({shown(name)}): unused")
            text = " ".join(name.split())
            same.setdefault(text, []).append(key)
            similar.setdefault(text.casefold(), []).append(key)
        for text, keys in same.items():
            if len({labels[key] for key in keys}) > 1:
                ids = ", ".join(map(shown, keys))
                report.add(
                    "bad-category",
                    f"categories {ids} are all called {shown(text)}: rename them in the file, or "
                    "give them one label (category_ids)",
                )
        for keys in similar.values():
            if len({" ".join(self.names[key].split()) for key in keys}) > 1:
                named = ", ".join(f"{shown(key)} {shown(self.names[key])}" for key in keys)
                report.add("similar-names", f"categories {named} differ in case only")
        for key, name in self.roots.items():
            report.add(
                "root-category",
                f"category {shown(key)} ({shown(name)}) has no annotations and is no class",
            )


def read_categories(annotation_file: str | Path) -> FileCategories:
    """The categories of a COCO JSON file, which needs no annotations.

    Raises
    ------
    ValueError, FileNotFoundError
        As :class:`CocoDetection`.
    """
    path = Path(annotation_file)
    content = read_json(path, ("categories",))
    report = DataReport(str(path))
    found = FileCategories.found(content["categories"], _used(content), report)
    report.resolve("raise")
    return found


def _used(content: Mapping[str, Any]) -> Iterable[object] | None:
    rows = content.get("annotations")
    if not isinstance(rows, list):
        return None
    return [row.get("category_id") for row in rows if isinstance(row, dict)]


def class_names_of(labels: Mapping[Id, int | None], names: Mapping[Id, str]) -> tuple[str, ...]:
    """Name each label after its categories; check that the labels are 1, 2, ... without a gap."""
    members: dict[int, list[str]] = {}
    for category, label in labels.items():
        if label is not None:
            members.setdefault(label, []).append(names.get(category, f"category {category}"))
    if sorted(members) != list(range(1, len(members) + 1)):
        raise ValueError(
            "category_ids must map to the labels 1, 2, 3, ... without a gap "
            f"(0 is the background), got {sorted(members)}"
        )
    return ("background", *("/".join(members[label]) for label in sorted(members)))


def is_background(name: str) -> bool:
    """Whether a class is called background, which label 0 is already."""
    return name.strip("_ \t").casefold() == "background"


def _name(value: object) -> str | None:
    """A name as text; numbers are names, too."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) if str(value).strip() else None
