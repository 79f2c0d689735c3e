"""Charts of ratios, in a light and a dark version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.report import LABELS, Row

#: Colors of text and grid.
THEMES = {"light": ("#1f2328", "#d4d8dd"), "dark": ("#d6d9dc", "#3d444d")}
#: Distinguishable by color-blind readers and on both backgrounds; the marker shape repeats it.
_MARKS = {
    "onnxruntime": ("#2f8fd0", "o"),
    "pytorch": ("#e0601f", "s"),
    "pytorch_channels_last": ("#d9a520", "D"),
    "numpy": ("#1a9e77", "^"),
}


def draw(rows: Sequence[Row], path: Path, theme: str) -> None:
    """Draw one line per row: median ratio, range, and the target as a bar."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    ink, grid = THEMES[theme]
    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "lucid",  # the same file from the same numbers
        "font.size": 9,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": grid,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(9, 1.1 + 0.27 * len(rows)))
        _draw_rows(axes, rows, ink)
        axes.axvline(1, color=ink, linewidth=1)
        axes.set_xlim(0, _reach(rows))
        axes.set_xlabel("Time of Lucid divided by the time of the other (below 1: Lucid is faster)")
        axes.grid(axis="x", color=grid, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.3, 1), ncols=5, frameon=False, handletextpad=0.3
        )
        figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)


def _reach(rows: Sequence[Row]) -> float:
    """Upper limit of the axis; a single slow round is cut off."""
    shown = [max(row.ratio[0], row.at_most or 0) for row in rows]
    return 1.05 * max(1.15, *shown, min(2.0, max(row.ratio[2] for row in rows)))


def _draw_rows(axes: Any, rows: Sequence[Row], ink: str) -> None:
    named: set[str] = set()

    def once(name: str) -> str | None:
        if name in named:
            return None  # in the legend already
        named.add(name)
        return name

    labels, previous = [], None
    for y, row in enumerate(rows):
        color, marker = _MARKS[row.peer]
        middle, low, high = row.ratio
        point = {"linestyle": "", "marker": marker, "color": color, "markersize": 6}
        limit = {"linestyle": "", "marker": "|", "color": ink, "markersize": 11}
        axes.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.45)
        axes.plot(middle, y, label=once(LABELS[row.peer]), **point)
        if row.at_most is not None:
            axes.plot(row.at_most, y, markeredgewidth=2, label=once("target"), **limit)
        labels.append("" if row.case == previous else row.case)
        previous = row.case
    axes.set_yticks(range(len(rows)), labels)
    axes.set_ylim(len(rows) - 0.4, -0.6)
