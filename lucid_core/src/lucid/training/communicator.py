"""Collective operations between the ranks of a distributed run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np

__all__ = ["Communicator", "Request"]

Array = np.ndarray[Any, np.dtype[Any]]
Value = TypeVar("Value")


class Request(Protocol):
    """Handle of an asynchronous all-reduce."""

    def test(self) -> bool:
        """Make progress without blocking; return whether the operation is complete."""

    def wait(self) -> None:
        """Block until the operation is complete."""


class _CompletedRequest:
    """Request of a single rank."""

    def test(self) -> bool:
        return True

    def wait(self) -> None:
        return None


def _no_op(*args: object, **kwargs: object) -> None:
    """Ignore a call on other ranks than the main one."""


class Communicator:
    """Ranks of a run: processes that share each batch and keep identical weights.

    This base class is a single rank, even under ``mpiexec``.  :func:`mpi_communicator` returns
    ranks of MPI; subclass it for other transports.  All ranks must call the same methods in the
    same order.

    Attributes
    ----------
    rank : int
        Index of this rank, from 0.
    size : int
        Number of ranks.
    seconds : float
        Time spent in communication, including waiting for slower ranks.
    """

    rank: int = 0
    size: int = 1
    seconds: float = 0.0

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the only rank that writes files and logs."""
        return self.rank == 0

    def on_main(self, call: Callable[..., object]) -> Callable[..., object]:
        """Return ``call`` on rank 0 and a no-op on the other ranks."""
        return call if self.is_main else _no_op

    def shard(self, count: int) -> range:
        """Return this rank's contiguous slice of ``range(count)``."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum_values(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum values by name over all ranks; ranks may have different names."""
        sums: dict[str, float] = {}
        for given in self.all_gather(dict(values)):
            for name, value in given.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def broadcast(self, value: Any) -> Any:
        """Return rank 0's value, any object that can be pickled, on all ranks."""
        return value

    def all_gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in rank order, on all ranks."""
        return [value]

    def all_reduce(self, array: Array) -> Array:
        """Return the sum of the ranks' arrays, of equal shape and dtype, as a new array."""
        return array.copy()

    def all_reduce_async(self, array: Array) -> Request:
        """Start to replace a contiguous array in place by its sum over the ranks.

        Do not use the array before the request is complete.  Ranks must start these operations in
        the same order; other methods may be called meanwhile.
        """
        return _CompletedRequest()

    def call_on_main(self, function: Callable[[], Value]) -> Value:
        """Call a function on rank 0 and return its result, or raise its exception, on all."""
        if self.size == 1:
            return function()
        result, error = None, None
        if self.is_main:
            try:
                result = function()
            except Exception as raised:
                error = raised
        result, error = self.broadcast((result, error))
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]
