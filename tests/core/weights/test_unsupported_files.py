"""Files of other kinds are named for what they are, whatever their suffix says."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

import lucid


def image(kind):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, kind)
    return buffer.getvalue()


def tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("tensors"))
    return buffer.getvalue()


def archive(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"content")
    return buffer.getvalue()


def array():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 102530333\n"
INDEX = {"metadata": {"total_size": 8}, "weight_map": {"w": "model-00001-of-00002.safetensors"}}
FILES = {
    "a Git LFS pointer": (POINTER, "Git LFS pointer.*git lfs pull"),
    "a page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "HTML or XML page"),
    "a page after a byte order mark": (b"\xef\xbb\xbf\n <HTML lang='en'>", "HTML or XML page"),
    "an error of a store": (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "HTML or XML"),
    "PNG": (image("PNG"), "a PNG image"),
    "JPEG": (image("JPEG"), "a JPEG image"),
    "WebP": (image("WEBP"), "a WebP image"),
    "BMP": (image("BMP"), "a BMP image"),
    "GIF": (image("GIF"), "a GIF image"),
    "TIFF": (image("TIFF"), "a TIFF image"),
    "JSON": (b'{"classes": ["cat"]}', "JSON text"),
    "JSON of many lines": (b'[\n  {"id": 1}\n]', "JSON text"),
    "the index of shards": (json.dumps(INDEX).encode(), "index of a sharded.*lucid.load"),
    "text": (b"epoch 1, loss 0.25\n", "text that starts with 'epoch 1, loss"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(64), "GGUF"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x05" + bytes(range(200, 255)), "ONNX or TensorFlow"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
    "one array": (array(), "single NumPy array"),
    "gzip": (gzip.compress(b"weights"), "gzip archive; unpack"),
    "tar": (tar(), "tar archive; unpack"),
    "PDF": (b"%PDF-1.7\n", "PDF"),
    "zeros": (bytes(4096), "nothing but zero bytes"),
    "empty": (b"", r"empty \(0 bytes\)"),
    "a zip archive of weights": (archive("runs/best.pth"), "zip archive with 'runs/best.pth'"),
    "a zip archive": (archive("readme.txt"), "without weights, with 'readme.txt'"),
    "Keras": (archive("metadata.json", "model.weights.h5"), "Keras archive"),
    "torch.export": (archive("e/models/model.json", "e/data/sample.pt"), "a torch.export program"),
    "Office": (archive("[Content_Types].xml", "word/document.xml"), "Office document"),
    "a pickle of protocol 0": (pickle.dumps({"w": 1}, 0), "pickle of protocol 0"),
    "a pickle": (pickle.dumps({"w": 1}), "pickle, but not a PyTorch checkpoint"),
}


@pytest.mark.parametrize("filename", ["w.pth", "w.safetensors", "w.npz", "w"])
@pytest.mark.parametrize("case", FILES)
def test_other_file_types_are_named(tmp_path, case, filename):
    content, message = FILES[case]
    path = tmp_path / filename
    path.write_bytes(content)
    for read in (lucid.load, lucid.load_model, lucid.weights.read_metadata):
        with pytest.raises(lucid.WeightFileError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_folder_is_named(tmp_path):
    with pytest.raises(lucid.WeightFileError, match="got a folder"):
        lucid.load(tmp_path)
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(lucid.WeightFileError, match=r"such as 'model\.safetensors'"):
        lucid.load(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(lucid.WeightFileError, match="TensorFlow model"):
        lucid.load(tmp_path)
    for name in (".metadata", "__0_0.distcp"):
        (tmp_path / name).touch()
    with pytest.raises(lucid.WeightFileError, match=r"distributed checkpoint.*dcp_to_torch"):
        lucid.load(tmp_path)


def test_shard_of_a_checkpoint_warns(tmp_path):
    path = tmp_path / "model-00001-of-00002.safetensors"
    lucid.save({"w": lucid.ones(2)}, path)
    with pytest.warns(lucid.WeightFileWarning, match="is shard 1 of 2"):
        assert list(lucid.load(path)) == ["w"]
    whole = path.rename(tmp_path / "model-00001-of-00001.safetensors")
    assert list(lucid.load(whole)) == ["w"]


def test_unfinished_downloads_are_named(tmp_path):
    whole = tmp_path / "w.safetensors"
    lucid.save({"w": lucid.ones(100)}, whole)
    for suffix in (".part", ".crdownload"):
        path = tmp_path / f"w.safetensors{suffix}"
        path.write_bytes(whole.read_bytes()[:300])
        with pytest.raises(
            lucid.WeightFileError, match=f"{suffix} is the suffix of an unfinished download"
        ):
            lucid.load(path)
        path.write_bytes(whole.read_bytes())  # it is whole, whatever its name
        assert lucid.load(path)["w"].shape == (100,)
