"""Training programs that are killed or interrupted, and resumed."""

from __future__ import annotations

import importlib
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import lucid
from lucid.training import load_checkpoint

SMALL = Path(__file__).parents[1] / "core" / "training"

TRAIN = textwrap.dedent("""
    import pathlib, sys, time
    sys.path.insert(0, sys.argv[1])
    from small_trainer import accuracy, make_trainer
    from lucid.training import Callback

    class Report(Callback):
        def on_step(self, trainer, losses):
            print(trainer.step, flush=True)
            time.sleep(0.006)  # four times at most 50 ms are fewer than the 48 steps

    class Average(Callback):
        def __init__(self):
            self.bias = 0

        def on_step(self, trainer, losses):
            self.bias = 0.9 * self.bias + 0.1 * trainer.model.head.bias.detach()

        def state_dict(self):
            return {"bias": self.bias}

        def load_state_dict(self, state):
            self.bias = state["bias"]

    class Validations:
        counts = []

        def __call__(self, model):
            metrics = accuracy(model)
            self.counts.append(metrics["accuracy"])
            return metrics

        def state_dict(self):
            return {"counts": self.counts}

        def load_state_dict(self, state):
            self.counts[:] = state["counts"]

    validations = Validations()
    trainer = make_trainer(
        directory=sys.argv[2], epochs=12, validate=validations, checkpoint_every=1,
        monitor="accuracy", callbacks=[Average(), Report()],
        checkpointables={"validations": validations}, seed=int(sys.argv[3]),
    )
    trainer.fit(resume=pathlib.Path(sys.argv[2], "last.safetensors").exists())
""")


def train(directory, seed):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(SMALL), str(directory), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(directory):
    """Return the contents of the run directory, without times."""
    state = load_checkpoint(directory / "last.safetensors")
    for row in state["history"]:
        del row["seconds"]
    best = lucid.load(directory / "best.safetensors")
    return plain(state), plain(best)


def plain(node):
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node.data.tobytes() if isinstance(node, lucid.Tensor) else node


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory = tmp_path_factory.mktemp("uninterrupted")
    program = train(directory, seed=0)
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    return outcome(directory)


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_repeatedly_stopped_training_ends_bit_for_bit(tmp_path, uninterrupted, sent):
    moments = random.Random(sent)
    reached = []
    for seed in range(4):
        program = train(tmp_path, seed)
        try:
            reached.append(int(program.stdout.readline()))
            program.stdout.readline()  # by now the first step is saved
            time.sleep(moments.uniform(0, 0.05))
        finally:
            program.send_signal(sent)
            _, errors = program.communicate(timeout=60)
        assert program.returncode == -sent, errors  # a shell says 130 for an interrupt
        assert "KeyboardInterrupt" in errors or sent == signal.SIGKILL
        load_checkpoint(tmp_path / "last.safetensors")
    assert reached == sorted(set(reached))  # each went on after where the one before was
    program = train(tmp_path, 99)
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 0, errors
    assert outcome(tmp_path) == uninterrupted
    state = load_checkpoint(tmp_path / "last.safetensors")
    assert len(state["validations"]["counts"]) == 12
    assert state["Average"]["bias"].shape == (3,)
    assert {path.name for path in tmp_path.iterdir()} == {
        "last.safetensors",
        "best.safetensors",
        "metrics.csv",
    }


@pytest.mark.slow
def test_second_run_in_the_same_directory_is_rejected(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SMALL)
    small = importlib.import_module("small_trainer")
    program = train(tmp_path, seed=0)
    try:
        program.stdout.readline()
        for resume in (False, True):
            trainer = small.make_trainer(directory=tmp_path)
            with pytest.raises(ValueError, match=f"in use by process {program.pid} on "):
                trainer.fit(resume=resume)
            assert trainer.step == 0
    finally:
        program.kill()
        program.communicate(timeout=60)
    assert (tmp_path / "run.lock").exists()
    assert small.make_trainer(directory=tmp_path, epochs=1).fit()
    assert not (tmp_path / "run.lock").exists()


def test_damaged_checkpoint_is_rejected(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(SMALL)
    small = importlib.import_module("small_trainer")
    small.make_trainer(directory=tmp_path, epochs=1).fit()
    path = tmp_path / "last.safetensors"
    content = path.read_bytes()
    for damaged in (content[:-1], content[:1000], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        trainer = small.make_trainer(directory=tmp_path)
        with pytest.raises(lucid.WeightFileError, match=r"last\.safetensors"):
            trainer.fit(resume=True)
        assert (trainer.epoch, trainer.step) == (0, 0)
