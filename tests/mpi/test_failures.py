"""Errors, signals and killed ranks stop all ranks; none hangs."""

from __future__ import annotations

import os
import re
import signal
import time

import numpy as np
import pytest

from lucid.training import load_checkpoint

PATIENCE = 15  # seconds for the other ranks to stop


def pid_of(job, rank, step):
    line = job.wait_for(f"rank {rank} pid", patience=60)
    pid = int(re.search(rf"rank {rank} pid (\d+)", line)[1])
    job.wait_for(f"did step {step}\n", patience=60)
    return pid


def finish(start, folder):
    """Resume the run to its end and return the weights."""
    job = start(2, "train_failing.py", folder, "loop", "--resume")
    assert job.end() == 0, job.output
    assert "trained to step 48" in job.output
    return np.load(folder / "weights.npy")


@pytest.fixture(scope="module")
def uninterrupted(run, tmp_path_factory):
    """Return the weights of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    run(2, "train_failing.py", folder, "loop")
    return np.load(folder / "weights.npy")


def test_error_on_one_rank_terminates_all_and_is_reported(start, tmp_path):
    job = start(2, "train_failing.py", tmp_path, "error")
    job.wait_for("did step 2\n")
    began = time.monotonic()
    assert job.end(PATIENCE) != 0
    assert time.monotonic() - began < PATIENCE
    assert "rank 1 of 2:" in job.output
    assert "OSError: image 21 cannot be read" in job.output


def test_killed_rank_terminates_all_and_the_run_resumes(start, tmp_path, uninterrupted):
    job = start(2, "train_failing.py", tmp_path, "loop", "--slowly")
    os.kill(pid_of(job, 1, 10), signal.SIGKILL)
    began = time.monotonic()
    assert job.end(PATIENCE) != 0
    assert time.monotonic() - began < PATIENCE
    assert re.search(r"[Kk]illed|signal 9|EXIT CODE: 9", job.output), job.output
    assert load_checkpoint(tmp_path / "last.safetensors")["step"] >= 8
    np.testing.assert_array_equal(finish(start, tmp_path), uninterrupted)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
@pytest.mark.parametrize("to", ["mpiexec", "rank 1"])
def test_signal_leaves_a_complete_checkpoint(start, tmp_path, uninterrupted, number, code, to):
    job = start(2, "train_failing.py", tmp_path, "loop", "--slowly")
    pid = pid_of(job, 1, 10)
    os.kill(job.process.pid if to == "mpiexec" else pid, number)
    assert job.end(PATIENCE) == code, job.output
    state = load_checkpoint(tmp_path / "last.safetensors")
    # Of the current step, not of the last scheduled checkpoint.
    done = max(int(step) for step in re.findall(r"did step (\d+)", job.output))
    assert state["step"] == done
    np.testing.assert_array_equal(finish(start, tmp_path), uninterrupted)
