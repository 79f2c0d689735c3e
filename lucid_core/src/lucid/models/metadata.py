"""Installed distributions: which of them declare Lucid plugins, and what they require.

Reading metadata is the larger part of what listing models costs in a fresh
process, so only what is needed is read: of a distribution that declares no plugin
``entry_points.txt``; of one that does, the headers of its ``METADATA``.  Nothing
here imports a plugin, and nothing raises over the metadata of a distribution that
declares none.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from lucid.errors import PluginError
from lucid.models.info import canonicalize_name

__all__ = ["ENTRY_POINT_GROUP", "PluginEntryPoint", "check_core_requirement", "find_entry_points"]

#: The entry point group in which plugins announce themselves.
ENTRY_POINT_GROUP = "lucid.models"

_CORE = "lucid-core"
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)(?:\s*\[[^\]]*\])?")
_PLAIN_VERSION = re.compile(r"\d+(?:\.\d+)*(?:\.dev\d+)?")
_PLAIN_CLAUSE = re.compile(rf"(>=|<)\s*({_PLAIN_VERSION.pattern})")


class PluginEntryPoint(NamedTuple):
    """An entry point of the group ``lucid.models``, not imported yet.

    Attributes
    ----------
    name, module : str
        Left and right side of the entry point.
    distribution, version : str
        What declares it.
    requirements : tuple of str
        The requirements of that distribution.
    error : str or None
        What is wrong with the metadata, if something is.
    """

    name: str
    module: str
    distribution: str
    version: str
    requirements: tuple[str, ...] = ()
    error: str | None = None

    @property
    def package(self) -> str:
        """The package the plugin's code lives in: where its module stands."""
        module = self.module.partition(":")[0].strip()
        return module.rpartition(".")[0] or module

    def owns(self, module: str) -> bool:
        """Whether a module belongs to the plugin's package."""
        return module == self.package or module.startswith(self.package + ".")


def find_entry_points() -> list[PluginEntryPoint]:
    """Return every plugin entry point, in an order that installation does not change.

    Where ``sys.path`` holds a distribution twice, the one that an import would
    find counts, as everywhere in Python packaging.
    """
    import importlib_metadata

    declaring: dict[str, Any] = {}
    for distribution in importlib_metadata.distributions():
        if ENTRY_POINT_GROUP in _read_text(distribution, "entry_points.txt"):
            name = _read_headers(distribution)[0] or _folder_name(distribution)
            declaring.setdefault(canonicalize_name(name), distribution)
    entry_points = []
    for name, distribution in declaring.items():
        # The first one on the path, which may not be the one seen; what an interrupted
        # uninstallation left of another does not count.
        same = importlib_metadata.distributions(name=name)
        distribution = next((found for found in same if _read_headers(found)[0]), distribution)
        entry_points.extend(_entry_points_of(distribution))
    return sorted(entry_points, key=lambda c: (canonicalize_name(c.distribution), c.name))


def check_core_requirement(entry_point: PluginEntryPoint, installed: str) -> None:
    """Raise PluginError if the plugin needs another core than the installed one.

    Parameters
    ----------
    entry_point : PluginEntryPoint
        The plugin, not imported yet.
    installed : str
        The version of the core.

    Raises
    ------
    PluginError
        With the pip command that helps: for a newer core if the plugin wants one,
        else for a newer plugin.
    """
    for requirement in entry_point.requirements:
        named = _NAME.match(requirement)
        if named is None or canonicalize_name(named[1]) != _CORE:
            continue
        specifier = _unsatisfied_specifier(requirement[named.end() :], requirement, installed)
        if specifier is None:
            continue
        if _needs_newer_core(specifier, installed):
            raise PluginError(
                f"it needs {_CORE}{specifier} but {installed} is installed; run: "
                f"python -m pip install --upgrade '{_CORE}{specifier}'"
            )
        raise PluginError(
            f"it is made for {_CORE}{specifier} and {installed} is installed; run: "
            f"python -m pip install --upgrade {entry_point.distribution}"
        )


def _unsatisfied_specifier(rest: str, requirement: str, installed: str) -> str | None:
    """Return the specifier that `installed` does not satisfy, None if it does.

    ``>=1.2,<2`` against a release or a development version is compared right here: this is
    what nearly every requirement looks like, and importing ``packaging`` for it would cost
    a fifth of listing models.
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
        raise PluginError(f"its requirement {requirement!r} cannot be parsed") from error
    if parsed.marker is not None and not parsed.marker.evaluate({"extra": ""}):
        return None
    # A pre-release of the core counts: who installed it wants to use it.
    return None if parsed.specifier.contains(installed, prereleases=True) else str(parsed.specifier)


def _satisfies(version: str, operator: str, bound: str) -> bool:
    """Compare two versions by PEP 440; ``<2`` excludes 2.0.dev0, which comes before 2."""
    if operator == ">=":
        return _version_key(version) >= _version_key(bound)
    if ".dev" in bound:
        return _version_key(version) < _version_key(bound)
    return _version_key(version)[0] < _version_key(bound)[0]


def _version_key(version: str) -> tuple[tuple[int, ...], float]:
    """Key that sorts versions: the release without trailing zeros, then development versions."""
    release, _, development = version.partition(".dev")
    numbers = [int(number) for number in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), float(development or "inf")


def _needs_newer_core(specifier: str, installed: str) -> bool:
    """Whether a newer core could satisfy what the installed one does not."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    floors = [s for s in SpecifierSet(specifier) if s.operator in (">=", ">", "~=", "==")]
    return any(Version(s.version.removesuffix(".*")) > Version(installed) for s in floors)


def _entry_points_of(distribution: Any) -> list[PluginEntryPoint]:
    name, version, requirements = _read_headers(distribution)
    error = None
    if not name or not version:
        error = "its metadata is damaged (no name or version); install the distribution again"
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
            # "module [extra]" is an old spelling that says nothing about the module.
            module=module.partition("[")[0].strip(),
            distribution=name or _folder_name(distribution),
            version=version or "(unknown version)",
            requirements=requirements,
            error=error,
        )
        for key, module in declared
    ]


def _read_text(distribution: Any, filename: str) -> str:
    """Return a metadata file's text; empty if there is none or it cannot be read."""
    try:
        return distribution.read_text(filename) or ""
    except Exception:  # not UTF-8, a damaged zip, a finder of someone else's: not our plugin
        return ""


def _read_headers(distribution: Any) -> tuple[str, str, tuple[str, ...]]:
    """Return name, version and requirements from the headers of the core metadata.

    The fields wanted are one line each, so the e-mail parser that
    ``distribution.metadata`` starts can be left out.
    """
    name, version, requirements = "", "", []
    text = _read_text(distribution, "METADATA") or _read_text(distribution, "PKG-INFO")
    for line in text.splitlines():
        if not line.strip():  # an empty line ends the headers, the description follows
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
    """Return the requirements of an old ``.egg-info``, None for any other."""
    if not _read_text(distribution, "requires.txt"):
        return None
    return tuple(distribution.requires or ())


def _folder_name(distribution: Any) -> str:
    """Return the name in ``NAME-VERSION.dist-info``, when the metadata has none."""
    folder = getattr(getattr(distribution, "_path", None), "name", "") or "unknown"
    return str(folder).partition("-")[0]
