"""Model registry: lookup of models by name.

Plugins register models as import paths, when the registry is first used.  Scripts register
functions with :func:`register_model`, at once and without running discovery.  The models of
plugins are one immutable snapshot that is replaced as a whole: a thread sees all of a discovery
or nothing of it.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from lucid.errors import PluginError, PluginWarning, UnknownModelError, find_stack_level
from lucid.models.builders import (
    check_builder,
    docstring_summary,
    find_builder,
    object_reference,
    wrap_builder,
)
from lucid.models.discovery import Discovery, Plugin, describe_error, discover
from lucid.models.info import (
    ModelInfo,
    PluginInfo,
    canonicalize_name,
    check_aliases,
    check_fields,
    check_name,
    natural_key,
)

__all__ = ["DecoratedBuilder", "ModelRegistry"]

T = TypeVar("T")


class DecoratedBuilder(NamedTuple):
    """A function decorated with ``@register_model``.

    Attributes
    ----------
    info : ModelInfo
        Description of the model with defaults for fields that were not given.
    declared_fields : dict
        Arguments of the decorator; in a plugin they must match the registration.
    builder : callable
        Wrapped function.
    """

    info: ModelInfo
    declared_fields: dict[str, Any]
    builder: Callable[..., Any]


class _Snapshot(NamedTuple):
    """Result of one discovery and a cache of imported builders."""

    discovery: Discovery
    models: tuple[ModelInfo, ...]
    builders: dict[ModelInfo, Callable[..., Any]]


class _ModelIndex(NamedTuple):
    """Models of plugins and scripts by name, for one state of both."""

    snapshot: _Snapshot
    decorated_builders: tuple[DecoratedBuilder, ...]
    models: tuple[ModelInfo, ...]
    by_name: dict[str, list[ModelInfo]]  # names and aliases


class ModelRegistry:
    """Thread-safe registry that runs plugin discovery once, on first use.

    Parameters
    ----------
    reserved : frozenset of str
        Names that models cannot have.
    """

    def __init__(self, reserved: frozenset[str] = frozenset()) -> None:
        self.reserved = reserved
        self._snapshot: _Snapshot | None = None
        self._decorated: dict[str, DecoratedBuilder] = {}
        self._index: _ModelIndex | None = None
        self.reset_locks()

    def reset_locks(self) -> None:
        """Create new locks, for a forked child without the threads that hold the old ones."""
        # Discovery imports plugins, and an import in another thread may call register_model:
        # register_model must not wait for discovery, so it has a lock of its own.
        self._discovery_lock = threading.Lock()
        self._decorated_lock = threading.Lock()
        self._discovering_thread: int | None = None

    # --- discovery -----------------------------------------------------------

    def snapshot(self) -> _Snapshot:
        """Return the models of plugins; runs discovery on first use."""
        snapshot = self._snapshot
        return snapshot if snapshot is not None else self._discover(again=False)

    def refresh(self) -> None:
        """Run discovery again; if it raises, the previous snapshot stays."""
        importlib.invalidate_caches()
        self._discover(again=True)

    def _discover(self, again: bool) -> _Snapshot:
        if self._discovering_thread == threading.get_ident():
            raise PluginError(
                "a plugin looked up a model during plugin discovery; look models up in builders, "
                "not in plugin modules or hooks"
            )
        with self._discovery_lock:
            if self._snapshot is not None and not again:
                return self._snapshot
            self._discovering_thread = threading.get_ident()
            try:
                found = discover(self.reserved, self._check_plugin)
            finally:
                self._discovering_thread = None
            models = tuple(model for plugin in found.plugins for model in plugin.models)
            snapshot = _Snapshot(found, models, builders={})
            self._snapshot = snapshot
        # Warn last: the registry is complete even if warnings are errors.
        _warn_about_failures(found)
        return snapshot

    def _check_plugin(self, plugin: Plugin) -> None:
        """Check builders that the plugin decorated before discovery against its registrations."""
        with self._decorated_lock:
            decorated_builders = list(self._decorated.values())
        for decorated in decorated_builders:
            if plugin.owns(decorated.info.builder):
                _check_registration(decorated, plugin.models, plugin.origin)

    # --- registration from scripts ---------------------------------------------

    def register(self, function: Callable[..., Any], **fields: Any) -> Callable[..., Any]:
        """Register a decorated builder and return it wrapped; see ``register_model``."""
        fields = {key: value for key, value in fields.items() if value is not None}
        check_builder(function)
        name = check_name(fields.pop("name", function.__name__), self.reserved)
        declared = check_fields(**fields)
        defaults = {
            "task": "unspecified",
            "family": name,
            "summary": docstring_summary(function) or f"Built by {object_reference(function)}",
            "total_parameters": None,
        }
        fields = check_fields(**defaults | declared)
        check_aliases(name, fields.get("aliases", ()), self.reserved)
        decorated = DecoratedBuilder(
            info=ModelInfo(name=name, builder=object_reference(function), **fields),
            declared_fields=declared | {"name": name},
            builder=wrap_builder(function, name),
        )
        snapshot = self._snapshot
        if snapshot is not None:
            for plugin in snapshot.discovery.plugins:
                if plugin.error is None and plugin.owns(decorated.info.builder):
                    _check_registration(decorated, plugin.models, plugin.origin)
        with self._decorated_lock:
            self._decorated[decorated.info.builder] = decorated
        return decorated.builder

    # --- lookup ----------------------------------------------------------------

    def index(self) -> _ModelIndex:
        """Return the models by name; rebuilt after a discovery or registration."""
        snapshot = self.snapshot()
        with self._decorated_lock:
            decorated_builders = tuple(self._decorated.values())
        index = self._index
        if (
            index is None
            or index.snapshot is not snapshot
            or index.decorated_builders != decorated_builders
        ):
            self._index = index = _build_index(snapshot, decorated_builders)
        return index

    def models(self) -> tuple[ModelInfo, ...]:
        """Return all models in natural order; ambiguous names are qualified."""
        return self.index().models

    def plugins(self) -> list[PluginInfo]:
        """Return all plugins, loaded and failed."""
        return [plugin.info() for plugin in self.snapshot().discovery.plugins]

    def loaded_plugins(self) -> list[Plugin]:
        """Return the loaded plugins, whose other hooks can be called."""
        return [plugin for plugin in self.snapshot().discovery.plugins if plugin.error is None]

    def collect(self, function: Callable[[Plugin], list[T]], what: str) -> list[T]:
        """Concatenate the lists that `function` returns for the loaded plugins.

        A plugin that raises is skipped with a PluginWarning.
        """
        found: list[T] = []
        for plugin in self.loaded_plugins():
            try:
                found += function(plugin)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # includes SystemExit: the other plugins still work
                message = f"{plugin.origin}: its {what} are skipped: {describe_error(error)}"
                warnings.warn(message, PluginWarning, stacklevel=find_stack_level())
        return found

    def info(self, name: str) -> ModelInfo:
        """Return the model called `name`.

        Raises UnknownModelError if there is none, PluginError if the name is ambiguous.
        """
        if not isinstance(name, str):
            raise TypeError(f"the name of a model must be a str, got {name!r}")
        matches = self.find(name)
        source, _, bare = name.rpartition(":")
        if not matches:
            raise UnknownModelError(self._unknown_model(name))
        if len(matches) > 1:
            origins = " and by ".join(sorted(info.origin for info in matches))
            qualified = " or ".join(sorted({repr(info.qualified_name) for info in matches}))
            remedy = "rename one of them in the plugin" if source else f"use {qualified}"
            raise PluginError(f"the model name {bare!r} is registered by {origins}; {remedy}")
        return matches[0]

    def find(self, name: str) -> list[ModelInfo]:
        """Return the models with a name or alias, which may be qualified."""
        source, _, bare = name.rpartition(":")
        found = self.index().by_name.get(bare, [])
        return [info for info in found if _same_source(source, info.source)] if source else found

    def _unknown_model(self, name: str) -> str:
        from lucid.models.suggestions import unknown_model_message

        index = self.index()
        discovery = index.snapshot.discovery
        return unknown_model_message(
            name,
            {
                key: infos[0].name if len(infos) == 1 else key
                for key, infos in index.by_name.items()
            },
            installed=[plugin.info() for plugin in discovery.plugins],
            disabled=[entry_point.distribution for entry_point in discovery.disabled],
            families={info.name: info.family for info in index.models},
        )

    def builder(self, info: ModelInfo) -> Callable[..., Any]:
        """Return the wrapped builder of a model."""
        snapshot = self.snapshot()
        if info.distribution is None:
            with self._decorated_lock:
                return wrap_builder(self._decorated[info.builder].builder, info.name)
        if info not in snapshot.builders:
            # Threads may race here; all find the same function.
            snapshot.builders.setdefault(info, find_builder(info))
        return snapshot.builders[info]


def _build_index(
    snapshot: _Snapshot, decorated_builders: tuple[DecoratedBuilder, ...]
) -> _ModelIndex:
    found = snapshot.discovery

    def in_plugin(builder: str) -> bool:
        # Builders of failed and disabled plugins are not listed as scripts, either.
        return any(plugin.owns(builder) for plugin in found.plugins) or any(
            entry_point.owns(builder.partition(":")[0]) for entry_point in found.disabled
        )

    scripts = [d.info for d in decorated_builders if not in_plugin(d.info.builder)]
    registered = (*snapshot.models, *scripts)
    counts = Counter(name for info in registered for name in (info.name, *info.aliases))
    models = sorted(
        (
            info if counts[info.name] == 1 else replace(info, name=info.qualified_name)
            for info in registered
        ),
        key=lambda info: natural_key(info.name),
    )
    by_name: dict[str, list[ModelInfo]] = {}
    for info in models:
        for name in (info.name.rpartition(":")[2], *info.aliases):
            by_name.setdefault(name, []).append(info)
    return _ModelIndex(snapshot, decorated_builders, tuple(models), by_name)


def _same_source(source: str, other: str) -> bool:
    return source == other or canonicalize_name(source) == canonicalize_name(other)


def _check_registration(decorated: DecoratedBuilder, models: list[ModelInfo], origin: str) -> None:
    """Raise PluginError unless the plugin registered the fields that its builder declares."""
    builder = decorated.info.builder
    registered = [model for model in models if model.builder == builder]
    if not registered:
        raise PluginError(
            f"{builder} is decorated with @register_model, but {origin} does not register it; add "
            f"register({decorated.info.name!r}, {builder!r}, ...) to its lucid_register_models"
        )
    declared = decorated.declared_fields
    if any(all(getattr(m, key) == value for key, value in declared.items()) for m in registered):
        return
    differing = [
        f"{key}={value!r} in the decorator and {getattr(registered[0], key)!r} in the plugin"
        for key, value in declared.items()
        if getattr(registered[0], key) != value
    ]
    raise PluginError(
        f"{builder} is registered with other fields by {origin}: {'; '.join(differing)}; use the "
        "same values"
    )


def _warn_about_failures(found: Discovery) -> None:
    for plugin in found.plugins:
        if plugin.error is not None:
            warnings.warn(
                f"plugin {plugin.entry_point.name!r} of {plugin.origin} is skipped: "
                f"{describe_error(plugin.error)}",
                PluginWarning,
                stacklevel=find_stack_level(),
            )
