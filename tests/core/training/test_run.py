"""Runs of a task that is independent of the plugins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader, TensorDataset
from lucid.data.report import DataReport
from lucid.models import create_model
from lucid.nn import functional as F
from lucid.optim import SGD
from lucid.training import (
    Callback,
    Communicator,
    InitialModel,
    Run,
    RunFolder,
    Task,
    Trainer,
    TrainerSetup,
    load_checkpoint,
)
from lucid.training.run_folder import RUN_JSON


@dataclass(frozen=True)
class LineOptions:
    points: str
    first: str | None = None
    epochs: int = 2
    seed: int = 0


class Points:
    """Pairs of numbers in a text file."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.pairs = np.loadtxt(path, dtype=np.float32, ndmin=2)
        self.summary = f"{len(self.pairs)} points"
        self.reports = (DataReport(path, unit="points"),)
        self.folders: dict[str, Any] = {"points": ([self.path], self.path.parent)}


class Line(Task[LineOptions, Points]):
    """Fit a line to points; records every step in ``steps``."""

    options = LineOptions
    data_options = ("points",)
    start_files = ("first",)
    metadata_keys = ("scale",)
    logged = ("loss", "distance")

    def __init__(self) -> None:
        self.checked_packages = 0

    def check_packages(self) -> None:
        self.checked_packages += 1

    def files(self, options: LineOptions) -> dict[str, str | None]:
        return {"points": options.points}

    def read_data(self, options: LineOptions, communicator: Communicator, check: bool) -> Points:
        return communicator.call_on_main(lambda: Points(options.points))

    def build_model(self, options: LineOptions, data: Points) -> InitialModel:
        model = create_model("toy_net", width=1)
        note = None
        if options.first is not None:
            model.load_state_dict(lucid.load(options.first))
            note = "weights of another"
        return InitialModel(model, {"scale": float(np.abs(data.pairs).max())}, note)

    def make_trainer(self, setup: TrainerSetup[LineOptions], data: Points) -> Trainer:
        scale = setup.metadata["scale"]
        x = np.stack([data.pairs[:, 0] / scale, np.ones(len(data.pairs), np.float32)], axis=1)
        dataset = TensorDataset(x, data.pairs[:, 1:] / scale)
        model = setup.model

        def distance(model: Any) -> dict[str, float]:
            return {"distance": float(F.mse_loss(model(lucid.tensor(x)), dataset.arrays[1]).item())}

        return Trainer(
            model,
            SGD(model.parameters(), lr=0.1, momentum=0.9),
            DataLoader(dataset, 2, shuffle=True, seed=setup.options.seed, workers=setup.workers),
            lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
            epochs=setup.options.epochs,
            validate=distance,
            monitor="distance",
            mode="min",
            directory=setup.folder.path,
            communicator=setup.communicator,
        )

    def compare_unrecorded(
        self, folder: RunFolder, options: LineOptions, record: Mapping[str, Any], data: Points
    ) -> None:
        raise ValueError("nothing is known of its data")


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, losses: Mapping[str, float]) -> None:
        if trainer.step == self.step:
            trainer.stop()


@pytest.fixture
def points(environment: Any, tmp_path: Path) -> Path:
    environment.add("toy", "toy_net")
    path = tmp_path / "points.txt"
    path.write_text("0 1\n1 3\n2 5\n3 7\n4 9\n")
    return path


def test_run_from_start_to_end(points: Path, tmp_path: Path) -> None:
    task, logged = Line(), []
    run = Run.start(task, tmp_path / "run", LineOptions(str(points), epochs=30))
    assert run.introduction[-1] == "toy_net: 5 points"
    assert task.checked_packages == 1
    best = run.fit(logged.append)
    assert best == run.trainer.best < 0.05
    assert len(logged) == 30
    assert "distance" in logged[0]
    assert "loss" in logged[0]
    written = json.loads((tmp_path / "run" / RUN_JSON).read_text())
    assert (written["model"], written["kwargs"], written["scale"]) == ("toy_net", {"width": 1}, 9)
    assert lucid.load_model(run.folder.best).model_name == "toy_net"


def test_interrupted_run_ends_as_an_uninterrupted_one(points: Path, tmp_path: Path) -> None:
    whole = Run.start(Line(), tmp_path / "whole", LineOptions(str(points)))
    whole.fit()
    half = Run.start(Line(), tmp_path / "half", LineOptions(str(points)))
    half.fit(callbacks=[StopAt(2)])
    assert load_checkpoint(half.folder.last)["step"] == 2
    rest = Run.resume(Line(), tmp_path / "half", {})
    rest.fit(callbacks=[StopAt(-1)])
    for run in (whole, rest):
        assert run.trainer.step == 6
    for key, value in whole.trainer.model.state_dict().items():
        np.testing.assert_array_equal(rest.trainer.model.state_dict()[key].numpy(), value.numpy())


def test_resume_rejects_other_data_but_not_moved_data(points: Path, tmp_path: Path) -> None:
    Run.start(Line(), tmp_path / "run", LineOptions(str(points)))
    moved = points.rename(points.with_name("elsewhere.txt"))
    with pytest.raises(ValueError, match=r"points\.txt: does not exist.*--points"):
        Run.resume(Line(), tmp_path / "run", {})
    moved.write_text(moved.read_text() + "5 11\n")
    with pytest.raises(ValueError, match="points is another file"):
        Run.resume(Line(), tmp_path / "run", {"points": str(moved)})


def test_resume_rejects_changed_options(points: Path, tmp_path: Path) -> None:
    Run.start(Line(), tmp_path / "run", LineOptions(str(points), epochs=3))
    with pytest.raises(ValueError, match="started with epochs 3, got 4"):
        Run.resume(Line(), tmp_path / "run", {"epochs": 4})
    assert Run.resume(Line(), tmp_path / "run", {"epochs": 3}).options.epochs == 3


def test_run_without_fingerprint_is_compared_by_the_task(points: Path, tmp_path: Path) -> None:
    Run.start(Line(), tmp_path / "run", LineOptions(str(points)))
    path = tmp_path / "run" / RUN_JSON
    record = json.loads(path.read_text())
    del record["data"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="nothing is known of its data"):
        Run.resume(Line(), tmp_path / "run", {})


def test_initial_weights_are_saved_before_the_first_step(points: Path, tmp_path: Path) -> None:
    model = create_model("toy_net", width=1)
    lucid.save(model.state_dict(), tmp_path / "first.safetensors")
    options = LineOptions(str(points), first=str(tmp_path / "first.safetensors"))
    run = Run.start(Line(), tmp_path / "run", options)
    assert run.summary == "toy_net: 5 points\nweights of another"
    run.fit(callbacks=[StopAt(1)])
    (tmp_path / "first.safetensors").unlink()
    assert Run.resume(Line(), tmp_path / "run", {}).options == options


def test_failed_start_releases_the_folder(points: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Run.start(Line(), tmp_path / "run", LineOptions(str(tmp_path / "absent.txt")))
    Run.start(Line(), tmp_path / "run", LineOptions(str(points)))


def test_output_in_the_data_is_rejected(points: Path) -> None:
    with pytest.raises(ValueError, match="--points"):
        Run.start(Line(), points, LineOptions(str(points)))
