"""Models as attributes of ``lucid.models`` (PEP 562), and helpful failures of imports.

``from lucid.models import NAME`` asks the package for an attribute, then looks for
a submodule of that name, then raises a bare "cannot import name".  An
AttributeError with more to say is swallowed on the way, as it must be for
``hasattr`` to answer False.  The text gets through by the second step: a finder at
the end of ``sys.meta_path`` is asked for ``lucid.models.NAME`` when nobody else
has it, and explains.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from lucid.errors import LucidError
from lucid.hints import missing_attribute, remedy_for
from lucid.models import zoo

__all__ = ["dir_of_models", "install_finder", "model_attribute"]

_PREFIX = "lucid.models."


def model_attribute(name: str) -> Callable[..., Any]:
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
    if remedy_for("lucid.models", name):
        raise missing_attribute("lucid.models", name)
    try:
        return zoo.get_builder(name)
    except Exception as error:
        raise AttributeError(f"module 'lucid.models' has no attribute {name!r}: {error}") from error


def dir_of_models(static: Sequence[str]) -> list[str]:
    """Return what ``dir(lucid.models)`` lists: its own names and every model's."""
    try:
        names = zoo.list_models()
    except Exception:  # completion in a shell is no place to report a plugin
        names = []
    return sorted({*static, *(name for name in names if name.isidentifier())})


class _ExplainingFinder:
    """Finds nothing, and says why ``lucid.models.NAME`` cannot be imported."""

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        if not fullname.startswith(_PREFIX):
            return
        name = fullname.removeprefix(_PREFIX)
        if name.startswith("_") or "." in name:
            return
        try:
            zoo.get_builder(name)
        except LucidError as error:
            raise ImportError(
                f"cannot import name {name!r} from 'lucid.models': {error}", name="lucid.models"
            ) from error


def install_finder() -> None:
    """Put the explaining finder behind all others, once."""
    if not any(isinstance(finder, _ExplainingFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExplainingFinder())
