"""PyTorch objects in a pickle: tensors, storages and dtypes.

``torch.save`` writes a tensor as a call of ``torch._utils._rebuild_tensor_v2`` with a storage
(a persistent id), and offset, sizes and strides in elements.  Such calls become records; all
other objects become :class:`OpaqueObject` placeholders.  Nothing is imported or run.  Globals
that only an attack needs are rejected, because other programs would run them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.weights.format_checks import MalformedError
from lucid.weights.pickle_objects import GlobalName, OpaqueObject, PickledDict, TensorLike

__all__ = ["Storage", "TensorRecord", "TorchDtype", "TorchResolver", "UnsupportedTensor"]


@dataclass(frozen=True, slots=True)
class TorchDtype:
    """PyTorch dtype; ``numpy_dtype`` is little-endian, None if unsupported."""

    name: str
    itemsize: int
    numpy_dtype: np.dtype[Any] | None = None

    @property
    def is_bfloat16(self) -> bool:
        """Whether values are bfloat16, the upper halves of float32."""
        return self.name == "bfloat16"


_SUPPORTED_DTYPES = [
    TorchDtype("bfloat16", 2, np.dtype("<u2")),
    *(
        TorchDtype(name, np.dtype(name).itemsize, np.dtype(name).newbyteorder("<"))
        for name in (
            *("float64", "float32", "float16", "int64", "int32", "int16", "int8"),
            *("uint64", "uint32", "uint16", "uint8", "bool"),
        )
    ),
]
#: Ignored next to the state dict, rejected in it.
_UNSUPPORTED_DTYPES = [
    TorchDtype("complex128", 16),
    TorchDtype("complex64", 8),
    TorchDtype("complex32", 4),
    TorchDtype("qint32", 4),
    *(TorchDtype(name, 1) for name in ("qint8", "quint8", "quint4x2", "quint2x4")),
    *(TorchDtype(f"float8_{kind}", 1) for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")),
    TorchDtype("float8_e8m0fnu", 1),
]
_DTYPES = {
    GlobalName("torch", dtype.name): dtype for dtype in (*_SUPPORTED_DTYPES, *_UNSUPPORTED_DTYPES)
}
_BYTES = TorchDtype("bytes", 1)
_STORAGES = {
    GlobalName("torch", f"{kind}Storage"): _DTYPES[GlobalName("torch", name)]
    for kind, name in (
        *(("Double", "float64"), ("Float", "float32"), ("Half", "float16")),
        *(("BFloat16", "bfloat16"), ("Bool", "bool"), ("Byte", "uint8"), ("Char", "int8")),
        *(("Long", "int64"), ("Int", "int32"), ("Short", "int16")),
        *(("ComplexDouble", "complex128"), ("ComplexFloat", "complex64")),
        *((kind, kind.lower()) for kind in ("QInt32", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4")),
    )
} | {
    GlobalName("torch.storage", "UntypedStorage"): _BYTES,
    GlobalName("torch", "UntypedStorage"): _BYTES,
}

_DICTS = {
    GlobalName("builtins", "dict"),
    GlobalName("collections", "Counter"),
    GlobalName("collections", "OrderedDict"),
    GlobalName("collections", "defaultdict"),
}
_TENSORS = {
    GlobalName("torch._utils", name): 4 for name in ("_rebuild_tensor", "_rebuild_tensor_v2")
}
_TENSOR_OF_TYPE = GlobalName("torch._utils", "_rebuild_tensor_v3")
_PARAMETERS = {
    GlobalName("torch._utils", "_rebuild_parameter"),
    GlobalName("torch._utils", "_rebuild_parameter_with_state"),
    GlobalName("torch.nn.parameter", "Parameter"),
}
_WITH_ATTRIBUTES = GlobalName("torch._tensor", "_rebuild_from_type_v2")
_TENSOR_TYPES = {
    GlobalName("torch", "Tensor"),
    GlobalName("torch.nn.parameter", "Parameter"),
    GlobalName("torch.nn.parameter", "Buffer"),
}
_REBUILDERS = {*_TENSORS, _TENSOR_OF_TYPE, *_PARAMETERS, _WITH_ATTRIBUTES}
_DEVICE = "a tensor of another device; move it to the CPU before saving"
_SUBCLASS = "a tensor subclass; convert it to torch.Tensor before saving"
_NEGATED = "a conjugated or negated view; call resolve_conj().resolve_neg() before saving"
#: Rebuild functions of unsupported tensors, with a description.
_UNSUPPORTED = {
    GlobalName("torch._utils", f"_rebuild_{name}"): what
    for name, what in {
        "device_tensor_from_cpu_tensor": _DEVICE,
        "device_tensor_from_numpy": _DEVICE,
        "meta_tensor_no_storage": "a tensor on the meta device, which has no values",
        "nested_tensor": "a nested tensor; call to_padded_tensor() before saving",
        "qtensor": "a quantized tensor; call dequantize() before saving",
        "sparse_csr_tensor": "a sparse tensor; call to_dense() before saving",
        "sparse_tensor": "a sparse tensor; call to_dense() before saving",
        "wrapper_subclass": _SUBCLASS,
    }.items()
}
#: Globals that run commands or code in Python's unpickler.
_FORBIDDEN_GLOBALS = {
    GlobalName("builtins", name)
    for name in ("__import__", "breakpoint", "compile", "eval", "exec", "input", "open")
}
_FORBIDDEN_MODULES = {
    *("_pickle", "_posixsubprocess", "ctypes", "importlib", "marshal", "nt", "os", "pickle"),
    *("posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys", "webbrowser"),
}
#: Globals that ``torch.save`` uses as values and never calls.
_NEVER_CALLED = {*_DTYPES, *_STORAGES, *_TENSOR_TYPES} - _PARAMETERS


@dataclass(frozen=True, slots=True)
class Storage:
    """Storage of ``total`` elements in the file, or the view of ``count`` from ``start``.

    The dtype of an untyped storage is bytes.
    """

    key: str
    dtype: TorchDtype
    total: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord(TensorLike):
    """Unchecked arguments of a rebuild call."""

    storage: Any
    dtype: Any
    offset: Any
    shape: Any
    strides: Any


@dataclass(frozen=True, slots=True)
class UnsupportedTensor(TensorLike):
    """Unsupported tensor with a description."""

    what: str


class TorchResolver:
    """Resolver for PyTorch checkpoints; collects the referenced storages by key."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def check_global(self, name: GlobalName) -> None:
        if name in _FORBIDDEN_GLOBALS or name.module in _FORBIDDEN_MODULES:
            raise MalformedError(
                f"has the global {str(name)!r:.120}, which an ordinary unpickler would run; "
                "nothing was run. No tensor checkpoint needs it: do not load this file with "
                "other programs"
            )

    def call(self, function: GlobalName, arguments: tuple[Any, ...], keywords: bool) -> Any:
        if function in _REBUILDERS and not keywords:
            return _rebuilt(function, arguments)
        if function in _UNSUPPORTED:
            return UnsupportedTensor(_UNSUPPORTED[function])
        if function in _DICTS and not keywords:
            return _called_dict(arguments)
        if function in _NEVER_CALLED or function in _REBUILDERS:
            raise _unexpected_call(function)
        return OpaqueObject(function, arguments)

    def persistent_load(self, identity: Any) -> Storage | GlobalName:
        if isinstance(identity, tuple) and len(identity) == 4:
            # ("module", class, file, source): module classes in the legacy format.
            kind, named = identity[:2]
            if isinstance(kind, str) and kind == "module" and isinstance(named, GlobalName):
                return named
        # ("storage", class, key, device, count), and a view in the legacy format.
        if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6:
            raise MalformedError("has a persistent id that is not a storage")
        kind, storage_class, key, _, total = identity[:5]
        part = identity[5] if len(identity) == 6 else None
        dtype = _STORAGES.get(storage_class) if isinstance(storage_class, GlobalName) else None
        if (
            not (isinstance(kind, str) and kind == "storage")
            or dtype is None
            or not isinstance(key, str)
            or not _is_count(total)
        ):
            raise MalformedError("has a persistent id that is not a storage")
        start, count = 0, total
        if part is not None:
            if not isinstance(part, tuple) or len(part) != 3 or not all(map(_is_count, part[1:])):
                raise MalformedError(f"has an invalid view of storage {key!r:.80}")
            start, count = part[1:]
        if start + count > total:
            raise MalformedError(f"has a view beyond the end of storage {key!r:.80}")
        storage = Storage(key, dtype, total, start, count)
        first = self.storages.setdefault(key, storage)
        if (first.dtype.itemsize, first.total) != (dtype.itemsize, total):
            raise MalformedError(f"has inconsistent sizes for storage {key!r:.80}")
        return storage


def _rebuilt(function: GlobalName, arguments: tuple[Any, ...]) -> TensorLike:
    """Return the tensor record for a rebuild call."""
    if function == _WITH_ATTRIBUTES:
        inner = _without_attributes(arguments)
        if inner is None:
            return UnsupportedTensor(_SUBCLASS)
        function, arguments = inner
    if function in _TENSORS and len(arguments) >= 4:
        storage = arguments[0]
        dtype = storage.dtype if isinstance(storage, Storage) else None
        metadata = arguments[6] if len(arguments) > 6 else None
        if isinstance(metadata, PickledDict) and metadata.entries.keys() & {"conj", "neg"}:
            return UnsupportedTensor(_NEGATED)
        return TensorRecord(storage, dtype, *arguments[1:4])
    if function == _TENSOR_OF_TYPE and len(arguments) >= 7:
        named = arguments[6]
        dtype = _DTYPES.get(named) if isinstance(named, GlobalName) else None
        return TensorRecord(arguments[0], dtype, *arguments[1:4])
    if function in _PARAMETERS and arguments and isinstance(arguments[0], TensorLike):
        return arguments[0]
    raise _unexpected_call(function)


def _unexpected_call(function: GlobalName) -> MalformedError:
    return MalformedError(f"calls {str(function)!r:.120} with unexpected arguments")


def _called_dict(arguments: tuple[Any, ...]) -> PickledDict:
    """Return a new dict; Python 2 passed the items as a list of pairs."""
    result = PickledDict()
    pairs = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise MalformedError("the pickle is damaged: dict items are not pairs")
        result.add(*pair)
    return result


def _without_attributes(arguments: tuple[Any, ...]) -> tuple[GlobalName, tuple[Any, ...]] | None:
    """Return the plain rebuild call of a tensor with attributes; None for a subclass."""
    if len(arguments) >= 3:
        function, kind, inner = arguments[:3]
        if (
            isinstance(function, GlobalName)
            and function in _REBUILDERS - {_WITH_ATTRIBUTES}
            and isinstance(kind, GlobalName)
            and kind in _TENSOR_TYPES
            and isinstance(inner, tuple)
        ):
            return function, inner
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
