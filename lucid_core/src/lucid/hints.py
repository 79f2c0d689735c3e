"""Errors that say what to type instead of PyTorch's spelling, from :mod:`lucid.torch_names`.

On the straight path this costs one Python call around the public functions that have
options; the engine calls them without it.  Missing names stay missing: ``hasattr`` is False
and ``dir`` does not list them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NoReturn

from lucid.errors import LucidError
from lucid.torch_names import ATTRIBUTES, KEYWORDS, KEYWORDS_OF, POSITIONS

__all__ = [
    "ElementCount",
    "add_attribute_hints",
    "add_class_hints",
    "add_hints",
    "attribute_error",
    "dtype_message",
    "find_hint",
    "forward_message",
    "install_import_hints",
    "keyword_hints",
    "register_hints",
    "register_import_hints",
]

_DEVICES = ("cpu", "cuda", "gpu", "hpu", "meta", "mps", "tpu", "xpu")


#: What :func:`register_hints` added, by package.
_PLUGIN_HINTS: dict[str, Callable[[], Mapping[str, str]]] = {}


def register_hints(owner: str, names: Callable[[], Mapping[str, str]]) -> None:
    """Add what to type for names that the package of a plugin lacks.

    :func:`attribute_error` and ``from OWNER import NAME`` then give it.

    Parameters
    ----------
    owner : str
        The package.
    names : callable
        Called at an error; returns remedies by name or pattern, as a table in
        :data:`lucid.torch_names.ATTRIBUTES`.
    """
    _PLUGIN_HINTS[owner] = names


def find_hint(owner: str, name: str) -> str | None:
    """What to type for an attribute that is missing; None if the tables have nothing."""
    known = ATTRIBUTES.get(owner) or _PLUGIN_HINTS.get(owner, dict)()
    remedy = known.get(name) or next(
        (text for key, text in known.items() if "*" in key and fnmatchcase(name, key)), None
    )
    if remedy is None:
        return None
    plain = remedy.replace("`", "")
    return f"use {plain}" if remedy.startswith("`") else plain


def attribute_error(owner: str, name: str, subject: str | None = None) -> AttributeError:
    """The error of a missing attribute.

    Parameters
    ----------
    owner : str
        The key in :data:`lucid.torch_names.ATTRIBUTES`: a module, ``"Tensor"`` or ``"Module"``.
    name : str
        The attribute.
    subject : str, optional
        What lacks it, for the message; default ``module 'OWNER'``.
    """
    message = f"{subject or f'module {owner!r}'} has no attribute {name!r}"
    remedy = find_hint(owner, name)
    if remedy is None:
        return AttributeError(message)
    # With a name but no object, Python adds no "Did you mean" of its own.
    return AttributeError(f"{message}; {remedy}", name=name)


# --- keyword arguments --------------------------------------------------------------------------


def add_hints(namespace: dict[str, Any]) -> None:
    """Give the names in a module's ``__all__`` errors that say what to type.

    The functions that have options and the constructors are wrapped in place, and the module
    gets a ``__getattr__`` unless it has one.  All of this is out of sight of type checkers,
    which see the functions as they are written, and no ``__getattr__``.

    Parameters
    ----------
    namespace : dict
        ``globals()`` of the module.
    """
    module = namespace["__name__"]
    for name in namespace["__all__"]:
        value: Any = namespace.get(name)
        if not getattr(value, "__module__", "").startswith("lucid"):
            continue
        if inspect.isfunction(value):
            namespace[name] = _explained(value, name, module)
        elif inspect.isclass(value) and not issubclass(value, BaseException):
            init = vars(value).get("__init__", value.__init__)
            if inspect.isfunction(init):
                value.__init__ = _explained(init, name)  # type: ignore[method-assign]
    add_attribute_hints(namespace)


def add_attribute_hints(namespace: dict[str, Any]) -> None:
    """Give a module a ``__getattr__`` that says what to type, unless it has one.

    Parameters
    ----------
    namespace : dict
        ``globals()`` of the module.
    """
    module = namespace["__name__"]
    # For a missing name of a package, and only of a package, ``from MODULE import NAME`` asks
    # the finders, of which one says what to type.
    namespace.setdefault("__path__", [])

    def missing(name: str) -> NoReturn:
        raise attribute_error(module, name)

    namespace.setdefault("__getattr__", missing)


def add_class_hints(cls: Any, owner: str | None = None) -> None:
    """Give the methods that have options, and missing attributes, errors that say what to type.

    Parameters
    ----------
    cls : type
        Changed in place.
    owner : str, optional
        The key in :data:`lucid.torch_names.ATTRIBUTES`, for a class without a ``__getattr__``
        of its own.
    """
    for name, value in list(vars(cls).items()):
        if inspect.isfunction(value) and not name.startswith("_"):
            call = _explained(value, name)
            if call is not value:  # pickled by name; the function may be from another module
                call.__module__, call.__qualname__ = cls.__module__, f"{cls.__qualname__}.{name}"
                setattr(cls, name, call)
    if owner is None:
        return

    def missing(self: object, name: str) -> NoReturn:
        raise attribute_error(owner, name, f"{type(self).__name__!r} object")

    cls.__getattr__ = missing


def _explained(
    function: Callable[..., Any], name: str, module: str | None = None
) -> Callable[..., Any]:
    """The function with a remedy in the TypeError of a wrong call; itself if it has no options."""
    plain = _PLAIN.get(function, function)
    if module is not None and plain in _EXPORTED:
        return _EXPORTED[plain]
    if not _takes_options(plain):
        return function

    @functools.wraps(plain)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return plain(*args, **kwargs)
        except TypeError as error:
            # A wrong call fails before the function is entered: there is no frame below.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            message = _wrong_call(plain, name, args, kwargs)
            if message is None:
                raise
            raise TypeError(message) from None

    _PLAIN[call] = plain
    if module is not None:
        call.__module__ = module  # where pickle looks the wrapper up
        _EXPORTED[plain] = call
    return call


#: From a wrapper to what it wraps, and from an exported function to its one wrapper.
_PLAIN: dict[Callable[..., Any], Callable[..., Any]] = {}
_EXPORTED: dict[Callable[..., Any], Callable[..., Any]] = {}

#: Functions without options whose counterparts in PyTorch have some.
_WITHOUT_OPTIONS = frozenset(
    (
        *("clone", "expand", "load", "load_model", "permute", "relu", "reshape", "sigmoid"),
        *("hardsigmoid", "hardswish", "relu6"),
        *("silu", "step", "tanh", "to", "transpose", "view", "create_model", "__init__"),
    )
)
_RENAMED = frozenset(name for name in KEYWORDS.values() if name.isidentifier()) - {"x"}


def _takes_options(function: Callable[..., Any]) -> bool:
    """Whether a user of PyTorch may pass a function something that it does not take."""
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount]
    return bool(
        getattr(function, "__defaults__", None)
        or code.co_kwonlyargcount
        or function.__name__ in _WITHOUT_OPTIONS
        or not _RENAMED.isdisjoint(parameters)
    )


def _wrong_call(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if open_ended else [key for key in kwargs if key not in parameters]
    remedies = keyword_hints(name, unknown, parameters)
    if not remedies:
        return _wrong_position(name, len(args) - ("self" in parameters), parameters)
    known = "; ".join(f"{key!r}: {remedy}" for key, remedy in remedies.items())
    others = [key for key in unknown if key not in remedies]
    rest = f"; also unexpected: {', '.join(map(repr, others))}" if others else ""
    return f"{name}() got an unexpected keyword argument {known}{rest}"


def _wrong_position(name: str, given: int, parameters: Iterable[str]) -> str | None:
    """What to type for the argument of PyTorch at the last position, if one is known."""
    keyword = POSITIONS.get(name, {}).get(given - 1)
    if keyword is None:
        return None
    if keyword in parameters:
        return f"{name}() takes {keyword} by keyword only: use {keyword}="
    remedy = KEYWORDS[keyword].replace("`", "")
    return f"{name}() has no argument {keyword!r}: {remedy}"


def forward_message(
    owner: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """The error of a module that was called with other arguments than its ``forward`` takes.

    Parameters
    ----------
    owner : str
        Class of the module.
    forward : callable
        Its method.
    args, kwargs : tuple and dict
        What the module was called with.

    Returns
    -------
    str or None
        Class, expected arguments and what is wrong; None if ``forward`` takes them.
    """
    signature = inspect.signature(forward)
    parameters = signature.parameters
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        plain = [p.replace(annotation=p.empty) for p in parameters.values()]
        expected = signature.replace(parameters=plain, return_annotation=signature.empty)
        unknown = [key for key in kwargs if key not in parameters]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            remedies = keyword_hints(owner, unknown, parameters)
            named = ", ".join(
                f"{key!r}: {remedies[key]}" if key in remedies else repr(key) for key in unknown
            )
            return f"{owner} expects {expected}, got an unexpected keyword argument {named}"
        return f"{owner} expects {expected}: {error}"
    return None


def keyword_hints(name: str, keywords: Iterable[str], parameters: Iterable[str]) -> dict[str, str]:
    """What to type for keyword arguments that a callable does not take.

    Parameters
    ----------
    name : str
        Of the function or class.
    keywords : iterable of str
        What was given.
    parameters : iterable of str
        What it takes: a parameter of another name is a remedy only where it is one of these.
    """
    taken = set(parameters)
    remedies = {}
    for key in keywords:
        remedy = KEYWORDS_OF.get(name, {}).get(key) or KEYWORDS.get(key)
        if remedy is None:
            continue
        if not remedy.isidentifier():
            remedies[key] = remedy.replace("`", "")
        elif remedy in taken:
            remedies[key] = f"use {remedy}="
    return remedies


# --- the rest -----------------------------------------------------------------------------------


class ElementCount(int):
    """The number of elements, ``x.size``; calling it, as PyTorch does, is an error."""

    def __call__(self, *axes: int) -> NoReturn:
        axis = repr(axes[0]) if axes else "0"
        raise TypeError(f"size is the number of elements; use x.shape, or x.shape[{axis}]")

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


def dtype_message(value: object) -> str:
    """The message for something that is no element type: a device, or PyTorch's own type."""
    text = str(value)
    message = f"expected an element type such as 'float32', got {value!r}"
    kind = text.removeprefix("torch.")
    if kind.partition(":")[0] in _DEVICES:
        return f"{message}; leave it out: Lucid computes on the CPU"
    if kind != text:
        other = ATTRIBUTES["lucid"].get(kind, "").replace("`", "") or f"lucid.{kind}"
        return f"{message}; use {other}"
    return message


class _ExplainingFinder:
    """Meta path finder that finds nothing, and says what to import instead.

    ``from lucid import NAME`` discards the AttributeError of the module, then looks for a
    submodule.  Only an error of this second step reaches the user.
    """

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        owner, _, name = fullname.rpartition(".")
        failed = f"cannot import name {name!r} from {owner!r}"
        remedy = find_hint(owner, name)
        if remedy is not None:
            raise ImportError(f"{failed}; {remedy}", name=owner)
        if owner not in _LOOKUPS or name.startswith("_"):
            return
        try:
            _LOOKUPS[owner](name)
        except LucidError as error:
            raise ImportError(f"{failed}: {error}", name=owner) from error


#: For a package, a function that raises LucidError for a name that it lacks.
_LOOKUPS: dict[str, Callable[[str], object]] = {}


def register_import_hints(owner: str, lookup: Callable[[str], object]) -> None:
    """Give ``from OWNER import NAME`` the message of a LucidError.

    Parameters
    ----------
    owner : str
        A package.
    lookup : callable
        Called with a missing public name that the tables do not have.
    """
    _LOOKUPS[owner] = lookup


def install_import_hints() -> None:
    """Put the explaining finder behind all others, once."""
    if not any(isinstance(finder, _ExplainingFinder) for finder in sys.meta_path):
        sys.meta_path.append(_ExplainingFinder())
