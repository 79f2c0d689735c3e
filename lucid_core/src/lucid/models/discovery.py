"""Finding and loading plugins: the one place that knows pluggy.

Every plugin gets a plugin manager of its own.  So a plugin whose import, hook or
signature is wrong is dropped with everything it registered and no other notices,
and two distributions may use the same entry-point name.
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
    import click
    import pluggy

    from lucid.data.checkers import DataChecker
    from lucid.models.hookspecs import RegisterModelCheck, RegisterWeightConverter

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
    """A plugin that was found: loaded, or with the error that kept it from loading."""

    entry_point: PluginEntryPoint
    models: list[ModelInfo] = field(default_factory=list)
    error: BaseException | None = None
    manager: pluggy.PluginManager | None = None

    @property
    def origin(self) -> str:
        return f"{self.entry_point.distribution} {self.entry_point.version}"

    def owns(self, place: str) -> bool:
        """Whether a function at ``"module:qualname"`` is the plugin's to register."""
        return self.entry_point.owns(place.partition(":")[0]) or any(
            model.builder == place for model in self.models
        )

    def info(self) -> PluginInfo:
        """The plugin as the public sees it."""
        return PluginInfo(
            name=self.entry_point.name,
            distribution=self.entry_point.distribution,
            version=self.entry_point.version,
            models=tuple(sorted((model.name for model in self.models), key=natural_key)),
            error=None if self.error is None else describe_error(self.error),
        )

    def register_commands(self, cli: click.Group) -> None:
        """Let the plugin add its commands to `cli`; whatever it raises comes out."""
        if self.manager is not None:
            self.manager.hook.lucid_register_commands(cli=cli)

    def register_model_checks(self, register: RegisterModelCheck) -> None:
        """Let the plugin register its checks of models; whatever it raises comes out."""
        if self.manager is not None:
            self.manager.hook.lucid_register_model_checks(register=register)

    def register_data_checkers(self, register: Callable[[DataChecker], object]) -> None:
        """Let the plugin register its data checkers; whatever it raises comes out."""
        if self.manager is not None:
            self.manager.hook.lucid_register_data_checkers(register=register)

    def register_weight_converters(self, register: RegisterWeightConverter) -> None:
        """Let the plugin register its weight converters; whatever it raises comes out."""
        if self.manager is not None:
            self.manager.hook.lucid_register_weight_converters(register=register)


class Discovery(NamedTuple):
    """What one look at the environment found.

    Attributes
    ----------
    plugins : tuple of Plugin
        Loaded and failed ones, ordered by distribution and entry point.
    disabled : tuple of PluginEntryPoint
        What ``LUCID_DISABLE_PLUGINS`` keeps out.
    """

    plugins: tuple[Plugin, ...] = ()
    disabled: tuple[PluginEntryPoint, ...] = ()


def is_strict() -> bool:
    """Whether ``LUCID_STRICT_PLUGINS`` asks that a failing plugin raises."""
    return os.environ.get("LUCID_STRICT_PLUGINS", "").strip().lower() not in ("", "0", "false")


def disabled_distributions() -> set[str]:
    """Canonical names that ``LUCID_DISABLE_PLUGINS`` keeps out."""
    names = os.environ.get("LUCID_DISABLE_PLUGINS", "").split(",")
    return {canonicalize_name(name.strip()) for name in names if name.strip()}


def describe_error(error: BaseException) -> str:
    """An exception on one line: its type and what it says."""
    kind = type(error).__name__
    try:
        text = " ".join(str(error).split())
    except Exception:  # a plugin's exception may not even be able to speak
        return kind
    if isinstance(error, PluginError) and text:
        return text
    return f"{kind}: {text}" if text else kind


def discover(
    reserved: frozenset[str],
    check: Callable[[Plugin], None] = lambda plugin: None,
) -> Discovery:
    """Find and load every plugin of the environment.

    Parameters
    ----------
    reserved : frozenset of str
        Names no model may have.
    check : callable, optional
        Called with each plugin that loaded; if it raises, the plugin has failed.

    Returns
    -------
    Discovery
        With the plugins that failed as well as those that loaded.

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
    """Load one plugin; whatever goes wrong, short of Ctrl-C, ends up in its ``error``."""
    module = entry_point.module.partition(":")[0].strip()
    was_imported = module in sys.modules
    registrar = _ModelCollector(entry_point, reserved)
    try:
        if entry_point.error is not None:
            raise PluginError(entry_point.error)
        check_core_requirement(entry_point, installed)
        manager = _create_manager(entry_point, _import(entry_point))
        manager.hook.lucid_register_models(register=registrar)
        plugin = Plugin(entry_point, registrar.models, manager=manager)
        check(plugin)
        return plugin
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # SystemExit too: a plugin has no say in whether the program goes on.  Its
        # module is forgotten, so that a repaired one is read after refresh().
        if not was_imported:
            sys.modules.pop(module, None)
        return Plugin(entry_point, error=error)
    finally:
        registrar.open = False


def _import(entry_point: PluginEntryPoint) -> Any:
    """Import what the entry point names: a module, or an object in one."""
    module, _, attribute = (part.strip() for part in entry_point.module.partition(":"))
    if not all(part.isidentifier() for part in module.split(".")):
        raise PluginError(
            f"its entry point {entry_point.name} = {entry_point.module!r} must name a module, "
            "as in 'my_package.plugin'"
        )
    found: Any = importlib.import_module(module)
    for part in attribute.split(".") if attribute else ():
        found = getattr(found, part)
    return found


def _create_manager(entry_point: PluginEntryPoint, implementation: Any) -> pluggy.PluginManager:
    """Give the plugin its manager, and check its hooks against the specifications."""
    import pluggy

    from lucid.models import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    manager.register(implementation, name=entry_point.name)
    manager.check_pending()
    if not manager.get_hookcallers(implementation):
        raise PluginError(
            f"{entry_point.module} implements no hook of lucid; decorate "
            "lucid_register_models with @lucid.hookimpl"
        )
    return manager


class _ModelCollector:
    """The ``register`` of one plugin: collects, and is of no use after the hook."""

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
                f"{self.entry_point.distribution} registered {name!r} after its hook had returned; "
                "register models inside lucid_register_models"
            )
        check_name(name, self.reserved)
        if any(model.name == name for model in self.models):
            raise ValueError(f"the model {name!r} is registered twice")
        if name in self.aliases:
            raise ValueError(f"the model {name!r} is an alias of {self.aliases[name]!r} as well")
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
                raise ValueError(f"model {name!r}: the alias {alias!r} belongs to {taken!r}")
        self.aliases |= dict.fromkeys(aliases, name)
