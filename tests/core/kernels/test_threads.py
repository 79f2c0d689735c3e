"""Thread pool of Python kernels: ranges, errors, nesting, concurrent callers, forks."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from lucid.kernels import (
    get_num_threads,
    max_pool2d,
    parallel_for,
    set_num_threads,
    single_threaded_blas,
)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_num_threads()
    yield
    set_num_threads(before)


@pytest.fixture
def four_threads():
    set_num_threads(4)


def square(start, stop, source, target):
    target[start:stop] = source[start:stop] ** 2


def run_python(code, **environment):
    """Return the output of a fresh interpreter."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@given(count=st.integers(0, 200), threads=st.integers(1, 9), grain=st.integers(1, 60))
def test_every_item_runs_once(count, threads, grain):
    set_num_threads(threads)
    seen = []  # appending is atomic
    parallel_for(lambda start, stop: seen.append((start, stop)), count, grain=grain)
    covered = sorted(seen)
    assert [i for start, stop in covered for i in range(start, stop)] == list(range(count))
    assert all(start < stop for start, stop in covered)


def test_grain_limits_the_number_of_ranges(four_threads):
    seen = []
    parallel_for(lambda start, stop: seen.append((start, stop)), 10, grain=10)
    assert seen == [(0, 10)]
    seen.clear()
    parallel_for(lambda start, stop: seen.append((start, stop)), 100, grain=50)
    assert sorted(seen) == [(0, 50), (50, 100)]


def test_threads_run_concurrently():
    set_num_threads(2)
    both = threading.Barrier(2, timeout=30)  # passes only if two threads are in it at once
    parallel_for(lambda start, stop: both.wait(), 2)


def test_one_thread_is_the_caller():
    set_num_threads(1)
    callers = set()
    parallel_for(lambda start, stop: callers.add(threading.get_ident()), 100)
    assert callers == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads_do_not_change_results(threads):
    set_num_threads(threads)
    source = np.arange(10_001.0)
    target = np.empty_like(source)
    parallel_for(square, len(source), source, target)
    np.testing.assert_array_equal(target, source**2)


def test_nested_calls_run_in_the_same_thread(four_threads):
    target = np.zeros((20, 30), np.int64)

    def inner(start, stop, row, me):
        assert threading.get_ident() == me
        row[start:stop] += 1

    def outer(start, stop):
        for i in range(start, stop):
            parallel_for(inner, 30, target[i], threading.get_ident())

    parallel_for(outer, 20)
    np.testing.assert_array_equal(target, 1)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("threads", [1, 4])
def test_errors_reach_the_caller(error, threads):
    set_num_threads(threads)

    def fail(start, stop):
        if start <= 57 < stop:
            raise error("item 57")

    with pytest.raises(error, match="item 57"):
        parallel_for(fail, 100)
    target = np.empty(100)  # and the pool still works
    parallel_for(square, 100, np.arange(100.0), target)
    np.testing.assert_array_equal(target, np.arange(100.0) ** 2)


def test_errors_in_every_range_raise_once(four_threads):
    def fail(start, stop):
        raise ValueError(f"range {start}")

    with pytest.raises(ValueError, match="range"):
        parallel_for(fail, 100)


def test_error_waits_for_running_ranges(four_threads):
    """No thread writes to the caller's arrays after the error is raised."""
    running = []

    def work(start, stop):
        running.append(1)
        if start == 0:
            running.pop()
            raise ValueError("first")
        time.sleep(0.005)
        running.pop()

    with pytest.raises(ValueError, match="first"):
        parallel_for(work, 16)
    assert running == []


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_concurrent_callers(threads):
    set_num_threads(threads)
    together = threading.Barrier(6, timeout=30)

    def caller(seed):
        source = np.random.default_rng(seed).standard_normal(5000)
        together.wait()
        for _ in range(20):
            target = np.empty_like(source)
            parallel_for(square, len(source), source, target)
            np.testing.assert_array_equal(target, source**2)

    with ThreadPoolExecutor(6) as callers:
        list(callers.map(caller, range(6)))


def test_one_kernel_from_many_threads():
    """The first call may have to compile; every caller gets the right result."""
    x = np.random.default_rng(0).standard_normal((2, 16, 40, 40)).astype(np.float32)
    options = ((3, 3), (2, 2), (1, 1), (1, 1), False)
    together = threading.Barrier(4, timeout=30)

    def caller(_):
        together.wait()
        return max_pool2d.compiled(x, *options)

    expected = max_pool2d.reference(x, *options)
    with ThreadPoolExecutor(4) as callers:
        for result in callers.map(caller, range(4)):
            for mine, wanted in zip(result, expected, strict=True):
                np.testing.assert_array_equal(mine, wanted)


def test_finished_job_releases_its_arrays(four_threads):
    class Held(np.ndarray):
        pass

    array = np.zeros(1000).view(Held)
    gone = weakref.ref(array)
    parallel_for(square, 1000, array, array)
    del array
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
    assert gone() is None


@pytest.mark.parametrize("count", [0, -3])
def test_less_than_one_thread_is_rejected(count):
    before = get_num_threads()
    with pytest.raises(ValueError, match=f"at least 1 thread, got {count}"):
        set_num_threads(count)
    assert get_num_threads() == before


@pytest.mark.parametrize(("setting", "threads"), [("3", 3), ("5,2", 5)])
@pytest.mark.slow
def test_default_is_omp_num_threads(setting, threads):
    code = "from lucid import kernels; print(kernels.get_num_threads())"
    assert run_python(code, OMP_NUM_THREADS=setting) == str(threads)


@pytest.mark.slow
def test_default_without_omp_num_threads_is_the_processor_count():
    code = (
        "import math, os; from lucid import kernels\n"
        "from lucid.kernels.processors import processor_quota\n"
        "mine = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity')"
        " else os.cpu_count()\n"
        "print(kernels.get_num_threads() == min(mine, math.ceil(processor_quota() or mine)))"
    )
    for setting in ("", "0", "many"):
        assert run_python(code, OMP_NUM_THREADS=setting) == "True"


@pytest.mark.slow
def test_forked_child_has_its_own_pool():
    """Also after a fork during another thread's job, and in the child of a child."""
    code = """
import os, sys, threading, warnings
import numpy as np
from lucid.kernels import get_num_threads, parallel_for, set_num_threads

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
set_num_threads(3)
source = np.arange(1000.0)

def square(start, stop, target):
    target[start:stop] = source[start:stop] ** 2

def right():
    target = np.empty(1000)
    parallel_for(square, 1000, target)
    return get_num_threads() == 3 and (target == source**2).all()

def busy():
    while not finished.is_set():
        right()

def forked(depth):
    child = os.fork()
    if child == 0:
        ok = right() and (depth == 0 or forked(depth - 1))
        os._exit(0 if ok else 1)
    return os.waitpid(child, 0)[1] == 0

finished = threading.Event()
other = threading.Thread(target=busy)
other.start()
ok = right() and all(forked(1) for _ in range(10)) and right()
finished.set()
other.join()
print(ok)
"""
    if hasattr(os, "fork"):  # needs os.fork
        assert run_python(code) == "True"


class TestSingleThreadedBlas:
    @staticmethod
    def blas_threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    def test_inside_and_after(self):
        before = self.blas_threads()
        with single_threaded_blas():
            assert self.blas_threads() <= {1}
            with single_threaded_blas():
                assert self.blas_threads() <= {1}
            assert self.blas_threads() <= {1}
        assert self.blas_threads() == before

    def test_restored_after_an_error(self):
        before = self.blas_threads()
        with pytest.raises(RuntimeError), single_threaded_blas():
            raise RuntimeError
        assert self.blas_threads() == before

    def test_concurrent_threads(self):
        before = self.blas_threads()
        together = threading.Barrier(4, timeout=30)

        def caller(_):
            together.wait()
            for _ in range(50):
                with single_threaded_blas():
                    pass

        with ThreadPoolExecutor(4) as callers:
            list(callers.map(caller, range(4)))
        assert self.blas_threads() == before


def test_non_integer_thread_count_is_rejected():
    with pytest.raises(TypeError, match=r"integer .*got 2\.5"):
        set_num_threads(2.5)


# --- idle threads and load ------------------------------------------------------------------


@pytest.mark.slow
def test_idle_threads_use_no_cpu_time():
    """After work, workers and BLAS threads sleep."""
    code = """
import time
import numpy as np
from lucid import kernels
kernels.set_num_threads(4)
matrix = np.ones((600, 600), np.float32)
for _ in range(5):
    kernels.gemm(matrix, matrix)
    kernels.parallel_for(lambda start, stop: np.sort(matrix[start:stop], 1), 600)
time.sleep(0.1)  # on a busy machine the last half millisecond of spinning comes late
begun = time.process_time()
time.sleep(0.5)
print(time.process_time() - begun)
"""
    assert float(run_python(code)) < 0.05


@pytest.mark.slow
def test_oversubscription_does_not_stall():
    """Sixteen threads and four other busy processes."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        set_num_threads(16)
        source = np.random.default_rng(0).standard_normal(200_000)
        target = np.empty_like(source)
        begun = time.monotonic()
        for _ in range(100):
            parallel_for(square, len(source), source, target)
        seconds = time.monotonic() - begun
    finally:
        for process in busy:
            process.kill()
            process.wait()
    np.testing.assert_array_equal(target, source**2)
    # 0.1 seconds alone; minutes if spinning threads waited for each other.
    assert seconds < 20


def test_fewer_threads_if_the_system_refuses_more(monkeypatch):
    from lucid.kernels import threads

    begin = threading.Thread.start

    def second_is_too_many(thread):
        if thread.name != "lucid-0":
            raise RuntimeError("can't start new thread")
        begin(thread)

    monkeypatch.setattr(threads, "_pool", threads._Pool(4))
    monkeypatch.setattr(threading.Thread, "start", second_is_too_many)
    for _ in range(3):
        target = np.empty(1000)
        parallel_for(square, 1000, np.arange(1000.0), target)
        np.testing.assert_array_equal(target, np.arange(1000.0) ** 2)
    assert threads._pool.workers == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
@pytest.mark.parametrize("where", ["in its own range", "while it waits for the others"])
def test_keyboard_interrupt_waits_for_running_ranges(where):
    """The calling thread raises after all other threads are done."""
    set_num_threads(2)
    me = threading.get_ident()
    running, interrupted = [], []
    both = threading.Barrier(2, timeout=30)  # one range for each thread

    def interrupt(number, frame):
        interrupted.append(number)
        raise KeyboardInterrupt

    def work(start, stop):
        waits = (threading.get_ident() == me) == (where == "in its own range")
        running.append(start)
        both.wait()
        try:
            for _ in range(300 if waits else 1):
                time.sleep(0.001)
        finally:
            running.remove(start)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            parallel_for(work, 2)
        assert running == []
        assert interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    seen = []
    parallel_for(lambda start, stop: seen.append((start, stop)), 2)
    assert sorted(seen) == [(0, 1), (1, 2)]


def small_model():
    from lucid import nn, random

    random.seed(0)
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(32 * 14 * 14, 5))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval(), random.randn(2, 3, 32, 32)


def test_one_model_from_eight_threads():
    """Concurrent predictions and input gradients equal those of one thread."""
    import lucid

    set_num_threads(3)
    model, x = small_model()
    images = [x * (i + 1) for i in range(8)]

    def gradient_and_logits(image):
        image = image.detach().requires_grad_()
        with lucid.no_grad():
            logits = model(image)
        (model(image) ** 2).sum().backward()
        return logits.numpy(), image.grad.numpy()

    expected = [gradient_and_logits(image) for image in images]
    together = threading.Barrier(8, timeout=60)

    def caller(i):
        together.wait()
        return [gradient_and_logits(images[i]) for _ in range(5)]

    with ThreadPoolExecutor(8) as callers:
        for results, wanted in zip(callers.map(caller, range(8)), expected, strict=True):
            for result in results:
                for mine, right in zip(result, wanted, strict=True):
                    np.testing.assert_array_equal(mine, right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.slow
def test_model_in_a_child_forked_during_prediction():
    # A child forked while OpenBLAS runs on several threads waits for its lock forever.  The
    # compiled form limits BLAS to one thread; the reference does not.
    pytest.importorskip("numba", reason="needs Numba")
    code = f"""
import os, sys, threading, warnings
sys.path.insert(0, {os.path.dirname(__file__)!r})
from threadpoolctl import threadpool_info
import lucid
from test_threads import small_model

warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
lucid.set_num_threads(3)
model, x = small_model()

def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

def logits():
    with lucid.no_grad():
        return model(x).numpy()

expected = logits()  # may load another BLAS
before = blas_threads()
finished = threading.Event()

def busy():
    while not finished.is_set():
        logits()

other = threading.Thread(target=busy)
other.start()
ok = True
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(0 if blas_threads() == before and (logits() == expected).all() else 1)
    ok = ok and os.waitpid(child, 0)[1] == 0
finished.set()
other.join()
print(ok)
"""
    assert run_python(code, OPENBLAS_NUM_THREADS="2") == "True"
