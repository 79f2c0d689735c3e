"""Optimizers: groups, checks, state."""

import copy
import json

import numpy as np
import pytest

import lucid
from lucid import nn, optim
from lucid.autograd.mutation import track
from lucid.autograd.variable import next_order


def parameters(*shapes):
    result = [nn.Parameter(np.ones(shape, np.float32)) for shape in shapes]
    for p in result:
        p.grad = lucid.ones_like(p)
    return result


def test_groups_have_their_own_options():
    a, b = parameters(2, 2)
    sgd = optim.SGD([{"params": [a], "lr": 0.5, "name": "backbone"}, {"params": b}], lr=0.25)
    sgd.step()
    np.testing.assert_array_equal(a.numpy(), [0.5, 0.5])
    np.testing.assert_array_equal(b.numpy(), [0.75, 0.75])
    assert sgd.param_groups[0]["name"] == "backbone"
    sgd.param_groups[1]["lr"] = 0.0
    sgd.step()
    np.testing.assert_array_equal(b.numpy(), [0.75, 0.75])


def test_optimizer_without_a_rule_raises():
    class Nothing(optim.Optimizer):
        pass

    class Checked(optim.Optimizer):
        def _check(self, options):
            pass

    with pytest.raises(NotImplementedError, match=r"Nothing defines no _check\(\)"):
        Nothing(parameters(2), {})
    with pytest.raises(NotImplementedError, match=r"Checked defines no _update\(\)"):
        Checked(parameters(2), {}).step()


def test_parameters_without_gradient_are_skipped():
    a, b = parameters(2, 2)
    b.grad = None
    before = next_order()
    sgd = optim.SGD(iter([a, b]), lr=1.0, momentum=0.9)
    sgd.step()
    np.testing.assert_array_equal(b.numpy(), [1, 1])
    assert track(b._data).written < before < track(a._data).written
    assert b not in sgd.state
    sgd.zero_grad()
    assert a.grad is None


def test_failing_step_marks_every_parameter_changed():
    """Weights folded before the step must not be used; a new buffer is not stored."""
    a, b = parameters(2, 2)
    b.data.flags.writeable = False
    before = next_order()
    sgd = optim.SGD([a, b], lr=1.0, momentum=0.9)
    with pytest.raises(ValueError, match="read-only"):
        sgd.step()
    assert track(a._data).written > before
    assert track(b._data).written > before
    assert sgd.state[b] == {}


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW])
def test_step_does_not_change_gradients(make, maximize):
    (p,) = parameters((3, 2))
    make([p], lr=0.1, weight_decay=0.1, maximize=maximize).step()
    np.testing.assert_array_equal(p.grad.numpy(), np.ones((3, 2)))


def test_closure_runs_with_gradients_and_its_loss_is_returned():
    (p,) = parameters(2)
    sgd = optim.SGD([p], lr=0.25)

    def closure():
        sgd.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with lucid.no_grad():
        loss = sgd.step(closure)
    assert loss.item() == 2
    np.testing.assert_array_equal(p.numpy(), [0.5, 0.5])
    assert sgd.step() is None


def owner(p):
    module = nn.Module()
    module.p = p
    return module


@pytest.mark.parametrize("of", [lambda p: optim.SGD([p], lr=1.0), owner])
def test_zero_grad_can_keep_zeros(of):
    (p,) = parameters(2)
    kept = p.grad
    of(p).zero_grad(set_to_none=False)
    assert p.grad is kept
    np.testing.assert_array_equal(kept.numpy(), [0, 0])
    of(p).zero_grad()
    assert p.grad is None
    of(p).zero_grad(set_to_none=False)
    assert p.grad is None


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda a, b: optim.SGD([], lr=1), ValueError, "SGD: .*got none"),
        (lambda a, b: optim.SGD(a, lr=1), TypeError, "an iterable of parameters or groups"),
        (lambda a, b: optim.SGD(3, lr=1), TypeError, "got int"),
        (lambda a, b: optim.SGD([a, "b"]), TypeError, "got str at position 1"),
        (lambda a, b: optim.SGD([a * 2]), ValueError, "float32, not a leaf"),
        (lambda a, b: optim.SGD([lucid.arange(3)]), ValueError, "floating-point leaf tensors"),
        (lambda a, b: optim.SGD([a, a]), ValueError, "position 1 .*twice"),
        (
            lambda a, b: optim.SGD([{"params": [a]}, {"params": [b, a]}]),
            ValueError,
            r"position 1 \(shape \(2,\)\) .*twice",
        ),
        (lambda a, b: optim.SGD([{"lr": 1}]), TypeError, "a key 'params'"),
        (
            lambda a, b: optim.SGD([{"params": [a], "weight_deacy": 1}]),
            ValueError,
            r"'dampening', 'lr'.* got \['weight_deacy'\]",
        ),
        (lambda a, b: optim.SGD([{"params": [a], "lr": -1}]), ValueError, "lr >= 0"),
        (lambda a, b: optim.SGD([a], lr=float("nan")), ValueError, "lr >= 0"),
    ],
)
def test_invalid_groups_are_rejected(build, error, message):
    with pytest.raises(error, match=message):
        build(*parameters(2, 3))


def test_add_param_group_adds_all_or_nothing():
    a, b, c = parameters(2, 2, 2)
    sgd = optim.SGD([a], lr=1)
    with pytest.raises(ValueError, match="twice"):
        sgd.add_param_group({"params": [b, a]})
    assert len(sgd.param_groups) == 1
    sgd.add_param_group({"params": [b, c], "lr": 2})
    assert [len(g["params"]) for g in sgd.param_groups] == [1, 2]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        lambda p: optim.Adam(p, lr=0.1),
        lambda p: optim.Adam(p, lr=0.1, betas=(0.9, 0.5), amsgrad=True, maximize=True),
        lambda p: optim.AdamW([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1),
    ],
)
def test_training_continues_exactly_after_loading_the_state(make):
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((6, 2, 4, 3)).astype(np.float32)

    def run(params, optimizer, steps):
        for step in steps:
            for i, p in enumerate(params):
                p.grad = lucid.Tensor(gradients[step, i])
            optimizer.step()

    straight = parameters((4, 3), (4, 3))
    run(straight, make(straight), range(6))

    first = parameters((4, 3), (4, 3))
    before = make(first)
    run(first, before, range(3))
    state = copy.deepcopy(before.state_dict())
    second = [nn.Parameter(p.numpy().copy()) for p in first]
    after = make(second)
    after.load_state_dict(state)
    run(second, after, range(3, 6))
    for p, q in zip(straight, second, strict=True):
        assert p.numpy().tobytes() == q.numpy().tobytes()


def test_state_survives_json_and_is_copied():
    (p,) = parameters((2,))
    adam = optim.Adam([p])
    adam.step()
    state = adam.state_dict()
    assert set(state["state"][0]) == {"step", "exp_avg", "exp_avg_sq"}
    assert np.shares_memory(state["state"][0]["exp_avg"].numpy(), adam.state[p]["exp_avg"])
    tensors = state["state"][0]
    passed = json.loads(json.dumps({**state, "state": {0: {"step": tensors["step"]}}}))
    passed["state"]["0"].update(exp_avg=tensors["exp_avg"], exp_avg_sq=tensors["exp_avg_sq"])
    other = optim.Adam(parameters((2,)), lr=5.0, betas=(0.5, 0.5))
    other.load_state_dict(passed)
    assert other.param_groups[0]["betas"] == (0.9, 0.999)
    kept = next(iter(other.state.values()))
    np.testing.assert_array_equal(kept["exp_avg"], adam.state[p]["exp_avg"])
    assert not np.shares_memory(kept["exp_avg"], adam.state[p]["exp_avg"])


def test_mismatched_state_changes_nothing():
    def trained(make, *shapes):
        optimizer = make(parameters(*shapes))
        optimizer.step()
        return optimizer

    def sgd(p):
        return optim.SGD(p, lr=0.1, momentum=0.9)

    target = trained(sgd, (2,), (3,))
    before = copy.deepcopy(target.state_dict())
    good = target.state_dict()
    wrong_shape = copy.deepcopy(good)
    wrong_shape["state"][1]["momentum_buffer"] = lucid.zeros(4)
    wrong_names = copy.deepcopy(good)
    wrong_names["state"][0] = {"exp_avg": lucid.zeros(2)}
    stray = copy.deepcopy(good)
    stray["state"][7] = {}
    negative = copy.deepcopy(good)
    negative["param_groups"][0]["lr"] = -1.0
    for state, message in (
        (trained(sgd, (2,)).state_dict(), r"groups of \[2\] parameters, got \[1\]"),
        (trained(optim.Adam, (2,), (3,)).state_dict(), r"lacks options \['dampening'"),
        (wrong_shape, r"momentum_buffer of parameter 1 .*got \(4,\)"),
        (wrong_names, r"\['momentum_buffer'\], got \['exp_avg'\]"),
        (stray, "parameter 7"),
        (negative, "lr >= 0"),
        ({"state": {}}, "keys 'state' and 'param_groups'"),
    ):
        with pytest.raises(ValueError, match=message):
            target.load_state_dict(state)
    after = target.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for i in (0, 1):
        np.testing.assert_array_equal(
            after["state"][i]["momentum_buffer"].numpy(),
            before["state"][i]["momentum_buffer"].numpy(),
        )


def test_repr_lists_groups():
    (p,) = parameters(2)
    assert repr(optim.SGD([p], lr=0.1)) == (
        "SGD(\n  (0): 1 parameters, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, "
        "nesterov=False, maximize=False\n)"
    )


@pytest.mark.parametrize("kept", ["gradient", "state"])
@pytest.mark.parametrize("size", [1, 4])
def test_parameters_replaced_by_another_shape_are_rejected(kept, size):
    """Kernels would read out of bounds of the state arrays."""
    first, p = (lucid.tensor(np.ones(3, np.float32), requires_grad=True) for _ in range(2))
    optimizer = lucid.optim.Adam([first, p], lr=0.1)
    (first + p).sum().backward()
    if kept == "state":
        optimizer.step()
        optimizer.zero_grad()
    p.data = np.ones(size, np.float32)
    if kept == "state":
        first.sum().backward()
        p.sum().backward()
    before = first.numpy().copy()
    name = r"\.grad" if kept == "gradient" else "exp_avg"
    with pytest.raises(ValueError, match=rf"{name} .*\({size},\), got \(3,\) \(parameter 1 "):
        optimizer.step()
    np.testing.assert_array_equal(first.numpy(), before)
    np.testing.assert_array_equal(p.numpy(), np.ones(size))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"lr": "0.1"}, "lr"),
        ({"lr": None}, "lr"),
        ({"lr": 0.1, "momentum": "0.9"}, "momentum"),
        ({"lr": 0.1, "dampening": [0]}, "dampening"),
        ({"lr": True}, "lr"),
    ],
)
def test_options_must_be_numbers(options, name):
    with pytest.raises(TypeError, match=f"SGD: expected a number for {name}, got"):
        optim.SGD(parameters(2), **options)


@pytest.mark.parametrize("betas", [0.9, None, ("0.9", 0.99), "ab"])
def test_betas_must_be_two_numbers(betas):
    with pytest.raises(TypeError, match="betas"):
        optim.Adam(parameters(2), betas=betas)


@pytest.mark.parametrize("lr", [np.float32(0.5), np.array(0.5), lucid.tensor(0.5), 1])
def test_numpy_and_tensor_scalars_are_accepted_as_lr(lr):
    (p,) = parameters(1)
    optim.SGD([p], lr=lr).step()
    assert float(p.numpy()[0]) == 1 - float(lr)


@pytest.mark.parametrize("params", [nn.Linear(1, 1), nn.Linear(1, 1).parameters, None])
def test_group_of_other_objects_names_the_remedy(params):
    with pytest.raises(TypeError, match=r"pass model\.parameters\(\)"):
        optim.SGD([{"params": params}], lr=0.1)


def test_named_parameters_error_names_the_remedy():
    with pytest.raises(TypeError, match=r"got tuple at position 0; pass model\.parameters\(\)"):
        optim.SGD(nn.Linear(1, 1).named_parameters(), lr=0.1)


def test_step_rejects_a_loss_instead_of_a_closure():
    (p,) = parameters(2)
    with pytest.raises(TypeError, match=r"got Tensor; call loss\.backward\(\)"):
        optim.SGD([p], lr=0.1).step(lucid.tensor(1.0))
    np.testing.assert_array_equal(p.numpy(), [1.0, 1.0])
