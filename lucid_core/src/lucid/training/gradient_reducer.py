"""Gradients of all ranks added up while backward is still under way.

Parameters stand in flat buckets in the order in which backward reaches them, which is
about the reverse of that of their layers.  As soon as every gradient of a bucket is
final, its sum over the ranks begins, and goes on while those of earlier layers are being
computed.

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

#: Large enough that latency hardly counts, small enough that the last one, which nothing
#: hides, is short: 4 MiB take 3 ms at 10 Gbit/s.
BUCKET_BYTES = 4 * 2**20


class GradientReducer:
    """Gives every parameter the sum of its gradients on all ranks.

    Parameters
    ----------
    parameters : iterable of Parameter
        Of the model, in the order of its layers; those without ``requires_grad`` are
        left out.
    communicator : Communicator
        The ranks.
    bucket_bytes : int, optional
        About how much is sent at once.
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
        """Run backward from this rank's part of a loss; each ``.grad`` is the sum of all parts.

        A parameter that no rank's loss depends on keeps its ``.grad``.
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
        for request in self._requests:  # MPI moves on only when it is called
            request.test()

    def _start_full_buckets(self) -> None:
        """Begin sums in the order of the buckets, which is the same on every rank."""
        while len(self._requests) < len(self.buckets):
            bucket = self.buckets[len(self._requests)]
            if not bucket.is_full:
                return
            self._requests.append(self.communicator.all_reduce_async(bucket.flat))


class _Bucket:
    """Gradients of a few parameters one after another, then how many ranks have each."""

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
        """Those that backward did not reach: what batches before gave them, or nothing."""
        for key in self._missing:
            self._views[key].copy_in()
        self._missing.clear()

    def copy_out(self) -> None:
        for view in self._views.values():
            view.copy_out()


class _GradientView(NamedTuple):
    """Where a parameter's gradient stands in a bucket, and on how many ranks it has one."""

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
    """The array seen in a shape, with channels last in memory, as weights of images are kept."""
    if len(shape) != 4:
        return flat.reshape(shape)
    n, c, h, w = shape
    return flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _bucket_groups(parameters: Iterable[Parameter], bucket_bytes: int) -> Iterator[list[Parameter]]:
    """Neighbours of one dtype, about as many bytes as wanted."""
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
