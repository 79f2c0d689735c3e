"""Writing a new plugin's project: all of it, or nothing."""

from __future__ import annotations

import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import lucid
from lucid.scaffold.kinds import KINDS
from lucid.scaffold.names import PluginNames
from lucid.scaffold.requirement import core_requirement

__all__ = ["render", "write_plugin"]

#: Keeps the templates from being taken for Python, TOML or git's own files where they lie.
_SUFFIX = ".tmpl"
#: Stands for the package's name in their paths.
_PACKAGE = "PACKAGE"


def write_plugin(
    names: PluginNames, folder: str | os.PathLike[str], kind: str = "classifier"
) -> Path:
    """Write the project of a plugin into a folder of its own.

    The files are written beside the folder and moved there when they are complete.

    Parameters
    ----------
    names : PluginNames
        As :func:`plugin_names` gives them.
    folder : path-like
        Is made; it may be there if it is empty.
    kind : {"classifier", "backbone", "detector"}, default "classifier"
        Of the model.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If the folder is there and not empty, or what it is to stand in is not there; or if
        ``kind`` is unknown.
    OSError
        If it cannot be written; nothing is left behind.
    """
    rendered = render(names, kind)
    target = Path(folder)
    _check_target(target)
    # Beside the target, so that moving is renaming; an empty folder gets it inside.
    parent = target if target.is_dir() else target.parent
    partial = parent / f".new-plugin-{secrets.token_hex(6)}"
    try:
        for path, text in rendered.items():
            file = partial / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8", newline="\n")
        if parent is target:
            _move_content(partial, target)
        else:
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def render(names: PluginNames, kind: str = "classifier") -> dict[str, str]:
    """Return the files of the project: what each holds, under its path.

    Parameters
    ----------
    names : PluginNames
        Put in wherever a template asks for one.
    kind : {"classifier", "backbone", "detector"}, default "classifier"
        Of the model.

    Returns
    -------
    dict of str to str
        Paths are relative, with slashes.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    of = KINDS[kind]
    core = core_requirement(lucid.__version__)
    # Lucid's distributions carry one version.
    required = [core, *(core.replace("lucid-core", name, 1) for name in of.requires)]
    values = {
        **dataclasses.asdict(names),
        "requirements": ", ".join(f'"{requirement}"' for requirement in required),
        "title_line": "=" * len(names.distribution),
        "summary": of.summary,
        "keyword": of.keyword,
        "example": of.example.format(model=names.model),
    }
    templates = files("lucid.scaffold") / "template"
    rendered = {}
    for path, source in sorted((*_templates(templates / "common"), *_templates(templates / kind))):
        name = path.removesuffix(_SUFFIX).replace(_PACKAGE, names.package)
        rendered[name] = Template(source).substitute(values)
    return rendered


def _templates(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the path and source of every template below a folder, which may lie in a zip file."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield prefix + entry.name, entry.read_text(encoding="utf-8")


def _check_target(target: Path) -> None:
    if target.is_dir():
        if any(target.iterdir()):
            raise ValueError(f"{target} is there already and not empty; give another --directory")
    elif target.exists() or target.is_symlink():
        raise ValueError(f"{target} is there already and no folder; give another --directory")
    elif not target.parent.is_dir():
        raise ValueError(f"{target.parent} is no folder; make it first")


def _move_content(source: Path, target: Path) -> None:
    """Move what is in one folder into another, which is left empty if that fails."""
    moved: list[Path] = []
    try:
        for entry in list(source.iterdir()):
            moved.append(entry.rename(target / entry.name))
    except OSError:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
