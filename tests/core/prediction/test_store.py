"""Results on disk: nothing twice, nothing lost, and a report in one step."""

from __future__ import annotations

import json
import os
import sqlite3
import tracemalloc
from pathlib import Path

import pytest

from lucid.prediction import Batch, ResultStore

ABOUT = {"weights": "w", "sha256": "12", "threshold": 0.5}


def record_of(image: str) -> dict[str, object]:
    return {"image": image, "error": "bad"} if "bad" in image else {"image": image, "n": len(image)}


def work(store: ResultStore, batch_size: int, batches: int = 1_000_000) -> list[tuple[str, ...]]:
    done = []
    for _, batch in zip(range(batches), store.pending(batch_size), strict=False):
        store.keep(batch, [record_of(image) for image in batch.images])
        done.append(batch.images)
    return done


def test_batches_are_the_images_in_order_each_once():
    with ResultStore(None, ABOUT) as store:
        store.add(["a", "b", "a", "c"])
        store.add(["c", "d", "e"])
        assert work(store, 2) == [("a", "b"), ("c", "d"), ("e",)]
        assert store.count() == (5, 5, 0)


def test_results_may_come_in_any_order(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("abcd")
        for batch in reversed(list(store.pending(1))):
            store.keep(batch, [record_of(batch.images[0])])
        store.finish()
    report = json.loads((tmp_path / "r.json").read_text())
    assert [result["image"] for result in report["images"]] == ["a", "b", "c", "d"]


def test_the_report(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add(["a", "bad", "c"])
        work(store, 8)
        assert not path.exists()
        store.finish()
    assert os.listdir(tmp_path) == ["r.json"]
    assert json.loads(path.read_text()) == {
        **ABOUT,
        "images": [{"image": "a", "n": 1}, {"image": "c", "n": 1}],
        "failed": [{"image": "bad", "error": "bad"}],
    }


def test_the_report_in_lines(tmp_path):
    with ResultStore(tmp_path / "r.jsonl", ABOUT) as store:
        store.add(["a", "bad"])
        work(store, 8)
        store.finish()
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record_of("a"), record_of("bad")]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_what_is_only_for_others_can_be_left_out(tmp_path, name):
    with ResultStore(tmp_path / name, ABOUT) as store:
        store.add(["a", "bad"])
        work(store, 8)
        store.finish(leave_out=["n"])
    text = (tmp_path / name).read_text()
    assert '{"image": "a"}' in text
    assert '{"image": "bad", "error": "bad"}' in text


def test_a_report_of_nothing():
    with ResultStore(None, ABOUT) as store:
        assert json.loads("".join(store.lines())) == {**ABOUT, "images": [], "failed": []}
        with pytest.raises(ValueError, match="in memory"):
            store.finish()


def test_resume_skips_what_is_done_and_tries_again_what_failed(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add(["a", "bad", "c", "d", "e"])
        work(store, 1, batches=3)
        assert store.count() == (5, 2, 1)
    assert not path.exists()
    with ResultStore(path, ABOUT | {"weights": "elsewhere"}, resume=True) as store:
        store.add(["a", "bad", "c", "d", "e", "f"])  # one more than before
        assert store.count() == (6, 2, 0)
        assert work(store, 3) == [("bad", "d", "e"), ("f",)]
        store.finish()
    report = json.loads(path.read_text())
    assert [result["image"] for result in report["images"]] == ["a", "c", "d", "e", "f"]
    assert [result["image"] for result in report["failed"]] == ["bad"]


def test_without_resume_an_unfinished_run_is_not_touched(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add("ab")
        work(store, 1, batches=1)
    before = (tmp_path / "r.json.partial").read_bytes()
    with pytest.raises(ValueError, match="did not finish; --resume goes on with it"):
        ResultStore(path, ABOUT)
    assert (tmp_path / "r.json.partial").read_bytes() == before


def test_resume_begins_where_nothing_was_begun(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT, resume=True) as store:
        assert store.count() == (0, 0, 0)


def test_a_run_without_results_leaves_nothing(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("ab")
        assert os.listdir(tmp_path) != []
    assert os.listdir(tmp_path) == []


def test_a_run_goes_on_as_it_began(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add("ab")
        work(store, 1, batches=1)
    with pytest.raises(ValueError, match=r"began with threshold 0\.5, got 0\.4"):
        ResultStore(path, ABOUT | {"threshold": 0.4}, resume=True)


def test_one_writer_at_a_time(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("ab")
        with pytest.raises(ValueError, match=r"r\.json\.partial: another process is writing"):
            ResultStore(tmp_path / "r.json", ABOUT, resume=True)
        assert work(store, 2) == [("a", "b")]


def test_a_file_that_is_no_run(tmp_path):
    path = tmp_path / "r.json.partial"
    path.write_text("something else entirely, and not short" * 100)
    with pytest.raises(ValueError, match=r"r\.json\.partial: no unfinished run, or a damaged one"):
        ResultStore(tmp_path / "r.json", ABOUT, resume=True)
    assert path.read_text().startswith("something else")


def test_results_are_there_after_a_crash(tmp_path):
    """What was kept is on disk at once, before the store is closed."""
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("abc")
        work(store, 1, batches=2)
        copy = tmp_path / "copy"  # what another process would find if this one were gone
        copy.write_bytes((tmp_path / "r.json.partial").read_bytes())
        Path(f"{copy}-wal").write_bytes((tmp_path / "r.json.partial-wal").read_bytes())
    with sqlite3.connect(copy) as connection:
        rows = connection.execute("SELECT image FROM images WHERE record IS NOT NULL").fetchall()
    connection.close()
    assert rows == [(b"a",), (b"b",)]


def test_names_that_are_no_text(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    with ResultStore(None, ABOUT) as store:
        store.add([name])
        assert work(store, 1) == [(name,)]
        assert [result["image"] for result in store.results()] == [name]


def test_memory_does_not_grow_with_the_images(tmp_path):
    def peak(count: int) -> int:
        with ResultStore(tmp_path / f"{count}.json", ABOUT) as store:
            tracemalloc.start()
            store.add(f"{number:060d}" for number in range(count))
            for batch in store.pending(64):
                store.keep(batch, [record_of(image) for image in batch.images])
            store.finish()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return most

    peak(64)
    # Ten times the images, whose names alone take three megabytes.
    assert peak(30_000) < peak(3_000) + 100_000


def test_singles():
    assert Batch((3, 5), ("a", "b")).singles() == [Batch((3,), ("a",)), Batch((5,), ("b",))]
