"""Run the Python examples of a Markdown page, in order, as one program.

    python tests/integration/markdown_examples.py docs/install.md

A fenced ``python`` block is run; a ``text`` block right after it is what it prints
(``...`` stands for anything). A block with a ``:caption:`` is a file of that name and
is not run: :func:`captioned_files` gives those. Each page runs in a process of its
own, so that no page sees what another registered, seeded or imported.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=ticks)[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
_CAPTION = re.compile(r"\A:caption: (?P<path>\S+)\n(?::.*\n)*\n*")


@dataclass(frozen=True)
class Block:
    """A fenced block with its language, content and first line."""

    language: str
    body: str
    line: int
    caption: str | None
    follows: bool  # only blank lines since the previous block


def blocks(text: str) -> Iterator[Block]:
    end = 0
    for match in _FENCE.finditer(text):
        info = match["info"].strip()
        body, line = match["body"], text.count("\n", 0, match.start()) + 2
        caption = _CAPTION.match(body)
        if caption:
            body = body[caption.end() :]
        language = re.sub(r"\{[\w-]+\}\s*", "", info)
        follows = not text[end : match.start()].strip()
        yield Block(language, body, line, caption["path"] if caption else None, follows)
        end = match.end()


def captioned_files(text: str) -> dict[str, str]:
    """Return the files that a page contains, by path."""
    return {block.caption: block.body for block in blocks(text) if block.caption}


def run(path: Path) -> int:
    """Run the examples of a page; return their number."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    printed: str | None = None
    count = 0
    for block in blocks(path.read_text(encoding="utf-8")):
        if block.language == "python" and block.caption is None:
            # Blank lines before the code, so that a traceback names the page's own lines.
            code = compile("\n" * (block.line - 1) + block.body, str(path), "exec")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                exec(code, namespace)
            printed, count = output.getvalue(), count + 1
        elif block.language == "text" and block.follows and printed is not None:
            check(block.body, printed, f"{path}:{block.line}")
            printed = None
        else:
            printed = None
    return count


def check(expected: str, printed: str, where: str) -> None:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(expected, printed, flags):
        raise SystemExit(f"{where}: the page says\n{expected}but its example prints\n{printed}")


if __name__ == "__main__":
    print(f"{run(Path(sys.argv[1]).resolve())} examples ran")
