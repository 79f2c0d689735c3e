"""Batch sampler: sample indices and random seeds of each batch.

Both follow from the seed, the epoch and the batch index alone, so every process computes them
independently and a run can resume at any batch.
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

# Keeps the random streams apart.
_SHUFFLE, _SAMPLE, _BATCH, _RANK = 0, 1, 2, 3


@dataclass(frozen=True)
class BatchSampler:
    """Indices of every batch, or of the shard of each batch that one rank loads.

    Batches are global: they do not depend on ``world_size``.
    """

    samples: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    seed: int
    rank: int = 0
    world_size: int = 1

    def __len__(self) -> int:
        """Return the number of batches per epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def span(self, batch: int) -> tuple[int, int]:
        """Return start and stop of a batch in the order of the epoch."""
        first = batch * self.batch_size
        return first, min(first + self.batch_size, self.samples)

    def shard_span(self, batch: int) -> tuple[int, int]:
        """Return start and stop of this rank's shard; empty with more ranks than samples."""
        first, last = self.span(batch)
        each, rest = divmod(last - first, self.world_size)
        start = first + self.rank * each + min(self.rank, rest)
        return start, start + each + (self.rank < rest)

    def indices(self, epoch: int, batch: int) -> list[int]:
        """Return the sample indices of this rank's shard of a batch.

        An empty shard is replaced by the first sample, with weight 0, so that every rank takes
        every step.
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
        """Return the seed of a sample in an epoch."""
        return (self.seed, epoch, _SAMPLE, index)

    def batch_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """Return the seed of a batch."""
        return (self.seed, epoch, _BATCH, batch)

    def rank_seed(self, epoch: int, batch: int) -> tuple[int, ...]:
        """Return the seed for this rank's forward pass of a batch."""
        return (self.seed, epoch, _RANK, batch, self.rank)


@lru_cache(maxsize=4)
def _permutation(samples: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng((seed, epoch, _SHUFFLE)).permutation(samples)


def fetch_batch(
    dataset: Any, collate: Collate, sampler: BatchSampler, epoch: int, batch: int
) -> Any:
    """Load and collate one batch.

    ``lucid.random`` is seeded before every sample and restored at the end.  An exception gets a
    note with the sample indices.
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
