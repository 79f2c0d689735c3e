"""Detect files that are not weights, for errors that name the file type."""

from __future__ import annotations

import os
import re
from typing import BinaryIO

from lucid.file_types import HEADER_SIZE, detect_file_type
from lucid.weights.format_checks import METADATA, MalformedError

__all__ = [
    "check_start",
    "describe_archive",
    "describe_folder",
    "describe_shard",
    "unfinished_download",
]

_MIN_TEXT = 8
_AGAIN = "download the weights again"
_CONVERT = "convert it with the library that wrote it: torch.save(model.state_dict(), path)"
_UNPACK = "unpack it and use the weights file in it"

#: Remedies by group of :class:`lucid.file_types.FileType`.
_REMEDIES = {
    "pointer": "run git lfs pull",
    "model": _CONVERT,
    "array": "save arrays by name: numpy.savez(path, ...)",
    "archive": _UNPACK,
    "zeros": _AGAIN,
}
_ZIP = b"PK\3\4"  # .npz and .pth files
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.")
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--", b"<script", b"<svg")
_PARTIAL_SUFFIXES = (
    *(".part", ".partial", ".crdownload", ".download", ".filepart"),
    *(".aria2", ".!ut", ".tmp"),
)


def check_start(file: BinaryIO, size: int) -> None:
    """Raise MalformedError, with the type and a remedy, for a file of another type.

    The position is reset to the start.
    """
    start = file.read(HEADER_SIZE)
    file.seek(0)
    if not size:
        raise MalformedError(f"is empty (0 bytes); {_AGAIN}")
    if (found := _recognized(start)) is not None:
        raise MalformedError(f"expected weights, got {'; '.join(filter(None, found))}")


def describe_archive(names: list[str]) -> str | None:
    """Describe a zip archive that is no .npz file or PyTorch checkpoint; None if unknown."""
    inner = [name for name in names if not name.endswith("/")]
    if "META-INF/MANIFEST.MF" in names or "AndroidManifest.xml" in names:
        return "a Java archive"
    if any(name.endswith(("/archive_format", "/models/model.json")) for name in names):
        return f"a torch.export program; {_CONVERT}"
    if "model.weights.h5" in names:
        return f"a Keras archive; {_CONVERT}"
    if any(name.startswith(("word/", "xl/", "ppt/")) for name in names):
        return "an Office document"
    if any(name.endswith(".npy") or name.startswith(METADATA) for name in inner):
        return None
    weights = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".npz", ".pkl")
    for name in inner:
        if name.lower().endswith(weights):
            return f"a zip archive with {name!r:.80} in it; {_UNPACK}"
    listed = ", ".join(repr(name)[:60] for name in inner[:3]) or "nothing"
    return f"a zip archive without weights, with {listed}"


def describe_folder(path: str | os.PathLike[str]) -> str:
    """Describe a folder and the file to use instead."""
    names = sorted(os.listdir(path))
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            "expected a file, got a distributed checkpoint folder; convert it: python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    if "saved_model.pb" in names:
        return f"expected a file, got a TensorFlow model folder; {_CONVERT}"
    weights = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".bin")
    inside = [name for name in names if name.lower().endswith(weights)]
    listed = f", such as {', '.join(map(repr, inside[:3]))}" if inside else ""
    return f"expected a file, got a folder; use a weights file in it{listed}"


def unfinished_download(path: str | os.PathLike[str]) -> str:
    """Return a hint for errors if the suffix is that of an unfinished download."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    return (
        f"; {suffix} is the suffix of an unfinished download: {_AGAIN}"
        if suffix in _PARTIAL_SUFFIXES
        else ""
    )


def describe_shard(path: str | os.PathLike[str]) -> str | None:
    """Describe a file whose name says that it is one shard of a checkpoint."""
    match = _SHARD.search(os.path.basename(os.fspath(path)))
    if match is None or int(match[2]) < 2:
        return None
    return (
        f"is shard {int(match[1])} of {int(match[2])} of a checkpoint; load all shards and merge "
        "the dicts"
    )


def _recognized(start: bytes) -> tuple[str, str] | None:
    if start.startswith(_ZIP):
        return None
    if (kind := detect_file_type(start)) is not None:
        return kind.name, _REMEDIES.get(kind.group, "")
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b":", b"B"):
        return "an ONNX or TensorFlow graph (protobuf)", _CONVERT
    return _recognized_text(start)


def _recognized_text(start: bytes) -> tuple[str, str] | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.lower().startswith(_PAGES):
        return "an HTML or XML page, such as a login or error page", _AGAIN
    if text.startswith((b"{", b"[")) and b'"weight_map"' in text:
        return (
            "the index of a sharded checkpoint",
            "merge the shards: lucid.save({**lucid.load(one), **lucid.load(two), ...}, path)",
        )
    if text.startswith(b"[") or (text.startswith(b"{") and text[1:].lstrip()[:1] in (b'"', b"}")):
        return "JSON text", ""
    try:
        words = start.decode()
    except UnicodeDecodeError:
        return None
    if len(words) > _MIN_TEXT and all(c.isprintable() or c.isspace() for c in words):
        return f"text that starts with {words[:30]!r}", _AGAIN
    return None
