from __future__ import annotations

import pytest

import lucid
from lucid import optim
from lucid.training import schedule_with_warmup


def rates(steps, lr=(1.0, 0.1), **options):
    """Return the learning rates of two groups before each step."""
    groups = [{"params": [lucid.zeros(1, requires_grad=True)], "lr": rate} for rate in lr]
    optimizer = optim.SGD(groups, lr=1.0)
    schedule = schedule_with_warmup(optimizer, steps, **options)
    seen = []
    for _ in range(steps):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return seen


def test_warmup_and_cosine():
    seen = [first for first, _ in rates(6, warmup_steps=2)]
    assert seen == pytest.approx([0.1, 0.55, 1.0, 0.853553, 0.5, 0.146447], abs=1e-6)


def test_warmup_and_step_decay():
    seen = [first for first, _ in rates(11, warmup_steps=2, schedule="step")]
    assert seen == pytest.approx([0.1, 0.55] + [1.0] * 6 + [0.1] * 2 + [0.01])


def test_groups_keep_their_ratio():
    for schedule in ("cosine", "step", "constant"):
        for first, second in rates(20, schedule=schedule):
            assert second == pytest.approx(0.1 * first)


@pytest.mark.parametrize(("steps", "warmup_steps"), [(9, 0), (10, 1), (200, 20), (20_000, 1000)])
def test_default_warmup_is_a_tenth_up_to_1000_steps(steps, warmup_steps):
    optimizer = optim.SGD([lucid.zeros(1, requires_grad=True)], lr=1.0)
    schedule = schedule_with_warmup(optimizer, steps, schedule="constant")
    for _ in range(warmup_steps):
        assert optimizer.param_groups[0]["lr"] < 1
        optimizer.step()
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "linear"}, "cosine, step, constant, got 'linear'"),
        ({"warmup_steps": 5}, "warmup_steps: .*5 steps, got 5"),
        ({"warmup_steps": -1}, "warmup_steps: .*5 steps, got -1"),
    ],
)
def test_invalid_arguments_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        rates(5, **options)
