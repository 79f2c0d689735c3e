"""Functions that build models: checked, found by name, and made to sign their work.

Every builder that leaves the registry is wrapped once, so that the model it
returns is known to be a module and carries ``model_name`` and ``model_kwargs``,
however the builder was reached.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from lucid.errors import PluginError
from lucid.hints import keyword_hints
from lucid.models.info import ModelInfo

__all__ = ["check_builder", "find_builder", "first_line", "place_of", "signed"]

_NAME_ATTRIBUTE = "_lucid_model_name"
_UNRESOLVED = object()


def place_of(function: Callable[..., Any]) -> str:
    """Where a function is defined, ``"module:qualname"``: how builders are matched."""
    return f"{function.__module__}:{function.__qualname__}"


def first_line(function: Callable[..., Any]) -> str:
    """The first line of a function's docstring, without its full stop."""
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else ""


def signed(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a builder so that its model is checked and knows how it was built.

    Parameters
    ----------
    function : callable
        Returns an ``nn.Module``.
    name : str
        The model's name.

    Returns
    -------
    callable
        With the signature, docstring and ``__wrapped__`` of `function`; itself, if
        it was wrapped under this name before.
    """
    if getattr(function, _NAME_ATTRIBUTE, None) == name:
        return function
    if hasattr(function, _NAME_ATTRIBUTE):
        function = inspect.unwrap(function, stop=lambda f: not hasattr(f, _NAME_ATTRIBUTE))

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Any:
        _check_options(function, name, kwargs)
        # Taken before the call: a builder may change a list it was given.
        given = _given_by_name(function, name, args, kwargs)
        try:
            model = function(*args, **kwargs)
        except TypeError as error:
            message = _refused_options(function, name, kwargs, str(error))
            if message is None:
                raise
            raise TypeError(message) from error
        from lucid.models.structure import record_builder
        from lucid.nn import Module

        if not isinstance(model, Module):
            raise PluginError(
                f"the builder {place_of(function)} of model {name!r} must return a "
                f"lucid.nn.Module, got {_kind(model)}"
            )
        record_builder(model, name, given)
        return model

    setattr(build, _NAME_ATTRIBUTE, name)
    return build


def _check_options(function: Callable[..., Any], name: str, given: dict[str, Any]) -> None:
    """Raise ``TypeError`` for options that a builder without ``**kwargs`` does not take."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return  # the builder itself knows which it takes
    taken = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [key for key in given if key not in taken]
    if unknown:
        error = (
            f"model {name!r} got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are {', '.join(taken) or 'none'}"
        )
        raise TypeError("; ".join([error, *_remedies(function, unknown, taken)]))


def _refused_options(
    function: Callable[..., Any], name: str, kwargs: dict[str, Any], error: str
) -> str | None:
    """The error of a builder that refused options, with the model and what to type instead."""
    if "unexpected keyword argument" not in error:
        return None
    parameters = set(inspect.signature(function).parameters)
    refused = [key for key in kwargs if key not in parameters and repr(key) in error]
    if not refused:
        return None
    # Builders with **kwargs list in their error what they take.
    taken = parameters.union(re.findall(r"\w+", error)).difference(refused)
    which = error if name in error else f"model {name!r}: {error}"
    return "; ".join([which, *_remedies(function, refused, taken)])


def _remedies(
    function: Callable[..., Any], refused: Iterable[str], taken: Iterable[str]
) -> list[str]:
    """What to type for options, as far as it is known or an option has a similar name."""
    taken = list(taken)
    remedies = keyword_hints(function.__name__, refused, taken)
    for key in refused:
        if key not in remedies and (close := difflib.get_close_matches(key, taken, 1, 0.75)):
            remedies[key] = f"use {close[0]}="
    return [f"{key!r}: {remedy}" for key, remedy in remedies.items()]


def _given_by_name(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name, as a saved model has to remember them."""
    if not args:
        return dict(kwargs)
    signature = inspect.signature(function)
    given: dict[str, Any] = {}
    # bind() raises the TypeError that the call itself would raise.
    for key, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            given.update(value)
        elif kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            given[key] = value
        else:
            raise TypeError(
                f"{name}() takes keyword arguments, got {key!r} by position: a saved model "
                "remembers its arguments by name"
            )
    return given


def find_builder(info: ModelInfo) -> Callable[..., Any]:
    """Import the module of a registered model and return its builder, wrapped.

    Raises
    ------
    PluginError
        If the module cannot be imported or holds no such function; names the
        model, its distribution and the cause.
    """
    where = f"the builder {info.builder!r} of model {info.name!r} ({info.origin})"
    module_name, _, qualname = info.builder.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit too: building a model must not end a program
        from lucid.models.suggestions import missing_module

        gone = isinstance(error, ModuleNotFoundError) and error.name in _parents(module_name)
        hint = "; was it uninstalled? lucid.models.refresh() looks again" if gone else ""
        if (remedy := missing_module(error)) is not None and not gone:
            hint = f"; {remedy}"
        text = " ".join(str(error).split())
        raise PluginError(
            f"{where} cannot be imported: {type(error).__name__}: {text}{hint}"
        ) from error
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise PluginError(f"{where} does not exist: {error}") from error
    if not callable(found):
        raise PluginError(f"{where} must be a function, got {_kind(found)}")
    return signed(found, info.name)


def _parents(module_name: str) -> set[str]:
    parts = module_name.split(".")
    return {".".join(parts[: end + 1]) for end in range(len(parts))}


def check_builder(function: Any) -> None:
    """Check that a function can stand behind a name of the registry.

    It must be callable without arguments, and say that it returns a subclass of
    ``nn.Module``.  An annotation that names something not defined yet is left to
    the check of what the builder returns.

    Raises
    ------
    TypeError
        Naming the function and what is wrong with it.
    """
    if inspect.isclass(function) or not callable(function) or not hasattr(function, "__qualname__"):
        raise TypeError(
            f"@register_model decorates a function that builds a model, got {function!r}"
        )
    where = place_of(function)
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise TypeError(
            f"the builder {where} must be callable without arguments; "
            f"give a default to: {', '.join(needed)}"
        )
    returned = _return_annotation(function)
    if returned is _UNRESOLVED:
        return
    from lucid.nn import Module

    if not (inspect.isclass(returned) and issubclass(returned, Module)):
        got = "no annotation" if returned is inspect.Signature.empty else f"{returned!r}"
        raise TypeError(
            f"the builder {where} must be annotated to return a subclass of lucid.nn.Module, "
            f"as in 'def {function.__name__}(...) -> MyModel', got {got}"
        )


def _return_annotation(function: Callable[..., Any]) -> Any:
    """Return what a function is annotated to return, strings resolved where possible."""
    try:
        annotation = inspect.get_annotations(function).get("return", inspect.Signature.empty)
    except NameError:  # Python 3.14 evaluates here, and the class may come later
        return _UNRESOLVED
    if not isinstance(annotation, str):
        return annotation
    plain = inspect.unwrap(function)
    names = dict(getattr(plain, "__globals__", {}))
    # A class local to the enclosing function is seen only if the builder uses it.
    code, cells = getattr(plain, "__code__", None), getattr(plain, "__closure__", None)
    for free_name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        try:
            names[free_name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    try:
        while isinstance(annotation, str):  # quotes under "from __future__ import annotations"
            annotation = eval(annotation, names)  # the module's own source, as typing does
    except Exception:
        return _UNRESOLVED
    return annotation


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
