"""Trainer: steps, history, validation, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.training import Callback, Trainer, load_checkpoint


class Weight(nn.Module):
    """y = w x, with initial w = 1."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(lucid.ones(1))

    def forward(self, x):
        return self.w * x


def linear_loss(model, x):
    """Return w x, whose derivative with respect to w is x."""
    return model(x).sum()


def weight_trainer(batches, loss=linear_loss, lr=0.1, **options):
    model = Weight()
    options = {"epochs": 1, **options}
    return Trainer(model, optim.SGD(model.parameters(), lr=lr), batches, loss, **options)


def w_of(trainer):
    return trainer.model.w.item()


def test_one_step_per_batch():
    trainer = weight_trainer([2.0, 3.0], epochs=2)
    history = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 * (2 + 3) * 2)
    assert (trainer.epoch, trainer.step, trainer.batch) == (2, 4, 0)
    assert [(row["epoch"], row["step"], row["lr"]) for row in history] == [(1, 2, 0.1), (2, 4, 0.1)]
    # By hand: 1 * 2 and 0.8 * 3; then 0.5 * 2 and 0.3 * 3.
    assert [row["loss"] for row in history] == pytest.approx([(2 + 2.4) / 2, (1 + 0.9) / 2])
    assert all(row["seconds"] >= 0 for row in history)


def test_accumulated_batches_are_averaged():
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


def test_scheduler_steps_after_every_optimizer_step():
    trainer = weight_trainer([1.0, 1.0, 1.0])
    trainer.scheduler = optim.lr_scheduler.StepLR(trainer.optimizer, 1, gamma=0.5)
    (row,) = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 - 0.05 - 0.025)
    assert row["lr"] == pytest.approx(0.0125)


def test_losses_are_summed_and_logged_separately():
    def both(model, x):
        return {"loss_a": linear_loss(model, x), "loss_b": 2 * linear_loss(model, x)}

    trainer = weight_trainer([1.0], both)
    (row,) = trainer.fit()
    assert w_of(trainer) == pytest.approx(1 - 0.1 * 3)
    assert (row["loss_a"], row["loss_b"], row["loss"]) == (1.0, 2.0, 3.0)


def test_validation_runs_in_evaluation_mode_without_gradients():
    seen = []

    def validate(model):
        seen.append((model.training, model.frozen.training, lucid.is_grad_enabled()))
        return {"accuracy": np.float32(0.5)}

    trainer = weight_trainer([1.0], validate=validate)
    trainer.model.frozen = nn.Dropout().eval()
    (row,) = trainer.fit()
    assert seen == [(False, False, False)]
    assert trainer.model.training
    assert not trainer.model.frozen.training  # unchanged
    assert row["accuracy"] == 0.5


def test_model_in_evaluation_mode_is_set_to_training_mode():
    trainer = weight_trainer([1.0])
    trainer.model.eval()
    trainer.fit()
    assert trainer.model.training


@pytest.mark.parametrize("loss", ["loss", "loss_b"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_loss_stops_before_the_update(loss, value):
    def sick(model, x):
        given = {"loss_a": linear_loss(model, x), loss: model(x).sum() * (value if x > 1 else 1)}
        return given[loss] if loss == "loss" else given

    trainer = weight_trainer([1.0, 2.0], sick)
    with pytest.raises(FloatingPointError, match=rf"{loss} is {value} at step 2 \(epoch 1\)"):
        trainer.fit()
    assert trainer.step == 1
    assert math.isfinite(w_of(trainer))


def test_error_of_a_model_checking_its_losses_names_the_step():
    def sick(model, x):
        if x > 1:
            raise FloatingPointError("loss_b is nan")
        return linear_loss(model, x)

    trainer = weight_trainer([1.0, 2.0], sick)
    with pytest.raises(FloatingPointError, match=r"loss_b is nan; at step 2 \(epoch 1\)"):
        trainer.fit()
    assert trainer.step == 1


def test_non_finite_gradients_stop_before_the_update():
    def root(model, x):
        return (model(x) - 1).sqrt().sum()  # infinite derivative at w = 1

    trainer = weight_trainer([1.0], root, max_grad_norm=1.0)
    with (
        np.errstate(divide="ignore"),
        pytest.raises(FloatingPointError, match="gradient norm is inf at step 1"),
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
def test_invalid_losses_are_rejected(given, error, message):
    with pytest.raises(error, match=message):
        weight_trainer([1.0], lambda model, batch: given).fit()


def test_metric_names_are_checked(tmp_path):
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
        ({"epochs": 0}, "epochs: .*got 0"),
        ({"accumulate": 0}, "accumulate"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"mode": "largest"}, "'max' or 'min', got 'largest'"),
        ({"monitor": "accuracy"}, "monitor='accuracy'.*validate.*directory"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        weight_trainer([1.0], **options)


def test_empty_loader_is_rejected():
    with pytest.raises(ValueError, match="at least one batch"):
        weight_trainer([])


def test_loader_with_fewer_batches_than_its_length_raises():
    class Liar:
        def __len__(self):
            return 2

        def __iter__(self):
            return iter([1.0])

    with pytest.raises(ValueError, match=r"2 batches .*fewer"):
        weight_trainer(Liar()).fit()


def test_callbacks_are_called_in_order():
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


def test_callback_can_stop_a_run_that_resumes(tmp_path):
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
def test_best_model_is_saved(tmp_path, mode, best):
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


def test_first_of_equal_models_is_the_best(tmp_path):
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
def test_non_finite_metric_is_never_the_best(tmp_path, mode, value):
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
def test_non_finite_validation_loss_stops(tmp_path, value):
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
        match=rf"val_loss, got {value} .*after step 4 \(epoch 2\).*lower learning",
    ):
        trainer.fit()
    assert [row["epoch"] for row in trainer.history] == [1]
    assert lucid.load(tmp_path / "best.safetensors")["w"].item() == pytest.approx(0.7)
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 2


class Overflow(Callback):
    """Set the weight to infinity, as a large finite gradient may."""

    def __init__(self, step):
        self.step = step

    def on_step(self, trainer, losses):
        if trainer.step == self.step:
            trainer.model.w.data[:] = math.inf


@pytest.mark.parametrize("options", [{}, {"checkpoint_every": 1}, {"monitor": "a"}])
def test_non_finite_weights_are_never_saved(tmp_path, options):
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


def test_non_finite_initial_weights_are_rejected(tmp_path):
    trainer = weight_trainer([1.0, 1.0], directory=tmp_path)
    trainer.model.w.data[:] = math.nan
    with pytest.raises(FloatingPointError, match=r"before the first step .*first is w\)"):
        trainer.save()
    assert not (tmp_path / "last.safetensors").exists()


def test_non_finite_weights_stop_a_run_without_directory():
    trainer = weight_trainer([1.0, 1.0], callbacks=[Overflow(2)])
    with pytest.raises(FloatingPointError, match="not finite after step 2"):
        trainer.fit()
    assert trainer.history == []


def test_best_registered_model_is_a_model_file(environment, tmp_path):
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


def test_progress_bar_is_shown_if_enabled(capsys):
    weight_trainer([1.0, 2.0]).fit()
    assert capsys.readouterr() == ("", "")
    weight_trainer([1.0, 2.0], progress=True).fit()
    out, err = capsys.readouterr()
    assert out == ""
    assert "epoch 1/1: 100%" in err
    assert "loss=1.8" in err  # 0.9 * 2


def test_training_reduces_the_loss(small):
    history = small.make_trainer(epochs=8, max_grad_norm=None).fit()
    assert history[-1]["loss_class"] < 0.8 * history[0]["loss_class"]


@pytest.mark.parametrize(
    ("given", "message"),
    [(None, "dict of metrics, got None"), ({"good": "x"}, "as metric 'good', got 'x'")],
)
def test_invalid_metrics_are_rejected(given, message):
    with pytest.raises(TypeError, match=f"validate: expected .*{message}"):
        weight_trainer([1.0], validate=lambda model: given).fit()
