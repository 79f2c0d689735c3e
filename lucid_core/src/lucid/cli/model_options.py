"""Options ``--model``, ``--model-option`` and ``--ema``."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from lucid.errors import LucidError
from lucid.models import model_info

__all__ = [
    "builder_arguments_option",
    "ema_option",
    "explain_builder_arguments",
    "find_weights",
    "model_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

_ARGUMENT = "--model-option"


def model_option(help: str, argument: str = "model") -> Callable[[Command], Command]:
    """Add the option ``--model NAME``; aliases are resolved."""
    return click.option("--model", argument, metavar="NAME", help=help, callback=_registered_name)


def _registered_name(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else model_info(value).name


def find_weights(weights: Path | str | None, model: str | None, task: str) -> Path:
    """Return the file of ``--weights``; published weights of ``--model`` are fetched.

    Without `weights`, the default weights of the model; a line on stderr names them.  Nothing is
    fetched for a model of another task.
    """
    from lucid.weights import catalog_entry, resolve_weights

    if isinstance(weights, Path):
        return weights
    if model is None:
        got = "neither" if weights is None else f"the tag {weights!r} without --model"
        raise click.UsageError(
            f"expected --weights FILE, or --model NAME for its published weights, got {got}; "
            "lucid weights lists the models that have some"
        )
    if (other := model_info(model).task) != task:
        raise click.UsageError(
            f"--model: expected a model for {task}, got {model} for {other}; list models with: "
            f"lucid models --task {task}"
        )
    entry = catalog_entry(model, weights or "default")
    click.echo(f"weights: {entry} from {entry.source}", err=True)
    return resolve_weights(entry.tag, model)


def builder_arguments_option(
    help: str, argument: str = "model_options"
) -> Callable[[Command], Command]:
    """Add the repeatable option ``--model-option NAME=VALUE``; values are JSON or text."""
    return click.option(
        _ARGUMENT,
        argument,
        multiple=True,
        callback=_builder_arguments,
        metavar="NAME=VALUE",
        help=help,
    )


def _builder_arguments(
    ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"expected NAME=VALUE, got {value!r}")
        try:
            arguments[name] = json.loads(text)
        except ValueError:
            arguments[name] = text
    return arguments


@contextmanager
def explain_builder_arguments(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Name ``--model-option`` in errors about its arguments.

    If a value was read as text because it is not JSON, the error shows the JSON spelling.
    """
    try:
        yield
    except LucidError:
        raise
    except (TypeError, ValueError) as error:
        message = str(error)
        meant = [
            name
            for name in arguments
            if re.match(rf"{re.escape(name)}\b", message) or repr(name) in message
        ]
        if not meant:
            raise
        unknown = "unexpected keyword argument" in message
        texts = [name for name in meant if isinstance(arguments[name], str) and not unknown]
        parts = [message, *(_json_hint(name, arguments[name]) for name in texts)]
        raise click.BadParameter("; ".join(parts), param_hint=f"'{_ARGUMENT}'") from error


def _json_hint(name: str, text: str) -> str:
    """Return the JSON spelling of a Python literal, or an example of JSON."""
    try:
        value = json.dumps(ast.literal_eval(text), separators=(",", ":"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return f"{text!r} is read as text, numbers and lists are JSON, such as 8 or [8,16]"
    return f"{text!r} is read as text, in JSON it is {name}={value}"


def ema_option(command: Command) -> Command:
    """Add the option ``--ema/--no-ema``; parameter ``ema``, default None."""
    return click.option(
        "--ema/--no-ema",
        default=None,
        help="Load the exponential moving average (EMA) of the weights, or the raw weights.  "
        "[default: the EMA if the checkpoint has one]",
    )(command)
