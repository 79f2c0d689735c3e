"""Categories of a COCO file and the class names they map to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucid.data.report import DataReport
from lucid_models_detection.data.coco_json import read_json
from lucid_models_detection.data.field_parsing import (
    Id,
    brief,
    id_sort_key,
    original_id,
    parse_id,
)

__all__ = ["CocoCategories", "class_names_of", "is_background", "read_categories"]


@dataclass(frozen=True)
class CocoCategories:
    """Categories of a COCO file.

    ``roots`` are categories without annotations that are the ``supercategory`` of another or are
    named background; they are not classes, and not in ``names``.  Integral ids are integers;
    ``original_ids`` has each id as spelled in the file.
    """

    names: dict[Id, str]
    original_ids: dict[Id, Id]
    roots: dict[Id, str]

    def names_for(self, class_names: Sequence[str] | None) -> dict[Id, str]:
        """Return ``names``, plus the roots that are classes of a detector."""
        known = {key: name for key, name in self.roots.items() if name in (class_names or ())}
        return {**self.names, **known}

    @classmethod
    def from_rows(
        cls, rows: list[dict[str, Any]], used: Iterable[object] | None, report: DataReport
    ) -> CocoCategories:
        """Read the categories of a file; ``used`` has the ``category_id`` of every annotation."""
        names: dict[Id, str] = {}
        original: dict[Id, Id] = {}
        children: dict[str, set[Id]] = {}
        for position, raw in enumerate(rows):
            key, name = parse_id(raw.get("id")), _name(raw.get("name"))
            if key is None or name is None:
                report.add(
                    "bad-category",
                    f"category number {position}: expected id and name, got {brief(raw)}",
                )
            elif names.get(key) == name:
                report.add("repeated-category", f"category {brief(key)} ({brief(name)})")
            elif key in names:
                report.add(
                    "bad-category",
                    f"category {brief(key)} ({brief(name)}): another category has the same id",
                )
            else:
                names[key], original[key] = name, original_id(raw["id"])
                if (parent := _name(raw.get("supercategory"))) is not None:
                    children.setdefault(parent, set()).add(key)
        used_ids = None if used is None else {parse_id(value) for value in used}
        roots = {
            key: name
            for key, name in names.items()
            if used_ids is not None
            and key not in used_ids
            and (children.get(name, set()) - {key} or is_background(name))
        }
        for key in roots:
            del names[key]
        return cls(names, original, roots)

    def check(self, report: DataReport, labels: Mapping[Id, int | None], used: Set[object]) -> None:
        """Report ambiguous names and categories without annotations."""
        same: dict[str, list[Id]] = {}
        similar: dict[str, list[Id]] = {}
        for key in sorted(self.names, key=id_sort_key):
            name, label = self.names[key], labels.get(key)
            if label is None:
                continue
            if is_background(name):
                report.add(
                    "bad-category",
                    f"category {brief(key)} is named {brief(name)}, but label 0 is the "
                    "background: rename it in the file, or leave its objects out "
                    f"(category_ids={{..., {key!r}: None}})",
                )
            if key not in used:
                report.add("unused-category", f"category {brief(key)} ({brief(name)}): unused")
            text = " ".join(name.split())
            same.setdefault(text, []).append(key)
            similar.setdefault(text.casefold(), []).append(key)
        for text, keys in same.items():
            if len({labels[key] for key in keys}) > 1:
                ids = ", ".join(map(brief, keys))
                report.add(
                    "bad-category",
                    f"categories {ids} are all named {brief(text)}: rename them in the file, or "
                    "give them one label (category_ids)",
                )
        for keys in similar.values():
            if len({" ".join(self.names[key].split()) for key in keys}) > 1:
                named = ", ".join(f"{brief(key)} {brief(self.names[key])}" for key in keys)
                report.add("similar-names", f"categories {named} differ in case only")
        for key, name in self.roots.items():
            report.add(
                "root-category",
                f"category {brief(key)} ({brief(name)}) has no annotations and is not a class",
            )


def read_categories(annotation_file: str | Path) -> CocoCategories:
    """Read the categories of a COCO JSON file; it need not have annotations."""
    path = Path(annotation_file)
    content = read_json(path, ("categories",))
    report = DataReport(str(path))
    categories = CocoCategories.from_rows(content["categories"], _used(content), report)
    report.resolve("raise")
    return categories


def _used(content: Mapping[str, Any]) -> Iterable[object] | None:
    rows = content.get("annotations")
    if not isinstance(rows, list):
        return None
    return [row.get("category_id") for row in rows if isinstance(row, dict)]


def class_names_of(labels: Mapping[Id, int | None], names: Mapping[Id, str]) -> tuple[str, ...]:
    """Return the class name of each label; check that labels are 1, 2, ... without gaps."""
    members: dict[int, list[str]] = {}
    for category, label in labels.items():
        if label is not None:
            members.setdefault(label, []).append(names.get(category, f"category {category}"))
    if sorted(members) != list(range(1, len(members) + 1)):
        raise ValueError(
            "category_ids: expected labels 1, 2, 3, ... without gaps (0 is the background), "
            f"got {sorted(members)}"
        )
    return ("background", *("/".join(members[label]) for label in sorted(members)))


def is_background(name: str) -> bool:
    """Return whether a class is named background, which is label 0."""
    return name.strip("_ \t").casefold() == "background"


def _name(value: object) -> str | None:
    """Return a name as a string, or None; numbers are valid names."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value) if str(value).strip() else None
