"""Disk store of compiled kernels: location, trust, damage, cleanup."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lucid.kernels.cache import Store, cache_folder

ON_POSIX = hasattr(os, "geteuid")
posix = pytest.mark.skipif(not ON_POSIX, reason="needs POSIX file owners and modes")
mortal = pytest.mark.skipif(
    not ON_POSIX or os.geteuid() == 0, reason="root ignores read-only modes"
)
only_root = pytest.mark.skipif(
    not ON_POSIX or os.geteuid() != 0, reason="needs root to change owners"
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "lucid", "this")


# --- location ------------------------------------------------------------------------------


@pytest.fixture
def nowhere_said(monkeypatch, tmp_path):
    for name in ("LUCID_CACHE_DIR", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")


def test_default_is_the_user_cache_folder(nowhere_said, monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / ".cache" / "lucid"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "lucid"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # ignored, per the specification
    assert cache_folder() == tmp_path / ".cache" / "lucid"


def test_environment_variables_in_order(nowhere_said, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert cache_folder() == tmp_path / "numba" / "lucid"
    monkeypatch.setenv("LUCID_CACHE_DIR", "~/mine")
    assert cache_folder() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("platform", "folder"), [("darwin", "Library/Caches/lucid"), ("win32", "local/lucid/cache")]
)
def test_folder_on_other_systems(nowhere_said, monkeypatch, tmp_path, platform, folder):
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / folder


def test_no_home_folder(nowhere_said, monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(OSError, match="no cache folder: Could not determine home"):
        cache_folder()


# --- entries -------------------------------------------------------------------------------


def test_write_then_read(store):
    assert store.read("entry") is None
    store.write("entry", b"first")
    store.write("other", b"")
    assert store.read("entry") == b"first"
    assert store.read("other") == b""
    store.write("entry", b"second")
    assert store.read("entry") == b"second"
    assert sorted(path.name for path in store.folder.iterdir()) == ["entry", "other"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=40), place=st.integers(0, 200), cut=st.booleans())
def test_damaged_entry_is_absent(store, content, place, cut):
    store.write("entry", content)
    path = store.folder / "entry"
    stored = bytearray(path.read_bytes())
    place %= len(stored)
    if cut:
        del stored[place:]
    else:
        stored[place] ^= 1
    path.write_bytes(stored)
    assert store.read("entry") is None
    store.write("entry", content)
    assert store.read("entry") == content


def test_concurrent_writers_and_readers(store):
    """A reader finds a whole entry of one of the writers."""
    contents = [bytes([i]) * 100_000 for i in range(4)]
    store.write("entry", contents[0])
    together = threading.Barrier(5, timeout=30)

    def keep_writing(content):
        together.wait()
        for _ in range(50):
            store.write("entry", content)

    writers = [threading.Thread(target=keep_writing, args=[content]) for content in contents]
    for writer in writers:
        writer.start()
    together.wait()
    while any(writer.is_alive() for writer in writers):
        assert store.read("entry") in contents
    assert [path.name for path in store.folder.iterdir()] == ["entry"]


def test_full_disk_leaves_no_files(store, monkeypatch):
    store.write("entry", b"old")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        store.write("entry", b"new")
    assert store.read("entry") == b"old"
    assert [path.name for path in store.folder.iterdir()] == ["entry"]


@mortal
def test_read_only_folder(store):
    store.write("entry", b"content")
    store.folder.chmod(0o555)
    assert store.read("entry") == b"content"
    with pytest.raises(PermissionError):
        store.write("other", b"content")


def test_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "lucid").write_text("")
    store = Store(tmp_path / "lucid", "this")
    assert store.read("entry") is None
    with pytest.raises(OSError, match="lucid"):
        store.write("entry", b"content")


# --- trust ---------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("which", ["entry", "fingerprint", "kernels"])
def test_writable_by_others_is_not_trusted(store, mode, which):
    store.write("entry", b"content")
    place = {
        "entry": store.folder / "entry",
        "fingerprint": store.folder,
        "kernels": store.folder.parent,
    }
    path = place[which]
    path.chmod(path.stat().st_mode | mode)
    assert store.read("entry") is None
    if which == "entry":
        store.write("entry", b"again")
        assert store.read("entry") == b"again"
    else:
        with pytest.raises(PermissionError, match=f"{path} is not trusted.*others may write"):
            store.write("entry", b"again")


@only_root
@pytest.mark.parametrize("which", ["entry", "fingerprint", "kernels"])
def test_owned_by_others_is_not_trusted(store, which):
    store.write("entry", b"content")
    place = {
        "entry": store.folder / "entry",
        "fingerprint": store.folder,
        "kernels": store.folder.parent,
    }
    os.chown(place[which], 12345, -1)
    assert store.read("entry") is None
    if which != "entry":
        with pytest.raises(PermissionError, match=r"belongs to another user \(12345\)"):
            store.write("entry", b"again")


@posix
def test_symbolic_link_is_not_trusted(store, tmp_path):
    store.write("entry", b"content")
    elsewhere = tmp_path / "elsewhere"
    store.folder.rename(elsewhere)
    store.folder.symlink_to(elsewhere)  # links themselves have mode 777
    assert store.read("entry") is None


@posix
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_umask_does_not_matter(store, umask):
    before = os.umask(umask)
    try:
        store.write("entry", b"content")
    finally:
        os.umask(before)
    assert store.read("entry") == b"content"
    for path in (store.folder / "entry", store.folder, store.folder.parent):
        assert not path.stat().st_mode & 0o022


# --- cleanup -------------------------------------------------------------------


def test_old_fingerprints_are_removed(tmp_path):
    for age in range(8):
        store = Store(tmp_path, f"fingerprint-{age}")
        store.write("entry", b"content")
        used = time.time() - 3600 * (age + 1)
        os.utime(store.folder, (used, used))
    assert Store(tmp_path, "fingerprint-7").read("entry") == b"content"  # the newest again
    Store(tmp_path, "new").write("entry", b"content")
    kept = {path.name for path in (tmp_path / "kernels").iterdir()}
    assert kept == {"new", "fingerprint-7", *(f"fingerprint-{age}" for age in range(6))}


def test_abandoned_temporary_files_are_removed(store):
    store.write("entry", b"content")
    for name, age in ((".abandoned", 7200), (".being-written", 60)):
        path = store.folder / name
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age, time.time() - age))
    Store(store.folder.parents[1], "new").write("entry", b"content")
    assert {path.name for path in store.folder.iterdir()} == {"entry", ".being-written"}
