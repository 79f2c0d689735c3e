"""Runs of an external classifier and detector: interrupted, killed, distributed, fine-tuned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside_families import Lantern, Pebble, class_folders, coco, install
from threaded_ranks import on_ranks

import lucid
from lucid import nn
from lucid.cli.entry_point import run as command_line
from lucid.models import create_model, register_model
from lucid.training import Callback, Communicator, Run, Trainer, load_checkpoint
from lucid_models_classification.training import ClassifierOptions, ClassifierTask
from lucid_models_detection import train_detector
from lucid_models_detection.training.options import TrainingOptions
from lucid_models_detection.training.task import DetectorTask

Command = Callable[..., str]

KINDS = ("classifier", "detector")


def options_of(kind: str, folder: Path) -> dict[str, Any]:
    """Return the options of a run of two epochs; create the data if missing."""
    if kind == "classifier":
        if not (data := folder / "classes").exists():
            class_folders(data, "amber", "blue")
        return {"data": str(data), "model": "pebble", "epochs": 2, "batch_size": 4,
                "image_size": 16, "lr": 0.05}  # fmt: skip
    if not (data := folder / "scenes" / "data.json").exists():
        coco(data.parent, "amber", "blue")
    return {"data": str(data), "images": str(data.parent), "model": "lantern", "epochs": 2,
            "batch_size": 2, "samples": 1, "val_fraction": 0.34, "augment": "none"}  # fmt: skip


def start(
    kind: str, folder: Path, output: str, ranks: Communicator | None = None, **more: Any
) -> Run[Any]:
    options = {**options_of(kind, folder), **more}
    if kind == "classifier":
        return Run.start(
            ClassifierTask(), folder / output, ClassifierOptions(**options), communicator=ranks
        )
    return Run.start(
        DetectorTask(), folder / output, TrainingOptions(**options), communicator=ranks
    )


def arguments_of(kind: str, folder: Path, output: str, **more: Any) -> list[str]:
    """Return the same run as a command."""
    given = [f"train-{kind}", "--output", str(folder / output)]
    for name, value in {**options_of(kind, folder), **more}.items():
        given += [f"--{name.replace('_', '-')}", str(value)]
    return given


def outcome(folder: Path) -> Any:
    """Return the contents of the last checkpoint, without times."""
    return plain(load_checkpoint(folder / "last.safetensors"))


def plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != "seconds"}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node.numpy().tobytes() if isinstance(node, lucid.Tensor) else node


class StopAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: Trainer, losses: Mapping[str, float]) -> None:
        if trainer.step == self.step:
            trainer.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_run_stopped_within_an_epoch_resumes_bit_for_bit(
    call: Command, tmp_path: Path, kind: str
) -> None:
    call(*arguments_of(kind, tmp_path, "whole"))
    half = start(kind, tmp_path, "half")
    half.fit(callbacks=[StopAt(1)])
    assert load_checkpoint(half.folder.last)["batch"] == 1 < len(half.trainer.loader)
    out = call(f"train-{kind}", "--output", half.folder.path, "--resume")
    assert "epoch 2/2" in out
    assert outcome(half.folder.path) == outcome(tmp_path / "whole")


class Fading:
    """Stateful transform: each training image is darker than the previous one."""

    def __init__(self) -> None:
        self.light = 1.0

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        self.light *= 0.97
        return image * np.float32(self.light), target

    def state_dict(self) -> dict[str, Any]:
        return {"light": self.light}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.light = state["light"]


def test_stateful_transform_resumes_bit_for_bit(families: None, tmp_path: Path) -> None:
    options = options_of("detector", tmp_path)

    def train(output: str, *callbacks: Callback, resume: bool = False) -> Fading:
        fading = Fading()
        given = {name: options[name] for name in ("data", "images")} if resume else options
        train_detector(
            **given, output=tmp_path / output, transform=fading, callbacks=callbacks,
            checkpointables={"fading": fading}, resume=resume, log=None,
        )  # fmt: skip
        return fading

    whole = train("whole")
    half = train("half", StopAt(1))
    assert load_checkpoint(tmp_path / "half" / "last.safetensors")["fading"] == {
        "light": half.light
    }
    assert train("half", resume=True).light == whole.light == pytest.approx(0.97**8)
    assert outcome(tmp_path / "half") == outcome(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_killed_run_of_a_plugin_model_resumes_bit_for_bit(
    families: None, tmp_path: Path, kind: str
) -> None:
    assert command_line(arguments_of(kind, tmp_path, "whole")) == 0
    paths = [str(install(tmp_path / "site")), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    state = tmp_path / "killed" / "last.safetensors"

    def begin(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lucid.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    program = begin(*arguments_of(kind, tmp_path, "killed"))
    try:
        end = time.monotonic() + 300
        while not state.exists():
            assert program.poll() is None, program.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
    finally:
        program.kill()
        program.communicate(timeout=60)
    assert program.returncode == -signal.SIGKILL
    program = begin(f"train-{kind}", "--output", state.parent, "--resume", "--workers", 1)
    out, err = program.communicate(timeout=300)
    assert (program.returncode, err) == (0, "")
    assert "epoch 2/2" in out
    assert outcome(state.parent) == outcome(tmp_path / "whole")


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_train_like_one_process(families: None, tmp_path: Path, kind: str) -> None:
    names = ("amber", "blue") if kind == "classifier" else ("background", "amber", "blue")
    model = create_model("pebble" if kind == "classifier" else "lantern", num_classes=len(names))
    # Weights of a file, as threads share the random numbers of fresh ones.
    lucid.save_model(model, tmp_path / "first.safetensors", class_names=names)
    options = {"weights": str(tmp_path / "first.safetensors"), "synchronize_norms": True}

    def trained(ranks: Communicator | None) -> tuple[list[dict[str, Any]], Any]:
        run = start(kind, tmp_path, "one" if ranks is None else "two", ranks, **options)
        run.fit()
        return run.trainer.history, plain(run.trainer.model.state_dict())

    if kind == "classifier":  # crops and flips share the random state of the threads
        class_folders(tmp_path / "classes", "amber", "blue", noise=0)
    options_of(kind, tmp_path)
    (history, _), ((first, weights), (second, others)) = trained(None), on_ranks(2, trained)
    assert weights == others
    for row, *rows in zip(history, first, second, strict=True):
        for name in row.keys() - {"seconds"}:
            assert rows[0][name] == rows[1][name]
            np.testing.assert_allclose(rows[0][name], row[name], rtol=1e-3, atol=1e-4)


def test_frozen_stages_and_learning_rates_of_groups(families: None, tmp_path: Path) -> None:
    net = create_model("pebble", num_classes=7)
    path = tmp_path / "net.safetensors"
    lucid.save_model(net, path)
    options = {"backbone_weights": str(path), "frozen_stages": 1, "schedule": "constant"}
    run = start("detector", tmp_path, "run", **options, lr=1e-2, backbone_lr=1e-6, warm_up=0)
    model, groups = run.trainer.model, run.trainer.optimizer.param_groups
    assert [group["lr"] for group in groups] == [1e-2, 1e-6]
    names = {id(value): name for name, value in model.named_parameters()}
    held = [{names[id(value)] for value in group["params"]} for group in groups]
    assert held == [
        {"glow.weight", "glow.bias", "reach.weight", "reach.bias"},
        {
            f"backbone.net.{name}"
            for name in ("reef.conv.weight", "reef.norm.weight", "reef.norm.bias",
                         "verdict.weight", "verdict.bias")
        },
    ]  # fmt: skip
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    run.fit()
    after = {name: value.numpy() for name, value in model.state_dict().items()}
    moved = {name: float(np.abs(after[name] - before[name]).max()) for name in before}
    for name, value in net.state_dict().items():
        if name.startswith("shore."):
            np.testing.assert_array_equal(after[f"backbone.net.{name}"], value.numpy())
    assert 0 < moved["backbone.net.reef.conv.weight"] < 1e-4
    assert moved["glow.weight"] > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--frozen-stages", 3), "expected 0 to 2, the number of stages of the backbone, a Pebble"),
        (("--model-option", "hidden_dim=8"), "hidden_dim"),
        (("--backbone-weights", "absent.safetensors"), "absent.safetensors"),
    ],
)
def test_unsupported_detector_options_are_rejected(
    families: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], options, message: str
) -> None:
    arguments = [*arguments_of("detector", tmp_path, "run"), *map(str, options)]
    assert command_line(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_remedy_for_batches_of_one_image(
    families: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Pairs(Lantern):
        """Needs two images, as batch normalization of one value per channel does."""

        def compute_losses(self, features: Any, batch: Any, targets: Any) -> Any:
            raise ValueError("one value per channel")

    @register_model(task="object-detection")
    def pairs(num_classes: int = 3) -> Pairs:
        return Pairs(num_classes, Pebble(4))

    arguments = arguments_of("detector", tmp_path, "run", batch_size=1, model="pairs")
    assert command_line(arguments) == 2
    err = capsys.readouterr().err
    assert "one value per channel, for " in err
    assert err.endswith(" of 64 x 48 pixels); pass another --batch-size\n")


@pytest.mark.parametrize("headless", [False, True])
def test_state_dict_starts_a_backbone(call: Command, tmp_path: Path, headless: bool) -> None:
    net = create_model("pebble", num_classes=4)
    path = tmp_path / "net.safetensors"
    state = net.state_dict()
    lucid.save({k: v for k, v in state.items() if not (headless and "verdict" in k)}, path)
    call(*arguments_of("detector", tmp_path, "run"), "--backbone-weights", path,
         "--frozen-stages", 2, "--optimizer", "sgd", "--accumulate", 2)  # fmt: skip
    after = lucid.load(tmp_path / "run" / "best.safetensors")
    for name, value in state.items():
        if "verdict" not in name:
            np.testing.assert_array_equal(after[f"backbone.net.{name}"].numpy(), value.numpy())


@pytest.fixture
def detector(families: None, tmp_path: Path) -> Path:
    """Save a detector with class names that returns detections for all images."""
    lucid.random.seed(0)
    model = create_model("lantern", num_classes=3)
    model.score_threshold = 0.0
    lucid.save_model(
        model, path := tmp_path / "lantern.safetensors",
        class_names=("background", "amber", "blue"),
    )  # fmt: skip
    return path


def test_detector_is_evaluated_and_drawn_in_batches(
    call: Command, detector: Path, tmp_path: Path
) -> None:
    data = coco(tmp_path / "scenes", "amber", "blue")
    images = ("--images", data.parent)
    reports, results = [], []
    for size in (1, 4):
        output = tmp_path / f"results{size}.json"
        reports.append(
            json.loads(call("evaluate", "--weights", detector, "--data", data, *images, "--json",
                            "--batch-size", size, "--output", output))
        )  # fmt: skip
        results.append(json.loads(output.read_text()))
    assert (reports[0]["images"], [c["name"] for c in reports[0]["classes"]]) == (
        6,
        ["amber", "blue"],
    )
    assert reports[0]["detections"] == len(results[0]) > 0
    assert reports[0]["map_50"] == pytest.approx(reports[1]["map_50"], abs=1e-6)
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=1e-3)

    call("evaluate", "--weights", detector, "--data", data, *images, "--measure", "voc2012",
         "--plot", tmp_path / "curve.png", "--workers", 1)  # fmt: skip
    assert (tmp_path / "curve.png").stat().st_size > 0

    low, report = ("--score-threshold", 0), tmp_path / "report.jsonl"
    call("detect", data.parent / "0.png", data.parent / "1.png", "--weights", detector,
         "--output", report, *low)  # fmt: skip
    call("detect", data.parent, "--weights", detector, "--output", report, "--resume",
         "--batch-size", 4, *low)  # fmt: skip
    records = [json.loads(line) for line in report.read_text().splitlines()]
    assert len([one for one in records if "detections" in one]) == 6
    call("detect", data.parent, "--weights", detector, "--output", tmp_path / "drawn", *low)
    assert len(list((tmp_path / "drawn").iterdir())) == 6
    detected = tmp_path / "detected.json"
    call("detect", data.parent, "--weights", detector, "--coco-results", detected, "--data", data)
    assert len(json.loads(detected.read_text())) == len(results[0])


def test_classifier_predicts_in_batches_and_from_a_state_dict(
    call: Command, tmp_path: Path
) -> None:
    folder = class_folders(tmp_path / "classes", "amber", "blue")
    lucid.random.seed(0)
    model = create_model("pebble", num_classes=4)
    whole, bare = tmp_path / "whole.safetensors", tmp_path / "bare.safetensors"
    lucid.save_model(model, whole)
    lucid.save(model.state_dict(), bare)
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\n")
    sizes = ("--resize", 16, "--crop", 16, "--class-names", tmp_path / "names.txt", "--json")
    found = [
        json.loads(call("classify", folder, "--weights", path, *sizes, *more))
        for path, more in ((whole, ("--batch-size", 1)), (whole, ()), (bare, ("--model", "pebble")))
    ]
    assert [len(report) for report in found] == [16, 16, 16]
    for rows in zip(*found, strict=True):
        best = [row["predictions"][0] for row in rows]
        assert len({one["label"] for one in best}) == 1
        np.testing.assert_allclose(
            [one["probability"] for one in best], best[0]["probability"], rtol=1e-4
        )
    output = tmp_path / "report.json"
    call("classify", folder / "amber", "--weights", whole, *sizes[:-1], "--output", output)
    call("classify", folder, "--weights", whole, *sizes[:-1], "--output", output, "--resume")
    assert len(json.loads(output.read_text())["images"]) == 16


class Raft(nn.Module):
    """A detector without a base class of Lucid, whose backbone has no ``net``."""

    head_prefixes = ("hull.glow.",)

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.hull = Lantern(num_classes, Pebble(4))

    @property
    def backbone(self) -> Pebble:
        return self.hull.backbone.net

    @property
    def score_threshold(self) -> float:
        return self.hull.score_threshold

    @score_threshold.setter
    def score_threshold(self, value: float) -> None:
        self.hull.score_threshold = value

    def forward(self, images: Any, targets: Any) -> Any:
        return self.hull(images, targets)

    def predict(self, images: Any) -> Any:
        return self.hull.predict(images)

    def losses_and_detections(self, images: Any, targets: Any) -> Any:
        return self.hull.losses_and_detections(images, targets)


def test_detector_without_base_class_supports_all_commands(call: Command, tmp_path: Path) -> None:
    @register_model(task="object-detection")
    def raft(num_classes: int = 4) -> Raft:
        return Raft(num_classes)

    net = create_model("pebble", num_classes=4)
    lucid.save(net.state_dict(), tmp_path / "net.safetensors")
    call(*arguments_of("detector", tmp_path, "run", model="raft"), "--frozen-stages", 1,
         "--backbone-weights", tmp_path / "net.safetensors", "--backbone-lr", 1e-5)  # fmt: skip
    call("train-detector", "--output", tmp_path / "run", "--resume")
    best = tmp_path / "run" / "best.safetensors"
    np.testing.assert_array_equal(
        lucid.load(best)["hull.backbone.net.shore.conv.weight"].numpy(),
        net.shore.conv.weight.numpy(),
    )
    data = tmp_path / "scenes" / "data.json"
    report = json.loads(
        call("evaluate", "--weights", best, "--data", data, "--images", data.parent, "--json")
    )
    assert (report["images"], report["objects"]) == (6, 6)
    call("detect", data.parent / "0.png", "--weights", best, "--output", tmp_path / "0.png")
    out = call(*arguments_of("detector", tmp_path, "tuned", model="raft"), "--weights", best)
    assert "epoch 2/2" in out
