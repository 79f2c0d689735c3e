"""Ranks of one machine share its cores, unless OMP_NUM_THREADS is set."""

from __future__ import annotations

import os

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_ranks_share_the_cores_by_default(run):
    part = max(1, CORES // 2)
    output = run(2, "threads.py", OMP_NUM_THREADS=None)
    assert f"threads: {[(part, part)] * 2}\n" in output


def test_ranks_use_omp_num_threads(run):
    assert "threads: [(3, " in run(2, "threads.py", OMP_NUM_THREADS="3")
