"""Whole files to damage: small ones of every kind that the readers know."""

from __future__ import annotations

import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "core" / "weights"))

import pth_files as pth

import lucid

__all__ = ["CORPUS", "annotation_seeds", "corpus", "weight_seeds"]

#: Damaged files that once found something, or that open a way into a reader; one folder a kind.
CORPUS = Path(__file__).parent / "corpus"

ARRAYS = {
    "conv.weight": np.arange(12, dtype=np.float32).reshape(2, 3, 2),
    "conv.bias": np.array([0.5, -1.0], np.float16),
    "seen": np.array(7, np.int64),
    "mask": np.array([True, False, True]),
    "none": np.empty((0, 4), np.float64),
}


def weight_seeds() -> dict[str, list[bytes]]:
    """Weight files by suffix."""
    with tempfile.TemporaryDirectory() as folder:
        made = {
            suffix: [_saved(Path(folder) / f"w{suffix}", metadata) for metadata in ({}, {"a": "b"})]
            for suffix in (".safetensors", ".npz")
        }
        made[".pth"] = [_checkpoint(Path(folder) / "w.pth", legacy) for legacy in (False, True)]
    made[".safetensors"] += [_foreign(), _foreign(b' "__metadata__": {"format": "pt"},')]
    made[".npz"] += [_deflated(), _fortran()]
    return {suffix: files + corpus(suffix) for suffix, files in made.items()}


def corpus(kind: str) -> list[bytes]:
    """What is kept of one kind, in an order of its own."""
    return [path.read_bytes() for path in sorted((CORPUS / kind.lstrip(".")).glob("*"))]


def _saved(path: Path, metadata: dict[str, str]) -> bytes:
    lucid.save(ARRAYS, path, metadata)
    return path.read_bytes()


def _foreign(more: bytes = b"") -> bytes:
    """A file without a digest, so that damage to its numbers goes unseen."""
    header = (
        b"{" + more + b'"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},'
        b'"b":{"dtype":"BF16","shape":[2],"data_offsets":[8,12]},'
        b'"c":{"dtype":"U8","shape":[],"data_offsets":[12,13]}} '
    )
    return len(header).to_bytes(8, "little") + header + bytes(range(13))


def _deflated() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.zeros((3, 2), np.float32), b=np.array([1, 2], ">i4"))
    return buffer.getvalue()


def _fortran() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = io.BytesIO()
        np.lib.format.write_array(content, np.asfortranarray(np.ones((2, 3))), (2, 0))
        archive.writestr("w.npy", content.getvalue())
    return buffer.getvalue()


def _checkpoint(path: Path, legacy: bool) -> bytes:
    arrays = {"0": np.arange(6, dtype="<f4").reshape(2, 3), "1": np.array([1, 2], "<i8")}
    state = {"a.weight": pth.of("0", arrays["0"], legacy), "b": pth.of("1", arrays["1"], legacy)}
    value = pth.dict_({"epoch": pth.plain(3), "state_dict": pth.ordered(state)})
    if legacy:
        return pth.write_legacy(
            path, value, {key: (array.size, array.tobytes()) for key, array in arrays.items()}
        ).read_bytes()
    stored = {key: array.tobytes() for key, array in arrays.items()}
    return pth.write_archive(path, value, stored).read_bytes()


def annotation_seeds() -> dict[str, list[bytes]]:
    """Annotation files by kind."""
    coco = [json.dumps(_coco()).encode(), json.dumps(_coco(), indent=1).encode()]
    voc = [VOC.encode(), VOC.replace("<object>", "<object><part/>").encode()]
    return {"coco": coco + corpus("coco"), "voc": voc + corpus("voc")}


def _coco() -> dict[str, object]:
    return {
        "info": {"year": 2026, "note": "größe"},
        "images": [
            {"id": 10, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 5, "file_name": "sub/c.png", "width": 20, "height": 20},
        ],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [2, 3.5, 10, 20], "area": 150.5},
            {"id": 2, "image_id": 5, "category_id": 3, "bbox": [0, 0, 21, 1e1], "iscrowd": 1},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
    }


VOC = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <filename>picture.png</filename>
  <size><width>40</width><height>30</height><depth>3</depth></size>
  <object>
    <name>dog</name><difficult>0</difficult>
    <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>40</xmax><ymax>29</ymax></bndbox>
  </object>
  <object>
    <name>person</name><difficult>1</difficult>
    <bndbox><xmin>3</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>
  </object>
</annotation>
"""
