"""Environment that all tests share, however they are started."""

from __future__ import annotations

import multiprocessing.process
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest


def pytest_configure() -> None:
    """Let Ctrl-C be Ctrl-C: a shell starts what runs in its background with it ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _refuse(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("this test starts a process: mark it slow, so that quick leaves it out")


@pytest.fixture(autouse="LUCID_QUICK" in os.environ)
def no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the tests of the session quick to start no process."""
    monkeypatch.setattr(subprocess.Popen, "__init__", _refuse)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", _refuse)
    if hasattr(os, "fork"):
        monkeypatch.setattr(os, "fork", _refuse)


@pytest.fixture
def cheap_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zeros for random weights: names and shapes do not depend on what is drawn.

    Drawing takes most of the time that building a model takes.
    """
    from lucid.nn import init

    def zeros(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        return init.zeros_(tensor)

    for draw in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_", "trunc_normal_"):
        monkeypatch.setattr(init, draw, zeros)


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that publishes weights of a model on a local mirror.

    ``publish(model, state, tag, **fields)``, with a state dict or a file, returns the entry: that
    of the catalog with another digest if the tag exists, else a new one with these fields.
    """
    from lucid.weights import CatalogEntry, catalog, save

    folder = tmp_path_factory.mktemp("published")
    monkeypatch.setenv("LUCID_HOME", str(folder / "home"))
    monkeypatch.setenv("LUCID_WEIGHTS_MIRROR", str(folder / "mirror"))
    monkeypatch.delenv("LUCID_OFFLINE", raising=False)
    (folder / "mirror").mkdir()
    entries: dict[tuple[str, str], CatalogEntry] = {}
    registered: Callable[[], list[CatalogEntry]] = catalog.registered_weights

    def with_published() -> list[CatalogEntry]:
        defaults = {entry.model for entry in entries.values() if entry.default}
        others = (
            replace(entry, default=False) if entry.model in defaults else entry
            for entry in registered()
        )
        return [*({(entry.model, entry.tag): entry for entry in others} | entries).values()]

    monkeypatch.setattr(catalog, "registered_weights", with_published)

    def publish(model: str, state: Any, tag: str = "test_v1", **fields: Any) -> CatalogEntry:
        file: Path = folder / (state.name if isinstance(state, Path) else f"{model}.safetensors")
        if isinstance(state, Path):
            shutil.copy(state, file)
        else:
            save(state, file)
        found = {"sha256": catalog.sha256_of(file), "size": file.stat().st_size}
        known = {(entry.model, entry.tag): entry for entry in registered()}.get((model, tag))
        if known is None:
            url = f"https://weights.example/{file.name}"
            known = CatalogEntry(model, tag, url, license="CC0-1.0", source="test", **found)
        entries[model, tag] = entry = replace(known, **found, **fields)
        file.rename(folder / "mirror" / entry.filename)
        return entry

    return publish
