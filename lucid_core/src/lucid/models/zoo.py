"""Public functions of ``lucid.models``, on the registry of the process."""

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

#: Names that models cannot have: attributes and submodules of ``lucid.models``.
RESERVED = frozenset(
    {
        *__all__,
        *("LayerSummary", "ModelInfo", "ModelSummary", "PluginInfo", "summarize"),
        *("hookimpl", "hookspec", "record_builder", "recorded_builder"),
        *(
            "Backbone",
            "Classifier",
            "check_backbone",
            "check_classifier",
            "head_keys",
            "missing_members",
        ),
        *("builders", "discovery", "hookspecs", "info", "lazy_models", "metadata", "protocols"),
        *("registry", "structure", "suggestions", "summary", "zoo"),
    }
)

#: Keyword arguments of ``register_model``.
_REGISTER_FIELDS = frozenset(
    (
        *("name", "task", "family", "total_parameters", "summary", "input_shape"),
        *("example_batch", "aliases"),
    )
)

registry = ModelRegistry(RESERVED)

if hasattr(os, "register_at_fork"):
    # A child forked during a discovery in another thread would deadlock.
    os.register_at_fork(after_in_child=registry.reset_locks)


def list_models(
    pattern: str | Iterable[str] = "*",
    *,
    exclude: str | Iterable[str] = (),
    task: str | Iterable[str] | None = None,
    family: str | Iterable[str] | None = None,
    plugin: str | Iterable[str] | None = None,
) -> list[str]:
    """List the names of registered models without importing their code.

    Parameters
    ----------
    pattern : str or iterable of str, default ``"*"``
        Shell-style patterns; a model is listed if its name matches one of them.
    exclude : str or iterable of str, default ()
        Patterns of names to exclude.
    task, family : str or iterable of str, optional
        Patterns of tasks and families.  Default: all.
    plugin : str or iterable of str, optional
        Patterns of distributions that register models.  Default: all, and models registered
        in scripts.

    Returns
    -------
    list of str
        Names in natural order, ``resnet_18`` before ``resnet_101``.  A name that two plugins
        register is listed as ``"distribution:name"`` for each.

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


def create_model(
    name: str, /, *, weights: str | os.PathLike[str] | None = None, **kwargs: Any
) -> Module:
    """Build a registered model, randomly initialized or with weights.

    Parameters
    ----------
    name : str
        Name from :func:`list_models` or alias such as torchvision's ``"resnet18"``.
        ``"distribution:name"`` selects a plugin if several register the same name.
    weights : str or path-like, optional
        ``"default"`` or a tag such as ``"imagenet1k_v2"`` for published weights, see
        :func:`lucid.weights.list_weights`, which are fetched into the user's cache when first
        used; or the path of a weight file, a string with a separator or a suffix such as
        ``.pth``.  Builder arguments that the weights need are applied.
    **kwargs
        Arguments of the builder, such as ``num_classes``.  With `weights` of another number of
        classes, the last layer is randomly initialized, with a ``WeightFileWarning``.

    Returns
    -------
    nn.Module
        New model in training mode; its ``model_name`` and ``model_kwargs`` build it again, and
        ``weights_info`` describes its weights.

    Raises
    ------
    UnknownModelError
        If there is no such model.  The message lists similar names and plugins to install.
    UnknownWeightsError
        If the model has no published weights of this tag; lists those that exist.
    WeightsDownloadError
        If published weights cannot be fetched.
    WeightFileError
        If the file is damaged or its weights do not fit the model.
    ValueError
        If an argument contradicts one that the weights need.
    PluginError
        If the name is ambiguous, the builder cannot be imported, or it does not return an
        ``nn.Module``.

    Examples
    --------
    >>> import lucid
    >>> model = lucid.models.create_model("resnet_18", num_classes=10)
    >>> model.model_name, model.model_kwargs
    ('resnet_18', {'num_classes': 10})
    """
    if weights is not None:
        from lucid.weights.pretrained import create_pretrained

        return create_pretrained(name, weights, kwargs)
    model: Module = get_builder(name)(**kwargs)
    return model


def get_builder(name: str) -> Callable[..., Any]:
    """Return the function that builds a model; imports its module.

    Parameters
    ----------
    name : str
        Name or alias, as for :func:`create_model`.

    Returns
    -------
    callable
        Builder with the signature and docstring of the plugin's function.

    Raises
    ------
    UnknownModelError, PluginError
        As for :func:`create_model`.
    """
    return registry.builder(registry.info(name))


def is_model(name: object) -> bool:
    """Whether `name` resolves to exactly one registered model; imports no model code.

    Parameters
    ----------
    name : object
        Name or alias, as for :func:`create_model`.

    Returns
    -------
    bool
        False if `name` is unknown, ambiguous or not a str.
    """
    return isinstance(name, str) and len(registry.find(name)) == 1


def model_info(name: str) -> ModelInfo:
    """Return the description of a model without importing its code.

    Parameters
    ----------
    name : str
        Name or alias, as for :func:`create_model`.

    Returns
    -------
    ModelInfo
        Registered fields and the distribution of the plugin.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    PluginError
        If several plugins register the name.
    """
    return registry.info(name)


def list_plugins() -> list[PluginInfo]:
    """List the plugins of the environment, including those that failed to load.

    Returns
    -------
    list of PluginInfo
        Plugins ordered by distribution and entry point.  A plugin that failed has its reason
        in ``error`` and no models.

    Raises
    ------
    PluginError
        If a plugin fails and ``LUCID_STRICT_PLUGINS`` is set.
    """
    return registry.plugins()


def refresh() -> None:
    """Discover plugins again, after one was installed or removed in this process.

    Models registered by scripts stay.  Modules that are already imported are not reloaded.  If
    discovery raises (``LUCID_STRICT_PLUGINS``), the previous models stay.
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

    In a script or notebook the model is registered at once.  In the package of a plugin, whose
    hook registers the models, the decorator records the name in the built model, and its
    arguments must match the registration.  It does not run discovery.

    Parameters
    ----------
    builder : callable
        Function that can be called without arguments and is annotated to return a subclass of
        ``nn.Module``.
    name : str, optional
        Name of the model.  Default: name of the function.
    task : str, optional
        Task, such as ``"image-classification"``.  Default: ``"unspecified"``.
    family : str, optional
        Name of the architecture.  Default: name of the model.
    total_parameters : int, optional
        ``parameter_size`` of the model built without arguments.
    summary : str, optional
        One-line description.  Default: first line of the docstring.
    input_shape : tuple of int, optional
        Shape of an input that the model accepts.  Default: (1, 3, 224, 224).
    example_batch : str, optional
        Import path of a function that returns a training batch, ``"package.module:function"``.
    aliases : sequence of str, optional
        Other names that resolve to the model.

    Returns
    -------
    callable
        Wrapped function; the models that it returns have ``model_name`` and ``model_kwargs``.

    Raises
    ------
    TypeError, ValueError
        If the function or an argument is invalid.
    PluginError
        If the function is in the package of a plugin that does not register it, or registers
        it with other fields.

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
    argument: str, value: Any, normalize: Callable[[str], str] = lambda text: text
) -> list[str]:
    if isinstance(value, str):
        return [normalize(value)]
    try:
        patterns = list(value)
    except TypeError:
        patterns = [value]
    for one in patterns:
        if not isinstance(one, str):
            raise TypeError(f"{argument} must be a pattern (str) or a list of them, got {value!r}")
    return [normalize(one) for one in patterns]


def _matches(text: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _matches_name(info: ModelInfo, patterns: list[str]) -> bool:
    bare = info.name.rpartition(":")[2]
    return _matches(bare, patterns) or _matches(info.qualified_name, patterns)
