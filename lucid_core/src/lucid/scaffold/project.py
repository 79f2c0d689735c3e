"""Render the project of a new plugin and write it atomically."""

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

#: Suffix of templates, so that tools do not read them as Python, TOML or git files.
_SUFFIX = ".tmpl"
#: Placeholder for the package name in paths.
_PACKAGE = "PACKAGE"


def write_plugin(
    names: PluginNames, folder: str | os.PathLike[str], kind: str = "classifier"
) -> Path:
    """Write the project of a plugin to a new or empty folder.

    The files are written to a temporary folder that is renamed when it is complete.

    Parameters
    ----------
    names : PluginNames
        Names from :func:`plugin_names`.
    folder : path-like
        Folder of the project; must not exist or be empty.
    kind : {"classifier", "backbone", "detector"}, default "classifier"
        Kind of the model.

    Returns
    -------
    Path
        Folder of the project.

    Raises
    ------
    ValueError
        If the folder is not empty, its parent does not exist, or ``kind`` is unknown.
    OSError
        If writing fails; no files remain.
    """
    rendered = render(names, kind)
    target = Path(folder)
    _check_target(target)
    # On the same file system as the target, so that the folder can be renamed.
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
    """Return the content of each file of the project by its relative path."""
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    of = KINDS[kind]
    core = core_requirement(lucid.__version__)
    # All distributions of Lucid have the same version.
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
    """Yield path and source of all templates in a folder, which may be in a zip file."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield prefix + entry.name, entry.read_text(encoding="utf-8")


def _check_target(target: Path) -> None:
    if target.is_dir():
        if any(target.iterdir()):
            raise ValueError(f"{target} is not empty; pass another --directory")
    elif target.exists() or target.is_symlink():
        raise ValueError(f"{target} is not a folder; pass another --directory")
    elif not target.parent.is_dir():
        raise ValueError(f"{target.parent} is not a folder; create it first")


def _move_content(source: Path, target: Path) -> None:
    """Move the content of a folder into an empty one, which stays empty on failure."""
    moved: list[Path] = []
    try:
        for entry in list(source.iterdir()):
            moved.append(entry.rename(target / entry.name))
    except OSError:
        for path in moved:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
