"""Results on disk as they come, and the report that is made of them at the end.

While a run works, an SQLite file beside its report holds the list of images and what
was found so far.  So what memory is needed does not grow with the images, a run that is
killed loses at most the batches that were under way, no image can be in twice, and two
runs cannot write to one report.  The report itself is written in one step at the end.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lucid.weights import atomic_write

__all__ = ["PARTIAL", "Batch", "ResultStore"]

#: What the store's own file has behind the name of the report.
PARTIAL = ".partial"

#: The file is ours alone, so its log of changes needs no memory shared with others, which
#: network file systems lack; a commit is safe from a crash of this process without waiting
#: for the disk.
_SETTINGS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = NORMAL")

_TABLES = """
CREATE TABLE IF NOT EXISTS run (description TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS images (
    position INTEGER PRIMARY KEY,
    image BLOB NOT NULL UNIQUE,
    record TEXT,
    failed INTEGER
);
"""


@dataclass(frozen=True)
class Batch:
    """Images that are predicted for together.

    Attributes
    ----------
    positions : tuple of int
        Where they stand in the run.
    images : tuple of str
        Their paths, one for each position.
    """

    positions: tuple[int, ...]
    images: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def singles(self) -> list[Batch]:
        """A batch for each image."""
        pairs = zip(self.positions, self.images, strict=True)
        return [Batch((position,), (image,)) for position, image in pairs]


class ResultStore:
    """What a run has to do and what it has done.

    Parameters
    ----------
    report : path or None
        The report to be: ``.jsonl`` for a line of JSON for each image, any other name
        for one JSON object.  Until it is there, its name with ``.partial`` behind it is
        this store's file.  None keeps everything in memory, for few images.
    description : mapping
        What results depend on; see :meth:`~lucid.prediction.Predictor.description`.
    resume : bool, default False
        Go on with an unfinished run, if there is one; images that failed are tried
        again.

    Raises
    ------
    ValueError
        If there is an unfinished run and ``resume`` is not given, if it began with
        something else, if another process is at it, or if the file is damaged.
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
        self.resumed = self.path is not None and os.path.exists(self.path)
        if self.resumed and not resume:
            raise ValueError(
                f"{self.path}: a run that did not finish; --resume goes on with it, removing the "
                "file forgets it"
            )
        self._connection = sqlite3.connect(self.path or ":memory:", timeout=0)
        try:
            self._open()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise ValueError(f"{self.path}: {_explain(error)}") from None
            raise

    def _open(self) -> None:
        for setting in _SETTINGS:
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.executescript(_TABLES)
        with self._connection:
            row = self._connection.execute("SELECT description FROM run").fetchone()
            if row is None:
                text = json.dumps(self.description)
                self._connection.execute("INSERT INTO run VALUES (?)", (text,))
            else:
                self._check_same(json.loads(row[0]))
                self._connection.execute("UPDATE images SET record = NULL WHERE failed")

    def _check_same(self, before: Mapping[str, Any]) -> None:
        for name, value in json.loads(json.dumps(self.description)).items():
            if name != "weights" and before.get(name) != value:
                raise ValueError(
                    f"{self.path}: the run began with {name} {before.get(name)!r}, got {value!r}; "
                    "it can only go on as it began"
                )

    # --- what is to be done -----------------------------------------------------------------

    def add(self, images: Iterable[str]) -> None:
        """Put images on the list, those that are not yet on it."""
        with self._connection:
            self._connection.executemany(
                "INSERT OR IGNORE INTO images (image) VALUES (?)",
                ((os.fsencode(image),) for image in images),
            )

    def pending(self, batch_size: int) -> Iterator[Batch]:
        """The images without a result, in order, ``batch_size`` at a time."""
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

    # --- what is done -----------------------------------------------------------------------

    def keep(self, batch: Batch, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep the record of each image of a batch."""
        with self._connection:
            self._connection.executemany(
                "UPDATE images SET record = ?, failed = ? WHERE position = ?",
                [
                    (json.dumps(record), "error" in record, position)
                    for position, record in zip(batch.positions, records, strict=True)
                ],
            )

    def count(self) -> tuple[int, int, int]:
        """How many images there are, have a result, and have failed."""
        query = (
            "SELECT count(*), count(record), count(CASE WHEN failed AND record IS NOT NULL "
            "THEN 1 END) FROM images"
        )
        total, done, failed = self._connection.execute(query).fetchone()
        return total, done - failed, failed

    def results(self) -> Iterator[dict[str, Any]]:
        """The records of the images that did not fail, in order."""
        return (json.loads(text) for text in self._texts("record IS NOT NULL AND NOT failed"))

    def records(self) -> Iterator[str]:
        """Each record as JSON, in order."""
        return self._texts("record IS NOT NULL")

    def failures(self) -> Iterator[dict[str, Any]]:
        """The records of those that did: ``image`` and ``error``."""
        return (json.loads(text) for text in self._texts("record IS NOT NULL AND failed"))

    def _texts(self, condition: str) -> Iterator[str]:
        query = f"SELECT record FROM images WHERE {condition} ORDER BY position"
        return (text for (text,) in self._connection.execute(query))

    # --- the report -------------------------------------------------------------------------

    def lines(self, leave_out: Sequence[str] = ()) -> Iterator[str]:
        """The report, in pieces; without what records have under the names in ``leave_out``."""
        if self.report is not None and self.report.endswith(".jsonl"):
            for text in self.records():
                yield f"{_without(text, leave_out)}\n"
            return
        yield "{\n"
        for name, value in self.description.items():
            yield f" {json.dumps(name)}: {json.dumps(value)},\n"
        for name, condition, end in (("images", "NOT failed", ","), ("failed", "failed", "")):
            yield f" {json.dumps(name)}: ["
            separator = "\n  "
            for text in self._texts(f"record IS NOT NULL AND {condition}"):
                yield f"{separator}{_without(text, leave_out)}"
                separator = ",\n  "
            yield f"\n ]{end}\n" if separator != "\n  " else f"]{end}\n"
        yield "}\n"

    def finish(self, leave_out: Sequence[str] = ()) -> None:
        """Write the report in one step; arguments as of :meth:`lines`.

        The store's own file is no more afterwards.
        """
        if self.report is None or self.path is None:
            raise ValueError("there is no report to be written: the store is in memory")
        with atomic_write(self.report) as file:
            for line in self.lines(leave_out):
                file.write(line.encode())
        self._discard()

    def close(self) -> None:
        """Close the file; a run that has no results yet leaves none."""
        with suppress(sqlite3.ProgrammingError):  # closed already
            _, done, failed = self.count()
            if self.path is not None and not (done or failed or self.resumed):
                self._discard()
        self._connection.close()

    def _discard(self) -> None:
        self._connection.close()
        for name in (self.path, f"{self.path}-wal"):
            with suppress(FileNotFoundError):
                os.unlink(str(name))

    def __enter__(self) -> ResultStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _without(text: str, names: Sequence[str]) -> str:
    """A record's text, without some of its parts."""
    if not any(json.dumps(name) in text for name in names):
        return text
    return json.dumps({key: value for key, value in json.loads(text).items() if key not in names})


def _explain(error: sqlite3.Error) -> str:
    text = str(error)
    if "locked" in text:
        return "another process is writing to it, or its file system has no locks"
    if "not a database" in text or "malformed" in text:
        return f"no unfinished run, or a damaged one ({text}); removing the file begins anew"
    return text
