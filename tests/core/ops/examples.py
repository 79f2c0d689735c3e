"""At least one example call of everything public that computes tensors from tensors.

The tests that walk over all of Lucid iterate over :data:`EXAMPLES`; a test of the
table itself says which public names are in it and why the others are not.
"""

from __future__ import annotations

from collections.abc import Iterator

from examples_of_layers import FUNCTIONS, LAYERS, LOSSES
from examples_of_operations import OPERATIONS
from examples_of_tensors import ALIKE, METHODS, OPERATORS

import lucid
from lucid import nn
from lucid.nn import functional

__all__ = ["EXAMPLES", "NOT_OPERATIONS", "public_names"]

_ALL = [*OPERATIONS, *FUNCTIONS, *LOSSES, *LAYERS, *ALIKE, *METHODS, *OPERATORS]
EXAMPLES = {example.key: example for example in _ALL}
assert len(EXAMPLES) == len(_ALL), "two examples have one key"

#: Public names that compute no tensors from tensors, each with what it does instead.
NOT_OPERATIONS = {
    **dict.fromkeys(
        ("lucid.arange", "lucid.empty", "lucid.eye", "lucid.full", "lucid.linspace", "lucid.ones",
         "lucid.zeros"),
        "makes a tensor from numbers",
    ),
    **dict.fromkeys(
        ("lucid.LucidError", "lucid.MissingPackageError", "lucid.PluginError",
         "lucid.PluginWarning", "lucid.ProtocolError", "lucid.StateDictError",
         "lucid.UnknownModelError", "lucid.WeightFileError", "lucid.WeightFileWarning"),
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
    "lucid.Tensor": "is the class of all of them",
    **dict.fromkeys(
        ("Tensor.dtype", "Tensor.ndim", "Tensor.shape", "Tensor.size", "Tensor.is_leaf",
         "Tensor.mark_changed", "Tensor.requires_grad", "Tensor.requires_grad_",
         "Tensor.__len__", "Tensor.__hash__"),
        "says or sets what the tensor is, not what it holds",
    ),
    **dict.fromkeys(
        ("Tensor.data", "Tensor.numpy", "Tensor.item", "Tensor.tolist", "Tensor.__array__",
         "Tensor.__array_function__", "Tensor.__array_ufunc__", "Tensor.__dlpack__",
         "Tensor.__dlpack_device__", "Tensor.__bool__", "Tensor.__int__", "Tensor.__float__",
         "Tensor.__index__", "Tensor.__contains__", "Tensor.__format__", "Tensor.__repr__"),
        "leaves Lucid; tests/core/test_tensor.py",
    ),
    **dict.fromkeys(
        ("Tensor.__init__", "Tensor.__reduce__", "Tensor.__deepcopy__"),
        "makes or copies the tensor; tests/core/test_tensor.py",
    ),
    "Tensor.__getattr__": "explains names that are missing; tests/core/test_hints.py",
    **dict.fromkeys(
        ("Tensor.__setitem__", "Tensor.__iadd__", "Tensor.__isub__", "Tensor.__imul__",
         "Tensor.__itruediv__", "Tensor.__ifloordiv__", "Tensor.__imod__", "Tensor.__ipow__",
         "Tensor.__imatmul__", "Tensor.__iand__", "Tensor.__ior__", "Tensor.__ixor__"),
        "writes into the tensor; tests/core/ops/test_inplace.py",
    ),
    **dict.fromkeys(("Tensor.backward", "Tensor.grad"), "differentiates; tests/core/autograd"),
    "Tensor.float": "always gives float32, which the walk holds to be the input's type",
    **dict.fromkeys(("nn.Module", "nn.Parameter"), "is a base class"),
    **dict.fromkeys(("nn.ModuleDict", "nn.ModuleList"), "holds modules and computes nothing"),
    **dict.fromkeys(("nn.LoadResult", "nn.RemovableHandle", "nn.SGD"), "is no layer"),
}  # fmt: skip

#: What a class has without Lucid's doing.
_PYTHONS = {"__module__", "__doc__", "__slots__", "__annotations__", "__firstlineno__",
            "__static_attributes__"}  # fmt: skip


def public_names() -> Iterator[str]:
    """Every public name that could be an operation or a layer; no function twice."""
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
        if name not in _PYTHONS and (name.startswith("__") or not name.startswith("_")):
            yield f"Tensor.{name}"
    for name in nn.__all__:
        if callable(getattr(nn, name)):
            yield f"nn.{name}"
