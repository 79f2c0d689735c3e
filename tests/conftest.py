"""Environment that all tests share, however they are started."""

from __future__ import annotations

import multiprocessing.process
import os
import signal
import subprocess
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
