"""Conformance checks of plugins.

In the tests of a plugin, one test per model and check::

    import pytest
    from lucid.testing.plugin_checks import checks

    @pytest.mark.parametrize("check", checks("lucid-models-mine"), ids=str)
    def test_conformance(check):
        check.run()

``lucid check-plugin lucid-models-mine`` runs the same checks and prints a table.  Each check is
also a function of the name of the distribution, of a :class:`ModelUnderTest` or of a
:class:`lucid.weights.CatalogEntry`.  It raises :class:`CheckError` if the plugin fails,
:class:`CheckNotRunError` if it needs a model that cannot be built, and :class:`lucid.PluginError`
if the distribution has no plugin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Literal

import lucid
from lucid.errors import PluginError
from lucid.models import zoo
from lucid.models.discovery import describe_error
from lucid.testing.dependency_check import check_dependencies
from lucid.testing.distribution_checks import (
    check_imports,
    check_loads,
    check_requirement,
    find_plugins,
    loaded_plugins,
    registered_model_checks,
)
from lucid.testing.model_checks import (
    check_builder,
    check_forward,
    check_parameters,
    check_pickle,
    check_seed,
    check_state_dict,
)
from lucid.testing.protocol_check import check_protocol
from lucid.testing.tested_model import CheckError, CheckNotRunError, ModelUnderTest
from lucid.testing.training_check import check_training_step
from lucid.testing.weights_check import check_weights
from lucid.weights import list_weights

__all__ = [
    "Check",
    "CheckError",
    "CheckNotRunError",
    "CheckResult",
    "ModelUnderTest",
    "check_builder",
    "check_dependencies",
    "check_forward",
    "check_imports",
    "check_loads",
    "check_parameters",
    "check_pickle",
    "check_protocol",
    "check_requirement",
    "check_seed",
    "check_state_dict",
    "check_training_step",
    "check_weights",
    "checks",
    "checks_for_task",
    "run_checks",
]

_DISTRIBUTION_CHECKS: dict[str, Callable[[str], None]] = {
    "requirement": check_requirement,
    "dependencies": check_dependencies,
    "loads": check_loads,
    "imports": check_imports,
}

_MODEL_CHECKS: dict[str, Callable[[ModelUnderTest], None]] = {
    "builder": check_builder,
    "parameters": check_parameters,
    "seed": check_seed,
    "forward": check_forward,
    "protocol": check_protocol,
    "state-dict": check_state_dict,
    "pickle": check_pickle,
}

#: Runs after the checks of plugins: it modifies the shared model.
_FINAL_CHECKS: dict[str, Callable[[ModelUnderTest], None]] = {"training-step": check_training_step}


@dataclass(frozen=True, eq=False)
class Check:
    """One check of a distribution or model.

    Attributes
    ----------
    name : str
        Name of the check, such as ``"training-step"``.
    model : str or None
        Name of the model; None for a check of the distribution.
    description : str
        One sentence that describes the check.
    run : callable
        Runs the check; raises :class:`CheckError` if it fails.
    """

    name: str
    model: str | None
    description: str
    run: Callable[[], None] = field(repr=False)

    def __str__(self) -> str:
        """Return a test ID, ``"model-check"``."""
        return f"{self.model}-{self.name}" if self.model else self.name


@dataclass(frozen=True)
class CheckResult:
    """Result of a check.

    Attributes
    ----------
    check : str
        Name of the check.
    model : str or None
        Name of the model; None for a check of the distribution.
    outcome : {"passed", "failed", "not run"}
        "not run" if an earlier failure prevents the check.
    problem, advice : str or None
        Problem and how to correct it; None if the check passed.
    seconds : float
        Duration.
    """

    check: str
    model: str | None
    outcome: Literal["passed", "failed", "not run"]
    problem: str | None
    advice: str | None
    seconds: float


def checks(distribution: str, models: str | Iterable[str] = "*") -> list[Check]:
    """List the checks of an installed plugin without running them.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    models : str or iterable of str, default ``"*"``
        Shell-style patterns of the models to check.

    Returns
    -------
    list of Check
        Checks of the distribution, then of each model, then of the published weights of these
        models that the distribution registers.  Run them in this order: each model is built once
        and dropped after its last check.  If the plugin cannot be loaded, only the checks of the
        distribution.

    Raises
    ------
    PluginError
        If the distribution is not installed or has no plugin, or if a pattern
        matches none of its models.
    """
    name = find_plugins(distribution)[0].distribution
    plugins = loaded_plugins(name)
    found = [
        Check(check, None, _description(function), partial(function, name))
        for check, function in _DISTRIBUTION_CHECKS.items()
    ]
    registered = lucid.models.list_models(plugin=name)
    patterns = [models] if isinstance(models, str) else list(models)
    for pattern in patterns:
        can_be_empty = pattern == "*" or any(plugin.error for plugin in plugins)
        if not can_be_empty and not lucid.models.list_models(pattern, plugin=name):
            raise PluginError(
                f"no model of {name} matches {pattern!r}; it has {', '.join(registered) or 'none'}"
            )
    for model in lucid.models.list_models(patterns, plugin=name):
        tested = ModelUnderTest(model)
        model_checks = {**_MODEL_CHECKS, **checks_for_task(tested.info.task), **_FINAL_CHECKS}
        found += [
            Check(check, model, _description(function), partial(function, tested))
            for check, function in model_checks.items()
        ]
    origins = {f"{plugin.distribution} {plugin.version}" for plugin in plugins}
    found += [
        Check(
            f"weights-{entry.tag}",
            entry.model,
            _description(check_weights),
            partial(check_weights, entry),
        )
        for entry in list_weights()
        if entry.origin in origins and any(fnmatchcase(entry.model, p) for p in patterns)
    ]
    return found


def checks_for_task(task: str) -> dict[str, Callable[[ModelUnderTest], None]]:
    """Return the checks that plugins register for the models of a task.

    Parameters
    ----------
    task : str
        Task, such as ``"object-detection"``.

    Returns
    -------
    dict
        Check functions by name.

    Raises
    ------
    PluginError
        If a name is registered twice.
    """
    found: dict[str, Callable[[ModelUnderTest], None]] = {}
    registered = zoo.registry.collect(registered_model_checks, "model checks")
    for name, check in [(name, check) for of_task, name, check in registered if of_task == task]:
        if name in {*_MODEL_CHECKS, *_FINAL_CHECKS, *found}:
            raise PluginError(f"the check {name!r} of models for {task} is registered twice")
        found[name] = check
    return found


def run_checks(checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Run checks and yield each result as soon as it is available.

    Parameters
    ----------
    checks : iterable of Check
        Checks from :func:`checks`.

    Yields
    ------
    CheckResult
        Results in the same order.
    """
    for check in checks:
        start = time.perf_counter()
        outcome: Literal["passed", "failed", "not run"] = "passed"
        problem = advice = None
        try:
            check.run()
        except CheckError as failure:
            outcome = "not run" if isinstance(failure, CheckNotRunError) else "failed"
            problem, advice = failure.problem, failure.advice
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # includes SystemExit, which must not look like success
            if isinstance(error, SystemExit) and type(error) is not SystemExit:
                raise  # SIGTERM
            outcome = "failed"
            problem = f"check {check.name!r} raised {describe_error(error)}"
            advice = "correct the check; it should raise lucid.testing.plugin_checks.CheckError"
        seconds = time.perf_counter() - start
        yield CheckResult(check.name, check.model, outcome, problem, advice, seconds)


def _description(function: Callable[..., None]) -> str:
    lines = (function.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""
