from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from lucid.training import Callback, RunFolder, load_checkpoint


@dataclass(frozen=True)
class Options:
    data: str
    lr: float = 0.1


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "new" / "run")
    folder.begin(Options("somewhere"), {"classes": ["ant", "bee"]})
    return folder


def test_what_a_training_began_with_comes_back(run):
    begun = run.begun_with(Options, ("classes",), {"lr": 0.1})
    assert begun == (Options("somewhere"), {"classes": ["ant", "bee"]})
    assert (run.last.name, run.best.name) == ("last.safetensors", "best.safetensors")


def test_only_a_state_makes_a_folder_a_training(run):
    run.check_free()
    assert not run.has_state
    run.last.touch()
    assert run.has_state
    with pytest.raises(ValueError, match="run: holds a training already"):
        run.check_free()


class Crash(Callback):
    """Ends the training as a program's death does: nothing is saved."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            raise RuntimeError("dead")


def test_a_training_that_dies_in_its_first_epoch_goes_on_from_its_first_weights(run, small):
    def weights(trainer):
        return {name: value.tolist() for name, value in trainer.model.state_dict().items()}

    whole = small.make_trainer()
    whole.fit()
    trainer = small.make_trainer(directory=run.path, callbacks=[Crash(2)])
    begun = weights(trainer)
    with pytest.raises(RuntimeError, match="dead"):
        run.train(trainer)
    state = load_checkpoint(run.last)
    assert (state["step"], state["history"]) == (0, [])
    assert {name: value.tolist() for name, value in state["model"].items()} == begun
    resumed = small.make_trainer(seed=99, directory=run.path, callbacks=[Crash(0)])
    assert len(run.train(resumed)) == 3
    assert weights(resumed) == weights(whole)


def test_a_folder_where_no_step_was_kept_is_free_and_begun_anew(run, small):
    with pytest.raises(RuntimeError, match="dead"):
        run.train(small.make_trainer(directory=run.path, callbacks=[Crash(1)]))
    assert run.has_state
    run.check_free()
    run.begin(Options("elsewhere"), {})
    assert not run.has_state  # else the new training would go on with the old one's weights
    run.train(small.make_trainer(directory=run.path, epochs=1))
    with pytest.raises(ValueError, match="run: holds a training already"):
        run.check_free()


def test_of_two_trainings_in_one_folder_the_second_to_step_is_refused(run, small):
    other = RunFolder(run.path)
    other.begin(Options("elsewhere"), {})
    run.train(small.make_trainer(directory=run.path, epochs=1))
    kept = run.last.read_bytes()
    trainer = small.make_trainer(directory=run.path)
    for late in (lambda: other.begin(Options("elsewhere"), {}), lambda: other.train(trainer)):
        with pytest.raises(ValueError, match="run: holds a training already"):
            late()
        assert run.last.read_bytes() == kept


def test_another_option_is_refused(run):
    with pytest.raises(ValueError, match=r"began with lr 0\.1, got 0\.2; it can only go on"):
        run.begun_with(Options, (), {"lr": 0.2})


@pytest.mark.parametrize("options", [{}, {"data": "d", "speed": 1}, []])
def test_damage_is_reported(run, options):
    record = run.path / "run.json"
    record.write_text(json.dumps({"options": options}))
    with pytest.raises(ValueError, match=r"run\.json: damaged"):
        run.begun_with(Options, (), {})
    record.unlink()
    with pytest.raises(ValueError, match=r"run\.json is missing"):
        run.begun_with(Options, (), {})


def test_a_fact_that_is_not_there_is_damage(run):
    with pytest.raises(ValueError, match="damaged: 'model'"):
        run.begun_with(Options, ("model",), {})
