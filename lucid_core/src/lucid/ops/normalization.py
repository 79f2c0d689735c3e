"""Batch, group and layer normalization."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record_joint
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array
from lucid.ops.activation import check_activation
from lucid.ops.affine import affine
from lucid.ops.operands import floating, image_batch, refuse_gradients, save_for_backward
from lucid.ops.sync_batch_norm import ProcessGroup, sync_batch_norm, update_running_stats

if TYPE_CHECKING:
    from lucid.tensor import Tensor

__all__ = ["affine_act", "batch_norm", "group_norm", "layer_norm"]


def batch_norm(
    x: ArrayLike,
    running_mean: ArrayLike | None,
    running_var: ArrayLike | None,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    *,
    residual: ArrayLike | None = None,
    activation: str | None = None,
    process_group: ProcessGroup | None = None,
) -> Tensor:
    """Batch normalization, fused with an optional residual sum and activation.

    ``act(weight * (x - mean) / sqrt(variance + eps) + bias + residual)``

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    running_mean, running_var : Tensor or array, or None
        Shape (C,).  In training, updated in place (may be None); in evaluation, required
        and used to normalize.
    weight, bias : array-like, optional
        Shape (C,).
    training : bool, default False
        Normalize with the mean and variance of the batch, over N, H and W.
    momentum : float, default 0.1
        Weight of the batch in the update of the running statistics.
    eps : float, default 1e-5
        Added to the variance.
    residual : array-like, optional
        Added before the activation, shape of ``x``.
    activation : str, optional
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "gelu" or "gelu_tanh";
        default none.
    process_group : ProcessGroup, optional
        Processes over which to synchronize the statistics in training.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If shapes do not match, statistics are missing, or a channel has fewer than two values in
        training.

    Notes
    -----
    The batch is normalized with the biased variance; ``running_var`` is unbiased.

    References
    ----------
    Ioffe and Szegedy, *Batch Normalization*, 2015, algorithms 1 and 2.
    """
    refuse_gradients("batch_norm", running_mean=running_mean, running_var=running_var)
    check_activation("batch_norm", activation)
    a = save_for_backward(image_batch(x, "batch_norm"), x, weight, bias, residual)
    running = {"running_mean": running_mean, "running_var": running_var}
    for name, vector in {**running, "weight": weight, "bias": bias}.items():
        _check_vector("batch_norm", name, vector, (a.shape[1],))
    added = _residual(residual, a, x, weight, bias)
    if training:
        fused = (residual, added, activation)
        if process_group is not None:
            return sync_batch_norm(x, a, weight, bias, running, momentum, eps, fused, process_group)
        return _train_batch_norm(x, a, weight, bias, running, momentum, eps, fused)
    if running_mean is None or running_var is None:
        raise ValueError(
            "batch_norm expected running_mean and running_var, got None; pass training=True"
        )
    mean = array_of(running_mean).astype(np.float64)
    inverse_std = 1 / np.sqrt(array_of(running_var).astype(np.float64) + eps)
    scale = inverse_std if weight is None else array_of(weight) * inverse_std
    shift = -mean * scale if bias is None else array_of(bias) - mean * scale
    scale, shift = scale.astype(a.dtype), shift.astype(a.dtype)
    value, backward = affine(a, scale, shift, added, activation, needs_grad(weight))

    def vjp(g: Array) -> list[Array | None]:
        gx, gscale, gshift, gresidual = backward(g)
        # shift = bias - mean * scale also depends on the weight.
        gweight = None if gscale is None else (gscale - mean * gshift) * inverse_std
        return [gx, gweight, gshift, gresidual]

    return record_joint(value, (x, weight, bias, residual), vjp)


def _train_batch_norm(
    x: ArrayLike,
    a: Array,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    running: dict[str, ArrayLike | None],
    momentum: float,
    eps: float,
    fused: tuple[ArrayLike | None, Array | None, str | None],
) -> Tensor:
    residual, added, activation = fused
    count = a.size // a.shape[1] if a.shape[1] else 0
    if count < 2:
        raise ValueError(
            "batch_norm expected at least two values per channel in training, "
            f"got an input of shape {a.shape}"
        )
    w = None
    if weight is not None:
        w = save_for_backward(array_of(weight).astype(a.dtype, copy=False), weight, x)
    b = None if bias is None else array_of(bias).astype(a.dtype, copy=False)
    value, mean, variance, inverse_std, line = kernels.batch_norm(a, w, b, eps, added, activation)
    update_running_stats(running["running_mean"], mean, momentum)
    update_running_stats(running["running_var"], variance * (count / (count - 1)), momentum)
    with_residual = residual is not None
    # Without a residual, the input of the activation is recomputed from x.
    saved = value if activation == "relu" and with_residual else added
    if activation is None:
        saved = None

    def vjp(g: Array, donate: bool = False) -> tuple[Array | None, ...]:
        gradients: tuple[Array | None, ...] = kernels.batch_norm_backward(
            g, a, saved, w, mean, inverse_std, line, activation, with_residual, donate
        )
        return gradients

    return record_joint(value, (x, weight, bias, residual), vjp, donate=True)


def affine_act(
    x: ArrayLike,
    scale: ArrayLike,
    shift: ArrayLike,
    residual: ArrayLike | None = None,
    activation: str | None = None,
) -> Tensor:
    """Per-channel affine map and activation, ``act(x * scale + shift + residual)``.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    scale, shift : array-like
        Shape (C,).
    residual : array-like, optional
        Added before the activation, shape of ``x``.
    activation : str, optional
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "gelu" or "gelu_tanh";
        default none.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If shapes do not match.
    TypeError
        If ``x`` is neither float32 nor float64.
    """
    check_activation("affine_act", activation)
    a = save_for_backward(image_batch(x, "affine_act"), x, scale, shift, residual)
    factor = save_for_backward(
        array_of(scale).astype(a.dtype, copy=False), scale, x, shift, residual
    )
    offset = save_for_backward(
        array_of(shift).astype(a.dtype, copy=False), shift, x, scale, residual
    )
    if factor.shape != (a.shape[1],) or offset.shape != (a.shape[1],):
        raise ValueError(
            f"affine_act expected scale and shift of shape ({a.shape[1]},), got {factor.shape} and "
            f"{offset.shape} (input of shape {a.shape})"
        )
    added = _residual(residual, a, x, scale, shift)
    value, backward = affine(a, factor, offset, added, activation, needs_grad(scale))
    return record_joint(value, (x, scale, shift, residual), backward)


def _residual(residual: ArrayLike | None, a: Array, *others: ArrayLike | None) -> Array | None:
    if residual is None:
        return None
    added = array_of(residual)
    if added.shape != a.shape:
        raise ValueError(f"expected a residual of the input's shape {a.shape}, got {added.shape}")
    return save_for_backward(added.astype(a.dtype, copy=False), residual, *others)


# --- group and layer normalization -------------------------------------------------------------


def group_norm(
    x: ArrayLike,
    num_groups: int,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Group normalization over the channels of each group and all positions.

    Parameters
    ----------
    x : array-like
        Shape (N, C, ...).
    num_groups : int
        Number of groups; divides C.
    weight, bias : array-like, optional
        Shape (C,).
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If shapes do not match.

    References
    ----------
    Wu and He, *Group Normalization*, 2018, section 3.1.
    """
    a = floating(x)
    if a.ndim < 2 or num_groups < 1 or a.shape[1] % num_groups:
        raise ValueError(
            "group_norm expected an input of shape (N, C, ...) with C divisible by num_groups, "
            f"got {a.shape} and num_groups={num_groups}"
        )
    # Channels last, as in memory.
    shape = np.moveaxis(a, 1, -1).shape
    vector = (num_groups, shape[-1] // num_groups)
    grouped = (shape[0], math.prod(shape[1:-1]), *vector)
    layout = _Layout(
        lambda v: np.moveaxis(v, 1, -1).reshape(grouped),
        lambda v: np.moveaxis(v.reshape(shape), -1, 1),
        axes=(1, 3),
        vector=vector,
    )
    for name, v in (("weight", weight), ("bias", bias)):
        _check_vector("group_norm", name, v, (a.shape[1],))
    return _normalize(x, a, weight, bias, eps, layout)


def layer_norm(
    x: ArrayLike,
    normalized_shape: int | Sequence[int],
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Layer normalization over the last axes.

    Parameters
    ----------
    x : array-like
        Shape ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        Lengths of the normalized axes.
    weight, bias : array-like, optional
        Shape ``normalized_shape``.
    eps : float, default 1e-5
        Added to the variance.

    Returns
    -------
    Tensor
        Shape of ``x``.

    Raises
    ------
    ValueError
        If shapes do not match.

    References
    ----------
    Ba, Kiros and Hinton, *Layer Normalization*, 2016, section 3.
    """
    a = floating(x)
    one = isinstance(normalized_shape, int | np.integer)
    shape = (int(normalized_shape),) if one else tuple(normalized_shape)  # type: ignore[arg-type]
    if not shape or a.shape[-len(shape) :] != shape:
        raise ValueError(f"layer_norm expected an input of shape (..., *{shape}), got {a.shape}")
    for name, v in (("weight", weight), ("bias", bias)):
        _check_vector("layer_norm", name, v, shape)
    a = save_for_backward(a, x, weight, bias)
    rows = a.reshape(math.prod(a.shape[: a.ndim - len(shape)]), math.prod(shape))
    w, b = (
        None if v is None else array_of(v).astype(a.dtype, copy=False).reshape(-1)
        for v in (weight, bias)
    )
    if w is not None:
        w = save_for_backward(w, weight, x)
    value, mean, inverse_std = kernels.layer_norm(rows, w, b, eps)
    full = a.shape

    def vjp(g: Array) -> list[Array]:
        gx, gweight, gbias = kernels.layer_norm_backward(
            g.reshape(rows.shape), rows, w, mean, inverse_std
        )
        return [gx.reshape(full), gweight.reshape(shape), gbias.reshape(shape)]

    return record_joint(value.reshape(full), (x, weight, bias), vjp)


class _Layout(NamedTuple):
    """View of an array for normalization."""

    to_view: Callable[[Array], Array]
    from_view: Callable[[Array], Array]
    #: Axes of the view to normalize over.
    axes: tuple[int, ...]
    #: Shape of weight and bias: the last axes of the view.
    vector: tuple[int, ...]


def _normalize(
    x: ArrayLike,
    a: Array,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    eps: float,
    layout: _Layout,
) -> Tensor:
    """Compute ``weight * (a - mean) / sqrt(variance + eps) + bias`` in the view of ``layout``."""
    to_view, from_view, axes, vector = layout
    viewed = to_view(a)
    count = max(1, math.prod(viewed.shape[i] for i in axes))

    def mean(v: Array) -> Array:
        average: Array = v.sum(axis=axes, keepdims=True) / count
        return average

    normal = viewed - mean(viewed)
    inverse_std = 1 / np.sqrt(mean(normal * normal) + eps)
    normal *= inverse_std
    w = None if weight is None else array_of(weight).astype(a.dtype, copy=False).reshape(vector)
    value = normal if w is None else normal * w
    if bias is not None:
        value = value + array_of(bias).astype(a.dtype, copy=False).reshape(vector)
    others = tuple(range(viewed.ndim - len(vector)))
    wants_x, wants_bias = needs_grad(x), needs_grad(bias)
    saved_w = None if w is None or not wants_x else save_for_backward(w, weight, x)
    saved_normal = normal if wants_x or needs_grad(weight) else None
    shapes = [() if v is None else array_of(v).shape for v in (weight, bias)]

    def vjp(g: Array) -> list[Array | None]:
        g = to_view(g)
        gx = gweight = None
        if wants_x and saved_normal is not None:
            scaled = g if saved_w is None else g * saved_w
            gx = inverse_std * (scaled - mean(scaled) - saved_normal * mean(scaled * saved_normal))
            gx = from_view(gx)
        if weight is not None and saved_normal is not None:
            gweight = (g * saved_normal).sum(axis=others).reshape(shapes[0])
        return [gx, gweight, g.sum(axis=others).reshape(shapes[1]) if wants_bias else None]

    return record_joint(from_view(value), (x, weight, bias), vjp)


def _check_vector(
    operation: str, name: str, vector: ArrayLike | None, shape: tuple[int, ...]
) -> None:
    if vector is not None and array_of(vector).shape != shape:
        raise ValueError(
            f"{operation} expected {name} of shape {shape}, got {array_of(vector).shape}"
        )
