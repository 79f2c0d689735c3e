"""Ranks that are threads of this process, to test without MPI."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

from lucid.training import Communicator

_PATIENCE = 60  # seconds until a waiting rank fails


class ThreadedRank(Communicator):
    """Rank that exchanges values through a shared list and a barrier."""

    def __init__(self, rank, table, barrier):
        self.rank, self.size = rank, len(table)
        self.table, self.barrier = table, barrier
        self.started = []

    def all_gather(self, value):
        # Pickled, since the sender may overwrite its arrays while others read them.
        self.table[self.rank] = pickle.dumps(value)
        self.barrier.wait(_PATIENCE)
        values = [pickle.loads(given) for given in self.table]
        self.barrier.wait(_PATIENCE)
        return values

    def broadcast(self, value):
        return self.all_gather(value)[0]

    def all_reduce(self, array):
        first, *others = self.all_gather(array.copy())
        return sum(others, start=first)

    def all_reduce_async(self, array):
        self.started.append(array)
        return _Later(self, array)


class _Later:
    """Request that completes only in ``wait``, as MPI's may."""

    def __init__(self, communicator, array):
        self.communicator, self.array = communicator, array

    def test(self):
        return False

    def wait(self):
        self.array[...] = self.communicator.all_reduce(self.array)


def on_ranks(count, work):
    """Return ``work(communicator)`` of each rank; an error on one stops all."""
    table, barrier = [None] * count, threading.Barrier(count)

    def run(rank):
        try:
            return work(ThreadedRank(rank, table, barrier))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        futures = [pool.submit(run, rank) for rank in range(count)]
    errors = [f.exception() for f in futures if f.exception() is not None]
    for error in errors:  # the cause, not the broken barriers of other ranks
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
