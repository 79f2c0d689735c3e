"""Ratios of times, and tables of ratios."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.cases import Case
from harness.measure import BASELINE, Times, median_seconds, seconds_of

LABELS = {
    "lucid": "Lucid",
    "pytorch": "PyTorch",
    "pytorch_channels_last": "PyTorch, channels last",
    "onnxruntime": "ONNX Runtime",
    "numpy": "import numpy",
}


@dataclass(frozen=True)
class Row:
    """Comparison of Lucid with one peer.

    Attributes
    ----------
    seconds, peer_seconds
        Medians.
    ratio
        Lucid's time divided by the peer's in the same round: median, minimum, maximum.
    at_most, peak_at_most
        Targets of the median time ratio and of the peak memory ratio.
    peak
        Lucid's peak memory divided by the peer's; None if not measured.
    without
        Whether the time in NMS and RoIAlign is subtracted on both sides.
    """

    case: str
    peer: str
    seconds: float
    peer_seconds: float
    ratio: tuple[float, float, float]
    at_most: float | None
    peak: float | None
    peak_at_most: float | None
    without: bool

    @property
    def checks(self) -> dict[str, bool]:
        """Whether each target is met, by quantity."""
        limits = {"time": (self.ratio[0], self.at_most), "memory": (self.peak, self.peak_at_most)}
        return {
            name: value <= limit
            for name, (value, limit) in limits.items()
            if value is not None and limit is not None
        }

    @property
    def verdict(self) -> str:
        missed = [name for name, holds in self.checks.items() if not holds]
        if missed:
            return f"missed: {', '.join(missed)}"
        return "met" if self.checks else ""


def rows_of(case: Case, times: Times) -> list[Row]:
    """One row per peer; none if Lucid was not timed."""
    if BASELINE not in times:
        return []
    ours = times[BASELINE]
    rows = []
    for peer, theirs in times.items():
        if peer == BASELINE:
            continue
        without = peer in case.without
        pairs = zip(
            seconds_of(ours, without_apart=without),
            seconds_of(theirs, without_apart=without),
            strict=True,
        )
        ratios = [a / b for a, b in pairs]
        peak = None
        if ours["peak_bytes"] and theirs["peak_bytes"]:
            peak = ours["peak_bytes"] / theirs["peak_bytes"]
        rows.append(
            Row(
                case.name,
                peer,
                median_seconds(ours, without_apart=without),
                median_seconds(theirs, without_apart=without),
                (statistics.median(ratios), min(ratios), max(ratios)),
                case.at_most.get(peer),
                peak,
                case.peak.get(peer),
                without,
            )
        )
    return rows


def all_rows(cases: Mapping[str, Case], results: Mapping[str, Times]) -> list[Row]:
    return [row for name, times in results.items() for row in rows_of(cases[name], times)]


def label(row: Row) -> str:
    name = LABELS.get(row.peer, row.peer)
    return f"{name}, without NMS and RoIAlign" if row.without else name


def time_text(seconds: float) -> str:
    """Format seconds with three digits and a suitable unit."""
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.{1 if seconds < 0.0995 else 0}f} ms"


def limit_text(limit: float | None) -> str:
    return "" if limit is None else f"{limit:.2f}"


def cells(row: Row) -> tuple[str, ...]:
    middle, low, high = row.ratio
    return (
        row.case,
        label(row),
        time_text(row.seconds),
        time_text(row.peer_seconds),
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        limit_text(row.at_most),
        limit_text(row.peak),
        limit_text(row.peak_at_most),
        row.verdict,
    )


HEADER = (
    "case",
    "compared with",
    "Lucid",
    "peer",
    "time (range)",
    "target",
    "memory",
    "target",
    "",
)


def table(rows: Sequence[Row]) -> str:
    """Format rows as aligned text, with the name of a case only once."""
    lines, previous = [HEADER], None
    for row in rows:
        name, *others = cells(row)
        lines.append(("" if name == previous else name, *others))
        previous = name
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    text = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
    return "\n".join(line.rstrip() for line in text)


def summary(rows: Sequence[Row]) -> str:
    """Count met targets, with time and memory separately."""
    checks = [holds for row in rows for holds in row.checks.values()]
    return f"{sum(checks)} of {len(checks)} targets met"


def environment_text(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {report['threads']} threads each, "
        f"load average {machine['load_average'][0]:.2f} before the start"
    )
