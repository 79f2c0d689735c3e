"""Kernels: functions from arrays to arrays that compute the operations.

Every kernel has a reference form in plain NumPy (:mod:`lucid.kernels.reference`), the oracle
of the tests, and a form compiled by Numba (:mod:`lucid.kernels.compiled`).  The compiled form
runs unless Numba is missing or ``LUCID_KERNELS=reference`` is set.  Numba is imported when
the first compiled kernel is called.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable
from typing import Any

from lucid.kernels import recording
from lucid.kernels.layout import channels_last, is_channels_last
from lucid.kernels.reference.activation import ACTIVATIONS
from lucid.kernels.threads import (
    get_num_threads,
    parallel_for,
    set_num_threads,
    single_threaded_blas,
)

__all__ = [
    "ACTIVATIONS",
    "KERNELS",
    "Kernel",
    "activation",
    "activation_backward",
    "adam",
    "add",
    "add_into",
    "affine_act",
    "affine_act_backward",
    "attention",
    "attention_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "channel_means",
    "channel_means_backward",
    "channel_shuffle",
    "channels_last",
    "compiled_in_use",
    "concatenate_channels",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "erf",
    "gemm",
    "get_num_threads",
    "is_channels_last",
    "layer_norm",
    "layer_norm_backward",
    "linear",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "nms",
    "parallel_for",
    "prepare_filters",
    "relu",
    "relu_backward",
    "resize_bilinear",
    "resize_bilinear_backward",
    "resize_nearest",
    "resize_nearest_backward",
    "roi_align",
    "roi_align_backward",
    "scale",
    "scale_channels",
    "scale_channels_backward",
    "set_num_threads",
    "sgd",
    "sigmoid_focal_loss",
    "single_threaded_blas",
    "squeeze_excitation",
    "sum_of_squares",
]


def compiled_in_use() -> bool:
    """Return whether kernels run in their compiled form in this process.

    Returns
    -------
    bool
        False if ``LUCID_KERNELS`` is ``reference``, or Numba is not installed or cannot be
        imported.

    Raises
    ------
    ValueError
        If ``LUCID_KERNELS`` is neither ``compiled`` nor ``reference``.
    """
    choice = os.environ.get("LUCID_KERNELS", "compiled")
    if choice not in ("compiled", "reference"):
        raise ValueError(f"expected LUCID_KERNELS=compiled or reference, got {choice!r}")
    return choice == "compiled" and _numba_works()


@functools.cache
def _numba_works() -> bool:
    """Return whether Numba can be used; warn if it is installed but cannot be imported."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        importlib.import_module("lucid.kernels.compiled.jit")
    except Exception as error:  # a Numba that does not fit NumPy or Python may raise anything
        warnings.warn(
            f"Numba cannot be used ({type(error).__name__}: {error}); kernels run in their "
            "slower NumPy form, set LUCID_KERNELS=reference to silence this warning",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return True


class Kernel:
    """A kernel, imported at its first call.

    Parameters
    ----------
    module : str
        Module of ``lucid.kernels.reference`` and of ``lucid.kernels.compiled``.
    name : str
        Name of the function in both modules.
    data : tuple of int, optional
        Positions of the array arguments that hold data, for kernels that compute by launches
        alone (``lucid.kernels.recording``).

    Attributes
    ----------
    reference, compiled : callable
        The NumPy form and the compiled form; they have the same signature.
    """

    def __init__(self, module: str, name: str, data: tuple[int, ...] | None = None) -> None:
        self.module = module
        self.name = name
        self.data = data
        self._chosen: Callable[..., Any] | None = None

    @property
    def reference(self) -> Callable[..., Any]:
        return self._form("reference")

    @property
    def compiled(self) -> Callable[..., Any]:
        return self._form("compiled")

    def _form(self, form: str) -> Callable[..., Any]:
        module = importlib.import_module(f"lucid.kernels.{form}.{self.module}")
        function: Callable[..., Any] = getattr(module, self.name)
        return function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._chosen is None:
            self._chosen = self.compiled if compiled_in_use() else self.reference
        if recording.active and (recorder := recording.current()) is not None:
            return recorder.call(self, self._chosen, args, kwargs)
        return self._chosen(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<kernel {self.module}.{self.name}>"


conv2d = Kernel("conv", "conv2d", data=(0, 7))
conv2d_input_gradient = Kernel("conv", "conv2d_input_gradient")
conv2d_weight_gradient = Kernel("conv", "conv2d_weight_gradient")
prepare_filters = Kernel("conv", "prepare_filters")
gemm = Kernel("gemm", "gemm")
erf = Kernel("elementwise", "erf")
add = Kernel("elementwise", "add")
add_into = Kernel("elementwise", "add_into", data=(0, 1))
relu = Kernel("elementwise", "relu", data=(0,))
relu_backward = Kernel("elementwise", "relu_backward")
activation = Kernel("activation", "activation", data=(0,))
activation_backward = Kernel("activation", "activation_backward")
max_pool2d = Kernel("pool", "max_pool2d", data=(0,))
max_pool2d_backward = Kernel("pool", "max_pool2d_backward")
avg_pool2d = Kernel("pool", "avg_pool2d", data=(0,))
avg_pool2d_backward = Kernel("pool", "avg_pool2d_backward")
batch_norm = Kernel("norm", "batch_norm")
batch_norm_backward = Kernel("norm", "batch_norm_backward")
layer_norm = Kernel("layer_norm", "layer_norm", data=(0,))
layer_norm_backward = Kernel("layer_norm", "layer_norm_backward")
affine_act = Kernel("norm", "affine_act")
affine_act_backward = Kernel("norm", "affine_act_backward")
# At most 64 images.
concatenate_channels = Kernel("channel_ops", "concatenate_channels", data=tuple(range(64)))
channel_shuffle = Kernel("channel_ops", "channel_shuffle", data=(0,))
resize_nearest = Kernel("resize", "resize_nearest", data=(0,))
resize_nearest_backward = Kernel("resize", "resize_nearest_backward")
resize_bilinear = Kernel("resize", "resize_bilinear")
resize_bilinear_backward = Kernel("resize", "resize_bilinear_backward")
roi_align = Kernel("roi_align", "roi_align")
roi_align_backward = Kernel("roi_align", "roi_align_backward")
nms = Kernel("nms", "nms")
linear = Kernel("linear", "linear", data=(0,))
channel_means = Kernel("squeeze_excitation", "channel_means", data=(0,))
channel_means_backward = Kernel("squeeze_excitation", "channel_means_backward")
scale_channels = Kernel("squeeze_excitation", "scale_channels")
scale_channels_backward = Kernel("squeeze_excitation", "scale_channels_backward")
squeeze_excitation = Kernel("squeeze_excitation", "squeeze_excitation", data=(0,))
matmul = Kernel("matmul", "matmul")
attention = Kernel("attention", "attention")
attention_backward = Kernel("attention", "attention_backward")
sigmoid_focal_loss = Kernel("focal_loss", "sigmoid_focal_loss")
sgd = Kernel("optimizer", "sgd")
adam = Kernel("optimizer", "adam")
sum_of_squares = Kernel("optimizer", "sum_of_squares")
scale = Kernel("optimizer", "scale")

#: All kernels.
KERNELS = tuple(value for value in list(globals().values()) if isinstance(value, Kernel))
