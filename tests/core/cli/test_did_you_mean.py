"""Commands and options as other tools spell them."""

from __future__ import annotations

import click
import pytest

from lucid.cli.did_you_mean import did_you_mean, suggest_command, suggest_option


@did_you_mean("predict", "infer", options={"--source": "name the images after the command"})
@click.command()
@click.option("--weights")
@click.option("--score-threshold")
@click.option("--batch-size")
@click.option("--output")
def detect() -> None:
    """Do nothing."""


def explained(option: str) -> str:
    with pytest.raises(click.NoSuchOption) as error:
        detect.make_context("detect", [option])
    return suggest_option(error.value)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("--conf", "did you mean --score-threshold?"),
        ("--conf_thres", "did you mean --score-threshold?"),
        ("--batch", "did you mean --batch-size?"),
        ("--Batch_Size", "did you mean --batch-size?"),
        ("--project", "did you mean --output?"),
        ("--name", "did you mean --output?"),
        ("--pretrained", "did you mean --weights?"),
        ("--weight", "did you mean --weights?"),
        ("--verbose", "did you mean --debug?"),
        ("--num-classes", "number of classes"),
        ("--weight-decay", "optimizer"),
        ("--iou", "detect --help"),  # only the dashes are those of another option
        ("--source", "name the images after the command"),
        ("--device", "CPU"),
        ("-z.png", "./-z..."),
        ("--lr0", "detect --help"),  # it has no learning rate
    ],
)
def test_options(given: str, advice: str) -> None:
    message = explained(given)
    assert message.startswith(f"No such option: {given[:2]}")
    assert advice in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("given", "picks"),
    [
        ("predict", ["detect"]),
        ("train", ["train-classifier", "train-detector"]),
        ("list", ["models"]),
        ("DETECT", ["detect"]),
        ("detct", ["detect"]),
        ("frobnicate", []),
    ],
)
def test_commands(given: str, picks: list[str]) -> None:
    others = dict.fromkeys(("models", "train-classifier", "train-detector"))
    said = suggest_command(given, {"detect": detect, **others})
    shown = f"did you mean {' or '.join(map(repr, picks))}?" if picks else "`lucid --help` lists"
    assert said.startswith(f"; {shown}")
