"""Data loader: shuffled, collated batches, prefetched by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lucid.data.batch_sampler import BatchSampler, Collate, fetch_batch
from lucid.data.collate import default_collate
from lucid.data.dataset import Dataset, check_dataset
from lucid.data.workers import WorkerPool
from lucid.random import default_generator

__all__ = ["DataLoader"]

#: Sampler fields in the loader's state; rank and world size may change on resume.
_STATE = ("samples", "batch_size", "shuffle", "drop_last", "seed")


class DataLoader:
    """Iterate over a dataset in batches; each iteration is an epoch.

    The batches depend on ``seed`` and the epoch, not on the number of workers:
    :mod:`lucid.random` is seeded for every sample.

    Parameters
    ----------
    dataset : Dataset or sequence
        Samples by index.  Its length is read again at the start of every epoch.
    batch_size : int, default 1
        Samples per batch; the last batch of an epoch may have fewer.
    shuffle : bool, default False
        Whether to shuffle the samples, anew in each epoch.
    drop_last : bool, default False
        Drop the last batch if it is not full.
    collate : callable, optional
        Merges a list of samples into a batch; default :func:`default_collate`.
    workers : int, default 0
        Worker processes, at most one per batch of an epoch; 0 loads in the main process.  They
        start at the first iteration with a copy of the dataset, and run until :meth:`close` or
        until the loader is deleted.  Scripts that use them need
        ``if __name__ == "__main__":``.
    prefetch : int, default 2
        Batches loaded in advance by each worker.
    seed : int, optional
        Seed >= 0; default drawn from :mod:`lucid.random`.

    Raises
    ------
    TypeError
        If the dataset has no length or no ``__getitem__``.
    ValueError
        If a number is out of range.

    Notes
    -----
    An exception of the dataset or ``collate`` gets a note with the sample index and a worker's
    traceback.  If the length of the dataset changes between epochs, workers restart; after other
    changes call :meth:`close`.

    Datasets that draw from ``random`` or ``numpy.random`` get distinct seeded streams in
    workers, but their results depend on whether there are workers.

    Examples
    --------
    >>> from lucid.data import DataLoader
    >>> loader = DataLoader(range(5), batch_size=2)
    >>> [batch.tolist() for batch in loader]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        dataset: Dataset[Any] | Sequence[Any],
        batch_size: int = 1,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        collate: Collate | None = None,
        workers: int = 0,
        prefetch: int = 2,
        seed: int | None = None,
    ) -> None:
        check_dataset(dataset, "DataLoader")
        if seed is None:
            seed = int(default_generator.numpy.integers(2**63))
        self.dataset = dataset
        self.collate: Collate = default_collate if collate is None else collate
        self.workers = _at_least(0, workers, "workers")
        self.prefetch = _at_least(1, prefetch, "prefetch")
        self._sampler = BatchSampler(
            len(dataset),
            _at_least(1, batch_size, "batch_size"),
            _boolean(shuffle, "shuffle"),
            _boolean(drop_last, "drop_last"),
            _at_least(0, seed, "seed"),
        )
        self._pool: WorkerPool | None = None
        self._epoch = 0
        self._position = 0
        self._in_progress = False

    @property
    def batch_size(self) -> int:
        """Number of samples per batch."""
        return self._sampler.batch_size

    @property
    def seed(self) -> int:
        """Seed of the order and of the random numbers."""
        return self._sampler.seed

    def __len__(self) -> int:
        """Return the number of batches per epoch for the current dataset length."""
        return len(self._current_sampler())

    def _current_sampler(self) -> BatchSampler:
        return replace(self._sampler, samples=len(self.dataset))

    def __iter__(self) -> Iterator[Any]:
        if self._in_progress:  # the last iteration was abandoned
            self._epoch += 1
            self._position = 0
        sampler = self._current_sampler()
        if sampler != self._sampler:
            if self._position:
                raise ValueError(
                    f"cannot resume within an epoch: expected a dataset of {self._sampler.samples} "
                    f"samples, got {sampler.samples}"
                )
            self.close()  # workers have the old dataset
            self._sampler = sampler
        self._in_progress = True
        return self._batches(sampler, self._epoch, self._position)

    def _batches(self, sampler: BatchSampler, epoch: int, first: int) -> Iterator[Any]:
        last = len(sampler)
        if self.workers and first < last:
            made = self._workers(sampler).batches(epoch, first, last)
        else:
            made = (
                fetch_batch(self.dataset, self.collate, sampler, epoch, batch)
                for batch in range(first, last)
            )
        for position, batch in enumerate(made, first + 1):
            if self._epoch == epoch:  # else a newer iteration is active
                self._position = position
            yield batch
        if self._epoch == epoch:
            self._epoch, self._position, self._in_progress = epoch + 1, 0, False

    def _workers(self, sampler: BatchSampler) -> WorkerPool:
        if self._pool is None or not self._pool.alive:
            count = min(self.workers, len(sampler))  # more would be idle
            self._pool = WorkerPool(self.dataset, self.collate, sampler, count, self.prefetch)
        return self._pool

    def shard(self, rank: int, world_size: int) -> None:
        """Load only the shard of every batch for rank ``rank`` of ``world_size``.

        The shards of all ranks together are the batches of an unsharded loader; their sizes
        differ by at most one sample.  If the last batch has fewer samples than ranks, a rank
        without samples gets a placeholder, for which :meth:`shard_fraction` is 0.

        Raises
        ------
        ValueError
            If the rank is out of range, or ``batch_size`` is less than ``world_size``.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"expected a rank from 0 to {world_size - 1}, got {rank}")
        if self.batch_size < world_size:
            raise ValueError(
                f"expected batch_size >= {world_size}, the number of ranks, got {self.batch_size}; "
                "batch_size is global (summed over ranks)"
            )
        self.close()  # workers have the old sampler
        self._sampler = replace(self._sampler, rank=rank, world_size=world_size)

    def shard_fraction(self, batch: int) -> float:
        """Return the fraction of a batch that this rank loads."""
        first, last = self._sampler.span(batch)
        start, stop = self._sampler.shard_span(batch)
        return (stop - start) / (last - first)

    def rank_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """Return the seed for this rank's forward pass of a batch."""
        return self._sampler.rank_seed(epoch, batch)

    def close(self) -> None:
        """Stop the worker processes; the next iteration starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch returned (not prefetched) as a JSON dict."""
        over = self._position >= len(self._sampler)
        return {
            "epoch": self._epoch + (over and self._in_progress),
            "position": 0 if over else self._position,
            **{key: getattr(self._sampler, key) for key in _STATE},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a position: the next iteration starts at the following batch.

        Raises ValueError if the state is within an epoch, and this loader has other batches.
        """
        sampler = BatchSampler(**{key: state[key] for key in _STATE})
        present = self._current_sampler()
        if state["position"]:
            for key in _STATE:
                was, now = getattr(sampler, key), getattr(present, key)
                if key != "seed" and now != was:
                    raise ValueError(
                        f"cannot resume within an epoch: expected {key}={was}, got {now}"
                    )
        restored = replace(present, seed=sampler.seed)
        if restored != self._sampler:
            self.close()  # workers have the old sampler
        self._sampler = restored
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        self._in_progress = False


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def _at_least(least: int, value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: expected an integer >= {least}, got {value!r}")
    return int(value)
