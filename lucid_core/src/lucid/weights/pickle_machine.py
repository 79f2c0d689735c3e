"""Pickles read as data: the stack machine of the pickle format, with nothing in it to run.

Python's own ``pickle`` builds whatever a file names.  This machine knows the
opcodes that checkpoints are made of and returns plain values and those of
:mod:`lucid.weights.pickled`.  Names, calls and persistent identities go to a world,
which answers with values of its own.  Neither imports, looks up or calls anything
that a file names.

Opcodes and their arguments are those of ``pickletools`` in the standard library,
protocols 2 (PEP 307) to 5 (PEP 574).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from lucid.weights.entries import MalformedError
from lucid.weights.pickled import Named, Opaque, PickledDict, World, kind_of

__all__ = ["MAX_PICKLE", "read_pickle"]

#: Bytes of pickles in a file at most; those of real checkpoints stay below 1 MiB.
MAX_PICKLE = 16 * 2**20
# An opcode of one byte may make an object of a hundred.
_MAX_OBJECTS = 2**22
_PROTOCOLS = range(2, 6)
_MAX_INTEGER_BYTES = 32


def read_pickle(text: bytes, start: int, world: World) -> tuple[Any, int]:
    """Read one pickle.

    Parameters
    ----------
    text : bytes
        What holds it, at most :data:`MAX_PICKLE` of it.
    start : int
        Where it begins.
    world : World
        What its names mean.

    Returns
    -------
    value : object
        What was pickled.
    end : int
        Where the next byte stands.

    Raises
    ------
    MalformedError
        If it is truncated, damaged, or holds an opcode that checkpoints do not need.
    """
    machine = _Machine(text, start, world)
    return machine.run(), machine.position


class _Machine:
    """The state of one reading: a stack, the stacks below each mark, and the memo."""

    def __init__(self, text: bytes, position: int, world: World) -> None:
        self.text = text
        self.position = position
        self.world = world
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
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise MalformedError(
                    f"the pickle has the opcode {code!r} at byte {at}, which no checkpoint "
                    "of tensors needs"
                )
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
            raise MalformedError("the pickle holds text that is no UTF-8") from None

    # --- the stack --------------------------------------------------------------------------------

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def make(self, value: Any) -> None:
        """Push what takes memory beyond the bytes that ask for it."""
        self.count()
        self.stack.append(value)

    def count(self) -> None:
        self.objects += 1
        if self.objects > _MAX_OBJECTS:
            raise MalformedError(f"the pickle makes more than {_MAX_OBJECTS} objects")

    def pop(self) -> Any:
        if not self.stack:
            raise MalformedError("the pickle is damaged: it takes from an empty stack")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack:
            raise MalformedError("the pickle is damaged: it looks at an empty stack")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        if not self.below:
            raise MalformedError("the pickle is damaged: it asks for a mark that was not set")
        values, self.stack = self.stack, self.below.pop()
        return values

    def last(self, count: int) -> tuple[Any, ...]:
        values = [self.pop() for _ in range(count)]
        return tuple(reversed(values))


# --- what each opcode does ------------------------------------------------------------------------

_STOP = b"."
_Operation = Callable[[_Machine], None]


def _protocol(machine: _Machine) -> None:
    protocol = machine.number(1)
    if protocol not in _PROTOCOLS:
        raise MalformedError(f"the pickle is of protocol {protocol}, expected 2 to 5")


def _frame(machine: _Machine) -> None:
    machine.take(8)  # how much a reader of streams should fetch at once


def _mark(machine: _Machine) -> None:
    machine.count()
    machine.below.append(machine.stack)
    machine.stack = []


def _pop(machine: _Machine) -> None:
    if machine.stack or not machine.below:
        machine.pop()
    else:  # it takes the mark itself
        machine.since_mark()


def _pop_mark(machine: _Machine) -> None:
    machine.since_mark()


def _long(machine: _Machine) -> None:
    width = machine.number(1)
    if width > _MAX_INTEGER_BYTES:
        raise MalformedError(f"the pickle holds an integer of {width} bytes")
    machine.push(machine.number(width, signed=True))


def _float(machine: _Machine) -> None:
    machine.push(struct.unpack(">d", machine.take(8))[0])


def _text(width: int) -> _Operation:
    def operation(machine: _Machine) -> None:
        machine.push(machine.decoded(machine.take(machine.number(width))))

    return operation


def _old_text(width: int) -> _Operation:
    """Text of Python 2, which is bytes: keys of state dicts are, and so are pickled arrays."""

    def operation(machine: _Machine) -> None:
        raw = machine.take(machine.number(width))
        try:
            machine.push(raw.decode())
        except UnicodeDecodeError:
            machine.push(raw)

    return operation


def _bytes(width: int) -> _Operation:
    return lambda machine: machine.push(machine.take(machine.number(width)))


def _constant(value: Any) -> _Operation:
    return lambda machine: machine.push(value)


def _integer(width: int, signed: bool = False) -> _Operation:
    return lambda machine: machine.push(machine.number(width, signed))


def _tuple_of(count: int) -> _Operation:
    return lambda machine: machine.make(machine.last(count))


def _new_dict(machine: _Machine, pairs: list[Any]) -> None:
    machine.make(PickledDict())
    _put(machine, pairs)


def _put(machine: _Machine, pairs: list[Any]) -> None:
    target = machine.top()
    if len(pairs) % 2 or not isinstance(target, PickledDict | Opaque):
        raise MalformedError(f"the pickle is damaged: it puts entries into {kind_of(target)}")
    if isinstance(target, Opaque):
        target.put(pairs)
        if target.entries is None:
            machine.count()
            target.entries = PickledDict()
        target = target.entries
    for key, value in zip(pairs[::2], pairs[1::2], strict=True):
        target.add(key, value)


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, Opaque):
        target.put(values)
    else:
        raise MalformedError(f"the pickle is damaged: it appends to {kind_of(target)}")


def _frozen_set(machine: _Machine) -> None:
    machine.make(Opaque(Named("builtins", "frozenset"), tuple(machine.since_mark())))


def _name(machine: _Machine) -> None:
    module = machine.line()
    _push_name(machine, module, machine.line())


def _name_on_stack(machine: _Machine) -> None:
    module, name = machine.last(2)
    if not isinstance(module, str) or not isinstance(name, str):
        raise MalformedError("the pickle is damaged: a name in it is no text")
    _push_name(machine, module, name)


def _push_name(machine: _Machine, module: str, name: str) -> None:
    # Python 3 writes protocol 2 with the names of Python 2.
    named = Named("builtins" if module == "__builtin__" else module, name)
    machine.world.named(named)
    machine.make(named)


def _call(machine: _Machine, keywords: bool = False) -> None:
    function, arguments = machine.last(2)
    if not isinstance(function, Named | Opaque):
        raise MalformedError(f"the pickle calls {kind_of(function)}, which is no function")
    if not isinstance(arguments, tuple):
        raise MalformedError("the pickle is damaged: a call in it has no tuple of arguments")
    if isinstance(function, Opaque):  # a nested class, which protocol 2 finds by getattr
        machine.make(Opaque(function.made_by, arguments))
    else:
        machine.make(machine.world.called(function, arguments, keywords))


def _call_with_keywords(machine: _Machine) -> None:
    keywords = machine.pop()
    if not isinstance(keywords, PickledDict):
        raise MalformedError("the pickle is damaged: keywords in it are no dict")
    _call(machine, keywords=bool(keywords.entries or keywords.others))


def _set_state(machine: _Machine) -> None:
    """Drop the attributes of an object, such as ``_metadata`` of a state dict."""
    state = machine.pop()
    target = machine.top()
    if target is None or isinstance(
        target, Named | bool | int | float | str | bytes | tuple | list
    ):
        raise MalformedError(f"the pickle is damaged: it gives attributes to {kind_of(target)}")
    if isinstance(target, Opaque):
        target.put(state)


def _stored(machine: _Machine) -> None:
    machine.make(machine.world.stored(machine.pop()))


def _recall(width: int) -> _Operation:
    def operation(machine: _Machine) -> None:
        number = machine.number(width)
        if number not in machine.memo:
            raise MalformedError(f"the pickle is damaged: it recalls {number}, which it never kept")
        machine.push(machine.memo[number])

    return operation


def _keep(width: int) -> _Operation:
    def operation(machine: _Machine) -> None:
        machine.count()
        machine.memo[machine.number(width)] = machine.top()

    return operation


def _keep_next(machine: _Machine) -> None:
    machine.count()
    machine.memo[len(machine.memo)] = machine.top()


_OPERATIONS: dict[bytes, _Operation] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": _mark,
    b"0": _pop,
    b"1": _pop_mark,
    b"2": lambda machine: machine.push(machine.top()),
    b"N": _constant(None),
    b"\x88": _constant(True),
    b"\x89": _constant(False),
    b"J": _integer(4, signed=True),
    b"K": _integer(1),
    b"M": _integer(2),
    b"\x8a": _long,
    b"G": _float,
    b"X": _text(4),
    b"\x8c": _text(1),
    b"\x8d": _text(8),
    b"T": _old_text(4),
    b"U": _old_text(1),
    b"B": _bytes(4),
    b"C": _bytes(1),
    b"\x8e": _bytes(8),
    b"\x96": _bytes(8),
    b")": _constant(()),
    b"\x85": _tuple_of(1),
    b"\x86": _tuple_of(2),
    b"\x87": _tuple_of(3),
    b"t": lambda machine: machine.make(tuple(machine.since_mark())),
    b"]": lambda machine: machine.make([]),
    b"l": lambda machine: machine.make(machine.since_mark()),
    b"a": lambda machine: _append(machine, [machine.pop()]),
    b"e": lambda machine: _append(machine, machine.since_mark()),
    b"}": lambda machine: machine.make(PickledDict()),
    b"d": lambda machine: _new_dict(machine, machine.since_mark()),
    b"s": lambda machine: _put(machine, list(machine.last(2))),
    b"u": lambda machine: _put(machine, machine.since_mark()),
    b"\x8f": lambda machine: machine.make(Opaque(Named("builtins", "set"))),
    b"\x90": lambda machine: _append(machine, machine.since_mark()),
    b"\x91": _frozen_set,
    b"c": _name,
    b"\x93": _name_on_stack,
    b"R": _call,
    b"\x81": _call,  # of a class, by its __new__
    b"\x92": _call_with_keywords,
    b"b": _set_state,
    b"Q": _stored,
    b"h": _recall(1),
    b"j": _recall(4),
    b"q": _keep(1),
    b"r": _keep(4),
    b"\x94": _keep_next,
}
