"""Findings about a data set of any format: COCO, VOC or class folders.

Readers do not raise at the first problem.  They add a :class:`Finding` for each to a
:class:`DataReport`; :meth:`DataReport.resolve` raises at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from lucid.errors import LucidError

__all__ = [
    "KINDS",
    "MAX_LISTED",
    "DataReport",
    "Finding",
    "InvalidDataError",
    "OnInvalid",
    "Severity",
]

#: ``"fatal"``: the data cannot be used.  ``"error"``: one entry cannot be used; it is rejected, or
#: skipped with ``on_invalid="skip"``.  ``"note"``: used and counted.
Severity: TypeAlias = Literal["fatal", "error", "note"]
#: How to treat invalid entries.
OnInvalid: TypeAlias = Literal["raise", "skip"]

#: Maximum number of messages per kind, and of lines per error; all findings are counted.
MAX_LISTED = 10

#: Kinds of findings: severity and description in tables.
KINDS: dict[str, tuple[Severity, str]] = {
    # Whole file.
    "bad-format": ("fatal", "annotations that cannot be read"),
    "nothing-to-learn": ("fatal", "data without classes or objects to train on"),
    "bad-category": ("fatal", "categories that cannot be used"),
    "box-format": ("fatal", "boxes that look like another box format"),
    "contradicting-ids": ("fatal", "ids that stand for two things"),
    # One image with its annotations.
    "bad-id": ("error", "entries without a valid id"),
    "bad-name": ("error", "invalid file names"),
    "bad-file": ("error", "annotation files that cannot be read"),
    "missing-image": ("error", "missing images"),
    "unreadable-image": ("error", "unreadable images"),
    "ambiguous-image": ("error", "annotations that fit several images"),
    "duplicate-image": ("error", "images listed twice"),
    "missing-size": ("error", "images of unknown size"),
    "size-mismatch": ("error", "images of another size than their annotations say"),
    "orientation": ("error", "images annotated without their EXIF orientation"),
    "doubtful-orientation": ("error", "images whose boxes may ignore their EXIF orientation"),
    "missing-annotation": ("error", "images of the set without an annotation file"),
    # One annotation.
    "unknown-image": ("error", "annotations of unknown images"),
    "unknown-category": ("error", "annotations of unknown categories"),
    "bad-flag": ("error", "invalid flags (iscrowd, difficult, truncated)"),
    "no-bbox": ("error", "annotations without box and outline"),
    "bad-bbox": ("error", "invalid boxes"),
    "outside": ("error", "boxes outside of their image"),
    # Folders of classes.
    "layout": ("fatal", "folders that are neither classes nor splits"),
    "class-name": ("fatal", "class folders whose names cannot be saved"),
    "few-classes": ("fatal", "fewer than two classes"),
    "unknown-class": ("fatal", "validation folders of unknown classes"),
    "no-validation": ("fatal", "no images to validate on"),
    "empty-class": ("error", "class folders without a usable image"),
    # Notes.
    "clipped": ("note", "boxes clipped at the border"),
    "zero-based": ("note", "VOC boxes that may count pixels from 0"),
    "tiny": ("note", "boxes below one pixel"),
    "duplicate": ("note", "duplicate boxes"),
    "crowd": ("note", "crowds and difficult objects, set apart"),
    "left-out": ("note", "objects of categories that are left out"),
    "derived-bbox": ("note", "boxes derived from outlines"),
    "derived-size": ("note", "sizes read from the images"),
    "duplicate-annotation-id": ("note", "annotation ids used twice"),
    "moved-image": ("note", "images found under another path than the file names"),
    "repeated-image": ("note", "images listed twice with the same content"),
    "unused-flag": ("note", "invalid flags that have no effect (truncated)"),
    "unused-category": ("note", "categories without annotations"),
    "root-category": ("note", "root categories, which are no classes"),
    "repeated-category": ("note", "categories listed twice"),
    "similar-names": ("note", "classes whose names differ in case or spaces only"),
    "no-objects": ("note", "images without objects"),
    "turned": ("note", "images turned by their EXIF orientation"),
    "test-folder": ("note", "test folders used for validation"),
    "single-image": ("note", "classes with one image, which is not held out"),
    "unvalidated-class": ("note", "classes without validation images"),
    "renamed-class": ("note", "validation folders matched to a class of similar name"),
    "two-classes": ("note", "images that are in two classes"),
    "leaked": ("note", "validation images that are also trained on"),
    "nested": ("note", "images in subfolders of their class folder"),
    "no-class": ("note", "images beside the class folders, not used"),
    "other-file": ("note", "files that are no images, not used"),
    "unused-folder": ("note", "folders that are not used"),
    "convert": ("note", "formats to convert before training"),
    "unopened": ("note", "images that were not opened"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Problem or note about a data set.

    Attributes
    ----------
    kind : str
        A key of :data:`KINDS`.
    severity : {"fatal", "error", "note"}
        Whether the data is rejected, the entry is rejected or skipped, or only counted.
    message : str
        One line: where, expected and found.
    image : str or None
        File name of the image.
    annotation : str or None
        Id, position or file of the annotation.
    """

    kind: str
    severity: Severity
    message: str
    image: str | None = None
    annotation: str | None = None


class InvalidDataError(LucidError, ValueError):
    """Invalid data; the message lists up to ten problems.

    Attributes
    ----------
    report : DataReport
        All findings.
    """

    report: DataReport


class DataReport:
    """Findings of one data set, counted by kind.

    Parameters
    ----------
    source : str
        Annotation file or folder, the prefix of every error.
    unit : str, default "objects"
        Unit that ``classes`` counts.

    Attributes
    ----------
    counts : collections.Counter of str
        Number of findings of each kind.
    totals : collections.Counter of str
        Contents of the data set, such as ``images`` and ``annotations``, before skipping.
    left_out : collections.Counter of str
        Number of invalid entries, with the keys of ``totals``.
    classes : dict of str to int
        Number of objects (or ``unit``) per class.
    columns : dict of str to dict of str to int
        More counts per class by title, such as ``"images"``.
    sizes : dict of str to (int, int)
        Width and height of the smallest, median and largest image by area: ``"min"``,
        ``"median"``, ``"max"``; empty if no image was opened.
    findings : list of Finding
        First ten of each kind, in order.

    Examples
    --------
    >>> from lucid.data.report import DataReport
    >>> report = DataReport("train.json")
    >>> report.totals["annotations"] = 3
    >>> report.add("bad-bbox", "annotation 7: bbox [1, 2, 0, 4]: no area", leave_out="annotations")
    >>> report.counts["bad-bbox"], report.left_out["annotations"]
    (1, 1)
    >>> report.resolve("skip")
    """

    def __init__(self, source: str, unit: str = "objects") -> None:
        self.source = source
        self.unit = unit
        self.counts: Counter[str] = Counter()
        self.totals: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.classes: dict[str, int] = {}
        self.columns: dict[str, dict[str, int]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.findings: list[Finding] = []

    def add(
        self,
        kind: str,
        message: str,
        *,
        image: str | None = None,
        annotation: str | None = None,
        leave_out: str | None = None,
    ) -> None:
        """Add one finding, with the fields of :class:`Finding`.

        ``leave_out`` is the key in ``totals`` of the entry that is skipped.
        """
        severity = KINDS[kind][0]
        self.counts[kind] += 1
        if leave_out is not None:
            self.left_out[leave_out] += 1
        if self.counts[kind] <= MAX_LISTED:
            self.findings.append(Finding(kind, severity, message, image, annotation))

    def count(
        self,
        kind: str,
        number: int,
        message: str,
        *,
        image: str | None = None,
        annotation: str | None = None,
    ) -> None:
        """Add ``number`` findings of one kind with one message.

        ``image`` and ``annotation`` belong to the example in the message.
        """
        if number:
            self.counts[kind] += number
            self.findings.append(Finding(kind, KINDS[kind][0], message, image, annotation))

    def set_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Summarize the widths and heights of the images."""
        ordered = sorted(sizes, key=lambda size: (size[0] * size[1], size))
        if ordered:
            middle = ordered[(len(ordered) - 1) // 2]
            self.sizes = {"min": ordered[0], "median": middle, "max": ordered[-1]}

    def number(self, *severities: Severity) -> int:
        """Return the number of findings of these severities."""
        return sum(n for kind, n in self.counts.items() if KINDS[kind][0] in severities)

    def rows(self, *severities: Severity) -> Iterator[tuple[str, str, int]]:
        """Yield kind, description and count, in the order of :data:`KINDS`."""
        for kind, (severity, description) in KINDS.items():
            if self.counts[kind] and (not severities or severity in severities):
                yield kind, description, self.counts[kind]

    def resolve(self, on_invalid: OnInvalid, *, hint: str = "") -> None:
        """Raise if the data cannot be used; ``hint`` is a remedy if entries could be skipped.

        Raises
        ------
        InvalidDataError
            If there is a ``"fatal"`` finding; with ``"raise"``, if there is an ``"error"``; with
            ``"skip"``, if more than half of the images or annotations would be skipped.
        """
        if self.number("fatal"):
            raise self._error(self._listed("fatal"))
        if on_invalid == "raise" and self.number("error"):
            raise self._error(self._listed("error") + hint)
        for name in self.mostly_left_out():
            reasons = "; ".join(f"{what}: {n}" for _, what, n in self.rows("error"))
            raise self._error(
                f"{self.source}: {self.left_out[name]} of {self.totals[name]} {name} would be "
                f"skipped, more than half ({reasons}); fix the data\n{self._listed('error')}"
            )

    def _error(self, message: str) -> InvalidDataError:
        error = InvalidDataError(message)
        error.report = self
        return error

    @property
    def usable(self) -> bool:
        """Whether training accepts the data."""
        return not self.number("fatal", "error")

    @property
    def usable_with_skip_invalid(self) -> bool:
        """Whether training accepts the data with ``on_invalid="skip"``."""
        return not self.number("fatal") and not self.mostly_left_out()

    def mostly_left_out(self) -> list[str]:
        """Return the keys of ``totals`` with more than half invalid entries."""
        return [name for name, n in self.left_out.items() if 2 * n > self.totals[name]]

    def _listed(self, severity: Severity) -> str:
        messages = [f.message for f in self.findings if f.severity == severity][:MAX_LISTED]
        number = self.number(severity)
        rest = number - len(messages)
        noun = "problem" if number == 1 else "problems"
        lines = [f"{self.source}: {number} {noun}:", *(f"  {message}" for message in messages)]
        if rest > 0:
            lines.append(f"  ... and {rest} more")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a JSON-serializable dict."""
        return {
            "source": self.source,
            "usable": self.usable,
            "usable_with_skip_invalid": self.usable_with_skip_invalid,
            "totals": dict(self.totals),
            "left_out": dict(self.left_out),
            "unit": self.unit,
            "classes": self.classes,
            "columns": self.columns,
            "sizes": self.sizes,
            "counts": {kind: number for kind, _, number in self.rows()},
            "findings": [asdict(finding) for finding in self.findings],
        }

    def merge(self, others: Iterable[DataReport]) -> None:
        """Add the findings and counts of reports on other parts of the data set."""
        for other in others:
            self.counts += other.counts
            self.totals += other.totals
            self.left_out += other.left_out
            for name, number in other.classes.items():
                self.classes[name] = self.classes.get(name, 0) + number
            self.findings += other.findings
