"""Tests of the communication model, with values computed by hand."""

from __future__ import annotations

import pytest
import ranks

SLOW = ranks.Network("slow", latency=0.001, bandwidth=1e6)


def test_all_reduce_cost():
    # Two ranks: one step each of reduce-scatter and all-gather, with half of the bytes.
    assert ranks.all_reduce(SLOW, 2, 1e6) == pytest.approx(0.002 + 1.0)
    assert ranks.all_reduce(SLOW, 8, 1e6) == pytest.approx(0.006 + 2 * 7 / 8)
    assert ranks.all_reduce(SLOW, 1000, 0) == pytest.approx(0.020)


def test_all_but_the_last_bucket_overlap():
    small = 2 * ranks.all_reduce(SLOW, 2, 64)
    one = ranks.all_reduce(SLOW, 2, 1e5)
    seen = ranks.step_seconds(SLOW, 2, 3.0, [100_000] * 4, hidden=True)
    assert seen == pytest.approx(3.0 + one + small)
    nothing = ranks.step_seconds(SLOW, 2, 3.0, [100_000] * 4, hidden=False)
    assert nothing == pytest.approx(3.0 + 4 * one + small)


def test_communication_longer_than_backward_is_exposed():
    small = 2 * ranks.all_reduce(SLOW, 2, 64)
    one = ranks.all_reduce(SLOW, 2, 1e6)  # 1.002 s, and backward takes 2
    seen = ranks.step_seconds(SLOW, 2, 3.0, [1_000_000] * 4, hidden=True)
    assert seen == pytest.approx(3.0 + (3 * one - 2.0) + one + small)


def test_table_has_a_row_per_network_and_number():
    lines = ranks.table(0.5, [4_000_000] * 11).splitlines()
    assert len(lines) == 2 + 2 * 5
    assert lines[-1].startswith("| 100 Gbit/s InfiniBand | 1,000 | 31,")


@pytest.mark.parametrize(("step", "code"), [(0.55, 0), (0.65, 1)])
def test_minimum_throughput_of_two_ranks(monkeypatch, capsys, step, code):
    """One rank takes 0.5 s; two do 1.82 times as much in 0.55 s, and 1.54 times in 0.65 s."""
    steps = {1: 0.5, 2: step}
    result = {"share": 0.1, "buckets": [4_000_000] * 11}
    monkeypatch.setattr(ranks, "measured", lambda count, _: {"step": steps[count], **result})
    monkeypatch.setattr("sys.argv", ["ranks.py"])
    assert ranks.main() == code
    output = capsys.readouterr()
    assert f"two ranks do {1 / step:.2f} times as much as one" in output.out
    assert ("expected at least 1.7 times" in output.err) == bool(code)
