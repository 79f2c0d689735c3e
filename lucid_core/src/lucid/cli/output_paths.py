"""Output files and folders of commands, checked before any work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

__all__ = [
    "REPORT_SUFFIXES",
    "OutputPath",
    "check_output_file",
    "check_output_folder",
    "parse_output",
]

#: Report suffixes: one JSON object, or one JSON line per image.
REPORT_SUFFIXES = (".json", ".jsonl")


class OutputPath(NamedTuple):
    """Value of ``--output``: a report, an image or a folder of images; no paths if not given."""

    report: Path | None = None
    pictures: Path | None = None
    is_folder: bool = False

    def make_folder(self) -> None:
        """Create the output folder if it is missing."""
        if (path := self.report or self.pictures) is not None:
            (path if self.is_folder else path.parent).mkdir(parents=True, exist_ok=True)


def parse_output(text: str | None, picture_suffixes: Sequence[str] = ()) -> OutputPath:
    """Parse the value of ``--output``.

    A report ends in ``.json`` or ``.jsonl``.  With ``picture_suffixes`` (in lower case), a name
    with one of these is an image; a name without suffix, one that ends in ``/`` or an existing
    folder is a folder of images.  Raises :class:`click.BadParameter` for others.
    """
    if text is None:
        return OutputPath()
    path, option = Path(text), "--output"
    suffix = path.suffix.lower()
    names_folder = text.endswith(("/", os.sep))
    if suffix in REPORT_SUFFIXES and not names_folder:
        check_output_file(path, option)
        return OutputPath(report=path)
    if picture_suffixes and (names_folder or not suffix or path.is_dir()):
        check_output_folder(path, option)
        return OutputPath(pictures=path, is_folder=True)
    if suffix in picture_suffixes:
        check_output_file(path, option)
        return OutputPath(pictures=path)
    known = ", ".join([*REPORT_SUFFIXES, *picture_suffixes])
    folder = "; for a folder of drawn images, end the path in /" if picture_suffixes else ""
    raise _bad(option, f"expected a file that ends in {known}, got {text}{folder}")


def check_output_file(path: Path, option: str, suffixes: Sequence[str] = ()) -> None:
    """Raise :class:`click.BadParameter` unless the file can be written.

    Its folder need not exist.  It must not be another argument of the command, and must have one of
    ``suffixes`` (in lower case) if given.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise _bad(option, f"expected a file that ends in {', '.join(suffixes)}, got {path}")
    if path.is_dir():
        raise _bad(option, f"expected a file, got the directory {path}")
    if other := _other_argument(path, option):
        raise _bad(
            option, f"{path} is also given as {other} and would be overwritten; choose another file"
        )
    check_output_folder(path.parent, option)


def _other_argument(path: Path, own: str) -> str | None:
    """Return another argument of the running command that names the same file."""
    context = click.get_current_context(silent=True)
    if context is None:
        return None
    for parameter in context.command.params:
        if own in parameter.opts or parameter.name not in context.params:
            continue
        value = context.params[parameter.name]
        for given in value if isinstance(value, (tuple, list)) else (value,):
            if not isinstance(given, (str, Path)):
                continue
            text = str(given)  # a list of images is given as @list.txt
            if any(_same_file(Path(name), path) for name in (text, text.removeprefix("@"))):
                option = parameter.opts[0]
                return option if option.startswith("-") else parameter.make_metavar(context)
    return None


def _same_file(a: Path, b: Path) -> bool:
    if a.is_file() and b.is_file():
        return a.samefile(b)
    return os.path.realpath(a) == os.path.realpath(b)


def check_output_folder(path: Path, option: str) -> None:
    """Raise if a folder cannot be created or written; see :func:`check_output_file`."""
    existing = Path(os.path.abspath(path))
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        kind = "a file" if existing.exists() else "a broken link"
        raise _bad(option, f"expected a directory, got {kind} ({existing})")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _bad(option, f"no write permission for {existing}")


def _bad(option: str, reason: str) -> click.BadParameter:
    return click.BadParameter(reason, param_hint=f"'{option}'")
