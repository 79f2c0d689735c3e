"""Builders: import, validation, and the wrapper that records name and arguments in the model."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

from lucid.errors import PluginError
from lucid.hints import keyword_hints
from lucid.models.info import ModelInfo

__all__ = ["check_builder", "docstring_summary", "find_builder", "object_reference", "wrap_builder"]

_NAME_ATTRIBUTE = "_lucid_model_name"
_UNRESOLVED = object()


def object_reference(function: Callable[..., Any]) -> str:
    """Return the import path of a function, ``"module:qualname"``."""
    return f"{function.__module__}:{function.__qualname__}"


def docstring_summary(function: Callable[..., Any]) -> str:
    """Return the first line of a function's docstring, without its period."""
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else ""


def wrap_builder(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Wrap a builder so that the model it returns is checked and has ``model_name``.

    Returns `function` itself if it is already wrapped under this name.
    """
    if getattr(function, _NAME_ATTRIBUTE, None) == name:
        return function
    if hasattr(function, _NAME_ATTRIBUTE):
        function = inspect.unwrap(function, stop=lambda f: not hasattr(f, _NAME_ATTRIBUTE))

    @functools.wraps(function)
    def build(*args: Any, **kwargs: Any) -> Any:
        _check_keywords(function, name, kwargs)
        # Bind before the call: the builder may modify a list that it is given.
        model_kwargs = _bind_by_name(function, name, args, kwargs)
        try:
            model = function(*args, **kwargs)
        except TypeError as error:
            message = _rejected_keywords(function, name, kwargs, str(error))
            if message is None:
                raise
            raise TypeError(message) from error
        from lucid.models.structure import record_builder
        from lucid.nn import Module

        if not isinstance(model, Module):
            raise PluginError(
                f"the builder {object_reference(function)} of model {name!r} must return a "
                f"lucid.nn.Module, got {_type_name(model)}"
            )
        record_builder(model, name, model_kwargs)
        return model

    setattr(build, _NAME_ATTRIBUTE, name)
    return build


def _check_keywords(function: Callable[..., Any], name: str, given: dict[str, Any]) -> None:
    """Raise TypeError for unknown arguments of a builder without ``**kwargs``."""
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return  # the builder checks them
    valid = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    unknown = [key for key in given if key not in valid]
    if unknown:
        error = (
            f"model {name!r} got unexpected keyword argument(s) {', '.join(map(repr, unknown))}; "
            f"valid ones are {', '.join(valid) or 'none'}"
        )
        raise TypeError("; ".join([error, *_remedies(function, unknown, valid)]))


def _rejected_keywords(
    function: Callable[..., Any], name: str, kwargs: dict[str, Any], error: str
) -> str | None:
    """Add the model's name and remedies to a builder's error about unexpected arguments."""
    if "unexpected keyword argument" not in error:
        return None
    signature = inspect.signature(function).parameters.values()
    parameters = {p.name for p in signature if p.kind is not p.VAR_KEYWORD}
    unknown = [key for key in kwargs if key not in parameters and repr(key) in error]
    if not unknown:
        return None
    # The errors of builders with **kwargs list the valid arguments, but not the builder's own.
    words = re.findall(r"\w+", error)
    valid = parameters.union(words).difference(unknown)
    own = "".join(f"{p.name}, " for p in signature if p.name in parameters.difference(words))
    error = error.replace("valid ones are ", f"valid ones are {own}", 1)
    message = error if name in error else f"model {name!r}: {error}"
    return "; ".join([message, *_remedies(function, unknown, valid)])


def _remedies(
    function: Callable[..., Any], unknown: Iterable[str], valid: Iterable[str]
) -> list[str]:
    """Suggest a valid argument for each unknown one that has a known or similar spelling."""
    remedies = keyword_hints(function.__name__, unknown, valid)
    return [f"{key!r}: {remedy}" for key, remedy in remedies.items()]


def _bind_by_name(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name, as they are stored in a saved model."""
    if not args:
        return dict(kwargs)
    signature = inspect.signature(function)
    bound: dict[str, Any] = {}
    # bind() raises the TypeError that the call itself would raise.
    for key, value in signature.bind(*args, **kwargs).arguments.items():
        kind = signature.parameters[key].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            bound.update(value)
        elif kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
            bound[key] = value
        else:
            raise TypeError(
                f"{name}() expects keyword arguments, got {key!r} by position; saved models store "
                "arguments by name"
            )
    return bound


def find_builder(info: ModelInfo) -> Callable[..., Any]:
    """Import the builder of a registered model and return it wrapped.

    Raises PluginError if the module cannot be imported or has no such function.
    """
    where = f"the builder {info.builder!r} of model {info.name!r} ({info.origin})"
    module_name, _, qualname = info.builder.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # includes SystemExit: building a model must not end the program
        from lucid.models.suggestions import missing_module_hint

        gone = isinstance(error, ModuleNotFoundError) and error.name in _packages(module_name)
        hint = "; if it was uninstalled, call lucid.models.refresh()" if gone else ""
        if (remedy := missing_module_hint(error)) is not None and not gone:
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
        raise PluginError(f"{where} must be a function, got {_type_name(found)}")
    return wrap_builder(found, info.name)


def _packages(module_name: str) -> set[str]:
    parts = module_name.split(".")
    return {".".join(parts[: end + 1]) for end in range(len(parts))}


def check_builder(function: Any) -> None:
    """Raise TypeError unless a function is a valid builder.

    It must be callable without arguments and annotated to return a subclass of ``nn.Module``.
    Annotations that cannot be resolved yet are not checked.
    """
    if inspect.isclass(function) or not callable(function) or not hasattr(function, "__qualname__"):
        raise TypeError(f"@register_model expects a function that builds a model, got {function!r}")
    where = object_reference(function)
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
    """Return the return annotation of a function, with strings resolved if possible."""
    try:
        annotation = inspect.get_annotations(function).get("return", inspect.Signature.empty)
    except NameError:  # Python 3.14 evaluates here; the class may be defined later
        return _UNRESOLVED
    if not isinstance(annotation, str):
        return annotation
    plain = inspect.unwrap(function)
    names = dict(getattr(plain, "__globals__", {}))
    # A class local to an enclosing function is resolved only if the builder uses it.
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


def _type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
