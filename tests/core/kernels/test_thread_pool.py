"""Thread pool of compiled kernels: ranges, errors, forks, sleeping workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.kernels import get_num_threads, parallel_for, set_num_threads

pytest.importorskip("numba", reason="needs Numba")

from lucid.kernels.compiled import thread_pool
from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.thread_pool import ThreadPool, worker_loop


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


@kernel
def count_up(start, stop, target, by):
    for i in range(start, stop):
        target[i] += by


@kernel
def slowly(start, stop, target, steps):
    for i in range(start, stop):
        value = 0.5
        for _ in range(steps):
            value = np.sqrt(value + i)
        target[i] = value


@kernel
def fail_at(start, stop, target, bad):
    for i in range(start, stop):
        if i == bad:
            raise ValueError("this one")
        target[i] = 1


@settings(deadline=None)
@given(count=st.integers(0, 300), threads=st.integers(1, 9), grain=st.integers(1, 60))
def test_every_item_runs_once(count, threads, grain):
    set_num_threads(threads)
    target = np.zeros(count)
    parallel_for(count_up, count, target, 3.0, grain=grain)
    np.testing.assert_array_equal(target, 3)


@pytest.mark.parametrize("threads", [1, 4])
def test_failure_raises_and_ends_the_job(threads):
    set_num_threads(threads)
    target = np.zeros(64)
    with pytest.raises(MemoryError, match="fail_at"):
        parallel_for(fail_at, 64, target, 10)
    parallel_for(fail_at, 64, target, 64)  # and the next job succeeds
    np.testing.assert_array_equal(target, 1)


def test_concurrent_callers():
    set_num_threads(3)

    def work(number):
        target = np.zeros(500)
        for _ in range(200):
            parallel_for(count_up, 500, target, 1.0)
        return target

    with ThreadPoolExecutor(8) as callers:
        for target in callers.map(work, range(8)):
            np.testing.assert_array_equal(target, 200)


def test_consecutive_jobs_do_not_mix():
    """A late worker must not run the old job on the new arrays."""
    set_num_threads(4)
    for i in range(3000):
        target = np.zeros(1 + i % 13)
        parallel_for(count_up, len(target), target, float(i))
        assert (target == i).all()


def test_nested_in_python_kernel_runs_in_the_same_thread():
    set_num_threads(4)
    target = np.zeros((8, 20))

    def outer(start, stop):
        for i in range(start, stop):
            parallel_for(count_up, 20, target[i], 1.0)

    parallel_for(outer, 8)
    np.testing.assert_array_equal(target, 1)


def test_finished_job_releases_its_arrays():
    set_num_threads(4)
    target = np.zeros(1000)
    parallel_for(count_up, 1000, target, 1.0)
    gone = weakref.ref(target)
    del target
    assert gone() is None


def test_idle_workers_sleep():
    set_num_threads(4)
    parallel_for(slowly, 64, np.zeros(64), 1000)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_job_begun_while_a_worker_falls_asleep_is_shared(monkeypatch):
    """The worker waits for the GIL, and the caller does not count it among the sleeping ones."""
    falling, begun = threading.Event(), threading.Event()

    class Sleeping(deque[None]):
        def append(self, item):
            falling.set()
            begun.wait(30)
            super().append(item)

    set_num_threads(2)
    target = np.zeros(64)
    parallel_for(slowly, 64, target, 1)  # compiles it
    pool = ThreadPool()
    pool._sleeping = Sleeping()
    monkeypatch.setattr(thread_pool, "_pool", pool)
    parallel_for(count_up, 64, target, 1.0)  # starts the worker
    assert falling.wait(30)
    threading.Timer(0.02, begun.set).start()
    parallel_for(slowly, 64, target, 1_000_000)
    assert thread_pool.read_field(pool.slot + thread_pool.JOINED) == 1


def test_sleeping_workers_wake():
    set_num_threads(2)
    for _ in range(5):
        time.sleep(0.02)
        target = np.zeros(64)
        parallel_for(slowly, 64, target, 20_000)
        assert (target > 0).all()


def _in_child(results):
    target = np.zeros(100)
    parallel_for(count_up, 100, target, 2.0)
    results.put((float(target.sum()), threading.active_count()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.slow
def test_forked_child_starts_workers():
    set_num_threads(3)
    parallel_for(count_up, 100, np.zeros(100), 1.0)
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    child = context.Process(target=_in_child, args=(results,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    total, threads = results.get()
    assert total == 200
    assert threads == 3


def test_excess_workers_do_not_join():
    set_num_threads(6)
    parallel_for(slowly, 64, np.zeros(64), 100)
    set_num_threads(2)
    for _ in range(200):
        target = np.zeros(64)
        parallel_for(slowly, 64, target, 50)
        assert (target > 0).all()


def test_keyboard_interrupt_waits_for_the_workers():
    set_num_threads(2)
    target = np.zeros(64)
    parallel_for(slowly, 64, target, 1)  # compiles: Numba does not survive an interruption
    timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    timer.start()

    def for_ever():
        while True:
            parallel_for(slowly, 64, target, 300_000)

    with pytest.raises(KeyboardInterrupt):
        for_ever()
    timer.join()
    after = target.copy()
    time.sleep(0.05)
    np.testing.assert_array_equal(target, after)


def test_worker_loop_returns_without_a_job():
    pool = ThreadPool()
    assert worker_loop(pool.slot, 0, 10) == 0
