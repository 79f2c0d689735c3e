"""Damaged and hostile pickles in PyTorch checkpoints: rejected, or read as plain data."""

from __future__ import annotations

import zipfile

import numpy as np
import pth_files as pth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_file_damage import assert_refused, loaded_or_refused

import lucid
from lucid.weights import safe_unpickler

WEIGHT = np.arange(6, dtype="<f4").reshape(2, 3)


def good(key="0"):
    return pth.of(key, WEIGHT)


def rebuilt(*arguments, function="_rebuild_tensor_v2"):
    return pth.call("torch._utils", function, *arguments)


FLOATS = pth.storage("0", "f4", 6)
ATTRIBUTES = {"training": pth.plain(True), "_parameters": b"}", "_modules": b"}"}
NETWORK = pth.name("torchvision.models.resnet", "ResNet") + b")\x81" + pth.dict_(ATTRIBUTES) + b"b"
HOSTILE = {
    "a whole module": (
        NETWORK,
        r"pickled module of class 'torchvision\.models\.resnet\.ResNet'.*state_dict\(\)",
    ),
    "call of a number": (b"K\x01)R", "calls a value of type int"),
    "call of a dict": (b"})R", "calls a dict"),
    "call of a tensor": (good() + b")R", "calls one tensor"),
    "call of an object": (
        pth.call("argparse", "Namespace") + b")R",
        r"an object of class 'argparse\.Namespace'",
    ),
    "a module among others": (
        pth.dict_({"epoch": pth.plain(3), "model": NETWORK}),
        r"entry 'model' is a pickled module of class 'torchvision\.models\.resnet\.ResNet'",
    ),
    "a module in a state dict": (
        pth.dict_({"w": good(), "x": NETWORK}),
        "entry 'x' is a pickled module",
    ),
    "a tensor in an object in a state dict": (
        pth.dict_({"w": good(), "x": pth.call("mine", "Wrapped", good())}),
        r"entry 'x' is an object of class 'mine\.Wrapped'",
    ),
    "an object in the place of the state dict": (
        pth.dict_({"epoch": pth.plain(3), "state_dict": pth.call("mine", "Lazy")}),
        r"entry 'state_dict' is an object of class 'mine\.Lazy'",
    ),
    "attributes of an object": (
        pth.dict_({"meta": pth.call("mine", "Meta") + pth.dict_({"w": good()}) + b"b"}),
        r"entry 'meta' is an object of class 'mine\.Meta'",
    ),
    "call without a tuple": (
        pth.name("torch._utils", "_rebuild_tensor_v2") + b"]R",
        "argument tuple",
    ),
    "call of a storage class": (
        pth.call("torch", "FloatStorage", pth.plain(9)),
        "calls 'torch.FloatStorage' with",
    ),
    "call of a tensor class": (pth.call("torch", "Tensor", b"K\x01"), "with unexpected"),
    "call of an element type": (pth.call("torch", "float32"), "with unexpected"),
    "too few arguments": (rebuilt(FLOATS), "with unexpected"),
    "parameter of nothing": (rebuilt(function="_rebuild_parameter"), "with unexpected"),
    "parameter of text": (
        rebuilt(pth.plain("w"), function="_rebuild_parameter"),
        "unexpected arguments",
    ),
    "attributes of a function": (
        pth.name("collections", "OrderedDict") + b"}b",
        "sets attributes of",
    ),
    "attributes of a number": (b"K\x01}b", "sets attributes of"),
    "attributes of None": (b"N}b", "sets attributes of"),
    "another call within": (
        pth.call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            pth.name("torch._tensor", "_rebuild_from_type_v2"),
            pth.name("torch", "Tensor"),
            b")",
            b"}",
        ),
        "got one tensor",
    ),
    "class of its own": (
        pth.call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            pth.name("torch._utils", "_rebuild_tensor_v2"),
            pth.name("torch", "float32"),
            b")",
            b"}",
        ),
        "got one tensor",
    ),
    "no call within": (
        pth.dict_(
            {"w": pth.call("torch._tensor", "_rebuild_from_type_v2", pth.name("torch", "Tensor"))}
        ),
        "entry 'w' is a tensor subclass",
    ),
    "text as identity": (pth.plain("0") + b"Q", "not a storage"),
    "module as identity": (pth.tuple_(*[pth.plain("module")] * 5) + b"Q", "not a storage"),
    "unknown storage class": (pth.storage("0", "Tensor", 6), "not a storage"),
    "negative count": (pth.storage("0", "f4", -6), "not a storage"),
    "count is true": (pth.storage("0", "f4", True), "not a storage"),
    "two sizes of one storage": (
        pth.plain([]) + FLOATS + b"a" + pth.storage("0", "f4", 7) + b"a",
        "inconsistent sizes",
    ),
    "part beyond the storage": (
        pth.storage("0", "f4", 6, True, ("v", 4, 3)),
        "beyond the end of storage '0'",
    ),
    "part is text": (pth.storage("0", "f4", 6, True, "part"), "invalid view of storage"),
    "a list": (b"](" + good() + good() + b"e", "a value of type list"),
    "one tensor": (good(), "got one tensor"),
    "nothing": (b"N", "a value of type NoneType"),
    "no tensors": (pth.plain({"epoch": 3, "lr": 0.1}), "got the keys 'epoch', 'lr'"),
    "keys that are no text": (pth.dict_({1: good()}), "got the keys no text"),
    "two state dicts": (
        pth.dict_({"model": pth.dict_({"w": good()}), "state_dict": pth.dict_({"w": good()})}),
        "several state dicts, 'model', 'state_dict'",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_rejected(tmp_path, case):
    value, message = HOSTILE[case]
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert_refused(path, message)


HOSTILE_TENSORS = {
    "beyond the end": (FLOATS, (7,), None, 0, "reaches to element 7 of a storage of 6"),
    "offset beyond": (FLOATS, (6,), None, 1, "reaches to element 7"),
    "stride beyond": (FLOATS, (2, 2), (9, 1), 0, "reaches to element 11"),
    "terabytes": (FLOATS, (2**40,), (0,), 0, "expand 24 stored"),
    "more than 64 bits": (FLOATS, (2**62, 2**62), (0, 0), 0, "impossible"),
    "too many axes": (FLOATS, (1,) * 33, None, 0, "impossible"),
    "negative size": (FLOATS, (-1,), (1,), 0, "sizes >= 0"),
    "negative stride": (FLOATS, (2,), (-1,), 1, "invalid strides"),
    "negative offset": (FLOATS, (2,), (1,), -1, "offset"),
    "offset is text": (FLOATS, (2,), (1,), "0", "offset"),
    "size is a float": (FLOATS, (2.0,), (1,), 0, "sizes >= 0"),
    "size is true": (FLOATS, (True,), (1,), 0, "sizes >= 0"),
    "a stride too few": (FLOATS, (2, 3), (1,), 0, "invalid strides"),
    "not a storage": (pth.plain("0"), (2,), (1,), 0, "has no storage"),
    "more declared than there is": (
        pth.storage("0", "f4", 7), (2,), (1,), 0, "declares 7 elements of 4 bytes, there are 24",
    ),
    "another type": (pth.storage("0", "f8", 6), (2,), (1,), 0, "declares 6 elements of 8 bytes"),
    "complex": (pth.storage("0", "ComplexFloatStorage", 3), (3,), (1,), 0, "dtype complex64"),
    "quantised": (pth.storage("0", "QInt8Storage", 24), (3,), (1,), 0, "unsupported dtype qint8"),
    "bytes of anything": (
        pth.storage("0", "UntypedStorage", 24, module="torch.storage"), (3,), (1,), 0,
        "dtype bytes",
    ),
    "bool of 255": (pth.storage("1", "b1", 2), (2,), (1,), 0, "other than 0 and 1"),
    "missing": (pth.storage("2", "f4", 6), (6,), (1,), 0, "no storage '2'"),
    "path upwards": (pth.storage("../version", "u1", 2), (2,), (1,), 0, "has no storage"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_TENSORS)
def test_hostile_tensors_are_rejected(tmp_path, case):
    stored, shape, strides, offset, message = HOSTILE_TENSORS[case]
    value = pth.dict_({"w": pth.tensor(stored, shape, strides, offset)})
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24), "1": b"\xff\x01"})
    assert_refused(path, message)


def untyped(kind, offset=0, count=6):
    return rebuilt(
        pth.storage("0", "UntypedStorage", count, module="torch.storage"),
        pth.plain(offset),
        pth.plain((2,)),
        pth.plain((1,)),
        b"\x89",
        b"}",
        pth.name("torch", kind),
        function="_rebuild_tensor_v3",
    )


@pytest.mark.parametrize(
    ("value", "content", "message"),
    [
        (untyped("uint16", 2), bytes(6), "reaches to element 4 of a storage of 3"),
        (untyped("uint32", 0), bytes(6), "reaches to element 2 of a storage of 1"),
        (untyped("float8_e4m3fn"), bytes(6), "unsupported dtype float8_e4m3fn"),
        (untyped("device"), bytes(6), "has no storage"),
        (untyped("uint16", count=7), bytes(7), "not aligned"),
    ],
)
def test_hostile_untyped_storages_are_rejected(tmp_path, value, content, message):
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({"w": value}), {"0": content})
    assert_refused(path, message)


def test_dtype_mismatch_of_tensor_and_storage_is_rejected(tmp_path):
    value = untyped("int32").replace(b"torch.storage\nUntypedStorage", b"torch\nFloatStorage")
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({"w": value}), {"0": bytes(24)})
    assert_refused(path, "has dtype int32, its storage float32")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/../b", "a\\b", "a\0b", "__metadata__"])
def test_tensor_names_are_checked(tmp_path, name):
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({name: good()}), {"0": bytes(24)})
    assert_refused(path, "name")


def test_duplicate_names_are_rejected(tmp_path):
    value = pth.dict_([("w", good()), ("w", good())])
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert_refused(path, "'w' is twice")


# --- the machine ----------------------------------------------------------------------------------

DAMAGED = {
    "empty": b"",
    "endless": b"\x80\x02",
    "protocol 0": b"\x80\x00N.",
    "protocol 9": b"\x80\x09N.",
    "unknown opcode": b"\x80\x02\xff.",
    "text opcode": b"\x80\x02I3\n.",
    "registered extension": b"\x80\x02\x82\x01.",
    "buffer elsewhere": b"\x80\x05\x97.",
    "identity as text": b"\x80\x02P0\n.",
    "nothing to stop with": b"\x80\x02.",
    "nothing to drop": b"\x80\x020.",
    "nothing to repeat": b"\x80\x022.",
    "no mark": b"\x80\x02t.",
    "never kept": b"\x80\x02h\x07.",
    "nothing to keep": b"\x80\x02q\x00.",
    "one of a pair": b"\x80\x02}(K\x01u.",
    "entries into a list": b"\x80\x02]K\x01K\x01s.",
    "append to a dict": b"\x80\x02}K\x01a.",
    "name of a number": b"\x80\x02K\x01K\x01\x93.",
    "unfinished name": b"\x80\x02cos",
    "no UTF-8": b"\x80\x02X\x01\0\0\0\xff.",
    "endless text": b"\x80\x02X\xff\xff\xff\xff.",
    "text of exabytes": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "bytes of exabytes": b"\x80\x04\x8e" + b"\xff" * 8 + b".",
    "negative text": b"\x80\x02T\xff\xff\xff\xff.",
    "huge integer": b"\x80\x02\x8a\xff" + b"\x01" * 255 + b".",
    "long integer": b"\x80\x02\x8b\x01\0\0\0\x01.",
    "keywords": b"\x80\x04" + pth.name("argparse", "Namespace") + b"})K\x01\x92.",
    "dict of what are no pairs": b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.",
    "unhashable key": b"\x80\x02}]K\x01s.",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_pickles_are_rejected(tmp_path, case):
    text = DAMAGED[case]
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", text)
    assert_refused(path)
    path.write_bytes(text)
    assert_refused(path)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(
        st.sampled_from([bytes([i]) for i in range(256)])
        | st.sampled_from([b"(", b"}", b"]", b")", b"K\x01", b"u", b"t", b"R", b"b", b"q\x00"])
        | st.sampled_from([FLOATS, good(), pth.plain("w"), pth.name("torch", "Tensor")]),
        max_size=30,
    )
)
def test_random_pickles_are_weight_file_errors(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("pickles") / "w.pth"
    pth.write_archive(path, pth.pickled(b"".join(parts)), {"0": bytes(24)})
    loaded_or_refused(path)


def test_self_referencing_containers_are_read(tmp_path):
    """A dict and a list that contain themselves."""
    value = b"}q\x00(" + pth.plain("model") + b"h\x00" + pth.plain("w") + good()
    value += pth.plain("l") + b"]q\x01h\x01a" + b"u"
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert lucid.load(path).keys() == {"w"}


def test_deeply_nested_values_are_not_traversed(tmp_path):
    """A pair nested forty times doubles at each level when hashed or formatted."""
    doubled = b"N" + b"2\x86" * 40
    deep = b"N" + b"\x85" * 100_000
    path = tmp_path / "w.pth"
    for nest in (doubled, deep):
        value = b"}(" + nest + b"K\x01" + pth.plain("w") + good() + pth.plain("x") + nest + b"u"
        assert lucid.load(pth.write_archive(path, value, {"0": bytes(24)})).keys() == {"w"}
        for value in (
            nest,
            nest + b")R",
            nest + b"Q",
            pth.name("torch._utils", "_rebuild_tensor_v2") + nest + b"R",
            pth.dict_({"w": pth.name("torch._utils", "_rebuild_tensor_v2") + b"("
                       + FLOATS + nest + nest + nest + b"tR"}),
            pth.tuple_(pth.plain("storage"), nest, nest, nest, nest, nest) + b"Q",
        ):  # fmt: skip
            assert_refused(pth.write_archive(path, value, {"0": bytes(24)}))


def test_extreme_pickle_is_rejected(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    pth.write_archive(path, b"\x80\x02" + b"N0" * 2**23 + b"N.", {})
    assert_refused(path, "longer than 16777216 bytes")
    monkeypatch.setattr(safe_unpickler, "_MAX_OBJECTS", 1000)
    for opcode in (b"}", b"]", b"(", b"N\x94", b"N\x85", b"\x8f"):
        pth.write_archive(path, b"\x80\x04" + opcode * 2000 + b".", {})
        assert_refused(path, "more than 1000 objects")
