"""Where commands write: checked before any work, made before it begins."""

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

#: Suffixes of reports: one JSON object, or a line of JSON for each image.
REPORT_SUFFIXES = (".json", ".jsonl")


class OutputPath(NamedTuple):
    """What ``--output`` names; both are None without it.

    Attributes
    ----------
    report : Path or None
        A file of results.
    pictures : Path or None
        A picture, or a folder of pictures.
    is_folder : bool
        Which of the two.
    """

    report: Path | None = None
    pictures: Path | None = None
    is_folder: bool = False

    def make(self) -> None:
        """Make the folder that everything goes into, if it is missing."""
        if (path := self.report or self.pictures) is not None:
            (path if self.is_folder else path.parent).mkdir(parents=True, exist_ok=True)


def parse_output(text: str | None, picture_suffixes: Sequence[str] = ()) -> OutputPath:
    """Tell by its name what ``--output`` is, and refuse what cannot be written.

    Parameters
    ----------
    text : str or None
        A report ends in ``.json`` or ``.jsonl``.  With ``picture_suffixes``, a name that ends
        in one of these is a picture; one without suffix, one that ends in ``/`` or an existing
        folder is a folder of pictures.
    picture_suffixes : sequence of str
        In lower case.

    Raises
    ------
    click.BadParameter
        For any other suffix, or a place that cannot be written.
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
    folder = "; for a folder of drawn images, end the name in /" if picture_suffixes else ""
    raise click.BadParameter(
        f"expected a file that ends in {known}, got {text}{folder}", param_hint=f"'{option}'"
    )


def check_output_file(path: Path, option: str, suffixes: Sequence[str] = ()) -> None:
    """Refuse a file that cannot be written, as far as that shows before.

    Parameters
    ----------
    path : Path
        It may exist; its folder need not.
    option : str
        Which option names it.
    suffixes : sequence of str
        What the name may end in, in lower case.  Default: anything.

    Raises
    ------
    click.BadParameter
        If it is a folder, has another suffix, its folder cannot be made or written to, or
        another argument of the command names the same file.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise click.BadParameter(
            f"expected a file that ends in {', '.join(suffixes)}, got {path}",
            param_hint=f"'{option}'",
        )
    if path.is_dir():
        raise click.BadParameter(
            f"{path} is a directory; expected a file", param_hint=f"'{option}'"
        )
    if other := _other_argument(path, option):
        raise click.BadParameter(
            f"{path} is also given as {other}, and would be overwritten; name another file",
            param_hint=f"'{option}'",
        )
    check_output_folder(path.parent, option)


def _other_argument(path: Path, own: str) -> str | None:
    """The argument of the running command, other than ``own``, that names the same file."""
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
    reason = ""
    if not existing.is_dir():
        kind = "a file" if existing.exists() else "a link to nothing"
        reason = f"{existing} is {kind}; expected a directory"
    elif not os.access(existing, os.W_OK | os.X_OK):
        reason = f"no permission to write to {existing}"
    if reason:
        raise click.BadParameter(reason, param_hint=f"'{option}'")
