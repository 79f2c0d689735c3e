"""Gradient all-reduce in buckets, overlapped with the backward pass.

Buckets are flat arrays of gradients in reverse order of the parameters, about the order in which
backward computes them.  The all-reduce of a bucket starts when all of its gradients are computed
and runs while backward continues with earlier layers.

Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*,
2020, section 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lucid.autograd import Variable, backward
from lucid.nn import Parameter
from lucid.tensor import Tensor
from lucid.training.communicator import Communicator, Request

__all__ = ["GradientReducer"]

Array = np.ndarray[Any, np.dtype[Any]]

#: Large enough to make latency negligible, small enough that the last all-reduce, which is not
#: overlapped, is short: 4 MiB take 3 ms at 10 Gbit/s.
BUCKET_BYTES = 4 * 2**20


class GradientReducer:
    """Sum the gradients of each parameter over all ranks.

    Parameters
    ----------
    parameters : iterable of Parameter
        Parameters of the model in order; those without ``requires_grad`` are ignored.
    communicator : Communicator
        Ranks of the run.
    bucket_bytes : int, optional
        Approximate bucket size.
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        communicator: Communicator,
        bucket_bytes: int = BUCKET_BYTES,
    ) -> None:
        self.communicator = communicator
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self.buckets = [_Bucket(group) for group in _bucket_groups(reversed(trained), bucket_bytes)]
        self._bucket_of = {id(p): bucket for bucket in self.buckets for p in bucket.parameters}
        self._requests: list[Request] = []

    def backward(self, loss: Tensor) -> None:
        """Run backward on this rank's part of the loss; ``.grad`` is the sum over all ranks.

        A parameter without gradient on all ranks keeps its ``.grad``.
        """
        for bucket in self.buckets:
            bucket.clear()
        self._requests = []
        backward(loss, leaf_hook=self._on_gradient)
        for bucket in self.buckets:
            bucket.copy_missing()
        self._start_full_buckets()
        for bucket, request in zip(self.buckets, self._requests, strict=True):
            request.wait()
            bucket.copy_out()

    def _on_gradient(self, leaf: Variable) -> None:
        bucket = self._bucket_of.get(id(leaf))
        if bucket is not None:
            bucket.copy_in(leaf)
            self._start_full_buckets()
        for request in self._requests:  # MPI makes progress only inside its calls
            request.test()

    def _start_full_buckets(self) -> None:
        """Start all-reduces in bucket order, which is the same on every rank."""
        while len(self._requests) < len(self.buckets):
            bucket = self.buckets[len(self._requests)]
            if not bucket.is_full:
                return
            self._requests.append(self.communicator.all_reduce_async(bucket.flat))


class _Bucket:
    """Flat array of the gradients of some parameters, then the number of ranks that have each."""

    def __init__(self, parameters: list[Parameter]) -> None:
        self.parameters = parameters
        ends = np.cumsum([parameter.size for parameter in parameters]).tolist()
        self.flat = np.empty(ends[-1] + len(parameters), parameters[0].dtype)
        present = self.flat[ends[-1] :]
        self._views = {
            id(p): _GradientView(
                p, _channels_last_view(self.flat[end - p.size : end], p.shape), present[i : i + 1]
            )
            for i, (p, end) in enumerate(zip(parameters, ends, strict=True))
        }
        self._missing: set[int] = set()

    def clear(self) -> None:
        self._missing = set(self._views)

    @property
    def is_full(self) -> bool:
        return not self._missing

    def copy_in(self, leaf: Variable) -> None:
        if id(leaf) in self._missing:
            self._missing.remove(id(leaf))
            self._views[id(leaf)].copy_in()

    def copy_missing(self) -> None:
        """Copy gradients that backward did not reach, accumulated from earlier batches or none."""
        for key in self._missing:
            self._views[key].copy_in()
        self._missing.clear()

    def copy_out(self) -> None:
        for view in self._views.values():
            view.copy_out()


class _GradientView(NamedTuple):
    """View of a parameter's gradient in a bucket, and of the number of ranks that have one."""

    parameter: Parameter
    total: Array
    ranks: Array  # (1,)

    def copy_in(self) -> None:
        gradient = self.parameter.grad
        self.ranks[0] = gradient is not None
        self.total[...] = 0 if gradient is None else gradient.data

    def copy_out(self) -> None:
        if not self.ranks[0]:
            return
        if self.parameter.grad is None:
            self.parameter.grad = Tensor(self.total.copy(order="K"))
        else:
            self.parameter.grad.copy_(self.total)


def _channels_last_view(flat: Array, shape: tuple[int, ...]) -> Array:
    """View a flat array in a shape with channels last in memory, the layout of conv weights."""
    if len(shape) != 4:
        return flat.reshape(shape)
    n, c, h, w = shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _bucket_groups(parameters: Iterable[Parameter], bucket_bytes: int) -> Iterator[list[Parameter]]:
    """Yield consecutive parameters of one dtype with about ``bucket_bytes`` in total."""
    group: list[Parameter] = []
    size = 0
    for parameter in parameters:
        nbytes = math.prod(parameter.shape) * parameter.dtype.itemsize
        if group and (size + nbytes > bucket_bytes or parameter.dtype != group[0].dtype):
            yield group
            group, size = [], 0
        group.append(parameter)
        size += nbytes
    if group:
        yield group
