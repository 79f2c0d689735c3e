"""Checkpointables: saved in checkpoints and restored with the trainer."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.training import (
    Callback,
    Checkpointable,
    RunFolder,
    Trainer,
    load_checkpoint,
    save_checkpoint,
)
from lucid.training.checkpointables import check_checkpointables

LAST_CHECKPOINT = "last.safetensors"
# 26 images in batches of 4: 7 batches, 2 per step, 4 steps per epoch.
STEPS = 4

#: Saved by Lucid 0.1.0, with callbacks in a list, after step 6 of 12.
EARLIER = Path(__file__).with_name("callbacks_in_a_list.safetensors")


class Curriculum:
    """Noise that decreases with every batch; part of the loss."""

    def __init__(self):
        self.noise = 1.0

    def state_dict(self):
        return {"noise": self.noise}

    def load_state_dict(self, state):
        self.noise = state["noise"]


class BestMetric:
    """All metrics and the best one; changed during validation."""

    def __init__(self):
        self.best, self.seen = None, []

    def state_dict(self):
        return {"best": self.best, "seen": self.seen}

    def load_state_dict(self, state):
        self.best, self.seen = state["best"], list(state["seen"])


class Average(Callback):
    """Moving average of a bias, updated in place."""

    def __init__(self):
        self.tensor, self.steps = lucid.zeros(3), 0

    def on_step(self, trainer, losses):
        lucid.random.rand(1)  # random numbers of a callback are part of the step
        self.tensor *= 0.9
        self.tensor += 0.1 * trainer.model.head.bias.detach()
        self.steps += 1

    def state_dict(self):
        return {"tensor": self.tensor, "steps": self.steps}

    def load_state_dict(self, state):
        self.tensor.copy_(state["tensor"])
        self.steps = state["steps"]


class StopAt(Callback):
    """Stop the run after a step."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            trainer.stop()


class Refusing:
    """Object that accepts only its own state and records calls."""

    def __init__(self):
        self.value, self.calls = [1, 2], 0

    def state_dict(self):
        return {"value": self.value}

    def load_state_dict(self, state):
        self.calls += 1
        self.value.clear()  # changed in place before the mismatch is found
        self.value.extend(state["value"])
        if self.value != [1, 2]:
            raise RuntimeError("expected [1, 2]")


def plain(node):
    """Convert a state to comparable values: tensors as bytes, without durations."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != "seconds"}
    if isinstance(node, list):
        return [plain(value) for value in node]
    return node.data.tobytes() if isinstance(node, lucid.Tensor) else node


def with_objects(small, interrupted=False, **options):
    """Build a trainer whose loss and validation use checkpointables."""
    curriculum, best = Curriculum(), BestMetric()
    plain_loss = small.losses

    def losses(model, batch):
        curriculum.noise *= 0.9
        return {
            name: loss * (1 + curriculum.noise) for name, loss in plain_loss(model, batch).items()
        }

    def validate(model):
        metrics = small.accuracy(model)
        best.seen.append(metrics["accuracy"])
        best.best = max(best.seen)
        if interrupted:
            raise KeyboardInterrupt
        return metrics

    trainer = small.make_trainer(
        validate=validate,
        checkpointables={"curriculum": curriculum, "best_metric": best},
        **options,
    )
    trainer.loss = losses
    return trainer


@pytest.mark.parametrize("step", [1, STEPS, STEPS + 2])
def test_checkpointables_and_callbacks_resume_bit_for_bit(small, tmp_path, step):
    whole = with_objects(small, callbacks=[Average()])
    whole.fit()
    expected = plain(whole.state_dict())
    first = with_objects(small, callbacks=[Average(), StopAt(step)], directory=tmp_path)
    first.fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    assert state["step"] == state["Average"]["steps"] == step
    assert state["curriculum"] == {"noise": first.checkpointables["curriculum"].noise}
    assert "StopAt" not in state
    # A callback without state may be added or removed.
    second = with_objects(small, seed=99, callbacks=[Average()], directory=tmp_path)
    second.fit(resume=True)
    assert plain(second.state_dict()) == expected
    assert second.callbacks[0].tensor.tolist() == whole.callbacks[0].tensor.tolist()
    assert len(second.checkpointables["best_metric"].seen) == 3


def test_interrupted_validation_is_not_saved(small, tmp_path):
    whole = with_objects(small)
    whole.fit()
    first = with_objects(small, interrupted=True, directory=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    assert (state["batch"], state["best_metric"]) == (7, {"best": None, "seen": []})
    second = with_objects(small, seed=99, directory=tmp_path)
    second.fit(resume=True)
    assert plain(second.state_dict()) == plain(whole.state_dict())


def test_state_dict_is_restored_without_a_file(small):
    whole = with_objects(small, callbacks=[Average()])
    whole.fit()
    first = with_objects(small, callbacks=[Average(), StopAt(STEPS + 1)])
    first.fit()
    second = with_objects(small, seed=99, callbacks=[Average()])
    second.load_state_dict(first.state_dict())
    second.fit()
    assert plain(second.state_dict()) == plain(whole.state_dict())


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("saved", "present", "missing", "unknown"),
    [
        ({}, {"tracker": BestMetric()}, "tracker", "none"),
        ({"tracker": BestMetric()}, {}, "none", "tracker"),
        ({"tracker": BestMetric()}, {"tracking": BestMetric()}, "tracking", "tracker"),
    ],
)
def test_resume_reports_all_differing_names(small, tmp_path, saved, present, missing, unknown):
    small.make_trainer(directory=tmp_path, epochs=1, checkpointables=saved).fit()
    trainer = small.make_trainer(directory=tmp_path, seed=5, checkpointables=present)
    before = plain(trainer.state_dict())
    names = "random, model, optimizer, scheduler, loader"
    expected, got = (", ".join([names, *parts]) for parts in (present, saved))
    with pytest.raises(lucid.WeightFileError) as caught:
        trainer.fit(resume=True)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / LAST_CHECKPOINT))
    assert f"expected states of {expected}, got {got} " in message
    assert f"(missing: {missing}; unknown: {unknown})" in message
    assert "checkpointables" in message
    assert plain(trainer.state_dict()) == before


@pytest.mark.parametrize(
    ("checkpointables", "error", "message"),
    [
        ({"model": Curriculum()}, ValueError, "'model'.*choose another"),
        ({"step": Curriculum()}, ValueError, "'step'"),
        ({3: Curriculum()}, TypeError, "names of type str, got 3"),
        ({"best": 0.5}, ValueError, "'best'"),
        ({"top": 0.5}, TypeError, r"an object with state_dict\(\) .* as 'top', got 0.5"),
        ({"curriculum": Curriculum}, TypeError, "an object with state_dict.*got <class"),
    ],
)
def test_invalid_checkpointables_are_rejected(small, checkpointables, error, message):
    with pytest.raises(error, match=message):
        small.make_trainer(checkpointables=checkpointables)


def test_two_callbacks_of_a_class_need_names(small, tmp_path):
    pair = [Average(), Average()]
    trainer = small.make_trainer(callbacks=pair, directory=tmp_path, epochs=1)
    with pytest.raises(ValueError, match=r"'Average'.*checkpointables="):
        trainer.fit()
    assert trainer.step == 0
    named = {"slow": pair[1]}
    small.make_trainer(callbacks=pair, checkpointables=named, directory=tmp_path, epochs=1).fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    assert state["slow"]["steps"] == state["Average"]["steps"] == STEPS
    assert set(state) == {
        "model_name", "epoch", "step", "batch", "best", "sums", "history",
        "random", "model", "optimizer", "scheduler", "loader", "Average", "slow",
    }  # fmt: skip


def test_unsupported_state_is_rejected_before_the_first_step(small, tmp_path):
    tracker = BestMetric()
    tracker.seen = {1}
    trainer = small.make_trainer(directory=tmp_path, checkpointables={"tracker": tracker})
    with pytest.raises(TypeError, match=r"set \(at tracker/seen\)"):
        trainer.fit()
    tracker.state_dict = lambda: None
    with pytest.raises(TypeError, match=r"tracker: expected state_dict\(\) to return a dict"):
        trainer.fit()
    assert trainer.step == 0


# --- all or nothing ---------------------------------------------------------------------------


def test_failing_restore_rolls_back_all_objects(small, tmp_path):
    refusing = Refusing()
    small.make_trainer(directory=tmp_path, epochs=1, checkpointables={"r": refusing}).fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    state["r"] = {"value": [3]}
    save_checkpoint(tmp_path / LAST_CHECKPOINT, state)
    average = Average()
    options = {"callbacks": [average], "checkpointables": {"r": refusing, "after": Refusing()}}
    state |= {"Average": {"tensor": lucid.ones(3), "steps": 9}, "after": {"value": [1, 2]}}
    save_checkpoint(tmp_path / LAST_CHECKPOINT, state)
    trainer = small.make_trainer(directory=tmp_path, seed=5, **options)
    before = plain(trainer.state_dict())
    with pytest.raises(
        lucid.WeightFileError,
        match=r"last\.safetensors: .*state of r does not match: RuntimeError: expected \[1, 2\]",
    ):
        trainer.fit(resume=True)
    assert plain(trainer.state_dict()) == before
    assert (average.tensor.tolist(), average.steps) == ([0, 0, 0], 0)
    assert refusing.value == [1, 2]
    assert trainer.checkpointables["after"].calls == 0


def test_failing_rollback_names_the_object(small, tmp_path):
    class Broken(BestMetric):
        def load_state_dict(self, state):
            raise KeyError("best")

    average, options = Average(), {"directory": tmp_path, "epochs": 1}
    named = {"broken": Broken()}
    small.make_trainer(callbacks=[Average()], checkpointables=named, **options).fit()
    trainer = small.make_trainer(callbacks=[average], checkpointables=named, seed=5, **options)
    before = plain(trainer.state_dict())
    with pytest.raises(
        lucid.WeightFileError,
        match=r"state of broken does not match: KeyError: 'best'; broken could not be restored",
    ):
        trainer.fit(resume=True)
    assert plain(trainer.state_dict()) == before
    assert average.steps == 0


def test_all_ranks_restore_rank_0_states(small, on_ranks, tmp_path):
    def trained(ranks, resume=False):
        tracker = BestMetric()
        tracker.seen = [] if resume else [ranks.rank + 0.5]
        options = {"communicator": ranks, "checkpointables": {"tracker": tracker}}
        trainer = small.make_trainer(directory=tmp_path, epochs=1, **options)
        trainer.fit(resume=resume)
        return tracker.seen

    assert on_ranks(2, trained) == [[0.5], [1.5]]
    assert on_ranks(2, lambda ranks: trained(ranks, resume=True)) == [[0.5], [0.5]]


# --- files of earlier versions ----------------------------------------------------------------


def as_earlier(state, callbacks):
    """Convert a state to the layout of Lucid 0.1.0."""
    state = dict(state)
    states = [state.pop(name) if name else {} for name in callbacks]
    return {"scheduler": None, "loader": None, **state, "callbacks": states}


@pytest.mark.parametrize("loader", [True, False])
def test_earlier_checkpoint_layout_resumes_bit_for_bit(small, tmp_path, loader):
    def make(step, **options):
        if not loader:
            options["loader"] = list(lucid.data.DataLoader(small.images(), 4))
        trainer = small.make_trainer(callbacks=[Average(), StopAt(step)], **options)
        if not loader:
            trainer.scheduler = None
        return trainer

    whole = make(0)
    whole.fit()
    make(STEPS + 2, directory=tmp_path).fit()
    state = load_checkpoint(tmp_path / LAST_CHECKPOINT)
    assert ("scheduler" in state, "loader" in state) == (loader, loader)
    save_checkpoint(tmp_path / LAST_CHECKPOINT, as_earlier(state, ["Average", None]))
    rest = make(0, directory=tmp_path, seed=5)
    rest.fit(resume=True)
    assert plain(rest.state_dict()) == plain(whole.state_dict())
    assert "callbacks" not in load_checkpoint(tmp_path / LAST_CHECKPOINT)


def test_checkpoint_of_lucid_0_1_0_resumes(small):
    state = load_checkpoint(EARLIER)
    assert [sorted(one) for one in state["callbacks"]] == [["steps", "tensor"], []]
    options = {"validate": small.accuracy}
    whole = small.make_trainer(callbacks=[Average(), StopAt(0)], **options)
    whole.fit()
    rest = small.make_trainer(callbacks=[Average(), StopAt(0)], seed=7, **options)
    rest.fit(resume=EARLIER)
    assert (rest.epoch, rest.step, rest.callbacks[0].steps) == (3, 3 * STEPS, 3 * STEPS)
    # Kernels of the machine that wrote the file may round differently.
    close = {"rtol": 1e-4, "atol": 1e-6}
    expected = [0.16375407576560974, 0.019422736018896103, -0.002660568803548813]
    np.testing.assert_allclose(rest.callbacks[0].tensor.numpy(), expected, **close)
    for row, other in zip(rest.history, whole.history, strict=True):
        assert row["lr"] == other["lr"]
        np.testing.assert_allclose(row["loss"], other["loss"], **close)


def test_resume_rejects_other_callbacks_than_in_an_earlier_file(small):
    for callbacks in ([], [StopAt(0), Average()], [Average()]):
        trainer = small.make_trainer(callbacks=callbacks, seed=7)
        with pytest.raises(
            lucid.WeightFileError,
            match=f"{len(callbacks)} callbacks, got 2, 1 of them not empty",
        ):
            trainer.fit(resume=EARLIER)
        assert trainer.step == 0


# --- owners -----------------------------------------------------------------------------------


def test_run_folder_rejects_a_trainer_of_another_directory(small, tmp_path):
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(ValueError, match=re.escape(f"directory={str(folder.path)!r}, got None")):
        folder.train(small.make_trainer())
    assert not folder.path.exists()


def test_callbacks_of_fit_are_saved_for_that_call_only(small, tmp_path):
    trainer = small.make_trainer(directory=tmp_path, epochs=1)
    average = Average()
    trainer.fit(callbacks=[average], save_initial=True)
    assert average.steps == STEPS
    assert load_checkpoint(tmp_path / LAST_CHECKPOINT)["Average"]["steps"] == STEPS
    assert trainer.callbacks == []
    assert "Average" not in trainer.state_dict()


def test_trainer_components_are_checkpointables(small):
    trainer = small.make_trainer()
    for part in (trainer, trainer.model, trainer.optimizer, trainer.scheduler, trainer.loader):
        assert isinstance(part, Checkpointable)
    json.dumps(trainer.loader.state_dict())
    assert not isinstance(lucid.ones(2), Checkpointable)
    assert isinstance(trainer, Trainer)


def test_checkpointables_must_be_a_mapping() -> None:
    with pytest.raises(TypeError, match="checkpointables: expected a dict of objects by name"):
        check_checkpointables([1], ())


@pytest.mark.parametrize("keys", [{1: 2, "1": 3}, {"$tensor": 4}])
def test_ambiguous_keys_are_rejected(tmp_path: Path, keys: dict) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(TypeError, match=r"cannot store the keys \[.*\] \(at counts\)"):
        save_checkpoint(path, {"counts": keys})
    assert not path.exists()
    save_checkpoint(path, {"counts": {1: 2, "$tensor": 4}})
    assert load_checkpoint(path) == {"counts": {"1": 2, "$tensor": 4}}
