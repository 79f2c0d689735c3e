"""The registry: names of models, where they come from, and how to build them.

Two kinds of models live here.  Plugins register theirs as text, when the zoo is
first asked for anything.  Scripts register functions with :func:`register_model`,
at once and without waking the plugins.  What the plugins gave is one immutable
snapshot, swapped whole: a thread sees all of a discovery or nothing of it.
"""

from __future__ import annotations

import importlib
import threading
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from lucid.errors import PluginError, PluginWarning, UnknownModelError, find_stack_level
from lucid.models.builders import check_builder, find_builder, first_line, place_of, signed
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

__all__ = ["Declaration", "Registry"]


class Declaration(NamedTuple):
    """A function that was decorated with ``@register_model``.

    Attributes
    ----------
    info : ModelInfo
        The model, as it would be registered by a script.
    stated : dict
        The fields that were given to the decorator: in a plugin they must agree
        with what the plugin registered.
    builder : callable
        The function, wrapped.
    """

    info: ModelInfo
    stated: dict[str, Any]
    builder: Callable[..., Any]


class _Snapshot(NamedTuple):
    """One discovery, and the builders imported since."""

    discovery: Discovery
    models: tuple[ModelInfo, ...]
    builders: dict[ModelInfo, Callable[..., Any]]


class _Listing(NamedTuple):
    """The models of plugins and scripts together, for one state of both."""

    snapshot: _Snapshot
    declarations: tuple[Declaration, ...]
    models: tuple[ModelInfo, ...]
    by_name: dict[str, list[ModelInfo]]  # aliases too


class Registry:
    """Names of models, discovered once, asked from any thread.

    Parameters
    ----------
    reserved : frozenset of str
        Names a model cannot have.
    """

    def __init__(self, reserved: frozenset[str] = frozenset()) -> None:
        self.reserved = reserved
        self._snapshot: _Snapshot | None = None
        self._declarations: dict[str, Declaration] = {}
        self._listing: _Listing | None = None
        self.reset_locks()

    def reset_locks(self) -> None:
        """Forget locks held by other threads: a forked child does not have these."""
        # Two locks, because discovery imports plugins, and an import in another
        # thread may be waiting in register_model: that must never wait for discovery.
        self._discovery_lock = threading.Lock()
        self._declaration_lock = threading.Lock()
        self._discoverer: int | None = None

    # --- discovery -----------------------------------------------------------

    def snapshot(self) -> _Snapshot:
        """What the plugins registered; discovers them if nothing has yet."""
        snapshot = self._snapshot
        return snapshot if snapshot is not None else self._discover(again=False)

    def refresh(self) -> None:
        """Discover again; if that raises, what was known before stays."""
        importlib.invalidate_caches()
        self._discover(again=True)

    def _discover(self, again: bool) -> _Snapshot:
        if self._discoverer == threading.get_ident():
            raise PluginError(
                "a plugin asked lucid.models for models while plugins are being discovered; "
                "it may only register them, look them up when a model is built"
            )
        with self._discovery_lock:
            if self._snapshot is not None and not again:
                return self._snapshot
            self._discoverer = threading.get_ident()
            try:
                found = discover(self.reserved, self._check_decorated)
            finally:
                self._discoverer = None
            models = tuple(model for plugin in found.plugins for model in plugin.models)
            snapshot = _Snapshot(found, models, builders={})
            self._snapshot = snapshot
        # After the swap: where warnings are errors, the zoo is complete all the same.
        _warn_of_failures(found)
        return snapshot

    def _check_decorated(self, plugin: Plugin) -> None:
        """Hold what a plugin decorated before its discovery against what it registered."""
        with self._declaration_lock:
            declarations = list(self._declarations.values())
        for declaration in declarations:
            if plugin.owns(declaration.info.builder):
                _check_agreement(declaration, plugin.models, plugin.origin)

    # --- registering from scripts ----------------------------------------------

    def declare(self, function: Callable[..., Any], **stated: Any) -> Callable[..., Any]:
        """Take in a decorated builder and return it wrapped; see ``register_model``."""
        stated = {key: value for key, value in stated.items() if value is not None}
        check_builder(function)
        name = check_name(stated.pop("name", function.__name__), self.reserved)
        stated = check_fields(**stated)
        fields = {
            "task": "unspecified",
            "family": name,
            "summary": first_line(function) or f"Built by {place_of(function)}",
            "total_parameters": None,
        } | stated
        check_aliases(name, fields.get("aliases", ()), self.reserved)
        declaration = Declaration(
            info=ModelInfo(name=name, builder=place_of(function), **check_fields(**fields)),
            stated=stated | {"name": name},
            builder=signed(function, name),
        )
        snapshot = self._snapshot
        if snapshot is not None:
            for plugin in snapshot.discovery.plugins:
                if plugin.error is None and plugin.owns(declaration.info.builder):
                    _check_agreement(declaration, plugin.models, plugin.origin)
        with self._declaration_lock:
            self._declarations[declaration.info.builder] = declaration
        return declaration.builder

    # --- asking ----------------------------------------------------------------

    def listing(self) -> _Listing:
        """Every model under a name that picks it; made again when something was added."""
        snapshot = self.snapshot()
        with self._declaration_lock:
            declarations = tuple(self._declarations.values())
        listing = self._listing
        if (
            listing is None
            or listing.snapshot is not snapshot
            or listing.declarations != declarations
        ):
            self._listing = listing = _list_models(snapshot, declarations)
        return listing

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model, in natural order of the names.

        A name that several registered appears once for each, qualified.
        """
        return self.listing().models

    def plugins(self) -> list[PluginInfo]:
        """Every plugin, loaded and failed."""
        return [plugin.info() for plugin in self.snapshot().discovery.plugins]

    def loaded_plugins(self) -> list[Plugin]:
        """The plugins that loaded, for the hooks that are called later."""
        return [plugin for plugin in self.snapshot().discovery.plugins if plugin.error is None]

    def info(self, name: str) -> ModelInfo:
        """Return the one model that `name` means.

        Raises
        ------
        UnknownModelError
            If there is none.
        PluginError
            If there are several; names all of them.
        """
        if not isinstance(name, str):
            raise TypeError(f"a model's name must be a str, got {name!r}")
        meant = self.find(name)
        source, _, bare = name.rpartition(":")
        if not meant:
            raise UnknownModelError(self._unknown(name))
        if len(meant) > 1:
            origins = " and by ".join(sorted(info.origin for info in meant))
            picks = " or ".join(sorted({repr(info.qualified_name) for info in meant}))
            ask = "that distribution has to rename one" if source else f"ask for {picks}"
            raise PluginError(f"the model name {bare!r} is registered by {origins}; {ask}")
        return meant[0]

    def find(self, name: str) -> list[ModelInfo]:
        """Return the models that `name`, an alias or not, qualified or not, may mean."""
        source, _, bare = name.rpartition(":")
        found = self.listing().by_name.get(bare, [])
        return [info for info in found if _same(source, info.source)] if source else found

    def _unknown(self, name: str) -> str:
        from lucid.models.suggestions import unknown_model

        listing = self.listing()
        discovery = listing.snapshot.discovery
        return unknown_model(
            name,
            {
                spelling: infos[0].name if len(infos) == 1 else spelling
                for spelling, infos in listing.by_name.items()
            },
            installed=[plugin.info() for plugin in discovery.plugins],
            disabled=[candidate.distribution for candidate in discovery.disabled],
            families={info.name: info.family for info in listing.models},
        )

    def builder(self, info: ModelInfo) -> Callable[..., Any]:
        """Return the builder of a model that :meth:`info` or :meth:`models` gave."""
        snapshot = self.snapshot()
        if info.distribution is None:
            with self._declaration_lock:
                return signed(self._declarations[info.builder].builder, info.name)
        if info not in snapshot.builders:
            # Two threads may both get here: they find the same function.
            snapshot.builders.setdefault(info, find_builder(info))
        return snapshot.builders[info]


def _list_models(snapshot: _Snapshot, declarations: tuple[Declaration, ...]) -> _Listing:
    found = snapshot.discovery

    def in_plugin(place: str) -> bool:
        # A plugin that failed or is disabled keeps its builders out of the list, too.
        return any(plugin.owns(place) for plugin in found.plugins) or any(
            candidate.owns(place.partition(":")[0]) for candidate in found.disabled
        )

    scripts = [d.info for d in declarations if not in_plugin(d.info.builder)]
    registered = (*snapshot.models, *scripts)
    uses = Counter(spelling for info in registered for spelling in (info.name, *info.aliases))
    models = sorted(
        (
            info if uses[info.name] == 1 else replace(info, name=info.qualified_name)
            for info in registered
        ),
        key=lambda info: natural_key(info.name),
    )
    by_name: dict[str, list[ModelInfo]] = {}
    for info in models:
        for spelling in (info.name.rpartition(":")[2], *info.aliases):
            by_name.setdefault(spelling, []).append(info)
    return _Listing(snapshot, declarations, tuple(models), by_name)


def _same(source: str, other: str) -> bool:
    return source == other or canonicalize_name(source) == canonicalize_name(other)


def _check_agreement(declaration: Declaration, models: list[ModelInfo], origin: str) -> None:
    """Raise PluginError unless a plugin registered what its decorated builder states."""
    place = declaration.info.builder
    registered = [model for model in models if model.builder == place]
    if not registered:
        raise PluginError(
            f"{place} is decorated with @register_model, but {origin} does not register it; add "
            f"register({declaration.info.name!r}, {place!r}, ...) to its lucid_register_models"
        )
    stated = declaration.stated
    if any(all(getattr(m, key) == value for key, value in stated.items()) for m in registered):
        return
    differing = [
        f"{key}={value!r} in the decorator and {getattr(registered[0], key)!r} in the plugin"
        for key, value in stated.items()
        if getattr(registered[0], key) != value
    ]
    raise PluginError(f"{place} is registered differently by {origin}: {'; '.join(differing)}")


def _warn_of_failures(found: Discovery) -> None:
    for plugin in found.plugins:
        if plugin.error is not None:
            warnings.warn(
                f"plugin {plugin.entry_point.name!r} of {plugin.origin} is skipped: "
                f"{describe_error(plugin.error)}",
                PluginWarning,
                stacklevel=find_stack_level(),
            )
