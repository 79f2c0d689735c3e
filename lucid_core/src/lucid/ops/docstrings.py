"""Decorators that add docstring sections shared by many operations.

The docstring in the source has the summary and what is special about the function.  The
decorators insert Parameters, Returns and Raises below it when the module is imported.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import TypeVar

__all__ = [
    "AXIS",
    "AXIS_ERRORS",
    "FLOAT",
    "KEEPDIMS",
    "NO_AXIS",
    "add_sections",
    "binary",
    "reduction",
    "unary",
]

Sections = Mapping[str, str]
F = TypeVar("F", bound=Callable[..., object])

FLOAT = "Any shape; integers and booleans become float32."
AXIS = {"axis : int or sequence of int, optional": "Axes to reduce; default all."}
KEEPDIMS = {"keepdims : bool, default False": "Keep the reduced axes with length 1."}
NO_AXIS = {"numpy.exceptions.AxisError": "If ``x`` has no such axis."}
AXIS_ERRORS = NO_AXIS | {"ValueError": "If an axis is repeated."}
_LATER_SECTION = re.compile(r"\n\n(?=(?:Notes|References|Examples)\n-)")


def add_sections(
    parameters: Sections, returns: str, raises: Sections | None = None
) -> Callable[[F], F]:
    """Return a decorator that inserts numpydoc sections below the summary of a docstring.

    ``parameters`` are descriptions by ``"name : type"``, ``raises`` by exception.
    """
    parts = [_section("Parameters", parameters), _section("Returns", {"Tensor": returns})]
    if raises:
        parts.append(_section("Raises", raises))

    def decorate(function: F) -> F:
        if function.__doc__:  # None under python -OO
            text = inspect.cleandoc(function.__doc__)
            summary, *later = _LATER_SECTION.split(text, maxsplit=1)
            function.__doc__ = "\n\n".join([summary, *parts, *later])
        return function

    return decorate


def _section(title: str, entries: Sections) -> str:
    lines = [
        f"{name}\n{textwrap.indent(textwrap.fill(text, 92), '    ')}"
        for name, text in entries.items()
    ]
    return "\n".join([title, "-" * len(title), *lines])


def unary(
    x: str = "Any shape.", returns: str = "Shape of ``x``.", raises: Sections | None = None
) -> Callable[[F], F]:
    """Document an elementwise function of ``x``."""
    return add_sections({"x : array-like": x}, returns, raises)


def binary(
    xy: str = "Shapes that broadcast.",
    returns: str = "Broadcast shape, common dtype (see :func:`lucid.add`).",
    raises: Sections | None = None,
) -> Callable[[F], F]:
    """Document an elementwise function of ``x`` and ``y``."""
    errors = {"ValueError": "If the shapes do not broadcast.", **(raises or {})}
    return add_sections({"x, y : array-like": xy}, returns, errors)


def reduction(
    returns: str, x: str = "Any shape.", raises: Sections | None = None
) -> Callable[[F], F]:
    """Document a function that reduces ``x`` over ``axis``."""
    parameters = {"x : array-like": x, **AXIS, **KEEPDIMS}
    return add_sections(parameters, returns, {**AXIS_ERRORS, **(raises or {})})
