"""The conformance kit: everything a plugin has to do, one check at a time.

For a plugin's own tests, one test for every model and check::

    import pytest
    from lucid.testing.plugin_checks import checks

    @pytest.mark.parametrize("check", checks("lucid-models-mine"), ids=str)
    def test_conformance(check):
        check.run()

``lucid check-plugin lucid-models-mine`` runs the same and prints a table.  Each check
is a plain function, too: of the distribution's name, or of a :class:`ModelUnderTest`.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import lucid
from lucid.errors import PluginError, PluginWarning, find_stack_level
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
from lucid.testing.model_under_test import CheckError, CheckNotRunError, ModelUnderTest
from lucid.testing.protocol_check import check_protocol
from lucid.testing.training_check import check_training_step

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

#: Behind those that plugins register: it may change the model that the others share.
_FINAL_CHECKS: dict[str, Callable[[ModelUnderTest], None]] = {"training-step": check_training_step}


@dataclass(frozen=True, eq=False)
class Check:
    """One check of a distribution or of one of its models.

    Attributes
    ----------
    name : str
        What is checked, as in ``"training-step"``.
    model : str or None
        Name of the model; None for a check of the distribution.
    description : str
        What the check asks for, in a sentence.
    run : callable
        Makes the check; raises :class:`CheckError`, which says what is wrong and
        what to do about it.
    """

    name: str
    model: str | None
    description: str
    run: Callable[[], None] = field(repr=False)

    def __str__(self) -> str:
        """Model and check in one word, for the name of a test."""
        return f"{self.model}-{self.name}" if self.model else self.name


@dataclass(frozen=True)
class CheckResult:
    """What came of a check.

    Attributes
    ----------
    check : str
        Its name.
    model : str or None
        The model, None for a check of the distribution.
    outcome : {"passed", "failed", "not run"}
        Not run is what makes no sense after an earlier failure.
    problem, advice : str or None
        What is wrong and what to do about it, unless it passed.
    seconds : float
        What it took.
    """

    check: str
    model: str | None
    outcome: Literal["passed", "failed", "not run"]
    problem: str | None
    advice: str | None
    seconds: float


def checks(distribution: str, models: str | Iterable[str] = "*") -> list[Check]:
    """List the checks of an installed plugin, without making any.

    Parameters
    ----------
    distribution : str
        Name of the distribution.
    models : str or iterable of str, default ``"*"``
        Shell-style patterns of the models to check.

    Returns
    -------
    list of Check
        First those of the distribution, then all of one model after the other.  To
        be made in this order: the model, built once, is dropped after its last.
        Where the plugin cannot be loaded, those of the distribution alone.

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
        asked = pattern == "*" or any(plugin.error for plugin in plugins)
        if not asked and not lucid.models.list_models(pattern, plugin=name):
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
    return found


def checks_for_task(task: str) -> dict[str, Callable[[ModelUnderTest], None]]:
    """Return the checks that plugins register for the models of a task.

    Parameters
    ----------
    task : str
        Such as ``"object-detection"``.

    Returns
    -------
    dict
        Functions of a :class:`ModelUnderTest` by name.

    Raises
    ------
    PluginError
        If a name is registered twice.
    """
    found: dict[str, Callable[[ModelUnderTest], None]] = {}
    for plugin in zoo.registry.loaded_plugins():
        try:
            registered = registered_model_checks(plugin)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: the other plugins still work
            message = f"{plugin.origin}: its model checks are left out: {describe_error(error)}"
            warnings.warn(message, PluginWarning, stacklevel=find_stack_level())
            continue
        for of_task, name, check in registered:
            if of_task != task:
                continue
            if name in {*_MODEL_CHECKS, *_FINAL_CHECKS, *found}:
                raise PluginError(f"the check {name!r} of models for {task} is registered twice")
            found[name] = check
    return found


def run_checks(asked: Iterable[Check]) -> Iterator[CheckResult]:
    """Make checks one after the other, and give the result of each when it is there.

    Parameters
    ----------
    asked : iterable of Check
        As :func:`checks` gives them.

    Yields
    ------
    CheckResult
        In the same order.
    """
    for check in asked:
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
        except BaseException as error:  # SystemExit too: it must not look like success
            if isinstance(error, SystemExit) and type(error) is not SystemExit:
                raise  # SIGTERM
            outcome = "failed"
            problem = f"the check {check.name!r} itself raised {describe_error(error)}"
            advice = "correct what it calls; a check raises lucid.testing.plugin_checks.CheckError"
        seconds = time.perf_counter() - start
        yield CheckResult(check.name, check.model, outcome, problem, advice, seconds)


def _description(function: Callable[..., None]) -> str:
    lines = (function.__doc__ or "").strip().splitlines()
    return lines[0] if lines else ""
