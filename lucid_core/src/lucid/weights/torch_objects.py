"""What PyTorch puts into a pickle: tensors as views of storages, in dicts by name.

``torch.save`` writes a tensor as a call of ``torch._utils._rebuild_tensor_v2`` with
a storage, an offset, sizes and strides in elements; the storage stands elsewhere
in the file and is referred to by a persistent identity.  Here the calls become
records of their arguments, and names that belong to no such record are refused,
so that a file with more in it than data is said to have more in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.weights.entries import MalformedError
from lucid.weights.pickled import Named, Opaque, PickledDict, kind_of

__all__ = ["Element", "Storage", "TensorRecord", "TorchWorld", "state_dict_of"]


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
#: Plain data that stands beside state dicts: the arguments of a training, numbers of
#: NumPy, dates.  Nothing is made of them.
_DATA = {
    Named(module, name)
    for module, names in {
        "_codecs": "encode",
        "argparse": "Namespace",
        "builtins": "bytearray complex frozenset list range set slice",
        "collections": "deque",
        "datetime": "date datetime time timedelta timezone",
        "numpy": "dtype ndarray",
        "numpy._core.multiarray": "_reconstruct scalar",
        "numpy._core.numeric": "_frombuffer",
        "numpy.core.multiarray": "_reconstruct scalar",
        "numpy.core.numeric": "_frombuffer",
        "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
        "torch": "Size device memory_format",
        "torch.serialization": "_get_layout",
        "types": "SimpleNamespace",
    }.items()
    for name in names.split()
}
_KNOWN = {*_ELEMENTS, *_STORAGES, *_DICTS, *_REBUILDERS, *_TENSOR_TYPES, *_DATA}

#: Where checkpoints of trainings keep the state dict.
_NESTED = ("state_dict", "model_state_dict", "model")


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
class TensorRecord:
    """A tensor as a pickle describes it; nothing of it is checked yet."""

    storage: Any
    element: Any
    offset: Any
    shape: Any
    strides: Any


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
        if name not in _KNOWN:
            raise MalformedError(
                f"names {str(name)!r:.120}, which is no part of a state dict; nothing was run. "
                "Where the file comes from, save the weights alone: "
                "torch.save(model.state_dict(), path)"
            )

    def called(self, function: Named, arguments: tuple[Any, ...]) -> Any:
        if function in _DICTS:
            return _called_dict(arguments)
        if function in _DATA:
            return Opaque()
        if function == _WITH_ATTRIBUTES:
            function, arguments = _without_attributes(arguments)
        if function in _TENSORS and len(arguments) >= 4:
            storage = arguments[0]
            element = storage.element if isinstance(storage, Storage) else None
            return TensorRecord(storage, element, *arguments[1:4])
        if function == _TENSOR_OF_TYPE and len(arguments) >= 7:
            named = arguments[6]
            element = _ELEMENTS.get(named) if isinstance(named, Named) else None
            return TensorRecord(arguments[0], element, *arguments[1:4])
        if function in _PARAMETERS and arguments and isinstance(arguments[0], TensorRecord):
            return arguments[0]
        raise MalformedError(f"calls {str(function)!r:.120} in a way that no checkpoint does")

    def stored(self, identity: Any) -> Storage:
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


def state_dict_of(value: Any) -> dict[str, TensorRecord]:
    """The tensors by name in what was pickled: at the top, or where trainings keep them.

    Raises
    ------
    MalformedError
        If there are none, or more than one state dict.
    """
    if not isinstance(value, PickledDict):
        raise MalformedError(f"expected a state dict, tensors by name; it holds {kind_of(value)}")
    nested = {key: _tensors(value.entries.get(key)) for key in _NESTED}
    found = {key: tensors for key, tensors in nested.items() if tensors}
    if len(found) > 1:
        raise MalformedError(f"holds several state dicts, under {' and '.join(map(repr, found))}")
    if found:
        return next(iter(found.values()))
    tensors = _tensors(value)
    if not tensors and (value.entries or value.others):
        keys = ", ".join(repr(key)[:40] for key in list(value.entries)[:8]) or "no text"
        raise MalformedError(
            "expected tensors by name, at the top or under "
            f"{', '.join(map(repr, _NESTED))}; the keys at the top are {keys}"
        )
    return tensors


def _tensors(value: Any) -> dict[str, TensorRecord]:
    """The tensors in a dict; numbers, text and whatever else stands there is passed over."""
    if not isinstance(value, PickledDict):
        return {}
    return {key: entry for key, entry in value.entries.items() if isinstance(entry, TensorRecord)}


def _called_dict(arguments: tuple[Any, ...]) -> PickledDict:
    """A new dict; Python 2 gave its entries as a list of lists of two."""
    result = PickledDict()
    pairs = arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else []
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise MalformedError("the pickle is damaged: a dict is made of what are no pairs")
        result.add(*pair)
    return result


def _without_attributes(arguments: tuple[Any, ...]) -> tuple[Named, tuple[Any, ...]]:
    """The plain call within that of a tensor that has a type or attributes of its own."""
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
    raise MalformedError("holds a tensor of a class of its own, which is not read")


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0
