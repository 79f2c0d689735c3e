"""Threads that run a compiled kernel together: every range once, errors, forks, quiet."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.kernels import get_num_threads, parallel_for, set_num_threads

pytest.importorskip("numba", reason="the thread pool of compiled kernels needs Numba")

from lucid.kernels.compiled.jit import kernel
from lucid.kernels.compiled.thread_pool import _ThreadPool, worker_loop


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
def test_every_item_once(count, threads, grain):
    set_num_threads(threads)
    target = np.zeros(count)
    parallel_for(count_up, count, target, 3.0, grain=grain)
    np.testing.assert_array_equal(target, 3)


@pytest.mark.parametrize("threads", [1, 4])
def test_a_failure_is_an_error_and_ends_the_job(threads):
    set_num_threads(threads)
    target = np.zeros(64)
    with pytest.raises(MemoryError, match="fail_at"):
        parallel_for(fail_at, 64, target, 10)
    parallel_for(fail_at, 64, target, 64)  # and the next one is well
    np.testing.assert_array_equal(target, 1)


def test_many_callers_at_once():
    set_num_threads(3)

    def work(number):
        target = np.zeros(500)
        for _ in range(200):
            parallel_for(count_up, 500, target, 1.0)
        return target

    with ThreadPoolExecutor(8) as callers:
        for target in callers.map(work, range(8)):
            np.testing.assert_array_equal(target, 200)


def test_jobs_in_a_row_do_not_mix():
    """A helper that comes late must not run the old job on the new arrays."""
    set_num_threads(4)
    for i in range(3000):
        target = np.zeros(1 + i % 13)
        parallel_for(count_up, len(target), target, float(i))
        assert (target == i).all()


def test_inside_a_range_of_python_it_runs_where_it_is():
    set_num_threads(4)
    target = np.zeros((8, 20))

    def outer(start, stop):
        for i in range(start, stop):
            parallel_for(count_up, 20, target[i], 1.0)

    parallel_for(outer, 8)
    np.testing.assert_array_equal(target, 1)


def test_arrays_are_let_go_when_the_job_is_done():
    set_num_threads(4)
    target = np.zeros(1000)
    parallel_for(count_up, 1000, target, 1.0)
    gone = weakref.ref(target)
    del target
    assert gone() is None


def test_idle_helpers_sleep():
    set_num_threads(4)
    parallel_for(slowly, 64, np.zeros(64), 1000)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.05


def test_sleeping_helpers_are_woken():
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.slow
def test_a_forked_child_has_helpers_of_its_own():
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


def test_helpers_in_excess_stay_out():
    set_num_threads(6)
    parallel_for(slowly, 64, np.zeros(64), 100)
    set_num_threads(2)
    for _ in range(200):
        target = np.zeros(64)
        parallel_for(slowly, 64, target, 50)
        assert (target > 0).all()


def test_ctrl_c_is_raised_when_nobody_touches_the_arrays_any_more():
    set_num_threads(2)
    target = np.zeros(64)
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
    pool = _ThreadPool()
    assert worker_loop(pool.slot, 0, 10) == 0
