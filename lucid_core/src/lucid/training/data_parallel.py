"""Data-parallel training: each rank processes its part of every batch.

Losses are averaged over all ranks, gradients are summed during backward, and every decision that
affects the run is the same on all ranks.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import random
from lucid.autograd import no_grad
from lucid.nn import BatchNorm2d
from lucid.tensor import Tensor
from lucid.training.communicator import Array, Communicator
from lucid.training.gradient_reducer import GradientReducer
from lucid.training.losses import TOTAL_LOSS, WeightedLoss, sum_losses

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = ["DataParallel"]


class DataParallel:
    """Distributed operations of one rank; no-ops for a single rank.

    Entering it broadcasts rank 0's parameters and buffers and, if requested, synchronizes batch
    norms until it is left.

    Parameters
    ----------
    communicator : Communicator
        Ranks of the run.
    model : Module
        Model to train.
    loader : DataLoader or sequence
        Batches; several ranks need a loader with ``shard``.
    synchronize_norms : bool
        Whether batch norms use the statistics of the global batch.
    """

    def __init__(
        self, communicator: Communicator, model: Module, loader: Any, synchronize_norms: bool
    ) -> None:
        self.communicator = communicator
        self.is_distributed = communicator.size > 1
        self._model = model
        self._loader = loader
        self._sync_norms = synchronize_norms
        self._batch_fraction = 1.0
        self._saved_buffers: list[tuple[Tensor, Array]] = []
        if self.is_distributed:
            if not hasattr(loader, "shard"):
                raise TypeError(
                    f"loader: expected a lucid.data.DataLoader for {communicator.size} ranks, got "
                    f"{type(loader).__name__}"
                )
            loader.shard(communicator.rank, communicator.size)

    def __enter__(self) -> DataParallel:
        if self.is_distributed:
            self._broadcast_state()
            self._gradients = GradientReducer(self._model.parameters(), self.communicator)
            for norm in self._norms() if self._sync_norms else ():
                norm.process_group = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        for norm in self._norms():
            norm.process_group = None

    def _norms(self) -> list[BatchNorm2d]:
        return [module for module in self._model.modules() if isinstance(module, BatchNorm2d)]

    def _broadcast_state(self) -> None:
        tensors = [*self._model.parameters(), *self._model.buffers()]
        state = self.communicator.broadcast([tensor.data for tensor in tensors])
        with no_grad():
            for tensor, values in zip(tensors, state, strict=True):
                tensor.copy_(values)

    # --- process group of the batch norms ---------------------------------------------------------

    @property
    def has_samples(self) -> bool:
        """Whether this rank has samples of the current batch, not a placeholder sample."""
        return self._batch_fraction > 0

    def all_reduce(self, array: Array) -> Array:
        """Return the sum of the ranks' arrays."""
        return self.communicator.all_reduce(array)

    # --- a batch ----------------------------------------------------------------------------------

    def begin_batch(self, epoch: int, batch: int) -> None:
        """Seed this rank's random numbers of a batch; call it before the forward pass."""
        if not self.is_distributed:
            return
        random.seed(self._loader.rank_seed(epoch, batch))
        self._batch_fraction = self._loader.shard_fraction(batch)
        if not self.has_samples and not self._sync_norms:  # restored after the forward pass
            buffers = [buffer for norm in self._norms() for buffer in norm.buffers()]
            self._saved_buffers = [(buffer, buffer.numpy().copy()) for buffer in buffers]

    def average_losses(self, losses: Mapping[str, WeightedLoss]) -> tuple[Tensor, dict[str, float]]:
        """Return this rank's part of the total loss, and all losses averaged over the ranks.

        The average is weighted by the weights of the losses, by default the number of samples.
        """
        for buffer, before in self._saved_buffers:
            buffer.copy_(before)
        self._saved_buffers = []
        if not self.is_distributed:
            return sum_losses(losses)
        # Weight 0 for a placeholder sample, and for a mean over nothing, which is often NaN.
        weights = np.array(
            [
                self._batch_fraction if w is None else w * self.has_samples
                for _, w in losses.values()
            ]
        )
        values = np.array([float(value.item()) for value, _ in losses.values()])
        weighted = weights * np.where(weights == 0, 0, values)
        totals, sums = self.communicator.all_reduce(np.stack([weights, weighted]))
        totals[totals == 0] = 1
        means = dict(zip(losses, (sums / totals).tolist(), strict=True))
        parts = (weights / totals).tolist()
        terms = [
            value * part for (value, _), part in zip(losses.values(), parts, strict=True) if part
        ]
        # Without weight, backward still runs, since the other ranks wait for this one.
        total = reduce(operator.add, terms or [value * 0.0 for value, _ in losses.values()])
        return total, {**means, TOTAL_LOSS: sum(means.values())}

    def backward(self, loss: Tensor, last: bool) -> None:
        """Accumulate gradients; with the last batch of a step, sum them over the ranks."""
        if self.is_distributed and last:
            self._gradients.backward(loss)
        else:
            loss.backward()

    # --- run --------------------------------------------------------------------------------------

    def any_rank(self, flags: list[bool]) -> list[bool]:
        """Return for each flag whether any rank has set it."""
        if not self.is_distributed:
            return flags
        return [bool(n) for n in self.communicator.all_reduce(np.array(flags, np.int64))]

    def average_buffers(self) -> None:
        """Average running statistics over the ranks; broadcast rank 0's integer buffers."""
        if not self.is_distributed:
            return
        buffers = list(self._model.buffers())
        floating = [buffer for buffer in buffers if buffer.dtype.kind == "f"]
        others = [buffer for buffer in buffers if buffer.dtype.kind != "f"]
        if floating:
            flat = np.concatenate([b.numpy().ravel().astype(np.float64) for b in floating])
            ends = np.cumsum([buffer.size for buffer in floating])
            means = np.split(self.communicator.all_reduce(flat) / self.communicator.size, ends[:-1])
            for buffer, mean in zip(floating, means, strict=True):
                buffer.copy_(mean.reshape(buffer.shape))
        for buffer, values in zip(
            others, self.communicator.broadcast([b.numpy() for b in others]), strict=True
        ):
            buffer.copy_(values)
