"""Convolution for prediction: filters packed once, normalisation folded into them.

Without gradients, a convolution followed by a normalisation with fixed statistics is one
convolution with other weights.  These are computed and packed at the first call
and kept until a tensor they came from changes: by its version, which everything in
Lucid that writes into a tensor raises, or by another array taking its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from lucid import kernels
from lucid.autograd import is_grad_enabled
from lucid.ops.conv import prepared_conv2d
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid.nn.layers.conv import Conv2d
    from lucid.nn.layers.norm import BatchNorm2d, FrozenBatchNorm2d

__all__ = ["fold", "predict"]

Array = np.ndarray[Any, np.dtype[Any]]


class _Folded:
    """Filters and bias, with what they were made from."""

    def __init__(
        self,
        sources: tuple[Tensor | None, ...],
        eps: float,
        filters: Any,
        bias: Array | None,
    ) -> None:
        self.eps = eps
        self.filters = filters
        self.bias = bias
        self.made_from = [
            (None, None, 0) if t is None else (t, t._data, t._version) for t in sources
        ]

    def is_of(self, sources: tuple[Tensor | None, ...], eps: float) -> bool:
        """Whether nothing has changed since."""
        if self.eps != eps or len(sources) != len(self.made_from):
            return False
        for t, (kept, data, version) in zip(sources, self.made_from, strict=True):
            if t is not kept:
                return False
            if t is not None and (t._data is not data or t._version != version):
                return False
        return True


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
        bias, scale = None if conv.bias is None else conv.bias.data, None
        if norm is not None:
            scale, bias = _absorb(bias, sources[2:], eps)
        filters = kernels.prepare_filters(conv.weight.data, conv.groups, scale)
        folded = _Folded(sources, eps, filters, bias)
        # Two threads may both get here: either result is right.
        _folded[conv] = folded
    return folded


def _absorb(
    bias: Array | None, fixed: tuple[Tensor | None, ...], eps: float
) -> tuple[Array, Array]:
    """By what the filters are multiplied to normalise as well, and the bias that goes with it."""
    gamma, beta, mean, variance = (0 if t is None else t.data for t in fixed)
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
