"""Safe unpickler: a stack machine for pickle opcodes that runs nothing.

Python's ``pickle`` imports and calls what a file names.  This unpickler implements the opcodes
that checkpoints use and returns plain values and those of :mod:`lucid.weights.pickle_objects`.
Globals, calls and persistent ids go to a resolver, which returns inert values.

Opcodes: see ``pickletools``, protocols 2 (PEP 307) to 5 (PEP 574).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from lucid.weights.format_checks import MalformedError
from lucid.weights.pickle_objects import (
    GlobalName,
    OpaqueObject,
    PickledDict,
    PickleResolver,
    describe_value,
)

__all__ = ["MAX_PICKLE", "read_pickle"]

#: Maximum number of bytes of pickles per file; real checkpoints stay below 1 MiB.
MAX_PICKLE = 16 * 2**20
# One opcode byte can create an object of 100 bytes.
_MAX_OBJECTS = 2**22
_PROTOCOLS = range(2, 6)
_MAX_INTEGER_BYTES = 32


def read_pickle(text: bytes, start: int, resolver: PickleResolver) -> tuple[Any, int]:
    """Read the pickle at offset ``start``; return the value and the offset after it."""
    unpickler = _Unpickler(text, start, resolver)
    return unpickler.run(), unpickler.position


class _Unpickler:
    """Unpickler state: the stack, the stacks below each mark, and the memo."""

    def __init__(self, text: bytes, position: int, resolver: PickleResolver) -> None:
        self.text = text
        self.position = position
        self.resolver = resolver
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.objects = 0

    def run(self) -> Any:
        while True:
            at = self.position
            code = self.take(1)
            if code == _STOP:
                return self.pop()
            operation = _OPCODES.get(code)
            if operation is None:
                raise MalformedError(f"the pickle has the unsupported opcode {code!r} at byte {at}")
            operation(self)

    # --- reading ----------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.text):
            raise MalformedError(f"the pickle is truncated, or longer than {MAX_PICKLE} bytes")
        taken = self.text[self.position : end]
        self.position = end
        return taken

    def number(self, width: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(width), "little", signed=signed)

    def line(self) -> str:
        end = self.text.find(b"\n", self.position)
        if end < 0:
            raise MalformedError("the pickle is truncated in a name")
        line = self.take(end - self.position)
        self.position += 1
        return self.decoded(line)

    def decoded(self, text: bytes) -> str:
        try:
            return text.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise MalformedError("the pickle has text that is not UTF-8") from None

    # --- the stack --------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def make(self, value: Any) -> None:
        """Push a value that takes more memory than its opcode; counted."""
        self.count()
        self.stack.append(value)

    def count(self) -> None:
        self.objects += 1
        if self.objects > _MAX_OBJECTS:
            raise MalformedError(f"the pickle makes more than {_MAX_OBJECTS} objects")

    def pop(self) -> Any:
        if not self.stack:
            raise MalformedError("the pickle is damaged: pop from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise MalformedError("the pickle is damaged: top of an empty stack")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        if not self.below:
            raise MalformedError("the pickle is damaged: a MARK is missing")
        values, self.stack = self.stack, self.below.pop()
        return values

    def last(self, count: int) -> tuple[Any, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))


# --- opcodes --------------------------------------------------------------------------------------

_STOP = b"."
_Opcode = Callable[[_Unpickler], object]


def _protocol(unpickler: _Unpickler) -> None:
    protocol = unpickler.number(1)
    if protocol not in _PROTOCOLS:
        raise MalformedError(f"the pickle is of protocol {protocol}, expected 2 to 5")


def _mark(unpickler: _Unpickler) -> None:
    unpickler.count()
    unpickler.below.append(unpickler.stack)
    unpickler.stack = []


def _pop(unpickler: _Unpickler) -> None:
    if unpickler.stack or not unpickler.below:
        unpickler.pop()
    else:  # pops the mark
        unpickler.since_mark()


def _long(unpickler: _Unpickler) -> None:
    width = unpickler.number(1)
    if width > _MAX_INTEGER_BYTES:
        raise MalformedError(f"the pickle holds an integer of {width} bytes")
    unpickler.push(unpickler.number(width, signed=True))


def _string(width: int) -> _Opcode:
    """Push a Python 2 str, which is bytes; used for keys and pickled arrays."""

    def operation(unpickler: _Unpickler) -> None:
        raw = unpickler.take(unpickler.number(width))
        try:
            unpickler.push(raw.decode())
        except UnicodeDecodeError:
            unpickler.push(raw)

    return operation


def _new_dict(unpickler: _Unpickler, pairs: list[Any]) -> None:
    unpickler.make(PickledDict())
    _set_items(unpickler, pairs)


def _set_items(unpickler: _Unpickler, pairs: list[Any]) -> None:
    target = unpickler.top()
    if len(pairs) % 2 or not isinstance(target, PickledDict | OpaqueObject):
        raise MalformedError(f"the pickle is damaged: it sets items of {describe_value(target)}")
    if isinstance(target, OpaqueObject):
        target.note_contents(pairs)
        if target.entries is None:
            unpickler.count()
            target.entries = PickledDict()
        target = target.entries
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target.add(key, value)


def _extend(unpickler: _Unpickler, values: list[Any]) -> None:
    target = unpickler.top()
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, OpaqueObject):
        target.note_contents(values)
    else:
        raise MalformedError(f"the pickle is damaged: it appends to {describe_value(target)}")


def _global(unpickler: _Unpickler) -> None:
    module = unpickler.line()
    _push_global(unpickler, module, unpickler.line())


def _stack_global(unpickler: _Unpickler) -> None:
    module, name = unpickler.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise MalformedError("the pickle is damaged: a name is not a str")
    _push_global(unpickler, module, name)


def _push_global(unpickler: _Unpickler, module: str, name: str) -> None:
    # Protocol 2 has the module names of Python 2.
    named = GlobalName("builtins" if module == "__builtin__" else module, name)
    unpickler.resolver.check_global(named)
    unpickler.make(named)


def _reduce(unpickler: _Unpickler, keywords: bool = False) -> None:
    function, arguments = unpickler.last(2)
    if not isinstance(function, GlobalName | OpaqueObject):
        raise MalformedError(
            f"the pickle calls {describe_value(function)}, which is not a function"
        )
    if not isinstance(arguments, tuple):
        raise MalformedError("the pickle is damaged: a call has no argument tuple")
    if isinstance(function, OpaqueObject):  # a nested class, via getattr in protocol 2
        unpickler.make(OpaqueObject(function.constructor, arguments))
    else:
        unpickler.make(unpickler.resolver.call(function, arguments, keywords))


def _newobj_ex(unpickler: _Unpickler) -> None:
    keywords = unpickler.pop()
    if not isinstance(keywords, PickledDict):
        raise MalformedError("the pickle is damaged: keyword arguments are not a dict")
    _reduce(unpickler, keywords=bool(keywords.entries or keywords.others))


def _build(unpickler: _Unpickler) -> None:
    """Drop the state of an object, such as ``_metadata`` of a state dict."""
    state = unpickler.pop()
    target = unpickler.top()
    if target is None or isinstance(
        target, GlobalName | bool | int | float | str | bytes | tuple | list
    ):
        raise MalformedError(
            f"the pickle is damaged: it sets attributes of {describe_value(target)}"
        )
    if isinstance(target, OpaqueObject):
        target.note_contents(state)


def _get(unpickler: _Unpickler, number: int) -> None:
    if number not in unpickler.memo:
        raise MalformedError(f"the pickle is damaged: it gets {number}, which is not in the memo")
    unpickler.push(unpickler.memo[number])


def _store(unpickler: _Unpickler, number: int) -> None:
    unpickler.count()
    unpickler.memo[number] = unpickler.top()


def _unicode(width: int) -> _Opcode:
    return lambda unpickler: unpickler.push(
        unpickler.decoded(unpickler.take(unpickler.number(width)))
    )


def _bytes(width: int) -> _Opcode:
    return lambda unpickler: unpickler.push(unpickler.take(unpickler.number(width)))


def _constant(value: Any) -> _Opcode:
    return lambda unpickler: unpickler.push(value)


def _integer(width: int, signed: bool = False) -> _Opcode:
    return lambda unpickler: unpickler.push(unpickler.number(width, signed))


def _tuple(count: int) -> _Opcode:
    return lambda unpickler: unpickler.make(unpickler.last(count))


def _new_set(kind: str, values: Iterable[Any] = ()) -> OpaqueObject:
    return OpaqueObject(GlobalName("builtins", kind), tuple(values))


_OPCODES: dict[bytes, _Opcode] = {
    b"\x80": _protocol,
    b"\x95": lambda unpickler: unpickler.take(8),  # frame size
    b"(": _mark,
    b"0": _pop,
    b"1": _Unpickler.since_mark,
    b"2": lambda unpickler: unpickler.push(unpickler.top()),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _integer(4, signed=True),
    b"K": _integer(1),
    b"M": _integer(2),
    b"\x8a": _long,
    b"G": lambda unpickler: unpickler.push(struct.unpack(">d", unpickler.take(8))[0]),
    b"X": _unicode(4),
    b"\x8c": _unicode(1),
    b"\x8d": _unicode(8),
    b"T": _string(4),
    b"U": _string(1),
    b"B": _bytes(4),
    b"C": _bytes(1),
    b"\x8e": _bytes(8),
    b"\x96": _bytes(8),
    b")": _constant(()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda unpickler: unpickler.make(tuple(unpickler.since_mark())),
    b"]": lambda unpickler: unpickler.make([]),
    b"l": lambda unpickler: unpickler.make(unpickler.since_mark()),
    b"a": lambda unpickler: _extend(unpickler, [unpickler.pop()]),
    b"e": lambda unpickler: _extend(unpickler, unpickler.since_mark()),
    b"}": lambda unpickler: unpickler.make(PickledDict()),
    b"d": lambda unpickler: _new_dict(unpickler, unpickler.since_mark()),
    b"s": lambda unpickler: _set_items(unpickler, list(unpickler.last(2))),
    b"u": lambda unpickler: _set_items(unpickler, unpickler.since_mark()),
    b"\x8f": lambda unpickler: unpickler.make(_new_set("set")),
    b"\x90": lambda unpickler: _extend(unpickler, unpickler.since_mark()),
    b"\x91": lambda unpickler: unpickler.make(_new_set("frozenset", unpickler.since_mark())),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _reduce,  # NEWOBJ
    b"\x92": _newobj_ex,
    b"b": _build,
    b"Q": lambda unpickler: unpickler.make(unpickler.resolver.persistent_load(unpickler.pop())),
    b"h": lambda unpickler: _get(unpickler, unpickler.number(1)),
    b"j": lambda unpickler: _get(unpickler, unpickler.number(4)),
    b"q": lambda unpickler: _store(unpickler, unpickler.number(1)),
    b"r": lambda unpickler: _store(unpickler, unpickler.number(4)),
    b"\x94": lambda unpickler: _store(unpickler, len(unpickler.memo)),
}
