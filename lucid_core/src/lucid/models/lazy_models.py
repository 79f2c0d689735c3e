"""Models as attributes of ``lucid.models`` (PEP 562)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lucid.hints import attribute_error, find_hint
from lucid.models import zoo

__all__ = ["dir_models", "getattr_model"]


def getattr_model(name: str) -> Callable[..., Any]:
    """Return the builder of a model, as attribute access on ``lucid.models``.

    Raises
    ------
    AttributeError
        With the text of whatever error there was: an attribute is there or it is
        not, and ``hasattr`` never raises.
    """
    # What tools probe for, and submodules not imported yet: no reason to wake the plugins.
    if name.startswith("_") or name in zoo.RESERVED:
        raise AttributeError(f"module 'lucid.models' has no attribute {name!r}")
    if find_hint("lucid.models", name):
        raise attribute_error("lucid.models", name)
    try:
        return zoo.get_builder(name)
    except Exception as error:
        raise AttributeError(f"module 'lucid.models' has no attribute {name!r}: {error}") from error


def dir_models(static: Sequence[str]) -> list[str]:
    """Return what ``dir(lucid.models)`` lists: its own names and every model's."""
    try:
        names = zoo.list_models()
    except Exception:  # completion in a shell is no place to report a plugin
        names = []
    return sorted({*static, *(name for name in names if name.isidentifier())})
