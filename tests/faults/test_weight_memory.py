"""Memory for loading files of each format, beyond the arrays."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pth_files as pth
import pytest

import lucid

COUNT = 2**22
SHAPE = (2048, 2048)
MIB = 2**20
ARRAY = np.arange(COUNT, dtype=np.float32).reshape(SHAPE)
RAW = ARRAY.tobytes()


def safetensors(code, itemsize, element):
    header = {"w": {"dtype": code, "shape": SHAPE, "data_offsets": [0, COUNT * itemsize]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + element * COUNT


def archive(path, view, kind="f4", raw=RAW):
    stored = pth.storage("0", kind, len(raw) // (2 if kind == "bf16" else 4))
    pth.write_archive(path, pth.dict_({"w": pth.tensor(stored, *view)}), {"0": raw})


def one_storage(path):
    halves = {
        name: pth.tensor(pth.storage("0", "f4", COUNT), (1024, 2048), offset=offset)
        for name, offset in (("w", 0), ("v", COUNT // 2))
    }
    pth.write_archive(path, pth.dict_(halves), {"0": RAW})


def legacy(path):
    value = pth.dict_({"w": pth.of("0", ARRAY, legacy=True)})
    pth.write_legacy(path, value, {"0": (COUNT, RAW)})


#: How each file is written, and the MiB beyond the arrays that reading it may take.
FILES = {
    "ours.safetensors": (lambda path: lucid.save({"w": ARRAY}, path), 1),
    "bfloat16.safetensors": (lambda path: path.write_bytes(safetensors("BF16", 2, b"\0\0")), 3),
    "bool.safetensors": (lambda path: path.write_bytes(safetensors("BOOL", 1, b"\1")), 1),
    "ours.npz": (lambda path: lucid.save({"w": ARRAY}, path), 3),
    "deflated.npz": (lambda path: np.savez_compressed(path, w=ARRAY), 6),
    "big-endian.npz": (lambda path: np.savez(path, w=ARRAY.astype(">f4")), 3),
    # One array beside itself, where its elements have to be put into another order.
    "fortran.npz": (lambda path: np.savez(path, w=np.asfortranarray(ARRAY)), 16 + 3),
    "ours.pth": (lambda path: archive(path, (SHAPE,)), 3),
    "legacy.pth": (legacy, 3),
    # One storage beside the tensors that are made of it.
    "bfloat16.pth": (lambda path: archive(path, (SHAPE,), "bf16", RAW[: 2 * COUNT]), 8 + 3),
    "transposed.pth": (lambda path: archive(path, (SHAPE, (1, 2048))), 16 + 3),
    "part.pth": (lambda path: archive(path, ((3,), (1,), 7)), 16 + 3),
    "two.pth": (one_storage, 16 + 3),
}


@pytest.mark.parametrize("name", FILES)
def test_loading_takes_little_more_memory_than_the_arrays(tmp_path, name):
    write, allowed = FILES[name]
    path = tmp_path / name
    write(path)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        loaded = lucid.load(path)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    beyond = peak - sum(tensor.data.nbytes for tensor in loaded.values())
    assert beyond < allowed * MIB, f"{beyond / MIB:.2f} MiB"
    if name not in ("bfloat16.safetensors", "bfloat16.pth", "bool.safetensors"):
        first = loaded["w"].numpy().reshape(-1)
        expected = ARRAY.T if name == "transposed.pth" else ARRAY
        begin = 7 if name == "part.pth" else 0
        np.testing.assert_array_equal(first, expected.reshape(-1)[begin : begin + first.size])


@pytest.mark.parametrize("count", [1, 5, 2**18 - 1, 2**18, 2**19 + 3])
def test_bfloat16_is_converted_in_chunks(tmp_path, count):
    """In chunks, for any number of elements."""
    patterns = np.random.default_rng(count).integers(0, 2**16, count, dtype=np.uint16)
    header = {"w": {"dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count]}}
    text = json.dumps(header).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + patterns.tobytes())
    loaded = lucid.load(path)["w"].numpy()
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded.view(np.uint32), patterns.astype(np.uint32) << 16)
