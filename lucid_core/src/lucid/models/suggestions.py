"""Error messages and installation hints for unknown models, commands and packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

from lucid.models.info import PluginInfo, canonicalize_name

__all__ = [
    "KnownPlugin",
    "install_hint",
    "known_plugins",
    "missing_command_hint",
    "missing_module_hint",
    "pip_install",
    "unknown_model_message",
]

_MAX_CLOSE = 4  # suggested names


class KnownPlugin(NamedTuple):
    """A published plugin that may not be installed.

    Attributes
    ----------
    distribution : str
        Name of the distribution.
    models : tuple of str
        Patterns of the names and aliases of its models.
    commands : tuple of str
        Names of its commands.
    """

    distribution: str
    models: tuple[str, ...]
    commands: tuple[str, ...]


@cache
def known_plugins() -> tuple[KnownPlugin, ...]:
    """Return the plugins listed in ``known_plugins.json``."""
    import json
    import pkgutil

    content = json.loads(pkgutil.get_data(__package__, "known_plugins.json") or b"")
    return tuple(
        KnownPlugin(distribution, tuple(known["models"]), tuple(known["commands"]))
        for distribution, known in content.items()
    )


def pip_install(*distributions: str) -> str:
    """Return the pip command that installs distributions."""
    return "python -m pip install " + " ".join(distributions)


def install_hint() -> str:
    """Return a hint for an environment without any models."""
    command = pip_install(*(known.distribution for known in known_plugins()))
    return f"no models are installed; install some with: {command}"


def missing_command_hint(
    command: str, installed: Sequence[str], disabled: Sequence[str]
) -> str | None:
    """Return how to get a command of a known plugin; None if unknown or already installed.

    `installed` and `disabled` are distributions of plugins.
    """
    for known in known_plugins():
        if command in known.commands:
            return _distribution_hint(known.distribution, "adds it", installed, disabled)
    return None


def missing_module_hint(error: BaseException) -> str | None:
    """Return how to install the known plugin whose package could not be imported, else None."""
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    package = canonicalize_name(error.name.partition(".")[0])
    for known in known_plugins():
        if package == canonicalize_name(known.distribution):
            return f"{known.distribution} is not installed: {pip_install(known.distribution)}"
    return None


def _distribution_hint(
    distribution: str, what: str, installed: Sequence[str], disabled: Sequence[str]
) -> str | None:
    canonical = canonicalize_name(distribution)
    if canonical in map(canonicalize_name, disabled):
        return (
            f"{distribution} {what}, but is disabled; remove it from the environment variable "
            "LUCID_DISABLE_PLUGINS"
        )
    if canonical in map(canonicalize_name, installed):
        return None
    return f"{distribution} {what}: {pip_install(distribution)}"


def unknown_model_message(
    name: str,
    names: Mapping[str, str],
    installed: Sequence[PluginInfo],
    disabled: Sequence[str],
    families: Mapping[str, str] | None = None,
) -> str:
    """Return the one-line error for an unknown model, with suggestions.

    Parameters
    ----------
    name : str
        Unknown name.
    names : mapping of str to str
        Registered names and aliases, each with the name that it resolves to.
    installed : sequence of PluginInfo
        Loaded and failed plugins.
    disabled : sequence of str
        Distributions in ``LUCID_DISABLE_PLUGINS``.
    families : mapping of str to str, optional
        Family of each model.
    """
    parts = [f"no model is called {name!r}"]
    if close := _close_models(name, names, families or {}):
        parts.append(f"did you mean {' or '.join(map(repr, close))}?")
    failed = [plugin for plugin in installed if plugin.error is not None]
    if failed:
        causes = ", ".join(f"{plugin.origin} ({plugin.error})" for plugin in failed)
        parts.append(f"these plugins failed to load: {causes}")
    if (distribution := _distribution_of_model(name)) is not None:
        distributions = [plugin.distribution for plugin in installed]
        if advice := _distribution_hint(distribution, "may have it", distributions, disabled):
            parts.append(advice)
    elif not names and not failed:
        parts.append(install_hint())
    if len(parts) == 1:
        parts.append("list the models with lucid.models.list_models() or 'lucid models'")
    return "; ".join(parts)


def _close_models(name: str, names: Mapping[str, str], families: Mapping[str, str]) -> list[str]:
    """Return models with the prefix `name` or a similar name, else models of that family."""
    import difflib

    stem = name.partition(".")[0].lower()  # timm's weight tags, as in resnet50.a1_in1k
    if stem in names:
        return [names[stem]]
    prefix = _without_separators(stem)
    close = [key for key in names if prefix and _without_separators(key).startswith(prefix)]
    close = close or difflib.get_close_matches(stem, names, n=_MAX_CLOSE, cutoff=0.7)
    found = [names[other] for other in close] or [
        model
        for model, family in families.items()
        if prefix.startswith(_without_separators(family))
    ]
    return list(dict.fromkeys(found))[:_MAX_CLOSE]


def _without_separators(name: str) -> str:
    """Remove dashes and underscores, which model zoos use differently."""
    return name.replace("-", "").replace("_", "")


def _distribution_of_model(name: str) -> str | None:
    for known in known_plugins():
        if any(fnmatchcase(name, pattern) for pattern in known.models):
            return known.distribution
    return None
