"""Precision over recall, and its picture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid import MissingPackageError

__all__ = ["PrecisionRecall", "plot_precision_recall"]

#: Curves that a legend names; of more classes it names those of the best, and counts the rest.
NAMED = 12


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """How precision falls as more of the objects of a class are found.

    Attributes
    ----------
    name : str
        Of the class.
    recall, precision : (P,) array of float
        Points of the curve by increasing recall.
    average_precision : float
        The measure that belongs to it.
    """

    name: str
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    average_precision: float


def import_figure() -> Any:
    """Import matplotlib's ``Figure``, or say how to install it."""
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
    """Draw the curves of all classes into one picture.

    Parameters
    ----------
    curves : mapping of int to PrecisionRecall
        By label, as ``evaluator.precision_recall()`` gives them.  Each class has the
        color that :func:`lucid_models_detection.draw.draw_boxes` gives its boxes.
    path : path-like
        The picture; its suffix decides the format (``.png``, ``.svg``, ...).
    title : str, optional
        Written above.

    Raises
    ------
    lucid.MissingPackageError
        If matplotlib is not installed.
    ValueError
        If there is no curve.
    """
    figure_class = import_figure()
    from lucid_models_detection.draw import label_color

    if not curves:
        raise ValueError("there is no curve to draw: no class has an object")
    figure = figure_class(figsize=(5.8, 4.4), layout="constrained")
    axes = figure.subplots()
    best_first = sorted(curves.items(), key=lambda item: -item[1].average_precision)
    for place, (label, curve) in enumerate(best_first):
        axes.plot(
            curve.recall,
            curve.precision,
            color=tuple(value / 255 for value in label_color(label)),
            linewidth=1.6,
            # matplotlib leaves names that begin with an underscore out of the legend.
            label=f" {curve.name}  {curve.average_precision:.3f}" if place < NAMED else None,
        )
    if len(curves) > NAMED:
        axes.plot([], [], alpha=0, label=f"and {len(curves) - NAMED} more")
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03), xlabel="recall", ylabel="precision", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    legend = axes.legend(
        frameon=False, fontsize=8, title="AP", loc="center left", bbox_to_anchor=(1, 0.5)
    )
    for text in legend.get_texts():
        _show_as_it_is(text)
    figure.savefig(path, dpi=120)


def _show_as_it_is(text: Any) -> None:
    """Let a text of matplotlib show a class name: no formulas, a font with its letters."""
    from lucid_models_detection.fonts import drawable

    text.set_parse_math(False)
    shown, font = drawable(text.get_text().strip(), 12)
    text.set_text(shown)
    if isinstance(path := getattr(font, "path", None), str):
        size = text.get_fontsize()
        text.set_fontproperties({"fname": path})
        text.set_fontsize(size)
