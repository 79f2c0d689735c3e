"""From files to a report: what is left to do, shared out, kept as it comes."""

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

#: Batches in, each with its records out, in any order.
Executor = Callable[[Predictor, Iterator[Batch]], Iterator[tuple[Batch, list[dict[str, Any]]]]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    images : int
        Those in the report.
    failed : int
        Those it lists with a reason instead.
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
    """Predict for any number of image files and write a report.

    Results are on disk as they come.  An image that cannot be read is listed in the
    report with the reason, and the others go on.

    Parameters
    ----------
    predictor : Predictor
        What predicts.
    images : iterable of str
        Paths; :func:`find_files` finds them.  One that comes twice counts once.
    report : path
        Written in one step at the end: ``.jsonl`` for a line of JSON for each image,
        any other name for one JSON object.  A missing folder is made first.
    batch_size : int, default 1
        Images that are in memory, and sent to a worker, together.
    resume : bool, default False
        Continue a run that did not finish, or complete a finished report: with images that
        are new, have changed or failed before.  Starts a run if there is neither.
    dask : str, optional
        ``"local"`` for worker processes on this machine, or a Dask scheduler: its
        address or its scheduler file.  By default images are predicted for in this
        process.
    workers : int, optional
        Processes of ``"local"``; by default one for each processor.
    threads : int, optional
        Threads of Lucid for each batch that a worker is at.  By default the processors
        divided by the workers where these are local, else 1: then a Dask worker's own
        number of threads says how many processors it uses.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Outcome
        How many images there are and how many failed.

    Raises
    ------
    OSError
        If the report is a directory, or its folder cannot be made.
    ValueError
        If an unfinished run is in the way, if results to resume are of other weights or
        options, or if two processes write to one report.
    lucid.WeightFileError
        If a worker cannot open the model.
    lucid.MissingPackageError
        If Dask is wanted and not installed.
    ConnectionError
        If the scheduler cannot be reached, or is lost on the way.
    RuntimeError
        If local workers cannot start, because the script has no main guard.
    """
    if dask is not None:
        exit_if_importing_main()
    if os.path.isdir(report):
        raise IsADirectoryError(errno.EISDIR, "the report is a directory; name a file", report)
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
    """What shares out the batches; arguments as of :func:`predict_files`."""
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
    """Predict for every image of a store that has no result yet."""
    if batch_size < 1:
        raise ValueError(f"expected a batch size of at least 1, got {batch_size}")
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
