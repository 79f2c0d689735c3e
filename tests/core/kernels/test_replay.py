"""Recorded launches compute what the launches did, with other memory where it was moved."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lucid.kernels import get_num_threads, parallel_for, recording, set_num_threads

pytest.importorskip("numba", reason="needs Numba")

from lucid.kernels.compiled import thread_pool
from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.replay import LaunchList, NotRecordableError, _replay


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


class Recorder:
    """Adds every launch of a thread to a list."""

    def __init__(self):
        self.launches = LaunchList()
        self.arrays = []

    def launch(self, launcher, slot, count, chunks, workers, args):
        self.arrays += self.launches.add(slot, count, chunks, workers, args)


def record_arrays(function):
    """Return the launches of a function, and their arrays with positions."""
    recorder = Recorder()
    with recording.recording(recorder):
        function()
    recorder.launches.close()
    return recorder.launches, recorder.arrays


def record(function):
    return record_arrays(function)[0]


def replay(launches, positions=(), addresses=()):
    launches.replay(np.array(positions, np.int64), np.array(addresses, np.int64))


@kernel
def add_to(start, stop, target, by):
    for i in range(start, stop):
        target[i] += by


@kernel
def double(start, stop, source, target):
    for i in range(start, stop):
        target[i] = 2 * source[i]


@kernel
def weigh(start, stop, source, weights, pair, target, code):
    for i in range(start, stop):
        target[i] = code
        for j in range(source.shape[1]):
            target[i] += source[i, j] * weights[pair[0], pair[1], j]


@kernel
def outer_sum(start, stop, a, target):
    for i in range(start, stop):
        target[i] = a.sum() + i


@kernel
def fail_above(start, stop, source, target):
    for i in range(start, stop):
        if source[i] > 1:
            raise ValueError("too large")
        target[i] = source[i]


@kernel
def slowly(start, stop, target, steps):
    for i in range(start, stop):
        value = 0.5
        for _ in range(steps):
            value = np.sqrt(value + i)
        target[i] = value


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_launches_run_again(threads, count):
    set_num_threads(threads)
    target = np.zeros(count)
    launches = record(lambda: parallel_for(add_to, count, target, 3))
    assert len(launches) == 1
    for k in range(2, 5):
        replay(launches)
        np.testing.assert_array_equal(target, 3 * k)


def test_launches_run_in_order():
    set_num_threads(3)
    a, b = np.zeros(500), np.zeros(500)

    def work():
        parallel_for(add_to, 500, a, 1)
        parallel_for(double, 500, a, b)
        parallel_for(double, 500, b, a)

    launches = record(work)
    expected = 4.0
    np.testing.assert_array_equal(a, expected)
    assert len(launches) == 3
    for _ in range(200):
        a[:] = expected = 5.0
        replay(launches)
        np.testing.assert_array_equal(b, 2 * (expected + 1))
        np.testing.assert_array_equal(a, 4 * (expected + 1))


def test_no_launches():
    launches = record(lambda: parallel_for(add_to, 0, np.zeros(0), 1))
    assert len(launches) == 0
    replay(launches)


def test_kinds_of_arguments():
    """Arrays of several ranks and dtypes, tuples and numbers, packed one after the other."""
    set_num_threads(2)
    rng = np.random.default_rng(0)
    source = rng.standard_normal((40, 6)).astype(np.float32)
    weights = rng.standard_normal((3, 4, 6))
    target = np.zeros(40)
    launches = record(lambda: parallel_for(weigh, 40, source, weights, (2, 3), target, 16))
    expected = target.copy()
    np.testing.assert_allclose(expected, source @ weights[2, 3] + 16)
    target[:] = 0
    replay(launches)
    np.testing.assert_array_equal(target, expected)


def test_views_with_an_offset():
    memory = np.zeros(30)
    launches = record(lambda: parallel_for(add_to, 10, memory[10:20], 1))
    replay(launches)
    np.testing.assert_array_equal(memory, np.repeat([0.0, 2.0, 0.0], 10))


@pytest.mark.parametrize("value", [0.5, True, None, (1, 2.0), np.float32(1), "name"])
def test_arguments_that_cannot_be_recorded(value):
    launches = LaunchList()
    pool = thread_pool.current_pool()
    with pytest.raises(NotRecordableError, match="argument"):
        launches.add(pool.slot, 1, 1, 0, (np.zeros(3), value))
    assert len(launches) == 0


def test_arguments_of_another_launch():
    """The slot is checked against the arrays."""
    pool = thread_pool.current_pool()
    set_num_threads(2)
    a, b = np.zeros(64), np.zeros(64)
    parallel_for(add_to, 64, a, 1)
    with pytest.raises(NotRecordableError, match="packed"):
        LaunchList().add(pool.slot, 64, 1, 0, (b, 1))


def test_moved_memory():
    set_num_threads(2)
    memory, target = np.arange(40.0), np.zeros(10)

    def work():
        parallel_for(double, 10, memory[5:15], target)
        parallel_for(add_to, 10, memory[30:], 1)

    launches, arrays = record_arrays(work)
    before, result = memory.copy(), target.copy()
    positions = [position for position, _ in arrays]
    assert [array.size for _, array in arrays] == [10, 10, 10]
    other, moved = 100 + np.arange(40.0), np.zeros(10)
    addresses = [a.ctypes.data for a in (other[5:], moved, other[30:])]
    replay(launches, positions, addresses)
    np.testing.assert_array_equal(moved, 2 * (100 + np.arange(5.0, 15)))
    np.testing.assert_array_equal(other[30:], 101 + np.arange(30.0, 40))
    np.testing.assert_array_equal(memory, before)
    np.testing.assert_array_equal(target, result)
    replay(launches, positions[:1], addresses[:1])  # the others are those of the recording again
    np.testing.assert_array_equal(target, moved)
    np.testing.assert_array_equal(memory[30:], before[30:] + 1)


@pytest.mark.parametrize("threads", [1, 3])
def test_failure_raises_and_later_replays_work(threads):
    set_num_threads(threads)
    source, target = np.zeros(300), np.zeros(300)
    after = np.zeros(300)

    def work():
        parallel_for(fail_above, 300, source, target)
        parallel_for(add_to, 300, after, 1)

    launches = record(work)
    source[150] = 2
    for _ in range(20):
        with pytest.raises(MemoryError):
            replay(launches)
    np.testing.assert_array_equal(after, 1)  # not after a failure
    source[150] = 0.5
    replay(launches)
    np.testing.assert_array_equal(target, source)
    np.testing.assert_array_equal(after, 2)
    parallel_for(add_to, 300, after, 1)  # nor does a failure disturb usual launches
    np.testing.assert_array_equal(after, 3)


def test_recorded_with_more_threads_than_replayed():
    """The division of the work is the recorded one, whatever the number of threads is now."""
    set_num_threads(6)
    target = np.zeros(1000)
    launches = record(lambda: parallel_for(add_to, 1000, target, 1))
    for threads in (1, 2, 6):
        set_num_threads(threads)
        replay(launches)
    np.testing.assert_array_equal(target, 4)


def test_more_threads_than_participants_of_a_slot():
    """The replay writes only fields of the slot."""
    set_num_threads(200)
    target = np.zeros(10_000)
    jobs, words = record(lambda: parallel_for(add_to, 10_000, target, 1))._final
    assert jobs[0, 3] == 199
    fields = (thread_pool.NEXT + thread_pool.MAX_PARTICIPANTS * 64) // 8
    memory = np.full(fields + 200 * 8, -1, np.int64)  # a slot without workers, and what follows
    skipped = -memory.ctypes.data % 64 // 8
    end = skipped + fields
    memory[skipped:end] = 0
    assert _replay(memory.ctypes.data + 8 * skipped, jobs, words, 199) == 0
    np.testing.assert_array_equal(memory[end:], -1)
    np.testing.assert_array_equal(target, 2)


def test_concurrent_replays_of_one_list():
    """Each has memory of its own."""
    set_num_threads(3)
    target = np.zeros(500)
    launches, arrays = record_arrays(lambda: parallel_for(add_to, 500, target, 1))
    start = threading.Barrier(6)

    def work(k):
        own = np.full(500, k)
        start.wait(30)
        for _ in range(200):
            replay(launches, [arrays[0][0]], [own.ctypes.data])
        return own

    with ThreadPoolExecutor(6) as callers:
        for k, own in enumerate(callers.map(work, np.arange(6.0))):
            np.testing.assert_array_equal(own, k + 200)
    np.testing.assert_array_equal(target, 1)


def test_concurrent_replays():
    """One replay has the pool, the others run alone."""
    set_num_threads(3)
    targets = [np.zeros(500) for _ in range(6)]
    lists = [record(lambda t=t: parallel_for(add_to, 500, t, 1)) for t in targets]
    start = threading.Barrier(6)

    def work(k):
        start.wait(30)
        for _ in range(200):
            replay(lists[k])
            parallel_for(add_to, 500, targets[k], 1)

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(work, range(6)))
    for target in targets:
        np.testing.assert_array_equal(target, 401)


def test_recording_while_another_thread_has_the_pool():
    """The requested division of the work is recorded, not that of a busy pool."""
    set_num_threads(3)
    target = np.zeros(1000)
    pool = thread_pool.current_pool()
    with pool.lock:
        launches = record(lambda: parallel_for(add_to, 1000, target, 1))
    jobs, _ = launches._final
    assert jobs[0, 2] > 1
    assert jobs[0, 3] == 2
    replay(launches)
    np.testing.assert_array_equal(target, 2)


def test_replay_uses_the_workers():
    set_num_threads(2)
    target = np.zeros(64)
    launches = record(lambda: parallel_for(slowly, 64, target, 20_000))
    assert launches._final[0][0, 3] == 1
    expected = target.copy()
    time.sleep(0.02)  # the worker sleeps
    target[:] = 0
    replay(launches)
    np.testing.assert_array_equal(target, expected)
    assert thread_pool.current_pool().workers >= 1


def test_workers_stay_awake():
    """They take part in what follows a launch on one thread that is longer than they spin."""
    target, others = np.zeros(1), np.zeros(1000)

    def work():
        set_num_threads(1)
        parallel_for(slowly, 1, target, 5_000_000)
        set_num_threads(2)
        parallel_for(slowly, 1000, others, 1000)

    launches = record(work)
    pool = thread_pool.current_pool()

    def joined():
        replay(launches)
        assert thread_pool.read_field(pool.slot + thread_pool.AWAKE) == 0
        return thread_pool.read_field(pool.slot + thread_pool.JOINED) >= 1

    assert any(joined() for _ in range(100))  # sometimes, if other processes have the processors
    deadline = time.monotonic() + 30
    while not pool._sleeping and time.monotonic() < deadline:
        time.sleep(0.01)
    assert pool._sleeping


def test_recorded_arguments_own_nothing():
    """Compiled code neither counts references to recorded arrays nor frees them."""
    target = np.zeros(100)
    before = sys.getrefcount(target)
    launches = record(lambda: parallel_for(add_to, 100, target, 1))
    for _ in range(50):
        replay(launches)
    assert sys.getrefcount(target) == before
    np.testing.assert_array_equal(target, 51)


def test_reductions_inside_of_a_kernel():
    """Kernels that pass their arrays on, which retains and releases them."""
    source, target = np.arange(50.0), np.zeros(20)
    launches = record(lambda: parallel_for(outer_sum, 20, source, target))
    for k in range(30):
        source[0] = k
        replay(launches)
        np.testing.assert_array_equal(target, 1225 + k + np.arange(20))


def test_launches_of_other_threads_are_not_recorded():
    target, other = np.zeros(100), np.zeros(100)

    def work():
        parallel_for(add_to, 100, target, 1)
        thread = threading.Thread(target=parallel_for, args=(add_to, 100, other, 1))
        thread.start()
        thread.join()

    assert len(record(work)) == 1
    np.testing.assert_array_equal(other, 1)
    assert recording.current() is None


def test_recorder_is_restored_after_an_error():
    with pytest.raises(KeyError), recording.recording(Recorder()):
        raise KeyError
    assert recording.current() is None
    assert recording.active == 0
