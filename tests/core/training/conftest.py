from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def small(monkeypatch):
    """The module ``small_trainer`` beside this file, which whole programs import, too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("small_trainer")


@pytest.fixture
def on_ranks(monkeypatch):
    """Runs a function on ranks that are threads; see ``threaded_ranks`` beside this file."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("threaded_ranks").on_ranks
