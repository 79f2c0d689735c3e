"""Results on disk: nothing twice, nothing lost, and a report in one step."""

from __future__ import annotations

import json
import os
import sqlite3
import time
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
        store.save(batch, [record_of(image) for image in batch.images])
        done.append(batch.images)
    return done


def test_batches_have_each_image_once_in_order():
    with ResultStore(None, ABOUT) as store:
        store.add(["a", "b", "a", "c"])
        store.add(["c", "d", "e"])
        assert work(store, 2) == [("a", "b"), ("c", "d"), ("e",)]
        assert store.count() == (5, 5, 0)


def test_results_may_come_in_any_order(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("abcd")
        for batch in reversed(list(store.pending(1))):
            store.save(batch, [record_of(batch.images[0])])
        store.finish()
    report = json.loads((tmp_path / "r.json").read_text())
    assert [result["image"] for result in report["images"]] == ["a", "b", "c", "d"]


def test_report(tmp_path):
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


def test_report_in_lines(tmp_path):
    with ResultStore(tmp_path / "r.jsonl", ABOUT) as store:
        store.add(["a", "bad"])
        work(store, 8)
        store.finish()
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [record_of("a"), record_of("bad")]


@pytest.mark.parametrize("name", ["r.json", "r.jsonl"])
def test_exclude_keys_from_the_report(tmp_path, name):
    with ResultStore(tmp_path / name, ABOUT) as store:
        store.add(["a", "bad"])
        work(store, 8)
        store.finish(exclude=["n"])
    text = (tmp_path / name).read_text()
    assert '{"image": "a"}' in text
    assert '{"image": "bad", "error": "bad"}' in text


def test_empty_report():
    with ResultStore(None, ABOUT) as store:
        assert json.loads("".join(store.lines())) == {**ABOUT, "images": [], "failed": []}
        with pytest.raises(ValueError, match="in memory"):
            store.finish()


def test_resume_skips_results_and_retries_failures(tmp_path):
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


@pytest.fixture(params=["r.json", "r.jsonl"])
def finished(request, tmp_path):
    """A finished report of files ``a`` and ``c`` and a failure, and the files' folder."""
    for name in ("a", "bad", "c"):
        (tmp_path / name).write_text("123")
    path = tmp_path / request.param
    with ResultStore(path, ABOUT) as store:
        store.add(str(tmp_path / name) for name in ("a", "bad", "c"))
        work(store, 8)
        store.finish()
    return path


def images_of(report):
    text = report.read_text()
    if report.suffix == ".jsonl":
        return {Path(r["image"]).name: r for r in map(json.loads, text.splitlines())}
    content = json.loads(text)
    return {Path(r["image"]).name: r for r in content["images"] + content["failed"]}


def test_report_says_how_large_images_were(finished):
    entries = images_of(finished)
    assert (entries["a"]["bytes"], "bytes" in entries["bad"]) == (3, False)


def test_finished_report_is_completed(finished):
    folder = finished.parent
    before, written = finished.read_bytes(), finished.stat().st_mtime_ns
    with ResultStore(finished, ABOUT, resume=True) as store:
        store.add([str(folder / "a")])
        assert store.reopened
        assert store.remaining() == {"new": 0, "changed": 0, "failed before": 1}
    assert finished.read_bytes() == before  # nothing was done
    assert not Path(f"{finished}.partial").exists()
    (folder / "d").write_text("new")
    (folder / "c").write_text("longer")
    os.utime(folder / "c", ns=(written - 9, written - 9))
    with ResultStore(finished, ABOUT, resume=True) as store:
        store.add(str(folder / name) for name in ("a", "c", "d"))
        assert store.remaining() == {"new": 1, "changed": 1, "failed before": 1}
        assert {Path(p).name for batch in work(store, 8) for p in batch} == {"bad", "c", "d"}
        store.finish()
    entries = images_of(finished)
    assert {name: entry.get("bytes") for name, entry in entries.items()} == {
        "a": 3,
        "bad": None,
        "c": 6,
        "d": 3,
    }


def test_image_that_is_newer_than_its_report_has_changed(finished):
    image, written = finished.parent / "a", finished.stat().st_mtime_ns
    for moment, changed in ((written, 0), (written + 9, 1), (time.time_ns() + 10**15, 0)):
        os.utime(image, ns=(moment, moment))
        with ResultStore(finished, ABOUT, resume=True) as store:
            store.add([str(image)])
            assert store.changed == changed


def test_image_that_is_gone_keeps_its_result(finished):
    (finished.parent / "a").unlink()
    with ResultStore(finished, ABOUT, resume=True) as store:
        store.add([str(finished.parent / "a")])
        assert store.remaining() == {"new": 0, "changed": 0, "failed before": 1}


def test_resume_rejects_other_settings(finished):
    before = finished.read_bytes()
    other = {**ABOUT, "sha256": "34", "threshold": 0.4, "weights": "elsewhere"}
    with pytest.raises(
        ValueError, match=r"weights with SHA-256 '12', got '34'; threshold 0\.5, got 0\.4"
    ):
        ResultStore(finished, other, resume=True)
    assert finished.read_bytes() == before
    assert not Path(f"{finished}.partial").exists()
    if finished.suffix == ".jsonl":
        Path(f"{finished}.run").unlink()  # as Lucid 0.1.0 left it
        with pytest.raises(ValueError, match=r"r\.jsonl is complete, but .*jsonl\.run"):
            ResultStore(finished, ABOUT, resume=True)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 1, "failed": []}', "[1", '"x"'])
def test_resume_rejects_a_file_that_is_not_a_report(tmp_path, text):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"r\.json: expected a report to resume, got another"):
        ResultStore(path, ABOUT, resume=True)
    assert (path.read_text(), os.listdir(tmp_path)) == (text, ["r.json"])


@pytest.mark.parametrize("entry", ["1", "{}", '{"image": 3}', '{"image": "a"'])
def test_lines_that_are_no_records_are_not_resumed(tmp_path, entry):
    path = tmp_path / "r.jsonl"
    path.write_text(f"{entry}\n")
    Path(f"{path}.run").write_text(json.dumps(ABOUT))
    with pytest.raises(ValueError, match=r"r\.jsonl: expected a report to resume, got another"):
        ResultStore(path, ABOUT, resume=True)
    assert sorted(os.listdir(tmp_path)) == ["r.jsonl", "r.jsonl.run"]


def test_image_that_changed_while_a_run_was_stopped(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("123")
    names = [str(tmp_path / name) for name in "ab"]
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add(names)
        work(store, 1, batches=2)
    os.utime(names[1], ns=(1, 1))
    with ResultStore(tmp_path / "r.json", ABOUT, resume=True) as store:
        store.add(names)
        assert (store.changed, store.reopened) == (1, False)
        assert work(store, 2) == [(names[1],)]


def test_unfinished_run_of_the_first_release_resumes(tmp_path):
    with sqlite3.connect(tmp_path / "r.json.partial") as connection:
        connection.executescript(
            "CREATE TABLE run (description TEXT NOT NULL);"
            "CREATE TABLE images (position INTEGER PRIMARY KEY, image BLOB NOT NULL UNIQUE, "
            "record TEXT, failed INTEGER);"
        )
        connection.execute("INSERT INTO run VALUES (?)", (json.dumps(ABOUT),))
        connection.execute("INSERT INTO images (image, record) VALUES (?, ?)", (b"a", '{"n": 1}'))
    connection.close()
    with ResultStore(tmp_path / "r.json", ABOUT, resume=True) as store:
        store.add("ab")
        assert work(store, 2) == [("b",)]


def test_without_resume_an_unfinished_run_is_not_touched(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add("ab")
        work(store, 1, batches=1)
    before = (tmp_path / "r.json.partial").read_bytes()
    with pytest.raises(ValueError, match=r"unfinished run; .*--resume"):
        ResultStore(path, ABOUT)
    assert (tmp_path / "r.json.partial").read_bytes() == before


def test_resume_starts_a_new_run(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT, resume=True) as store:
        assert store.count() == (0, 0, 0)


def test_run_without_results_leaves_nothing(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("ab")
        assert os.listdir(tmp_path) != []
    assert os.listdir(tmp_path) == []


def test_resume_rejects_another_description(tmp_path):
    path = tmp_path / "r.json"
    with ResultStore(path, ABOUT) as store:
        store.add("ab")
        work(store, 1, batches=1)
    with pytest.raises(ValueError, match=r"expected threshold 0\.5, got 0\.4"):
        ResultStore(path, ABOUT | {"threshold": 0.4}, resume=True)


def test_one_writer_at_a_time(tmp_path):
    with ResultStore(tmp_path / "r.json", ABOUT) as store:
        store.add("ab")
        for resume in (False, True):
            with pytest.raises(ValueError, match=r"r\.json: in use by process .* another --output"):
                ResultStore(tmp_path / "r.json", ABOUT, resume=resume)
        assert work(store, 2) == [("a", "b")]
    with ResultStore(tmp_path / "r.json", ABOUT, resume=True):
        pass


def test_file_that_is_no_run(tmp_path):
    path = tmp_path / "r.json.partial"
    path.write_text("something else entirely, and not short" * 100)
    with pytest.raises(ValueError, match=r"r\.json\.partial: not an unfinished run"):
        ResultStore(tmp_path / "r.json", ABOUT, resume=True)
    assert path.read_text().startswith("something else")


def test_results_survive_a_crash(tmp_path):
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
                store.save(batch, [record_of(image) for image in batch.images])
            store.finish()
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return most

    peak(64)
    # Ten times the images, whose names alone take three megabytes.
    assert peak(30_000) < peak(3_000) + 100_000


def test_split_batch():
    assert Batch((3, 5), ("a", "b")).split() == [Batch((3,), ("a",)), Batch((5,), ("b",))]
