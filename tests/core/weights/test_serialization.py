"""Saving and loading state dicts, whatever the format."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import lucid
from lucid.weights import read_metadata

FORMATS = ["weights.safetensors", "weights.npz", "weights"]


def channels_last(*shape):
    """An array of an NCHW shape in NHWC memory, as convolution weights are kept."""
    n, c, h, w = shape
    values = np.arange(n * c * h * w, dtype=np.float32)
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2)


LAYOUTS = {
    "channels_last": channels_last(2, 3, 4, 5),
    "transposed": np.arange(6.0).reshape(2, 3).T,
    "fortran": np.asfortranarray(np.arange(24, dtype=np.float32).reshape(2, 3, 4)),
    "sliced": np.arange(20, dtype=np.int64)[3:17:2],
    "reversed": np.arange(5, dtype=np.int32)[::-1],
    "broadcast": np.broadcast_to(np.float32(7), (3, 2)),
    "big_endian": np.arange(4, dtype=">f4"),
    "read_only": np.frombuffer(b"\x01\x02\x03", np.uint8),
    "scalar": np.array(3.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "half": np.array([1.5, -2.0], np.float16),
    "bool": np.array([[True, False]]),
    "int8": np.array([-1, 1], np.int8),
    "uint64": np.array([2**64 - 1], np.uint64),
}


@pytest.mark.parametrize("filename", FORMATS)
def test_round_trip_of_layouts_and_dtypes(tmp_path, filename):
    path = tmp_path / filename
    lucid.save(LAYOUTS, path)
    loaded = lucid.load(path)
    assert list(loaded) == list(LAYOUTS)
    for name, array in LAYOUTS.items():
        assert loaded[name].shape == array.shape, name
        assert loaded[name].dtype == array.dtype.newbyteorder("="), name
        np.testing.assert_array_equal(loaded[name].numpy(), array, err_msg=name)
        assert loaded[name].numpy().flags.writeable, name


@pytest.mark.parametrize("filename", FORMATS)
def test_nothing_at_all_can_be_saved(tmp_path, filename):
    lucid.save({}, tmp_path / filename)
    assert lucid.load(tmp_path / filename) == {}


@pytest.mark.parametrize("filename", FORMATS)
def test_array_under_two_names_is_stored_under_both(tmp_path, filename):
    shared = lucid.tensor([1.0, 2.0])
    lucid.save({"stem": shared, "net.stem": shared, "view": shared.data[:1]}, tmp_path / filename)
    loaded = lucid.load(tmp_path / filename)
    assert {name: value.tolist() for name, value in loaded.items()} == {
        "stem": [1.0, 2.0],
        "net.stem": [1.0, 2.0],
        "view": [1.0],
    }
    loaded["stem"].data[0] = 9  # memory of its own
    assert loaded["net.stem"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("filename", FORMATS)
def test_equal_weights_give_equal_files_without_touching_the_arrays(tmp_path, filename):
    array = channels_last(2, 3, 2, 2)
    before, strides = array.copy(), array.strides
    metadata = {f"key {i}": str(i) for i in range(5)}
    lucid.save({"w": array, "n": np.int64([3])}, tmp_path / filename, metadata)
    first = (tmp_path / filename).read_bytes()
    lucid.save(
        {"w": np.ascontiguousarray(array), "n": np.int64([3])}, tmp_path / filename, metadata
    )
    assert (tmp_path / filename).read_bytes() == first
    np.testing.assert_array_equal(array, before)
    assert array.strides == strides


@pytest.mark.parametrize("filename", FORMATS)
def test_metadata_is_stored_with_the_tensors(tmp_path, filename):
    path = tmp_path / filename
    lucid.save({"w": np.zeros(2)}, path, metadata={"Größe": "3 µm", "": 'quoted "text"'})
    metadata = read_metadata(path)
    assert metadata.pop("lucid.sha256")
    assert metadata == {"Größe": "3 µm", "": 'quoted "text"'}


@pytest.mark.parametrize("filename", FORMATS)
def test_path_may_be_text_and_the_suffix_in_capitals(tmp_path, filename):
    path = str(tmp_path / filename.upper())
    lucid.save({"w": np.ones(2, np.float32)}, path)
    assert lucid.load(path)["w"].tolist() == [1, 1]


def test_safetensors_library_reads_what_lucid_writes(tmp_path):
    path = tmp_path / "w.safetensors"
    arrays = {name: value for name, value in LAYOUTS.items() if name != "big_endian"}
    lucid.save(arrays, path, {"format": "pt"})
    theirs = safetensors.numpy.load_file(path)
    assert theirs.keys() == arrays.keys()
    for name, array in arrays.items():
        assert theirs[name].dtype == array.dtype
        np.testing.assert_array_equal(theirs[name], array, err_msg=name)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata()["format"] == "pt"


def test_lucid_reads_what_the_safetensors_library_writes(tmp_path):
    path = tmp_path / "w.safetensors"
    arrays = {
        n: np.array(v, order="C", dtype=v.dtype.newbyteorder("=")) for n, v in LAYOUTS.items()
    }
    safetensors.numpy.save_file(arrays, path, {"a": "b"})
    loaded = lucid.load(path)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array, err_msg=name)
    assert read_metadata(path) == {"a": "b"}


def test_numpy_reads_the_npz_files_that_lucid_writes(tmp_path):
    lucid.save(LAYOUTS, tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz", allow_pickle=False) as theirs:
        for name, array in LAYOUTS.items():
            np.testing.assert_array_equal(theirs[name], array, err_msg=name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_lucid_reads_the_npz_files_that_numpy_writes(tmp_path, save):
    save(tmp_path / "w.npz", **LAYOUTS)
    loaded = lucid.load(tmp_path / "w.npz")
    for name, array in LAYOUTS.items():
        np.testing.assert_array_equal(loaded[name].numpy(), array, err_msg=name)


def test_bfloat16_becomes_float32(tmp_path):
    # By hand: 1 is 0x3F80, -2.5 is 0xC020, the smallest positive one is 2**-133, then inf, NaN.
    patterns = np.array([0x3F80, 0xC020, 0x0001, 0x7F80, 0x7FC0], "<u2")
    header = json.dumps({"w": {"dtype": "BF16", "shape": [5], "data_offsets": [0, 10]}}).encode()
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + patterns.tobytes())
    loaded = lucid.load(path)["w"]
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded.numpy(), [1, -2.5, 2.0**-133, np.inf, np.nan])


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".PTH", ".ckpt", ".bin", ".pkl"])
def test_pickled_checkpoints_are_not_written(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    with pytest.raises(lucid.WeightFileError, match=r"expected \.safetensors or \.npz"):
        lucid.save({"w": np.zeros(2)}, path)
    assert not path.exists()
    path.write_bytes(b"anything")
    with pytest.raises(lucid.WeightFileError, match=rf"(?i)w\{suffix}: .*PyTorch checkpoint"):
        lucid.load(path)


@pytest.mark.parametrize("filename", FORMATS)
def test_non_numeric_arrays_are_not_saved(tmp_path, filename):
    path = tmp_path / filename
    lucid.save({"w": np.zeros(2)}, path)
    before = path.read_bytes()
    for value in (np.array(["text"]), np.array([None]), np.zeros(2, "c8"), [1, 2], 3.0, "text"):
        with pytest.raises(TypeError, match="'bad'"):
            lucid.save({"good": np.zeros(2), "bad": value}, path)
    with pytest.raises(TypeError, match="metadata: expected str to str"):
        lucid.save({"w": np.zeros(2)}, path, {"epoch": 3})
    with pytest.raises(ValueError, match="reserved"):
        lucid.save({"w": np.zeros(2)}, path, {"lucid.sha256": "00"})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [filename]


@pytest.mark.parametrize("load", [lucid.load, read_metadata, lucid.load_model])
def test_missing_file_raises(tmp_path, load):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.safetensors"):
        load(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("load", [lucid.load, read_metadata, lucid.load_model])
def test_pipe_is_rejected_instead_of_waited_for(tmp_path, load):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(lucid.WeightFileError, match="not a regular file"):
        load(tmp_path / "pipe.safetensors")
    with pytest.raises(lucid.WeightFileError, match="got a folder"):
        load(Path(tmp_path))
