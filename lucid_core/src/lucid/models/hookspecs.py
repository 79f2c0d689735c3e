"""The hooks a plugin may implement, and the two markers that tie them together.

A plugin is a distribution with an entry point in the group ``lucid.models``.
The entry point names one small module, and that module implements some of the
functions below, each decorated with :data:`hookimpl` (also ``lucid.hookimpl``)::

    import lucid


    @lucid.hookimpl
    def lucid_register_models(register):
        register(
            "tiny_net",
            "tiny_plugin.builders:tiny_net",
            task="image-classification",
            family="tiny",
            total_parameters=1_234,
            summary="A tiny network for tests",
        )
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import pluggy

if TYPE_CHECKING:
    import click

    from lucid.data.checkers import DataChecker
    from lucid.testing.model_under_test import ModelUnderTest

__all__ = [
    "PROJECT_NAME",
    "RegisterModel",
    "hookimpl",
    "hookspec",
    "lucid_register_commands",
    "lucid_register_data_checkers",
    "lucid_register_model_checks",
    "lucid_register_models",
    "lucid_register_weight_converters",
]

#: The name under which pluggy ties specifications and implementations together.
PROJECT_NAME = "lucid"

#: Marks a function as the specification of a hook.
hookspec = pluggy.HookspecMarker(PROJECT_NAME)

#: Marks a function of a plugin module as the implementation of a hook.
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class RegisterModel(Protocol):
    """What ``lucid_register_models`` is given: call it once for every model."""

    def __call__(
        self,
        name: str,
        builder: str,
        *,
        task: str,
        family: str,
        total_parameters: int,
        summary: str,
        input_shape: tuple[int, ...] = (1, 3, 224, 224),
        example_batch: str | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """Register one model.

        Parameters
        ----------
        name : str
            The model's name in the zoo: a Python identifier, as users write
            ``from lucid.models import NAME``.
        builder : str
            Where the function that builds the model is found, written
            ``"package.module:function"``.  The module is imported when the
            model is built, never to list it.
        task : str
            ``"image-classification"``, ``"object-detection"`` or a task of the
            plugin's own.
        family : str
            The architecture the model is a member of, as in ``"resnet"``.
        total_parameters : int
            ``parameter_size`` of the model built without arguments.
        summary : str
            One line about the model.
        input_shape : tuple of int, default (1, 3, 224, 224)
            The shape of an array the built model accepts, batch axis first.
        example_batch : str, optional
            ``"package.module:function"`` of a function that gives a training
            batch; without it the task has a default.
        aliases : sequence of str, default ()
            Other names of the model, such as those of torchvision and timm.  They
            work wherever a name does, are never listed, and conflict with other
            plugins' names and aliases as names do.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or this plugin has already
            registered the name or an alias.
        """


@hookspec
def lucid_register_models(register: RegisterModel) -> None:
    """Register the plugin's models.

    Called once, when the zoo is first asked for anything.  If it raises, none of
    the plugin's models are listed.

    Parameters
    ----------
    register : callable
        Takes one model a call; see :class:`RegisterModel`.
    """


@hookspec
def lucid_register_commands(cli: click.Group) -> None:
    """Add commands to the ``lucid`` command line.

    Called only when the command line is asked for help or for a command the core
    does not have.  Import click and the commands inside the function, so that
    listing models stays cheap.

    Parameters
    ----------
    cli : click.Group
        The group to add commands to: ``cli.add_command(command)``, or
        ``@cli.command()`` on a function.
    """


@hookspec
def lucid_register_data_checkers(register: Callable[[DataChecker], object]) -> None:
    """Register checkers of data sets for ``lucid check-data``.

    Called only when that command runs.  Import what the checkers need inside the function, so
    that listing models stays cheap.

    Parameters
    ----------
    register : callable
        Takes one :class:`lucid.data.checkers.DataChecker` a call.
    """


class RegisterModelCheck(Protocol):
    """What ``lucid_register_model_checks`` is given: call it once for every check."""

    def __call__(self, task: str, name: str, check: Callable[[ModelUnderTest], None]) -> None:
        """Register one check.

        Parameters
        ----------
        task : str
            Models of this task are checked, those of other plugins too.
        name : str
            Name in the table of ``lucid check-plugin``.
        check : callable
            Takes a :class:`lucid.testing.plugin_checks.ModelUnderTest`, raises
            :class:`lucid.testing.plugin_checks.CheckError`, and has a docstring that begins
            with a sentence on what it asks for.
        """


@hookspec
def lucid_register_model_checks(register: RegisterModelCheck) -> None:
    """Register checks of ``lucid check-plugin`` for the models that the plugin's commands use.

    Called only when models are checked.  Import the checks inside the function, so that
    listing models stays cheap.

    Parameters
    ----------
    register : callable
        Takes one check a call; see :class:`RegisterModelCheck`.
    """


class RegisterWeightConverter(Protocol):
    """What ``lucid_register_weight_converters`` is given: call it once for every converter."""

    def __call__(
        self, name: str, converter: str, *, source: str, task: str, models: Sequence[str]
    ) -> None:
        """Register one converter.

        Parameters
        ----------
        name : str
            Name for messages, such as ``"torchvision-resnet"``.
        converter : str
            Where the converter is found, written ``"package.module:attribute"``: a
            :class:`lucid.weights.WeightConverter`.  The module is imported when a file of
            weights is opened that does not name its model.
        source : str
            Library that writes the weights, such as ``"torchvision"``.
        task : str
            Task of the models.
        models : sequence of str
            Registered names of all models that the converter's ``identify`` returns.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as described, or the plugin registers the name twice.
        """


@hookspec
def lucid_register_weight_converters(register: RegisterWeightConverter) -> None:
    """Register converters of the weights that other libraries write.

    Called only when a file of weights is opened that does not name its model.

    Parameters
    ----------
    register : callable
        Takes one converter a call; see :class:`RegisterWeightConverter`.
    """
