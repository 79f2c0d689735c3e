"""What a training on several ranks does beside a training on one.

Each rank makes its part of every batch.  A loss is averaged over what all of them have,
gradients are added up while backward runs, and whatever decides how the training goes on
is the same on all.
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
    """The part of one rank in a training; alone it is the whole of it.

    Inside ``with`` the model is this training's: its norms are synchronised if that is
    wanted, and its parameters and buffers begin as those of rank 0.

    Parameters
    ----------
    communicator : Communicator
        The ranks.
    model : Module
        What is trained.
    loader : DataLoader or sequence
        What shares its batches out; on a single rank it may be any sequence of them.
    synchronize_norms : bool
        Whether batch norms normalise by the batch of all ranks or by this rank's part.
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
                    f"{communicator.size} ranks need a loader that shares its batches out, a "
                    f"lucid.data.DataLoader; got {type(loader).__name__}"
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
        held = [*self._model.parameters(), *self._model.buffers()]
        given = self.communicator.broadcast([tensor.data for tensor in held])
        with no_grad():
            for tensor, values in zip(held, given, strict=True):
                tensor.copy_(values)

    # --- for the norms ----------------------------------------------------------------------------

    @property
    def has_samples(self) -> bool:
        """Whether this rank has samples of the present batch, and not a stand-in for one."""
        return self._batch_fraction > 0

    def sum(self, array: Array) -> Array:
        """The sum of the ranks' arrays."""
        return self.communicator.all_reduce(array)

    # --- a batch ----------------------------------------------------------------------------------

    def begin_batch(self, epoch: int, batch: int) -> None:
        """Before the forward pass: random numbers of this rank's own."""
        if not self.is_distributed:
            return
        random.seed(self._loader.rank_seed(epoch, batch))
        self._batch_fraction = self._loader.shard_fraction(batch)
        if not self.has_samples and not self._sync_norms:  # the norms must not learn of a stand-in
            buffers = [buffer for norm in self._norms() for buffer in norm.buffers()]
            self._saved_buffers = [(buffer, buffer.numpy().copy()) for buffer in buffers]

    def average_losses(self, losses: Mapping[str, WeightedLoss]) -> tuple[Tensor, dict[str, float]]:
        """This rank's part of the sum of the losses, and each by name averaged over all ranks.

        Parts are in proportion to the weights of the losses, else to the numbers of samples.
        """
        for buffer, before in self._saved_buffers:
            buffer.copy_(before)
        self._saved_buffers = []
        if not self.is_distributed:
            return sum_losses(losses)
        # A stand-in counts nothing, and neither does what a loss over nothing gives, often NaN.
        own = np.array(
            [
                self._batch_fraction if w is None else w * self.has_samples
                for _, w in losses.values()
            ]
        )
        values = np.array([float(value.item()) for value, _ in losses.values()])
        weighted = own * np.where(own == 0, 0, values)
        whole, sums = self.communicator.all_reduce(np.stack([own, weighted]))
        whole[whole == 0] = 1
        means = dict(zip(losses, (sums / whole).tolist(), strict=True))
        parts = (own / whole).tolist()
        counted = [
            value * part for (value, _), part in zip(losses.values(), parts, strict=True) if part
        ]
        # Where nothing counts, backward still runs, for the sake of the other ranks.
        total = reduce(operator.add, counted or [value * 0.0 for value, _ in losses.values()])
        return total, {**means, TOTAL_LOSS: sum(means.values())}

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add to the gradients; after the last batch of a step they are those of all ranks."""
        if self.is_distributed and last:
            self._gradients.backward(loss)
        else:
            loss.backward()

    # --- the training -----------------------------------------------------------------------------

    def any_rank(self, flags: list[bool]) -> list[bool]:
        """Which of some flags any rank has raised."""
        if not self.is_distributed:
            return flags
        return [bool(n) for n in self.communicator.all_reduce(np.array(flags, np.int64))]

    def average_buffers(self) -> None:
        """Give all ranks the mean of their running statistics, and rank 0's counts."""
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
