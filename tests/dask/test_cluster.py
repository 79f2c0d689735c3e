"""Workers, schedulers and images that fail, each in its own way."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from lucid import WeightFileError
from lucid.prediction import Batch, dask_cluster, predict_files


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    return importlib.import_module("crashing_prediction")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "model.txt"
    path.write_text("model")
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    paths = [tmp_path / f"{number:02d}.txt" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_text("a" * number)
    return [str(path) for path in paths]


@pytest.fixture
def impatient() -> Iterator[None]:
    """Dask gives up a task after two deaths, and a peer that is gone after seconds."""
    settings = {
        "distributed.scheduler.allowed-failures": 1,
        "distributed.comm.timeouts.connect": "5s",
    }
    with dask.config.set(settings):
        yield


def report_of(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_local_workers_share_images_and_processors(words, weights, images, tmp_path) -> None:
    report = tmp_path / "r.json"
    predictor = words.WordPredictor(weights, seconds=0.2)
    outcome = predict_files(
        predictor, images, report, batch_size=2, dask="local", workers=2, threads=3
    )
    assert (outcome.images, outcome.failed) == (20, 0)
    found = report_of(report)["images"]
    assert [result["image"] for result in found] == images
    assert [result["letters"] for result in found] == list(range(20))
    assert len({result["pid"] for result in found}) == 2
    assert {result["threads"] for result in found} == {3}


def test_workers_that_dask_gives_up_are_replaced(words, weights, images, tmp_path) -> None:
    with dask_cluster.dask_executor("local", 1, None) as run:
        cluster = run.__self__.client.cluster
        batches = iter([Batch((number,), (image,)) for number, image in enumerate(images[:6])])
        results = run(words.WordPredictor(weights), batches)
        first = next(results)[1][0]["pid"]
        cluster.sync(lose_workers, cluster)
        assert first not in {records[0]["pid"] for _, records in list(results)[-2:]}


async def lose_workers(cluster: LocalCluster) -> None:
    """What Dask does of itself where a worker is not back in time."""
    for name, nanny in list(cluster.workers.items()):
        del cluster.workers[name]
        await nanny.close()


@pytest.mark.usefixtures("impatient")
def test_image_that_kills_workers_is_found(words, weights, images, tmp_path) -> None:
    Path(images[5]).write_text("deadly")
    report = tmp_path / "r.json"
    predict_files(
        words.WordPredictor(weights), images, report, batch_size=4, dask="local", workers=2
    )
    found = report_of(report)
    assert [result["image"] for result in found["images"]] == images[:5] + images[6:]
    assert found["failed"] == [
        {"image": images[5], "error": "2 workers died on it (out of memory?)"}
    ]


def test_scheduler_by_its_address_and_by_its_file(words, weights, images, tmp_path) -> None:
    with LocalCluster(
        n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", silence_logs=40
    ) as cluster:
        address = cluster.scheduler_address
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": address, "type": "Scheduler", "workers": {}}))
        for number, scheduler in enumerate((address, str(file))):
            report = tmp_path / f"{number}.jsonl"
            outcome = predict_files(words.WordPredictor(weights), images, report, dask=scheduler)
            assert outcome.images == 20
            found = [json.loads(line) for line in report.read_text().splitlines()]
            assert [result["image"] for result in found] == images
            assert {result["threads"] for result in found} == {1}
        with pytest.raises(ValueError, match=r"workers=None .* got 2"):
            predict_files(words.WordPredictor(weights), images, report, dask=address, workers=2)
        # Weights that change under way are a fault of the run, not of an image.
        weights.write_text("another")
        predictor = words.WordPredictor(weights)
        weights.write_text("and another")
        with pytest.raises(WeightFileError, match="expected SHA-256"):
            predict_files(predictor, images, tmp_path / "other.json", dask=address)


@pytest.mark.usefixtures("impatient")
def test_unreachable_scheduler(words, weights, images, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dask_cluster, "_TIMEOUT", 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConnectionError, match=f"cannot reach a Dask scheduler at {address}"):
        predict_files(words.WordPredictor(weights), images, tmp_path / "r.json", dask=address)
    with LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        with pytest.raises(ConnectionError, match="got none in 2 s"):
            predict_files(words.WordPredictor(weights), images, tmp_path / "r.json", dask=address)


@pytest.mark.usefixtures("impatient")
def test_scheduler_that_is_lost_leaves_a_run_to_resume(words, weights, images, tmp_path) -> None:
    file = tmp_path / "scheduler.json"
    # Dask's scheduler looks into tasks as its workers do, so both need what is in them.
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    scheduler = subprocess.Popen(
        [*command, "--scheduler-file", file, "--port", "0", "--dashboard-address", "127.0.0.1:0"],
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", file),
            *(
                "--nthreads",
                "1",
                "--dashboard-address",
                "127.0.0.1:0",
                "--no-nanny",
                "--local-directory",
                tmp_path,
            ),
        ],
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    report = tmp_path / "r.json"
    store = tmp_path / "r.json.partial-wal"

    def kill() -> None:
        while not (store.exists() and store.stat().st_size > 60_000):
            time.sleep(0.05)
        scheduler.kill()

    killer = threading.Thread(target=kill, daemon=True)
    try:
        while not file.exists():
            time.sleep(0.1)
        killer.start()
        with pytest.raises(ConnectionError, match="lost the Dask scheduler"):
            predict_files(words.WordPredictor(weights, 0.5), images, report, dask=str(file))
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    outcome = predict_files(words.WordPredictor(weights), images, report, resume=True)
    assert outcome.images == 20
    pids = [result["pid"] for result in report_of(report)["images"]]
    assert pids[0] == worker.pid != pids[-1]
