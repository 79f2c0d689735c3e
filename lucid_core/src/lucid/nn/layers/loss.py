"""Losses as modules; each calls the function of its name in ``lucid.nn.functional``."""

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
                f"{type(self).__name__}: reduction must be 'mean', 'sum' or 'none', "
                f"got {reduction!r}"
            )
        self.reduction = reduction

    def _keep(self, name: str, factor: ArrayLike | None) -> None:
        self.register_buffer(name, None if factor is None else as_tensor(factor).detach())

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class CrossEntropyLoss(_Loss):
    """Cross entropy between logits and classes.

    Parameters
    ----------
    weight : array-like, optional
        Weight of each class, of shape (C,).
    ignore_index : int, default -100
        Positions with this label count for nothing.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum of the weights of the labels.
    label_smoothing : float, default 0.0
        Share of the target that is spread evenly over all classes.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer
    Vision*, 2016, section 7, for label smoothing.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Logits (N, C, ...) and class indices (N, ...) or probabilities (N, C, ...)."""
        return F.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_Loss):
    """Negative log likelihood: minus the log-probability of the class.

    Parameters
    ----------
    weight : array-like, optional
        Of each class, (C,), as for :class:`CrossEntropyLoss`.
    ignore_index : int, default -100
        Label that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        What becomes of the losses of a batch.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Log-probabilities (N, C, ...) and class indices (N, ...)."""
        return F.nll_loss(input, target, self.weight, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Cross entropy of independent yes-or-no decisions, from their logits.

    Parameters
    ----------
    weight : array-like, optional
        Factor of each loss; broadcast to their shape.
    reduction : {"mean", "sum", "none"}
        How the losses are put together.
    pos_weight : array-like, optional
        Factor of the yes part of each loss; broadcast to their shape.
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(reduction)
        self._keep("weight", weight)
        self._keep("pos_weight", pos_weight)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Logits and probabilities of one shape."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class MSELoss(_Loss):
    """Squared differences.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        How the losses are put together.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Two tensors of one shape."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(_Loss):
    """Absolute differences.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        How the losses are put together.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Two tensors of one shape."""
        return F.l1_loss(input, target, self.reduction)


class SmoothL1Loss(_Loss):
    """Squared differences below ``beta``, absolute ones above; see ``F.smooth_l1_loss``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        How the losses are put together.
    beta : float, default 1.0
        Where the two pieces meet.
    """

    def __init__(self, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(reduction)
        self.beta = beta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Two tensors of one shape."""
        return F.smooth_l1_loss(input, target, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Squared differences below ``delta``, absolute ones above; see ``F.huber_loss``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}
        How the losses are put together.
    delta : float, default 1.0
        Where the two pieces meet.
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        self.delta = delta

    def forward(self, input: ArrayLike, target: ArrayLike) -> Tensor:
        """Two tensors of one shape."""
        return F.huber_loss(input, target, self.reduction, self.delta)
