"""Checks of a plugin's distribution: requirements, entry points, hooks and import cost."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import lucid
from lucid.errors import PluginError, PluginWarning
from lucid.models import PluginInfo, zoo
from lucid.models.discovery import Plugin, disabled_distributions
from lucid.models.info import canonicalize_name
from lucid.models.metadata import PluginEntryPoint, find_entry_points
from lucid.models.suggestions import pip_install
from lucid.scaffold.requirement import core_requirement
from lucid.testing.tested_model import CheckError, CheckNotRunError, ModelUnderTest, wrap_errors

__all__ = [
    "check_imports",
    "check_loads",
    "check_requirement",
    "find_plugins",
    "loaded_plugins",
    "registered_model_checks",
]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

_CORE = "lucid-core"
_LOWER_BOUNDS = frozenset((">=", ">", "~=", "==", "==="))

#: Program of a new process that writes the modules imported by registering the plugin, compared
#: with listing no plugin.  Arguments: sys.path, plugins to disable, the plugin, output file.
_PROGRAM = """
import json, os, sys
path, others, plugin, output = json.loads(sys.argv[1])
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
functions = [
    function
    for info in map(lucid.models.model_info, lucid.models.list_models())
    for function in (info.builder, info.example_batch)
    if function
]
errors = [plugin.error for plugin in lucid.models.list_plugins() if plugin.error]
with open(output, "w", encoding="utf-8") as file:
    json.dump({"new": new, "functions": functions, "errors": errors}, file)
"""


def find_plugins(distribution: str) -> list[PluginEntryPoint]:
    """Return the plugin entry points of an installed distribution.

    Raises PluginError if it is not installed, declares no plugin, or is disabled by
    ``LUCID_DISABLE_PLUGINS``.
    """
    import importlib_metadata

    canonical = canonicalize_name(distribution)
    if canonical in disabled_distributions():
        raise PluginError(
            f"{distribution} is disabled; remove it from the environment variable "
            "LUCID_DISABLE_PLUGINS"
        )
    found = [c for c in find_entry_points() if canonicalize_name(c.distribution) == canonical]
    if found:
        return found
    try:
        importlib_metadata.distribution(distribution)
    except (importlib_metadata.PackageNotFoundError, ValueError):
        is_path = Path(distribution).is_dir()
        command = pip_install("-e", distribution if is_path else "PATH-OF-THE-PROJECT")
        hint = ", then pass the name in its pyproject.toml" if is_path else ""
        raise PluginError(
            f"no distribution called {distribution!r} is installed; install it with {command}{hint}"
        ) from None
    raise PluginError(
        f"{distribution} has no entry point in the group 'lucid.models'; add "
        '[project.entry-points."lucid.models"] to its pyproject.toml'
    )


def loaded_plugins(distribution: str) -> list[PluginInfo]:
    """Return the plugins of a distribution, loaded or failed, without warnings."""
    canonical = canonicalize_name(distribution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # check_loads reports it
        plugins = lucid.models.list_plugins()
    return [p for p in plugins if canonicalize_name(p.distribution) == canonical]


def check_requirement(distribution: str) -> None:
    """Check that the distribution requires ``lucid-core`` with a lower bound.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    recommended = core_requirement(lucid.__version__)
    specifiers = []
    for text in find_plugins(distribution)[0].requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise CheckError(
                f"its requirement {text!r} is invalid",
                "use the syntax of PEP 508, such as 'numpy>=2.0'",
            ) from error
        if canonicalize_name(requirement.name) == _CORE and (
            requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ):
            specifiers += list(requirement.specifier)
            if not any(s.operator in _LOWER_BOUNDS for s in requirement.specifier):
                raise CheckError(
                    f"its requirement {text!r} has no lower bound, so pip may install it with a "
                    "core that is too old",
                    f"write {recommended!r} in the dependencies of its pyproject.toml",
                )
    if not specifiers:
        raise CheckError(
            f"it does not require {_CORE}",
            f"add {recommended!r} to the dependencies in its pyproject.toml",
        )


def check_loads(distribution: str) -> None:
    """Check that all entry points, hooks and weight converters can be imported and run.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    """
    failed = [plugin for plugin in loaded_plugins(distribution) if plugin.error is not None]
    if failed:
        raise CheckError(
            "; ".join(f"entry point {plugin.name!r}: {plugin.error}" for plugin in failed),
            "correct it and reinstall; LUCID_STRICT_PLUGINS=1 lucid --debug models shows the "
            "traceback",
        )
    canonical = canonicalize_name(distribution)
    for plugin in zoo.registry.loaded_plugins():
        if canonicalize_name(plugin.entry_point.distribution) == canonical:
            _run_hooks(plugin)


def _run_hooks(plugin: Plugin) -> None:
    """Run the hooks whose failures are only warnings when commands call them."""
    import click

    from lucid.data.checkers import plugin_checkers
    from lucid.weights.catalog import plugin_weights

    hooks: dict[str, Callable[[Plugin], object]] = {
        "lucid_register_commands": lambda plugin: plugin.call_hook(
            "lucid_register_commands", cli=click.Group()
        ),
        "lucid_register_data_checkers": plugin_checkers,
        "lucid_register_model_checks": registered_model_checks,
        "lucid_register_weight_converters": _check_converters,
        "lucid_register_weights": plugin_weights,
    }
    for name, hook in hooks.items():
        with wrap_errors(f"{name}()", "correct the hook or the objects that it registers"):
            hook(plugin)


def _check_converters(plugin: Plugin) -> None:
    from lucid.weights.converter_registry import plugin_converters

    for converter in plugin_converters(plugin):
        converter.load()
        for name in converter.models:
            if not lucid.models.is_model(name):
                raise PluginError(f"{converter} names the model {name!r}, which is not registered")


def registered_model_checks(
    plugin: Plugin,
) -> list[tuple[str, str, Callable[[ModelUnderTest], None]]]:
    """Return task, name and function of the checks that a plugin registers.

    Exceptions of the hook propagate.
    """
    found: list[tuple[str, str, Callable[[ModelUnderTest], None]]] = []

    def register(task: str, name: str, check: Callable[[ModelUnderTest], None]) -> None:
        if not callable(check):
            raise TypeError(f"check {name!r}: expected a function, got {check!r:.80}")
        if not (check.__doc__ or "").strip():
            raise ValueError(
                f"check {name!r}: expected a docstring, got none; describe the check in its "
                "first line"
            )
        found.append((task, name, check))

    plugin.call_hook("lucid_register_model_checks", register=register)
    return found


def check_imports(distribution: str) -> None:
    """Check that listing models imports neither builder modules nor third-party packages.

    Compares ``sys.modules`` of a new process before and after registration.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    """
    plugins = find_plugins(distribution)
    name = plugins[0].distribution
    others = {c.distribution for c in find_entry_points()} - {name}
    found = _imports(name, sorted(others))
    if found["errors"]:
        raise CheckNotRunError("the plugin cannot be loaded", "see the check 'loads'")
    builders = {function.partition(":")[0] for function in found["functions"]}
    if early := sorted(builders & set(found["new"])):
        raise CheckError(
            f"listing models imports {', '.join(early)}, which define builders",
            "define builders in a module that neither the plugin module nor the package's "
            "__init__.py imports; export them lazily (PEP 562)",
        )
    own = {name.partition(".")[0] for name in builders | {plugin.module for plugin in plugins}}
    third_party = [
        module
        for module in found["new"]
        if module.partition(".")[0] not in own | sys.stdlib_module_names
    ]
    if third_party:
        raise CheckError(
            f"listing models imports {', '.join(_packages(third_party))}",
            "import it inside lucid_register_commands or in the builders' module",
        )


def _imports(distribution: str, others: list[str]) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "imports.json"
        argument = json.dumps([sys.path, others, distribution, str(output)])
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _PROGRAM, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not output.exists():
            last_line = (done.stderr.strip() or "no output").splitlines()[-1]
            raise CheckError(
                f"a new process that lists its models exited with code {done.returncode}: "
                f"{last_line}",
                "make sure that the plugin module does not end the process",
            )
        found: dict[str, list[str]] = json.loads(output.read_text(encoding="utf-8"))
    return found


def _packages(modules: Iterable[str]) -> list[str]:
    """Return the top-level packages of modules; for ``lucid``, its subpackages."""
    return sorted(
        {".".join(name.split(".")[: 2 if name.startswith("lucid.") else 1]) for name in modules}
    )
