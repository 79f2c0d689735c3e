"""Exceptions and warnings.

Invalid arguments raise ``ValueError`` and ``TypeError``; the classes here are for errors that
callers may want to catch separately.
"""

from __future__ import annotations

import sys

__all__ = [
    "LucidError",
    "LucidWarning",
    "MissingPackageError",
    "PluginError",
    "PluginWarning",
    "ProtocolError",
    "StateDictError",
    "UnknownModelError",
    "UnknownWeightsError",
    "WeightFileError",
    "WeightFileWarning",
    "WeightsDownloadError",
    "find_stack_level",
]


class LucidError(Exception):
    """Base class of Lucid's own exceptions."""


class UnknownModelError(LucidError, LookupError):
    """Unknown model name."""


class UnknownWeightsError(LucidError, LookupError):
    """Unknown tag of published weights, or a model without any."""


class MissingPackageError(LucidError, ImportError):
    """Missing optional package; the message has the install command."""


class PluginError(LucidError):
    """Plugin that cannot be loaded, or whose registration is invalid."""


class ProtocolError(LucidError, TypeError):
    """Model that does not implement the protocol of its task."""


class LucidWarning(UserWarning):
    """Base class of Lucid's own warnings; the command line prints them as one line."""


class PluginWarning(LucidWarning):
    """Skipped plugin; the message has its distribution, version and error."""


class StateDictError(LucidError, ValueError):
    """State dict that does not match a module; the message lists up to ten keys of each kind."""


class WeightFileError(LucidError, ValueError):
    """Damaged, malicious or unsupported weight file; the message has its path."""


class WeightsDownloadError(LucidError, OSError):
    """Published weights that cannot be fetched; the message has the address and a remedy."""


class WeightFileWarning(LucidWarning):
    """Weight file that was read only in part; the message says which part."""


def find_stack_level() -> int:
    """Find the ``stacklevel`` for :func:`warnings.warn` of the first frame outside ``lucid``.

    Call it in the arguments of ``warn``.  Import machinery frames do not count, as in
    ``warnings``.
    """
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None:
        name = frame.f_globals.get("__name__", "")
        if name.startswith("importlib._bootstrap"):
            level -= 1
        elif not (name == "lucid" or name.startswith("lucid.")):
            break
        frame = frame.f_back
        level += 1
    return level
