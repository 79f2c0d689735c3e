from __future__ import annotations

import sys

import numpy as np
import pytest

from lucid.training import plot_history, write_csv

HISTORY = [
    {"epoch": 1, "step": 4, "seconds": 1.0, "lr": 0.1, "loss_a": 2.0, "loss": 3.0},
    {"epoch": 2, "step": 8, "seconds": 1.0, "lr": 0.1, "loss_a": 1.0, "loss": 2.0, "mAP, all": 0.5},
]


def test_the_log_has_a_column_for_every_name(tmp_path):
    write_csv(HISTORY, tmp_path / "metrics.csv")
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        'epoch,step,seconds,lr,loss_a,loss,"mAP, all"',
        "1,4,1.0,0.1,2.0,3.0,",
        "2,8,1.0,0.1,1.0,2.0,0.5",
    ]


def test_the_picture_shows_losses_and_metrics(tmp_path):
    from PIL import Image

    plot_history(HISTORY, tmp_path / "both.png")
    plot_history(HISTORY[:1], tmp_path / "losses.png")
    both, losses = (
        np.asarray(Image.open(tmp_path / name).convert("L")) for name in ("both.png", "losses.png")
    )
    assert both.shape[1] == 2 * losses.shape[1]
    assert losses.std() > 0


def test_nothing_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="no epoch to draw"):
        plot_history([], tmp_path / "empty.png")


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="python -m pip install matplotlib"):
        plot_history(HISTORY, tmp_path / "none.png")
