from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from lucid.training import plot_history, write_csv

HISTORY = [
    {"epoch": 1, "step": 4, "seconds": 1.0, "lr": 0.1, "loss_a": 2.0, "loss": 3.0},
    {"epoch": 2, "step": 8, "seconds": 1.0, "lr": 0.1, "loss_a": 1.0, "loss": 2.0, "mAP, all": 0.5},
]


def test_csv_has_a_column_for_every_name(tmp_path):
    write_csv(HISTORY, tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        'epoch,step,seconds,lr,loss_a,loss,"mAP, all"',
        "1,4,1.0,0.1,2.0,3.0,",
        "2,8,1.0,0.1,1.0,2.0,0.5",
    ]


@pytest.mark.slow
def test_plot_shows_losses_and_metrics(tmp_path):
    from PIL import Image

    plot_history(HISTORY, tmp_path / "both.png")
    plot_history(HISTORY[:1], tmp_path / "losses.png")
    both, losses = (
        np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("both.png", "losses.png")
    )
    assert both.shape[1] == 2 * losses.shape[1]
    assert losses.std() > 0


@pytest.mark.slow
def test_parts_of_the_loss_are_plotted_as_losses(tmp_path):
    from PIL import Image

    named = {"epoch": 1, "classification": 2.0, "loss": 2.0, "val_classification": 1.0}
    rows = {"loss": {"epoch": 1, "loss": 2.0}, "parts": named, "both": {**named, "mAP": 0.5}}
    widths = {}
    for name, row in rows.items():
        plot_history([row], tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            widths[name] = image.width
    assert widths["parts"] == widths["loss"]
    assert widths["both"] == 2 * widths["loss"]


@pytest.mark.slow
def test_suffix_selects_the_format(tmp_path):
    starts = {"a.svg": b"<?xml", "a.PNG": b"\x89PNG", "a": b"\x89PNG", "a.pdf": b"%PDF"}
    for name, start in starts.items():
        plot_history(HISTORY, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)


def test_failed_plot_keeps_the_previous_image(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    path = tmp_path / "training.png"
    plot_history(HISTORY, path)
    before = path.read_bytes()

    def broken_off(self, file, **options):
        if isinstance(file, str | os.PathLike):
            Path(file).write_bytes(b"half a picture")
        else:
            file.write(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", broken_off)
    with pytest.raises(KeyboardInterrupt):
        plot_history(HISTORY, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["training.png"]


def test_unknown_format_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="'txt' is not supported"):
        plot_history(HISTORY, tmp_path / "training.txt")
    assert list(tmp_path.iterdir()) == []


def test_empty_history_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="at least one epoch"):
        plot_history([], tmp_path / "empty.png")


def test_missing_matplotlib_error_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="python -m pip install matplotlib"):
        plot_history(HISTORY, tmp_path / "none.png")


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_values_are_gaps(tmp_path, value):
    history = [*HISTORY, {**HISTORY[1], "epoch": 3, "loss": value, "mAP, all": value}]
    plot_history(history, tmp_path / "a.png")
    plot_history([{**HISTORY[1], "loss": value}], tmp_path / "b.png")
    write_csv(history, tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_text().splitlines()[-1].endswith(f"{value},{value}")
