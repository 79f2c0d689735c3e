"""Format data reports: the table of ``lucid check-data``, and a summary before training."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from lucid.data.report import MAX_LISTED, DataReport, Severity
from lucid.text import align_columns, pluralize

__all__ = ["brief_lines", "left_out_text", "table_lines"]

_WIDTH = 80
_LABEL = 12
_NAME = 40
_BRIEF_CLASSES = 10


def table_lines(report: DataReport, width: int = _WIDTH) -> list[str]:
    """Format the whole report: classes, sizes, findings with examples, verdict."""
    lines = [_totals(report), ""]
    if report.classes:
        lines += [*_class_table(report), ""]
    if sizes := _sizes(report):
        lines += [f"Image sizes: {sizes}", ""]
    parts: dict[str, tuple[Severity, ...]] = {"Problems": ("fatal", "error"), "Notes": ("note",)}
    for title, severities in parts.items():
        if found := list(_findings(report, severities, width)):
            lines += [title, *found, ""]
    return lines + _wrapped(_verdict(report), width)


def brief_lines(report: DataReport, width: int = _WIDTH) -> list[str]:
    """Format a summary: totals, classes with counts, sizes, skipped entries, notes."""
    counts = [f"{_short(name)} {number}" for name, number in report.classes.items()]
    if len(counts) > _BRIEF_CLASSES:
        counts[_BRIEF_CLASSES:] = [f"and {len(counts) - _BRIEF_CLASSES} more"]
    parts = {
        "data": _totals(report),
        "classes": ", ".join(counts),
        "image sizes": _sizes(report),
        "left out": left_out_text(report),
        "notes": _counted(report, "note"),
    }
    lines: list[str] = []
    for label, text in parts.items():
        if text:
            lines += _wrapped(text, width, label.ljust(_LABEL), " " * _LABEL)
    return lines


def _wrapped(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    """Wrap text; ``first`` and ``rest`` are the prefixes of the lines."""
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _totals(report: DataReport) -> str:
    counts = [_total(number, name) for name, number in report.totals.items()]
    counts.append(pluralize(len(report.classes), "class", "classes"))
    return f"{report.source}: {', '.join(counts)}"


def _class_table(report: DataReport) -> list[str]:
    columns = {report.unit: report.classes, **report.columns}
    rows = [["CLASS", *(title.upper() for title in columns)]]
    rows += [
        [_short(name), *(f"{numbers.get(name, 0):,}" for numbers in columns.values())]
        for name in report.classes
    ]
    rows.append(["(sum)", *(f"{sum(numbers.values()):,}" for numbers in columns.values())])
    return align_columns(rows, right=range(1, len(columns) + 1))


def _sizes(report: DataReport) -> str:
    if not report.sizes:
        return ""
    low, middle, high = (f"{w} x {h}" for w, h in report.sizes.values())
    if low == high:
        return f"{low} pixels"
    return f"{low} to {high} pixels, median {middle}"


def _findings(report: DataReport, severities: Sequence[Severity], width: int) -> Iterator[str]:
    rows = list(report.rows(*severities))
    digits = max((len(f"{number:,}") for _, _, number in rows), default=0)
    for kind, what, number in rows:
        yield f"  {number:>{digits},}  {what}"
        indent = " " * (digits + 6)
        messages = [finding.message for finding in report.findings if finding.kind == kind]
        for message in messages:
            yield from _wrapped(message, width, indent, indent + "  ")
        if len(messages) == MAX_LISTED < number:
            yield f"{indent}... and {number - MAX_LISTED:,} more"


def _verdict(report: DataReport) -> str:
    if report.usable:
        if report.counts["convert"]:
            return "No problems found; convert the data before training (see notes)."
        return "Training accepts this data."
    if report.number("fatal"):
        return "Training rejects this data."
    if not report.usable_with_skip_invalid:
        return f"Training rejects this data: more than half is invalid, {left_out_text(report)}."
    return f"Training rejects this data; --skip-invalid would skip {left_out_text(report)}."


def left_out_text(report: DataReport) -> str:
    """Format the number of skipped entries with reasons; empty if there are none."""
    parts = [
        f"{report.left_out[name]:,} of {_total(total, name)}"
        for name, total in report.totals.items()
        if report.left_out[name]
    ]
    return (
        f"{' and '.join(parts) or 'nothing'} ({_counted(report, 'error')})"
        if report.number("error")
        else ""
    )


def _total(number: int, name: str) -> str:
    return pluralize(number, name.removesuffix("s"), name)


def _counted(report: DataReport, severity: Severity) -> str:
    return "; ".join(f"{what}: {number:,}" for _, what, number in report.rows(severity))


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 3]}..."
