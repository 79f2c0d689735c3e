"""Convolution for prediction: filters packed once, normalisation folded into them.

Without gradients, a convolution followed by a normalisation with fixed statistics is one
convolution with other weights.  These are computed and packed at the first call
and kept until a tensor they came from changes: by another array taking its place, or
because its memory is written to through Lucid, or may be (:mod:`lucid.autograd.watch`).

A prediction runs from layer to layer, and whatever Python touches between two kernels must
come from far away, since the kernels have emptied the caches.  So as long as nothing has
changed anywhere, nothing of this is asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lucid import kernels
from lucid.autograd import is_grad_enabled
from lucid.autograd.watch import moment, watch
from lucid.nn.module import Module
from lucid.ops.conv import PreparedConv2d
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.layers.conv import Conv2d
    from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d

__all__ = ["Foldable", "Folded"]

Array = np.ndarray[Any, np.dtype[Any]]

_FLOAT32 = np.dtype(np.float32)


class _Source:
    """A tensor that something is made from, as it is before that."""

    __slots__ = ("_count", "_data", "_tensor", "_watch")

    def __init__(self, tensor: Tensor | None) -> None:
        self._tensor = tensor
        if tensor is not None:
            self._data = tensor._data
            self._watch = watch(self._data)
            self._count = self._watch.count

    def is_still(self, tensor: Tensor | None) -> bool:
        """Whether it is this tensor, and nothing has changed since."""
        if tensor is not self._tensor:
            return False
        return tensor is None or (tensor._data is self._data and self._watch.count == self._count)


class Folded:
    """One convolution in place of several layers, with what it was made from.

    Attributes
    ----------
    run : lucid.ops.conv.PreparedConv2d
        The convolution.
    moment : object
        When it was last certain that nothing had changed since.
    """

    __slots__ = ("__weakref__", "_made_from", "_settings", "moment", "run")

    def __init__(
        self, made_from: list[_Source], settings: tuple[Any, ...], run: PreparedConv2d
    ) -> None:
        self.run = run
        self.moment: object = None
        self._made_from = made_from
        self._settings = settings

    def is_of(self, sources: tuple[Tensor | None, ...], settings: tuple[Any, ...]) -> bool:
        """Whether nothing has changed since."""
        if self._settings != settings or len(sources) != len(self._made_from):
            return False
        return all(map(_Source.is_still, self._made_from, sources))

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy of a layer makes its own: in place of this it gets None."""
        return _nothing, ()


def _nothing() -> None:
    return None


class Foldable(Module):
    """A layer that is a single convolution where nothing is recorded."""

    _folded: Folded | None = None

    def _to_fold(self) -> tuple[Conv2d, BatchNorm2d | FrozenBatchNorm2d | None, bool]:
        """The convolution, the normalisation, and whether a ReLU follows."""
        raise NotImplementedError

    def _fold(self, x: Array) -> Folded | None:
        """What gives the layer's output for ``x`` by a single convolution; None where nothing does.

        Nothing does while gradients are recorded, while the normalisation goes by the batch,
        where hooks wait for a layer inside, where the padding is not of zeros, and for
        tensors that are not float32.
        """
        if is_grad_enabled() or x.dtype != _FLOAT32:
            return None
        folded = self._folded
        if folded is not None and folded.moment is moment():
            return folded
        return self._fold_again()

    def _fold_again(self) -> Folded | None:
        now = moment()  # before anything is looked at
        conv, norm, relu = self._to_fold()
        if conv.padding_mode != "zeros" or conv.weight.dtype != _FLOAT32:
            return None
        if conv is not self and conv.is_watched:
            return None
        sources: tuple[Tensor | None, ...] = (conv.weight, conv.bias)
        if norm is not None:
            fixed = norm.fixed()
            if fixed is None or norm.is_watched:
                return None
            sources += fixed
        options = (conv.stride, conv.padding, conv.dilation, conv.groups, relu)
        settings = (*options, 0.0 if norm is None else norm.eps)
        folded = self._folded
        if folded is None or not folded.is_of(sources, settings):
            made_from = [_Source(tensor) for tensor in sources]
            bias, scale = None if conv.bias is None else conv.bias._data, None
            if norm is not None:
                scale, bias = _absorb(bias, sources[2:], norm.eps)
            filters = kernels.prepare_filters(conv.weight._data, conv.groups, scale)
            folded = Folded(made_from, settings, PreparedConv2d(filters, bias, *options))
            # Two threads may both get here: either result is right.  Nothing that counts
            # as a change of the layer.
            self.__dict__["_folded"] = folded
        folded.moment = now
        return folded


def _absorb(
    bias: Array | None, fixed: tuple[Tensor | None, ...], eps: float
) -> tuple[Array, Array]:
    """By what the filters are multiplied to normalise as well, and the bias that goes with it."""
    gamma, beta, mean, variance = (0 if t is None else t._data for t in fixed)
    scale = 1 / np.sqrt(np.asarray(variance, np.float64) + eps)
    if fixed[0] is not None:
        scale = scale * gamma
    shift = ((0 if bias is None else bias) - mean) * scale + beta
    return scale.astype(np.float32), shift.astype(np.float32)
