"""The exceptions and warnings of Lucid.

Bad arguments raise ``ValueError`` and ``TypeError`` as everywhere in Python;
what stands here is what callers may want to catch by itself.
"""

from __future__ import annotations

__all__ = [
    "LucidError",
    "LucidWarning",
    "PluginError",
    "PluginWarning",
    "StateDictError",
    "UnknownModelError",
    "WeightFileError",
    "WeightFileWarning",
]


class LucidError(Exception):
    """Base class of Lucid's own exceptions."""


class UnknownModelError(LucidError, LookupError):
    """No registered model has the name that was asked for."""


class PluginError(LucidError):
    """A plugin could not be loaded, or what it registered cannot be used."""


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
