"""File locks of running and ended processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lucid import locks
from lucid.locks import FileLock

HOLD = """
import sys, time
from lucid.locks import FileLock
lock = FileLock(sys.argv[1], "the target", "choose another --output")
lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.lock"


def lock_of(path):
    return FileLock(path, "the target", "choose another --output")


def owner_of(path, **changes):
    """Leave the lock file of a killed process."""
    lock = lock_of(path)
    lock.acquire()
    owner = {**json.loads(path.read_text()), **changes}
    lock.release()
    path.write_text(json.dumps(owner))


def test_lock_is_held_until_released(path):
    with lock_of(path) as lock:
        lock.acquire()  # held already
        with pytest.raises(ValueError, match=f"the target: in use by process {os.getpid()} on "):
            lock_of(path).acquire()
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not lock.held
    assert not path.exists()
    lock.release()
    with lock_of(path):
        pass


def test_lock_ends_with_its_object(path):
    lock = lock_of(path)
    lock.acquire()
    del lock
    assert not path.exists()


def test_folder_created_for_the_lock_is_removed(tmp_path):
    with lock_of(tmp_path / "a" / "b" / "x.lock"):
        (tmp_path / "a" / "kept").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["kept"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
def test_lock_of_a_killed_process_is_free(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match=f"in use by process {process.pid} on .*; wait for"):
            lock_of(path).acquire()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert path.exists()
    with lock_of(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_forked_child_neither_holds_nor_releases_the_lock(path):
    ready, done = os.pipe(), os.pipe()
    lock = lock_of(path)
    lock.acquire()
    child = os.fork()
    if not child:
        held = lock.held
        lock.release()
        os.write(ready[1], b"n" if held else b"y")
        os.read(done[0], 1)
        os._exit(0)
    assert os.read(ready[0], 1) == b"y"
    with pytest.raises(ValueError, match="in use"):
        lock_of(path).acquire()
    # If this process is killed, its descriptor is closed while the child runs.
    ((descriptor, _),) = [item for item in locks._held.items() if item[1] is lock]
    lock._finalizer.detach()
    os.close(descriptor)
    assert path.exists()
    with lock_of(path):
        pass
    os.write(done[1], b"x")
    os.waitpid(child, 0)
    for descriptor in (*ready, *done):
        os.close(descriptor)


def test_stale_lock_of_this_machine_is_free(path):
    owner_of(path, pid=os.getpid())  # without the operating system's lock
    lock_of(path).acquire()
    path.write_text("")  # killed before writing, or no disk space
    lock_of(path).acquire()


@pytest.mark.parametrize("text", ["poetry", "[1]", '{"pid": 1}'])
def test_other_file_is_not_overwritten(path, text):
    path.write_text(text)
    with pytest.raises(
        ValueError, match=r"x\.lock: expected a lock file, got another .* remove it"
    ):
        lock_of(path).acquire()
    assert path.read_text() == text


@pytest.mark.parametrize("shared", [True, False])
def test_stale_lock_of_another_machine(path, monkeypatch, shared):
    """Free if the file system shares locks between machines, else an error."""
    monkeypatch.setattr(locks, "_locks_are_shared", lambda path: shared)
    owner_of(path, host="elsewhere", boot="another", pid=12)
    if shared:
        lock_of(path).acquire()
        return
    with pytest.raises(
        ValueError,
        match=r"process 12 on elsewhere.* if that process has ended, "
        r"remove .*x\.lock, else choose another --output",
    ):
        lock_of(path).acquire()
    path.unlink()
    lock_of(path).acquire()


@pytest.mark.parametrize(
    ("line", "shared"),
    [
        ("ext4 /dev/sda rw", True),
        ("nfs4 host:/x rw,vers=4.2,local_lock=none", True),
        ("nfs host:/x rw,vers=3,nolock,local_lock=all", False),
        ("lustre a@tcp:/x rw,flock", True),
        ("lustre a@tcp:/x rw,localflock", False),
        ("fuse.sshfs host: rw", False),
        ("cifs //host/x rw,nobrl", False),
    ],
)
def test_shared_locks_by_mount_table(tmp_path, monkeypatch, line, shared):
    place = str(tmp_path / "a b").replace(" ", "\\040")
    table = f"1 0 8:1 / / rw - fuse.other x rw\n2 1 8:2 / {place} rw,relatime - {line}\n"
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda p, *a: table if p.name == "mountinfo" else read(p, *a)
    )
    assert locks._locks_are_shared(tmp_path / "a b" / "run" / "x.lock") == shared
    assert not locks._locks_are_shared(tmp_path / "a bc" / "x.lock")


@pytest.mark.slow
def test_without_file_locks_process_and_start_time_decide(path, monkeypatch):
    def none(descriptor, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", none)
    with lock_of(path), pytest.raises(ValueError, match=f"in use by process {os.getpid()}"):
        lock_of(path).acquire()
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    owner_of(path, pid=process.pid, started=None)
    lock_of(path).acquire()
    owner_of(path, pid=os.getpid(), started=1)  # its pid was reused
    lock_of(path).acquire()
    owner_of(path, boot="earlier")
    lock_of(path).acquire()
    owner_of(path, pid=os.getpid(), started=None)
    with pytest.raises(ValueError, match="in use by process"):
        lock_of(path).acquire()
    monkeypatch.setattr(locks, "_locks_are_shared", lambda path: True)
    path.unlink()
    owner_of(path, host="elsewhere", boot="another")
    with pytest.raises(ValueError, match="cannot be checked from"):
        lock_of(path).acquire()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_unwritable_folder_raises(path, monkeypatch, code):
    def refuse(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=f"the target: cannot be written to: {os.strerror(code)}"):
        lock_of(path).acquire()


def test_file_instead_of_the_folder_raises(tmp_path):
    (tmp_path / "f").touch()
    with pytest.raises(NotADirectoryError, match=r"the target: .* it is a file, not a folder"):
        lock_of(tmp_path / "f" / "x.lock").acquire()
