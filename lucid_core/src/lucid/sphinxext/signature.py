"""Source code of a builder's signature, for the section *Function Signature*."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

__all__ = ["signature_source"]

_WIDTH = 88


def signature_source(name: str, builder: Callable[..., Any]) -> str:
    """Return ``@register_model`` and the ``def`` statement of a builder, formatted like Black."""
    signature = inspect.signature(builder)
    arguments = _arguments(list(signature.parameters.values()))
    returns = _annotation(signature.return_annotation)
    tail = f" -> {returns}" if returns else ""
    line = f"def {name}({', '.join(arguments)}){tail}"
    if len(line) > _WIDTH:
        # Black's layout: all arguments on one indented line if they fit, else one per line.
        inner = ", ".join(arguments)
        if len(inner) + 4 > _WIDTH:
            inner = ",\n    ".join(arguments) + ","
        line = f"def {name}(\n    {inner}\n){tail}"
    return f"@register_model\n{line}"


def _arguments(parameters: list[inspect.Parameter]) -> list[str]:
    out: list[str] = []
    kinds = [parameter.kind for parameter in parameters]
    for i, parameter in enumerate(parameters):
        if parameter.kind is parameter.KEYWORD_ONLY and (
            i == 0 or kinds[i - 1] not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        ):
            out.append("*")
        out.append(_argument(parameter))
        if parameter.kind is parameter.POSITIONAL_ONLY and (
            i + 1 == len(kinds) or kinds[i + 1] is not parameter.POSITIONAL_ONLY
        ):
            out.append("/")
    return out


def _argument(parameter: inspect.Parameter) -> str:
    stars = ""
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
    kind = _annotation(parameter.annotation)
    # ``**kwargs: Any`` is shown as ``**kwargs``.
    text = f"{stars}{parameter.name}"
    if kind and not (stars and kind == "Any"):
        text += f": {kind}"
    if parameter.default is not parameter.empty:
        text += f" = {parameter.default!r}" if kind else f"={parameter.default!r}"
    return text


def _annotation(annotation: object) -> str:
    """Return the source of an annotation, a string (postponed) or an object."""
    if annotation is inspect.Parameter.empty:
        return ""
    if isinstance(annotation, str):
        return annotation
    text = inspect.formatannotation(annotation)
    # Classes without their module; generic types such as tuple[int, ...] unchanged.
    return text.rpartition(".")[2] if inspect.isclass(annotation) and "[" not in text else text
