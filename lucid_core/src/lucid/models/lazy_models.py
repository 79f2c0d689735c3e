"""Lazy model functions: models as attributes of ``lucid.models`` (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lucid.hints import attribute_error, find_hint
from lucid.models import zoo

__all__ = ["dir_models", "getattr_model"]


def getattr_model(name: str) -> Callable[..., Any]:
    """Return the builder of a model; implements ``lucid.models.__getattr__``.

    Every error becomes an AttributeError, so that ``hasattr`` never raises.
    """
    # Private names and submodules are not models: do not run discovery for them.
    if name.startswith("_") or name in zoo.RESERVED:
        raise AttributeError(f"module 'lucid.models' has no attribute {name!r}")
    if find_hint("lucid.models", name):
        raise attribute_error("lucid.models", name)
    try:
        return zoo.get_builder(name)
    except Exception as error:
        raise AttributeError(f"module 'lucid.models' has no attribute {name!r}: {error}") from error


def dir_models(static: Sequence[str]) -> list[str]:
    """Return the static names and all model names; implements ``lucid.models.__dir__``."""
    try:
        names = zoo.list_models()
    except Exception:  # tab completion must not report plugin errors
        names = []
    return sorted({*static, *(name for name in names if name.isidentifier())})
