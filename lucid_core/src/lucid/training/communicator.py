"""How the ranks of one training talk to each other; alone, a training talks to itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["Communicator", "Request"]

Array = np.ndarray[Any, np.dtype[Any]]
Value = TypeVar("Value")


class Request(Protocol):
    """A sum over all ranks that is under way."""

    def test(self) -> bool:
        """Do what can be done now, without waiting; whether the sum is there."""

    def wait(self) -> None:
        """Wait until the array holds the sum."""


class _CompletedRequest:
    """A sum over one rank."""

    def test(self) -> bool:
        return True

    def wait(self) -> None:
        return None


def _no_op(*args: object, **kwargs: object) -> None:
    """What the other ranks do where only rank 0 has something to do."""


class Communicator:
    """The ranks of a training: processes that share its batches and keep the same weights.

    This one is a training in a single process, also where ``mpiexec`` has started several.
    Ranks on MPI come from :func:`mpi_communicator`; anything else can take part by a
    subclass.  Every rank calls the same methods in the same order.

    Attributes
    ----------
    rank : int
        Number of this rank, from 0.
    size : int
        How many there are.
    seconds : float
        Time spent in communication so far, waiting for slower ranks included.
    """

    rank: int = 0
    size: int = 1
    seconds: float = 0.0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which alone writes files and tells what happens."""
        return self.rank == 0

    def on_main(self, call: Callable[..., object]) -> Callable[..., object]:
        """The function on rank 0, and one that does nothing on the others."""
        return call if self.is_main else _no_op

    def shard(self, count: int) -> range:
        """This rank's numbers of 0 to ``count - 1``; those of all ranks follow each other."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_values(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """The sums over all ranks of numbers by name; a rank may lack some."""
        sums: dict[str, float] = {}
        for given in self.all_gather(dict(numbers)):
            for name, number in given.items():
                sums[name] = sums.get(name, 0.0) + number
        return sums

    def broadcast(self, value: Any) -> Any:
        """What rank 0 gives: any object that can be pickled."""
        return value

    def all_gather(self, value: Any) -> list[Any]:
        """What every rank gives, in the order of the ranks, on all of them."""
        return [value]

    def all_reduce(self, array: Array) -> Array:
        """The sum of the ranks' arrays, of one shape and dtype, as a new array."""
        return array.copy()

    def all_reduce_async(self, array: Array) -> Request:
        """Begin to replace a contiguous array by the sum over the ranks.

        The array must be left alone until the sum has been waited for.  Sums that were
        begun by this method come in the order of their beginning on every rank, and may be
        under way while other methods are called.
        """
        return _CompletedRequest()

    def call_on_main(self, make: Callable[[], Value]) -> Value:
        """What a function gives on rank 0, on all ranks; what it raises is raised on all."""
        if self.size == 1:
            return make()
        made, error = None, None
        if self.is_main:
            try:
                made = make()
            except Exception as raised:
                error = raised
        made, error = self.broadcast((made, error))
        if error is not None:
            raise error
        return made  # type: ignore[no-any-return]
