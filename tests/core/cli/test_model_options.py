"""``--model-option``: values in JSON, and errors that name the option."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

import lucid
from lucid.cli.model_options import (
    builder_arguments_option,
    explain_builder_arguments,
    find_weights,
)
from lucid.models import zoo
from lucid.models.registry import ModelRegistry
from lucid.weights.download import cached_path


def parsed(*values: str) -> Any:
    @click.command()
    @builder_arguments_option("Argument of the model.")
    def command(model_options: dict[str, Any]) -> None:
        found.append(model_options)

    found: list[Any] = []
    given = [f"--model-option={value}" for value in values]
    CliRunner().invoke(command, given, catch_exceptions=False, standalone_mode=False)
    return found[0]


def test_values_are_json_or_text() -> None:
    assert parsed("a=8", "b=[1, 2.5]", "c=true", "d=null", "e=frozen", "f=x=y", "g=8,16") == {
        "a": 8,
        "b": [1, 2.5],
        "c": True,
        "d": None,
        "e": "frozen",
        "f": "x=y",
        "g": "8,16",
    }


@pytest.mark.parametrize("value", ["sizes", "=8", "two words=8"])
def test_invalid_argument_is_rejected(value: str) -> None:
    with pytest.raises(click.BadParameter, match="expected NAME=VALUE, got"):
        parsed(value)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("8,16", "'8,16' is read as text, in JSON it is sizes=[8,16]"),
        ("((8,),(16,))", "in JSON it is sizes=[[8],[16]]"),
        ("True", "in JSON it is sizes=true"),
        ("None", "in JSON it is sizes=null"),
        ("0x10", "in JSON it is sizes=16"),
        ("8x16", "'8x16' is read as text, numbers and lists are JSON, such as 8 or [8,16]"),
        ("{8}", "numbers and lists are JSON"),
    ],
)
@pytest.mark.parametrize("kind", [TypeError, ValueError])
def test_text_value_with_json_hint(text: str, advice: str, kind: type[Exception]) -> None:
    with (
        pytest.raises(click.BadParameter) as caught,
        explain_builder_arguments(parsed(f"sizes={text}", "norm=frozen")),
    ):
        raise kind(f"sizes: expected a sequence, got {text!r}")
    message = caught.value.format_message()
    assert "'--model-option'" in message
    assert advice in message
    assert "frozen" not in message


def test_unknown_argument_has_no_json_hint() -> None:
    with (
        pytest.raises(click.BadParameter, match=r"'bacbone': use backbone=$"),
        explain_builder_arguments(parsed("bacbone=resnet_18")),
    ):
        raise TypeError("got unexpected keyword argument(s) 'bacbone'; 'bacbone': use backbone=")


def test_other_errors_are_unchanged() -> None:
    for error in (
        ValueError("sizes of images: expected two"),
        TypeError("resize"),
        ValueError("frozen stages: expected fewer, the size of a ResNet"),
        lucid.WeightFileError("size"),
        OSError("size"),
    ):
        with pytest.raises(type(error)) as caught, explain_builder_arguments({"size": 8}):
            raise error
        assert caught.value is error


def test_value_that_was_json_is_not_explained() -> None:
    with (
        pytest.raises(click.BadParameter) as caught,
        explain_builder_arguments({"size": 8}),
    ):
        raise ValueError("size: expected at least 32, got 8")
    assert caught.value.message == "size: expected at least 32, got 8"


def test_weights_of_another_task_are_not_fetched(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo, "registry", ModelRegistry(zoo.RESERVED))

    @lucid.models.register_model(task="depth-estimation")
    def depth_net() -> lucid.nn.Module:
        return lucid.nn.Linear(2, 3)

    entry = publish("depth_net", depth_net().state_dict(), default=True)
    with pytest.raises(click.UsageError, match="got depth_net for depth-estimation"):
        find_weights(None, "depth_net", "image-classification")
    assert not cached_path(entry).exists()
    assert find_weights(None, "depth_net", "depth-estimation") == cached_path(entry)
