"""Discovery and loading of plugins with pluggy.

Each plugin has its own plugin manager.  A plugin that fails is dropped with everything that it
registered, the others are unaffected, and two distributions may use the same entry point name.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from lucid.errors import PluginError
from lucid.models.info import (
    DEFAULT_INPUT_SHAPE,
    ModelInfo,
    PluginInfo,
    canonicalize_name,
    check_aliases,
    check_fields,
    check_name,
    natural_key,
)
from lucid.models.metadata import (
    PluginEntryPoint,
    check_core_requirement,
    find_entry_points,
)

if TYPE_CHECKING:
    import pluggy


__all__ = [
    "Discovery",
    "Plugin",
    "describe_error",
    "disabled_distributions",
    "discover",
    "is_strict",
]


@dataclass
class Plugin:
    """A discovered plugin; ``error`` is set if it could not be loaded."""

    entry_point: PluginEntryPoint
    models: list[ModelInfo] = field(default_factory=list)
    error: BaseException | None = None
    manager: pluggy.PluginManager | None = None

    @property
    def origin(self) -> str:
        return f"{self.entry_point.distribution} {self.entry_point.version}"

    def owns(self, builder: str) -> bool:
        """Whether the builder ``"module:qualname"`` belongs to this plugin."""
        return self.entry_point.owns(builder.partition(":")[0]) or any(
            model.builder == builder for model in self.models
        )

    def info(self) -> PluginInfo:
        """Return the public description of the plugin."""
        return PluginInfo(
            name=self.entry_point.name,
            distribution=self.entry_point.distribution,
            version=self.entry_point.version,
            models=tuple(sorted((model.name for model in self.models), key=natural_key)),
            error=None if self.error is None else describe_error(self.error),
        )

    def call_hook(self, name: str, **kwargs: Any) -> None:
        """Call a hook of the plugin; does nothing if the plugin does not implement it.

        Exceptions of the plugin propagate.
        """
        if self.manager is not None:
            getattr(self.manager.hook, name)(**kwargs)


class Discovery(NamedTuple):
    """Plugins found in the environment.

    Attributes
    ----------
    plugins : tuple of Plugin
        Loaded and failed plugins, ordered by distribution and entry point.
    disabled : tuple of PluginEntryPoint
        Entry points disabled by ``LUCID_DISABLE_PLUGINS``.
    """

    plugins: tuple[Plugin, ...] = ()
    disabled: tuple[PluginEntryPoint, ...] = ()


def is_strict() -> bool:
    """Whether ``LUCID_STRICT_PLUGINS`` turns plugin failures into exceptions."""
    return os.environ.get("LUCID_STRICT_PLUGINS", "").strip().lower() not in ("", "0", "false")


def disabled_distributions() -> set[str]:
    """Return the canonical names of the distributions in ``LUCID_DISABLE_PLUGINS``."""
    names = os.environ.get("LUCID_DISABLE_PLUGINS", "").split(",")
    return {canonicalize_name(name.strip()) for name in names if name.strip()}


def describe_error(error: BaseException) -> str:
    """Format an exception on one line, ``"TypeName: message"``."""
    type_name = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # __str__ of a plugin's exception may fail
        return type_name
    if isinstance(error, PluginError) and text:
        return text
    return f"{type_name}: {text}" if text else type_name


def discover(
    reserved: frozenset[str],
    check: Callable[[Plugin], None] = lambda plugin: None,
) -> Discovery:
    """Find and load all plugins of the environment.

    Parameters
    ----------
    reserved : frozenset of str
        Names that models cannot have.
    check : callable, optional
        Called with each loaded plugin; if it raises, the plugin counts as failed.

    Raises
    ------
    PluginError
        If a plugin fails and ``LUCID_STRICT_PLUGINS`` is set.
    """
    disabled_names = disabled_distributions()
    from lucid import __version__ as installed

    plugins, disabled = [], []
    for entry_point in find_entry_points():
        if canonicalize_name(entry_point.distribution) in disabled_names:
            disabled.append(entry_point)
            continue
        plugin = _load(entry_point, installed, reserved, check)
        if plugin.error is not None and is_strict():
            raise PluginError(
                f"plugin {entry_point.name!r} of {plugin.origin}: {describe_error(plugin.error)}"
            ) from plugin.error
        plugins.append(plugin)
    return Discovery(tuple(plugins), tuple(disabled))


def _load(
    entry_point: PluginEntryPoint,
    installed: str,
    reserved: frozenset[str],
    check: Callable[[Plugin], None],
) -> Plugin:
    """Load one plugin; any exception but KeyboardInterrupt is stored in its ``error``."""
    module = entry_point.module.partition(":")[0].strip()
    was_imported = module in sys.modules
    collector = _ModelCollector(entry_point, reserved)
    try:
        if entry_point.error is not None:
            raise PluginError(entry_point.error)
        check_core_requirement(entry_point, installed)
        manager = _create_manager(entry_point, _import(entry_point))
        manager.hook.lucid_register_models(register=collector)
        plugin = Plugin(entry_point, collector.models, manager=manager)
        check(plugin)
        return plugin
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # Includes SystemExit: a plugin must not end the program.  Drop the module, so that
        # refresh() imports a corrected one.
        if not was_imported:
            sys.modules.pop(module, None)
        return Plugin(entry_point, error=error)
    finally:
        collector.open = False


def _import(entry_point: PluginEntryPoint) -> Any:
    """Import the module or object that the entry point names."""
    module, _, attribute = (part.strip() for part in entry_point.module.partition(":"))
    if not all(part.isidentifier() for part in module.split(".")):
        raise PluginError(
            f"expected the entry point {entry_point.name} to name a module such as "
            f"'my_package.plugin', got {entry_point.module!r}"
        )
    found: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def _create_manager(entry_point: PluginEntryPoint, implementation: Any) -> pluggy.PluginManager:
    """Register the plugin with a new manager and check its hooks against the specifications."""
    import pluggy

    from lucid.models import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(implementation, name=entry_point.name)
    manager.check_pending()
    if not manager.get_hookcallers(implementation):
        raise PluginError(
            f"{entry_point.module} implements no hook; decorate lucid_register_models with "
            "@lucid.hookimpl"
        )
    return manager


class _ModelCollector:
    """The ``register`` argument of one plugin's hook; collects the models."""

    def __init__(self, entry_point: PluginEntryPoint, reserved: frozenset[str]) -> None:
        self.entry_point = entry_point
        self.reserved = reserved
        self.models: list[ModelInfo] = []
        self.aliases: dict[str, str] = {}
        self.open = True

    def __call__(
        self,
        name: str,
        builder: str,
        *,
        task: str,
        family: str,
        total_parameters: int,
        summary: str,
        input_shape: tuple[int, ...] = DEFAULT_INPUT_SHAPE,
        example_batch: str | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        if not self.open:
            raise PluginError(
                f"{self.entry_point.distribution} registered {name!r} after its hook returned; "
                "call register() inside lucid_register_models"
            )
        check_name(name, self.reserved)
        if any(model.name == name for model in self.models):
            raise ValueError(f"model {name!r} is registered twice")
        if name in self.aliases:
            raise ValueError(f"model {name!r} is also an alias of {self.aliases[name]!r}")
        if total_parameters is None:
            raise TypeError(f"model {name!r}: total_parameters must be an int, got None")
        if builder is None:
            raise TypeError(f"model {name!r}: builder must be a str, got None")
        try:
            fields = check_fields(
                builder=builder,
                task=task,
                family=family,
                total_parameters=total_parameters,
                summary=summary,
                input_shape=input_shape,
                example_batch=example_batch,
                aliases=aliases,
            )
        except (TypeError, ValueError) as error:
            raise type(error)(f"model {name!r}: {error}") from None
        self._add_aliases(name, fields["aliases"])
        self.models.append(
            ModelInfo(
                name=name,
                distribution=self.entry_point.distribution,
                version=self.entry_point.version,
                **fields,
            )
        )

    def _add_aliases(self, name: str, aliases: tuple[str, ...]) -> None:
        check_aliases(name, aliases, self.reserved)
        for alias in aliases:
            taken = self.aliases.get(alias) or next(
                (model.name for model in self.models if model.name == alias), None
            )
            if taken is not None:
                raise ValueError(f"model {name!r}: alias {alias!r} already belongs to {taken!r}")
        self.aliases |= dict.fromkeys(aliases, name)
