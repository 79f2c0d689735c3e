"""Dask executor: local worker processes, or a cluster.

Dask restarts workers that die and reruns their tasks.  This module limits the number of batches
in flight, so that memory does not grow with the number of images, and finds the image that
kills workers.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lucid.data.main_guard import check_main_guard
from lucid.data.workers import block_sigint
from lucid.errors import MissingPackageError
from lucid.kernels import set_num_threads
from lucid.kernels.processors import available_processors
from lucid.prediction.predictor import Predictor
from lucid.prediction.result_store import Batch

__all__ = ["dask_executor"]

_TIMEOUT = 60.0  # seconds to reach a scheduler and to see its first worker
_PREFETCH = 2  # batches in flight per worker thread: one running, one queued
_RECOUNT_INTERVAL = 5.0  # seconds between counts of the workers


@contextmanager
def dask_executor(scheduler: str, workers: int | None, threads: int | None) -> Iterator[Any]:
    """Open an executor on Dask; see :func:`~lucid.prediction.run.predict_files`."""
    try:
        import distributed
    except ImportError as error:
        raise MissingPackageError(
            f"Dask is not installed ({error}); pip install dask distributed, or an extra such as "
            '"lucid-models-detection[dask]"',
            name="distributed",
        ) from error
    make_client: Any = distributed.Client  # Any: some of Dask's releases are not annotated
    if scheduler == "local":
        check_main_guard()
        count = available_processors() if workers is None else workers
        share = max(1, available_processors() // count) if threads is None else threads
        with _local_workers(count) as cluster, make_client(cluster) as client:
            yield _DaskExecutor(client, share, "the local workers").run
        return
    if workers is not None:
        raise ValueError(
            f"expected workers=None with a scheduler, got {workers}; start workers at {scheduler}"
        )
    client = _connect(make_client, scheduler)
    try:
        yield _DaskExecutor(client, threads or 1, scheduler).run
    finally:
        client.close()


@contextmanager
def _local_workers(count: int) -> Iterator[Any]:
    import logging

    import dask
    import distributed

    ended = threading.Event()

    def replace_lost() -> None:
        # Dask restarts a dead worker, but gives up one that dies again or starts slowly.  Without
        # workers, all tasks would wait forever.
        while not ended.wait(_RECOUNT_INTERVAL):
            cluster.scale(count)

    with dask.config.set({"distributed.deploy.lost-worker-timeout": f"{_TIMEOUT}s"}):
        # Ctrl-C in a terminal goes to every process.  Workers inherit the blocked signal and end
        # when the cluster is closed.
        with block_sigint():
            make_cluster: Any = distributed.LocalCluster
            cluster = make_cluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.ERROR,
            )
        with cluster:
            keeper = threading.Thread(target=replace_lost, name="lucid-dask", daemon=True)
            keeper.start()
            try:
                yield cluster
            finally:
                ended.set()
                keeper.join()


def _connect(make_client: Any, scheduler: str) -> Any:
    where = {"scheduler_file": scheduler} if os.path.isfile(scheduler) else {"address": scheduler}
    try:
        client = make_client(**where, timeout=_TIMEOUT)
    except (OSError, TimeoutError) as error:
        raise ConnectionError(f"cannot reach a Dask scheduler at {scheduler}: {error}") from None
    try:
        client.wait_for_workers(1, timeout=_TIMEOUT)
    except TimeoutError:
        client.close()
        raise ConnectionError(
            f"expected a worker at the Dask scheduler {scheduler}, got none in {_TIMEOUT:.0f} s"
        ) from None
    return client


class _DaskExecutor:
    """Run batches on the workers of a client; errors have `name`, that of the scheduler."""

    def __init__(self, client: Any, threads: int, name: str) -> None:
        self.client = client
        self.threads = threads
        self.name = name
        self._capacity = 0
        self._counted = -_RECOUNT_INTERVAL

    def run(
        self, predictor: Predictor, batches: Iterator[Batch]
    ) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
        """Yield batches with their records, in order of completion."""
        import distributed
        from distributed import KilledWorker

        prefix, numbers = f"lucid-{uuid.uuid4().hex[:12]}", itertools.count()
        in_flight: dict[str, Batch] = {}
        as_completed: Any = distributed.as_completed
        completed = as_completed()
        suspects: list[Batch] = []
        isolated = None

        def submit(batch: Batch) -> Any:
            key = f"{prefix}-{next(numbers)}"
            arguments = (predictor, batch.images, self.threads)
            future = self.client.submit(_predict, *arguments, key=key, pure=False)
            in_flight[key] = batch
            completed.add(future)
            return key

        more = True
        while True:
            while more and len(in_flight) < self._max_in_flight():
                batch = next(batches, None)
                if batch is None:
                    more = False
                else:
                    submit(batch)
            if not in_flight:
                if not suspects:
                    return
                isolated = submit(suspects.pop())  # alone, so that only it can be the cause
            future = next(completed)
            batch = in_flight.pop(future.key)
            try:
                records = self._result(future)
            except KilledWorker as error:
                # Any batch that was queued at the dead worker may be the cause.
                if future.key != isolated:
                    suspects += batch.split()
                    continue
                deaths = error.allowed_failures + 1
                reason = f"{deaths} workers died on it (out of memory?)"
                records = [{"image": batch.images[0], "error": reason}]
            yield batch, records

    def _result(self, future: Any) -> list[dict[str, Any]]:
        from distributed import CancelledError

        try:
            records: list[dict[str, Any]] = future.result()
        except CancelledError as error:
            raise ConnectionError(
                f"lost the Dask scheduler {self.name} ({error}); continue with --resume"
            ) from None
        finally:
            future.release()
        return records

    def _max_in_flight(self) -> int:
        now = time.monotonic()
        if now - self._counted >= _RECOUNT_INTERVAL:
            self._counted = now
            self._capacity = _PREFETCH * sum(self.client.nthreads().values())
        return max(_PREFETCH, self._capacity)


def _predict(predictor: Predictor, images: Sequence[str], threads: int) -> list[dict[str, Any]]:
    """Predict one batch on a worker."""
    set_num_threads(threads)
    return predictor(images)
