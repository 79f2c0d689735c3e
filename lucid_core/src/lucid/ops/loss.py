"""Losses.  Where a loss has a ``reduction`` it is "mean" (default), "sum" or "none".

The mean over nothing is NaN, as in PyTorch; what may be empty is summed and
divided by a count of its own.
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
    """Cross entropy between logits and classes.

    Parameters
    ----------
    input : array-like
        Logits of shape (C,), (N, C) or (N, C, ...).
    target : array-like
        Integer class indices, of the shape of ``input`` without C; or class
        probabilities, floats of the shape of ``input``.
    weight : array-like, optional
        Weight of each class, of shape (C,).
    ignore_index : int, default -100
        Positions with this label count for nothing (not with probabilities).
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean over class indices divides by the sum of their weights.  If every position is
        ignored, it is NaN with gradients of 0, and "sum" and "none" give 0, as in PyTorch.
    label_smoothing : float, default 0.0
        Share of the target that is expand_grad evenly over all classes.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` without C for "none".

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not a class, ``reduction`` is none of the three, or
        ``label_smoothing`` does not lie from 0 to 1.
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
        raise ValueError(f"label_smoothing must lie from 0 to 1, got {label_smoothing}")
    a = floating(input)
    lined = _classes_last(a, "cross_entropy")
    logp = _in_rows(log_softmax_array(lined, -1))
    class_weight = _class_weight(weight, logp)
    if array_of(target).dtype.kind == "f":
        return _soft_cross_entropy(
            input, target, lined, logp, class_weight, reduction, label_smoothing
        )
    labels, kept = _labels(target, lined, ignore_index)
    shape, rows = lined.shape, np.arange(len(labels))
    share, smooth = 1 - label_smoothing, label_smoothing / max(1, logp.shape[1])
    hard = share * np.where(kept, class_weight[labels], 0)
    losses = -hard * np.where(kept, logp[rows, labels], 0)
    if label_smoothing:
        losses -= smooth * np.where(kept, logp @ class_weight, 0)
    total = float(np.where(kept, class_weight[labels], 0).sum())
    value, expand_grad = reduce_losses(losses.reshape(lined.shape[:-1]), reduction, total)

    def vjp(g: Array) -> Array:
        # Ignored places have no gradient, even where the mean is over nothing and NaN.
        s = np.where(kept, np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1), 0)
        wanted = (smooth * s)[:, None] * class_weight
        wanted[rows, labels] += hard * s
        gradient = np.exp(logp) * wanted.sum(axis=1, keepdims=True)
        gradient -= wanted
        return _classes_back(gradient, shape)

    return record(value, (input, vjp))


def _soft_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    lined: Array,
    logp: Array,
    class_weight: Array,
    reduction: str,
    label_smoothing: float,
) -> Tensor:
    """Cross entropy with the probabilities of the classes as target."""
    probabilities = array_of(target)
    if probabilities.shape != array_of(input).shape:
        raise ValueError(
            f"cross_entropy with probabilities needs a target of the shape of the logits, "
            f"{array_of(input).shape}, got {probabilities.shape}"
        )
    q = _classes_last(probabilities, "cross_entropy").reshape(logp.shape).astype(logp.dtype)
    share = 1 - label_smoothing
    q = (q * share + label_smoothing / max(1, logp.shape[1])) * class_weight
    shape = lined.shape
    value, expand_grad = reduce_losses(-(q * logp).sum(axis=1).reshape(shape[:-1]), reduction)

    def rows_of(g: Array) -> Array:
        return np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1, 1)

    def by_input(g: Array) -> Array:
        gradient = (np.exp(logp) * q.sum(axis=1, keepdims=True) - q) * rows_of(g)
        return _classes_back(gradient, shape)

    def by_target(g: Array) -> Array:
        return _classes_back(-share * class_weight * logp * rows_of(g), shape)

    return record(value, (input, by_input), (target, by_target))


def nll_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log likelihood: minus the log-probability of the class.

    Parameters
    ----------
    input : array-like
        Log-probabilities of shape (C,), (N, C) or (N, C, ...).
    target : array-like
        Integer class indices, of the shape of ``input`` without C.
    weight : array-like, optional
        Of each class, (C,), as for :func:`cross_entropy`.
    ignore_index : int, default -100
        Label that counts for nothing.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the sum of the weights.  If every position is ignored, it is NaN
        with gradients of 0, and "sum" and "none" give 0, as in PyTorch.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` without C for "none".

    Raises
    ------
    ValueError
        If shapes do not fit, a label is not a class, or ``reduction`` is none of the three.
    TypeError
        If ``weight`` requires gradients.
    """
    refuse_gradients("nll_loss", weight=weight)
    lined = _classes_last(floating(input), "nll_loss")
    logp = _in_rows(lined)
    labels, kept = _labels(target, lined, ignore_index)
    shape, rows = lined.shape, np.arange(len(labels))
    hard = np.where(kept, _class_weight(weight, logp)[labels], 0)
    losses = -hard * np.where(kept, logp[rows, labels], 0)
    value, expand_grad = reduce_losses(losses.reshape(shape[:-1]), reduction, float(hard.sum()))
    row_shape, dtype = logp.shape, logp.dtype

    def vjp(g: Array) -> Array:
        gradient = np.zeros(row_shape, dtype)
        s = np.broadcast_to(expand_grad(g), shape[:-1]).reshape(-1)
        gradient[rows, labels] = -hard * np.where(kept, s, 0)
        return _classes_back(gradient, shape)

    return record(value, (input, vjp))


def _classes_last(a: Array, loss: str) -> Array:
    if a.ndim == 0:
        raise ValueError(f"{loss} needs an input of shape (C,), (N, C) or (N, C, ...), got ()")
    return a if a.ndim == 1 else np.moveaxis(a, 1, -1)


def _in_rows(lined: Array) -> Array:
    # Not -1: the number of rows cannot be worked out where there are no classes.
    return lined.reshape(math.prod(lined.shape[:-1]), lined.shape[-1])


def _classes_back(rows: Array, shape: tuple[int, ...]) -> Array:
    full = rows.reshape(shape)
    return full if full.ndim == 1 else np.moveaxis(full, -1, 1)


def _class_weight(weight: ArrayLike | None, logp: Array) -> Array:
    if weight is None:
        return np.ones(logp.shape[1], logp.dtype)
    w = array_of(weight)
    if w.shape != (logp.shape[1],):
        raise ValueError(f"weight must have shape ({logp.shape[1]},), one a class, got {w.shape}")
    return w.astype(logp.dtype)


def _labels(target: ArrayLike, lined: Array, ignore_index: int) -> tuple[Array, Array]:
    """Class indices in one row, ignored ones replaced by 0, and which are not ignored."""
    labels, classes = array_of(target), lined.shape[-1]
    if labels.dtype.kind not in "iu":
        raise ValueError(f"class labels must be integers, got {labels.dtype}")
    if labels.shape != lined.shape[:-1]:
        raise ValueError(
            f"expected labels of shape {lined.shape[:-1]} for {classes} classes, got {labels.shape}"
        )
    kept = labels != ignore_index
    wrong = kept & ((labels < 0) | (labels >= classes))
    if wrong.any():
        where = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"label {labels[where]} at index {where} is not a class: expected 0 to {classes - 1}, "
            f"or {ignore_index} to ignore the position"
        )
    return np.where(kept, labels, 0).astype(np.int64).reshape(-1), kept.reshape(-1)


def binary_cross_entropy_with_logits(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Tensor:
    """Cross entropy of independent yes-or-no decisions, from their logits.

    Parameters
    ----------
    input : array-like
        Logits, any shape.
    target : array-like
        Probabilities of yes, the same shape.
    weight : array-like, optional
        Factor of each loss; broadcast to their shape.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the number of decisions.
    pos_weight : array-like, optional
        Factor of the yes part of each loss; broadcast to their shape.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, or ``reduction`` is none of the three.
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


def mse_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """Squared differences of two tensors of one shape.

    Parameters
    ----------
    input, target : array-like
        The same shape; integers become float32.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the number of elements.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, or ``reduction`` is none of the three.
    """
    return _difference_loss(input, target, reduction, "mse_loss", lambda d: d * d, lambda d: 2 * d)


def l1_loss(input: ArrayLike, target: ArrayLike, reduction: str = "mean") -> Tensor:
    """Absolute differences of two tensors of one shape; the derivative at 0 is 0.

    Parameters
    ----------
    input, target : array-like
        The same shape; integers become float32.
    reduction : {"mean", "sum", "none"}, default "mean"
        The mean divides by the number of elements.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, or ``reduction`` is none of the three.
    """
    return _difference_loss(input, target, reduction, "l1_loss", np.abs, np.sign)


def smooth_l1_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """``0.5 d^2 / beta`` where the difference d is below ``beta``, ``|d| - 0.5 beta`` above.

    Parameters
    ----------
    input, target : array-like
        The same shape.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the losses are put together.
    beta : float, default 1.0
        Where the two pieces meet; 0 gives :func:`l1_loss`.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, ``beta`` is negative, or ``reduction`` is none of the three.

    References
    ----------
    Girshick, *Fast R-CNN*, 2015, equation 3.
    """
    beta = float(beta)  # NumPy's scalars would widen what they are multiplied with
    if beta < 0:
        raise ValueError(f"beta must not be negative, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)

    def losses(d: Array) -> Array:
        size = np.abs(d)
        small = np.minimum(size, beta)  # the square of a large difference may overflow
        return np.where(size < beta, small * small * (0.5 / beta), size - 0.5 * beta)

    return _difference_loss(
        input, target, reduction, "smooth_l1_loss", losses, lambda d: np.clip(d / beta, -1, 1)
    )


def huber_loss(
    input: ArrayLike, target: ArrayLike, reduction: str = "mean", delta: float = 1.0
) -> Tensor:
    """``0.5 d^2`` where the difference d is below ``delta``, ``delta (|d| - 0.5 delta)`` above.

    Parameters
    ----------
    input, target : array-like
        The same shape.
    reduction : {"mean", "sum", "none"}, default "mean"
        How the losses are put together.
    delta : float, default 1.0
        Where the two pieces meet; positive.

    Returns
    -------
    Tensor
        Shape () for "mean" and "sum", that of ``input`` for "none".

    Raises
    ------
    ValueError
        If the shapes differ, ``delta`` is not positive, or ``reduction`` is none of the three.

    References
    ----------
    Huber, *Robust Estimation of a Location Parameter*, 1964.
    """
    delta = float(delta)
    if delta <= 0:
        raise ValueError(f"delta must be positive, got {delta}")

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
