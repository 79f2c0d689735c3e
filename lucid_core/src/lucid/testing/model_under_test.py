"""What the checks of a plugin share: a model under test, and failures that say what to do."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lucid
from lucid import random
from lucid.errors import PluginError
from lucid.models.discovery import describe_error
from lucid.nn import Module

__all__ = ["CheckError", "CheckNotRunError", "ModelUnderTest", "seeded", "wrap_errors"]

#: pytest leaves the frames of the kit out: the message says what is wrong.
__tracebackhide__ = True

_LUCID = Path(lucid.__file__).parent


class CheckError(AssertionError):
    """A plugin does not do what a check asks of it.

    Parameters
    ----------
    problem : str
        What was expected and what was found.
    advice : str
        What to do about it.
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem}\nWhat to do: {self.advice}"


class CheckNotRunError(CheckError):
    """A check could not be made, because an earlier one failed.

    Parameters
    ----------
    problem : str
        What the check would have needed.
    advice : str
        Which check to look at first.
    """


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Draw random numbers from a known start, and go on afterwards as if nothing had been drawn."""
    state = random.get_state()
    random.seed(seed)
    try:
        yield
    finally:
        random.set_state(state)


@contextmanager
def wrap_errors(what: str, advice: str) -> Iterator[None]:
    """Turn whatever a plugin's code raises into a failure of the check.

    Parameters
    ----------
    what : str
        What was being done, the tested of "raised ValueError: ...".
    advice : str
        What to do about it.
    """
    try:
        yield
    except (CheckError, KeyboardInterrupt):
        raise
    except PluginError as error:  # Lucid's own word on it, a sentence in itself
        raise CheckError(str(error), advice) from error
    except BaseException as error:  # SystemExit too: it must not end the session of tests
        problem = f"{what} raised {describe_error(error)}{_place(error)}"
        raise CheckError(problem, advice) from error


def _place(error: BaseException) -> str:
    """Where the plugin's own code was when the error came up."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _LUCID not in Path(frame.filename).parents]
    return f" ({own[-1].filename}:{own[-1].lineno})" if own else ""


class ModelUnderTest:
    """A registered model, built once for all the checks that leave it as it is.

    Parameters
    ----------
    name : str
        A name of :func:`lucid.models.list_models`.

    Attributes
    ----------
    name : str
        The same name.
    info : lucid.models.ModelInfo
        What the model was registered with.

    Raises
    ------
    UnknownModelError
        If no model has that name.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.info = lucid.models.model_info(name)
        self._model: Module | None = None
        self._broken = False

    @contextmanager
    def _needed(self, what: str, advice: str) -> Iterator[None]:
        """Guard what there is no model without, so that later checks need not fail again."""
        try:
            with wrap_errors(what, advice):
                yield
        except CheckError:
            self._broken = True
            raise

    @property
    def builder(self) -> Callable[..., Any]:
        """The builder, imported."""
        with self._needed(
            f"importing the builder {self.info.builder!r}",
            "make register() name a function as 'package.module:function', in a module that "
            "can be imported",
        ):
            return lucid.models.get_builder(self.name)

    def build(self, seed: int = 0) -> Module:
        """Build the model without arguments, its weights drawn from a known start."""
        if self._broken:
            raise CheckNotRunError(
                f"{self.name} cannot be built without arguments",
                "look at what the check 'builder' says",
            )
        builder = self.builder
        with (
            seeded(seed),
            self._needed(
                f"{self.name}()",
                "let the builder return an nn.Module when it is called without arguments",
            ),
        ):
            model: Module = builder()
        return model

    @property
    def model(self) -> Module:
        """The model as built from seed 0, the same one each time: leave it as it is."""
        if self._model is None:
            self._model = self.build()
        return self._model

    def take(self) -> Module:
        """The model as built from seed 0, to do with as one likes."""
        model, self._model = self.model, None
        return model
