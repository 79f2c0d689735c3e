from __future__ import annotations

from pathlib import Path

import pytest

from lucid_models_detection.training import TrainingOptions
from lucid_models_detection.training.options import resolve_paths


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "optimizer: expected one of adamw, sgd, got 'lion'"),
        ({"augment": "much"}, "augment: expected one of none, flip, full, got 'much'"),
        ({"weights": "a", "backbone_weights": "b"}, "weights and backbone_weights"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"max_grad_norm": -1.0}, "max_grad_norm: .*>= 0, got -1"),
        ({"samples": -1}, "samples: .*>= 0, got -1"),
        ({"epochs": 0}, "epochs: .*>= 1, got 0"),
        ({"lr": float("nan")}, "lr: .*> 0, got nan"),
        ({"model_options": {"num_classes": 4}}, "num_classes follows from the data"),
    ],
)
def test_invalid_options_are_rejected(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainingOptions("data.json", "images", **options)


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = resolve_paths({"data": "d.json", "val": None, "model": "m", "images": Path("i")})
    assert given == {
        "data": str(tmp_path / "d.json"),
        "val": None,
        "model": "m",
        "images": str(tmp_path / "i"),
    }
