"""The loader: batches of a dataset, shuffled, collated, made ahead by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lucid.data.collate import default_collate
from lucid.data.dataset import Dataset, check_dataset
from lucid.data.plan import Collate, Plan, fetch
from lucid.data.workers import WorkerPool
from lucid.random import default_generator

__all__ = ["DataLoader"]

#: What of its plan a loader's state says: all but how many ranks share the batches.
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
        self._plan = Plan(
            len(dataset),
            _at_least(1, batch_size, "batch_size"),
            _boolean(shuffle, "shuffle"),
            _boolean(drop_last, "drop_last"),
            _at_least(0, seed, "seed"),
        )
        self._pool: WorkerPool | None = None
        self._epoch = 0
        self._position = 0
        self._under_way = False

    @property
    def batch_size(self) -> int:
        """Samples in a batch."""
        return self._plan.batch_size

    @property
    def seed(self) -> int:
        """What order and random numbers follow from."""
        return self._plan.seed

    def __len__(self) -> int:
        """Number of batches in an epoch over the dataset as long as it is now."""
        return len(self._present_plan())

    def _present_plan(self) -> Plan:
        """The plan for the present length of the dataset, which may have changed."""
        return replace(self._plan, samples=len(self.dataset))

    def __iter__(self) -> Iterator[Any]:
        if self._under_way:  # an iteration that was left early is over
            self._epoch += 1
            self._position = 0
        plan = self._present_plan()
        if plan != self._plan:
            if self._position:
                raise ValueError(
                    "cannot continue in the middle of an epoch: the dataset had "
                    f"{self._plan.samples} samples, now it has {plan.samples}"
                )
            self.close()  # the workers have the dataset as it was
            self._plan = plan
        self._under_way = True
        return self._batches(plan, self._epoch, self._position)

    def _batches(self, plan: Plan, epoch: int, first: int) -> Iterator[Any]:
        last = len(plan)
        if self.workers and first < last:
            made = self._workers(plan).batches(epoch, first, last)
        else:
            made = self._made_here(plan, epoch, first, last)
        for position, batch in enumerate(made, first + 1):
            if self._epoch == epoch:  # otherwise a newer iteration has taken over
                self._position = position
            yield batch
        if self._epoch == epoch:
            self._epoch, self._position, self._under_way = epoch + 1, 0, False

    def _made_here(self, plan: Plan, epoch: int, first: int, last: int) -> Iterator[Any]:
        for batch in range(first, last):
            yield fetch(self.dataset, self.collate, plan, epoch, batch)

    def _workers(self, plan: Plan) -> WorkerPool:
        if self._pool is None or not self._pool.alive:
            count = min(self.workers, len(plan))  # more would have nothing to do
            self._pool = WorkerPool(self.dataset, self.collate, plan, count, self.prefetch)
        return self._pool

    def shard(self, rank: int, ranks: int) -> None:
        """Make a part of every batch only: that of one of several processes.

        Together the parts of all ranks are the batches that one loader would make: no
        sample comes twice, none is lost.  The parts differ by one sample at most.  A rank
        that is left without any, of a last batch with fewer samples than ranks, gets a
        stand-in, and :meth:`share` says that it counts nothing.

        Parameters
        ----------
        rank, ranks : int
            Which of how many parts.

        Raises
        ------
        ValueError
            If there is no such rank, or a whole batch has fewer samples than ranks.
        """
        if not 0 <= rank < ranks:
            raise ValueError(f"expected a rank from 0 to {ranks - 1}, got {rank}")
        if self.batch_size < ranks:
            raise ValueError(
                f"{ranks} ranks cannot share batches of {self.batch_size} samples; give a "
                "batch_size of at least the number of ranks: it is that of all together"
            )
        self.close()  # the workers know the other plan
        self._plan = replace(self._plan, rank=rank, ranks=ranks)

    def share(self, batch: int) -> float:
        """Which part of the samples of a batch, by its number in the epoch, is made here."""
        first, last = self._plan.span(batch)
        start, stop = self._plan.part(batch)
        return (stop - start) / (last - first)

    def rank_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """A seed of this rank's own for what is drawn when a batch is trained on."""
        return self._plan.rank_seed(epoch, batch)

    def close(self) -> None:
        """End the worker processes; the next iteration starts new ones."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, as JSON can hold it.

        The batches that were taken so far count, not those made ahead.
        """
        over = self._position >= len(self._plan)
        return {
            "epoch": self._epoch + (over and self._under_way),
            "position": 0 if over else self._position,
            **{key: getattr(self._plan, key) for key in _STATE},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state: the next iteration begins at the batch after it.

        Raises
        ------
        ValueError
            If the state is in the middle of an epoch, and this loader would cut
            the dataset into other batches.
        """
        plan, present = Plan(**{key: state[key] for key in _STATE}), self._present_plan()
        if state["position"]:
            for key in _STATE:
                was, now = getattr(plan, key), getattr(present, key)
                if key != "seed" and now != was:
                    raise ValueError(
                        f"cannot continue in the middle of an epoch: {key} was {was}, now {now}"
                    )
        if plan.seed != self._plan.seed:
            self.close()  # the workers know the other one
        if present.samples != self._plan.samples:
            self.close()
        self._plan = replace(present, seed=plan.seed)
        self._epoch, self._position = int(state["epoch"]), int(state["position"])
        self._under_way = False


def _boolean(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def _at_least(least: int, value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)
