from __future__ import annotations

from pathlib import Path

import pytest

from lucid.cli.training import best_line


@pytest.mark.parametrize(
    ("best", "line"),
    [
        (0.51239, "best mAP 0.5124: BEST"),
        (
            0.0,
            "best mAP 0.0000: BEST (from the first epoch: mAP was never above 0; "
            "train longer or check the boxes)",
        ),
        (None, "no best mAP, it was NaN after every epoch; BEST was not written"),
    ],
)
def test_best_line(best: float | None, line: str, tmp_path: Path) -> None:
    weights = tmp_path / "best"
    weights.touch()
    assert best_line("mAP", best, weights, "the boxes") == line.replace("BEST", str(weights))


def test_missing_best_model(tmp_path: Path) -> None:
    assert "best mAP 0.5000: " in (line := best_line("mAP", 0.5, tmp_path / "best", "x"))
    assert "removed or moved" in line
