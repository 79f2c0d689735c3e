"""2,000 images on two workers: one is killed half-way, two images are broken, nothing else is lost.

The whole program runs, as a user would start it; the test watches it from outside.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

import lucid
from lucid.models import create_model

COUNT = 2000
BATCH = 8
#: Megabytes that a process may grow by; the images of a quarter take 25.
FLAT = 15
CORRUPT, UNREADABLE = "00777.png", "01500.png"

#: Few regions and small layers: the test is about two thousand images, not about one.
SMALL = {
    "hidden_dim": 32,
    "rpn_pre_nms_top_n": 100,
    "rpn_post_nms_top_n": 20,
    "box_score_threshold": 0.0,
    "box_detections_per_image": 5,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lucid.random.seed(0)
    model = create_model("faster_rcnn_resnet_18_fpn", num_classes=3, **SMALL)
    path = tmp_path_factory.mktemp("weights") / "detector.safetensors"
    lucid.save_model(model, path, class_names=["background", "cat", "dog"])
    return path


def write_images(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05d}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "photos"
    write_images(folder, COUNT)
    (folder / CORRUPT).write_bytes((folder / CORRUPT).read_bytes()[:500])
    (folder / UNREADABLE).unlink()
    (folder / UNREADABLE).symlink_to("nowhere.png")
    return folder


def detect(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lucid.cli", "detect", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def workers_of(program: psutil.Process) -> list[psutil.Process]:
    return [
        child
        for child in program.children(recursive=True)
        if any("spawn_main" in word for word in child.cmdline())
    ]


def done_in(partial: Path, copy: Path) -> int:
    """How many results are on disk: of a copy, since the program keeps the file to itself."""
    for end in ("", "-wal"):
        source = Path(f"{partial}{end}")
        if not source.exists():
            return 0
        shutil.copy(source, f"{copy}{end}")
    connection = sqlite3.connect(copy)
    try:
        query = "SELECT count(record) FROM images"
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.DatabaseError:  # copied while it changed
        return 0
    finally:
        connection.close()


def resident(process: psutil.Process) -> float:
    """Megabytes."""
    return float(process.memory_info().rss) / 2**20


class Watch:
    """Memory of the program and of its workers, by how many images were done."""

    def __init__(self, program: psutil.Process) -> None:
        self.program = program
        self.samples: dict[int, list[tuple[int, float]]] = {}

    def look(self, done: int) -> list[psutil.Process]:
        workers = []
        with suppress(psutil.Error):
            workers = workers_of(self.program)
        for process in [self.program, *workers]:
            with suppress(psutil.Error):
                self.samples.setdefault(process.pid, []).append((done, resident(process)))
        return workers

    def working(self) -> list[int]:
        """Processes that ran after the first result.

        Before it, a process that ends at once checks for the main guard of scripts
        (`lucid.data.main_guard`); it is no worker.
        """
        return [pid for pid, samples in self.samples.items() if any(done for done, _ in samples)]

    def growth(self) -> dict[int, float]:
        """Of each process the megabytes between its second quarter and its last.

        A worker that replaces another one is counted from where it has its libraries and its
        model, four fifths of what it ever takes: on a busy machine that may take it long.
        """
        grown = {}
        for pid, samples in self.samples.items():
            sizes = [size for done, size in samples if done]
            begun = next((i for i, size in enumerate(sizes) if size > 0.8 * max(sizes)), 0)
            sizes = sizes[begun:]
            quarter = len(sizes) // 4
            if quarter >= 4:
                grown[pid] = max(sizes[-quarter:]) - max(sizes[quarter : 2 * quarter])
        return grown


def test_every_image_once_despite_dead_workers(
    weights: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "results.json"
    begun = time.monotonic()
    program = detect(
        photos, "--weights", weights, "--output", report, "--dask", "local", "--workers", 2,
        "--batch-size", BATCH, "--score-threshold", 0.1,
    )  # fmt: skip
    watch = Watch(psutil.Process(program.pid))
    killed = None
    while program.poll() is None:
        assert time.monotonic() - begun < 900
        done = done_in(Path(f"{report}.partial"), tmp_path / "copy")
        workers = watch.look(done)
        if killed is None and done >= COUNT // 2:
            killed = workers[0].pid
            os.kill(killed, signal.SIGKILL)
        time.sleep(0.1)  # the worker that comes may live a few seconds only
    seconds = time.monotonic() - begun
    out, err = program.communicate()
    assert program.returncode == 0, err
    assert out == f"{COUNT - 2:,} images in {report}, 2 failed\n"
    assert killed is not None, "it was over before a worker could be killed"
    # The program, the worker that was killed, the other, and the one that replaced it.
    assert len(watch.working()) == 4

    found = json.loads(report.read_text())
    assert sorted(result["image"] for result in found["images"]) == [
        str(path) for path in sorted(photos.iterdir()) if path.name not in (CORRUPT, UNREADABLE)
    ]
    reasons = {Path(failure["image"]).name: failure["error"] for failure in found["failed"]}
    assert sorted(reasons) == [CORRUPT, UNREADABLE]
    assert reasons[CORRUPT].startswith("expected a whole image")
    assert reasons[UNREADABLE] == "No such file or directory"
    for name, reason in reasons.items():
        assert f"{name}: {reason}" in err
    growth = watch.growth()
    assert len(growth) >= 3
    assert max(growth.values()) < FLAT, growth
    with capsys.disabled():
        print(f"\n{COUNT} images in {seconds:.0f} s, MB grown by process: {growth}")


def test_ctrl_c_leaves_a_run_to_resume(weights: Path, tmp_path: Path) -> None:
    photos, report = tmp_path / "photos", tmp_path / "results.json"
    write_images(photos, 300)
    arguments = (photos, "--weights", weights, "--output", report, "--batch-size", BATCH)
    program = detect(*arguments, "--dask", "local", "--workers", 2)
    begun = time.monotonic()
    while done_in(Path(f"{report}.partial"), tmp_path / "copy") < 20:
        assert program.poll() is None, program.communicate()
        assert time.monotonic() - begun < 300
        time.sleep(0.2)
    workers = workers_of(psutil.Process(program.pid))
    os.killpg(program.pid, signal.SIGINT)  # as a terminal sends it: to every process
    out, err = program.communicate(timeout=120)
    assert (program.returncode, out) == (130, ""), err
    assert "of 300 images" in err
    assert "Traceback" not in err
    assert not report.exists()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert len(workers) == 2
    assert not alive

    program = detect(*arguments, "--resume")  # and without Dask, as it happens
    out, err = program.communicate(timeout=600)
    assert (program.returncode, out, err) == (0, f"300 images in {report}\n", "")
    found = json.loads(report.read_text())["images"]
    assert [result["image"] for result in found] == sorted(map(str, photos.iterdir()))
