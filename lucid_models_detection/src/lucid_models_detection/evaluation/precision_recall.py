"""Precision-recall curves and their plot."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid import MissingPackageError

__all__ = ["PrecisionRecall", "plot_precision_recall"]

#: Maximum number of classes in the legend; the classes of highest AP are listed.
MAX_LEGEND = 12


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision-recall curve of a class.

    Attributes
    ----------
    name : str
        Name of the class.
    recall, precision : (P,) array of float
        Points of the curve, by increasing recall.
    average_precision : float
        Average precision of the class, in [0, 1].
    """

    name: str
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    average_precision: float


def import_matplotlib_figure() -> Any:
    """Import matplotlib's ``Figure``; MissingPackageError if it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            'plots need matplotlib: pip install "lucid-models-detection[plot]" '
            "(or: pip install matplotlib)",
            name="matplotlib",
        ) from error
    return Figure


def plot_precision_recall(
    curves: Mapping[int, PrecisionRecall], path: str | os.PathLike[str], title: str = ""
) -> None:
    """Plot the precision-recall curves of all classes to an image file.

    Parameters
    ----------
    curves : mapping of int to PrecisionRecall
        Curves by label, as returned by ``evaluator.precision_recall()``.  Colors are those of
        :func:`lucid_models_detection.draw.draw_boxes`.
    path : path-like
        Output file; the suffix selects the format (``.png``, ``.svg``, ...).
    title : str, optional
        Title of the plot.

    Raises
    ------
    lucid.MissingPackageError
        If matplotlib is not installed.
    ValueError
        If ``curves`` is empty.
    """
    figure_class = import_matplotlib_figure()
    from lucid_models_detection.draw import label_color

    if not curves:
        raise ValueError("curves: expected at least one curve, got none: no class has an object")
    figure = figure_class(figsize=(5.8, 4.4), layout="constrained")
    axes = figure.subplots()
    best_first = sorted(curves.items(), key=lambda item: -item[1].average_precision)
    for rank, (label, curve) in enumerate(best_first):
        axes.plot(
            curve.recall,
            curve.precision,
            color=tuple(value / 255 for value in label_color(label)),
            linewidth=1.6,
            # matplotlib omits labels that start with an underscore from the legend.
            label=f" {curve.name}  {curve.average_precision:.3f}" if rank < MAX_LEGEND else None,
        )
    if len(curves) > MAX_LEGEND:
        axes.plot([], [], alpha=0, label=f"and {len(curves) - MAX_LEGEND} more")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(
        frameon=False, fontsize=8, title="AP", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    for text in legend.get_texts():
        _set_literal_text(text)
    figure.savefig(path, dpi=120)


def _set_literal_text(text: Any) -> None:
    """Show a class name literally: no math text, and a font that has its characters."""
    from lucid_models_detection.fonts import choose_font

    text.set_parse_math(False)
    shown, font = choose_font(text.get_text().strip(), 12)
    text.set_text(shown)
    if isinstance(path := getattr(font, "path", None), str):
        size = text.get_fontsize()
        text.set_fontproperties({"fname": path})
        text.set_fontsize(size)
