"""Weight converters registered by plugins, imported on first use."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lucid.errors import PluginError, StateDictError
from lucid.models import zoo
from lucid.models.discovery import Plugin, describe_error
from lucid.models.info import IMPORT_PATH
from lucid.weights.converter import WeightConverter

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = [
    "GuardedConverter",
    "RegisteredConverter",
    "find_converter_by_name",
    "plugin_converters",
    "weight_converters",
]


@dataclass(frozen=True)
class RegisteredConverter:
    """Registered converter, not imported yet.

    Attributes
    ----------
    name, target, source, task : str
        Arguments of ``register`` in the hook ``lucid_register_weight_converters``.
    models : tuple of str
        Registered names of its models.
    origin : str
        Distribution and version of the plugin.
    """

    name: str
    target: str
    source: str
    task: str
    models: tuple[str, ...]
    origin: str

    def __str__(self) -> str:
        return f"the weight converter {self.name!r} of {self.origin}"

    def load(self) -> WeightConverter:
        """Import the converter; PluginError if that fails or it is no ``WeightConverter``."""
        module, _, attribute = self.target.partition(":")
        found = self.call(_import, module, attribute)
        if isinstance(found, WeightConverter):
            return found
        raise PluginError(
            f"{self}: expected {self.target!r} to be an instance of lucid.weights.WeightConverter, "
            f"got {found!r:.100}"
        )

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the converter; errors become PluginError, except StateDictError."""
        try:
            return function(*arguments)
        except (KeyboardInterrupt, StateDictError):
            raise
        except BaseException as error:  # including SystemExit
            name = getattr(function, "__name__", "it").lstrip("_")
            raise PluginError(f"{self}: {name}() failed: {describe_error(error)}") from error


class GuardedConverter(WeightConverter):
    """Wrapper of a converter whose errors become :class:`lucid.PluginError`."""

    def __init__(self, registered: RegisteredConverter, converter: WeightConverter) -> None:
        self.registered = registered
        self.converter = converter

    def for_model(self, model: Module) -> WeightConverter:
        """Wrap the converter for one model."""
        guarded = copy.copy(self)
        guarded.converter = self.registered.call(self.converter.for_model, model)
        return guarded

    def rename(self, key: str) -> str:
        """Rename a key."""
        name = self.registered.call(self.converter.rename, key)
        if not isinstance(name, str):
            raise PluginError(f"{self.registered}: rename({key!r}) returned {name!r}, not a str")
        return name

    def prepare(self, state: dict[str, Any], model: Module) -> dict[str, Any]:
        """Transform renamed entries."""
        prepared = self.registered.call(self.converter.prepare, state, model)
        if not isinstance(prepared, dict):
            raise PluginError(f"{self.registered}: prepare() returned {prepared!r:.80}, not a dict")
        return prepared


def weight_converters() -> list[RegisteredConverter]:
    """Return the converters registered by plugins.

    Returns
    -------
    list of RegisteredConverter
        In the order of the plugins.

    Warns
    -----
    PluginWarning
        If a plugin's hook fails; its converters are skipped.
    """
    return zoo.registry.collect(plugin_converters, "weight converters")


def plugin_converters(plugin: Plugin) -> list[RegisteredConverter]:
    """Return the converters of one plugin; errors of its hook propagate."""
    converters: list[RegisteredConverter] = []

    def register(
        name: str, converter: str, *, source: str, task: str, models: Sequence[str]
    ) -> None:
        for key, text in {"name": name, "source": source, "task": task}.items():
            if not isinstance(text, str) or not text.strip() or "\n" in text:
                raise ValueError(f"weight converter {name!r}: {key} must be text, got {text!r}")
        if not isinstance(converter, str) or not IMPORT_PATH.fullmatch(converter):
            raise ValueError(
                f"weight converter {name!r}: converter must be 'package.module:attribute', got "
                f"{converter!r}"
            )
        if not isinstance(models, tuple | list) or not all(isinstance(m, str) for m in models):
            raise TypeError(
                f"weight converter {name!r}: models must be a sequence of names, got {models!r}"
            )
        if any(known.name == name for known in converters):
            raise ValueError(f"the weight converter {name!r} is registered twice")
        converters.append(
            RegisteredConverter(name, converter, source, task, tuple(models), plugin.origin)
        )

    plugin.call_hook("lucid_register_weight_converters", register=register)
    return converters


def find_converter_by_name(model: str | None) -> WeightConverter | None:
    """Return the converter of a registered model; None if missing or not importable."""
    for registered in weight_converters():
        if model in registered.models:
            try:
                return GuardedConverter(registered, registered.load())
            except PluginError:
                return None
    return None


def _import(module: str, attribute: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
