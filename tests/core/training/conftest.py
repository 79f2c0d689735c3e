from __future__ import annotations

import importlib
from pathlib import Path

import pytest


@pytest.fixture
def small(monkeypatch):
    """Return the module ``small_trainer``, which test programs import too."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("small_trainer")


@pytest.fixture
def on_ranks(monkeypatch):
    """Return ``on_ranks``, which runs a function on ranks that are threads."""
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("threaded_ranks").on_ranks
