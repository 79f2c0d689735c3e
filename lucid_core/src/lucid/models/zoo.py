"""The functions of ``lucid.models``, asking the one registry of the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, TypeVar, overload

from lucid.models.info import ModelInfo, PluginInfo, canonicalize_name
from lucid.models.registry import ModelRegistry

if TYPE_CHECKING:
    from lucid.nn import Module

__all__ = [
    "create_model",
    "get_builder",
    "is_model",
    "list_models",
    "list_plugins",
    "model_info",
    "refresh",
    "register_model",
]

Builder = TypeVar("Builder", bound=Callable[..., Any])

#: Names a model cannot have: what ``lucid.models`` offers, and its modules.
RESERVED = frozenset(
    {
        *__all__,
        *("LayerSummary", "ModelInfo", "ModelSummary", "PluginInfo", "summarize"),
        *("hookimpl", "hookspec", "record_builder", "recorded_builder"),
        *("Backbone", "Classifier", "check_backbone", "check_classifier", "missing_members"),
        *("builders", "discovery", "hookspecs", "info", "lazy_models", "metadata", "protocols"),
        *("registry", "structure", "suggestions", "summary", "zoo"),
    }
)

#: What ``register_model`` may be given.
_REGISTER_FIELDS = frozenset(
    (
        *("name", "task", "family", "total_parameters", "summary", "input_shape"),
        *("example_batch", "aliases"),
    )
)

registry = ModelRegistry(RESERVED)

if hasattr(os, "register_at_fork"):
    # A child forked while another thread discovers would wait for it forever.
    os.register_at_fork(after_in_child=registry.reset_locks)


def list_models(
    pattern: str | Iterable[str] = "*",
    *,
    exclude: str | Iterable[str] = (),
    task: str | Iterable[str] | None = None,
    family: str | Iterable[str] | None = None,
    plugin: str | Iterable[str] | None = None,
) -> list[str]:
    """List the names of registered models, without importing any model's code.

    Parameters
    ----------
    pattern : str or iterable of str, default ``"*"``
        Shell-style patterns; a model is listed if its name matches one of them.
    exclude : str or iterable of str, default ()
        Patterns of names to leave out.
    task, family : str or iterable of str, optional
        Patterns for the task and the family; None takes all.
    plugin : str or iterable of str, optional
        Patterns for the name of the distribution that registered the model; None
        takes all, and models registered in scripts.

    Returns
    -------
    list of str
        In natural order: ``resnet_18`` before ``resnet_101``.  Each can be given to
        :func:`create_model`: where two plugins registered the same name, both are
        listed as ``"distribution:name"``.

    Examples
    --------
    >>> import lucid
    >>> lucid.models.list_models("resnet_*", exclude="*_1??")
    ['resnet_18', 'resnet_34', 'resnet_50']
    """
    names = _patterns("pattern", pattern)
    excluded = _patterns("exclude", exclude)
    tasks = None if task is None else _patterns("task", task)
    families = None if family is None else _patterns("family", family)
    plugins = None if plugin is None else _patterns("plugin", plugin, canonicalize_name)
    return [
        info.name
        for info in registry.models()
        if _matches_name(info, names)
        and not _matches_name(info, excluded)
        and (tasks is None or _matches(info.task, tasks))
        and (families is None or _matches(info.family, families))
        and (plugins is None or _matches(canonicalize_name(info.distribution or ""), plugins))
    ]


def create_model(name: str, /, **kwargs: Any) -> Module:
    """Build a registered model.

    Parameters
    ----------
    name : str
        A name from :func:`list_models`, or an alias such as torchvision's ``"resnet18"``;
        ``"distribution:name"`` picks one where several plugins registered the same name.
    **kwargs
        Handed to the model's builder.

    Returns
    -------
    nn.Module
        With ``model_name``, the name in :func:`list_models`, and ``model_kwargs``, from which
        it can be built again.

    Raises
    ------
    UnknownModelError
        If there is no such model; says what comes close and what may be missing.
    PluginError
        If the name is ambiguous, the builder cannot be imported, or what it
        returned is not an ``nn.Module``.
    """
    model: Module = get_builder(name)(**kwargs)
    return model


def get_builder(name: str) -> Callable[..., Any]:
    """Return the function that builds a model; imports the module it is in.

    Parameters
    ----------
    name : str
        As for :func:`create_model`.

    Returns
    -------
    callable
        With the signature and docstring of the plugin's own function.

    Raises
    ------
    UnknownModelError, PluginError
        As :func:`create_model`.
    """
    return registry.builder(registry.info(name))


def is_model(name: object) -> bool:
    """Whether `name` means exactly one registered model; imports no model's code.

    Parameters
    ----------
    name : object
        As for :func:`create_model`; what is not a str means no model.

    Returns
    -------
    bool
        False, too, for a name that several plugins registered.
    """
    return isinstance(name, str) and len(registry.find(name)) == 1


def model_info(name: str) -> ModelInfo:
    """Return what is known of a model without importing its code.

    Parameters
    ----------
    name : str
        As for :func:`create_model`.

    Returns
    -------
    ModelInfo
        What it was registered with, and the distribution that did so.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    PluginError
        If several plugins registered the name.
    """
    return registry.info(name)


def list_plugins() -> list[PluginInfo]:
    """List the plugins found in this environment, those that failed included.

    Returns
    -------
    list of PluginInfo
        By distribution and entry point.  A plugin that failed has the reason in ``error``
        and no models.

    Raises
    ------
    PluginError
        If a plugin fails and ``LUCID_STRICT_PLUGINS`` is set.
    """
    return registry.plugins()


def refresh() -> None:
    """Look for plugins again: after an installation or removal in this process.

    Models registered by scripts stay.  Modules that are already imported are not
    read again, as everywhere in Python.  If the new discovery raises
    (``LUCID_STRICT_PLUGINS``), what was known before stays in place.
    """
    registry.refresh()


@overload
def register_model(builder: Builder, /) -> Builder: ...
@overload
def register_model(
    *,
    name: str | None = ...,
    task: str | None = ...,
    family: str | None = ...,
    total_parameters: int | None = ...,
    summary: str | None = ...,
    input_shape: tuple[int, ...] | None = ...,
    example_batch: str | None = ...,
    aliases: Sequence[str] | None = ...,
) -> Callable[[Builder], Builder]: ...
def register_model(builder: Any = None, /, **fields: Any) -> Any:
    """Register the decorated function as the builder of a model.

    In a script or notebook this is all it takes: the model is listed at once.  In
    the package of a plugin, where models are registered by the plugin's hook, the
    decorator makes the built model know its name, and whatever it states must agree
    with what the plugin registered.  Plugins are not discovered by it.

    Parameters
    ----------
    builder : callable
        A function that can be called without arguments and is annotated to return
        a subclass of ``nn.Module``.
    name : str, optional
        The model's name; the function's by default.
    task : str, optional
        The task; ``"unspecified"`` by default.
    family : str, optional
        The family; the name by default.
    total_parameters : int, optional
        ``parameter_size`` of the model built without arguments.
    summary : str, optional
        One line; the first of the docstring by default.
    input_shape : tuple of int, optional
        A shape the model accepts; (1, 3, 224, 224) by default.
    example_batch : str, optional
        ``"package.module:function"`` of a function giving a training batch.
    aliases : sequence of str, optional
        Other names that resolve to the model.

    Returns
    -------
    callable
        The function, wrapped: its model has ``model_name`` and ``model_kwargs``.

    Raises
    ------
    TypeError, ValueError
        If the function or a keyword is not as described.
    PluginError
        If the function is in a plugin's package and the plugin registers it
        otherwise or not at all.

    Examples
    --------
    >>> import lucid
    >>> @lucid.models.register_model
    ... def two_layers(width: int = 8) -> lucid.nn.Sequential:
    ...     return lucid.nn.Sequential(lucid.nn.Linear(4, width), lucid.nn.Linear(width, 2))
    >>> lucid.models.create_model("two_layers", width=16).model_kwargs
    {'width': 16}
    """
    if unknown := fields.keys() - _REGISTER_FIELDS:
        raise TypeError(
            f"register_model() got unknown keyword arguments {sorted(unknown)}; "
            f"it takes {sorted(_REGISTER_FIELDS)}"
        )
    if builder is None:
        return lambda function: registry.register(function, **fields)
    return registry.register(builder, **fields)


def _patterns(
    argument: str, value: Any, normalise: Callable[[str], str] = lambda text: text
) -> list[str]:
    if isinstance(value, str):
        return [normalise(value)]
    try:
        patterns = list(value)
    except TypeError:
        patterns = [value]
    for one in patterns:
        if not isinstance(one, str):
            raise TypeError(f"{argument} must be a pattern (str) or a list of them, got {value!r}")
    return [normalise(one) for one in patterns]


def _matches(text: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _matches_name(info: ModelInfo, patterns: list[str]) -> bool:
    bare = info.name.rpartition(":")[2]
    return _matches(bare, patterns) or _matches(info.qualified_name, patterns)
