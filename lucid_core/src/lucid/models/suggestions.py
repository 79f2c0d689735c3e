"""What to say when a model or a command is not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from lucid.models.spec import PluginInfo, canonical_distribution

__all__ = [
    "KNOWN_PLUGINS",
    "KnownPlugin",
    "how_to_get_models",
    "pip_install",
    "provider_of_command",
    "unknown_model",
]


@dataclass(frozen=True)
class KnownPlugin:
    """A plugin the core can name to someone who has not installed it.

    Attributes
    ----------
    distribution : str
        What to install.
    models : tuple of str
        Patterns of the models it registers.
    commands : tuple of str
        The commands it adds.
    """

    distribution: str
    models: tuple[str, ...]
    commands: tuple[str, ...]


KNOWN_PLUGINS = (
    KnownPlugin(
        "lucid-models-classification",
        ("resnet_*", "wide_resnet_*", "resnext_*"),
        ("classify", "train-classifier"),
    ),
    KnownPlugin(
        "lucid-models-detection",
        ("faster_rcnn_*",),
        ("detect", "train-detector", "evaluate"),
    ),
)


def pip_install(*distributions: str) -> str:
    """The command that installs some distributions."""
    return "python -m pip install " + " ".join(distributions)


def how_to_get_models() -> str:
    """What to do when no model is registered at all."""
    command = pip_install(*(known.distribution for known in KNOWN_PLUGINS))
    return f"no models are installed; get some with: {command}"


def provider_of_command(command: str) -> str | None:
    """The known distribution that adds a command to the command line."""
    for known in KNOWN_PLUGINS:
        if command in known.commands:
            return known.distribution
    return None


def unknown_model(
    name: str,
    names: Sequence[str],
    installed: Sequence[PluginInfo],
    disabled: Sequence[str],
) -> str:
    """Explain on one line that no model is called `name`, and what may help.

    Parameters
    ----------
    name : str
        What was asked for.
    names : sequence of str
        The models there are.
    installed : sequence of PluginInfo
        The plugins that were looked at, failed ones among them.
    disabled : sequence of str
        Distributions that ``LUCID_DISABLE_PLUGINS`` keeps out.
    """
    import difflib

    parts = [f"no model is called {name!r}"]
    if close := difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.7):
        parts.append(f"did you mean {' or '.join(map(repr, close))}?")
    failed = [plugin for plugin in installed if plugin.error is not None]
    if failed:
        causes = ", ".join(f"{plugin.origin} ({plugin.error})" for plugin in failed)
        parts.append(f"plugins that could not be loaded: {causes}")
    if (provider := _provider_of_model(name)) is not None:
        canonical = canonical_distribution(provider)
        if canonical in map(canonical_distribution, disabled):
            parts.append(f"{provider} is disabled by LUCID_DISABLE_PLUGINS")
        elif canonical not in (canonical_distribution(p.distribution) for p in installed):
            parts.append(f"{provider} may have it: {pip_install(provider)}")
    elif not names and not failed:
        parts.append(how_to_get_models())
    return "; ".join(parts)


def _provider_of_model(name: str) -> str | None:
    for known in KNOWN_PLUGINS:
        if any(fnmatchcase(name, pattern) for pattern in known.models):
            return known.distribution
    return None
