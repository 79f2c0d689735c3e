"""Files that are given as weights and are something else, recognized to be named."""

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
    "describe_part",
    "unfinished_download",
]

_MIN_TEXT = 8
_AGAIN = "download the weights again"
_CONVERT = "convert it with the program that wrote it: torch.save(model.state_dict(), path)"
_UNPACK = "unpack it and give the file of weights in it"

#: What to do with a file of each group of :class:`lucid.file_types.FileType`.
_REMEDIES = {
    "pointer": "run git lfs pull",
    "model": _CONVERT,
    "array": "save arrays by name: numpy.savez(path, ...)",
    "archive": _UNPACK,
    "zeros": _AGAIN,
}
_ZIP = b"PK\3\4"  # read here, as .npz and .pth files are
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.")
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml", b"<!--", b"<script", b"<svg")
_PARTS = (".part", ".partial", ".crdownload", ".download", ".filepart", ".aria2", ".!ut", ".tmp")


def check_start(file: BinaryIO, size: int) -> None:
    """Refuse a file that begins as one of another kind; the position stays at the start.

    Raises
    ------
    MalformedError
        Naming what it is, and the remedy if there is one.
    """
    start = file.read(HEADER_SIZE)
    file.seek(0)
    if not size:
        raise MalformedError(f"is empty (0 bytes); {_AGAIN}")
    found = _recognized(start)
    if found is not None:
        what, remedy = found
        raise MalformedError(f"expected weights, it is {what}" + (f"; {remedy}" if remedy else ""))


def describe_archive(names: list[str]) -> str | None:
    """What a zip archive without a pickle or arrays of PyTorch or NumPy is; None if unknown."""
    inner = [name for name in names if not name.endswith("/")]
    if "META-INF/MANIFEST.MF" in names or "AndroidManifest.xml" in names:
        return "a Java archive"
    if any(name.endswith(("/archive_format", "/models/model.json")) for name in names):
        return f"a program of torch.export; {_CONVERT}"
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
    return f"a zip archive without weights, it holds {listed}"


def describe_folder(path: str | os.PathLike[str]) -> str:
    """What to give instead of a folder."""
    names = sorted(os.listdir(path))
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return (
            "is the folder of a distributed checkpoint; convert it: python -m "
            "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    if "saved_model.pb" in names:
        return f"is the folder of a TensorFlow model; {_CONVERT}"
    weights = (".safetensors", ".npz", ".pth", ".pt", ".ckpt", ".bin")
    inside = [name for name in names if name.lower().endswith(weights)]
    listed = f", such as {', '.join(map(repr, inside[:3]))}" if inside else ""
    return f"is a folder; give a file of weights in it{listed}"


def unfinished_download(path: str | os.PathLike[str]) -> str:
    """A remark for errors about files whose name says that their download goes on."""
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    return f"; {suffix} marks an unfinished download: {_AGAIN}" if suffix in _PARTS else ""


def describe_part(path: str | os.PathLike[str]) -> str | None:
    """A remark on a file whose name says that it is one of several."""
    match = _PART.search(os.path.basename(os.fspath(path)))
    if match is None or int(match[2]) < 2:
        return None
    return (
        f"is file {int(match[1])} of {int(match[2])} of one checkpoint and holds a part of the "
        "weights; load all files and merge their dicts"
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
        return "an HTML or XML page, such as a login or error page saved in its place", _AGAIN
    if text.startswith((b"{", b"[")) and b'"weight_map"' in text:
        return (
            "the index of weights in several files",
            "join them: lucid.save({**lucid.load(one), **lucid.load(two), ...}, path)",
        )
    if text.startswith(b"[") or (text.startswith(b"{") and text[1:].lstrip()[:1] in (b'"', b"}")):
        return "JSON text", ""
    try:
        words = start.decode()
    except UnicodeDecodeError:
        return None
    if len(words) > _MIN_TEXT and all(c.isprintable() or c.isspace() for c in words):
        return f"text that begins with {words[:30]!r}", ""
    return None
