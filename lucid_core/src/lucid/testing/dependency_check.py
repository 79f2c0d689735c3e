"""Check that a distribution requires the packages that its code imports."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lucid.models.info import canonicalize_name
from lucid.testing.distribution_checks import find_plugins
from lucid.testing.tested_model import CheckError, CheckNotRunError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["check_dependencies"]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

_CORE = "lucid-core"


def check_dependencies(distribution: str) -> None:
    """Check that the requirements cover all imports in the code.

    Extras count, as do requirements of ``lucid-core`` with the extras that the distribution
    names, as in ``lucid-core[vision]``.  Imports for type checking, and in a ``try`` that handles
    ``ImportError``, need no requirement.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    """
    import importlib_metadata

    plugins = find_plugins(distribution)
    own = {plugin.package.partition(".")[0] for plugin in plugins}
    declared = {canonicalize_name(each.name) for each in _parsed(plugins[0].requirements)}
    providers = importlib_metadata.packages_distributions()
    provided = {canonicalize_name(name) for names in providers.values() for name in names}
    # Editable installations may not list the packages that they provide.
    unknown = declared - provided - {_CORE}
    declared |= _required_of_core(plugins[0].requirements) | {_CORE}
    missing: dict[str, str] = {}
    for path in _sources(own):
        for module, line in _imports(path):
            if module in own or module == "lucid" or module in sys.stdlib_module_names:
                continue
            found = {canonicalize_name(name) for name in providers.get(module, ())}
            if found & {*declared, canonicalize_name(plugins[0].distribution)}:
                continue
            if not found and (unknown or canonicalize_name(module) in declared):
                continue
            name = min(found, default=canonicalize_name(module))
            missing.setdefault(name, f"{module} ({path}:{line})")
    if missing:
        raise CheckError(
            f"it imports {', '.join(missing.values())} and does not require "
            f"{', '.join(sorted(missing))}",
            "add them to the dependencies or to an extra in its pyproject.toml",
        )


def _required_of_core(requirements: Sequence[str]) -> set[str]:
    """Return the requirements of the core, including extras named in `requirements`."""
    import importlib_metadata

    of_core = (each for each in _parsed(requirements) if canonicalize_name(each.name) == _CORE)
    extras = {"", *(extra for each in of_core for extra in each.extras)}
    return {
        canonicalize_name(each.name)
        for each in _parsed(importlib_metadata.requires(_CORE) or ())
        if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    }


def _parsed(requirements: Sequence[str]) -> list[Requirement]:
    from packaging.requirements import InvalidRequirement, Requirement

    parsed = []
    for text in requirements:
        with suppress(InvalidRequirement):  # reported by the check 'requirement'
            parsed.append(Requirement(text))
    return parsed


def _sources(packages: set[str]) -> list[Path]:
    """Return the Python files of packages, without tests."""
    files: list[Path] = []
    for package in sorted(packages):
        spec = importlib.util.find_spec(package)
        folders = [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]
        for folder in folders:
            files += [path for path in sorted(folder.rglob("*.py")) if not _is_test(folder, path)]
        if spec is not None and not folders and spec.origin and Path(spec.origin).is_file():
            files.append(Path(spec.origin))
    if not files:
        raise CheckNotRunError(
            f"found no source files of {', '.join(sorted(packages))}",
            "install the distribution as files, not as a zip archive",
        )
    return files


def _is_test(folder: Path, path: Path) -> bool:
    return path.name.startswith("test_") or "tests" in path.relative_to(folder).parts


def _imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the top-level modules that a file requires, with the line of each import."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise CheckError(f"{path}:{error.lineno}: {error.msg}", "correct the file") from error
    yield from _needed(tree)


def _needed(node: ast.AST) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Import):
        yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield node.module.partition(".")[0], node.lineno
    skipped: list[ast.stmt] = []
    if (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)) or (
        isinstance(node, ast.Try) and any(map(_handles_import_error, node.handlers))
    ):
        skipped = node.body
    for child in ast.iter_child_nodes(node):
        if child not in skipped:
            yield from _needed(child)


def _handles_import_error(handler: ast.ExceptHandler) -> bool:
    caught = "" if handler.type is None else ast.unparse(handler.type)
    return "ImportError" in caught or "ModuleNotFoundError" in caught
