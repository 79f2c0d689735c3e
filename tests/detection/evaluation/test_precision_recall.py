"""Precision-recall curves and their plot."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid_models_detection.draw import label_color
from lucid_models_detection.evaluation import (
    CocoEvaluator,
    PrecisionRecall,
    plot_precision_recall,
)


def evaluator() -> CocoEvaluator:
    """One of two cats found at IoU 0.8 after a false positive; no dogs."""
    result = CocoEvaluator(["background", "cat", "dog"])
    truth = {"boxes": [[0, 0, 10, 10], [50, 50, 60, 60]], "labels": [1, 1]}
    found = {"boxes": [[0, 0, 10, 8], [80, 80, 90, 90]], "labels": [1, 1], "scores": [0.5, 0.9]}
    result.update([found], [truth])
    return result


def test_coco_curve() -> None:
    """Precision is 1/2 at the 51 levels up to recall 1/2, then 0."""
    curves = evaluator().precision_recall()
    assert list(curves) == [1]
    np.testing.assert_allclose(curves[1].recall, np.linspace(0, 1, 101))
    np.testing.assert_allclose(curves[1].precision, [0.5] * 51 + [0.0] * 50)
    assert curves[1].average_precision == pytest.approx(51 / 202)
    assert curves[1].average_precision == evaluator().compute().map_50


def test_coco_curve_at_other_thresholds() -> None:
    assert evaluator().precision_recall(0.8)[1].precision.max() == pytest.approx(0.5)
    assert evaluator().precision_recall(0.85)[1].precision.max() == 0
    with pytest.raises(ValueError, match=r"one of COCO's 0.50, 0.55, ... 0.95, got 0.6[26]"):
        evaluator().precision_recall(0.62)


def test_updates_after_compute_count() -> None:
    whole = evaluator()
    assert whole.compute().map_50 < 0.5
    for _ in range(8):
        whole.update(
            [{"boxes": [[0, 0, 9, 9]], "labels": [2], "scores": [0.9]}],
            [{"boxes": [[0, 0, 9, 9]], "labels": [2]}],
        )
    assert whole.compute().classes[1].ap == pytest.approx(1.0)
    assert sorted(whole.precision_recall()) == [1, 2]


def curve(name: str, height: float) -> PrecisionRecall:
    return PrecisionRecall(name, np.linspace(0, 1, 9), np.full(9, height), height)


def has_color(picture: np.ndarray, label: int) -> bool:
    return bool((np.abs(picture - label_color(label)).max(axis=2) <= 12).sum() > 100)


def test_plot_uses_class_colors(tmp_path: Path) -> None:
    path = tmp_path / "curves.png"
    plot_precision_recall({1: curve("cat", 0.9), 3: curve("dog", 0.4)}, path, title="IoU 0.5")
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert has_color(picture, 1)
    assert has_color(picture, 3)
    assert not has_color(picture, 2)


def test_plot_many_classes_as_svg(tmp_path: Path) -> None:
    many = {i: curve(f"class {i}", i / 50) for i in range(1, 41)}
    plot_precision_recall(many, tmp_path / "many.svg")
    text = (tmp_path / "many.svg").read_text()
    assert "and 28 more" in text
    assert "class 40" in text, "the best are named"
    assert "<!-- class 1 " not in text


def test_plot_shows_class_names_literally(tmp_path: Path) -> None:
    names = ("_hidden", "a$^$b", "\\alpha$", "café", "кот", "line\nend")
    curves = {i: curve(name, 0.5) for i, name in enumerate(names, 1)}
    plot_precision_recall(curves, tmp_path / "odd.svg")
    text = (tmp_path / "odd.svg").read_text(encoding="utf-8")
    for name in ("_hidden", "a$^$b", "\\alpha$", "café", "кот", "line\\nend"):
        assert f"<!-- {name}  0.500 -->" in text


def test_plot_rejects_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no class has an object"):
        plot_precision_recall({}, tmp_path / "empty.png")


def test_missing_matplotlib_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install .lucid-models-detection\[plot\]"):
        plot_precision_recall({1: curve("cat", 0.9)}, tmp_path / "none.png")
