"""Database of public operations and layers, as PyTorch's ``op_db``.

Tests of all operations iterate over :data:`OP_DB`; ``test_public_ops`` checks that it is
complete.
"""

from __future__ import annotations

from collections.abc import Iterator

from op_db_functions import OPERATIONS
from op_db_layers import FUNCTIONS, LAYERS, LOSSES
from op_db_tensors import ALIKE, METHODS, OPERATORS

import lucid
from lucid import nn
from lucid.nn import functional

__all__ = ["NOT_OPERATIONS", "OP_DB", "public_names"]

_ALL = [*OPERATIONS, *FUNCTIONS, *LOSSES, *LAYERS, *ALIKE, *METHODS, *OPERATORS]
OP_DB = {op.key: op for op in _ALL}
assert len(OP_DB) == len(_ALL), "duplicate key"

#: Public names that are not in the database, with the reason.
NOT_OPERATIONS = {
    **dict.fromkeys(
        ("lucid.arange", "lucid.empty", "lucid.eye", "lucid.full", "lucid.linspace", "lucid.ones",
         "lucid.zeros"),
        "creates a tensor from numbers",
    ),
    **dict.fromkeys(
        ("lucid.LucidError", "lucid.MissingPackageError", "lucid.PluginError",
         "lucid.PluginWarning", "lucid.ProtocolError", "lucid.StateDictError",
         "lucid.UnknownModelError", "lucid.UnknownWeightsError", "lucid.WeightFileError",
         "lucid.WeightFileWarning", "lucid.WeightsDownloadError"),
        "is an exception",
    ),
    **dict.fromkeys(
        ("lucid.enable_grad", "lucid.is_grad_enabled", "lucid.no_grad", "lucid.set_grad_enabled"),
        "switches recording",
    ),
    **dict.fromkeys(("lucid.get_num_threads", "lucid.set_num_threads"), "counts threads"),
    **dict.fromkeys(
        ("lucid.load", "lucid.load_model", "lucid.save", "lucid.save_model"),
        "reads or writes files",
    ),
    **dict.fromkeys(("lucid.hookimpl", "lucid.hookspec"), "marks hooks of plugins"),
    "lucid.Tensor": "is the tensor class",
    **dict.fromkeys(
        ("Tensor.dtype", "Tensor.ndim", "Tensor.shape", "Tensor.size", "Tensor.is_leaf",
         "Tensor.mark_changed", "Tensor.requires_grad", "Tensor.requires_grad_",
         "Tensor.__len__", "Tensor.__hash__"),
        "reads or sets metadata of the tensor",
    ),
    **dict.fromkeys(
        ("Tensor.data", "Tensor.numpy", "Tensor.item", "Tensor.tolist", "Tensor.__array__",
         "Tensor.__array_function__", "Tensor.__array_ufunc__", "Tensor.__dlpack__",
         "Tensor.__dlpack_device__", "Tensor.__bool__", "Tensor.__int__", "Tensor.__float__",
         "Tensor.__index__", "Tensor.__contains__", "Tensor.__format__", "Tensor.__repr__"),
        "returns no tensor; tests/core/test_tensor.py",
    ),
    **dict.fromkeys(
        ("Tensor.__init__", "Tensor.__reduce__", "Tensor.__deepcopy__"),
        "creates or copies the tensor; tests/core/test_tensor.py",
    ),
    "Tensor.__getattr__": "raises with a hint; tests/core/test_hints.py",
    **dict.fromkeys(
        ("Tensor.__setitem__", "Tensor.__iadd__", "Tensor.__isub__", "Tensor.__imul__",
         "Tensor.__itruediv__", "Tensor.__ifloordiv__", "Tensor.__imod__", "Tensor.__ipow__",
         "Tensor.__imatmul__", "Tensor.__iand__", "Tensor.__ior__", "Tensor.__ixor__"),
        "writes to the tensor; tests/core/ops/test_inplace.py",
    ),
    **dict.fromkeys(("Tensor.backward", "Tensor.grad"), "differentiates; tests/core/autograd"),
    "Tensor.float": "always gives float32",
    **dict.fromkeys(("nn.Module", "nn.Parameter"), "is a base class"),
    **dict.fromkeys(("nn.ModuleDict", "nn.ModuleList"), "is a container"),
    **dict.fromkeys(("nn.LoadResult", "nn.RemovableHandle", "nn.SGD"), "is not a layer"),
}  # fmt: skip

#: Class attributes that Python adds.
_CLASS_ATTRIBUTES = {"__module__", "__doc__", "__slots__", "__annotations__", "__firstlineno__",
            "__static_attributes__"}  # fmt: skip


def public_names() -> Iterator[str]:
    """Yield every public name that could be an operation or a layer, each function once."""
    seen = set()
    for name in lucid.__all__:
        value = getattr(lucid, name)
        if callable(value):
            seen.add(id(value))
            yield f"lucid.{name}"
    for name in functional.__all__:
        if id(getattr(functional, name)) not in seen:
            yield f"functional.{name}"
    for name in vars(lucid.Tensor):
        if name not in _CLASS_ATTRIBUTES and (name.startswith("__") or not name.startswith("_")):
            yield f"Tensor.{name}"
    for name in nn.__all__:
        if callable(getattr(nn, name)):
            yield f"nn.{name}"
