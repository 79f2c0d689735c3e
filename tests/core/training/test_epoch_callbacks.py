from __future__ import annotations

import importlib.util
from types import SimpleNamespace

from lucid.training import LogEpochs, PlotEpochs

ROW = {"epoch": 2, "step": 8, "seconds": 1.25, "lr": 0.1, "loss_a": 2.0, "loss": 3.0, "mAP": 0.5}
TRAINER = SimpleNamespace(epochs=9, history=[ROW])


def test_log_epochs_logs_one_line():
    lines: list[str] = []
    LogEpochs(lines.append).on_epoch(TRAINER, ROW)
    LogEpochs(lines.append, ("loss", "mAP")).on_epoch(TRAINER, ROW)
    assert lines == [
        "epoch 2/9  loss_a 2.0000  loss 3.0000  mAP 0.5000  1.2 s",
        "epoch 2/9  loss 3.0000  mAP 0.5000  1.2 s",
    ]


def test_plot_epochs_writes_an_image(tmp_path, monkeypatch):
    PlotEpochs(tmp_path / "training.png").on_epoch(TRAINER, ROW)
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    without = PlotEpochs(tmp_path / "none.png")
    without.on_epoch(TRAINER, ROW)
    assert not without.available
    assert not without.path.exists()
