"""Store of prediction results, and the report written from it.

During a run, an SQLite file next to the report holds the images and their results: memory does
not grow with the number of images, a killed run loses only the batches in flight, and each image
appears once.  A lock file prevents a second run from writing the same report.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lucid.locks import FileLock
from lucid.prediction.finished_report import (
    BYTES,
    FinishedReport,
    describe_differences,
    save_description,
)
from lucid.weights import atomic_write

__all__ = ["PARTIAL", "Batch", "ResultStore"]

#: Suffix of the SQLite file, after the name of the report.
PARTIAL = ".partial"

#: Exclusive access makes WAL mode work without shared memory, which network file systems lack;
#: NORMAL survives a crash of the process without a disk sync per commit.
_SETTINGS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL")

_TABLES = """
CREATE TABLE IF NOT EXISTS run (description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    position INTEGER PRIMARY KEY,
    image BLOB NOT NULL UNIQUE,
    record TEXT,
    failed INTEGER,
    size INTEGER,
    modified INTEGER
);
"""


@dataclass(frozen=True)
class Batch:
    """Images predicted together.

    Attributes
    ----------
    positions : tuple of int
        Indices in the run.
    images : tuple of str
        Paths, one per position.
    """

    positions: tuple[int, ...]
    images: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def split(self) -> list[Batch]:
        """Split into batches of one image."""
        pairs = zip(self.positions, self.images, strict=True)
        return [Batch((position,), (image,)) for position, image in pairs]


class ResultStore:
    """Images of a run and their results.

    Parameters
    ----------
    report : path or None
        Report to write: ``.jsonl`` has one JSON line per image, any other name one JSON object.
        Until it is finished, results are in ``REPORT.partial``.  None keeps them in memory.
    description : mapping
        Settings of the results; see :meth:`~lucid.prediction.Predictor.description`.
    resume : bool, default False
        Continue an unfinished run, or add to a finished report, if there is one.  Images that
        failed or changed are predicted again.

    Attributes
    ----------
    reopened : bool
        Whether this store adds to a finished report.
    changed : int
        Number of images with a result whose file has changed.

    Raises
    ------
    ValueError, OSError
        As for :func:`~lucid.prediction.predict_files`.
    """

    def __init__(
        self,
        report: str | os.PathLike[str] | None,
        description: Mapping[str, Any],
        *,
        resume: bool = False,
    ) -> None:
        self.report = None if report is None else os.fspath(report)
        self.description = dict(description)
        self.path = None if self.report is None else self.report + PARTIAL
        self.changed = 0
        self.reopened = self.resumed = self._kept = False
        self._finished_at: int | None = None
        self._lock: FileLock | None = None
        if self.report is not None:
            self._lock = FileLock(f"{self.report}.lock", self.report, "choose another --output")
            self._lock.acquire()
        try:
            self._begin(resume)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise

    def _begin(self, resume: bool) -> None:
        """Open the file and load a finished report if there is one to resume."""
        finished = None
        if self.report is not None and self.path is not None:
            self.resumed = os.path.exists(self.path)
            if self.resumed and not resume:
                raise ValueError(
                    f"{self.path} contains an unfinished run; continue it with --resume, or remove "
                    "the file"
                )
            if resume and os.path.exists(self.report):
                self._finished_at = os.stat(self.report).st_mtime_ns
                finished = None if self.resumed else FinishedReport(self.report, self.description)
                self.reopened = not self.resumed
        self._connection = sqlite3.connect(self.path or ":memory:", timeout=0)
        try:
            self._open()
            if finished is not None:
                self._load(finished)
        except BaseException as error:
            if self.resumed:
                self._connection.close()
            else:
                self._discard()
            if isinstance(error, sqlite3.Error):
                raise ValueError(f"{self.path}: {_explain(error)}") from None
            raise

    def _open(self) -> None:
        for setting in _SETTINGS:
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.executescript(_TABLES)
        columns = {row[1] for row in self._connection.execute("PRAGMA table_info(images)")}
        for name in {"size", "modified"} - columns:  # written by Lucid 0.1.0
            self._connection.execute(f"ALTER TABLE images ADD COLUMN {name} INTEGER")
        with self._connection:
            row = self._connection.execute("SELECT description FROM run").fetchone()
            if row is None:
                text = json.dumps(self.description)
                self._connection.execute("INSERT INTO run VALUES (?)", (text,))
            else:
                if found := describe_differences(json.loads(row[0]), self.description):
                    raise ValueError(
                        f"{self.path}: cannot resume with other settings, expected "
                        f"{'; '.join(found)}; use the settings of the run"
                    )
                self._connection.execute("UPDATE images SET record = NULL WHERE failed")

    def _load(self, finished: FinishedReport) -> None:
        """Load the results of a finished report; failed images become pending."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO images (image, size, record, failed) VALUES (?, ?, ?, ?)",
                (
                    (
                        os.fsencode(record["image"]),
                        record.pop(BYTES, None),
                        None if "error" in record else json.dumps(record),
                        "error" in record,
                    )
                    for record in finished.records()
                ),
            )

    # --- pending images ---------------------------------------------------------------------

    def add(self, images: Iterable[str]) -> None:
        """Add images that are not in the store; drop the results of changed ones."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO images (image) VALUES (?)",
                ((os.fsencode(image),) for image in self._drop_changed(images)),
            )

    def _drop_changed(self, images: Iterable[str]) -> Iterator[str]:
        for image in images:
            if (self.resumed or self.reopened) and self._has_changed(image):
                self.changed += 1
                self._connection.execute(
                    "UPDATE images SET record = NULL WHERE image = ?", (os.fsencode(image),)
                )
            yield image

    def _has_changed(self, image: str) -> bool:
        """Whether the file of an image with a result has changed."""
        before = self._connection.execute(
            "SELECT size, modified FROM images WHERE image = ? AND record IS NOT NULL",
            (os.fsencode(image),),
        ).fetchone()
        size, modified = _stamp(image)
        if before is None or size is None or modified is None:  # deleted: keep its result
            return False
        if before[0] not in (None, size):
            return True
        if before[1] is not None:
            return bool(before[1] != modified)
        # A time in the future would be newer than every report.
        return self._finished_at is not None and self._finished_at < modified <= time.time_ns()

    def pending(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches of the images without a result, in order."""
        last = 0
        while True:
            rows = self._connection.execute(
                "SELECT position, image FROM images WHERE position > ? AND record IS NULL "
                "ORDER BY position LIMIT ?",
                (last, batch_size),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield Batch(
                tuple(position for position, _ in rows),
                tuple(os.fsdecode(image) for _, image in rows),
            )

    # --- results ----------------------------------------------------------------------------

    def save(self, batch: Batch, records: Sequence[Mapping[str, Any]]) -> None:
        """Save the record of each image of a batch."""
        self._kept = True
        with self._connection:
            self._connection.executemany(
                "UPDATE images SET record = ?, failed = ?, size = ?, modified = ? "
                "WHERE position = ?",
                [
                    (json.dumps(record), "error" in record, *_stamp(image), position)
                    for position, image, record in zip(
                        batch.positions, batch.images, records, strict=True
                    )
                ],
            )

    def count(self) -> tuple[int, int, int]:
        """Return the number of images, of results and of failures."""
        query = (
            "SELECT count(*), count(record), count(CASE WHEN failed AND record IS NOT NULL "
            "THEN 1 END) FROM images"
        )
        total, done, failed = self._connection.execute(query).fetchone()
        return total, done - failed, failed

    def remaining(self) -> dict[str, int]:
        """Count images without a result: new, changed, and failed before."""
        query = (
            "SELECT count(*), count(CASE WHEN failed THEN 1 END) FROM images WHERE record IS NULL"
        )
        total, failed = self._connection.execute(query).fetchone()
        return {
            "new": total - failed - self.changed,
            "changed": self.changed,
            "failed before": failed,
        }

    def results(self) -> Iterator[dict[str, Any]]:
        """Yield the records of successful images, in order."""
        return (json.loads(text) for text in self._texts("record IS NOT NULL AND NOT failed"))

    def records(self) -> Iterator[str]:
        """Yield each record as JSON, in order."""
        return self._texts("record IS NOT NULL")

    def failures(self) -> Iterator[dict[str, Any]]:
        """Yield the records of failed images: ``image`` and ``error``."""
        return (json.loads(text) for text in self._texts("record IS NOT NULL AND failed"))

    def _texts(self, condition: str) -> Iterator[str]:
        query = f"SELECT record FROM images WHERE {condition} ORDER BY position"
        return (text for (text,) in self._connection.execute(query))

    def _entries(self, condition: str, exclude: Sequence[str]) -> Iterator[str]:
        """Yield records as written to the report, with the size of the image file."""
        query = f"SELECT record, failed, size FROM images WHERE {condition} ORDER BY position"
        for text, failed, size in self._connection.execute(query):
            entry = _without(text, exclude)
            if self.report is not None and size is not None and not failed:
                entry = f"{entry[:-1]}, {json.dumps(BYTES)}: {size}}}"
            yield entry

    # --- the report -------------------------------------------------------------------------

    def lines(self, exclude: Sequence[str] = ()) -> Iterator[str]:
        """Yield the text of the report, without the keys in ``exclude``."""
        if self.report is not None and self.report.endswith(".jsonl"):
            for text in self._entries("record IS NOT NULL", exclude):
                yield f"{text}\n"
            return
        yield "{\n"
        for name, value in self.description.items():
            yield f" {json.dumps(name)}: {json.dumps(value)},\n"
        for name, condition, end in (("images", "NOT failed", ","), ("failed", "failed", "")):
            yield f" {json.dumps(name)}: ["
            separator = "\n  "
            for text in self._entries(f"record IS NOT NULL AND {condition}", exclude):
                yield f"{separator}{text}"
                separator = ",\n  "
            yield f"\n ]{end}\n" if separator != "\n  " else f"]{end}\n"
        yield "}\n"

    def finish(self, exclude: Sequence[str] = ()) -> None:
        """Write the report atomically and remove the SQLite file."""
        if self.report is None or self.path is None:
            raise ValueError("expected a store with a report, got one in memory")
        if self.report.endswith(".jsonl"):
            save_description(self.report, self.description)
        with atomic_write(self.report) as file:
            for line in self.lines(exclude):
                file.write(line.encode())
        self._discard()

    def close(self) -> None:
        """Close the store; without any result, remove its file."""
        if not (self._kept or self.resumed):
            self._discard()
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def _discard(self) -> None:
        self._connection.close()
        for name in () if self.path is None else (self.path, f"{self.path}-wal"):
            with suppress(FileNotFoundError):
                os.unlink(name)

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _stamp(image: str) -> tuple[int | None, int | None]:
    """Return size in bytes and modification time in ns; None if unreadable."""
    try:
        found = os.stat(image)
    except (OSError, ValueError):
        return None, None
    return found.st_size, found.st_mtime_ns


def _without(text: str, names: Sequence[str]) -> str:
    """Remove keys from the JSON text of a record."""
    if not any(json.dumps(name) in text for name in names):
        return text
    return json.dumps({key: value for key, value in json.loads(text).items() if key not in names})


def _explain(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "another process writes it, or the file system has no locks"
    if "not a database" in text or "malformed" in text:
        return f"not an unfinished run, or damaged ({text}); remove the file to start over"
    return text
