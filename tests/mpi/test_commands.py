"""``lucid train-classifier --mpi`` and ``train-detector --mpi``, and the script of the page."""

from __future__ import annotations

import csv
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lucid.training import load_checkpoint

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "detection"))

import small_detection  # noqa: E402


@pytest.fixture
def colors(tmp_path):
    """Seven noisy images of each of two colours."""
    rng = np.random.default_rng(0)
    for name, color in {"blue": (30, 30, 220), "red": (220, 30, 30)}.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(7):
            pixels = np.clip(np.array(color) + rng.normal(0, 20, (48, 48, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def rows(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_classifier_trains_on_two_ranks_and_goes_on_on_one(run, colors, tmp_path):
    output = tmp_path / "run"
    options = ("--model", "resnet_18", "--image-size", 48, "--batch-size", 6, "--epochs", 3)
    command = ("-m", "lucid.cli", "train-classifier", "--mpi", "--output", output)
    told = run(2, *command, "--data", colors, *options, "--synchronize-norms")
    assert told.count("images to train on") == 1
    assert len(re.findall(r"epoch \d/3", told)) == 3
    assert len(rows(output)) == 3
    assert json.loads((output / "run.json").read_text())["options"]["synchronize_norms"] is True
    assert "best accuracy" in run(1, *command, "--resume")  # all is done already


def test_norms_of_all_ranks_train_a_classifier_as_one_rank_does(run, colors, tmp_path):
    options = ("--model", "resnet_18", "--image-size", 48, "--batch-size", 6, "--epochs", 1)
    command = ("-m", "lucid.cli", "train-classifier", "--mpi", "--data", colors, *options)
    found = []
    for ranks in (1, 2):
        output = tmp_path / f"{ranks}"
        run(ranks, *command, "--synchronize-norms", "--output", output, "--lr", 1e-4)
        found.append(float(rows(output)[0]["loss"]))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_a_detector_trains_on_two_ranks_and_goes_on_on_one(run, tmp_path):
    data = small_detection.write_coco(tmp_path / "coco", 10, empty=(3,))
    output = tmp_path / "run"
    small = [f"--model-option={k}={json.dumps(v)}" for k, v in small_detection.SMALL.items()]
    command = ("-m", "lucid.cli", "train-detector", "--mpi", "--output", output)
    options = ("--model", "faster_rcnn_resnet_18_fpn", "--batch-size", 2, "--epochs", 2, *small)
    given = ("--data", data, "--images", data.parent, "--samples", 2)
    told = run(2, *command, *given, *options)
    assert "best mAP" in told
    assert told.count("images to train on") == 1
    assert len(rows(output)) == 2
    assert 0 <= float(rows(output)[-1]["mAP"]) <= 1
    assert sorted(p.name for p in (output / "samples").iterdir()) == [
        "epoch_001.png",
        "epoch_002.png",
    ]
    assert load_checkpoint(output / "last.safetensors")["epoch"] == 2
    run(1, *command, "--resume")


def test_bad_input_is_told_once_and_ranks_without_mpi_are_refused(start, tmp_path):
    command = ("-m", "lucid.cli", "train-classifier", "--output", tmp_path / "run")
    job = start(2, *command, "--data", tmp_path / "nowhere", "--mpi")
    assert job.end(60) == 2
    assert job.output.count("lucid: error: No such file or directory") == 1
    job = start(2, *command, "--data", tmp_path)
    assert job.end(60) == 2
    assert "mpiexec has started 2 ranks of this; give --mpi" in job.output
    assert not (tmp_path / "run").exists()


def test_the_script_of_the_page_runs(run, tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "integration"))
    from markdown_examples import captioned_files

    page = (ROOT / "docs" / "outgrowing.md").read_text(encoding="utf-8")
    program = tmp_path / "train.py"
    program.write_text(captioned_files(page)["train.py"], encoding="utf-8")
    text = program.read_text(encoding="utf-8").replace('directory="run"', f'directory="{tmp_path}"')
    program.write_text(text, encoding="utf-8")
    assert re.search(r"^2 ranks, loss \d", run(2, "-m", "mpi4py", program), re.MULTILINE)


def test_a_script_that_says_nothing_of_ranks_trains_on_those_of_mpiexec(run, tmp_path):
    told = run(2, "-m", "mpi4py", Path(__file__).with_name("default_ranks.py"), tmp_path)
    assert told.count("epoch 1/1") == 1
    assert len(rows(tmp_path)) == 1
    found = [(tmp_path / f"rank_{rank}.txt").read_text().split() for rank in (0, 1)]
    sizes, digests, *_ = zip(*found, strict=True)
    assert sizes == ("2", "2")
    assert len(set(digests)) == 1
    seen = [set(map(int, words[2:])) for words in found]
    assert seen[0] | seen[1] == set(range(24))
    assert not seen[0] & seen[1]
