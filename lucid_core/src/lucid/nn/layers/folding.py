"""Convolution for prediction: filters packed once, normalisation folded into them.

Without gradients, a convolution followed by a normalisation with fixed statistics is one
convolution with other weights.  These are computed and packed at the first call
and kept until a tensor they came from changes: by another array taking its place, or
because its memory is written to through Lucid, or may be (:mod:`lucid.autograd.watch`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from lucid import kernels
from lucid.autograd import is_grad_enabled
from lucid.autograd.watch import watch
from lucid.ops.conv import prepared_conv2d
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.layers.conv import Conv2d
    from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d

__all__ = ["fold", "predict"]

Array = np.ndarray[Any, np.dtype[Any]]


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


class _Folded:
    """Filters and bias, with what they were made from."""

    def __init__(
        self, made_from: list[_Source], eps: float, filters: Any, bias: Array | None
    ) -> None:
        self.eps = eps
        self.filters = filters
        self.bias = bias
        self.made_from = made_from

    def is_of(self, sources: tuple[Tensor | None, ...], eps: float) -> bool:
        """Whether nothing has changed since."""
        if self.eps != eps or len(sources) != len(self.made_from):
            return False
        return all(map(_Source.is_still, self.made_from, sources))


_folded: WeakKeyDictionary[Conv2d, _Folded] = WeakKeyDictionary()


def fold(conv: Conv2d, norm: BatchNorm2d | FrozenBatchNorm2d | None, x: Tensor) -> _Folded | None:
    """The filters with which ``norm(conv(x))`` is one convolution; None where it is not.

    It is not while gradients are recorded, while the normalisation goes by the batch,
    where hooks wait for either layer, where the padding is not of zeros, and for
    tensors that are not float32.
    """
    if is_grad_enabled() or conv.padding_mode != "zeros":
        return None
    if x.dtype != np.float32 or conv.weight.dtype != np.float32:
        return None
    eps = 0.0 if norm is None else norm.eps
    if norm is None:
        sources: tuple[Tensor | None, ...] = (conv.weight, conv.bias)
    else:
        fixed = norm.fixed()
        if fixed is None or conv.is_watched or norm.is_watched:
            return None
        sources = (conv.weight, conv.bias, *fixed)
    folded = _folded.get(conv)
    if folded is None or not folded.is_of(sources, eps):
        made_from = [_Source(tensor) for tensor in sources]
        bias, scale = None if conv.bias is None else conv.bias._data, None
        if norm is not None:
            scale, bias = _absorb(bias, sources[2:], eps)
        filters = kernels.prepare_filters(conv.weight._data, conv.groups, scale)
        folded = _Folded(made_from, eps, filters, bias)
        # Two threads may both get here: either result is right.
        _folded[conv] = folded
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


def predict(
    conv: Conv2d, folded: _Folded, x: Tensor, residual: Tensor | None = None, relu: bool = False
) -> Tensor:
    """Run ``conv`` with the filters of :func:`fold`."""
    return prepared_conv2d(
        x,
        folded.filters,
        folded.bias,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
        residual,
        relu,
    )
