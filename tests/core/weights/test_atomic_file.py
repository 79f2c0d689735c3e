"""A file is replaced whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

import pytest

from lucid.weights import atomic_file, atomic_write


def test_new_content_replaces_the_old(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_error_keeps_the_old_file(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write():
        with atomic_write(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_full_disk_names_the_file(tmp_path):
    path = tmp_path / "file"

    def write():
        with atomic_write(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match=rf"No space left on device: '{path}'"):
        write()
    assert os.listdir(tmp_path) == []


def test_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "third").write_bytes(b"old")
    (tmp_path / "last").symlink_to("runs/third")
    with atomic_write(tmp_path / "last") as file:
        file.write(b"new")
    assert (tmp_path / "last").is_symlink()
    assert (tmp_path / "runs" / "third").read_bytes() == b"new"


def test_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "file")}
    assert len(modes) == 1


def test_stale_temporaries_are_removed(tmp_path):
    path = tmp_path / "file"
    with atomic_write(path) as slower:
        (alive,) = os.listdir(tmp_path)
        (tmp_path / ".file.0123456789abcdef.tmp").write_bytes(b"left by a crash")
        (tmp_path / ".file2.0123456789abcdef.tmp").write_bytes(b"of another file")
        with atomic_write(path) as faster:
            faster.write(b"faster")
        assert set(os.listdir(tmp_path)) == {alive, "file", ".file2.0123456789abcdef.tmp"}
        slower.write(b"slower")
    assert path.read_bytes() == b"slower"


def test_temporary_removed_before_locking_is_replaced(tmp_path, monkeypatch):
    """Another writer may clean up between the creation of a temporary and its lock."""
    lock, locked = fcntl.flock, []

    def cleaner_is_faster(descriptor, operation):
        locked.append(descriptor)
        if len(locked) == 1:
            (first,) = tmp_path.iterdir()
            first.unlink()
            raise BlockingIOError
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", cleaner_is_faster)
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    assert len(locked) == 2
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    left = tmp_path / ".file.0123456789abcdef.tmp"
    left.write_bytes(b"perhaps of the living")
    with atomic_write(tmp_path / "file") as file:
        file.write(b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert left.exists()


def test_windows_rename(tmp_path, monkeypatch):
    """No locks but those of open files, renaming after closing, no opening of directories."""

    class Windows:
        name = "nt"

        def __getattr__(self, name):
            return getattr(os, name)

        def open(self, path, *args):
            assert not os.path.isdir(path)
            return os.open(path, *args)

        def replace(self, source, target):
            assert file.closed
            os.replace(source, target)

    monkeypatch.setattr(atomic_file, "fcntl", None)
    monkeypatch.setattr(atomic_file, "os", Windows())
    path = tmp_path / "file"
    path.write_bytes(b"old")
    (tmp_path / ".file.0123456789abcdef.tmp").write_bytes(b"left by a crash")
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_unwritable_folder_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory .*nowhere does not exist"):
        atomic_write(tmp_path / "nowhere" / "file").__enter__()
    with pytest.raises(IsADirectoryError, match="got a directory"):
        atomic_write(tmp_path).__enter__()


def test_long_file_name(tmp_path):
    path = tmp_path / ("n" * 250)
    with atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"
