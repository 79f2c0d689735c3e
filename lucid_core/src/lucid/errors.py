"""The exceptions and warnings of Lucid.

Bad arguments raise ``ValueError`` and ``TypeError`` as everywhere in Python;
what stands here is what callers may want to catch by itself.
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
    "WeightFileError",
    "WeightFileWarning",
    "find_stack_level",
]


class LucidError(Exception):
    """Base class of Lucid's own exceptions."""


class UnknownModelError(LucidError, LookupError):
    """No registered model has the name that was asked for."""


class MissingPackageError(LucidError, ImportError):
    """An optional package is not installed; says how to install it."""


class PluginError(LucidError):
    """A plugin could not be loaded, or what it registered cannot be used."""


class ProtocolError(LucidError, TypeError):
    """A model lacks a member that its task requires, or the member has a wrong value."""


class LucidWarning(UserWarning):
    """Base class of Lucid's own warnings, which the command line shows as one line."""


class PluginWarning(LucidWarning):
    """A plugin was skipped; names its distribution, version and error."""


class StateDictError(LucidError, ValueError):
    """A state dict does not fit a module; counts the keys that do not and lists ten of a kind."""


class WeightFileError(LucidError, ValueError):
    """A weight file is damaged, hostile or not what it should be; names the file."""


class WeightFileWarning(LucidWarning):
    """A weight file was read, and which part of it was used needs to be known."""


def find_stack_level() -> int:
    """Stack level, for :func:`warnings.warn`, of the first frame that is not of the core.

    To be called in the call of ``warn``.  ``warnings`` leaves out the frames of the import
    machinery, so they do not count.

    Returns
    -------
    int
        1 where the caller itself is outside.
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
