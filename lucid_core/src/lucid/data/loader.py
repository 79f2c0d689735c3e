"""The loader: batches of a dataset, shuffled, collated, made ahead by worker processes."""

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

    The batches follow from ``seed`` and the number of the epoch alone.  Each epoch has its
    own order, and :mod:`lucid.random` is seeded for every sample, so that the batches do not
    depend on the number of workers.

    Parameters
    ----------
    dataset : Dataset or sequence
        Samples by index.  Its length is read again at the start of every epoch.
    batch_size : int, default 1
        Samples per batch; the last batch of an epoch may have fewer.
    shuffle : bool, default False
        Whether each epoch goes through the samples in a random order.
    drop_last : bool, default False
        Drop the last batch if it is not full.
    collate : callable, optional
        Makes a batch of a list of samples; default :func:`default_collate`.
    workers : int, default 0
        Processes that make batches, at most one for each batch of an epoch; 0 loads in the
        main process.  They are started by the first iteration, keep a copy of the dataset,
        and run until :meth:`close` or as long as the loader exists.  A script that uses them
        must start under ``if __name__ == "__main__":``.
    prefetch : int, default 2
        Batches that each worker makes ahead.
    seed : int, optional
        Not negative.  Default: drawn from :mod:`lucid.random`.

    Raises
    ------
    TypeError
        If the dataset has no length or no samples by index, as a generator.
    ValueError
        If a number is out of range.

    Attributes
    ----------
    seed : int
        The seed.

    Notes
    -----
    An exception that the dataset or ``collate`` raises gets a note with the index of the
    sample; from a worker it also carries the worker's traceback as a note.  A dataset whose
    length changes between two epochs is noticed, and workers are started again; one that
    changes without changing its length reaches them after :meth:`close`.

    Datasets that draw from ``random`` or ``numpy.random`` instead of ``lucid.random`` get
    distinct seeded streams in workers, but their results depend on whether there are workers.

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
        """Samples in a batch."""
        return self._sampler.batch_size

    @property
    def seed(self) -> int:
        """What order and random numbers follow from."""
        return self._sampler.seed

    def __len__(self) -> int:
        """Number of batches in an epoch over the dataset as long as it is now."""
        return len(self._current_sampler())

    def _current_sampler(self) -> BatchSampler:
        """The sampler for the present length of the dataset, which may have changed."""
        return replace(self._sampler, samples=len(self.dataset))

    def __iter__(self) -> Iterator[Any]:
        if self._in_progress:  # an iteration that was left early is over
            self._epoch += 1
            self._position = 0
        sampler = self._current_sampler()
        if sampler != self._sampler:
            if self._position:
                raise ValueError(
                    "cannot continue in the middle of an epoch: the dataset had "
                    f"{self._sampler.samples} samples, now it has {sampler.samples}"
                )
            self.close()  # the workers have the dataset as it was
            self._sampler = sampler
        self._in_progress = True
        return self._batches(sampler, self._epoch, self._position)

    def _batches(self, sampler: BatchSampler, epoch: int, first: int) -> Iterator[Any]:
        last = len(sampler)
        if self.workers and first < last:
            made = self._workers(sampler).batches(epoch, first, last)
        else:
            made = self._load_in_process(sampler, epoch, first, last)
        for position, batch in enumerate(made, first + 1):
            if self._epoch == epoch:  # otherwise a newer iteration has taken over
                self._position = position
            yield batch
        if self._epoch == epoch:
            self._epoch, self._position, self._in_progress = epoch + 1, 0, False

    def _load_in_process(
        self, sampler: BatchSampler, epoch: int, first: int, last: int
    ) -> Iterator[Any]:
        for batch in range(first, last):
            yield fetch_batch(self.dataset, self.collate, sampler, epoch, batch)

    def _workers(self, sampler: BatchSampler) -> WorkerPool:
        if self._pool is None or not self._pool.alive:
            count = min(self.workers, len(sampler))  # more would have nothing to do
            self._pool = WorkerPool(self.dataset, self.collate, sampler, count, self.prefetch)
        return self._pool

    def shard(self, rank: int, world_size: int) -> None:
        """Make a part of every batch only: that of one of several processes.

        Together the parts of all ranks are the batches that one loader would make: no
        sample comes twice, none is lost.  The parts differ by one sample at most.  A rank
        that is left without any, of a last batch with fewer samples than ranks, gets a
        stand-in, and :meth:`share` says that it counts nothing.

        Parameters
        ----------
        rank, world_size : int
            Which of how many parts.

        Raises
        ------
        ValueError
            If there is no such rank, or a whole batch has fewer samples than ranks.
        """
        if not 0 <= rank < world_size:
            raise ValueError(f"expected a rank from 0 to {world_size - 1}, got {rank}")
        if self.batch_size < world_size:
            raise ValueError(
                f"{world_size} ranks cannot share batches of {self.batch_size} samples; give a "
                "batch_size of at least the number of ranks: it is that of all together"
            )
        self.close()  # the workers know the other sampler
        self._sampler = replace(self._sampler, rank=rank, world_size=world_size)

    def shard_fraction(self, batch: int) -> float:
        """Which part of the samples of a batch, by its number in the epoch, is made here."""
        first, last = self._sampler.span(batch)
        start, stop = self._sampler.shard_span(batch)
        return (stop - start) / (last - first)

    def rank_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """A seed of this rank's own for what is drawn when a batch is trained on."""
        return self._sampler.rank_seed(epoch, batch)

    def close(self) -> None:
        """End the worker processes; the next iteration starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as JSON can hold it.

        The batches that were taken so far count, not those made ahead.
        """
        over = self._position >= len(self._sampler)
        return {
            "epoch": self._epoch + (over and self._in_progress),
            "position": 0 if over else self._position,
            **{key: getattr(self._sampler, key) for key in _STATE},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state: the next iteration begins at the batch after it.

        Raises
        ------
        ValueError
            If the state is in the middle of an epoch, and this loader would cut
            the dataset into other batches.
        """
        sampler, present = (
            BatchSampler(**{key: state[key] for key in _STATE}),
            self._current_sampler(),
        )
        if state["position"]:
            for key in _STATE:
                was, now = getattr(sampler, key), getattr(present, key)
                if key != "seed" and now != was:
                    raise ValueError(
                        f"cannot continue in the middle of an epoch: {key} was {was}, now {now}"
                    )
        if sampler.seed != self._sampler.seed:
            self.close()  # the workers know the other one
        if present.samples != self._sampler.samples:
            self.close()
        self._sampler = replace(present, seed=sampler.seed)
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        self._in_progress = False


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _at_least(least: int, value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)
