"""Which samples stand in which batch, and which random numbers go with them.

Everything follows from the seed, the epoch and a number, never from what ran
before: every process can work it out by itself, and an epoch can be entered at
any batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from lucid.random import default_generator

__all__ = ["BatchSampler", "Collate", "fetch_batch"]

Collate = Callable[[Sequence[Any]], Any]

# Keeps the streams of different purposes apart.
_SHUFFLE, _SAMPLE, _BATCH, _RANK = 0, 1, 2, 3


@dataclass(frozen=True)
class BatchSampler:
    """The batches of every epoch, and which part of each is made here.

    Of ``ranks`` processes each makes a part of its own of every batch, so the batches
    are the same however many share them.
    """

    samples: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def span(self, batch: int) -> tuple[int, int]:
        """Where a batch begins and ends in the order of the epoch."""
        first = batch * self.batch_size
        return first, min(first + self.batch_size, self.samples)

    def shard_span(self, batch: int) -> tuple[int, int]:
        """Where this rank's part of it begins and ends; empty where ranks outnumber samples."""
        first, last = self.span(batch)
        each, rest = divmod(last - first, self.world_size)
        start = first + self.rank * each + min(self.rank, rest)
        return start, start + each + (self.rank < rest)

    def indices(self, epoch: int, batch: int) -> list[int]:
        """Numbers of this rank's samples in a batch.

        Instead of no sample it is the first one of the batch, as a stand-in that counts
        nothing: every rank can then take every step.
        """
        start, stop = self.shard_span(batch)
        if start == stop:
            start, _ = self.span(batch)
            stop = start + 1
        if not self.shuffle:
            return list(range(start, stop))
        order = _permutation(self.samples, self.seed, epoch)
        return [int(index) for index in order[start:stop]]

    def sample_seed(self, epoch: int, index: int) -> tuple[int, ...]:
        """Where the random numbers of a sample begin, its own in every epoch."""
        return (self.seed, epoch, _SAMPLE, index)

    def batch_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """The same for what is seeded once a batch."""
        return (self.seed, epoch, _BATCH, batch)

    def rank_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """Where the random numbers that a rank's model draws for a batch begin."""
        return (self.seed, epoch, _RANK, batch, self.rank)


@lru_cache(maxsize=4)
def _permutation(samples: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch, _SHUFFLE)).permutation(samples)


def fetch_batch(
    dataset: Any, collate: Collate, sampler: BatchSampler, epoch: int, batch: int
) -> Any:
    """Make one batch; ``lucid.random`` is seeded before every sample and restored at the end.

    An exception gets a note that names the sample, or the samples, by their index.
    """
    before = default_generator.get_state()
    indices = sampler.indices(epoch, batch)
    where = ""
    try:
        samples = []
        for index in indices:
            where = f"while reading sample {index} of {type(dataset).__name__}"
            default_generator.seed(sampler.sample_seed(epoch, index))
            samples.append(dataset[index])
        where = f"while collating samples {indices} of {type(dataset).__name__}"
        return collate(samples)
    except Exception as error:
        error.add_note(where)
        raise
    finally:
        default_generator.set_state(before)
