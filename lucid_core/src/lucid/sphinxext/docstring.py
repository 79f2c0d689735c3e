"""Taking a builder's numpydoc docstring apart, so that a page can put it in its own order."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

__all__ = ["Docstring", "definition_list", "escape", "parse"]

_UNDERLINE = re.compile(r"[-=]{3,}\s*")


@dataclass(frozen=True)
class Docstring:
    """A docstring in parts.

    Attributes
    ----------
    introduction : str
        Everything before the first section: the summary line and what follows it.
    sections : dict of str to str
        The body of each section under its title, in the order of the docstring.
    """

    introduction: str = ""
    sections: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph, on one line."""
        return " ".join(self.introduction.split("\n\n")[0].split())


def parse(text: str | None) -> Docstring:
    """Split a docstring at its section titles.

    A section starts with a title at the left margin, underlined with at least
    three dashes.

    Parameters
    ----------
    text : str or None
        The docstring as the function has it, indented or not.

    Returns
    -------
    Docstring
        Empty for None.

    Raises
    ------
    ValueError
        If a section stands there twice.
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
            raise ValueError(f"the docstring has two sections with the title {title!r}")
        sections[title] = "\n".join(lines[start + 2 : stop]).strip("\n")
    return Docstring("\n".join(introduction).strip(), sections)


def definition_list(body: str) -> str:
    """Turn a numpydoc field list into a reStructuredText definition list.

    ``name : type`` at the left margin becomes a term with its name as code and
    its type in italics; what is indented below stays as it is.

    Parameters
    ----------
    body : str
        The body of a section such as Parameters, Returns or Raises.

    Returns
    -------
    str
        The same, with names such as ``**kwargs`` safe from being read as markup.
    """
    lines = body.splitlines()
    out: list[str] = []
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        term, separator, kind = line.partition(" : ")
        is_term = bool(separator) or below[:1].isspace()
        if not line[:1].strip() or not is_term:
            out.append(line)  # a description, a blank line, or a sentence of its own
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
    """Plain text as reStructuredText that renders as it stands.

    Parameters
    ----------
    text : str
        Such as a model's one-line summary, which no one wrote as markup.

    Returns
    -------
    str
        With a backslash before whatever would begin or end markup.
    """
    return re.sub(r"([*`|\\]|_(?!\w))", r"\\\1", text)
