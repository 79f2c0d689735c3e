"""Learning rates of schedulers, by hand."""

import json
import math

import pytest

from lucid import nn, optim
from lucid.optim import lr_scheduler


def optimizer(*rates):
    groups = [{"params": nn.Parameter([0.0]), "lr": rate} for rate in rates]
    return optim.SGD(groups, lr=1.0)


def run(scheduler, steps):
    """Return the learning rate of the first group before each step."""
    rates = []
    for _ in range(steps):
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
        assert scheduler.get_last_lr()[0] == rates[-1]
        scheduler.step()
    return rates


MAKE = {
    "step": lambda o: lr_scheduler.StepLR(o, 2, 0.5),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [3, 1, 3], 0.5),
    "linear": lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 3),
    "linear down": lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, 2),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 2, 2.0),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.5, 1.0, 2), lr_scheduler.StepLR(o, 2, 0.1)], [3]
    ),
    "sequential of steps": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.StepLR(o, 1, 0.5), lr_scheduler.MultiStepLR(o, [0, 1], 0.5)], [2]
    ),
    "sequential cut short": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.5, 1.0, 4), lr_scheduler.CosineAnnealingLR(o, 2)], [2]
    ),
}


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("step", [8, 8, 4, 4, 2, 2, 1]),
        ("multistep", [8, 4, 4, 1, 1]),
        ("linear", [2, 4, 6, 8, 8]),
        ("linear down", [8, 4, 0, 0]),
        ("cosine", [8, 5, 2, 5, 8, 5, 2]),
        ("sequential", [4, 6, 8, 8, 8, 0.8, 0.8, 0.08]),
        ("sequential of steps", [8, 4, 4, 2, 2]),
        ("sequential cut short", [4, 5, 8, 4, 0]),
    ],
)
def test_learning_rates_equal_hand_computed_values(name, rates):
    assert run(MAKE[name](optimizer(8.0)), len(rates)) == pytest.approx(rates, abs=1e-15)


def test_each_group_has_its_own_learning_rate():
    sgd = optimizer(1.0, 0.1)
    scheduler = lr_scheduler.StepLR(sgd, 1, 0.5)
    scheduler.step()
    assert scheduler.get_last_lr() == [0.5, 0.05]
    assert [group["initial_lr"] for group in sgd.param_groups] == [1.0, 0.1]


def test_two_schedulers_on_one_optimizer_multiply():
    sgd = optimizer(8.0)
    warm_up = lr_scheduler.LinearLR(sgd, 0.5, 1.0, 2)
    steps = lr_scheduler.MultiStepLR(sgd, [2], 0.1)
    rates = []
    for _ in range(4):
        rates.append(sgd.param_groups[0]["lr"])
        warm_up.step()
        steps.step()
    assert rates == pytest.approx([4, 6, 0.8, 0.8])


def test_nested_sequential_lr():
    sgd = optimizer(8.0)
    inner = lr_scheduler.SequentialLR(
        sgd, [lr_scheduler.LinearLR(sgd, 0.5, 1.0, 1), lr_scheduler.StepLR(sgd, 1, 0.5)], [2]
    )
    outer = lr_scheduler.SequentialLR(sgd, [lr_scheduler.StepLR(sgd, 9), inner], [2])
    assert run(outer, 7) == [8, 8, 4, 8, 8, 4, 2]


@pytest.mark.parametrize("name", MAKE)
def test_schedule_continues_exactly_after_loading_the_state(name):
    expected = run(MAKE[name](optimizer(8.0)), 9)
    first = MAKE[name](optimizer(8.0))
    run(first, 4)
    second = MAKE[name](optimizer(8.0))
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.last_epoch == 4
    assert run(second, 5) == expected[4:]


def test_last_epoch_continues_a_schedule():
    sgd = optimizer(1.0)
    with pytest.raises(ValueError, match=r"'initial_lr' in group 0 .*epoch 3"):
        lr_scheduler.StepLR(sgd, 2, last_epoch=3)
    sgd.param_groups[0]["initial_lr"] = 1.0
    assert lr_scheduler.StepLR(sgd, 2, 0.5, last_epoch=3).get_last_lr() == [0.5]


def test_manual_learning_rate_change_is_kept():
    sgd = optimizer(8.0)
    scheduler = lr_scheduler.StepLR(sgd, 2, 0.5)
    sgd.param_groups[0]["lr"] = 1.0
    assert run_rates(scheduler, 3) == [1.0, 0.5, 0.5]


def run_rates(scheduler, steps):
    rates = []
    for _ in range(steps):
        scheduler.step()
        rates.append(scheduler.optimizer.param_groups[0]["lr"])
    return rates


def test_cosine_ends_exactly_at_eta_min():
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer(0.1), 100, 1e-4)
    assert run(scheduler, 101)[-1] == pytest.approx(1e-4, rel=1e-9)
    middle = lr_scheduler.CosineAnnealingLR(optimizer(1.0), 3)
    assert run(middle, 2)[1] == pytest.approx((1 + math.cos(math.pi / 3)) / 2)


def make_sequential(schedulers, milestones):
    sgd = optimizer(1.0)
    return lr_scheduler.SequentialLR(sgd, [s(sgd) for s in schedulers], milestones)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: lr_scheduler.StepLR(3, 2), TypeError, "optimizer, got int"),
        (lambda: lr_scheduler.StepLR(optimizer(1.0), 0), ValueError, "step_size .* got 0"),
        (lambda: lr_scheduler.CosineAnnealingLR(optimizer(1.0), 0), ValueError, "T_max .* got 0"),
        (lambda: lr_scheduler.LinearLR(optimizer(1.0), 0.0), ValueError, "start_factor"),
        (
            lambda: lr_scheduler.LinearLR(optimizer(1.0), 0.5, 2.0),
            ValueError,
            r"end_factor in \[0, 1\]",
        ),
        (lambda: make_sequential([], []), ValueError, "got 0 for 0 schedulers"),
        (lambda: make_sequential([MAKE["step"]], [1]), ValueError, "got 1 for 1 schedulers"),
        (lambda: make_sequential([MAKE["step"]] * 3, [5, 5]), ValueError, "milestones .*got"),
        (
            lambda: lr_scheduler.SequentialLR(optimizer(1.0), [MAKE["step"](optimizer(1.0))], []),
            ValueError,
            "schedulers of the given optimizer",
        ),
    ],
)
def test_invalid_arguments_are_rejected(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_scheduler_without_a_rule_raises():
    class Nothing(lr_scheduler.LRScheduler):
        pass

    class Constant(lr_scheduler.LRScheduler):
        def _chainable_lr(self, lr, base):
            return lr

    with pytest.raises(NotImplementedError, match=r"Nothing defines no _chainable_lr\(\)"):
        Nothing(optimizer(1.0))
    assert run(Constant(optimizer(0.5)), 3) == [0.5] * 3
    with pytest.raises(NotImplementedError, match=r"Constant defines no _closed_form_lr\(\)"):
        make_sequential([MAKE["step"], Constant], [1]).step()


def test_mismatched_state_changes_nothing():
    target = MAKE["sequential"](optimizer(1.0))
    before = target.state_dict()
    bad_child = {**before, "_schedulers": [before["_schedulers"][0], {}]}
    for state, message in (
        (MAKE["step"](optimizer(1.0)).state_dict(), "SequentialLR: .*state with the keys"),
        (MAKE["sequential"](optimizer(1.0, 2.0)).state_dict(), "1 parameter groups, got 2"),
        ({**before, "_schedulers": []}, "2 schedulers, got 0"),
        (bad_child, "StepLR: .*state"),
        (None, "got None"),
    ):
        with pytest.raises(ValueError, match=message):
            target.load_state_dict(state)
    assert target.state_dict() == before


def test_group_added_later_raises():
    sgd = optimizer(1.0)
    scheduler = lr_scheduler.StepLR(sgd, 2)
    sgd.add_param_group({"params": nn.Parameter([0.0])})
    with pytest.raises(RuntimeError, match="1 parameter groups, got 2"):
        scheduler.step()


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_step_rejects_a_loss_or_an_epoch(make):
    scheduler = make(optimizer(1.0))
    before = scheduler.last_epoch
    for args, kwargs in [((0.5,), {}), ((), {"metrics": 0.5}), ((), {"epoch": 3})]:
        with pytest.raises(TypeError, match=r"step\(\) .*leave it out"):
            scheduler.step(*args, **kwargs)
    assert scheduler.last_epoch == before


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda o: lr_scheduler.StepLR(o, "2"), "step_size"),
        (lambda o: lr_scheduler.StepLR(o, 2, gamma="0.1"), "gamma"),
        (lambda o: lr_scheduler.MultiStepLR(o, 3), "milestones"),
        (lambda o: lr_scheduler.MultiStepLR(o, [3], gamma=None), "gamma"),
        (lambda o: lr_scheduler.LinearLR(o, total_iters="5"), "total_iters"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, None), "T_max"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 5, "0"), "eta_min"),
    ],
)
def test_options_must_be_numbers(make, name):
    sgd = optimizer(1.0)
    with pytest.raises(TypeError, match=f"expected a .* for {name}, got"):
        make(sgd)
    assert sgd.param_groups[0]["lr"] == 1.0
