"""``lucid train-classifier --mpi``, ``train-detector --mpi`` and the documented script."""

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
    """Create seven noisy images of each of two colors."""
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


def images_seen(folder):
    """Return epoch and index of every image that any rank trained on, in order."""
    lines = [line.split() for path in folder.iterdir() for line in path.read_text().splitlines()]
    return sorted((int(epoch), int(image)) for epoch, *images in lines for image in images)


def every_image_once(epochs, images):
    return [(epoch, image) for epoch in range(epochs) for image in range(images)]


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_classifier_resumes_within_an_epoch_on_other_ranks(
    start, run, colors, tmp_path, before, after
):
    """SIGTERM after three of six steps of seven images."""
    output = tmp_path / "run"
    small = ("--model", "resnet_18", "--image-size", 48, "--lr", 1e-4, "--synchronize-norms")
    given = ("--data", colors, "--val", colors, "--batch-size", 7, "--epochs", 3, *small)
    command = ("train-classifier", "--mpi", "--output")
    job = start(
        before, "watch_batches.py", tmp_path / "seen", "3:SIGTERM", *command, output, *given
    )
    assert job.end() == 143, job.output
    assert job.output.count("images to train on") == 1
    state = load_checkpoint(output / "last.safetensors")
    assert (state["step"], state["epoch"], state["batch"]) == (3, 1, 1)
    printed = run(after, "watch_batches.py", tmp_path / "seen", "0", *command, output, "--resume")
    assert re.findall(r"epoch \d/3", printed) == ["epoch 2/3", "epoch 3/3"]
    assert "best accuracy" in printed
    assert images_seen(tmp_path / "seen") == every_image_once(epochs=3, images=14)
    assert json.loads((output / "run.json").read_text())["options"]["synchronize_norms"] is True

    # On the initial number of ranks, since float32 results of other numbers diverge soon.
    run(before, "-m", "lucid.cli", *command, tmp_path / "whole", *given)
    for row, whole in zip(rows(output), rows(tmp_path / "whole"), strict=True):
        assert float(row["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-3)
        assert row["step"] == whole["step"]


def test_synchronized_norms_match_a_single_rank(run, colors, tmp_path):
    options = ("--model", "resnet_18", "--image-size", 48, "--batch-size", 6, "--epochs", 1)
    command = ("-m", "lucid.cli", "train-classifier", "--mpi", "--data", colors, *options)
    found = []
    for ranks in (1, 2):
        output = tmp_path / f"{ranks}"
        run(ranks, *command, "--synchronize-norms", "--output", output, "--lr", 1e-4)
        found.append(float(rows(output)[0]["loss"]))
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_detector_killed_on_two_ranks_resumes_on_one(start, run, tmp_path):
    """SIGKILL after six of eight steps of two images, each with a checkpoint."""
    data = small_detection.write_coco(tmp_path / "coco", 8, empty=(3,))
    output, seen = tmp_path / "run", tmp_path / "seen"
    small = [f"--model-option={k}={json.dumps(v)}" for k, v in small_detection.SMALL.items()]
    command = ("train-detector", "--mpi", "--output", output)
    options = ("--model", "faster_rcnn_resnet_18_fpn", "--batch-size", 2, "--epochs", 2, *small)
    given = ("--data", data, "--val", data, "--images", data.parent, "--samples", 2)
    job = start(
        2,
        "watch_batches.py",
        seen,
        "6:SIGKILL",
        *command,
        *given,
        *options,
        "--checkpoint-every",
        1,
    )
    assert job.end() != 0
    assert job.output.count("images to train on") == 1
    assert len(rows(output)) == 1
    state = load_checkpoint(output / "last.safetensors")
    assert (state["step"], state["epoch"], state["batch"]) == (6, 1, 2)

    printed = run(1, "watch_batches.py", seen, "0", *command, "--resume")
    assert "best mAP" in printed
    assert images_seen(seen) == every_image_once(epochs=2, images=8)
    assert [row["step"] for row in rows(output)] == ["4", "8"]
    assert 0 <= float(rows(output)[-1]["mAP"]) <= 1
    assert sorted(p.name for p in (output / "samples").iterdir()) == [
        "epoch_001.png",
        "epoch_002.png",
    ]


def test_bad_input_is_reported_once_and_ranks_need_the_mpi_option(start, tmp_path):
    command = ("-m", "lucid.cli", "train-classifier", "--output", tmp_path / "run")
    job = start(2, *command, "--data", tmp_path / "nowhere", "--mpi")
    assert job.end(60) == 2
    assert job.output.count("lucid: error: No such file or directory") == 1
    job = start(2, *command, "--data", tmp_path)
    assert job.end(60) == 2
    assert "mpiexec started 2 ranks" in job.output
    assert not (tmp_path / "run").exists()


def test_documented_script_runs(run, tmp_path):
    sys.path.insert(0, str(ROOT / "tests" / "integration"))
    from markdown_examples import captioned_files

    page = (ROOT / "docs" / "distributed.md").read_text(encoding="utf-8")
    program = tmp_path / "train.py"
    program.write_text(captioned_files(page)["train.py"], encoding="utf-8")
    text = program.read_text(encoding="utf-8").replace('directory="run"', f'directory="{tmp_path}"')
    program.write_text(text, encoding="utf-8")
    assert re.search(r"^2 ranks, loss \d", run(2, "-m", "mpi4py", program), re.MULTILINE)


def test_script_without_communicator_uses_the_ranks_of_mpiexec(run, tmp_path):
    printed = run(2, "-m", "mpi4py", Path(__file__).with_name("default_ranks.py"), tmp_path)
    assert printed.count("epoch 1/1") == 1
    assert len(rows(tmp_path)) == 1
    found = [(tmp_path / f"rank_{rank}.txt").read_text().split() for rank in (0, 1)]
    sizes, digests, *_ = zip(*found, strict=True)
    assert sizes == ("2", "2")
    assert len(set(digests)) == 1
    seen = [set(map(int, words[2:])) for words in found]
    assert seen[0] | seen[1] == set(range(24))
    assert not seen[0] & seen[1]
