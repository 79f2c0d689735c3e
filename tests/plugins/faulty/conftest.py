"""Expected failures and models of the toy plugins."""

from __future__ import annotations

import pytest

#: Plugins that fail to load, with a part of the error.
FAILURES = {
    "toy-exits": "SystemExit: toy-exits wants the whole program to stop",
    "toy-half-way": "RuntimeError: half way through the hook",
    "toy-needs-newer-core": "run: python -m pip install --upgrade 'lucid-core",
    "toy-raises-at-import": "No module named 'a_module_that_nobody_has'",
    "toy-unknown-hook": "unknown hook 'lucid_register_layers'",
    "toy-wrong-signature": "Argument(s) {'registry'} are declared in the hookimpl",
}

#: Toy plugins that load, with their number of models.
TOYS = {
    "toy-broken-command": 1,
    "toy-good": 1,
    "toy-heavy": 1,
    "toy-namesake": 1,
    "toy-no-builder": 2,
    "toy-no-module": 1,
    "toy-slow": 1,
    "toy-twin-one": 1,
    "toy-twin-two": 1,
}


@pytest.fixture
def failures() -> dict[str, str]:
    """Plugins that fail to load, with a part of the error."""
    return dict(FAILURES)


@pytest.fixture
def loaded(registered: dict[str, list[str]]) -> dict[str, int]:
    """Plugins that load, with their number of models."""
    return {distribution: len(models) for distribution, models in registered.items()} | TOYS
