"""Two-dimensional convolution in float32: forward, and the gradients of input and weight.

This module selects the algorithm: AMX (:mod:`.amx_conv`), few channels (:mod:`.few_channels`),
pointwise (:mod:`.pointwise`), Winograd (:mod:`.winograd`), depthwise (:mod:`.depthwise`), narrow
groups (:mod:`.grouped_conv`) or implicit GEMM (:mod:`.implicit_gemm`).  Memory is channels last.
Float64, which gradient checks use, runs the reference.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable

import numpy as np

from lucid.kernels.compiled import (
    amx_support,
    depthwise,
    pointwise,
    winograd,
    winograd_weight_gradient,
)
from lucid.kernels.compiled.activation import CODES
from lucid.kernels.compiled.amx_conv import Plan, convolve_amx, plan_amx, run_amx
from lucid.kernels.compiled.amx_weight_gradient import amx_weight_gradient, fills_tiles
from lucid.kernels.compiled.depthwise_gradient import (
    depthwise_input_gradient,
    depthwise_weight_gradient,
)
from lucid.kernels.compiled.few_channels import convolve_few_channels
from lucid.kernels.compiled.grouped_conv import convolve_grouped, is_supported, pack_grouped
from lucid.kernels.compiled.implicit_gemm import Grid, convolve, initialize_output, pack, pad_image
from lucid.kernels.compiled.jit import nhwc
from lucid.kernels.compiled.pointwise import convolve_pointwise
from lucid.kernels.compiled.vector_ir import VL
from lucid.kernels.compiled.weight_gradient import pointwise_weight_gradient, weight_gradient
from lucid.kernels.layout import Array
from lucid.kernels.memory import empty, empty_channels_last
from lucid.kernels.reference import conv as reference
from lucid.kernels.threads import get_num_threads

Pair = tuple[int, int]
Shape = tuple[int, int, int, int]
Padding = tuple[Pair, Pair]

# With fewer channels, a row of the window is read as one segment of a padded copy.
_FEW_CHANNELS = 16
# With as many channels in and out, and positions in an image, Winograd is faster than AMX.  Its
# large transformed weights are then computed in every call and not kept.
_MANY_CHANNELS, _MANY_POSITIONS = 256, 1 << 12
# Gradients of at least as many outputs are padded with zeros to whole vectors.
_MIN_PADDED = 32
# Number of call shapes whose plans are cached with the filters.
_MAX_PLANS = 16


class Filters:
    """A convolution weight, packed when a kernel first needs it.

    Attributes
    ----------
    shape, dtype
        Of the weight, (O, C / groups, kH, kW).
    kept : bool
        Whether several calls use it.
    scale : numpy.ndarray, optional
        Factor of each output channel's filter.
    """

    def __init__(self, weight: Array, groups: int, kept: bool, scale: Array | None = None) -> None:
        self.shape = weight.shape
        self.dtype = weight.dtype
        self.kept = kept
        self.scale = scale
        self.weight = weight
        self._rows = nhwc(weight)
        self._groups = groups
        self._panels: Array | None = None
        self._grouped: Array | None = None
        self._depthwise: Array | None = None
        self._pointwise: Array | None = None
        self._transformed: Array | None = None
        # By shape and options of a call: output shape, panels, AMX plan.
        self.plans: dict[Hashable, tuple[Shape, Array, Plan]] = {}

    def panels(self) -> Array:
        """Return the weights packed for implicit GEMM and AMX."""
        if self._panels is None:
            rows, columns = np.arange(self.shape[2]), np.arange(self.shape[3])
            panels = pack(self._rows, self._groups, rows, columns)
            self._panels = self._scaled(panels, self._groups)
        return self._panels

    def grouped_panels(self) -> Array:
        """Return the weights packed for narrow groups."""
        if self._grouped is None:
            rows, columns = np.arange(self.shape[2]), np.arange(self.shape[3])
            self._grouped = pack_grouped(self._scaled_rows(), self._groups, rows, columns)
        return self._grouped

    def depthwise_taps(self) -> Array:
        """Return the weights packed for depthwise convolution."""
        if self._depthwise is None:
            self._depthwise = depthwise.pack_depthwise(self._scaled_rows())
        return self._depthwise

    def rows(self) -> Array:
        """Return the weights (O, kH * kW * C), packed for adjacent windows."""
        if self._pointwise is None:
            rows = self._scaled_rows().reshape(self.shape[0], -1)
            self._pointwise = pointwise.pack_pointwise(rows)
        return self._pointwise

    def transformed(self, kept: bool) -> Array | winograd.UnpackedFilters:
        """Return the weights for Winograd: packed and ``kept``, or still to be transformed."""
        if not kept:
            return winograd.UnpackedFilters(self._scaled_rows(), transposed=False)
        if self._transformed is None:
            self._transformed = self._scaled(winograd.transform_weights(self._rows), 1)
        return self._transformed

    def _scaled_rows(self) -> Array:
        if self.scale is None:
            return self._rows
        rows: Array = self._rows * self.scale[:, None, None, None]
        return rows

    def _scaled(self, panels: Array, groups: int) -> Array:
        """Scale panels (..., P, K, NR) in place; a group's last columns may belong to no output."""
        if self.scale is None:
            return panels
        count, _, width = panels.shape[-3:]
        scale = np.zeros((groups, count // groups * width), np.float32)
        scale[:, : self.shape[0] // groups] = self.scale.reshape(groups, -1)
        panels *= scale.reshape(count, 1, width)
        return panels


def prepare_filters(weight: Array, groups: int, scale: Array | None = None) -> Filters:
    """See `lucid.kernels.reference.conv.prepare_filters`."""
    return Filters(weight, groups, kept=True, scale=scale)


def _is_pointwise(kernel: Pair, stride: Pair, padding: Padding) -> bool:
    return kernel == stride == (1, 1) and not np.any(padding)


def _suits_winograd(kernel: Pair, stride: Pair, dilation: Pair, groups: int) -> bool:
    return kernel == (3, 3) and stride == dilation == (1, 1) and groups == 1


def _whole_vectors(channels: int) -> int:
    """Round channels up to whole vectors, for Winograd gradients; few channels stay as they are."""
    return -(-channels // VL) * VL if channels >= _MIN_PADDED else channels


def _with_zeros(g: Array) -> Array:
    """Pad gradients (N, H, W, O) with zero channels to whole vectors."""
    missing = _whole_vectors(g.shape[3]) - g.shape[3]
    if not missing:
        return g
    wide = empty((*g.shape[:3], g.shape[3] + missing), g.dtype)
    wide[..., : g.shape[3]] = g
    wide[..., g.shape[3] :] = 0
    return wide


def _use_amx(length: int, outputs: int, groups: int) -> bool:
    """Return whether AMX is present and pays for taps of ``length`` elements."""
    wide = groups == 1 or outputs // groups >= _FEW_CHANNELS
    return amx_support.available() and length >= _FEW_CHANNELS and wide


@functools.lru_cache(maxsize=1024)
def _geometry(
    size: Pair, kernel: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[int, int, Array, Array]:
    """Return output height and width, and the offsets of the taps' rows and columns."""
    sides, offsets = [], []
    for i in range(2):
        reach = dilation[i] * (kernel[i] - 1) + 1
        sides.append((size[i] + sum(padding[i]) - reach) // stride[i] + 1)
        offsets.append(np.arange(kernel[i]) * dilation[i] - padding[i][0])
    return sides[0], sides[1], offsets[0], offsets[1]


def conv2d(
    x: Array,
    weight: Array | Filters,
    bias: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    residual: Array | None = None,
    activation: str | None = None,
) -> Array:
    """See `lucid.kernels.reference.conv.conv2d`."""
    filters = weight if isinstance(weight, Filters) else Filters(weight, groups, kept=False)
    if x.dtype != np.float32 or filters.dtype != np.float32:
        options = (stride, padding, dilation, groups, residual, activation)
        plain = reference.prepare_filters(filters.weight, groups, filters.scale)
        return reference.conv2d(x, plain, bias, *options)
    code = CODES[activation]
    call = (x.shape, stride, padding, dilation, get_num_threads())
    planned = filters.plans.get(call)
    if planned is not None:
        size, panels, plan = planned
        y = empty_channels_last(size, x.dtype)
        added = None if residual is None else nhwc(residual)
        run_amx(plan, nhwc(x), panels, bias, added, code, y.transpose(0, 2, 3, 1))
        return y
    n = len(x)
    o, c, kh, kw = filters.shape
    (top, _), (left, right) = padding
    ho, wo, row_offsets, column_offsets = _geometry(
        x.shape[2:], (kh, kw), stride, padding, dilation
    )
    y = empty_channels_last((n, o, ho, wo), x.dtype)
    out = y.transpose(0, 2, 3, 1)
    added = None if residual is None else nhwc(residual)
    merged = groups == 1 and c < _FEW_CHANNELS and dilation[1] == 1 and kw > 1
    length = kw * c if merged else c
    use_amx = _use_amx(length, o, groups)
    dense_rows = groups == 1 and not use_amx and pointwise.is_supported(o)
    if merged and dense_rows:
        planar = x.flags.carray
        convolve_few_channels(
            x if planar else nhwc(x), planar, filters.rows(), bias, added, code, out, (kh, kw),
            stride, (top, left), dilation[0],
        )  # fmt: skip
        return y
    source = nhwc(x)
    if dense_rows and _is_pointwise((kh, kw), stride, padding):
        rows = source.reshape(-1, c), out.reshape(-1, o)
        others = None if added is None else added.reshape(-1, o)
        convolve_pointwise(rows[0], filters.rows(), bias, others, code, rows[1])
        return y
    large = min(c, o) >= _MANY_CHANNELS and ho * wo >= _MANY_POSITIONS
    direct = use_amx and filters.kept and not large
    kept = filters.kept and not use_amx
    if (
        not direct
        and _suits_winograd((kh, kw), stride, dilation, groups)
        and winograd.is_profitable(n * ho * wo, c, o, kept)
    ):
        weights = filters.transformed(kept)
        winograd.convolve_winograd(source, weights, bias, added, code, out, top, left)
        return y
    if residual is None and depthwise.is_supported(x.shape[1], o, groups):
        taps = filters.depthwise_taps()
        depthwise.convolve_depthwise(source, taps, bias, code, out, stride, (top, left), dilation)
        return y
    if merged and use_amx:
        column_offsets = np.zeros(1, np.int64)
    grid = Grid(ho, wo, stride, row_offsets, column_offsets, (0, 0), (1, 1))
    if groups > 1 and is_supported(x.shape[1], o, groups):
        convolve_grouped(source, filters.grouped_panels(), bias, added, code, out, grid, groups)
        return y
    if use_amx:
        margins = (left, right) if merged else (0, 0)
        panels = filters.panels()
        plan = plan_amx(source.shape, panels, grid, groups, length, margins)
        run_amx(plan, source, panels, bias, added, code, out)
        if filters.kept and len(filters.plans) < _MAX_PLANS:
            filters.plans[call] = ((n, o, ho, wo), panels, plan)
        return y
    convolve(source, filters.panels(), bias, added, code, out, grid, groups)
    return y


def conv2d_input_gradient(
    g: Array,
    weight: Array,
    input_shape: Shape,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
    accumulate: Array | None = None,
) -> Array:
    """See `lucid.kernels.reference.conv.conv2d_input_gradient`.

    With a stride, each phase of it has its own taps and is a convolution of its own.
    """
    if g.dtype != np.float32 or weight.dtype != np.float32:
        return reference.conv2d_input_gradient(
            g, weight, input_shape, stride, padding, dilation, groups, accumulate
        )
    h, w = input_shape[2:]
    o, cg, kh, kw = weight.shape
    gx = empty_channels_last(input_shape, g.dtype)
    out = gx.transpose(0, 2, 3, 1)
    source, added = nhwc(g), None if accumulate is None else nhwc(accumulate)
    use_amx = _use_amx(o // groups, groups * cg, groups)
    if _suits_winograd((kh, kw), stride, dilation, groups) and winograd.is_profitable(
        len(g) * h * w, _whole_vectors(o), cg, kept=False
    ):
        summed = nhwc(weight)
        if o % VL:
            source = _with_zeros(source)
            summed = np.pad(summed, ((0, _whole_vectors(o) - o), (0, 0), (0, 0), (0, 0)))
        weights = winograd.UnpackedFilters(summed, transposed=True)
        top, left = 2 - padding[0][0], 2 - padding[1][0]
        winograd.convolve_winograd(source, weights, None, added, 0, out, top, left)
        return gx
    if depthwise.is_supported(groups * cg, o, groups):
        packed, before = depthwise.pack_depthwise(nhwc(weight)), (padding[0][0], padding[1][0])
        depthwise_input_gradient(source, packed, added, out, stride, before, dilation)
        return gx
    c = groups * cg
    dense_rows = groups == 1 and not use_amx and pointwise.is_supported(c)
    if dense_rows and _is_pointwise((kh, kw), stride, padding):
        packed = pointwise.pack_pointwise(nhwc(weight).reshape(o, c), transposed=True)
        others = None if added is None else added.reshape(-1, c)
        convolve_pointwise(source.reshape(-1, o), packed, None, others, 0, out.reshape(-1, c))
        return gx
    row_phases = _phases(h, kh, stride[0], padding[0][0], dilation[0])
    column_phases = _phases(w, kw, stride[1], padding[1][0], dilation[1])
    if any(len(taps) == 0 for _, _, taps, _ in (*row_phases, *column_phases)):
        initialize_output(out, added)
    filters = nhwc(weight)
    grouped = groups > 1 and is_supported(groups * cg, o, groups)
    for y0, rows, row_taps, row_offsets in row_phases:
        for x0, columns, column_taps, column_offsets in column_phases:
            if not len(row_taps) or not len(column_taps):
                continue
            grid = Grid(rows, columns, (1, 1), row_offsets, column_offsets, (y0, x0), stride)
            taps = (row_taps, column_taps)
            if grouped:
                panels = pack_grouped(filters, groups, *taps, transposed=True)
                convolve_grouped(source, panels, None, added, 0, out, grid, groups)
                continue
            panels = pack(filters, groups, *taps, transposed=True)
            if use_amx:
                convolve_amx(source, panels, None, added, 0, out, grid, groups, o // groups)
            else:
                convolve(source, panels, None, added, 0, out, grid, groups)
    return gx


@functools.lru_cache(maxsize=1024)
def _phases(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> list[tuple[int, int, Array, Array]]:
    """Return first pixel, size, taps and tap offsets of each phase of the stride along an axis."""
    phases = []
    for first in range(min(stride, size)):
        taps = [tap for tap in range(kernel) if (first + padding - tap * dilation) % stride == 0]
        offsets = [(first + padding - tap * dilation) // stride for tap in taps]
        count = -(-(size - first) // stride)
        phases.append((first, count, np.array(taps, np.int64), np.array(offsets, np.int64)))
    return phases


def conv2d_weight_gradient(
    g: Array,
    x: Array,
    weight_shape: tuple[int, int, int, int],
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    groups: int,
) -> Array:
    """See `lucid.kernels.reference.conv.conv2d_weight_gradient`."""
    if g.dtype != np.float32 or x.dtype != np.float32:
        return reference.conv2d_weight_gradient(
            g, x, weight_shape, stride, padding, dilation, groups
        )
    o, c, kh, kw = weight_shape
    if not g.size or not x.size:
        return np.zeros((o, kh, kw, c), np.float32).transpose(0, 3, 1, 2)
    source, gradient = nhwc(x), nhwc(g)
    (top, _), (left, _) = padding
    if x.shape[1] == o == groups:
        options = (stride, (top, left), dilation)
        gw = depthwise_weight_gradient(gradient, source, (kh, kw), *options)
        return gw.transpose(0, 3, 1, 2)
    merged = groups == 1 and c < _FEW_CHANNELS and dilation[1] == 1 and kw > 1
    length = kw * c if merged else c
    use_amx = _use_amx(length, o, groups)
    if _suits_winograd(
        (kh, kw), stride, dilation, groups
    ) and winograd_weight_gradient.is_profitable(len(g), gradient.shape[1:3], c, _whole_vectors(o)):
        gradient = _with_zeros(gradient)
        gw = winograd_weight_gradient.winograd_weight_gradient(gradient, source, top, left)[:o]
        return gw.reshape(o, kh, kw, c).transpose(0, 3, 1, 2)
    rows = np.arange(kh) * dilation[0] - top
    columns = np.arange(kw) * dilation[1] - left
    one_line = groups == 1 and _is_pointwise((kh, kw), stride, padding)
    if one_line:  # all positions fill the blocks better than those of an image
        source, gradient = source.reshape(1, -1, 1, c), gradient.reshape(1, -1, 1, o)
    if merged:
        # A row of the window is one run of the padded image.
        source = pad_image(source, padding)
        rows, columns = rows + top, np.zeros(1, np.int64)
    fills = use_amx and fills_tiles(gradient.shape, rows, columns, stride, source.shape[2])
    if one_line and not fills:
        gw = pointwise_weight_gradient(gradient.reshape(-1, o), source.reshape(-1, c))
    else:
        summed = amx_weight_gradient if fills else weight_gradient
        gw = summed(gradient, source, rows, columns, stride, length, groups)
    return gw.reshape(o, kh, kw, c).transpose(0, 3, 1, 2)
