"""Error hints for PyTorch names and arguments, from the tables in :mod:`lucid.torch_names`.

Public functions with options are wrapped to catch wrong calls; internal calls use the plain
functions.  Missing names stay missing: ``hasattr`` is False, and ``dir`` does not list them.
"""

from __future__ import annotations

import difflib
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


#: Hints of :func:`register_hints`, by package.
_PLUGIN_HINTS: dict[str, Callable[[], Mapping[str, str]]] = {}


def register_hints(owner: str, names: Callable[[], Mapping[str, str]]) -> None:
    """Register hints for names that the package ``owner`` of a plugin lacks.

    ``names`` returns the hints by name or pattern, as a table of
    :data:`lucid.torch_names.ATTRIBUTES`; it is called on an error.
    """
    _PLUGIN_HINTS[owner] = names


def find_hint(owner: str, name: str) -> str | None:
    """Return the hint for a missing attribute, or None."""
    known = ATTRIBUTES.get(owner) or _PLUGIN_HINTS.get(owner, dict)()
    hint = known.get(name) or next(
        (text for key, text in known.items() if "*" in key and fnmatchcase(name, key)), None
    )
    if hint is None:
        return None
    plain = hint.replace("`", "")
    return f"use {plain}" if hint.startswith("`") else plain


def attribute_error(owner: str, name: str, subject: str | None = None) -> AttributeError:
    """Create the AttributeError of a missing attribute, with a hint if there is one.

    ``owner`` is a key of :data:`lucid.torch_names.ATTRIBUTES`; ``subject`` defaults to
    ``module 'OWNER'``.
    """
    message = f"{subject or f'module {owner!r}'} has no attribute {name!r}"
    hint = find_hint(owner, name)
    if hint is None:
        return AttributeError(message)
    # With a name but no object, Python adds no "Did you mean".
    return AttributeError(f"{message}; {hint}", name=name)


# --- keyword arguments --------------------------------------------------------------------------


def add_hints(namespace: dict[str, Any]) -> None:
    """Add hints to the names in ``__all__`` of a module, given its ``globals()``.

    Functions with options and constructors are wrapped in place, invisibly to type checkers.
    """
    module = namespace["__name__"]
    for name in namespace["__all__"]:
        value: Any = namespace.get(name)
        if not getattr(value, "__module__", "").startswith("lucid"):
            continue
        if inspect.isfunction(value):
            namespace[name] = _with_hints(value, name, module)
        elif inspect.isclass(value) and not issubclass(value, BaseException):
            init = vars(value).get("__init__", value.__init__)
            if inspect.isfunction(init):
                value.__init__ = _with_hints(init, name)  # type: ignore[method-assign]
    add_attribute_hints(namespace)


def add_attribute_hints(namespace: dict[str, Any]) -> None:
    """Add a ``__getattr__`` with hints to a module, given its ``globals()``."""
    module = namespace["__name__"]
    # ``from MODULE import NAME`` calls the meta path finders for packages only.
    namespace.setdefault("__path__", [])

    def missing(name: str) -> NoReturn:
        raise attribute_error(module, name)

    namespace.setdefault("__getattr__", missing)


def add_class_hints(cls: Any, owner: str | None = None) -> None:
    """Add hints to the methods of a class and, with ``owner``, to missing attributes.

    ``owner`` is a key of :data:`lucid.torch_names.ATTRIBUTES`.
    """
    for name, value in list(vars(cls).items()):
        if inspect.isfunction(value) and not name.startswith("_"):
            call = _with_hints(value, name)
            if call is not value:  # pickled by name; the function may be from another module
                call.__module__, call.__qualname__ = cls.__module__, f"{cls.__qualname__}.{name}"
                setattr(cls, name, call)
    if owner is None:
        return

    def missing(self: object, name: str) -> NoReturn:
        raise attribute_error(owner, name, f"{type(self).__name__!r} object")

    cls.__getattr__ = missing


def _with_hints(
    function: Callable[..., Any], name: str, module: str | None = None
) -> Callable[..., Any]:
    """Wrap a function to add hints to the TypeError of a wrong call, unless it has no options."""
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
            # A wrong call fails before the function is entered: no frame below.
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            message = _wrong_call_message(plain, name, args, kwargs)
            if message is None:
                raise
            raise TypeError(message) from None

    _PLAIN[call] = plain
    if module is not None:
        call.__module__ = module  # for pickle
        _EXPORTED[plain] = call
    return call


#: Wrapper -> function, and exported function -> wrapper.
_PLAIN: dict[Callable[..., Any], Callable[..., Any]] = {}
_EXPORTED: dict[Callable[..., Any], Callable[..., Any]] = {}

#: Functions without options whose PyTorch counterparts have options.
_WITHOUT_OPTIONS = frozenset(
    (
        *("clone", "expand", "load", "load_model", "permute", "relu", "reshape", "sigmoid"),
        *("hardsigmoid", "hardswish", "relu6"),
        *("silu", "step", "tanh", "to", "transpose", "view", "create_model", "__init__"),
    )
)
_RENAMED = frozenset(name for name in KEYWORDS.values() if name.isidentifier()) - {"x"}


def _takes_options(function: Callable[..., Any]) -> bool:
    """Whether PyTorch's version of the function may take other arguments."""
    code = function.__code__
    parameters = code.co_varnames[: code.co_argcount]
    return bool(
        getattr(function, "__defaults__", None)
        or code.co_kwonlyargcount
        or function.__name__ in _WITHOUT_OPTIONS
        or not _RENAMED.isdisjoint(parameters)
    )


def _wrong_call_message(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    parameters = inspect.signature(function).parameters
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = [] if open_ended else [key for key in kwargs if key not in parameters]
    hints = keyword_hints(name, unknown, parameters)
    if not hints:
        return _wrong_position_message(name, len(args) - ("self" in parameters), parameters)
    known = "; ".join(f"{key!r}: {hint}" for key, hint in hints.items())
    others = [key for key in unknown if key not in hints]
    rest = f"; also unexpected: {', '.join(map(repr, others))}" if others else ""
    return f"{name}() got an unexpected keyword argument {known}{rest}"


def _wrong_position_message(name: str, given: int, parameters: Iterable[str]) -> str | None:
    """Return the message for a PyTorch argument at the last position, or None."""
    keyword = POSITIONS.get(name, {}).get(given - 1)
    if keyword is None:
        return None
    if keyword in parameters:
        return f"{name}() takes {keyword} by keyword only: use {keyword}="
    hint = KEYWORDS[keyword].replace("`", "")
    return f"{name}() has no argument {keyword!r}: {hint}"


def forward_message(
    owner: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """Return the error message if ``forward`` of a module does not accept the arguments."""
    signature = inspect.signature(forward)
    parameters = signature.parameters
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        plain = [p.replace(annotation=p.empty) for p in parameters.values()]
        expected = signature.replace(parameters=plain, return_annotation=signature.empty)
        unknown = [key for key in kwargs if key not in parameters]
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            hints = keyword_hints(owner, unknown, parameters)
            named = ", ".join(
                f"{key!r}: {hints[key]}" if key in hints else repr(key) for key in unknown
            )
            return f"{owner} expects {expected}, got an unexpected keyword argument {named}"
        return f"{owner} expects {expected}: {error}"
    return None


def keyword_hints(name: str, keywords: Iterable[str], parameters: Iterable[str]) -> dict[str, str]:
    """Return hints for unknown keywords of the function or class ``name``.

    A renamed keyword is suggested only if it is among ``parameters``; without a hint, a
    parameter of similar spelling.
    """
    taken = set(parameters) - {"self"}
    hints = {}
    for key in keywords:
        hint = KEYWORDS_OF.get(name, {}).get(key) or KEYWORDS.get(key)
        if hint is None or (hint.isidentifier() and hint not in taken):
            close = difflib.get_close_matches(key, sorted(taken), 1, 0.75)
            if close:
                hints[key] = f"use {close[0]}="
        elif not hint.isidentifier():
            hints[key] = hint.replace("`", "")
        else:
            hints[key] = f"use {hint}="
    return hints


# --- other hints --------------------------------------------------------------------------------


class ElementCount(int):
    """Integer for ``x.size`` that raises with a hint when called, as in PyTorch."""

    def __call__(self, *axes: int) -> NoReturn:
        axis = repr(axes[0]) if axes else "0"
        raise TypeError(f"size is the number of elements; use x.shape, or x.shape[{axis}]")

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)


def dtype_message(value: object) -> str:
    """Return the message for an invalid dtype, with a hint for devices and PyTorch dtypes."""
    text = str(value)
    message = f"expected a dtype such as 'float32', got {value!r}"
    kind = text.removeprefix("torch.")
    if kind.partition(":")[0] in _DEVICES:
        return f"{message}; leave it out: Lucid computes on the CPU"
    if kind != text:
        other = ATTRIBUTES["lucid"].get(kind, "").replace("`", "") or f"lucid.{kind}"
        return f"{message}; use {other}"
    return message


class _HintFinder:
    """Meta path finder that finds nothing and raises ImportError with a hint.

    ``from lucid import NAME`` discards the AttributeError of the module and then looks for a
    submodule.  Only errors of this second step reach the user.
    """

    @staticmethod
    def find_spec(fullname: str, path: object = None, target: object = None) -> None:
        owner, _, name = fullname.rpartition(".")
        failed = f"cannot import name {name!r} from {owner!r}"
        hint = find_hint(owner, name)
        if hint is not None:
            raise ImportError(f"{failed}; {hint}", name=owner)
        if owner not in _LOOKUPS or name.startswith("_"):
            return
        try:
            _LOOKUPS[owner](name)
        except LucidError as error:
            raise ImportError(f"{failed}: {error}", name=owner) from error


#: By package, a function that raises LucidError for a missing name.
_LOOKUPS: dict[str, Callable[[str], object]] = {}


def register_import_hints(owner: str, lookup: Callable[[str], object]) -> None:
    """Use the LucidError of a lookup as message of ``from OWNER import NAME``.

    ``lookup`` is called with missing public names that have no hint.
    """
    _LOOKUPS[owner] = lookup


def install_import_hints() -> None:
    """Append the hint finder to ``sys.meta_path``, once."""
    if not any(isinstance(finder, _HintFinder) for finder in sys.meta_path):
        sys.meta_path.append(_HintFinder())
