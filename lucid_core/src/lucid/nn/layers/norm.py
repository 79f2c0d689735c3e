"""Normalization layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.layers.argument_checks import check_channels, check_eps, check_positive
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.ops.sync_batch_norm import ProcessGroup
from lucid.tensor import Tensor

__all__ = ["BatchNorm2d", "FrozenBatchNorm2d", "GroupNorm", "LayerNorm"]


class BatchNorm2d(Module):
    """Batch normalization, ``(x - mean) / sqrt(var + eps) * weight + bias``, per channel.

    Training mode uses mean and biased variance over (N, H, W) of the batch and updates the running
    statistics, ``running = (1 - momentum) * running + momentum * batch``.  Evaluation mode uses
    the running statistics.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance for numerical stability.
    momentum : float or None, default 0.1
        Weight of a batch in the running statistics; None for the cumulative average of all
        batches.
    affine : bool, default True
        Whether ``weight`` and ``bias`` are learned.
    track_running_stats : bool, default True
        Whether running statistics are kept; without them, evaluation mode uses the batch too.

    Attributes
    ----------
    weight, bias : Parameter or None
        Shape (C,), initialized to ones and zeros.
    running_mean, running_var : Tensor or None
        Buffers of shape (C,); the variance is unbiased.
    num_batches_tracked : Tensor or None
        Buffer of shape (), int64.
    process_group : ProcessGroup or None
        Processes over which batch statistics are synchronized; set by
        :class:`~lucid.training.Trainer` with ``synchronize_norms=True``.

    References
    ----------
    Ioffe and Szegedy, *Batch Normalization*, 2015, section 3.

    Examples
    --------
    >>> import lucid
    >>> norm = lucid.nn.BatchNorm2d(64)
    >>> norm(lucid.random.randn(8, 64, 7, 7)).shape
    (8, 64, 7, 7)
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        check_positive("BatchNorm2d", num_features=num_features)
        self.num_features = num_features
        check_eps("BatchNorm2d", eps)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.process_group: ProcessGroup | None = None
        self.weight = Parameter(np.empty(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.empty(num_features, np.float32)) if affine else None
        mean = var = tracked = None
        if track_running_stats:
            mean = Tensor(np.empty(num_features, np.float32))
            var = Tensor(np.empty(num_features, np.float32))
            tracked = Tensor(np.empty((), np.int64))
        self.register_buffer("running_mean", mean)
        self.register_buffer("running_var", var)
        self.register_buffer("num_batches_tracked", tracked)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Reset weight and running variance to ones, everything else to zeros."""
        for tensor, value in (
            (self.weight, 1),
            (self.bias, 0),
            (self.running_mean, 0),
            (self.running_var, 1),
            (self.num_batches_tracked, 0),
        ):
            if tensor is not None:
                init.constant_(tensor, value)

    def forward(
        self, x: Tensor, residual: Tensor | None = None, activation: str | None = None
    ) -> Tensor:
        """Normalize (N, C, H, W), add ``residual`` and apply ``activation``, in one pass."""
        check_channels(self, x, self.num_features)
        tracked = self.num_batches_tracked
        updates_stats = self.training and tracked is not None
        momentum = self.momentum
        if momentum is None:
            momentum = 1 / (tracked.item() + 1) if updates_stats else 0.0
        y = F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or tracked is None,
            momentum,
            self.eps,
            residual=residual,
            activation=activation,
            process_group=self.process_group,
        )
        if updates_stats:
            tracked.data[...] += 1
            tracked.mark_changed()
        return y

    def frozen_stats(self) -> tuple[Tensor | None, ...] | None:
        """Return weight, bias, mean and variance in evaluation mode; None if the batch is used."""
        if self.training or self.running_mean is None:
            return None
        return self.weight, self.bias, self.running_mean, self.running_var

    def extra_repr(self) -> str:
        settings = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        if not self.affine:
            settings += ", affine=False"
        return settings if self.track_running_stats else f"{settings}, track_running_stats=False"


class FrozenBatchNorm2d(Module):
    """Batch normalization with fixed statistics, weight and bias.

    It has no parameters: all four tensors are buffers, loaded from a state dict.

    Parameters
    ----------
    num_features : int
        Number of channels C.
    eps : float, default 1e-5
        Added to the variance for numerical stability.

    Attributes
    ----------
    weight, bias, running_mean, running_var : Tensor
        Buffers of shape (C,).
    """

    # State dicts of BatchNorm2d have it.
    _ignored_keys: ClassVar[tuple[str, ...]] = ("num_batches_tracked",)

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        check_positive("FrozenBatchNorm2d", num_features=num_features)
        self.num_features = num_features
        check_eps("FrozenBatchNorm2d", eps)
        self.eps = eps
        self.register_buffer("weight", Tensor(np.ones(num_features, np.float32)))
        self.register_buffer("bias", Tensor(np.zeros(num_features, np.float32)))
        self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
        self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))

    def forward(
        self, x: Tensor, residual: Tensor | None = None, activation: str | None = None
    ) -> Tensor:
        """Normalize (N, C, H, W), add ``residual`` and apply ``activation``, in one pass."""
        check_channels(self, x, self.num_features)
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            eps=self.eps,
            residual=residual,
            activation=activation,
        )

    def frozen_stats(self) -> tuple[Tensor | None, ...] | None:
        """Return weight, bias, mean and variance."""
        return self.weight, self.bias, self.running_mean, self.running_var

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}"


class GroupNorm(Module):
    """Group normalization, ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Mean and biased variance are over each sample's groups of channels and all positions.

    Parameters
    ----------
    num_groups : int
        Number of groups.
    num_channels : int
        Number of channels C; divisible by ``num_groups``.
    eps : float, default 1e-5
        Added to the variance for numerical stability.
    affine : bool, default True
        Whether ``weight`` and ``bias`` of shape (C,) are learned.

    References
    ----------
    Wu and He, *Group Normalization*, 2018.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True
    ) -> None:
        super().__init__()
        check_positive("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise ValueError(
                f"GroupNorm: expected num_channels divisible by num_groups={num_groups}, got "
                f"num_channels={num_channels}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        check_eps("GroupNorm", eps)
        self.eps = eps
        self.affine = affine
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, ...)."""
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        settings = f"{self.num_groups}, {self.num_channels}, eps={self.eps}"
        return settings if self.affine else f"{settings}, affine=False"


class LayerNorm(Module):
    """Layer normalization over the last axes, ``(x - mean) / sqrt(var + eps) * weight + bias``.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Shape of the last axes, over which mean and biased variance are computed.
    eps : float, default 1e-5
        Added to the variance for numerical stability.
    elementwise_affine : bool, default True
        Whether a ``weight`` of shape ``normalized_shape`` is learned.
    bias : bool, default True
        Whether a ``bias`` is learned too; needs ``elementwise_affine``.

    References
    ----------
    Ba, Kiros and Hinton, *Layer Normalization*, 2016.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ) -> None:
        super().__init__()
        one = isinstance(normalized_shape, int | np.integer)
        lengths = (int(normalized_shape),) if one else tuple(normalized_shape)  # type: ignore[arg-type]
        self.normalized_shape = lengths
        check_eps("LayerNorm", eps)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        with_bias = elementwise_affine and bias
        self.weight = Parameter(np.ones(lengths, np.float32)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(lengths, np.float32)) if with_bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``(..., *normalized_shape)``."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        settings = f"{self.normalized_shape}, eps={self.eps}"
        return settings if self.elementwise_affine else f"{settings}, elementwise_affine=False"
