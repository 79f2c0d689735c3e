"""Checks of models: builder, parameters, seeding, forward pass, saving, pickling."""

from __future__ import annotations

import re

import numpy as np
import pytest

import lucid
from lucid.testing.plugin_checks import (
    CheckError,
    CheckNotRunError,
    check_builder,
    check_forward,
    check_parameters,
    check_pickle,
    check_seed,
    check_state_dict,
)

ALL = (
    check_builder,
    check_parameters,
    check_seed,
    check_forward,
    check_state_dict,
    check_pickle,
)


@pytest.mark.parametrize("check", ALL)
def test_correct_model_passes(toy, check) -> None:
    lucid.random.seed(7)
    state = lucid.random.get_state()
    check(toy())
    assert lucid.random.get_state() == state  # unchanged by the check


def failure(check, tested) -> CheckError:
    with pytest.raises(CheckError) as caught:
        check(tested)
    assert caught.value.advice
    assert str(caught.value) == f"{caught.value.problem}\nhint: {caught.value.advice}"
    return caught.value


# --- builder ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("builder", "problem"),
    [
        ('def net(width) -> nn.Linear:\n    "Has no default."', "give a default to: width"),
        ('def net():\n    "A net."', "must be annotated to return a subclass of lucid.nn.Module"),
        ('def net() -> int:\n    "A net."', "got <class 'int'>"),
        ("def net() -> nn.Linear:\n    return nn.Linear(2, 2)", "has no docstring"),
        ('def net(a: int = 1, b: int = 2) -> nn.Linear:\n    "Has a."', "does not describe b"),
        ('def net() -> nn.Linear:\n    "A net."\n    return 1', "must return a lucid.nn.Module"),
        (
            'def net() -> nn.Linear:\n    "A net."\n    raise SystemExit("no")',
            r"net\(\) raised SystemExit: no \(.*toy/builders.py:9\)",
        ),
        ("net = 3", "must be a function, got int"),
        ("nothing = 3", "does not exist"),
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    ],
)
def test_invalid_builder_fails(toy, builder, problem) -> None:
    assert re.search(problem, failure(check_builder, toy(builder)).problem)


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (
            'def net() -> nn.Linear:\n    "A net."\n    return 1',
            "the builder toy.builders:net of model 'net' must return",
        ),
        ("net = 3", "the builder 'toy.builders:net' of model 'net' (toy 1.0) must be a function"),
    ],
)
def test_checks_do_not_run_if_model_cannot_be_built(toy, source, problem) -> None:
    tested = toy(source)
    assert failure(check_builder, tested).problem.startswith(problem)
    for check in ALL[1:]:
        with pytest.raises(CheckNotRunError, match="'builder'"):
            check(tested)


# --- the built model ----------------------------------------------------------------------


def test_wrong_number_of_parameters_fails(toy) -> None:
    error = failure(check_parameters, toy(total_parameters=1234))
    assert error.problem == (
        "registered with total_parameters=1,234, but the model built without arguments has 6"
    )
    assert error.advice == "write total_parameters=6 in lucid_register_models"


def test_unseeded_weights_fail(toy) -> None:
    tested = toy(
        "def net() -> nn.Module:\n"
        "    net = nn.Linear(2, 2)\n"
        "    net.bias.data = np.random.default_rng().random(2).astype('float32')\n"
        "    return net\n"
    )
    error = failure(check_seed, tested)
    assert error.problem.endswith(" in bias")
    assert "numpy.random" in error.advice


@pytest.mark.parametrize(
    ("forward", "fields", "problem"),
    [
        ("return x @ x", {}, "the model called with a tensor of shape (1, 2) raised"),
        ("return 'nothing'", {}, "a Tensor from forward(), got a str"),
        ("return {'a': [x / 0.0]}", {}, "gave NaN or infinity"),
        (
            "return x.sum()",
            {"task": "image-classification"},
            "logits (N, num_classes) from an image classifier, got () for an input of shape (1, 2)",
        ),
    ],
)
def test_invalid_forward_fails(toy, forward, fields, problem) -> None:
    tested = toy(
        f"class Net(nn.Module):\n    def forward(self, x):\n        {forward}\n"
        "def net() -> Net:\n    return Net()\n",
        total_parameters=0,
        **fields,
    )
    with np.errstate(all="ignore"):
        assert problem in failure(check_forward, tested).problem


def test_forward_runs_in_eval_mode_and_restores_mode(toy) -> None:
    tested = toy(
        "class Net(nn.Module):\n"
        "    def forward(self, x):\n"
        "        assert not self.training and not lucid.is_grad_enabled()\n"
        "        return [x, {'same': x}]\n"
        "def net() -> Net:\n    return Net()\n"
    )
    check_forward(tested)
    assert tested.model.training


def test_incomplete_state_dict_fails(toy) -> None:
    tested = toy(
        "class Net(nn.Linear):\n"
        "    def state_dict(self):\n"
        "        return {n: t for n, t in super().state_dict().items() if n != 'bias'}\n"
        "def net() -> Net:\n    return Net(2, 2)\n"
    )
    error = failure(check_state_dict, tested)
    assert "saving and loading its state dict raised StateDictError" in error.problem
    assert "bias" in error.problem


def test_state_dict_that_is_not_restored_fails(toy) -> None:
    tested = toy(
        "class Net(nn.Linear):\n"
        "    def load_state_dict(self, state, **options):\n"
        "        pass\n"
        "def net() -> Net:\n    return Net(2, 2)\n"
    )
    error = failure(check_state_dict, tested)
    assert error.problem.endswith(" in bias, weight")


@pytest.mark.parametrize("check", [check_builder, check_seed])
def test_keyboard_interrupt_propagates(toy, check) -> None:
    tested = toy('def net() -> nn.Linear:\n    "A net."\n    raise KeyboardInterrupt')
    with pytest.raises(KeyboardInterrupt):
        check(tested)


def test_unstable_parameter_names_fail(toy) -> None:
    tested = toy(
        "count = 0\n"
        "def net() -> nn.Module:\n"
        "    global count\n"
        "    count += 1\n"
        "    return nn.ModuleDict({f'layer{count}': nn.Linear(2, 2)})\n"
    )
    assert "layer2" in failure(check_state_dict, tested).problem


def test_model_that_cannot_be_pickled_fails(toy) -> None:
    tested = toy(
        "def net() -> nn.Module:\n"
        "    net = nn.Linear(2, 2)\n"
        "    net.hook = lambda x: x\n"
        "    return net\n"
    )
    error = failure(check_pickle, tested)
    assert error.problem.startswith("pickling the model raised")
    assert "lambdas" in error.advice


@pytest.mark.parametrize(
    ("reduced", "problem"),
    [
        ("nn.Linear, (2, 2)", "expected a Net from pickle, got a Linear"),
        ("Net, (2, 2)", "the unpickled state dict differs in bias, weight"),
    ],
)
def test_changed_model_after_pickling_fails(toy, reduced, problem) -> None:
    tested = toy(
        "class Net(nn.Linear):\n"
        "    def __reduce__(self):\n"
        f"        return {reduced}\n"
        "def net() -> Net:\n    return Net(2, 2)\n"
    )
    assert failure(check_pickle, tested).problem == problem


DETECTOR = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, targets):
        raise RuntimeError

    def predict(self, x):
        assert 0 <= x.numpy().min() <= x.numpy().max() <= 1
        return [{{"boxes": np.full((1, 4), {value}, np.float32)}}]


def net() -> Net:
    "A model that needs targets."
    return Net()
"""


def test_predict_is_called_if_forward_needs_targets(toy) -> None:
    check_forward(toy(DETECTOR.format(value=3.0)))


def test_non_finite_predictions_fail(toy) -> None:
    assert (
        "gave NaN"
        in failure(
            check_forward, toy(DETECTOR.format(value=np.nan).replace("nan", "np.nan"))
        ).problem
    )
