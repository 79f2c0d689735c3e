"""Plugin entry points and requirements from the metadata of installed distributions.

Reading metadata dominates the cost of listing models in a new process.  So only
``entry_points.txt`` is read of each distribution, and the headers of ``METADATA`` of those that
declare a plugin.  No plugin is imported, and damaged metadata of other distributions is ignored.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lucid.errors import PluginError
from lucid.models.info import canonicalize_name

__all__ = ["ENTRY_POINT_GROUP", "PluginEntryPoint", "check_core_requirement", "find_entry_points"]

#: Entry point group of plugins.
ENTRY_POINT_GROUP = "lucid.models"

_CORE = "lucid-core"
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\s*\[[^\]]*\])?")
_PLAIN_VERSION = re.compile(r"\d+(?:\.\d+)*(?:\.dev\d+)?")
_PLAIN_CLAUSE = re.compile(rf"(>=|<)\s*({_PLAIN_VERSION.pattern})")


class PluginEntryPoint(NamedTuple):
    """An entry point of the group ``lucid.models`` that is not imported yet.

    Attributes
    ----------
    name, module : str
        Left and right side of the entry point.
    distribution, version : str
        Distribution that declares it.
    requirements : tuple of str
        Requirements of the distribution.
    error : str or None
        Problem with the metadata, if any.
    """

    name: str
    module: str
    distribution: str
    version: str
    requirements: tuple[str, ...] = ()
    error: str | None = None

    @property
    def package(self) -> str:
        """Package that contains the plugin's module."""
        module = self.module.partition(":")[0].strip()
        return module.rpartition(".")[0] or module

    def owns(self, module: str) -> bool:
        """Whether a module belongs to the plugin's package."""
        return module == self.package or module.startswith(self.package + ".")


def find_entry_points() -> list[PluginEntryPoint]:
    """Return all plugin entry points, sorted by distribution and name.

    If ``sys.path`` contains a distribution twice, the first one counts, as for imports.
    """
    import importlib_metadata

    declaring: dict[str, Any] = {}
    for distribution in importlib_metadata.distributions():
        if ENTRY_POINT_GROUP in _read_text(distribution, "entry_points.txt"):
            name = _read_headers(distribution)[0] or _folder_name(distribution)
            declaring.setdefault(canonicalize_name(name), distribution)
    entry_points = []
    for name, distribution in declaring.items():
        # The first one on the path may declare no plugin.  Skip the remains of interrupted
        # uninstallations, which have no name.
        same = importlib_metadata.distributions(name=name)
        distribution = next((found for found in same if _read_headers(found)[0]), distribution)
        entry_points.extend(_entry_points_of(distribution))
    return sorted(entry_points, key=lambda c: (canonicalize_name(c.distribution), c.name))


def check_core_requirement(entry_point: PluginEntryPoint, installed: str) -> None:
    """Raise PluginError if the plugin requires another version of ``lucid-core``.

    The error has the pip command that upgrades the core or, if the core is too new, the plugin.
    """
    for requirement in entry_point.requirements:
        named = _NAME.match(requirement)
        if named is None or canonicalize_name(named[1]) != _CORE:
            continue
        specifier = _unsatisfied_specifier(requirement[named.end() :], requirement, installed)
        if specifier is None:
            continue
        newer_core = _needs_newer_core(specifier, installed)
        upgrade = f"'{_CORE}{specifier}'" if newer_core else entry_point.distribution
        raise PluginError(
            f"it requires {_CORE}{specifier}, but {installed} is installed; run: "
            f"python -m pip install --upgrade {upgrade}"
        )


def _unsatisfied_specifier(rest: str, requirement: str, installed: str) -> str | None:
    """Return the specifier if `installed` does not satisfy it, else None.

    Plain requirements such as ``>=1.2,<2`` are compared without ``packaging``, whose import
    would add a fifth to the time of listing models.
    """
    if not rest.strip():
        return None
    clauses = [_PLAIN_CLAUSE.fullmatch(clause.strip()) for clause in rest.split(",")]
    if _PLAIN_VERSION.fullmatch(installed) and all(clauses):
        ok = all(_satisfies(installed, *clause.groups()) for clause in clauses if clause)
        return None if ok else rest.strip()

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(requirement)
    except InvalidRequirement as error:
        raise PluginError(f"its requirement {requirement!r} is invalid") from error
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return None
    # An installed pre-release of the core is meant to be used.
    return None if parsed.specifier.contains(installed, prereleases=True) else str(parsed.specifier)


def _satisfies(version: str, operator: str, bound: str) -> bool:
    """Compare versions by PEP 440; ``<2`` excludes 2.0.dev0, although it sorts before 2."""
    if operator == ">=":
        return _version_key(version) >= _version_key(bound)
    if ".dev" in bound:
        return _version_key(version) < _version_key(bound)
    return _version_key(version)[0] < _version_key(bound)[0]


def _version_key(version: str) -> tuple[tuple[int, ...], float]:
    """Return a sort key: release without trailing zeros, then development number."""
    release, _, development = version.partition(".dev")
    numbers = [int(number) for number in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), float(development or "inf")


def _needs_newer_core(specifier: str, installed: str) -> bool:
    """Whether the installed core is too old for the specifier, not too new."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    floors = [s for s in SpecifierSet(specifier) if s.operator in (">=", ">", "~=", "==")]
    return any(Version(s.version.removesuffix(".*")) > Version(installed) for s in floors)


def _entry_points_of(distribution: Any) -> list[PluginEntryPoint]:
    name, version, requirements = _read_headers(distribution)
    error = None
    if not name or not version:
        error = "its metadata has no name or version; reinstall the distribution"
    elif (listed := _egg_info_requirements(distribution)) is not None:
        requirements = listed
    try:
        declared = [
            (e.name, e.value) for e in distribution.entry_points if e.group == ENTRY_POINT_GROUP
        ]
    except Exception as problem:
        if f"[{ENTRY_POINT_GROUP}]" not in _read_text(distribution, "entry_points.txt"):
            return []
        declared = [("(unreadable)", "")]
        error = f"its entry_points.txt cannot be read ({type(problem).__name__}: {problem})"
    return [
        PluginEntryPoint(
            name=key,
            # Remove extras, as in the deprecated "module [extra]".
            module=module.partition("[")[0].strip(),
            distribution=name or _folder_name(distribution),
            version=version or "(unknown version)",
            requirements=requirements,
            error=error,
        )
        for key, module in declared
    ]


def _read_text(distribution: Any, filename: str) -> str:
    """Return the text of a metadata file; empty if it is missing or unreadable."""
    try:
        return distribution.read_text(filename) or ""
    except Exception:  # not UTF-8, a damaged zip file, a third-party finder
        return ""


def _read_headers(distribution: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return name, version and requirements from the headers of the core metadata.

    Faster than the e-mail parser behind ``distribution.metadata``; these fields are one line.
    """
    name, version, requirements = "", "", []
    text = _read_text(distribution, "METADATA") or _read_text(distribution, "PKG-INFO")
    for line in text.splitlines():
        if not line.strip():  # end of the headers
            break
        key, _, value = line.partition(":")
        match key.lower():
            case "name":
                name = value.strip()
            case "version":
                version = value.strip()
            case "requires-dist":
                requirements.append(value.strip())
    return name, version, tuple(requirements)


def _egg_info_requirements(distribution: Any) -> tuple[str, ...] | None:
    """Return the requirements of a legacy ``.egg-info``, else None."""
    if not _read_text(distribution, "requires.txt"):
        return None
    return tuple(distribution.requires or ())


def _folder_name(distribution: Any) -> str:
    """Return the name from ``NAME-VERSION.dist-info``."""
    folder = getattr(getattr(distribution, "_path", None), "name", "") or "unknown"
    return str(folder).partition("-")[0]
