"""Lucid: tensors, automatic differentiation, neural networks and a model registry.

Subpackages (``nn``, ``optim``, ``models``, ``weights``, ...) are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lucid import random
from lucid.autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from lucid.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_dlpack,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from lucid.dtypes import (
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from lucid.errors import (
    LucidError,
    MissingPackageError,
    PluginError,
    PluginWarning,
    ProtocolError,
    StateDictError,
    UnknownModelError,
    UnknownWeightsError,
    WeightFileError,
    WeightFileWarning,
    WeightsDownloadError,
)
from lucid.hints import add_hints, attribute_error, install_import_hints
from lucid.kernels import get_num_threads, set_num_threads
from lucid.ops import *  # noqa: F403 - exactly ops.__all__
from lucid.ops import __all__ as _operations
from lucid.tensor import Tensor

if TYPE_CHECKING:
    from lucid import data, models, nn, optim, prediction, testing, training, vision, weights
    from lucid.models import hookimpl, hookspec
    from lucid.weights import load, load_model, save, save_model

__version__ = "0.2.0.dev0"

_SUBPACKAGES = (
    *("data", "models", "nn", "optim", "prediction", "testing", "training", "vision", "weights"),
)
_LAZY = {
    "hookimpl": "lucid.models",
    "hookspec": "lucid.models",
    "load": "lucid.weights",
    "load_model": "lucid.weights",
    "save": "lucid.weights",
    "save_model": "lucid.weights",
}

__all__ = [
    "LucidError",
    "MissingPackageError",
    "PluginError",
    "PluginWarning",
    "ProtocolError",
    "StateDictError",
    "Tensor",
    "UnknownModelError",
    "UnknownWeightsError",
    "WeightFileError",
    "WeightFileWarning",
    "WeightsDownloadError",
    "arange",
    "as_tensor",
    "bool_",
    "data",
    "empty",
    "empty_like",
    "enable_grad",
    "eye",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "full",
    "full_like",
    "get_num_threads",
    "hookimpl",
    "hookspec",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "linspace",
    "load",
    "load_model",
    "models",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "prediction",
    "random",
    "save",
    "save_model",
    "set_grad_enabled",
    "set_num_threads",
    "tensor",
    "testing",
    "training",
    "uint8",
    "vision",
    "weights",
    "zeros",
    "zeros_like",
    *_operations,
]

add_hints(globals())
install_import_hints()


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"lucid.{name}")
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise attribute_error("lucid", name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
