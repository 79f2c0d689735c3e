"""Interrupted runs resume bit for bit."""

from __future__ import annotations

import csv
import json
import os
import signal

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader
from lucid.training import Callback, load_checkpoint, save_checkpoint

LAST_CHECKPOINT = "last.safetensors"
# 26 images in batches of 4: 7 batches, 2 per step, 4 steps per epoch.
STEPS = 4


class Interrupt(Callback):
    """Interrupt the run once after a step."""

    def __init__(self, step, by_signal=False):
        self.step = step
        self.by_signal = by_signal

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            if self.by_signal:
                signal.raise_signal(signal.SIGINT)
            else:
                raise KeyboardInterrupt


class Average(Callback):
    """State that depends on every step."""

    def __init__(self):
        self.tensor = lucid.zeros(3)
        self.steps = 0

    def on_step(self, trainer, losses):
        lucid.random.rand(1)  # random numbers of a callback are part of the step
        self.tensor = self.tensor * 0.9 + 0.1 * trainer.model.head.bias.detach()
        self.steps += 1

    def state_dict(self):
        return {"tensor": self.tensor, "steps": self.steps}

    def load_state_dict(self, state):
        self.tensor, self.steps = state["tensor"], state["steps"]


def outcome(trainer):
    """Return everything that equal runs have in common, as bytes."""
    state = {
        "model": {k: v.data.tobytes() for k, v in trainer.model.state_dict().items()},
        "optimizer": {
            (position, name): value.data.tobytes() if hasattr(value, "data") else value
            for position, kept in trainer.optimizer.state_dict()["state"].items()
            for name, value in kept.items()
        },
        "groups": trainer.optimizer.state_dict()["param_groups"],
        "history": [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.history],
        "random": lucid.random.get_state(),
        "counts": (trainer.epoch, trainer.step, trainer.batch, trainer.best),
    }
    if trainer.scheduler is not None:
        state["scheduler"] = trainer.scheduler.state_dict()
    if hasattr(trainer.loader, "state_dict"):
        state["loader"] = trainer.loader.state_dict()
    return state


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("step", [1, STEPS - 1, STEPS, STEPS + 2, 3 * STEPS])
def test_run_resumes_bit_for_bit_after_any_step(small, tmp_path, optimizer, step):
    options = {"optimizer": optimizer, "validate": small.accuracy}
    whole = small.make_trainer(**options, callbacks=[Average(), Interrupt(0)])
    whole.fit()
    expected = outcome(whole)

    first = small.make_trainer(
        **options, callbacks=[Average(), Interrupt(step)], directory=tmp_path
    )
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)["step"] == step

    average = Average()
    second = small.make_trainer(
        **options, seed=99, callbacks=[average, Interrupt(0)], directory=tmp_path
    )
    assert second.fit(resume=True) == second.history
    assert outcome(second) == expected
    assert average.tensor.tolist() == whole.callbacks[0].tensor.tolist()
    assert average.steps == 3 * STEPS


def test_list_of_batches_resumes_within_an_epoch(small, tmp_path):
    batches = list(DataLoader(small.images(), 4))
    whole = small.make_trainer(loader=batches)
    whole.fit()
    first = small.make_trainer(loader=batches, callbacks=[Interrupt(STEPS + 2)], directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = small.make_trainer(loader=batches, callbacks=[Callback()], seed=1)
    second.fit(resume=tmp_path / LAST_CHECKPOINT)
    assert outcome(second) == outcome(whole)


def test_run_without_scheduler_resumes(small, tmp_path):
    def unscheduled(**options):
        trainer = small.make_trainer(epochs=2, **options)
        trainer.scheduler = None
        return trainer

    whole = unscheduled()
    whole.fit()
    first = unscheduled(callbacks=[Interrupt(3)], directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    second = unscheduled(callbacks=[Callback()], directory=tmp_path, seed=1)
    second.fit(resume=True)
    assert {row["lr"] for row in second.history} == {0.01}
    assert outcome(second) == outcome(whole)


def test_interrupted_validation_is_repeated(small, tmp_path):
    whole = small.make_trainer(validate=small.accuracy)
    whole.fit()
    expected = outcome(whole)

    def interrupted(model):
        small.accuracy(model)
        raise KeyboardInterrupt

    first = small.make_trainer(validate=interrupted, directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    assert first.model.training
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)["batch"] == 7
    second = small.make_trainer(validate=small.accuracy, directory=tmp_path, seed=1)
    second.fit(resume=True)
    assert outcome(second) == expected


class Epochs(Callback):
    """Count the epochs and steps."""

    def __init__(self):
        self.epochs = self.steps = 0

    def on_step(self, trainer, losses):
        self.steps += 1

    def on_epoch(self, trainer, row):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs, "steps": self.steps}

    def load_state_dict(self, state):
        self.epochs, self.steps = state["epochs"], state["steps"]


@pytest.mark.parametrize("checkpoint_every", [None, 1])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_epoch_killed_during_validation_is_not_trained_again(
    small, tmp_path, epoch, checkpoint_every
):
    """Nothing is saved at exit, as when validation takes longer than the time before SIGKILL."""
    options = {"monitor": "accuracy", "mode": "min", "checkpoint_every": checkpoint_every}
    whole = small.make_trainer(
        **options, validate=small.accuracy, directory=tmp_path / "whole", callbacks=[Epochs()]
    )
    whole.fit()
    expected = outcome(whole)
    validations = []

    def deadly(model):
        validations.append(1)
        metrics = small.accuracy(model)
        if len(validations) == epoch:
            raise RuntimeError("dead")
        return metrics

    options["directory"] = tmp_path / "half"
    first = small.make_trainer(**options, validate=deadly, callbacks=[Epochs()])
    with pytest.raises(RuntimeError, match="dead"):
        first.fit()
    state = load_checkpoint(tmp_path / "half" / LAST_CHECKPOINT)
    assert (state["epoch"], state["step"], state["batch"]) == (epoch - 1, epoch * STEPS, 7)

    second = small.make_trainer(**options, validate=small.accuracy, callbacks=[Epochs()], seed=99)
    plain, calls = second.loss, []
    second.loss = lambda model, batch: (calls.append(1), plain(model, batch))[1]
    second.fit(resume=True)
    assert len(calls) == 7 * (3 - epoch)
    assert outcome(second) == expected
    assert second.callbacks[0].state_dict() == {"epochs": 3, "steps": 3 * STEPS}
    best, expected_best = (
        {name: value.tolist() for name, value in lucid.load(path).items()}
        for path in (tmp_path / name / "best.safetensors" for name in ("half", "whole"))
    )
    assert best == expected_best


def test_last_step_of_an_epoch_is_saved_once(small, tmp_path, monkeypatch):
    steps = []
    options = {"directory": tmp_path, "epochs": 1, "checkpoint_every": 2}
    trainer = small.make_trainer(**options, validate=small.accuracy)
    monkeypatch.setattr(trainer, "save", lambda: steps.append((trainer.step, trainer.batch)))
    trainer.fit()
    assert steps == [(2, 4), (4, 7), (4, 0)]


def test_ctrl_c_is_deferred_to_the_end_of_the_step(small, tmp_path):
    trainer = small.make_trainer(directory=tmp_path)
    plain, calls = trainer.loss, []

    def interrupted(model, batch):
        calls.append(1)
        if len(calls) == 3:  # first of two batches of the second step
            signal.raise_signal(signal.SIGINT)
        return plain(model, batch)

    trainer.loss = interrupted
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert signal.getsignal(signal.SIGINT) is before
    assert len(calls) == 4
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)["step"] == trainer.step == 2
    trainer.loss = plain  # the same trainer can continue too
    trainer.fit()
    whole = small.make_trainer()
    whole.fit()
    assert outcome(trainer) == outcome(whole)


def test_second_ctrl_c_interrupts_at_once_and_keeps_the_checkpoint(small, tmp_path):
    trainer = small.make_trainer(directory=tmp_path, checkpoint_every=1)
    plain, calls = trainer.loss, []

    def impatient(model, batch):
        calls.append(1)
        if len(calls) == 4:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
        return plain(model, batch)

    trainer.loss = impatient
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    assert len(calls) == 4
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)["step"] == 1
    resumed = small.make_trainer(directory=tmp_path, seed=1)
    resumed.fit(resume=True)
    whole = small.make_trainer()
    whole.fit()
    assert outcome(resumed) == outcome(whole)


def test_finished_run_can_train_more_epochs(small, tmp_path):
    small.make_trainer(epochs=2, directory=tmp_path).fit()
    longer = small.make_trainer(epochs=3, directory=tmp_path, seed=1)
    longer.fit(resume=True)
    whole = small.make_trainer(epochs=3)
    whole.fit()
    assert outcome(longer) == outcome(whole)
    assert len(small.make_trainer(epochs=3, directory=tmp_path).fit(resume=True)) == 3


def test_checkpoint_every_saves_at_that_interval(small, tmp_path):
    steps = []

    class Look(Callback):
        def on_step(self, trainer, losses):
            if (tmp_path / LAST_CHECKPOINT).exists():
                steps.append(load_checkpoint(tmp_path / LAST_CHECKPOINT)["step"])

    small.make_trainer(epochs=1, directory=tmp_path, checkpoint_every=2, callbacks=[Look()]).fit()
    assert steps == [2, 2]


def test_metrics_csv_matches_the_checkpoint(small, tmp_path):
    trainer = small.make_trainer(
        directory=tmp_path, validate=small.accuracy, callbacks=[Interrupt(STEPS + 1)]
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.fit()
    trainer = small.make_trainer(
        directory=tmp_path, validate=small.accuracy, callbacks=[Interrupt(0)]
    )
    history = trainer.fit(resume=True)
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "epoch", "step", "seconds", "lr", "loss_class", "loss_size", "loss", "accuracy",
    ]  # fmt: skip
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert set(os.listdir(tmp_path)) == {LAST_CHECKPOINT, "metrics.csv"}


# --- what does not fit ------------------------------------------------------------------------


def test_resume_needs_a_checkpoint(small, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"last\.safetensors"):
        small.make_trainer(directory=tmp_path / "new").fit(resume=True)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="resume=True needs a directory"):
        small.make_trainer().fit(resume=True)


def test_resume_rejects_weights_without_state(small, tmp_path):
    lucid.save({"w": lucid.ones(2)}, tmp_path / LAST_CHECKPOINT)
    with pytest.raises(lucid.WeightFileError, match="expected a checkpoint"):
        small.make_trainer(directory=tmp_path).fit(resume=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["model"].pop("head.bias"),
        lambda state: state["model"].update({"head.bias": lucid.zeros(4)}),
        lambda state: state["optimizer"]["param_groups"].pop(),
        lambda state: state["scheduler"].pop("last_epoch"),
        lambda state: state.update(scheduler=None),
        lambda state: state["loader"].update(batch_size=5),
        lambda state: state.update(callbacks=[{"steps": 3}]),
        lambda state: state.update(Average={"steps": 3}),
        lambda state: state.pop("loader"),
        lambda state: state.pop("random"),
        lambda state: state.update(random={"bit_generator": "MT19937"}),
        lambda state: state.pop("history"),
        lambda state: state.update(history=[3]),
    ],
)
def test_mismatched_checkpoint_changes_nothing(small, tmp_path, change):
    first = small.make_trainer(directory=tmp_path, callbacks=[Interrupt(2)])
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    change(state)
    save_checkpoint(tmp_path / LAST_CHECKPOINT, state)

    second = small.make_trainer(seed=5, directory=tmp_path)
    before = outcome(second)
    with pytest.raises(lucid.WeightFileError, match=r"last\.safetensors: cannot resume the"):
        second.fit(resume=True)
    assert outcome(second) == before


def test_resume_error_names_both_models(small, tmp_path):
    first = small.make_trainer(directory=tmp_path, epochs=1)
    first.model.model_name = "small_net"
    first.fit()
    second = small.make_trainer(directory=tmp_path, epochs=1)
    second.model.head = lucid.nn.Linear(16, 5)
    with pytest.raises(
        lucid.WeightFileError, match=r"run of small_net with Net: .*(\n.*)*head\.weight"
    ):
        second.fit(resume=True)


# --- the file ---------------------------------------------------------------------------------


def test_checkpoint_round_trip(tmp_path):
    tree = {
        "tensors": [lucid.ones(2), {"deep": np.zeros((0, 3), np.int64)}],
        "a/b": lucid.tensor(1.0),
        "a": {"b": lucid.tensor(2.0)},
        "numbers": [1, 0.1, 2**127 + 1, float("inf"), np.float32(0.5), True, None],
        3: "text",
        "empty": {},
        "pair": (1, 2),
    }
    save_checkpoint(tmp_path / "c.safetensors", tree)
    back = load_checkpoint(tmp_path / "c.safetensors")
    assert back["tensors"][0].tolist() == [1, 1]
    assert back["tensors"][1]["deep"].shape == (0, 3)
    assert back["a/b"].item() == 1
    assert back["a"]["b"].item() == 2
    assert back["numbers"] == [1, 0.1, 2**127 + 1, float("inf"), 0.5, True, None]
    assert (back["3"], back["empty"], back["pair"]) == ("text", {}, [1, 2])


def test_unsupported_objects_are_rejected_with_their_path(tmp_path):
    with pytest.raises(TypeError, match=r"set \(at tracker/0/seen\)"):
        save_checkpoint(tmp_path / "c.safetensors", {"tracker": [{"seen": {1}}]})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "tree", ['{"$tensor": "w"}', "[]", "{", '{"a": {"$tensor": "x"}}', '{"a": {"$tensor": [1]}}']
)
def test_damaged_checkpoint_is_rejected(tmp_path, tree):
    from lucid.weights.serialization import write_file

    path = tmp_path / "c.safetensors"
    write_file(path, {"w": np.zeros(2)}, {"lucid.checkpoint": tree})
    with pytest.raises(lucid.WeightFileError, match=r"c\.safetensors: damaged"):
        load_checkpoint(path)


def test_states_are_json(small):
    json.dumps(small.make_trainer().loader.state_dict())
