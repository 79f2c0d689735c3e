"""What is wrong or remarkable in a data set, found before the first step.

Readers do not raise at the first problem.  They add a :class:`Finding` for each to a
:class:`DataReport`, and :meth:`DataReport.resolve` decides at the end.  The report holds for every
format: COCO, VOC and folders of images.
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

#: ``"fatal"``: the data cannot be used.  ``"error"``: one entry cannot be used; it is refused, or
#: left out with ``on_invalid="skip"``.  ``"note"``: used as it is, and counted.
Severity: TypeAlias = Literal["fatal", "error", "note"]
#: What to do with entries that cannot be used.
OnInvalid: TypeAlias = Literal["raise", "skip"]

#: Findings of one kind that are kept with their message, and lines of one error; all are counted.
MAX_LISTED = 10

#: The kinds of findings: their severity, and what a table calls them.
KINDS: dict[str, tuple[Severity, str]] = {
    # The whole file.
    "bad-format": ("fatal", "annotations that cannot be read"),
    "nothing-to-learn": ("fatal", "data without classes or objects to train on"),
    "bad-category": ("fatal", "categories that cannot be used"),
    "box-format": ("fatal", "boxes that look like another box format"),
    "contradicting-ids": ("fatal", "ids that stand for two things"),
    # One image, with its annotations.
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
    # Used as they are.
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
    """One problem or remarkable fact.

    Attributes
    ----------
    kind : str
        A key of :data:`KINDS`.
    severity : {"fatal", "error", "note"}
        Whether the data are refused, this item is refused or left out, or it is only counted.
    message : str
        One line that says where, what was expected and what was found.
    image : str or None
        File name of the image concerned.
    annotation : str or None
        Id, position or file of the annotation concerned.
    """

    kind: str
    severity: Severity
    message: str
    image: str | None = None
    annotation: str | None = None


class InvalidDataError(LucidError, ValueError):
    """Data that cannot be used as they are; lists up to ten problems.

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
        Annotation file or folder, which begins every error.
    unit : str, default "objects"
        What ``classes`` counts.

    Attributes
    ----------
    counts : collections.Counter of str
        Number of findings of each kind.
    totals : collections.Counter of str
        What the data set holds, such as ``images`` and ``annotations``, before anything is
        left out.
    left_out : collections.Counter of str
        How many of ``totals`` cannot be used, under the same names.
    classes : dict of str to int
        Number of objects of each class, or of what ``unit`` names.
    columns : dict of str to dict of str to int
        Further numbers of each class by their title, such as ``"images"``.
    sizes : dict of str to (int, int)
        Width and height of the smallest, the median and the largest image by area, under
        ``"min"``, ``"median"`` and ``"max"``; empty if no image was opened.
    findings : list of Finding
        The first ten of each kind, in the order in which they were found.

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
        """Add one finding.

        Parameters
        ----------
        kind : str
            A key of :data:`KINDS`.
        message : str
            One line that says where, what was expected and what was found.
        image, annotation : str, optional
            What it concerns.
        leave_out : str, optional
            The name in ``totals`` of what is left out for it.
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
        """Add ``number`` findings of one kind that a single message describes.

        ``image`` and ``annotation`` are those of the example in the message.
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
        """Number of findings of these severities."""
        return sum(n for kind, n in self.counts.items() if KINDS[kind][0] in severities)

    def rows(self, *severities: Severity) -> Iterator[tuple[str, str, int]]:
        """Kind, description and count of what was found, in the order of :data:`KINDS`."""
        for kind, (severity, description) in KINDS.items():
            if self.counts[kind] and (not severities or severity in severities):
                yield kind, description, self.counts[kind]

    def resolve(self, on_invalid: OnInvalid, *, hint: str = "") -> None:
        """Refuse the data, or accept that entries are left out.

        Parameters
        ----------
        on_invalid : {"raise", "skip"}
            Whether entries that cannot be used are refused or left out.
        hint : str, default ""
            Remedy, added to the error about entries that could be left out.

        Raises
        ------
        InvalidDataError
            For any ``"fatal"`` finding; for any ``"error"`` with ``"raise"``; with ``"skip"`` if
            more than half of the images or of the annotations would be left out.
        """
        if self.number("fatal"):
            raise self._error(self._listed("fatal"))
        if on_invalid == "raise" and self.number("error"):
            raise self._error(self._listed("error") + hint)
        for name in self.mostly_left_out():
            reasons = "; ".join(f"{what}: {n}" for _, what, n in self.rows("error"))
            raise self._error(
                f"{self.source}: {self.left_out[name]} of {self.totals[name]} {name} would be "
                f"left out, more than half ({reasons}); correct the data\n{self._listed('error')}"
            )

    def _error(self, message: str) -> InvalidDataError:
        error = InvalidDataError(message)
        error.report = self
        return error

    @property
    def usable(self) -> bool:
        """Whether training accepts the data as they are."""
        return not self.number("fatal", "error")

    @property
    def usable_with_skip_invalid(self) -> bool:
        """Whether training accepts what ``on_invalid="skip"`` leaves over."""
        return not self.number("fatal") and not self.mostly_left_out()

    def mostly_left_out(self) -> list[str]:
        """Names in ``totals`` of which more than half cannot be used."""
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
        """Everything in it, as JSON can hold it."""
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
        """Add what the reports of other parts of the same data set hold."""
        for other in others:
            self.counts += other.counts
            self.totals += other.totals
            self.left_out += other.left_out
            for name, number in other.classes.items():
                self.classes[name] = self.classes.get(name, 0) + number
            self.findings += other.findings
