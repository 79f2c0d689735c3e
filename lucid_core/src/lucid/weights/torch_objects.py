"""What PyTorch puts into a pickle: tensors as views of storages, in dicts by name.

``torch.save`` writes a tensor as a call of ``torch._utils._rebuild_tensor_v2`` with
a storage, an offset, sizes and strides in elements; the storage stands elsewhere
in the file and is referred to by a persistent identity.  Here those calls become
records of their arguments.  Every other object becomes an :class:`Opaque` placeholder:
nothing is run or imported.  Names that only an attack needs are refused all the same,
because other programs that load the file would run them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.weights.entries import MalformedError
from lucid.weights.pickled import Named, Opaque, PickledDict, Tensorlike

__all__ = ["Element", "Storage", "TensorRecord", "TorchWorld", "UnreadTensor"]


@dataclass(frozen=True, slots=True)
class Element:
    """An element type of PyTorch.

    Attributes
    ----------
    name : str
        PyTorch's name of it.
    size : int
        Bytes of one.
    dtype : numpy.dtype or None
        How it is read, little-endian; None if there is no such type here.
    """

    name: str
    size: int
    dtype: np.dtype[Any] | None = None

    @property
    def is_bfloat16(self) -> bool:
        """Whether what is read are the upper halves of float32."""
        return self.name == "bfloat16"


def _element(name: str, code: str) -> Element:
    dtype = np.dtype(code)
    return Element(name, dtype.itemsize, dtype)


_READ = [
    _element("float64", "<f8"),
    _element("float32", "<f4"),
    _element("float16", "<f2"),
    _element("bfloat16", "<u2"),
    _element("int64", "<i8"),
    _element("int32", "<i4"),
    _element("int16", "<i2"),
    _element("int8", "i1"),
    _element("uint64", "<u8"),
    _element("uint32", "<u4"),
    _element("uint16", "<u2"),
    _element("uint8", "u1"),
    _element("bool", "?"),
]
#: These may stand beside the state dict; in it they are refused.
_PASSED_OVER = [
    Element("complex128", 16),
    Element("complex64", 8),
    Element("complex32", 4),
    Element("qint32", 4),
    Element("qint8", 1),
    Element("quint8", 1),
    Element("quint4x2", 1),
    Element("quint2x4", 1),
    *(Element(f"float8_{kind}", 1) for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz")),
    Element("float8_e8m0fnu", 1),
]
_ELEMENTS = {Named("torch", element.name): element for element in (*_READ, *_PASSED_OVER)}
_BYTES = Element("bytes", 1)
_STORAGES = {
    Named("torch", f"{kind}Storage"): _ELEMENTS[Named("torch", name)]
    for kind, name in {
        "Double": "float64",
        "Float": "float32",
        "Half": "float16",
        "BFloat16": "bfloat16",
        "Long": "int64",
        "Int": "int32",
        "Short": "int16",
        "Char": "int8",
        "Byte": "uint8",
        "Bool": "bool",
        "ComplexDouble": "complex128",
        "ComplexFloat": "complex64",
        "QInt32": "qint32",
        "QInt8": "qint8",
        "QUInt8": "quint8",
        "QUInt4x2": "quint4x2",
        "QUInt2x4": "quint2x4",
    }.items()
} | {
    Named("torch.storage", "UntypedStorage"): _BYTES,
    Named("torch", "UntypedStorage"): _BYTES,
}

_DICTS = {
    Named("builtins", "dict"),
    Named("collections", "Counter"),
    Named("collections", "OrderedDict"),
    Named("collections", "defaultdict"),
}
_TENSORS = {Named("torch._utils", name): 4 for name in ("_rebuild_tensor", "_rebuild_tensor_v2")}
_TENSOR_OF_TYPE = Named("torch._utils", "_rebuild_tensor_v3")
_PARAMETERS = {
    Named("torch._utils", "_rebuild_parameter"),
    Named("torch._utils", "_rebuild_parameter_with_state"),
    Named("torch.nn.parameter", "Parameter"),
}
_WITH_ATTRIBUTES = Named("torch._tensor", "_rebuild_from_type_v2")
_TENSOR_TYPES = {
    Named("torch", "Tensor"),
    Named("torch.nn.parameter", "Parameter"),
    Named("torch.nn.parameter", "Buffer"),
}
_REBUILDERS = {*_TENSORS, _TENSOR_OF_TYPE, *_PARAMETERS, _WITH_ATTRIBUTES}
_ELSEWHERE = "a tensor of another device; move it to the CPU before saving"
_SUBCLASS = "a tensor of a class of its own; convert it to torch.Tensor before saving"
_NEGATED = "a conjugated or negated view; call resolve_conj().resolve_neg() before saving"
#: Tensors that are not plain views of a storage, and what they are.
_UNREAD = {
    Named("torch._utils", f"_rebuild_{name}"): what
    for name, what in {
        "device_tensor_from_cpu_tensor": _ELSEWHERE,
        "device_tensor_from_numpy": _ELSEWHERE,
        "meta_tensor_no_storage": "a tensor on the meta device, which has no values",
        "nested_tensor": "a nested tensor; call to_padded_tensor() before saving",
        "qtensor": "a quantized tensor; call dequantize() before saving",
        "sparse_csr_tensor": "a sparse tensor; call to_dense() before saving",
        "sparse_tensor": "a sparse tensor; call to_dense() before saving",
        "wrapper_subclass": _SUBCLASS,
    }.items()
}
#: What runs commands or code when Python's own unpickler reads it.
_ATTACKS = {
    Named("builtins", name)
    for name in ("__import__", "breakpoint", "compile", "eval", "exec", "input", "open")
}
_ATTACK_MODULES = {
    *("_pickle", "_posixsubprocess", "ctypes", "importlib", "marshal", "nt", "os", "pickle"),
    *("posix", "pty", "runpy", "shutil", "socket", "subprocess", "sys", "webbrowser"),
}
#: Callables of which a known name is nothing but a value, never called by ``torch.save``.
_NEVER_CALLED = {*_ELEMENTS, *_STORAGES, *_TENSOR_TYPES} - _PARAMETERS


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that stand elsewhere in the file.

    Attributes
    ----------
    key : str
        The name they stand under.
    element : Element
        What they are; bytes of anything in an untyped storage.
    total : int
        How many there are under that name.
    start, count : int
        Which of them are this storage.
    """

    key: str
    element: Element
    total: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class TensorRecord(Tensorlike):
    """A tensor as a pickle describes it; nothing of it is checked yet."""

    storage: Any
    element: Any
    offset: Any
    shape: Any
    strides: Any


@dataclass(frozen=True, slots=True)
class UnreadTensor(Tensorlike):
    """A tensor that cannot be read here, and what it is."""

    what: str


class TorchWorld:
    """What names in a checkpoint mean; a :class:`lucid.weights.pickled.World`.

    Attributes
    ----------
    storages : dict
        The storages that were referred to, by key.
    """

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}

    def named(self, name: Named) -> None:
        if name in _ATTACKS or name.module in _ATTACK_MODULES:
            raise MalformedError(
                f"names {str(name)!r:.120}, which programs that trust the file would run; nothing "
                "was run here. No checkpoint of tensors needs it: do not load this file elsewhere"
            )

    def called(self, function: Named, arguments: tuple[Any, ...], keywords: bool) -> Any:
        if function in _REBUILDERS and not keywords:
            return _rebuilt(function, arguments)
        if function in _UNREAD:
            return UnreadTensor(_UNREAD[function])
        if function in _DICTS and not keywords:
            return _called_dict(arguments)
        if function in _NEVER_CALLED or function in _REBUILDERS:
            raise _odd_call(function)
        return Opaque(function, arguments)

    def stored(self, identity: Any) -> Storage | Named:
        if isinstance(identity, tuple) and len(identity) == 4:
            # ("module", class, file, source): classes of modules in the older format.
            kind, named = identity[:2]
            if isinstance(kind, str) and kind == "module" and isinstance(named, Named):
                return named
        # ("storage", class, key, device, count), and in the older format which part of it.
        if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6:
            raise MalformedError("refers to something outside of the pickle that is no storage")
        kind, storage_class, key, _, total = identity[:5]
        part = identity[5] if len(identity) == 6 else None
        element = _STORAGES.get(storage_class) if isinstance(storage_class, Named) else None
        if (
            not (isinstance(kind, str) and kind == "storage")
            or element is None
            or not isinstance(key, str)
            or not _is_count(total)
        ):
            raise MalformedError("refers to something outside of the pickle that is no storage")
        start, count = 0, total
        if part is not None:
            if not isinstance(part, tuple) or len(part) != 3 or not all(map(_is_count, part[1:])):
                raise MalformedError(f"describes a part of storage {key!r:.80} in an unknown way")
            start, count = part[1:]
        if start + count > total:
            raise MalformedError(f"refers to more of storage {key!r:.80} than it declares")
        storage = Storage(key, element, total, start, count)
        first = self.storages.setdefault(key, storage)
        if (first.element.size, first.total) != (element.size, total):
            raise MalformedError(f"contradicts itself about the size of storage {key!r:.80}")
        return storage


def _rebuilt(function: Named, arguments: tuple[Any, ...]) -> Tensorlike:
    """The tensor that a call of PyTorch's describes."""
    if function == _WITH_ATTRIBUTES:
        inner = _without_attributes(arguments)
        if inner is None:
            return UnreadTensor(_SUBCLASS)
        function, arguments = inner
    if function in _TENSORS and len(arguments) >= 4:
        storage = arguments[0]
        element = storage.element if isinstance(storage, Storage) else None
        metadata = arguments[6] if len(arguments) > 6 else None
        if isinstance(metadata, PickledDict) and metadata.entries.keys() & {"conj", "neg"}:
            return UnreadTensor(_NEGATED)
        return TensorRecord(storage, element, *arguments[1:4])
    if function == _TENSOR_OF_TYPE and len(arguments) >= 7:
        named = arguments[6]
        element = _ELEMENTS.get(named) if isinstance(named, Named) else None
        return TensorRecord(arguments[0], element, *arguments[1:4])
    if function in _PARAMETERS and arguments and isinstance(arguments[0], Tensorlike):
        return arguments[0]
    raise _odd_call(function)


def _odd_call(function: Named) -> MalformedError:
    return MalformedError(f"calls {str(function)!r:.120} in a way that no checkpoint does")


def _called_dict(arguments: tuple[Any, ...]) -> PickledDict:
    """A new dict; Python 2 gave its entries as a list of lists of two."""
    result = PickledDict()
    pairs = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise MalformedError("the pickle is damaged: a dict is made of what are no pairs")
        result.add(*pair)
    return result


def _without_attributes(arguments: tuple[Any, ...]) -> tuple[Named, tuple[Any, ...]] | None:
    """The plain call within that of a tensor with attributes; None for a subclass."""
    if len(arguments) >= 3:
        function, kind, inner = arguments[:3]
        if (
            isinstance(function, Named)
            and function in _REBUILDERS - {_WITH_ATTRIBUTES}
            and isinstance(kind, Named)
            and kind in _TENSOR_TYPES
            and isinstance(inner, tuple)
        ):
            return function, inner
    return None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
