"""Damaged and hostile PyTorch checkpoints: one error that names the file, and nothing runs."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pth_files as pth
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lucid
from lucid.weights import pickle_machine

ARRAYS = {"conv.weight": np.arange(6, dtype="<f4").reshape(2, 3), "seen": np.array(7, "<i8")}


def whole(path, legacy):
    """A small checkpoint with everything around the state dict."""
    numbered = {str(i): array for i, array in enumerate(ARRAYS.values())}
    state = {
        key: pth.of(number, array, legacy)
        for key, (number, array) in zip(ARRAYS, numbered.items(), strict=True)
    }
    value = pth.dict_({"epoch": pth.plain(3), "state_dict": pth.ordered(state)})
    if legacy:
        stored = {n: (array.size, array.tobytes()) for n, array in numbered.items()}
        return pth.write_legacy(path, value, stored)
    return pth.write_archive(path, value, {n: a.tobytes() for n, a in numbered.items()})


@pytest.fixture(params=[False, True], ids=["archive", "legacy"])
def saved(request, tmp_path):
    return whole(tmp_path / "w.pth", request.param)


def assert_refused(path, match=None):
    with pytest.raises(lucid.WeightFileError, match=match) as caught:
        lucid.load(path)
    assert str(path) in str(caught.value)


def loaded_or_refused(path):
    try:
        return lucid.load(path)
    except lucid.WeightFileError as caught:
        error = caught
    assert str(path) in str(error)
    return None


def assert_same(loaded):
    assert loaded.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert loaded[key].dtype == array.dtype
        np.testing.assert_array_equal(loaded[key].numpy(), array)


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in range(len(content)):
        saved.write_bytes(content[:length])
        assert_refused(saved)
    saved.write_bytes(content)
    assert_same(lucid.load(saved))


def test_every_flipped_bit_of_an_archive_is_refused_or_harmless(tmp_path):
    path = whole(tmp_path / "w.pth", legacy=False)
    content = path.read_bytes()
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            loaded = loaded_or_refused(path)
            if loaded is not None:
                assert_same(loaded)


def test_every_flipped_bit_of_a_legacy_file_stays_a_file_error(tmp_path):
    """It has no checksum, so that other numbers or names may come back."""
    path = whole(tmp_path / "w.pth", legacy=True)
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            refused += loaded_or_refused(path) is None
    assert refused > 4 * len(content)


def test_bytes_after_the_end_of_a_legacy_file_are_refused(tmp_path):
    path = whole(tmp_path / "w.pth", legacy=True)
    path.write_bytes(path.read_bytes() + b"\0")
    assert_refused(path, "1 bytes that belong to no storage")


# --- payloads -------------------------------------------------------------------------------------


def payloads(canary):
    """Fragments that make a directory, at least, when Python's unpickler reads them."""
    make = pth.plain(str(canary))
    code = pth.plain(f"__import__('os').mkdir({str(canary)!r})")
    getattr_ = pth.call("builtins", "getattr", pth.name("os", "path"), pth.plain("os"))
    mkdir = pth.call("builtins", "getattr", getattr_, pth.plain("mkdir"))
    # A map is made by its __new__ and runs when the __new__ of bytes goes through it.
    mapped = pth.name("builtins", "map") + pth.name("os", "mkdir") + b"]" + make + b"a\x86\x81"
    return {
        "os.mkdir": pth.call("os", "mkdir", make),
        "posix.mkdir": pth.call("posix", "mkdir", make),
        "os.system": pth.call("os", "system", pth.plain(f"mkdir {canary}")),
        "subprocess": pth.call("subprocess", "check_call", pth.plain(["mkdir", str(canary)])),
        "eval": pth.call("builtins", "eval", code),
        "eval of Python 2": pth.call("__builtin__", "eval", code),
        "exec": pth.call("builtins", "exec", code),
        "getattr": mkdir + pth.tuple_(make) + b"R",
        "new object": pth.name("builtins", "bytes") + mapped + b"\x85\x81",
        "new object with keywords": pth.name("builtins", "bytes") + mapped + b"\x85}\x92",
        "name from the stack": pth.plain("os") + pth.plain("mkdir") + b"\x93" + make + b"\x85R",
        "attribute of a module": pth.plain("builtins") + pth.plain("eval") + b"\x93" + code
        + b"\x85R",
        "old instance": b"(" + make + b"ios\nmkdir\n",
        "old object": b"(" + pth.name("os", "mkdir") + make + b"o",
        "map": pth.call("builtins", "list", pth.call(
            "builtins", "map", pth.name("os", "mkdir"), pth.plain([str(canary)])
        )),
        "in a list": b"]" + pth.call("os", "mkdir", make) + b"a",
        "as a key": b"}" + pth.call("os", "mkdir", make) + b"K\x01s",
        "dropped": pth.call("os", "mkdir", make) + b"0}",
        "in a state": b"}" + pth.call("os", "mkdir", make) + b"b",
        "unpickled by itself": pth.call(
            "pickle", "loads", pth.plain(pickle.dumps(Payload(canary)))
        ),
        "partial": pth.call(
            "functools", "partial", pth.name("os", "mkdir"), make
        ) + b")R",
    }  # fmt: skip


class Payload:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        import os

        return os.mkdir, (self.canary,)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
@pytest.mark.parametrize("case", payloads(""))
def test_payloads_are_refused_and_never_run(tmp_path, case, legacy):
    canary = tmp_path / "canary"
    fragment = payloads(canary)[case]
    path = tmp_path / "w.pth"
    beside = pth.dict_({"w": pth.of("0", ARRAYS["seen"], legacy), "x": fragment})
    for value in (fragment, beside):
        if legacy:
            pth.write_legacy(path, value, {"0": (1, bytes(8))})
        else:
            pth.write_archive(path, value, {"0": bytes(8)})
        assert_refused(path)
        assert not canary.exists()


@pytest.mark.parametrize("case", payloads(""))
def test_the_payloads_are_live_ones(tmp_path, case):
    canary = tmp_path / "canary"
    text = pth.pickled(payloads(canary)[case])
    try:
        pickle.load(io.BytesIO(text))
    except Exception as error:
        print(f"{case} failed after its deed: {error}")
    assert canary.exists()


def test_a_pickle_in_any_place_of_a_legacy_file_is_only_read(tmp_path):
    """Each of the five pickles is a place for a payload."""
    canary, path = tmp_path / "canary", tmp_path / "w.pth"
    payload = pth.pickled(pth.call("os", "mkdir", pth.plain(str(canary))))
    good = [pth.plain(pth.MAGIC), pth.plain(1001), b"}", b"}", b"]"]
    for place in range(5):
        parts = [pth.pickled(part) for part in good]
        parts[place] = payload
        path.write_bytes(b"".join(parts))
        assert_refused(path, "names 'os.mkdir'")
    assert not canary.exists()


def good(key="0"):
    return pth.of(key, ARRAYS["conv.weight"])


def rebuilt(*arguments, function="_rebuild_tensor_v2"):
    return pth.call("torch._utils", function, *arguments)


FLOATS = pth.storage("0", "f4", 6)
ATTRIBUTES = {"training": pth.plain(True), "_parameters": b"}", "_modules": b"}"}
NETWORK = pth.name("torchvision.models.resnet", "ResNet") + b")\x81" + pth.dict_(ATTRIBUTES) + b"b"
HOSTILE = {
    "a whole module": (
        NETWORK,
        r"whole pickled module of class 'torchvision\.models\.resnet\.ResNet'.*state_dict\(\)",
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
        r"entry 'model' is a whole pickled module of class 'torchvision\.models\.resnet\.ResNet'",
    ),
    "a module in a state dict": (
        pth.dict_({"w": good(), "x": NETWORK}),
        "entry 'x' is a whole pickled module",
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
    "call without a tuple": (pth.name("torch._utils", "_rebuild_tensor_v2") + b"]R", "no tuple"),
    "call of a storage class": (
        pth.call("torch", "FloatStorage", pth.plain(9)),
        "calls 'torch.FloatStorage' in a way",
    ),
    "call of a tensor class": (pth.call("torch", "Tensor", b"K\x01"), "in a way that no"),
    "call of an element type": (pth.call("torch", "float32"), "in a way that no"),
    "too few arguments": (rebuilt(FLOATS), "in a way that no"),
    "parameter of nothing": (rebuilt(function="_rebuild_parameter"), "in a way that no"),
    "parameter of text": (rebuilt(pth.plain("w"), function="_rebuild_parameter"), "in a way"),
    "attributes of a function": (
        pth.name("collections", "OrderedDict") + b"}b",
        "gives attributes to",
    ),
    "attributes of a number": (b"K\x01}b", "gives attributes to"),
    "attributes of None": (b"N}b", "gives attributes to"),
    "another call within": (
        pth.call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            pth.name("torch._tensor", "_rebuild_from_type_v2"),
            pth.name("torch", "Tensor"),
            b")",
            b"}",
        ),
        "it holds one tensor",
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
        "it holds one tensor",
    ),
    "no call within": (
        pth.dict_(
            {"w": pth.call("torch._tensor", "_rebuild_from_type_v2", pth.name("torch", "Tensor"))}
        ),
        "entry 'w' is a tensor of a class of its own",
    ),
    "text as identity": (pth.plain("0") + b"Q", "no storage"),
    "module as identity": (pth.tuple_(*[pth.plain("module")] * 5) + b"Q", "no storage"),
    "unknown storage class": (pth.storage("0", "Tensor", 6), "no storage"),
    "negative count": (pth.storage("0", "f4", -6), "no storage"),
    "count is true": (pth.storage("0", "f4", True), "no storage"),
    "two sizes of one storage": (
        pth.plain([]) + FLOATS + b"a" + pth.storage("0", "f4", 7) + b"a",
        "contradicts itself",
    ),
    "part beyond the storage": (
        pth.storage("0", "f4", 6, True, ("v", 4, 3)),
        "more of storage '0'",
    ),
    "part is text": (pth.storage("0", "f4", 6, True, "part"), "unknown way"),
    "a list": (b"](" + good() + good() + b"e", "a value of type list"),
    "one tensor": (good(), "it holds one tensor"),
    "nothing": (b"N", "a value of type NoneType"),
    "no tensors": (pth.plain({"epoch": 3, "lr": 0.1}), "the keys at the top are 'epoch', 'lr'"),
    "keys that are no text": (pth.dict_({1: good()}), "the keys at the top are no text"),
    "two state dicts": (
        pth.dict_({"model": pth.dict_({"w": good()}), "state_dict": pth.dict_({"w": good()})}),
        "several state dicts, 'model', 'state_dict'",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused(tmp_path, case):
    value, message = HOSTILE[case]
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert_refused(path, message)


HOSTILE_TENSORS = {
    "beyond the end": (FLOATS, (7,), None, 0, "reaches to element 7 of a storage of 6"),
    "offset beyond": (FLOATS, (6,), None, 1, "reaches to element 7"),
    "stride beyond": (FLOATS, (2, 2), (9, 1), 0, "reaches to element 11"),
    "terabytes": (FLOATS, (2**40,), (0,), 0, "out of 24 stored"),
    "more than 64 bits": (FLOATS, (2**62, 2**62), (0, 0), 0, "impossible"),
    "too many axes": (FLOATS, (1,) * 33, None, 0, "impossible"),
    "negative size": (FLOATS, (-1,), (1,), 0, "sizes >= 0"),
    "negative stride": (FLOATS, (2,), (-1,), 1, "strides >= 0"),
    "negative offset": (FLOATS, (2,), (1,), -1, "offset"),
    "offset is text": (FLOATS, (2,), (1,), "0", "offset"),
    "size is a float": (FLOATS, (2.0,), (1,), 0, "sizes >= 0"),
    "size is true": (FLOATS, (True,), (1,), 0, "sizes >= 0"),
    "a stride too few": (FLOATS, (2, 3), (1,), 0, "for its axes"),
    "no storage": (pth.plain("0"), (2,), (1,), 0, "no storage"),
    "more declared than there is": (
        pth.storage("0", "f4", 7), (2,), (1,), 0, "declares 7 elements of 4 bytes, there are 24",
    ),
    "another type": (pth.storage("0", "f8", 6), (2,), (1,), 0, "declares 6 elements of 8 bytes"),
    "complex": (pth.storage("0", "ComplexFloatStorage", 3), (3,), (1,), 0, "complex64, not read"),
    "quantised": (pth.storage("0", "QInt8Storage", 24), (3,), (1,), 0, "qint8, not read"),
    "bytes of anything": (
        pth.storage("0", "UntypedStorage", 24, module="torch.storage"), (3,), (1,), 0, "bytes, not",
    ),
    "bool of 255": (pth.storage("1", "b1", 2), (2,), (1,), 0, "other than 0 and 1"),
    "missing": (pth.storage("2", "f4", 6), (6,), (1,), 0, "no storage '2'"),
    "path upwards": (pth.storage("../version", "u1", 2), (2,), (1,), 0, "no storage"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE_TENSORS)
def test_hostile_tensors_are_refused(tmp_path, case):
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
        (untyped("float8_e4m3fn"), bytes(6), "float8_e4m3fn, not read"),
        (untyped("device"), bytes(6), "made of no storage"),
        (untyped("uint16", count=7), bytes(7), "begin or end at an element"),
    ],
)
def test_hostile_untyped_storages_are_refused(tmp_path, value, content, message):
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({"w": value}), {"0": content})
    assert_refused(path, message)


def test_a_tensor_of_one_type_in_a_storage_of_another_is_refused(tmp_path):
    value = untyped("int32").replace(b"torch.storage\nUntypedStorage", b"torch\nFloatStorage")
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({"w": value}), {"0": bytes(24)})
    assert_refused(path, "of int32 is made of a storage of float32")


@pytest.mark.parametrize("name", ["", "../x", "/x", "a/../b", "a\\b", "a\0b", "__metadata__"])
def test_names_of_tensors_are_checked(tmp_path, name):
    path = pth.write_archive(tmp_path / "w.pth", pth.dict_({name: good()}), {"0": bytes(24)})
    assert_refused(path, "name")


def test_names_that_stand_twice_are_refused(tmp_path):
    value = pth.dict_([("w", good()), ("w", good())])
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert_refused(path, "'w' stands twice")


# --- containers -----------------------------------------------------------------------------------

STATE = pth.dict_({"w": good()})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_archives_are_checked(tmp_path):
    path = tmp_path / "w.pth"
    for message, options in {
        "compressed": {"compression": zipfile.ZIP_DEFLATED},
        "unknown byte order": {"members": {"byteorder": b"middle"}},
        "longer than 16 bytes": {"members": {"byteorder": b"little" * 9}},
        "TorchScript": {"members": {"constants.pkl": b""}},
        "looks like a path": {"members": {"../../x": b""}},
        "control characters": {"members": {"a\nb": b""}},
    }.items():
        assert_refused(pth.write_archive(path, STATE, {"0": bytes(24)}, **options), message)
    pth.write_archive(path, STATE, {"0": bytes(24)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(24))
    assert_refused(path, "twice")
    pth.write_archive(path, STATE, {"0": bytes(24)})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"")
    assert_refused(path, r"one member data\.pkl in one folder")


def test_an_archive_without_a_pickle_is_no_checkpoint(tmp_path):
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", b"hello")
    assert_refused(path, "readme.txt")


def test_legacy_files_are_held_against_their_own_words(tmp_path):
    path = tmp_path / "w.pth"
    value, stored = pth.dict_({"w": pth.of("0", ARRAYS["seen"], True)}), {"0": (1, bytes(8))}
    assert lucid.load(pth.write_legacy(path, value, stored))
    for message, (keys, data) in {
        "lists other storages": ([], b""),
        "lists other storages than": (["0", "1"], bytes(32)),
        "lists other storages than its": (["0", "0"], bytes(32)),
        "holds 2 elements, expected 1": (["0"], (2).to_bytes(8, "little") + bytes(8)),
        "ends at byte": (["0"], bytes(15)),
    }.items():
        path.write_bytes(pth.legacy_pickles(value, keys) + data)
        assert_refused(path, message)
    path.write_bytes(pth.legacy_pickles(value, [1]) + bytes(16))
    assert_refused(path, "does not list its storages")
    numbers = [pth.plain(pth.MAGIC), pth.plain(1001), b"}", value, b"N"]
    for place, other, message in (
        (0, pth.plain(7), "no checkpoint of PyTorch"),
        (1, pth.plain(1002), "legacy format 1001"),
        (2, pth.plain("here"), "what machine"),
        (4, b"N", "does not list its storages"),
    ):
        parts = [*numbers[:place], other, *numbers[place + 1 :]]
        path.write_bytes(b"".join(map(pth.pickled, parts)))
        assert_refused(path, message)


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
def test_damaged_pickles_are_refused(tmp_path, case):
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
def test_no_pickle_gives_another_error(tmp_path_factory, parts):
    path = tmp_path_factory.mktemp("pickles") / "w.pth"
    pth.write_archive(path, pth.pickled(b"".join(parts)), {"0": bytes(24)})
    loaded_or_refused(path)


def test_what_holds_itself_is_read(tmp_path):
    """A dict under one of its own keys, and a list in itself."""
    value = b"}q\x00(" + pth.plain("model") + b"h\x00" + pth.plain("w") + good()
    value += pth.plain("l") + b"]q\x01h\x01a" + b"u"
    path = pth.write_archive(tmp_path / "w.pth", value, {"0": bytes(24)})
    assert lucid.load(path).keys() == {"w"}


def test_deep_and_wide_nests_are_neither_walked_nor_shown(tmp_path):
    """Doubled forty times, a tuple of two would take longer than anyone waits to hash or show."""
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


def test_a_pickle_beyond_all_reason_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "w.pth"
    pth.write_archive(path, b"\x80\x02" + b"N0" * 2**23 + b"N.", {})
    assert_refused(path, "longer than 16777216 bytes")
    monkeypatch.setattr(pickle_machine, "_MAX_OBJECTS", 1000)
    for opcode in (b"}", b"]", b"(", b"N\x94", b"N\x85", b"\x8f"):
        pth.write_archive(path, b"\x80\x04" + opcode * 2000 + b".", {})
        assert_refused(path, "more than 1000 objects")


# --- in little memory -----------------------------------------------------------------------------

IN_LITTLE_MEMORY = textwrap.dedent("""
    import resource, sys
    import lucid
    lucid.load  # imports what it needs before memory becomes scarce
    import lucid.weights.pth_format, zipfile
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    limit = held + 128 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for path in sys.argv[1:]:
        try:
            lucid.load(path)
        except lucid.WeightFileError as error:
            print(error)
""")


def test_bombs_are_refused_before_memory_is_taken(tmp_path):
    expanded = pth.dict_({"w": pth.tensor(FLOATS, (2**38,), (0,))})
    declared = pth.dict_({"w": pth.tensor(pth.storage("0", "f4", 2**38), (2**38,))})
    old = pth.dict_({"w": pth.tensor(pth.storage("0", "f4", 2**38, True), (2**38,))})
    many = pth.dict_({f"w{i}": good() for i in range(10_000)})
    compressed = {"compression": zipfile.ZIP_DEFLATED}
    bombs = {
        "expanded": pth.write_archive(tmp_path / "a.pth", expanded, {"0": bytes(24)}),
        "declared": pth.write_archive(tmp_path / "b.pth", declared, {"0": bytes(24)}),
        "old": pth.write_legacy(tmp_path / "c.pth", old, {"0": (2**38, bytes(24))}),
        "inflated": pth.write_archive(tmp_path / "d.pth", STATE, {"0": bytes(2**28)}, **compressed),
        "text": pth.write_archive(tmp_path / "e.pth", b"X\xff\xff\xff\x7f", {}),
    }
    big = np.zeros(2**18, "<f4")
    many = pth.dict_({f"w{i}": pth.of("0", big) for i in range(1000)})
    bombs["many views"] = pth.write_archive(tmp_path / "f.pth", many, {"0": big.tobytes()})
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY, *map(str, bombs.values())],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for path in bombs.values():
        assert str(path) in done.stdout


def test_a_file_cut_while_it_is_read_is_refused(tmp_path):
    from lucid.weights import pth_format
    from lucid.weights.entries import MalformedError

    path = whole(tmp_path / "w.pth", legacy=True)
    content = path.read_bytes()
    with pytest.raises(MalformedError, match="truncated in the data of storage"):
        pth_format.read(io.BytesIO(content[:-4]), len(content))
