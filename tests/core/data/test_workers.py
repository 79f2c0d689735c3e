"""Batches made by worker processes: the same ones, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.data import DataLoader

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture
def datasets(monkeypatch):
    """The module of datasets, on the path that workers inherit."""
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("loader_datasets")


@pytest.fixture
def make():
    """Make loaders that are closed at the end."""
    loaders = []

    def make_loader(*args, **kwargs):
        loaders.append(DataLoader(*args, **kwargs))
        return loaders[-1]

    yield make_loader
    for loader in loaders:
        loader.close()


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_do_not_depend_on_the_number_of_workers(datasets, make, workers):
    here = make(datasets.Noisy(19), 4, shuffle=True, seed=7)
    there = make(datasets.Noisy(19), 4, shuffle=True, seed=7, workers=workers)
    for _ in range(2):
        for expected, batch in zip(here, there, strict=True):
            assert batch.keys() == expected.keys()
            for key in batch:
                assert batch[key].dtype == expected[key].dtype
                np.testing.assert_array_equal(batch[key].numpy(), expected[key].numpy())
                batch[key].data[:] = 0  # may be written into


def test_loader_with_workers_resumes_from_a_state(datasets, make):
    whole = [batch["noise"].tolist() for batch in make(datasets.Noisy(20), 4, seed=2)]
    first = make(datasets.Noisy(20), 4, seed=2, workers=2)
    iterator = iter(first)
    assert [next(iterator)["noise"].tolist() for _ in range(2)] == whole[:2]
    second = make(datasets.Noisy(20), 4, seed=0, workers=2)
    second.load_state_dict(first.state_dict())
    assert [batch["noise"].tolist() for batch in second] == whole[2:]


def test_abandoned_iterations_do_not_block(datasets, make):
    loader = make(datasets.Big(), 2, workers=2, prefetch=3)
    for _ in range(4):
        assert next(iter(loader))[0, 0].item() == 0
    assert [batch[0, 0].item() for batch in loader] == [0, 2, 4, 6, 8, 10]


def test_workers_persist_between_epochs(datasets, make):
    loader = make(datasets.Elsewhere(), 1, workers=2)
    first, second = ({batch[0].item() for batch in loader} for _ in range(2))
    assert first == second
    assert len(first) == 2
    assert os.getpid() not in first
    loader.close()
    for pid in first:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert first.isdisjoint({batch[0].item() for batch in loader})


def test_generators_of_python_and_numpy_are_distinct_and_repeatable_in_workers(datasets, make):
    drawn = []
    for workers in (1, 2):
        loader = make(datasets.Elsewhere(), 2, workers=workers, seed=0)
        drawn.append(
            [number for _ in range(2) for _, *both in loader for b in both for number in b.tolist()]
        )
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(drawn[0]) == 2 * 8 * 2


def test_error_in_a_worker_arrives_with_its_traceback(datasets, make):
    loader = make(datasets.Failing("raise"), 1, workers=2)
    taken = []
    with pytest.raises(KeyError, match="no such sample") as caught:
        taken.extend(batch.item() for batch in loader)
    assert taken == [0, 1, 2]
    sample, note = caught.value.__notes__
    assert sample.startswith("while reading sample 3 of Failing")
    assert "in worker 1 of a DataLoader" in note
    assert "loader_datasets.py" in note
    assert 'raise KeyError("no such sample")' in note
    with pytest.raises(KeyError):  # and the loader is still of use
        list(loader)


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ("picky", RuntimeError, r"PickyError\('sample: no good'\) in worker"),
        ("exit", SystemExit, "3"),
    ],
)
def test_unusual_errors_arrive_too(datasets, make, how, error, message):
    with pytest.raises(error, match=message) as caught:
        list(make(datasets.Failing(how), 1, workers=1))
    assert "loader_datasets.py" in caught.value.__notes__[-1]


def test_unpicklable_batch_raises(datasets, make):
    loader = make(datasets.Failing("lambda"), 1, workers=1, collate=datasets.as_list)
    with pytest.raises((AttributeError, TypeError, RuntimeError), match=r"(?i)pickle"):
        list(loader)


def test_dataset_that_cannot_be_sent_is_an_error(make):
    with pytest.raises(TypeError, match=r"picklable.*workers=0"):
        list(make([lambda: None], workers=1))


def test_dataset_that_cannot_be_unpacked_is_an_error(datasets, make):
    with pytest.raises(FileNotFoundError, match="the images are gone"):
        list(make(datasets.Unloadable(), workers=2))


def test_no_more_workers_are_started_than_there_are_batches(datasets, make):
    loader = make(datasets.Noisy(3), 2, seed=4, workers=6)
    there = [batch["index"].tolist() for batch in loader]
    assert there == [[0, 1], [2]]
    assert len(loader._pool._processes) == 2


def test_workers_see_a_dataset_that_grew(make):
    data = [0, 1]
    loader = make(data, 1, workers=1)
    assert [batch.tolist() for batch in loader] == [[0], [1]]
    data.append(2)
    assert [batch.tolist() for batch in loader] == [[0], [1], [2]]


def test_dead_worker_raises_and_is_replaced(datasets, make):
    loader = make(datasets.Failing("die"), 1, workers=2)
    start = time.monotonic()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"worker 1 .* killed by SIGKILL; out of memory\?"):
            list(loader)
    assert time.monotonic() - start < 30


def test_worker_exit_code_is_in_the_error(datasets, make):
    with pytest.raises(RuntimeError, match=r"worker 0 .* ended with exit code 7$"):
        list(make(datasets.Failing("leave"), 1, workers=1))


def test_batches_without_elements_arrive(datasets, make):
    batches = list(make([np.zeros((0, 3), np.float32)] * 3, 2, workers=1))
    assert [batch.shape for batch in batches] == [(2, 0, 3), (1, 0, 3)]


@pytest.mark.parametrize("how", ["sleep", "sleep through SIGTERM"])
def test_closing_does_not_wait_for_a_busy_worker(datasets, make, monkeypatch, tmp_path, how):
    monkeypatch.setattr("lucid.data.workers._JOIN_TIMEOUT", 0.2)
    loader = make(datasets.Failing(how, tmp_path / "asleep"), 1, workers=1, prefetch=8)
    batches = iter(loader)
    assert [next(batches).item() for _ in range(3)] == [0, 1, 2]
    (process,) = loader._pool._processes
    while not (tmp_path / "asleep").exists():
        time.sleep(0.01)
    start = time.monotonic()
    loader.close()
    assert time.monotonic() - start < 10
    expected = signal.SIGTERM if how == "sleep" else signal.SIGKILL
    assert process.exitcode == -expected


def test_forked_child_starts_its_own_workers(datasets, make):
    loader = make(datasets.Elsewhere(), 1, workers=1)
    ours = {batch[0].item() for batch in loader}
    child = os.fork()
    if child == 0:
        code = 1
        try:
            theirs = {batch[0].item() for batch in loader}
            loader.close()
            code = 0 if theirs.isdisjoint(ours) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert {batch[0].item() for batch in loader} == ours  # and ours are unharmed


# --- whole programs ------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path):
    """Start a program in a session of its own, of which nothing is left at the end."""
    started = []

    def start_program(program):
        script = tmp_path / "program.py"
        path = f"import sys\nsys.path.insert(0, {str(HERE)!r})\n"
        script.write_text(path + textwrap.dedent(program))
        started.append(
            subprocess.Popen(
                [sys.executable, str(script)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start_program
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def runs(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"  # whom nobody has buried is dead all the same


def wait_until_gone(pids):
    deadline = time.monotonic() + 20
    left = set(pids)
    while left and time.monotonic() < deadline:
        left = {pid for pid in left if runs(pid)}
        time.sleep(0.05)
    assert not left


PROGRAM = """
    import multiprocessing, time
    from loader_datasets import Big, Failing
    from lucid.data import DataLoader

    if __name__ == "__main__":
        batches = iter(DataLoader({dataset}, 1, workers=2))
        next(batches)
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        {then}
"""


@pytest.mark.parametrize(
    ("dataset", "then"),
    [
        ("Failing('sleep')", "list(batches)"),  # one worker is in a sample for a minute
        ("Big()", "time.sleep(60)"),  # both wait for somebody to take a batch
    ],
)
def test_ctrl_c_ends_program_and_workers_with_one_traceback(start, dataset, then):
    program = start(PROGRAM.format(dataset=dataset, then=then))
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, errors = program.communicate(timeout=30)
    assert program.returncode == -signal.SIGINT
    assert errors.count("KeyboardInterrupt") == errors.count("Traceback") == 1
    wait_until_gone(pids)


def test_workers_end_when_the_program_is_killed(start):
    program = start(PROGRAM.format(dataset="Big()", then="time.sleep(60)"))
    pids = [int(pid) for pid in program.stdout.readline().split()]
    assert len(pids) == 2
    program.kill()
    _, errors = program.communicate(timeout=30)
    wait_until_gone(pids)
    assert errors == ""


def test_script_without_guard_raises(start):
    program = start(
        """
        from loader_datasets import Noisy
        from lucid.data import DataLoader
        list(DataLoader(Noisy(3), workers=1))
        """,
    )
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 1
    assert errors.count("Traceback") == 1  # workers end in silence
    assert "if __name__ == '__main__'" in errors.splitlines()[-1]


def test_program_that_ends_with_workers_running_ends(start):
    program = start(
        """
        from loader_datasets import Big
        from lucid.data import DataLoader
        if __name__ == "__main__":
            loader = DataLoader(Big(), workers=2)
            iterator = iter(loader)
            next(iterator)
        """,
    )
    _, errors = program.communicate(timeout=30)
    assert program.returncode == 0
    assert errors == ""


def test_nothing_is_started_before_the_first_batch(monkeypatch):
    def refuse(*args):
        raise AssertionError("started")

    monkeypatch.setattr("lucid.data.loader.WorkerPool", refuse)
    iter(DataLoader(range(3), workers=2))
    assert len(DataLoader([], workers=2)) == 0
    assert list(DataLoader([], workers=2)) == []


def test_worker_rejects_a_batch_with_a_graph(datasets, make):
    samples = [lucid.ones(2, requires_grad=True)]
    with pytest.raises(ValueError, match=r"shape \(1, 2\).*detach.*workers=0"):
        next(iter(make(samples, workers=1)))
    batch = next(iter(make([sample.detach() for sample in samples], workers=1)))
    assert batch.tolist() == [[1.0, 1.0]]
    assert not batch.requires_grad
    (leaf,) = next(iter(make(samples, workers=1, collate=datasets.as_list)))
    assert leaf.requires_grad
