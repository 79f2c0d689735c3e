"""Parser of numpydoc docstrings into sections."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

__all__ = ["Docstring", "definition_list", "escape", "parse"]

_UNDERLINE = re.compile(r"[-=]{3,}\s*")


@dataclass(frozen=True)
class Docstring:
    """Introduction and sections of a docstring.

    Attributes
    ----------
    introduction : str
        Text before the first section.
    sections : dict of str to str
        Body of each section by title, in the order of the docstring.
    """

    introduction: str = ""
    sections: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """First paragraph on one line."""
        return " ".join(self.introduction.split("\n\n")[0].split())


def parse(text: str | None) -> Docstring:
    """Split a docstring at its section titles, which are underlined with three or more dashes.

    Raises ValueError if a section occurs twice.
    """
    lines = inspect.cleandoc(text or "").splitlines()
    starts = [
        i
        for i in range(len(lines) - 1)
        if lines[i][:1].strip() and _UNDERLINE.fullmatch(lines[i + 1])
    ]
    stops = [*starts, len(lines)]
    introduction = lines[: stops[0]]
    sections: dict[str, str] = {}
    for start, stop in zip(starts, stops[1:], strict=True):
        title = lines[start].strip()
        if title in sections:
            raise ValueError(f"the docstring has two sections {title!r}")
        sections[title] = "\n".join(lines[start + 2 : stop]).strip("\n")
    return Docstring("\n".join(introduction).strip(), sections)


def definition_list(body: str) -> str:
    """Convert a numpydoc field list to a reStructuredText definition list.

    ``name : type`` becomes a term with the name as code and the type in italics.
    """
    lines = body.splitlines()
    out: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        term, separator, kind = line.partition(" : ")
        is_term = bool(separator) or below[:1].isspace()
        if not line[:1].strip() or not is_term:
            out.append(line)  # description, blank line or sentence
            continue
        if out and out[-1].strip():
            out.append("")
        names = [name.strip() for name in term.split(",")]
        if not all(name.lstrip("*").isidentifier() for name in names):
            names = [term]
        code = ", ".join(f"``{name}``" for name in names)
        out.append(f"{code} : *{escape(kind.strip())}*" if kind.strip() else code)
    return "\n".join(out)


def escape(text: str) -> str:
    """Escape reStructuredText markup in plain text."""
    return re.sub(r"([*`|\\]|_(?!\w))", r"\\\1", text)
