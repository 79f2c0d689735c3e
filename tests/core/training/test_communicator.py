"""Communicators: a single rank, and ranks that are threads."""

from __future__ import annotations

import numpy as np
import pytest

from lucid.training import Communicator


def test_single_rank_returns_its_own_values():
    alone = Communicator()
    assert (alone.rank, alone.size, alone.is_main, alone.seconds) == (0, 1, True, 0)
    assert alone.broadcast({"a": 1}) == {"a": 1}
    assert alone.all_gather("x") == ["x"]
    assert alone.sum_values({"a": 2.0}) == {"a": 2}
    array = np.arange(3.0)
    total = alone.all_reduce(array)
    np.testing.assert_array_equal(total, array)
    assert total is not array
    request = alone.all_reduce_async(array)
    assert request.test()
    request.wait()
    np.testing.assert_array_equal(array, [0, 1, 2])


def test_shards_are_contiguous_and_even(on_ranks):
    for count in (0, 2, 7, 12):
        parts = on_ranks(3, lambda c, count=count: list(c.shard(count)))
        assert [number for part in parts for number in part] == list(range(count))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_sum_values_adds_by_name(on_ranks):
    given = [{"a": 1.0}, {"a": 2.0, "b": 5.0}, {}]
    assert on_ranks(3, lambda c: c.sum_values(given[c.rank])) == [{"a": 3, "b": 5}] * 3


def test_call_on_main_returns_rank_0_result(on_ranks):
    made = []

    def work(communicator):
        return communicator.call_on_main(lambda: made.append(communicator.rank) or "made")

    assert on_ranks(3, work) == ["made"] * 3
    assert made == [0]


def test_call_on_main_raises_on_all_ranks(on_ranks):
    def work(communicator):
        with pytest.raises(ValueError, match="no such thing"):
            communicator.call_on_main(lambda: int("no such thing"))
        return True

    assert on_ranks(3, work) == [True] * 3


def test_on_main_is_a_no_op_on_other_ranks(on_ranks):
    called = []

    def work(communicator):
        communicator.on_main(called.append)(communicator.rank)

    on_ranks(3, work)
    assert called == [0]
