"""Training history: one row of metrics per epoch, as CSV and as a plot."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lucid.errors import MissingPackageError
from lucid.weights import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_history", "write_csv"]

#: Columns of the training loop, not available as names of losses or metrics.
PROGRESS_COLUMNS = ("epoch", "step", "seconds", "lr")

Row = Mapping[str, Any]


def columns(history: Sequence[Row]) -> list[str]:
    """Return the keys of all rows in order of first occurrence."""
    return list(dict.fromkeys(key for row in history for key in row))


def write_csv(history: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Write a CSV file with one line per epoch, atomically.

    Parameters
    ----------
    history : sequence of mapping
        Rows; missing values are left empty.
    path : path-like
        CSV file.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns(history))
    writer.writeheader()
    writer.writerows(history)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def plot_history(history: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Plot losses and metrics over epochs; the image is replaced atomically.

    Parameters
    ----------
    history : sequence of mapping
        Rows of ``Trainer.history``.
    path : path-like
        Image file; its suffix selects the format (``.png``, ``.svg``, ...), PNG without one.

    Raises
    ------
    lucid.MissingPackageError
        If matplotlib is not installed.
    ValueError
        If there is nothing to plot, or matplotlib does not support the format.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "plots need matplotlib: python -m pip install matplotlib", name="matplotlib"
        ) from error
    names = [name for name in columns(history) if name not in PROGRESS_COLUMNS]
    if not names:
        raise ValueError("expected at least one epoch with losses or metrics, got none")
    # Trainer lists the parts of the loss before their sum, "loss".
    parts = names[: names.index("loss")] if "loss" in names else []
    losses = [name for name in names if "loss" in name or name.removeprefix("val_") in parts]
    metrics = [name for name in names if name not in losses]
    panels = [(title, group) for title, group in (("loss", losses), ("", metrics)) if group]
    figure = Figure(figsize=(6.2 * len(panels), 3.8), layout="constrained")
    for axes, (title, group) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        _draw(axes, history, group, title)
    form = Path(path).suffix.removeprefix(".") or "png"
    with atomic_write(path) as file:
        figure.savefig(file, format=form, dpi=120)


def _draw(axes: Axes, history: Sequence[Row], names: Sequence[str], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    colors: dict[str, str] = {}
    for name in names:
        rows = [row for row in history if math.isfinite(row.get(name, math.nan))]
        # Validation is dashed, in the color of the training curve.
        base = name.removeprefix("val_")
        axes.plot(
            [row["epoch"] for row in rows],
            [row[name] for row in rows],
            "-" if name == base else "--",
            label=name,
            color=colors.setdefault(base, f"C{len(colors)}"),
            linewidth=2.2 if base == "loss" else 1.4,
            marker="o",
            markersize=3,
        )
    axes.set_xlabel("epoch")
    axes.set_title(title or ", ".join(names[:3]), fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the axes: a legend of ten losses would cover the curves.
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
