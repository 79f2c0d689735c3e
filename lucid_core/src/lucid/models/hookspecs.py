"""Hooks that a plugin implements, and the markers ``hookspec`` and ``hookimpl``.

A plugin is a distribution with an entry point in the group ``lucid.models``::

    [project.entry-points."lucid.models"]
    tiny = "tiny_plugin.plugin"

The module that it names implements some of the hooks below.  Each is optional, has the name
and arguments given here, and is decorated with ``lucid.hookimpl``::

    import lucid


    @lucid.hookimpl
    def lucid_register_models(register):
        register("tiny_net", "tiny_plugin.builders:tiny_net", task="image-classification", ...)

This module is imported whenever models are listed.  Keep it light: name builders and
converters as strings, and import everything else inside the hook that needs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

if TYPE_CHECKING:
    import click

    from lucid.data.checkers import DataChecker
    from lucid.testing.tested_model import ModelUnderTest

__all__ = [
    "PROJECT_NAME",
    "RegisterModel",
    "RegisterModelCheck",
    "RegisterWeightConverter",
    "RegisterWeights",
    "hookimpl",
    "hookspec",
    "lucid_register_commands",
    "lucid_register_data_checkers",
    "lucid_register_model_checks",
    "lucid_register_models",
    "lucid_register_weight_converters",
    "lucid_register_weights",
]

#: Project name shared by pluggy's markers and plugin managers.
PROJECT_NAME = "lucid"

#: Decorator that marks a function as the specification of a hook.
hookspec = pluggy.HookspecMarker(PROJECT_NAME)

#: Decorator that marks a function in a plugin module as the implementation of a hook.
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class RegisterModel(Protocol):
    """Function passed to :func:`lucid_register_models`; registers one model per call."""

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
            Name of the model, a Python identifier: ``from lucid.models import NAME``.
        builder : str
            Import path of the function that builds the model, ``"package.module:function"``.
            The module is imported when the model is built, not when models are listed.
        task : str
            ``"image-classification"``, ``"object-detection"`` or a task of your own.
        family : str
            Name of the architecture, such as ``"resnet"``.
        total_parameters : int
            ``parameter_size`` of the model built without arguments.
        summary : str
            One-line description.
        input_shape : tuple of int, default (1, 3, 224, 224)
            Shape of an input that the model accepts, batch axis first.
        example_batch : str, optional
            Import path of a function that returns a training batch for
            ``lucid check-plugin``.  Default: random data for the task.
        aliases : sequence of str, default ()
            Other names that resolve to the model, such as torchvision's and timm's.  They are
            not listed.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid, or the plugin registers a name or alias twice.
        """


@hookspec
def lucid_register_models(register: RegisterModel) -> None:
    """Register the models of the plugin.

    Called once, when :mod:`lucid.models` first lists or looks up a model.  If the hook raises,
    the plugin is skipped with a ``PluginWarning`` and none of its models are listed.

    Parameters
    ----------
    register : RegisterModel
        Call it once per model.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_models(register):
            register(
                "tiny_net",
                "tiny_plugin.builders:tiny_net",
                task="image-classification",
                family="tiny",
                total_parameters=24_346,
                summary="A small convolutional classifier of 32 x 32 images",
                input_shape=(1, 3, 32, 32),
            )
    """


@hookspec
def lucid_register_commands(cli: click.Group) -> None:
    """Add commands to the ``lucid`` command line.

    Called when the command line shows its help or runs a command that is not part of the
    core.  Import click and the commands inside the hook.

    Parameters
    ----------
    cli : click.Group
        Group to add commands to, with ``cli.add_command(command)`` or ``@cli.command()``.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_commands(cli):
            from tiny_plugin.commands import measure_depth

            cli.add_command(measure_depth)
    """


@hookspec
def lucid_register_data_checkers(register: Callable[[DataChecker], object]) -> None:
    """Register data set formats for ``lucid check-data``.

    Called only by that command.  Import the checkers inside the hook.

    Parameters
    ----------
    register : callable
        Call it with one :class:`lucid.data.checkers.DataChecker` per format.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_data_checkers(register):
            from lucid.data.checkers import DataChecker
            from tiny_plugin.depth_maps import check, fit

            register(DataChecker("depth-maps", "a folder of depth maps", fit, check))
    """


class RegisterModelCheck(Protocol):
    """Function passed to :func:`lucid_register_model_checks`; registers one check per call."""

    def __call__(self, task: str, name: str, check: Callable[[ModelUnderTest], None]) -> None:
        """Register one check.

        Parameters
        ----------
        task : str
            Task whose models are checked, including those of other plugins.
        name : str
            Name of the check in the report of ``lucid check-plugin``.
        check : callable
            Function of a :class:`lucid.testing.plugin_checks.ModelUnderTest` that raises
            :class:`lucid.testing.plugin_checks.CheckError` if the model fails.  The first
            line of its docstring is the description of the check.
        """


@hookspec
def lucid_register_model_checks(register: RegisterModelCheck) -> None:
    """Register checks that ``lucid check-plugin`` runs on the models of a task.

    Use it to verify that every model of a task works with the commands of your plugin.
    Called only when models are checked.  Import the checks inside the hook.

    Parameters
    ----------
    register : RegisterModelCheck
        Call it once per check.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_model_checks(register):
            from lucid.testing.plugin_checks import CheckError

            def check_depth(tested):
                "Check that the model has an attribute depth."
                if not hasattr(tested.model, "depth"):
                    raise CheckError("the model has no attribute depth", "set it in __init__")

            register("depth-estimation", "depth", check_depth)
    """


class RegisterWeightConverter(Protocol):
    """Function passed to :func:`lucid_register_weight_converters`; one converter per call."""

    def __call__(
        self, name: str, converter: str, *, source: str, task: str, models: Sequence[str]
    ) -> None:
        """Register one converter.

        Parameters
        ----------
        name : str
            Name for messages, such as ``"torchvision-resnet"``.
        converter : str
            Import path of a :class:`lucid.weights.WeightConverter` instance,
            ``"package.module:attribute"``.
        source : str
            Library that writes the weights, such as ``"torchvision"``.
        task : str
            Task of the models.
        models : sequence of str
            Names of all models that ``identify`` of the converter can return.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid, or the plugin registers the name twice.
        """


@hookspec
def lucid_register_weight_converters(register: RegisterWeightConverter) -> None:
    """Register converters for weights saved by other libraries.

    Called when a weight file is opened that does not name its model.

    Parameters
    ----------
    register : RegisterWeightConverter
        Call it once per converter.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_weight_converters(register):
            register(
                "torchvision-tiny",
                "tiny_plugin.weights:converter",
                source="torchvision",
                task="image-classification",
                models=("tiny_net",),
            )
    """


class RegisterWeights(Protocol):
    """Function passed to :func:`lucid_register_weights`; registers one weight file per call."""

    def __call__(
        self,
        model: str,
        name: str,
        *,
        url: str,
        sha256: str,
        size: int,
        license: str,
        source: str,
        metrics: Mapping[str, float] | None = None,
        classes: str | None = None,
        preprocessing: Mapping[str, Any] | None = None,
        arguments: Mapping[str, Any] | None = None,
        converter: str | None = None,
        default: bool = False,
    ) -> None:
        """Register one weight file.

        Parameters
        ----------
        model : str
            Registered name of the model.
        name : str
            Tag of the weights in lower case, such as ``"imagenet1k_v2"``; neither
            ``"default"`` nor with a suffix of weight files.
        url : str
            Address of the file: https, or http on this machine.
        sha256 : str
            SHA-256 of the file in hexadecimal, or its first digits, at least 8.
        size : int
            Size of the file in bytes, to 1 percent.
        license : str
            License of the weights in one line; it is shown before the file is fetched.
        source : str
            Publisher, such as ``"torchvision"``.
        metrics : mapping of str to float, optional
            Published results, the most important first, such as ``{"acc@1": 80.858}``.
        classes : str, optional
            Import path of the sequence of class names, ``"package.module:NAMES"``.
        preprocessing : mapping, optional
            Preprocessing of images, as for :func:`lucid.save_model`.
        arguments : mapping, optional
            Builder arguments that the weights need, such as ``{"num_classes": 91}``.
        converter : str, optional
            Name of the registered weight converter for the file.  Default: the keys are the
            model's.
        default : bool, default False
            Whether ``weights="default"`` means this file.  If none is marked, the first of the
            model is the default.

        Raises
        ------
        TypeError, ValueError
            If an argument is invalid, or the plugin registers the tag or file twice for a model.
        """


@hookspec
def lucid_register_weights(register: RegisterWeights) -> None:
    """Register published weight files for ``lucid weights`` and ``create_model(weights=...)``.

    Called when weights are listed or looked up.  Registering fetches nothing.

    Parameters
    ----------
    register : RegisterWeights
        Call it once per file.

    Examples
    --------
    ::

        @lucid.hookimpl
        def lucid_register_weights(register):
            register(
                "tiny_net",
                "shapes_v1",
                url="https://example.org/tiny_net-1f0c63ab.safetensors",
                sha256="1f0c63ab",
                size=98_304,
                license="CC-BY-4.0",
                source="tiny-plugin",
                metrics={"acc@1": 97.1},
                classes="tiny_plugin.classes:SHAPES",
            )
    """
