"""Two-dimensional convolution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lucid import kernels
from lucid.autograd import ArrayLike, array_of, record_joint
from lucid.autograd.primitive import needs_grad
from lucid.autograd.variable import Array, new_tensor
from lucid.ops.operands import operands, pair

if TYPE_CHECKING:
    from lucid.tensor import Tensor

Pair = tuple[int, int]


def padding_pairs(
    padding: int | str | Sequence[int] | Sequence[Sequence[int]],
    kernel: Pair,
    stride: Pair,
    dilation: Pair,
) -> tuple[Pair, Pair]:
    """Convert the ``padding`` of :func:`conv2d` to ((top, bottom), (left, right))."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding='same' expected stride 1, got {stride}")
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (reach[0] // 2, reach[0] - reach[0] // 2), (reach[1] // 2, reach[1] - reach[1] // 2)
    if isinstance(padding, str):
        raise ValueError(f"expected padding='valid', 'same' or numbers, got {padding!r}")
    if not isinstance(padding, Iterable) or all(isinstance(p, int) for p in padding):
        ph, pw = pair(padding, "padding")  # type: ignore[arg-type]
        return (ph, ph), (pw, pw)
    sides = tuple(pair(p, "padding") for p in padding)
    if len(sides) != 2:
        raise ValueError(
            "expected padding as one number, (height, width) or ((top, bottom), (left, right)), "
            f"got {padding!r}"
        )
    return sides


def conv2d(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] | Sequence[Sequence[int]] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    """2-D convolution (cross-correlation) over a batch of images.

    Parameters
    ----------
    x : array-like
        Shape (N, C, H, W).
    weight : array-like
        Shape (O, C / groups, kH, kW).
    bias : array-like, optional
        Shape (O,).
    stride, dilation : int or (int, int), default 1
        Step between windows, and between kernel elements, in pixels.
    padding : int, (int, int), ((int, int), (int, int)), "same" or "valid", default 0
        Zero padding in pixels: all sides, (height, width), or ((top, bottom), (left, right)).
    groups : int, default 1
        Number of groups; input group ``i`` connects to output group ``i`` only.

    Returns
    -------
    Tensor
        Shape (N, O, Ho, Wo) with
        ``Ho = (H + top + bottom - dilation * (kH - 1) - 1) // stride + 1``.

    Raises
    ------
    ValueError
        If shapes or options do not match.
    """
    a, w = operands(x, weight)
    if a.ndim != 4 or w.ndim != 4:
        raise ValueError(
            "conv2d expected x of shape (N, C, H, W) and weight of shape (O, C / groups, kH, kW), "
            f"got {a.shape} and {w.shape}"
        )
    kernel = (w.shape[2], w.shape[3])
    strides, dilations = pair(stride, "stride", 1), pair(dilation, "dilation", 1)
    pads = padding_pairs(padding, kernel, strides, dilations)
    _check(a.shape, w.shape, bias, pads, dilations, groups)
    b = None if bias is None else array_of(bias).astype(a.dtype, copy=False)
    options = (strides, pads, dilations, groups)
    value = kernels.conv2d(a, w, b, *options)
    input_shape, weight_shape = a.shape, w.shape
    # Each vjp reads only the other's array.
    saved_a = a if needs_grad(weight) else None
    saved_w = w if needs_grad(x) else None
    wants_bias = needs_grad(bias)

    def vjp(g: Array, accumulate: Array | None = None) -> list[Array | None]:
        return [
            None
            if saved_w is None
            else kernels.conv2d_input_gradient(g, saved_w, input_shape, *options, accumulate),
            None
            if saved_a is None
            else kernels.conv2d_weight_gradient(g, saved_a, weight_shape, *options),
            g.sum(axis=(0, 2, 3)) if wants_bias else None,
        ]

    return record_joint(value, (x, weight, bias), vjp, accumulate=True)


class PreparedConv2d:
    """Inference convolution with packed filters, ``act(conv(x) + bias + residual)``.

    ``filters`` come from :func:`lucid.kernels.prepare_filters`; nothing is recorded.
    """

    __slots__ = ("_activation", "_bias", "_checked", "_filters", "_options")

    def __init__(
        self,
        filters: Any,
        bias: Array | None,
        stride: Pair,
        padding: Pair | str,
        dilation: Pair,
        groups: int,
        activation: str | None,
    ) -> None:
        pads = padding_pairs(padding, filters.shape[2:], stride, dilation)
        self._filters = filters
        self._bias = bias
        self._options = (stride, pads, dilation, groups)
        self._activation = activation
        # Shapes of the last input and its output, checked once.
        self._checked: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())

    def fits(self, x: Array) -> bool:
        """Whether the last input had this shape."""
        shape: tuple[int, ...] = x.shape
        return shape == self._checked[0]

    def __call__(self, x: Array, residual: Array | None = None) -> Tensor:
        """Convolve float32 (N, C, H, W) and add a residual of the output's shape."""
        shape, expected = self._checked
        if x.shape != shape:
            expected = self._check_shape(x.shape)
        # The kernel reads the residual without bounds checks.
        if residual is not None and (residual.shape != expected or residual.dtype != x.dtype):
            raise ValueError(
                f"expected a residual of shape {expected} and dtype {x.dtype}, got "
                f"{residual.shape} and {residual.dtype}"
            )
        value = kernels.conv2d(
            x, self._filters, self._bias, *self._options, residual, self._activation
        )
        return new_tensor(value)

    def _check_shape(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """Check an input shape and return the output shape."""
        stride, pads, dilation, groups = self._options
        weight = self._filters.shape
        _check(image, weight, self._bias, pads, dilation, groups)
        size = [
            (image[2 + i] + sum(pads[i]) - dilation[i] * (weight[2 + i] - 1) - 1) // stride[i] + 1
            for i in range(2)
        ]
        expected = (image[0], weight[0], *size)
        self._checked = (image, expected)
        return expected


def _check(
    image: tuple[int, ...],
    weight: tuple[int, ...],
    bias: ArrayLike | None,
    pads: tuple[Pair, Pair],
    dilation: Pair,
    groups: int,
) -> None:
    if groups < 1 or image[1] % groups or weight[0] % groups:
        raise ValueError(
            f"expected groups to divide {image[1]} input and {weight[0]} output channels, "
            f"got groups={groups}"
        )
    if image[1] != weight[1] * groups:
        raise ValueError(
            f"conv2d expected {weight[1] * groups} input channels, got {image[1]} (input of shape "
            f"{image}, weight of shape {weight}, groups={groups})"
        )
    if bias is not None and array_of(bias).shape != (weight[0],):
        raise ValueError(
            f"conv2d expected a bias of shape ({weight[0]},), got {array_of(bias).shape}"
        )
    for axis, name in ((0, "height"), (1, "width")):
        size = image[2 + axis] + sum(pads[axis])
        reach = dilation[axis] * (weight[2 + axis] - 1) + 1
        if size < reach:
            raise ValueError(
                f"conv2d expected a padded {name} of at least {reach}, got {size} (input {image}, "
                f"weight {weight})"
            )
