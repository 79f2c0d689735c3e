from __future__ import annotations

from pathlib import Path

import pytest

from lucid.cli.training import best_line


@pytest.mark.parametrize(
    ("best", "line"),
    [
        (0.51239, "best mAP 0.5124: run/best"),
        (
            0.0,
            "best mAP 0.0000: run/best (the model of the first epoch, as mAP was never above 0; "
            "train for longer, or check the annotations)",
        ),
        (None, "no best mAP, it was NaN after every epoch; run/best was not written"),
    ],
)
def test_the_last_line_of_a_training(best: float | None, line: str) -> None:
    assert best_line("mAP", best, Path("run/best")) == line
