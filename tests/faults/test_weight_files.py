"""Damaged and hostile weight files: an error that names the file, without side effects."""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from weight_file_damage import (
    assert_every_truncation_is_refused,
    assert_refused,
    assert_same,
    loaded_or_refused,
    loaded_with_each_bit_flipped,
    refused_in_little_memory,
)

import lucid
from lucid.weights import read_metadata, safetensors_format
from lucid.weights.format_checks import MalformedError

ARRAYS = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2).transpose(0, 1, 3, 2),
    "count": np.array(7, np.int64),
    "mask": np.array([True, False, True]),
}


@pytest.fixture(params=["w.safetensors", "w.npz"])
def saved(request, tmp_path):
    path = tmp_path / request.param
    lucid.save(ARRAYS, path, {"note": "text"})
    return path


def test_all_truncations_are_rejected(saved):
    assert_every_truncation_is_refused(saved, ARRAYS)


def test_trailing_bytes_are_rejected_or_harmless(saved):
    content = saved.read_bytes()
    for extra in (b"\0", b" ", b"more" * 100):
        saved.write_bytes(content + extra)
        if saved.suffix == ".safetensors":
            assert_refused(saved, "bytes after the last tensor")
        else:  # zip archives may be followed by a comment
            with contextlib.suppress(lucid.WeightFileError):
                assert_same(lucid.load(saved), ARRAYS)


def test_flipped_bits_are_rejected_or_harmless(saved):
    bits = 8 * saved.stat().st_size
    harmless = 0
    for loaded in loaded_with_each_bit_flipped(saved):
        if loaded is not None:
            assert_same(loaded, ARRAYS)
            harmless += 1
    # Dates and the like in the zip, the digest's own name in safetensors.
    assert harmless < bits / (2 if saved.suffix == ".npz" else 20)


def test_flipped_bits_without_digest_are_file_errors(tmp_path):
    path = tmp_path / "theirs.safetensors"
    safetensors.numpy.save_file({"a": np.ones(3, np.float32), "b": np.ones(2, np.bool_)}, path)
    bits = 8 * path.stat().st_size
    assert sum(1 for _ in loaded_with_each_bit_flipped(path)) == bits


# --- safetensors headers ------------------------------------------------------------------------


def entry(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def write_safetensors(path, header, data=b"\0" * 8, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = len(text) if length is None else length
    path.write_bytes(length.to_bytes(8, "little") + text + data)


HOSTILE_HEADERS = {
    "terabytes": ({"w": entry(shape=(2**40,), offsets=(0, 2**42))}, "declare"),
    "more than 64 bits": ({"w": entry(shape=(2**70,), offsets=(0, 2**72))}, "impossible"),
    "huge but empty": ({"w": entry(shape=(0, 2**62, 2**62), offsets=(0, 0))}, "impossible"),
    "too many axes": ({"w": entry(shape=(1,) * 33 + (2,))}, "impossible"),
    "negative size": ({"w": entry(shape=(-2,))}, "sizes >= 0"),
    "fractional size": ({"w": entry(shape=(2.0,))}, "sizes >= 0"),
    "minus nothing": (
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}',
        "do not span",
    ),
    "bool as size": ({"w": entry(shape=(True, 2))}, "sizes >= 0"),
    "shape is text": ({"w": {**entry(), "shape": "2"}}, "sizes >= 0"),
    "size and span differ": ({"w": entry(shape=(3,))}, "do not span"),
    "backwards": ({"w": entry(offsets=(8, 0))}, "do not span"),
    "negative offset": ({"w": entry(offsets=(-8, 0))}, "do not span"),
    "one offset": ({"w": entry(offsets=(8,))}, "do not span"),
    "offsets are text": ({"w": {**entry(), "data_offsets": ["0", "8"]}}, "do not span"),
    "gap": ({"w": entry(shape=(1,), offsets=(4, 8))}, "missing data"),
    "overlap": ({"a": entry(), "b": entry(shape=(1,), offsets=(4, 8))}, "overlapping"),
    "unused tail": ({"w": entry(shape=(1,), offsets=(0, 4))}, "after the last tensor"),
    "unknown dtype": ({"w": entry(dtype="F8_E4M3")}, "supported are"),
    "dtype is a list": ({"w": entry(dtype=["F32"])}, "supported are"),
    "bool of 255": ({"w": entry(dtype="BOOL", shape=(8,))}, "other than 0 and 1"),
    "another key": ({"w": entry(extra=1)}, "described by"),
    "a key missing": ({"w": {"dtype": "F32", "shape": [2]}}, "described by"),
    "no description": ({"w": [0, 8]}, "described by"),
    "path upwards": ({"../../x": entry()}, "looks like a path"),
    "path upwards inside": ({"a/../../x": entry()}, "looks like a path"),
    "absolute path": ({"/etc/passwd": entry()}, "looks like a path"),
    "backslash": ({"..\\x": entry()}, "looks like a path"),
    "empty name": ({"": entry()}, "non-empty"),
    "control characters": ({"w\x1b[31m": entry()}, "control characters"),
    "half a surrogate": (rb'{"\ud800": {}}', "control characters"),
    "metadata no mapping": ({"__metadata__": [], "w": entry()}, "map strings to strings"),
    "metadata of numbers": ({"__metadata__": {"a": 1}, "w": entry()}, "map strings to strings"),
    "metadata is a tensor": ({"__metadata__": entry()}, "map strings to strings"),
    "name twice": (
        b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        "'w' twice",
    ),
    "dtype twice": (
        b'{"w":{"dtype":"F32","dtype":"F64","shape":[2],"data_offsets":[0,8]}}',
        "'dtype' twice",
    ),
    "a list": (b"[]", "begin with '{'"),
    "leading space": (b' {"w":{}}', "begin with '{'"),
    "unfinished": (b'{"w":', "not valid JSON"),
    "not UTF-8": (b'{"\xff":{}}', "not valid JSON"),
    "deeply nested": (b'{"w":' + b"[" * 200_000, "not valid JSON"),
    "endless number": (b'{"w":' + b"1" * 10_000 + b"}", "not valid JSON"),
    "two documents": (b"{}{}", "not valid JSON"),
}


@pytest.mark.parametrize("case", HOSTILE_HEADERS)
def test_hostile_safetensors_headers_are_rejected(tmp_path, case):
    header, message = HOSTILE_HEADERS[case]
    path = tmp_path / "hostile.safetensors"
    write_safetensors(path, header, data=b"\xff" * 8)
    assert_refused(path, message)
    if case != "bool of 255":  # visible in the data only
        with pytest.raises(lucid.WeightFileError):
            read_metadata(path)


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 10**9, 9])
def test_header_longer_than_the_file_is_rejected(tmp_path, length):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, b"{}", b"", length=length)
    assert_refused(path, f"header of {length} bytes")


def test_huge_header_is_rejected(tmp_path):
    path = tmp_path / "w.safetensors"
    with open(path, "wb") as file:
        file.write((10**9).to_bytes(8, "little") + b"{")
        file.truncate(10**9 + 8)  # sparse
    assert_refused(path, "at most")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "I64", "X"]) | json_values,
        "shape": st.lists(st.integers(-1, 4), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 40), max_size=3) | json_values,
    }
)


@settings(max_examples=200, deadline=None)
@given(
    header=st.dictionaries(st.text(max_size=6) | st.just("__metadata__"), entries | json_values),
    data=st.binary(max_size=40),
)
def test_random_headers_are_weight_file_errors(tmp_path_factory, header, data):
    path = tmp_path_factory.mktemp("headers") / "w.safetensors"
    write_safetensors(path, header, data)
    loaded = loaded_or_refused(path)
    if loaded is not None:
        assert sum(value.data.nbytes for value in loaded.values()) <= 2 * len(data)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), suffix=st.sampled_from([".safetensors", ".npz", ".pth"]))
def test_random_content_is_a_weight_file_error(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("contents") / f"w{suffix}"
    path.write_bytes(content)
    loaded_or_refused(path)


# --- names on the way out ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["__metadata__", "../../x", "/x", "a/../b", "a\\b", "", "a\0b", 3])
def test_names_rejected_on_load_are_rejected_on_save(saved, name):
    before = saved.read_bytes()
    with pytest.raises(lucid.WeightFileError, match="cannot save"):
        lucid.save({"good": np.zeros(2), name: np.zeros(2)}, saved)
    assert saved.read_bytes() == before


# --- zip archives ---------------------------------------------------------------------------------


def npy(array=None, header=None, version=b"\x01\x00", data=b""):
    buffer = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(buffer, array, allow_pickle=True)
        return buffer.getvalue()
    text = header.encode() if isinstance(header, str) else header
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=compression)


class Payload:
    """Create a directory when unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def test_object_arrays_are_rejected_and_never_run(tmp_path):
    path, canary = tmp_path / "w.npz", tmp_path / "canary"
    np.savez(path, good=np.zeros(2), bad=np.array([Payload(canary)], dtype=object))
    assert_refused(path, "no objects")
    assert not canary.exists()
    np.load(path, allow_pickle=True)["bad"]  # the payload is a live one
    assert canary.exists()


def header(descr="'<f4'", fortran="False", shape="(2,)", more=""):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, {more}}}\n"


HOSTILE_MEMBERS = {
    "terabytes": (npy(header=header(shape="(1099511627776,)"), data=b"\0" * 8), "holds 8"),
    "more than 64 bits": (npy(header=header(shape=f"({2**70},)")), "impossible"),
    "negative": (npy(header=header(shape="(-2,)"), data=b"\0" * 8), "sizes >= 0"),
    "shape is text": (npy(header=header(shape="'ab'"), data=b"\0" * 8), "sizes >= 0"),
    "cut": (npy(header=header(), data=b"\0" * 7), "holds 7"),
    "too long": (npy(header=header(), data=b"\0" * 9), "holds 9"),
    "records": (npy(header=header(descr="[('a', '<f4'), ('b', '<f4')]")), "records"),
    "text": (npy(array=np.array(["a", "b"])), "plain numbers"),
    "complex": (npy(array=np.zeros(2, np.complex64)), "plain numbers"),
    "unknown type": (npy(header=header(descr="'<q9'"), data=b"\0" * 8), "plain numbers"),
    "order is a number": (npy(header=header(fortran="3"), data=b"\0" * 8), "damaged"),
    "a call": (npy(header=header(shape="open('x')"), data=b"\0" * 8), "damaged"),
    "no dict": (npy(header="[1, 2]", data=b"\0" * 8), "damaged"),
    "keys missing": (npy(header="{'descr': '<f4'}", data=b"\0" * 8), "damaged"),
    "deeply nested": (npy(header="(" * 9000), "damaged"),
    "huge header": (npy(header=" " * 20_000), "header of 20000 bytes"),
    "unknown version": (npy(header=header(), version=b"\x09\x00"), r"not an \.npy array"),
    "no array": (b"hello", r"not an \.npy array"),
    "nothing": (b"", r"not an \.npy array"),
    "bool of 255": (npy(header=header(descr="'|b1'"), data=b"\xff\x01"), "other than 0 and 1"),
}


@pytest.mark.parametrize("case", HOSTILE_MEMBERS)
def test_hostile_npz_members_are_rejected(tmp_path, case):
    content, message = HOSTILE_MEMBERS[case]
    path = tmp_path / "hostile.npz"
    write_zip(path, [("w.npy", content)])
    assert_refused(path, message)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../../x.npy", "looks like a path"),
        ("/etc/x.npy", "looks like a path"),
        ("__metadata__.npy", "not allowed"),
        (".npy", "non-empty"),
        ("readme.txt", "without weights, with 'readme.txt'"),
    ],
)
def test_npz_member_names_are_checked(tmp_path, name, message):
    path = tmp_path / "w.npz"
    write_zip(path, [(name, npy(np.zeros(2)))])
    assert_refused(path, message)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_npz_member_is_rejected(tmp_path):
    path = tmp_path / "w.npz"
    write_zip(path, [("w.npy", npy(np.zeros(2))), ("w.npy", npy(np.ones(2)))])
    assert_refused(path, "twice")


def test_npz_metadata_is_checked(tmp_path):
    for text in (b"[]", b'{"a": 1}', b"{", b"\xff", b"[" * 200_000):
        write_zip(tmp_path / "w.npz", [("__metadata__.json", text)])
        assert_refused(tmp_path / "w.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_rejected(tmp_path, method):
    write_zip(tmp_path / "w.npz", [("w.npy", npy(np.zeros(2)))], method)
    assert_refused(tmp_path / "w.npz", "unsupported compression")


# --- in little memory -----------------------------------------------------------------------------


def test_zip_bomb_is_rejected_before_inflation(tmp_path):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, w=np.zeros(2**26, np.float32))  # 256 MiB in 256 KiB
    assert path.stat().st_size < 2**20
    assert "zip bomb" in refused_in_little_memory(path)


def test_overlapping_zip_members_are_rejected(tmp_path):
    path = tmp_path / "bomb.npz"
    content = npy(np.zeros(2**16, np.float32))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("w0.npy"), content)
        first = archive.infolist()[0]
        for i in range(1, 1000):
            info = zipfile.ZipInfo(f"w{i}.npy")
            for field in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(info, field, getattr(first, field))
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    assert "declare" in refused_in_little_memory(path)


def test_declared_terabytes_are_rejected_before_allocation(tmp_path):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {"w": entry(shape=(2**38,), offsets=(0, 2**40))})
    assert "declare" in refused_in_little_memory(path)
    path = tmp_path / "w.npz"
    write_zip(path, [("w.npy", npy(header=header(shape=f"({2**38},)")))])
    assert "holds 0" in refused_in_little_memory(path)


def test_file_truncated_while_reading_is_rejected(tmp_path):
    path = tmp_path / "w.safetensors"
    lucid.save({"conv.weight": ARRAYS["conv.weight"]}, path)
    content = path.read_bytes()
    with pytest.raises(MalformedError, match=r"truncated in the data of tensor 'conv\.weight'"):
        safetensors_format.read(io.BytesIO(content[:-4]), len(content))


def test_too_large_header_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(safetensors_format, "_MAX_HEADER", 200)
    path = tmp_path / "w.safetensors"
    with pytest.raises(
        lucid.WeightFileError, match=r"cannot save .*w\.safetensors: the header would"
    ):
        lucid.save(ARRAYS, path)
    assert not list(tmp_path.iterdir())
