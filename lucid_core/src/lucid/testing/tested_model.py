"""Shared by all plugin checks: the model under test, check errors, seeding."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lucid
from lucid import no_grad, random
from lucid.errors import PluginError
from lucid.models.discovery import describe_error
from lucid.models.summary import evaluation_mode
from lucid.nn import Module

__all__ = [
    "CheckError",
    "CheckNotRunError",
    "ModelUnderTest",
    "prediction_errors",
    "seeded",
    "wrap_errors",
]

#: Hide these frames in pytest's tracebacks: the message is enough.
__tracebackhide__ = True

_LUCID = Path(lucid.__file__).parent


class CheckError(AssertionError):
    """A plugin fails a check.

    Parameters
    ----------
    problem : str
        Expected and actual result.
    advice : str
        How to correct the plugin.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem}\nhint: {self.advice}"


class CheckNotRunError(CheckError):
    """A check could not run because an earlier check failed.

    Parameters
    ----------
    problem : str
        Precondition that is not met.
    advice : str
        Check to correct first.
    """


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Seed ``lucid.random`` in the block and restore its state afterward."""
    state = random.get_state()
    random.seed(seed)
    try:
        yield
    finally:
        random.set_state(state)


@contextmanager
def wrap_errors(action: str, advice: str) -> Iterator[None]:
    """Raise CheckError for any exception in the block: "`action` raised ValueError: ..."."""
    try:
        yield
    except (CheckError, KeyboardInterrupt):
        raise
    except PluginError as error:  # its message is complete
        raise CheckError(str(error), advice) from error
    except BaseException as error:  # includes SystemExit, which must not end the test session
        problem = f"{action} raised {describe_error(error)}{_location(error)}"
        raise CheckError(problem, advice) from error


@contextmanager
def prediction_errors(model: Module, action: str, advice: str) -> Iterator[None]:
    """Wrap errors of a seeded prediction: evaluation mode, no gradients."""
    with evaluation_mode(model), seeded(), no_grad(), wrap_errors(action, advice):
        yield


def _location(error: BaseException) -> str:
    """Return file and line of the innermost frame outside of Lucid."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _LUCID not in Path(frame.filename).parents]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


class ModelUnderTest:
    """A registered model, built once for all checks that do not modify it.

    Parameters
    ----------
    name : str
        Name from :func:`lucid.models.list_models`.

    Attributes
    ----------
    name : str
        Name of the model.
    info : lucid.models.ModelInfo
        Registered description of the model.

    Raises
    ------
    UnknownModelError
        If there is no such model.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.info = lucid.models.model_info(name)
        self._model: Module | None = None
        self._broken = False

    @contextmanager
    def _required(self, action: str, advice: str) -> Iterator[None]:
        """Wrap errors without which there is no model; later checks then do not run."""
        try:
            with wrap_errors(action, advice):
                yield
        except CheckError:
            self._broken = True
            raise

    @property
    def builder(self) -> Callable[..., Any]:
        """Builder of the model, imported on access."""
        with self._required(
            f"importing the builder {self.info.builder!r}",
            "pass register() an importable 'package.module:function'",
        ):
            return lucid.models.get_builder(self.name)

    def build(self, seed: int = 0) -> Module:
        """Build the model without arguments after ``lucid.random.seed(seed)``."""
        if self._broken:
            raise CheckNotRunError(
                f"{self.name} cannot be built without arguments", "see the check 'builder'"
            )
        builder = self.builder
        with (
            seeded(seed),
            self._required(
                f"{self.name}()",
                "let the builder return an nn.Module when it is called without arguments",
            ),
        ):
            model: Module = builder()
        return model

    @property
    def model(self) -> Module:
        """Model built with seed 0, shared by all checks; do not modify it."""
        if self._model is None:
            self._model = self.build()
        return self._model

    def pop_model(self) -> Module:
        """Return the model built with seed 0 for modification; other checks get a new one."""
        model, self._model = self.model, None
        return model
