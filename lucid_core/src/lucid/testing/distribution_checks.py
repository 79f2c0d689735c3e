"""Checks of the distribution of a plugin: what it requires, and what its entry point does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import lucid
from lucid.errors import PluginError, PluginWarning
from lucid.models import PluginInfo, zoo
from lucid.models.discovery import Plugin
from lucid.models.info import canonicalize_name
from lucid.models.metadata import PluginEntryPoint, find_entry_points
from lucid.models.suggestions import pip_install
from lucid.scaffold.requirement import core_requirement
from lucid.testing.model_under_test import CheckError, CheckNotRunError, ModelUnderTest, wrap_errors

__all__ = [
    "check_imports",
    "check_loads",
    "check_requirement",
    "find_plugins",
    "loaded_plugins",
    "registered_model_checks",
]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True

_CORE = "lucid-core"
_FLOORS = frozenset((">=", ">", "~=", "==", "==="))

#: Run in a process of its own: what registering the plugin imports beside what listing an
#: empty zoo does.  The arguments: sys.path, whom to disable, and where to write the answer.
_PROGRAM = """
import json, os, sys
path, others, plugin, answer = json.loads(sys.argv[1])
sys.path[:] = path
os.environ.pop("LUCID_STRICT_PLUGINS", None)
os.environ["LUCID_DISABLE_PLUGINS"] = ",".join([*others, plugin])
import lucid
lucid.hookimpl
assert not lucid.models.list_plugins()
before = set(sys.modules)
os.environ["LUCID_DISABLE_PLUGINS"] = ",".join(others)
lucid.models.refresh()
new = sorted(set(sys.modules) - before)
places = [
    place
    for info in map(lucid.models.model_info, lucid.models.list_models())
    for place in (info.builder, info.example_batch)
    if place
]
errors = [plugin.error for plugin in lucid.models.list_plugins() if plugin.error]
with open(answer, "w", encoding="utf-8") as file:
    json.dump({"new": new, "places": places, "errors": errors}, file)
"""


def find_plugins(distribution: str) -> list[PluginEntryPoint]:
    """Return the plugins that an installed distribution declares.

    Parameters
    ----------
    distribution : str
        Its name, in any of the spellings that packaging tools take for the same.

    Raises
    ------
    PluginError
        If it is not installed, declares no plugin, or is disabled by
        ``LUCID_DISABLE_PLUGINS``.
    """
    import importlib_metadata

    canonical = canonicalize_name(distribution)
    disabled = os.environ.get("LUCID_DISABLE_PLUGINS", "").split(",")
    if canonical in {canonicalize_name(name.strip()) for name in disabled}:
        raise PluginError(f"{distribution} is disabled by LUCID_DISABLE_PLUGINS; take it out")
    found = [c for c in find_entry_points() if canonicalize_name(c.distribution) == canonical]
    if found:
        return found
    try:
        importlib_metadata.distribution(distribution)
    except (importlib_metadata.PackageNotFoundError, ValueError):
        is_path = Path(distribution).is_dir()
        command = pip_install("-e", distribution if is_path else "PATH-OF-THE-PROJECT")
        hint = ", then ask for it by the name in its pyproject.toml" if is_path else ""
        raise PluginError(
            f"no distribution called {distribution!r} is installed; install the plugin first: "
            f"{command}{hint}"
        ) from None
    raise PluginError(
        f"{distribution} declares no entry point in the group 'lucid.models'; "
        'a plugin has [project.entry-points."lucid.models"] in its pyproject.toml'
    )


def loaded_plugins(distribution: str) -> list[PluginInfo]:
    """The plugins of a distribution, loaded or not; no warning for those that are not."""
    canonical = canonicalize_name(distribution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the check that it loads says it
        plugins = lucid.models.list_plugins()
    return [p for p in plugins if canonicalize_name(p.distribution) == canonical]


def check_requirement(distribution: str) -> None:
    """The distribution requires the core, in a way that parses and has a floor.

    Parameters
    ----------
    distribution : str
        Name of the distribution, in any spelling that packaging tools take for it.

    Raises
    ------
    CheckError
        If a requirement does not parse, ``lucid-core`` is not among them, or its
        requirement has no floor.
    PluginError
        If the distribution is not installed, has no plugin, or is disabled.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    wanted = core_requirement(lucid.__version__)
    specifiers = []
    for text in find_plugins(distribution)[0].requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise CheckError(
                f"its requirement {text!r} cannot be parsed",
                "write it as PEP 508 has it, such as 'numpy>=2.0'",
            ) from error
        if canonicalize_name(requirement.name) == _CORE and (
            requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ):
            specifiers += list(requirement.specifier)
            if not any(s.operator in _FLOORS for s in requirement.specifier):
                raise CheckError(
                    f"its requirement {text!r} has no floor: pip may install it beside a core "
                    "that is too old for it",
                    f"write {wanted!r} in the dependencies of its pyproject.toml",
                )
    if not specifiers:
        raise CheckError(
            f"it does not require {_CORE}",
            f"add {wanted!r} to the dependencies in its pyproject.toml",
        )


def check_loads(distribution: str) -> None:
    """Every entry point can be imported, and its hooks run without an error.

    Parameters
    ----------
    distribution : str
        Name of the distribution, in any spelling that packaging tools take for it.

    Raises
    ------
    CheckError
        If one cannot; says which, and what it raised.  Also if a weight converter cannot be
        imported, or names a model that is not registered.
    """
    failed = [plugin for plugin in loaded_plugins(distribution) if plugin.error is not None]
    if failed:
        raise CheckError(
            "; ".join(f"entry point {plugin.name!r}: {plugin.error}" for plugin in failed),
            "correct it and install again; LUCID_STRICT_PLUGINS=1 lucid --debug models shows "
            "the traceback",
        )
    canonical = canonicalize_name(distribution)
    for plugin in zoo.registry.loaded_plugins():
        if canonicalize_name(plugin.entry_point.distribution) == canonical:
            _run_hooks(plugin)


def _run_hooks(plugin: Plugin) -> None:
    """Run the hooks that programs ask later, which would leave out what fails."""
    import click

    from lucid.data.checkers import plugin_checkers

    hooks: dict[str, Callable[[Plugin], object]] = {
        "lucid_register_commands": lambda plugin: plugin.call_hook(
            "lucid_register_commands", cli=click.Group()
        ),
        "lucid_register_data_checkers": plugin_checkers,
        "lucid_register_model_checks": registered_model_checks,
        "lucid_register_weight_converters": _check_converters,
    }
    for name, hook in hooks.items():
        with wrap_errors(f"{name}()", "correct the hook, or what it registers"):
            hook(plugin)


def _check_converters(plugin: Plugin) -> None:
    from lucid.weights.converter_registry import plugin_converters

    for converter in plugin_converters(plugin):
        converter.load()
        for name in converter.models:
            if not lucid.models.is_model(name):
                raise PluginError(f"{converter} is for the model {name!r}, which is not registered")


def registered_model_checks(
    plugin: Plugin,
) -> list[tuple[str, str, Callable[[ModelUnderTest], None]]]:
    """Task, name and function of each check that a plugin registers.

    Whatever its hook raises comes out.
    """
    found: list[tuple[str, str, Callable[[ModelUnderTest], None]]] = []

    def register(task: str, name: str, check: Callable[[ModelUnderTest], None]) -> None:
        if not callable(check):
            raise TypeError(f"the check {name!r}: expected a function, got {check!r:.80}")
        if not (check.__doc__ or "").strip():
            raise ValueError(
                f"the check {name!r}: expected a docstring that begins with what it asks for, got "
                "none"
            )
        found.append((task, name, check))

    plugin.call_hook("lucid_register_model_checks", register=register)
    return found


def check_imports(distribution: str) -> None:
    """Registering imports neither the builders' modules nor any library.

    Held against ``sys.modules`` of a fresh process, before and after.

    Parameters
    ----------
    distribution : str
        Name of the distribution, in any spelling that packaging tools take for it.

    Raises
    ------
    CheckError
        If it does; names the modules.
    CheckNotRunError
        If the plugin cannot be loaded.
    PluginError
        If the distribution is not installed, has no plugin, or is disabled.
    """
    plugins = find_plugins(distribution)
    name = plugins[0].distribution
    others = {c.distribution for c in find_entry_points()} - {name}
    found = _imports(name, sorted(others))
    if found["errors"]:
        raise CheckNotRunError("the plugin cannot be loaded", "look at what the check 'loads' says")
    builders = {place.partition(":")[0] for place in found["places"]}
    if early := sorted(builders & set(found["new"])):
        raise CheckError(
            f"listing models imports {', '.join(early)}, where builders are defined",
            "keep builders out of the plugin's module, import them neither there nor in the "
            "package's __init__.py, and export them lazily (PEP 562) if it should offer them",
        )
    own = {place.partition(".")[0] for place in builders | {plugin.module for plugin in plugins}}
    foreign = [
        module
        for module in found["new"]
        if module.partition(".")[0] not in own | sys.stdlib_module_names
    ]
    if foreign:
        raise CheckError(
            f"listing models imports {', '.join(_packages(foreign))}",
            "import it where it is used, inside lucid_register_commands or in the builders' module",
        )


def _imports(distribution: str, others: list[str]) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        given = json.dumps([sys.path, others, distribution, str(answer)])
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM, given],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not answer.exists():
            said = (done.stderr.strip() or "nothing").splitlines()[-1]
            raise CheckError(
                f"a fresh process that lists its models ended with code {done.returncode} and "
                f"said: {said}",
                "keep the plugin's module from ending the process",
            )
        found: dict[str, list[str]] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def _packages(modules: Iterable[str]) -> list[str]:
    """The packages that modules belong to; those of lucid by their rooms."""
    rooms = {".".join(name.split(".")[: 2 if name.startswith("lucid.") else 1]) for name in modules}
    return sorted(rooms)
