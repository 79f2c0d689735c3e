from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lucid import nn
from lucid.optim import SGD
from lucid.training import Callback, Trainer
from lucid.training.option_checks import (
    check_callbacks,
    check_components,
    check_floats,
    check_integers,
)


@pytest.mark.parametrize("value", [0, -1, 1.0, "2", math.nan])
def test_check_integers_rejects_other_values(value):
    with pytest.raises(ValueError, match=r"epochs: .*>= 1, got"):
        check_integers(SimpleNamespace(epochs=value), ["epochs"], 1)


@pytest.mark.parametrize("value", [1, np.int64(3), None])
def test_check_integers_accepts_integers(value):
    check_integers(SimpleNamespace(epochs=value), ["epochs"], 1)


@pytest.mark.parametrize("value", [0, -1e-3, math.nan, math.inf, "1"])
def test_check_floats_rejects_other_values(value):
    with pytest.raises(ValueError, match=r"lr: .*number > 0, got"):
        check_floats(SimpleNamespace(lr=value), ["lr"])


def test_check_floats_accepts_finite_positive_numbers():
    check_floats(SimpleNamespace(lr=1, other=np.float64(0.5), none=None), ["lr", "other", "none"])
    check_floats(SimpleNamespace(lr=0), ["lr"], zero=True)
    with pytest.raises(ValueError, match=">= 0, got -1"):
        check_floats(SimpleNamespace(lr=-1), ["lr"], zero=True)


def parts(**given: Any) -> dict[str, Any]:
    model = nn.Linear(2, 1)
    usual = {
        "model": model,
        "optimizer": SGD(model.parameters(), 0.1),
        "loader": [1],
        "scheduler": None,
        "validate": None,
    }
    return {**usual, **given}


def test_valid_components_are_accepted() -> None:
    check_components(**parts())
    check_components(**parts(validate=len, loader=range(3)))
    frozen = parts()
    frozen["model"].requires_grad_(False)
    check_components(**frozen)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", nn.Linear),
        ("model", len),
        ("optimizer", SGD),
        ("loader", (batch for batch in ())),
        ("loader", 3),
        ("scheduler", 0.1),
        ("validate", {"accuracy": 1.0}),
    ],
)
def test_wrong_component_types_are_rejected(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name}: expected .*, got "):
        check_components(**parts(**{name: value}))


def test_optimizer_of_another_model_is_rejected() -> None:
    other = SGD(nn.Linear(2, 1).parameters(), 0.1)
    with pytest.raises(ValueError, match=r"optimizer: .* got none .*model\.parameters\(\)"):
        check_components(**parts(optimizer=other))
    with pytest.raises(ValueError, match="optimizer"):
        Trainer(nn.Linear(2, 1), other, [1], lambda model, batch: None, epochs=1)


class Keras(Callback):
    def on_epoch_end(self) -> None:
        """Never called."""


class Own(Callback):
    on_validation_set = True

    def on_epoch(self, trainer: Any, row: Any) -> None:
        self.on_best()

    def on_best(self) -> None:
        """Called by the test."""


@pytest.mark.parametrize("callbacks", [None, Own(), [Own], [print], [Own(), 3]])
def test_invalid_callbacks_are_rejected(callbacks: Any) -> None:
    with pytest.raises(TypeError, match="callbacks: expected"):
        check_callbacks(callbacks)


def test_callback_with_hooks_of_another_library_is_rejected() -> None:
    check_callbacks([Own()])
    with pytest.raises(TypeError, match=r"Keras\.on_epoch_end is never called; .* on_epoch\(tr"):
        check_callbacks([Own(), Keras()])
    model = nn.Linear(2, 1)
    trainer = Trainer(model, SGD(model.parameters(), 0.1), [1], lambda m, b: None, epochs=1)
    with pytest.raises(TypeError, match="on_epoch_end"):
        trainer.fit(callbacks=[Keras()])
