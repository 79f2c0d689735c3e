"""Kinds of special files."""

import os
import socket
from pathlib import Path

from lucid.special_files import special_kind


def test_special_kinds(tmp_path: Path) -> None:
    file, pipe, bound = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    file.touch()
    os.mkfifo(pipe)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(bound))
    kinds = {path.name: special_kind(path.stat().st_mode) for path in (file, pipe, bound)}
    assert kinds == {"a": None, "b": "a named pipe", "c": "a socket"}
    assert special_kind(os.stat(tmp_path).st_mode) is None
    assert special_kind(os.stat("/dev/zero").st_mode) == "a character device"
