"""Loss functions.

The mean of no losses is NaN, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record
from lucid.autograd.variable import Array
from lucid.ops.activation import log_softmax_array
from lucid.ops.docstrings import add_sections
from lucid.ops.loss_reduction import reduce_losses, same_shape
from lucid.ops.operands import floating, refuse_gradients

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "smooth_l1_loss",
]

# --- classification -----------------------------------------------------------------------------


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Cross entropy between logits and class indices or probabilities.

    Parameters
    ----------
    input : array-like
        Logits of shape (C,), (N, C) or (N, C, ...).
    target : array-like
        Integer class indices in the shape of ``input`` without C, or floating class
        probabilities in the shape of ``input``.
    weight : array-like, optional
        Class weights, shape (C,).
    ignore_index : int, default -100
        Label of positions to ignore (not with probabilities).
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the sum of the class weights of the labels.  If all positions are
        ignored it is NaN with zero gradients, as in PyTorch.
    label_smoothing : float, default 0.0
        Fraction of the target spread evenly over all classes, in [0, 1].

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` without C for "none".

    Raises
    ------
    ValueError
        If shapes do not match, a label is out of range, or an option is invalid.
    TypeError
        If ``weight`` requires gradients.

    References
    ----------
    Szegedy et al., *Rethinking the Inception Architecture for Computer
    Vision*, 2016, section 7, for label smoothing.
    """
    refuse_gradients("cross_entropy", weight=weight)
    label_smoothing = float(label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"expected label_smoothing in [0, 1], got {label_smoothing}")
    a = floating(input)
    scores = _classes_last(a, "cross_entropy")
    logp = _to_rows(log_softmax_array(scores, -1))
    class_weight = _class_weight(weight, logp)
    if array_of(target).dtype.kind == "f":
        return _soft_cross_entropy(
            input, target, scores, logp, class_weight, reduction, label_smoothing
        )
    labels, valid = _labels(target, scores, ignore_index)
    shape, rows = scores.shape, np.arange(len(labels))
    share, smooth = 1 - label_smoothing, label_smoothing / max(1, logp.shape[1])
    label_weight = share * np.where(valid, class_weight[labels], 0)
    losses = -label_weight * np.where(valid, logp[rows, labels], 0)
    if label_smoothing:
        losses -= smooth * np.where(valid, logp @ class_weight, 0)
    total = float(np.where(valid, class_weight[labels], 0).sum())
    value, expand_grad = reduce_losses(losses.reshape(scores.shape[:-1]), reduction, total)

    def vjp(g: Array) -> Array:
        # Ignored positions have zero gradients, even if the mean is NaN.
        s = np.where(valid, np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1), 0)
        weighted_target = (smooth * s)[:, None] * class_weight
        weighted_target[rows, labels] += label_weight * s
        gradient = np.exp(logp) * weighted_target.sum(axis=1, keepdims=True)
        gradient -= weighted_target
        return _from_rows(gradient, shape)

    return record(value, (input, vjp))


def _soft_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    scores: Array,
    logp: Array,
    class_weight: Array,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """Compute the cross entropy with class probabilities as target."""
    probabilities = array_of(target)
    if probabilities.shape != array_of(input).shape:
        indices = scores.shape[:-1]
        remedy = '; convert class indices: target.astype("int64")'
        raise ValueError(
            f"cross_entropy expected integer class indices of shape {indices} or probabilities "
            f"of shape {array_of(input).shape}, got {probabilities.dtype} of shape "
            f"{probabilities.shape}{remedy if probabilities.shape == indices else ''}"
        )
    q = _classes_last(probabilities, "cross_entropy").reshape(logp.shape).astype(logp.dtype)
    share = 1 - label_smoothing
    q = (q * share + label_smoothing / max(1, logp.shape[1])) * class_weight
    shape = scores.shape
    value, expand_grad = reduce_losses(-(q * logp).sum(axis=1).reshape(shape[:-1]), reduction)

    def rows_of(g: Array) -> Array:
        return np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1, 1)

    def by_input(g: Array) -> Array:
        gradient = (np.exp(logp) * q.sum(axis=1, keepdims=True) - q) * rows_of(g)
        return _from_rows(gradient, shape)

    def by_target(g: Array) -> Array:
        return _from_rows(-share * class_weight * logp * rows_of(g), shape)

    return record(value, (input, by_input), (target, by_target))


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood loss, ``-input[class]``.

    Parameters
    ----------
    input : array-like
        Log-probabilities of shape (C,), (N, C) or (N, C, ...).
    target : array-like
        Integer class indices in the shape of ``input`` without C.
    weight : array-like, optional
        Class weights, shape (C,).
    ignore_index : int, default -100
        Label of positions to ignore.
    reduction : {"mean", "sum", "none"}, default "mean"
        As for :func:`cross_entropy`.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` without C for "none".

    Raises
    ------
    ValueError
        If shapes do not match, a label is out of range, or ``reduction`` is invalid.
    TypeError
        If ``weight`` requires gradients.
    """
    refuse_gradients("nll_loss", weight=weight)
    scores = _classes_last(floating(input), "nll_loss")
    logp = _to_rows(scores)
    labels, valid = _labels(target, scores, ignore_index)
    shape, rows = scores.shape, np.arange(len(labels))
    label_weight = np.where(valid, _class_weight(weight, logp)[labels], 0)
    losses = -label_weight * np.where(valid, logp[rows, labels], 0)
    value, expand_grad = reduce_losses(
        losses.reshape(shape[:-1]), reduction, float(label_weight.sum())
    )
    row_shape, dtype = logp.shape, logp.dtype

    def vjp(g: Array) -> Array:
        gradient = np.zeros(row_shape, dtype)
        s = np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1)
        gradient[rows, labels] = -label_weight * np.where(valid, s, 0)
        return _from_rows(gradient, shape)

    return record(value, (input, vjp))


def _classes_last(a: Array, loss: str) -> Array:
    if a.ndim == 0:
        raise ValueError(f"{loss} expected an input of shape (C,), (N, C) or (N, C, ...), got ()")
    return a if a.ndim == 1 else np.moveaxis(a, 1, -1)


def _to_rows(scores: Array) -> Array:
    # Not -1, which cannot be inferred for zero classes.
    return scores.reshape(math.prod(scores.shape[:-1]), scores.shape[-1])


def _from_rows(rows: Array, shape: tuple[int, ...]) -> Array:
    full = rows.reshape(shape)
    return full if full.ndim == 1 else np.moveaxis(full, -1, 1)


def _class_weight(weight: ArrayLike | None, logp: Array) -> Array:
    if weight is None:
        return np.ones(logp.shape[1], logp.dtype)
    w = array_of(weight)
    if w.shape != (logp.shape[1],):
        raise ValueError(f"expected a class weight of shape ({logp.shape[1]},), got {w.shape}")
    return w.astype(logp.dtype)


def _labels(target: ArrayLike, scores: Array, ignore_index: int) -> tuple[Array, Array]:
    """Flatten the labels, with 0 for ignored ones, and return the mask of the others."""
    labels, classes = array_of(target), scores.shape[-1]
    if labels.dtype.kind not in "iu":
        raise ValueError(f"expected integer class labels, got {labels.dtype}")
    if labels.shape != scores.shape[:-1]:
        raise ValueError(
            f"expected labels of shape {scores.shape[:-1]} for {classes} classes, "
            f"got {labels.shape}"
        )
    valid = labels != ignore_index
    wrong = valid & ((labels < 0) | (labels >= classes))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"expected labels in [0, {classes - 1}], or {ignore_index} to ignore the position, "
            f"got {labels[where]} (at index {where})"
        )
    return np.where(valid, labels, 0).astype(np.int64).reshape(-1), valid.reshape(-1)


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Tensor:
    """Binary cross entropy between logits and target probabilities.

    Parameters
    ----------
    input : array-like
        Logits, any shape.
    target : array-like
        Probabilities of the positive class, shape of ``input``.
    weight : array-like, optional
        Weight of each loss, broadcast to the shape of ``input``.
    reduction : {"mean", "sum", "none"}, default "mean"
        "mean" divides by the number of elements.
    pos_weight : array-like, optional
        Weight of the positive term of each loss, broadcast to the shape of ``input``.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, or ``reduction`` is invalid.
    """
    name = "binary_cross_entropy_with_logits"
    refuse_gradients(name, weight=weight, pos_weight=pos_weight)
    a, t = same_shape(input, target, name)
    factor = a.dtype.type(1) if weight is None else array_of(weight).astype(a.dtype)
    extra = a.dtype.type(0) if pos_weight is None else array_of(pos_weight).astype(a.dtype) - 1
    # -log(sigmoid(a)) without overflow.
    softplus = np.log1p(np.exp(-np.abs(a))) + np.maximum(-a, 0)
    losses = factor * ((1 - t) * a + (1 + extra * t) * softplus)
    value, expand_grad = reduce_losses(losses, reduction)

    def vjp(g: Array) -> Array:
        missing = kernels.activation(-a, "sigmoid")
        slope: Array = factor * ((1 - t) - (1 + extra * t) * missing)
        return expand_grad(g) * slope

    return record(
        value,
        (input, vjp),
        (target, lambda g: expand_grad(g) * factor * (extra * softplus - a)),
    )


# --- regression ---------------------------------------------------------------------------------


_PAIR = {
    "input, target : array-like": "Equal shapes; integers become float32.",
    'reduction : {"mean", "sum", "none"}, default "mean"': '"mean" divides by the number of '
    "elements.",
}
_LOSS = 'Shape () for "mean" and "sum", that of ``input`` for "none".'
_LOSS_ERROR = {"ValueError": "If the shapes differ, or an option is invalid."}


@add_sections(_PAIR, _LOSS, _LOSS_ERROR)
def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """Squared error, ``(input - target) ** 2``."""
    return _difference_loss(input, target, reduction, "mse_loss", lambda d: d * d, lambda d: 2 * d)


@add_sections(_PAIR, _LOSS, _LOSS_ERROR)
def l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """Absolute error, ``|input - target|``; the gradient at 0 is 0."""
    return _difference_loss(input, target, reduction, "l1_loss", np.abs, np.sign)


@add_sections(
    _PAIR
    | {
        "beta : float, default 1.0": "Threshold between the quadratic and the linear part, >= 0; "
        "0 gives :func:`l1_loss`."
    },
    _LOSS,
    _LOSS_ERROR,
)
def smooth_l1_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Smooth L1 loss of ``d = |input - target|``.

    ``0.5 * d**2 / beta`` where ``d < beta``, else ``d - 0.5 * beta``.

    References
    ----------
    Girshick, *Fast R-CNN*, 2015, equation 3.
    """
    beta = float(beta)  # a NumPy scalar would promote the result
    if beta < 0:
        raise ValueError(f"expected beta >= 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)

    def losses(d: Array) -> Array:
        size = np.abs(d)
        small = np.minimum(size, beta)  # the square of a large difference may overflow
        return np.where(size < beta, small * small * (0.5 / beta), size - 0.5 * beta)

    return _difference_loss(
        input, target, reduction, "smooth_l1_loss", losses, lambda d: np.clip(d / beta, -1, 1)
    )


@add_sections(
    _PAIR
    | {"delta : float, default 1.0": "Threshold between the quadratic and the linear part, > 0."},
    _LOSS,
    _LOSS_ERROR,
)
def huber_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """Huber loss of ``d = |input - target|``.

    ``0.5 * d**2`` where ``d < delta``, else ``delta * (d - 0.5 * delta)``.

    References
    ----------
    Huber, *Robust Estimation of a Location Parameter*, 1964.
    """
    delta = float(delta)
    if delta <= 0:
        raise ValueError(f"expected delta > 0, got {delta}")

    def losses(d: Array) -> Array:
        size = np.abs(d)
        return np.where(size < delta, 0.5 * d * d, delta * (size - 0.5 * delta))

    return _difference_loss(
        input, target, reduction, "huber_loss", losses, lambda d: np.clip(d, -delta, delta)
    )


def _difference_loss(
    input: ArrayLike,
    target: ArrayLike,
    reduction: str,
    name: str,
    losses: Callable[[Array], Array],
    slope: Callable[[Array], Array],
) -> Tensor:
    a, b = same_shape(input, target, name)
    d = a - b
    value, expand_grad = reduce_losses(losses(d), reduction)
    return record(
        value,
        (input, lambda g: expand_grad(g) * slope(d)),
        (target, lambda g: -(expand_grad(g) * slope(d))),
    )
