"""Loss functions as modules."""

from __future__ import annotations

from lucid.autograd import ArrayLike
from lucid.creation import as_tensor
from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.tensor import Tensor

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "MSELoss",
    "NLLLoss",
    "SmoothL1Loss",
]


class _Loss(Module):
    def __init__(self, reduction: str) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(
                f"{type(self).__name__}: expected reduction 'mean', 'sum' or 'none', "
                f"got {reduction!r}"
            )
        self.reduction = reduction

    def _register_weight(self, name: str, factor: ArrayLike | None) -> None:
        self.register_buffer(name, None if factor is None else as_tensor(factor).detach())

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """Cross-entropy between logits and class targets, ``-weight[y] * log_softmax(x)[y]``.

    Parameters
    ----------
    weight : array-like, optional
        Weight of each class, shape (C,).
    ignore_index : int, default -100
        Target class to ignore.
    reduction : {"mean", "sum", "none"}
        Reduction of the losses; the mean is weighted by the targets' class weights.
    label_smoothing : float, default 0.0
        Weight of the uniform distribution in the target, in [0, 1].

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer
    Vision*, 2016, section 7, for label smoothing.

    Examples
    --------
    >>> import lucid
    >>> loss = lucid.nn.CrossEntropyLoss()
    >>> round(loss(lucid.tensor([[2.0, 0.0], [0.0, 1.0]]), lucid.tensor([0, 1])).item(), 4)
    0.2201
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take logits (N, C, ...) and class indices (N, ...) or probabilities (N, C, ...)."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_Loss):
    """Negative log-likelihood, ``-weight[y] * x[y]`` for log-probabilities ``x``.

    Parameters
    ----------
    weight : array-like, optional
        Weight of each class, shape (C,).
    ignore_index : int, default -100
        Target class to ignore.
    reduction : {"mean", "sum", "none"}, default "mean"
        Reduction of the losses; the mean is weighted by the targets' class weights.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take log-probabilities (N, C, ...) and class indices (N, ...)."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy with logits, ``-(y * log(s) + (1 - y) * log(1 - s))``.

    ``s`` is ``sigmoid(x)``; the loss is computed from ``x`` without overflow.

    Parameters
    ----------
    weight : array-like, optional
        Weight of each loss; broadcast.
    reduction : {"mean", "sum", "none"}
        Reduction of the losses to a scalar; ``"none"`` returns one loss per element.
    pos_weight : array-like, optional
        Weight of the positive term ``y * log(s)``; broadcast.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self._register_weight("weight", weight)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take logits and target probabilities of the same shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class MSELoss(_Loss):
    """Mean squared error, ``(x - y) ** 2``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Reduction of the losses to a scalar; ``"none"`` returns one loss per element.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take input and target of the same shape."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Mean absolute error, ``|x - y|``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Reduction of the losses to a scalar; ``"none"`` returns one loss per element.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take input and target of the same shape."""
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Smooth L1 loss, ``0.5 * d**2 / beta`` for ``d = |x - y| < beta``, else ``d - 0.5 * beta``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Reduction of the losses to a scalar; ``"none"`` returns one loss per element.
    beta : float, default 1.0
        Difference at which the loss changes from quadratic to linear.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take input and target of the same shape."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Huber loss, ``0.5 * d**2`` for ``d = |x - y| <= delta``, else ``delta * (d - 0.5 * delta)``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        Reduction of the losses to a scalar; ``"none"`` returns one loss per element.
    delta : float, default 1.0
        Difference at which the loss changes from quadratic to linear.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Take input and target of the same shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)
