"""Pickles of plain data read as Python's own pickle reads them."""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lucid.weights.format_checks import MalformedError
from lucid.weights.pickle_objects import (
    GlobalName,
    OpaqueObject,
    PickledDict,
    TensorLike,
    describe_value,
)
from lucid.weights.safe_unpickler import read_pickle


class Notes:
    """Resolver that records each request."""

    def __init__(self):
        self.names, self.calls, self.identities = [], [], []

    def check_global(self, name):
        self.names.append(str(name))

    def call(self, function, arguments, keywords):
        self.calls.append((str(function), arguments, keywords))
        is_dict = function.name in ("OrderedDict", "dict")
        return PickledDict() if is_dict else OpaqueObject(function, arguments)

    def persistent_load(self, identity):
        self.identities.append(identity)
        return ("stored", identity)


def read(text, notes=None):
    value, end = read_pickle(text, 0, notes or Notes())
    assert end == len(text)
    return value


def as_python(value):
    if isinstance(value, PickledDict):
        assert value.others == 0
        return {key: as_python(entry) for key, entry in value.entries.items()}
    if isinstance(value, list | tuple):
        return type(value)(as_python(item) for item in value)
    return value


plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**255), 2**255 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=300)
    | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(value=plain_data, protocol=st.integers(3, 5))
def test_plain_data_comes_back(value, protocol):
    assert as_python(read(pickle.dumps(value, protocol))) == value


@settings(max_examples=50, deadline=None)
@given(value=st.lists(st.text(max_size=300) | st.integers() | st.tuples(st.booleans())))
def test_plain_data_of_protocol_2_comes_back(value):
    assert as_python(read(pickle.dumps(value, 2))) == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_dicts_and_names_of_every_protocol(protocol):
    notes = Notes()
    value = OrderedDict(a=1, b=[2.5, math.inf])
    assert as_python(read(pickle.dumps(value, protocol), notes)) == dict(value)
    assert notes.names == ["collections.OrderedDict"]


def test_sets_are_skipped():
    for value in ({1, 2}, frozenset([1, 2]), set()):
        for protocol in (2, 4):
            notes = Notes()
            assert isinstance(read(pickle.dumps(value, protocol), notes), OpaqueObject)
            # Python 3 writes protocol 2 with Python 2's name for the module.
            expected = [f"builtins.{type(value).__name__}"] if protocol == 2 else []
            assert notes.names == expected


def test_arrays_of_bytes_are_bytes():
    assert read(pickle.dumps(bytearray(b"abc"), 5)) == b"abc"


def test_persistent_ids():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", 7) if isinstance(value, complex) else None

    import io

    buffer, notes = io.BytesIO(), Notes()
    Pickler(buffer, 2).dump([1j, 2])
    assert read(buffer.getvalue(), notes) == [("stored", ("storage", 7)), 2]
    assert notes.identities == [("storage", 7)]


OPCODES = {
    "mark dropped": (b"N(0.", None),
    "back to the mark": (b"N(K\x01K\x021.", None),
    "repeated": (b"K\x072\x86.", (7, 7)),
    "list": (b"(K\x01K\x02l.", [1, 2]),
    "dict": (b"(X\x01\0\0\0aK\x01d.", {"a": 1}),
    "text of Python 2": (b"T\x01\0\0\0aU\x02\xc3\xbc\x86.", ("a", "ü")),
    "bytes of Python 2": (b"U\x01\xff.", b"\xff"),
    "kept far": (b"K\x05r\0\0\1\0j\0\0\1\0\x86.", (5, 5)),
    "negative": (b"J\xff\xff\xff\xff.", -1),
    "no bytes at all": (b"\x8a\x00.", 0),
}


@pytest.mark.parametrize("case", OPCODES)
def test_opcodes_that_python_3_does_not_write(case):
    text, expected = OPCODES[case]
    assert as_python(read(b"\x80\x02" + text)) == expected


def test_keys_that_are_no_text_are_counted_and_dropped():
    value = read(pickle.dumps({1: "a", (2, 3): "b", "c": 4}, 2))
    assert (value.entries, value.others) == ({"c": 4}, 2)


def test_new_objects_are_calls():
    notes = Notes()
    text = b"\x80\x04(\x8c\x01m\x8c\x01f\x93(K\x01t\x81\x8c\x01m\x8c\x01g\x93)}\x92"
    text += b"\x8c\x01m\x8c\x01h\x93)}\x8c\x01aK\x01s\x92t."
    made = read(text, notes)
    assert [str(value.constructor) for value in made] == ["m.f", "m.g", "m.h"]
    assert notes.calls == [("m.f", (1,), False), ("m.g", (), False), ("m.h", (), True)]


def test_nested_classes_of_protocol_2_are_called_without_a_look():
    """``Outer.Inner`` is found by getattr, and its object is made by what that gives."""
    notes = Notes()
    inner = b"cbuiltins\ngetattr\n(cm\nOuter\nX\x05\0\0\0InnertR"
    value = read(b"\x80\x02" + inner + b")\x81.", notes)
    assert isinstance(value, OpaqueObject)
    assert notes.calls == [("builtins.getattr", (GlobalName("m", "Outer"), "Inner"), False)]


def test_objects_know_that_they_are_modules_or_hold_tensors():
    class Tensors(Notes):
        def persistent_load(self, identity):
            return TensorLike()

    for state, expected in [
        (b"}", (False, False)),
        (b"}X\x01\0\0\0wNQs", (False, True)),
        (b"}(X\x0b\0\0\0_parameters}X\x08\0\0\0_modules}u", (True, False)),
        (b"K\x01", (False, False)),
    ]:
        value = read(b"\x80\x02cm\nNet\n)\x81" + state + b"b.", Tensors())
        assert (value.is_module, value.holds_tensors) == expected
        outer = read(b"\x80\x02cm\nf\n(cm\nNet\n)\x81" + state + b"btR.", Tensors())
        assert outer.holds_tensors == expected[1]


def test_attributes_of_objects_are_dropped():
    value = read(b"\x80\x02cm\nf\n)R}b(K\x01e(K\x02K\x03u(K\x01\x90.")
    assert isinstance(value, OpaqueObject)


def test_resolver_may_reject():
    class Strict(Notes):
        def check_global(self, name):
            raise MalformedError(f"not {name}")

    with pytest.raises(MalformedError, match=r"not os\.system"):
        read(b"\x80\x02cos\nsystem\n.", Strict())


def test_describe_value_does_not_recurse():
    nest = []
    nest.append(nest)
    assert describe_value(nest) == "a value of type list"
    assert describe_value(PickledDict()) == "a dict"
    assert describe_value(OpaqueObject(GlobalName("m", "Net"))) == "an object of 'm.Net'"
    assert describe_value(GlobalName("os", "system")) == "a value of type GlobalName"
