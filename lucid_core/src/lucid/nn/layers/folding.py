"""Batch norm folding and weight packing for inference.

Without gradients, a convolution and a normalization with fixed statistics are one convolution
with other weights.  These are computed and packed at the first call and cached until a source
tensor changes: its array is replaced, or its memory is written (:mod:`lucid.autograd.mutation`).
While user code holds a NumPy array of that memory, writes are not tracked, so the values are
compared with a copy before each use.

Python data between two kernels is a cache miss, since kernels evict the caches.  Within one epoch
of the mutation counter, a cache without such references is therefore not checked again.
"""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import is_grad_enabled
from lucid.autograd.mutation import base_array, epoch, has_other_references, track
from lucid.autograd.variable import next_order
from lucid.nn.module import Module
from lucid.ops.conv import PreparedConv2d
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.layers.conv import Conv2d
    from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d

__all__ = ["Foldable", "Folded", "is_unmodified"]

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT32 = np.dtype(np.float32)


class _Source:
    """Snapshot of a tensor that packed weights were computed from."""

    __slots__ = ("_array", "_copy", "_made", "_tensor", "_version")

    def __init__(self, tensor: Tensor | None) -> None:
        self._tensor = tensor
        self._copy: Array | None = None
        if tensor is not None:
            self._version = track(tensor._data)
            self._made = next_order()
            # A strong reference would look like one held by user code.
            self._array = weakref.ref(tensor._data)
            if has_other_references(tensor):
                self._copy = tensor._data.copy(order="K")

    def is_unchanged(self, tensor: Tensor | None) -> bool:
        """Whether ``tensor`` is the source and has the same values."""
        if tensor is not self._tensor:
            return False
        if tensor is None:
            return True
        if self._array() is not tensor._data:
            return False
        if max(self._version.written, self._version.exposed) > self._made:
            return False
        return self._copy is None or _same_bytes(self._copy, tensor._data)

    def has_untracked_writers(self, run: PreparedConv2d) -> bool:
        """Whether user code may write to it untracked; ``run`` has references of its own."""
        if self._copy is not None and self._tensor is not None:
            if has_other_references(self._tensor, _references_of(run, self._tensor._data)):
                return True
            self._copy = None
        return False


def _same_bytes(a: Array, b: Array) -> bool:
    return np.array_equal(a.view(f"u{a.itemsize}"), b.view(f"u{b.itemsize}"))


def _references_of(run: PreparedConv2d, array: Array) -> int:
    """Count the references of a prepared convolution to the memory of ``array``."""
    owner, count = base_array(array), 0
    stack: list[Any] = [run]
    seen = {id(run)}
    while stack:
        for value in gc.get_referents(stack.pop()):
            if isinstance(value, np.ndarray):
                count += value is array or base_array(value) is owner
            elif id(value) not in seen and (
                type(value) in (dict, tuple, list) or type(value).__module__.startswith("lucid.")
            ):
                seen.add(id(value))
                stack.append(value)
    return count


class Folded:
    """Folded convolution and its sources.

    Attributes
    ----------
    run : lucid.ops.conv.PreparedConv2d
        The convolution.
    epoch : object
        Epoch in which it is known to be valid; None while it must be checked at each use.
    """

    __slots__ = ("__weakref__", "_settings", "_sources", "epoch", "run")

    def __init__(
        self, sources: list[_Source], settings: tuple[Any, ...], run: PreparedConv2d
    ) -> None:
        self.run = run
        self.epoch: object = None
        self._sources = sources
        self._settings = settings

    def is_current(self, sources: tuple[Tensor | None, ...], settings: tuple[Any, ...]) -> bool:
        """Whether it was computed from these sources and settings, unchanged since."""
        if self._settings != settings or len(sources) != len(self._sources):
            return False
        return all(map(_Source.is_unchanged, self._sources, sources))

    def validate(self, now: object) -> None:
        """Mark it valid in the epoch ``now``, unless sources may be written untracked."""
        # A list, so that each source drops a copy that is not needed any more.
        untracked = [source.has_untracked_writers(self.run) for source in self._sources]
        self.epoch = None if any(untracked) else now

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as None: the copied layer folds its own weights."""
        return _no_folding, ()


def _no_folding() -> None:
    return None


class Foldable(Module):
    """Base class of layers that run as a single convolution in inference."""

    _folded: Folded | None = None

    def _to_fold(self) -> tuple[Conv2d, BatchNorm2d | FrozenBatchNorm2d | None, str | None]:
        """Return convolution, normalization and activation name."""
        raise NotImplementedError

    def _fold(self, x: Array) -> Folded | None:
        """Return the folded convolution for input ``x``, None where it does not apply.

        It does not apply while gradients are recorded, in training mode, with hooks or an
        overridden ``forward`` of a submodule, with padding other than zeros, and for dtypes other
        than float32.
        """
        if is_grad_enabled() or x.dtype != _FLOAT32:
            return None
        folded = self._folded
        if folded is not None and folded.epoch is epoch():
            return folded
        del folded  # its references would look like user code's
        return self._fold_again()

    def _fold_again(self) -> Folded | None:
        now = epoch()  # before the checks, so that a concurrent write invalidates them
        conv, norm, activation = self._to_fold()
        if conv.padding_mode != "zeros" or conv.weight.dtype != _FLOAT32:
            return None
        if conv is not self and not is_unmodified(conv):
            return None
        sources: tuple[Tensor | None, ...] = (conv.weight, conv.bias)
        if norm is not None:
            stats = norm.frozen_stats()
            if stats is None or not is_unmodified(norm):
                return None
            sources += stats
        options = (conv.stride, conv.padding, conv.dilation, conv.groups, activation)
        settings = (*options, 0.0 if norm is None else norm.eps)
        folded = self._folded
        if folded is None or not folded.is_current(sources, settings):
            # References of the old one would look like user code's, and so would those of a
            # folding of the convolution alone, which it has after training mode.
            folded = self.__dict__["_folded"] = conv.__dict__["_folded"] = None
            made_from = [_Source(tensor) for tensor in sources]
            bias, scale = None if conv.bias is None else conv.bias._data.copy(), None
            if norm is not None:
                scale, bias = _fold_norm(bias, sources[2:], norm.eps)
            filters = kernels.prepare_filters(conv.weight._data, conv.groups, scale)
            folded = Folded(made_from, settings, PreparedConv2d(filters, bias, *options))
            # Two threads may both get here; either result is right.  setattr would begin an epoch.
            self.__dict__["_folded"] = folded
        folded.validate(now)
        return folded


def is_unmodified(layer: Module) -> bool:
    """Whether a layer has no hooks and no overridden ``forward``."""
    defined = type(layer).forward.__module__.startswith("lucid.nn.layers.")
    return defined and "forward" not in layer.__dict__ and not layer.has_hooks


def _fold_norm(
    bias: Array | None, stats: tuple[Tensor | None, ...], eps: float
) -> tuple[Array, Array]:
    """Return scale of the filters and bias that include the normalization."""
    gamma, beta, mean, variance = (0 if t is None else t._data for t in stats)
    scale = 1 / np.sqrt(np.asarray(variance, np.float64) + eps)
    if stats[0] is not None:
        scale = scale * gamma
    shift = ((0 if bias is None else bias) - mean) * scale + beta
    return scale.astype(np.float32), shift.astype(np.float32)
