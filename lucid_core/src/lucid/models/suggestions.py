"""What to say when a model or a command is not there."""

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
    """A plugin the core can name to someone who has not installed it.

    Attributes
    ----------
    distribution : str
        What to install.
    models : tuple of str
        Patterns of the names and aliases that it registers.
    commands : tuple of str
        The commands it adds.
    """

    distribution: str
    models: tuple[str, ...]
    commands: tuple[str, ...]


@cache
def known_plugins() -> tuple[KnownPlugin, ...]:
    """The plugins in ``known_plugins.json``, which the tests compare with what is registered."""
    import json
    import pkgutil

    content = json.loads(pkgutil.get_data(__package__, "known_plugins.json") or b"")
    return tuple(
        KnownPlugin(distribution, tuple(known["models"]), tuple(known["commands"]))
        for distribution, known in content.items()
    )


def pip_install(*distributions: str) -> str:
    """The command that installs some distributions."""
    return "python -m pip install " + " ".join(distributions)


def install_hint() -> str:
    """What to do when no model is registered at all."""
    command = pip_install(*(known.distribution for known in known_plugins()))
    return f"no models are installed; get some with: {command}"


def missing_command_hint(
    command: str, installed: Sequence[str], disabled: Sequence[str]
) -> str | None:
    """How to get a command that a known plugin adds; None if none does, or it is installed.

    Parameters
    ----------
    command : str
        What was asked for.
    installed, disabled : sequence of str
        Distributions with plugins, and those that ``LUCID_DISABLE_PLUGINS`` keeps out.
    """
    for known in known_plugins():
        if command in known.commands:
            return _distribution_hint(known.distribution, "adds it", installed, disabled)
    return None


def missing_module_hint(error: BaseException) -> str | None:
    """How to get the known plugin whose package an import did not find; None for any other.

    Parameters
    ----------
    error : BaseException
        What was raised.
    """
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
            f"{distribution} {what}, and is disabled by LUCID_DISABLE_PLUGINS: remove it from that "
            "environment variable"
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
    """Explain on one line that no model is called `name`, and what may help.

    Parameters
    ----------
    name : str
        What was asked for.
    names : mapping of str to str
        The models there are: from every name and alias to the name.
    installed : sequence of PluginInfo
        The plugins that were looked at, failed ones among them.
    disabled : sequence of str
        Distributions that ``LUCID_DISABLE_PLUGINS`` keeps out.
    families : mapping of str to str, optional
        Family of each model.
    """
    parts = [f"no model is called {name!r}"]
    if close := _close_models(name, names, families or {}):
        parts.append(f"did you mean {' or '.join(map(repr, close))}?")
    failed = [plugin for plugin in installed if plugin.error is not None]
    if failed:
        causes = ", ".join(f"{plugin.origin} ({plugin.error})" for plugin in failed)
        parts.append(f"plugins that could not be loaded: {causes}")
    if (distribution := _distribution_of_model(name)) is not None:
        distributions = [plugin.distribution for plugin in installed]
        if advice := _distribution_hint(distribution, "may have it", distributions, disabled):
            parts.append(advice)
    elif not names and not failed:
        parts.append(install_hint())
    if len(parts) == 1:
        parts.append("lucid.models.list_models() lists the models, as does 'lucid models'")
    return "; ".join(parts)


def _close_models(name: str, names: Mapping[str, str], families: Mapping[str, str]) -> list[str]:
    """Names of models that begin with `name` or are similar, else the family that it names."""
    import difflib

    stem = name.partition(".")[0].lower()  # timm's tags, as in resnet50.a1_in1k, name weights
    if stem in names:
        return [names[stem]]
    beginning = _letters(stem)
    close = [other for other in names if beginning and _letters(other).startswith(beginning)]
    close = close or difflib.get_close_matches(stem, names, n=_MAX_CLOSE, cutoff=0.7)
    found = [names[other] for other in close] or [
        model for model, family in families.items() if beginning.startswith(_letters(family))
    ]
    return list(dict.fromkeys(found))[:_MAX_CLOSE]


def _letters(name: str) -> str:
    """The name without the dashes and underscores that zoos write differently."""
    return name.replace("-", "").replace("_", "")


def _distribution_of_model(name: str) -> str | None:
    for known in known_plugins():
        if any(fnmatchcase(name, pattern) for pattern in known.models):
            return known.distribution
    return None
