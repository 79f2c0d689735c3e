"""The loop: what a step does, what the log says, what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.training import Callback, Trainer, load_checkpoint


class Weight(nn.Module):
    """y = w x, with w = 1 at first."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(lucid.ones(1))

    def forward(self, x):
        return self.w * x


def linear_loss(model, x):
    """Its derivative with respect to w is x."""
    return model(x).sum()


def weight_trainer(batches, loss=linear_loss, lr=0.1, **options):
    model = Weight()
    options = {"epochs": 1, **options}
    return Trainer(model, optim.SGD(model.parameters(), lr=lr), batches, loss, **options)


def w_of(trainer):
    return trainer.model.w.item()


def test_every_batch_is_a_step():
    trainer = weight_trainer([2.0, 3.0], epochs=2)
    history = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 * (2 + 3) * 2)
    assert (trainer.epoch, trainer.step, trainer.batch) == (2, 4, 0)
    assert [(row["epoch"], row["step"], row["lr"]) for row in history] == [(1, 2, 0.1), (2, 4, 0.1)]
    # By hand: 1 * 2 and 0.8 * 3; then 0.5 * 2 and 0.3 * 3.
    assert [row["loss"] for row in history] == pytest.approx([(2 + 2.4) / 2, (1 + 0.9) / 2])
    assert all(row["seconds"] >= 0 for row in history)


def test_accumulated_batches_are_averaged_also_where_fewer_are_left():
    trainer = weight_trainer([2.0, 4.0, 5.0], accumulate=2)
    (row,) = trainer.fit()
    # Gradients: the mean of 2 and 4, then 5.
    assert w_of(trainer) == pytest.approx(1 - 0.1 * 3 - 0.1 * 5)
    assert trainer.step == 2
    assert row["loss"] == pytest.approx((2 + 4 + 0.7 * 5) / 3)


def test_gradients_are_clipped():
    trainer = weight_trainer([4.0], max_grad_norm=0.5)
    trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 * 0.5)


def test_the_scheduler_goes_on_after_every_step():
    trainer = weight_trainer([1.0, 1.0, 1.0])
    trainer.scheduler = optim.lr_scheduler.StepLR(trainer.optimizer, 1, gamma=0.5)
    (row,) = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 - 0.05 - 0.025)
    assert row["lr"] == pytest.approx(0.0125)


def test_several_losses_are_summed_and_logged_apart():
    def both(model, x):
        return {"loss_a": linear_loss(model, x), "loss_b": 2 * linear_loss(model, x)}

    trainer = weight_trainer([1.0], both)
    (row,) = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 * 3)
    assert (row["loss_a"], row["loss_b"], row["loss"]) == (1.0, 2.0, 3.0)


def test_validation_is_in_evaluation_mode_without_recording_and_modes_return():
    seen = []

    def validate(model):
        seen.append((model.training, model.frozen.training, lucid.is_grad_enabled()))
        return {"accuracy": np.float32(0.5)}

    trainer = weight_trainer([1.0], validate=validate)
    trainer.model.frozen = nn.Dropout().eval()
    (row,) = trainer.fit()
    assert seen == [(False, False, False)]
    assert trainer.model.training
    assert not trainer.model.frozen.training  # as its user left it
    assert row["accuracy"] == 0.5


def test_a_model_in_evaluation_mode_is_put_into_training_mode():
    trainer = weight_trainer([1.0])
    trainer.model.eval()
    trainer.fit()
    assert trainer.model.training


@pytest.mark.parametrize("loss", ["loss", "loss_b"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(loss, value):
    def sick(model, x):
        given = {"loss_a": linear_loss(model, x), loss: model(x).sum() * (value if x > 1 else 1)}
        return given[loss] if loss == "loss" else given

    trainer = weight_trainer([1.0, 2.0], sick)
    with pytest.raises(FloatingPointError, match=rf"{loss} is {value} at step 2 \(epoch 1\)"):
        trainer.fit()
    assert trainer.step == 1
    assert math.isfinite(w_of(trainer))


def test_a_model_that_refuses_its_own_losses_is_told_the_step():
    def sick(model, x):
        if x > 1:
            raise FloatingPointError("loss_b is nan")
        return linear_loss(model, x)

    trainer = weight_trainer([1.0, 2.0], sick)
    with pytest.raises(FloatingPointError, match=r"loss_b is nan; at step 2 \(epoch 1\), whose"):
        trainer.fit()
    assert trainer.step == 1


def test_gradients_that_are_not_finite_stop_before_the_update():
    def root(model, x):
        return (model(x) - 1).sqrt().sum()  # 0 at w = 1, where its slope is infinite

    trainer = weight_trainer([1.0], root, max_grad_norm=1.0)
    with (
        np.errstate(divide="ignore"),
        pytest.raises(FloatingPointError, match="norm of the gradients is inf at step 1"),
    ):
        trainer.fit()
    assert w_of(trainer) == 1


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (3.0, TypeError, "dict of Tensors, got 3.0"),
        ({}, TypeError, "dict of Tensors, got"),
        (lucid.ones(2), TypeError, "scalar Tensors"),
        ({"a": 1.0}, TypeError, "scalar Tensors, got 1.0 as 'a'"),
        ({"loss": lucid.ones(1), "b": lucid.ones(1)}, ValueError, "got loss, b"),
        ({"epoch": lucid.ones(1)}, ValueError, "got epoch"),
    ],
)
def test_what_is_no_loss_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        weight_trainer([1.0], lambda model, batch: given).fit()


def test_metrics_need_names_of_their_own_and_the_monitored_one_must_be_there(tmp_path):
    with pytest.raises(ValueError, match=r"\['loss'\].*val_loss"):
        weight_trainer([1.0], validate=lambda model: {"loss": 1.0}).fit()
    trainer = weight_trainer(
        [1.0], validate=lambda model: {"map": 1.0}, monitor="mAP", directory=tmp_path
    )
    with pytest.raises(ValueError, match=r"'mAP', got \['map'\]"):
        trainer.fit()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"accumulate": 0}, "accumulate must be"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"mode": "largest"}, "'max' or 'min', got 'largest'"),
        ({"monitor": "accuracy"}, "give validate, directory"),
    ],
)
def test_bad_options_are_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        weight_trainer([1.0], **options)


def test_a_loader_without_batches_is_refused():
    with pytest.raises(ValueError, match="no batches"):
        weight_trainer([])


def test_a_loader_that_gives_less_than_its_length_is_an_error():
    class Liar:
        def __len__(self):
            return 2

        def __iter__(self):
            return iter([1.0])

    with pytest.raises(ValueError, match="length of 2 batches but gave fewer"):
        weight_trainer(Liar()).fit()


def test_callbacks_are_called_after_steps_and_epochs_in_order():
    calls = []

    class Recorder(Callback):
        def __init__(self, name):
            self.name = name

        def on_step(self, trainer, losses):
            calls.append((self.name, trainer.step, trainer.batch, losses))

        def on_epoch(self, trainer, row):
            calls.append((self.name, trainer.epoch, row["step"]))
            assert row is trainer.history[-1]

    weight_trainer([2.0, 3.0], callbacks=[Recorder("a"), Recorder("b")], lr=0.0).fit()
    assert calls == [
        ("a", 1, 1, {"loss": 2.0}),
        ("b", 1, 1, {"loss": 2.0}),
        ("a", 2, 2, {"loss": 3.0}),
        ("b", 2, 2, {"loss": 3.0}),
        ("a", 1, 2),
        ("b", 1, 2),
    ]


def test_a_callback_may_stop_the_training_which_may_go_on(tmp_path):
    class Stop(Callback):
        def on_step(self, trainer, losses):
            if trainer.step == 3:
                trainer.stop()

    trainer = weight_trainer([1.0, 2.0], epochs=3, directory=tmp_path, callbacks=[Stop()], lr=0.01)
    assert len(trainer.fit()) == 1
    assert (trainer.epoch, trainer.step, trainer.batch) == (1, 3, 1)
    assert (tmp_path / "last.safetensors").exists()
    assert len(trainer.fit()) == 3
    assert trainer.step == 6
    assert w_of(trainer) == pytest.approx(1 - 0.01 * 9)


@pytest.mark.parametrize(("mode", "best"), [("max", 3), ("min", 1)])
def test_the_best_model_is_kept(tmp_path, mode, best):
    values = iter([math.nan, 2.0, 3.0, 1.0, 2.0])
    trainer = weight_trainer(
        [1.0],
        epochs=5,
        validate=lambda model: {"metric": next(values)},
        monitor="metric",
        mode=mode,
        directory=tmp_path / "new" / "directory",
    )
    history = trainer.fit()
    assert trainer.best == best
    epoch = next(row["epoch"] for row in history if row["metric"] == best)
    kept = lucid.load(tmp_path / "new" / "directory" / "best.safetensors")
    assert kept["w"].item() == pytest.approx(1 - 0.1 * epoch)


def test_of_equal_models_the_first_is_the_best(tmp_path):
    for folder, values, best in (("ties", [1.0, 2.0, 2.0], 1), ("zeros", [0.0, 0.0, 0.0], 0)):
        given = iter(values)
        trainer = weight_trainer(
            [1.0],
            epochs=3,
            validate=lambda m, given=given: {"metric": next(given)},
            monitor="metric",
            directory=tmp_path / folder,
        )
        trainer.fit()
        kept = lucid.load(tmp_path / folder / "best.safetensors")["w"].item()
        assert kept == pytest.approx(1 - 0.1 * (best + 1))


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_is_never_the_best(tmp_path, mode, value):
    trainer = weight_trainer(
        [1.0],
        validate=lambda m: {"metric": value},
        monitor="metric",
        mode=mode,
        directory=tmp_path,
    )
    trainer.fit()
    assert trainer.best is None
    assert not (tmp_path / "best.safetensors").exists()
    assert str(value) in (tmp_path / "metrics.csv").read_text()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_loss_that_is_not_finite_stops(tmp_path, value):
    losses = iter([1.0, value])
    trainer = weight_trainer(
        [1.0, 2.0],
        epochs=3,
        validate=lambda m: {"metric": 1.0, "val_loss": next(losses)},
        monitor="metric",
        directory=tmp_path,
    )
    with pytest.raises(
        FloatingPointError,
        match=rf"val_loss is {value} .*after step 4 \(epoch 2\).*lower learning",
    ):
        trainer.fit()
    assert [row["epoch"] for row in trainer.history] == [1]
    assert lucid.load(tmp_path / "best.safetensors")["w"].item() == pytest.approx(0.7)
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 2


class Overflow(Callback):
    """Makes the weight infinite, as an update by a finite gradient may."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            trainer.model.w.data[:] = math.inf


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 1}, {"monitor": "a"}])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, options):
    if "monitor" in options:
        options = {**options, "validate": lambda model: {"a": 1.0}}
    trainer = weight_trainer(
        [1.0, 1.0], epochs=2, directory=tmp_path, callbacks=[Overflow(4)], **options
    )
    with pytest.raises(
        FloatingPointError,
        match=r"1 of the model's 1 tensors are not finite after step 4 \(epoch 2\) .*first is w\)",
    ):
        trainer.fit()
    state = load_checkpoint(tmp_path / "last.safetensors")
    step = 3 if "checkpoint_every" in options else 2
    assert (state["step"], state["model"]["w"].item()) == (step, pytest.approx(1 - 0.1 * step))
    if "monitor" in options:
        assert lucid.load(tmp_path / "best.safetensors")["w"].item() == pytest.approx(0.8)


def test_weights_that_are_not_finite_before_the_first_step(tmp_path):
    trainer = weight_trainer([1.0, 1.0], directory=tmp_path)
    trainer.model.w.data[:] = math.nan
    with pytest.raises(FloatingPointError, match=r"before the first step .*first is w\)"):
        trainer.save()
    assert not (tmp_path / "last.safetensors").exists()


def test_weights_that_are_not_finite_stop_a_training_that_saves_nothing():
    trainer = weight_trainer([1.0, 1.0], callbacks=[Overflow(2)])
    with pytest.raises(FloatingPointError, match="not finite after step 2"):
        trainer.fit()
    assert trainer.history == []


def test_the_best_of_a_registered_model_is_a_whole_model(environment, tmp_path):
    @lucid.models.register_model(name="one_weight")
    def build(scale: float = 1.0) -> Weight:
        return Weight()

    model = lucid.models.create_model("one_weight", scale=2.0)
    options = {
        "epochs": 1,
        "validate": lambda model: {"accuracy": 1.0},
        "monitor": "accuracy",
        "directory": tmp_path,
        "class_names": ["cat"],
    }
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    Trainer(model, optimizer, [2.0], linear_loss, preprocessing={"size": 3}, **options).fit()
    kept = lucid.weights.model_metadata(tmp_path / "best.safetensors")
    assert str(kept) == "one_weight(scale=2.0)"
    assert kept.class_names == ("cat",)
    assert kept.preprocessing == {"size": 3}
    assert lucid.load_model(tmp_path / "best.safetensors").w.item() == pytest.approx(0.8)
    with pytest.raises(TypeError, match="preprocessing 'f'"):
        Trainer(model, optimizer, [2.0], linear_loss, preprocessing={"f": print}, **options)


def test_a_progress_bar_shows_only_where_it_is_wanted(capsys):
    weight_trainer([1.0, 2.0]).fit()
    assert capsys.readouterr() == ("", "")
    weight_trainer([1.0, 2.0], progress=True).fit()
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1/1: 100%" in err
    assert "loss=1.8" in err  # 0.9 * 2


def test_training_learns(small):
    history = small.make_trainer(epochs=8, max_grad_norm=None).fit()
    assert history[-1]["loss_class"] < 0.8 * history[0]["loss_class"]


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "dict of metrics, got None"), ({"good": "x"}, "as metric 'good', got 'x'")],
)
def test_a_validation_that_gives_no_numbers_is_named(given, message):
    with pytest.raises(TypeError, match=f"validate: expected .*{message}"):
        weight_trainer([1.0], validate=lambda model: given).fit()
