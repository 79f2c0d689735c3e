"""Predict for many files and write a report."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from lucid.data.main_guard import exit_if_importing_main
from lucid.prediction.predictor import Predictor
from lucid.prediction.result_store import Batch, ResultStore

__all__ = ["Executor", "Outcome", "make_executor", "predict_files", "predict_pending"]

#: Maps batches to their records, in any order.
Executor = Callable[[Predictor, Iterator[Batch]], Iterator[tuple[Batch, list[dict[str, Any]]]]]


@dataclass(frozen=True)
class Outcome:
    """Counts of a finished run.

    Attributes
    ----------
    images : int
        Images with results in the report.
    failed : int
        Images with an error in the report.
    """

    images: int
    failed: int


def predict_files(
    predictor: Predictor,
    images: Iterable[str],
    report: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    resume: bool = False,
    dask: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Outcome:
    """Predict for image files and write a report.

    Results are saved as they arrive.  Failed images are listed in the report with the reason.

    Parameters
    ----------
    predictor : Predictor
        The predictor.
    images : iterable of str
        Paths, for example from :func:`find_files`.  Duplicates count once.
    report : path
        Output file, written atomically at the end: ``.jsonl`` has one JSON line per image, any
        other name one JSON object.  A missing folder is created.
    batch_size : int, default 1
        Images per batch, which are in memory together.
    resume : bool, default False
        Continue an unfinished run, or add to a finished report: predict for new, changed and
        failed images.  Starts a run if there is none.
    dask : str, optional
        ``"local"`` for worker processes on this machine, or the address or scheduler file of a
        Dask scheduler.  Default: predict in this process.
    workers : int, optional
        Worker processes of ``"local"``; default one per processor.
    threads : int, optional
        Threads per batch.  Default: processors divided by workers for ``"local"``; else 1, as
        the threads of a Dask worker run batches.
    progress : bool, optional
        Whether to show a progress bar; default if stderr is a terminal.

    Returns
    -------
    Outcome
        Number of images and of failures.

    Raises
    ------
    OSError
        If the report is a directory, or its folder cannot be created or written.
    ValueError
        If there is an unfinished run and ``resume`` is False, if the results to resume are
        damaged or have other weights or options, or if another process writes the report.
    lucid.WeightFileError
        If a worker cannot open the model.
    lucid.MissingPackageError
        If Dask is not installed.
    ConnectionError
        If the scheduler cannot be reached, or is lost.
    RuntimeError
        If local workers cannot start because the script has no main guard.
    """
    if dask is not None:
        exit_if_importing_main()
    if os.path.isdir(report):
        raise IsADirectoryError(
            errno.EISDIR, "expected a file for the report, got a directory", report
        )
    os.makedirs(os.path.dirname(os.path.abspath(report)), exist_ok=True)
    with ResultStore(report, predictor.description(), resume=resume) as store:
        store.add(images)
        with make_executor(dask, workers, threads) as executor:
            predict_pending(store, predictor, executor, batch_size=batch_size, progress=progress)
        _, done, failed = store.count()
        store.finish()
    return Outcome(done, failed)


def make_executor(
    dask: str | None = None, workers: int | None = None, threads: int | None = None
) -> AbstractContextManager[Executor]:
    """Open an executor; arguments as for :func:`predict_files`."""
    if dask is None:
        return nullcontext(_serial_executor)
    from lucid.prediction.dask_cluster import dask_executor

    return dask_executor(dask, workers, threads)


def _serial_executor(
    predictor: Predictor, batches: Iterator[Batch]
) -> Iterator[tuple[Batch, list[dict[str, Any]]]]:
    for batch in batches:
        yield batch, predictor(batch.images)


def predict_pending(
    store: ResultStore,
    predictor: Predictor,
    executor: Executor,
    *,
    batch_size: int = 1,
    progress: bool | None = None,
) -> None:
    """Predict for the images of a store that have no result."""
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    total, done, failed = store.count()
    if progress is None:
        progress = sys.stderr is not None and sys.stderr.isatty()
    from tqdm import tqdm

    with tqdm(total=total, initial=done + failed, unit="image", disable=not progress) as bar:
        for batch, records in executor(predictor, store.pending(batch_size)):
            store.save(batch, records)
            failed += sum("error" in record for record in records)
            if failed:
                bar.set_postfix(failed=failed, refresh=False)
            bar.update(len(batch))
