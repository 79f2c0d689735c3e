"""Commands and examples of the pages about trained weights, with random weights from a folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

import lucid
from lucid.cli.commands import cli
from lucid.cli.entry_point import run
from lucid.weights import catalog_entry
from lucid.weights.download import verify_entry
from lucid_models_classification.imagenet import CLASS_NAMES
from lucid_models_classification.torchvision import torchvision_state_dict as classifier_state
from lucid_models_detection.torchvision import torchvision_state_dict as detector_state

ROOT = Path(__file__).parents[2]
RUNNER = Path(__file__).with_name("markdown_examples.py")

sys.path.insert(0, str(RUNNER.parent))
try:
    from markdown_examples import blocks
    from markdown_examples import run as run_examples
finally:
    sys.path.remove(str(RUNNER.parent))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def states() -> dict[tuple[str, str], Any]:
    """Build random weights of the pages' models."""
    lucid.random.seed(0)
    built = {}
    for model, tag, state_dict in (
        ("faster_rcnn_resnet_50_fpn", "coco_v1", detector_state),
        ("resnet_50", "imagenet1k_v1", classifier_state),
        ("resnet_50", "imagenet1k_v2", classifier_state),
    ):
        arguments = catalog_entry(model, tag).arguments
        built[model, tag] = state_dict(lucid.models.create_model(model, **arguments))
    return built


@pytest.fixture
def work(publish: Any, states: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a working directory with a photo, and an empty cache; the network is off."""
    monkeypatch.chdir(tmp_path)
    for (model, tag), state in states.items():
        size = catalog_entry(model, tag).size
        assert publish(model, state, tag).size == pytest.approx(size, rel=0.01)
    monkeypatch.setenv("LUCID_OFFLINE", "1")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).resize((320, 240)).save("photo.jpg")


def commands(page: str) -> list[list[str]]:
    """Return the arguments of the ``lucid`` commands of a page."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", "")
    lines = [
        line.removeprefix("$ ")
        for block in blocks(text)
        if block.language == "console"
        for line in block.body.splitlines()
    ]
    return [shlex.split(line)[1:] for line in lines if line.startswith("lucid ")]


def check_outcome(arguments: list[str], output: str) -> None:
    """Check what a command printed and wrote."""
    if arguments[0] == "classify":
        names = [line.strip().partition("  ")[2] for line in output.splitlines()[1:]]
        assert len(names) == 5
        assert set(names) < set(CLASS_NAMES)
    elif arguments[0] == "detect":
        assert "drawn: boxes.png" in output
        with Image.open("boxes.png") as picture:
            assert picture.size == (320, 240)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/index.md",
        "lucid_models_classification/README.md",
        "lucid_models_detection/README.md",
    ],
)
@pytest.mark.usefixtures("work")
def test_predictions_by_model_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    [arguments] = [
        arguments
        for arguments in commands(page)
        if arguments[0] in ("classify", "detect") and "--model" in arguments
    ]
    entry = catalog_entry(arguments[arguments.index("--model") + 1])
    assert verify_entry(entry) is None
    assert run(arguments) == 0
    check_outcome(arguments, capsys.readouterr().out)
    assert verify_entry(entry) is True


@pytest.mark.parametrize(("page", "count"), [("README.md", 2), ("docs/weights.md", 4)])
@pytest.mark.usefixtures("work")
def test_python_examples_run(page: str, count: int) -> None:
    assert run_examples(ROOT / page) == count
    if page == "README.md":
        with Image.open("boxes.png") as picture:
            assert picture.size == (320, 240)


@pytest.mark.usefixtures("work")
def test_commands_of_the_weights_page(capsys: pytest.CaptureFixture[str]) -> None:
    """In order; those that need annotated images are only parsed."""
    for file in ("train.json", "val.json"):
        Path(file).write_text("{}")
    Path("images").mkdir()
    Path("photos").mkdir()
    done = []
    for name, *arguments in commands("docs/weights.md"):
        if name.startswith(("train-", "evaluate")):
            with click.Context(cli) as context:
                assert cli.get_command(context, name).make_context(name, arguments) is not None
        else:
            assert run([name, *arguments]) == 0
            check_outcome([name, *arguments], capsys.readouterr().out)
        done.append(name)
    assert set(done) == {
        *("classify", "detect", "evaluate", "train-classifier", "train-detector", "weights"),
    }
